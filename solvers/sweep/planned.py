"""The planned runs of a sweep, and how far each one is. Progress is read from the run folders and kept nowhere else."""

import hashlib
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rich.filesize import decimal

from base import files
from base.errors import InputError
from solvers.nets import losses, prototext
from solvers.nets.pycaffe import caffe
from solvers.reporting.accuracy import measured, read_accuracy
from solvers.runs.checkpoints import STATES_KEPT, Checkpoints
from solvers.sweep.runs_file import Entry
from solvers.training import options
from solvers.training.plan import Plan, from_environment, plan_of

pb = caffe.proto.caffe_pb2

LOG_BYTES = 170  # per step, for rows of log.csv and dynamics.csv and for TensorBoard; measured: 150
CHECKPOINT_BYTES = 100_000  # of a checkpoint besides its weights, for the description of the layers; ResNet-44: 70,000


@dataclass(frozen=True, eq=False)
class PlannedRun:
    """A run of a sweep.

    Attributes
    ----------
    name : str
        The path of its folder, relative to the folder of all runs.
    where : str
        Its place in the sweep file, for error messages.
    arguments : list of str
        The arguments of solvers.train.
    plan : Plan
    """

    name: str
    where: str
    arguments: list[str]
    plan: Plan

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.plan.folder.path

    @property
    def steps(self) -> int:
        """The number of its last step."""
        return self.plan.solver.max_iter

    @property
    def checkpoints(self) -> Checkpoints:
        """The checkpoints in the run folder."""
        return self.plan.folder.checkpoints

    @cached_property
    def shape(self) -> str:
        """A key that is equal for runs of equal cost: those whose nets differ only in our loss layers."""
        param = pb.NetParameter()
        param.CopyFrom(self.plan.setting.net_param)
        for layer in filter(losses.is_softmax_loss, param.layer):
            layer.Clear()
        return hashlib.sha256(f"{prototext.text(param)} {self.plan.solver.iter_size}".encode()).hexdigest()

    def saved(self) -> int:
        """The number of steps in its newest checkpoint."""
        return next(reversed(self.checkpoints.models()), 0)

    def steps_to_come(self) -> int:
        """The number of steps that it is still going to make."""
        return max(0, self.steps - self.saved())

    def accuracy(self) -> tuple[int, float] | None:
        """The step of the last measured checkpoint, and its test accuracy as a fraction of 1; None if none was measured."""
        try:
            curve = read_accuracy(self.folder / "accuracy.txt")
        except (InputError, OSError):
            return None
        return curve.iterations[-1], curve.final

    def done(self) -> bool:
        """Whether it has made all its steps, and all its checkpoints are measured."""
        models = self.checkpoints.models()
        return bool(models) and models[-1] >= self.steps and set(models) <= measured(self.folder / "accuracy.txt")

    def bytes_to_come(self, weights: int) -> int:
        """The number of bytes that it is still going to write.

        Parameters
        ----------
        weights : int
            The number of parameters of its net.
        """
        numbers = 4 * weights + CHECKPOINT_BYTES
        kept = -(-self.steps // self.checkpoints.interval) + STATES_KEPT + 2  # 2: a checkpoint being written
        there = self.checkpoints.models()
        return max(0, kept - len(there)) * numbers + self.steps_to_come() * LOG_BYTES


def plan(entries: Iterable[Entry], runs: Path, data: Path) -> list[PlannedRun]:
    """Read and check the runs of a sweep.

    Parameters
    ----------
    entries : iterable of Entry
        From `runs_file.read`.
    runs, data : Path
        Folders of all runs and of the data.

    Raises
    ------
    InputError
        If an input of a run is wrong, or two runs are the same. The message names the place in the sweep file.
    """
    planned: dict[Path, PlannedRun] = {}
    for where, arguments in entries:
        arguments = [*arguments, "--runs", str(runs), "--data", str(data)]
        args = options.parse(arguments, "")
        try:
            this = plan_of(args, [], rehearse=False)
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
        folder = this.folder.path
        name = str(folder.relative_to(runs))
        if not files.real(folder).is_relative_to(files.real(runs)):
            raise InputError(f"{where}: {folder} is behind a link that leads out of {runs}: nothing is written there")
        try:
            if this.folder.checkpoints.models():
                this.run(args.layers, 1, 0, None).check_same()
        except (InputError, OSError) as error:
            raise InputError(f"{where}: {error}") from error
        if folder in planned:
            first = planned[folder]
            before, again = first.plan.training_set.file, this.training_set.file
            hint = f" (from {before}): rename {again}, since a run is named after its file" if again != before else ""
            raise InputError(f"{where}: the run {name} is there twice; the first time in {first.where}{hint}")
        planned[folder] = PlannedRun(name, where, arguments + from_environment(args, this.changed), this)
    return list(planned.values())


def bytes_needed(missing: list[PlannedRun], weights: dict[str, int], runs: Path) -> int:
    """The number of bytes that runs are still going to write.

    Parameters
    ----------
    missing : list of PlannedRun
    weights : dict
        The number of parameters of a net, by `PlannedRun.shape`.
    runs : Path
        Folder of all runs.

    Raises
    ------
    InputError
        If the disk does not have so many bytes free.
    """
    needed = sum(run.bytes_to_come(weights[run.shape]) for run in missing)
    existing = next(folder for folder in (runs, *files.real(runs).parents) if folder.is_dir())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise InputError(f"{runs}: {len(missing)} runs are going to write {decimal(needed)} of checkpoints and logs, and "
                         f"{decimal(free)} are free: make room, or name another folder with --runs")
    return needed

