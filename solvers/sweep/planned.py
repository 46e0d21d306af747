"""The runs of a sweep as they are to be made, and how far each is: all that is known of that is in the run folders."""

import hashlib
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rich.filesize import decimal

from base import files
from base.errors import DataError
from solvers import train
from solvers.errors import SolverError
from solvers.nets import losses, prototext
from solvers.nets.pycaffe import caffe
from solvers.reporting.results import read_accuracy
from solvers.runs.checkpoints import STATES_KEPT, Checkpoints
from solvers.sweep.runs_file import Entry
from solvers.training import options

pb = caffe.proto.caffe_pb2

LOG_BYTES = 170  # a step: rows of log.csv and dynamics.csv, points for TensorBoard; 150 were measured
CHECKPOINT_BYTES = 100_000  # of a checkpoint besides its numbers: what describes the layers; 70,000 for a ResNet-44


@dataclass(frozen=True, eq=False)
class PlannedRun:
    """A run of a sweep.

    Attributes
    ----------
    name : str
        Its folder below that of all runs.
    where : str
        Where the sweep file says it.
    arguments : list of str
        Of solvers.train.
    plan : train.Plan
    """

    name: str
    where: str
    arguments: list[str]
    plan: train.Plan

    @property
    def folder(self) -> Path:
        return self.plan.folder

    @property
    def steps(self) -> int:
        """The step that it ends with."""
        return self.plan.solver.max_iter

    @cached_property
    def checkpoints(self) -> Checkpoints:
        return Checkpoints(self.folder, self.plan.setting.solver.snapshot or train.CHECKPOINT_INTERVAL)

    @cached_property
    def shape(self) -> str:
        """The same for runs that cost the same: their nets differ in nothing but our losses."""
        net = pb.NetParameter()
        net.CopyFrom(self.plan.setting.net)
        for layer in filter(losses.is_softmax_loss, net.layer):
            layer.Clear()
        return hashlib.sha256(f"{prototext.text(net)} {self.plan.solver.iter_size}".encode()).hexdigest()

    def saved(self) -> int:
        """The steps that its newest checkpoint has."""
        return next(reversed(self.checkpoints.models()), 0)

    def accuracy(self) -> tuple[int, float] | None:
        """The last test accuracy that was measured, and after which step."""
        try:
            curve = read_accuracy(self.folder / "accuracy.txt")
        except (SolverError, OSError):
            return None
        return curve.iterations[-1], curve.final

    def done(self) -> bool:
        """Whether it has made all its steps, and each of its checkpoints is measured."""
        models = self.checkpoints.models()
        if not models or models[-1] < self.steps:
            return False
        try:
            return set(models) <= set(read_accuracy(self.folder / "accuracy.txt").iterations)
        except (SolverError, OSError):
            return False

    def bytes_to_come(self, weights: int) -> int:
        """What it is still going to write.

        Parameters
        ----------
        weights : int
            Parameters of its net.
        """
        numbers = 4 * weights + CHECKPOINT_BYTES
        kept = -(-self.steps // self.checkpoints.interval) + STATES_KEPT + 2  # two: one that is being written
        there = self.checkpoints.models()
        return max(0, kept - len(there)) * numbers + max(0, self.steps - self.saved()) * LOG_BYTES


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
    SolverError
        If an input of a run is wrong, or two runs are the same; it names where the file says so.
    """
    planned: dict[Path, PlannedRun] = {}
    for where, arguments in entries:
        arguments = [*arguments, "--runs", str(runs), "--data", str(data)]
        args = options.parse(arguments, "")
        try:
            this = train.plan(args, [], rehearse=False)
        except (SolverError, DataError) as error:
            raise SolverError(f"{where}: {error}") from error
        name = str(this.folder.relative_to(runs))
        if not files.real(this.folder).is_relative_to(files.real(runs)):
            raise SolverError(f"{where}: {this.folder} is behind a link that leads out of {runs}, where nothing is written")
        if this.folder in planned:
            raise SolverError(f"{where}: the run {name} is there twice; the first time in {planned[this.folder].where}")
        planned[this.folder] = PlannedRun(name, where, arguments + train.from_environment(args, this.changed), this)
    return list(planned.values())


def bytes_needed(missing: list[PlannedRun], weights: dict[str, int], runs: Path) -> int:
    """The bytes that runs are still going to write.

    Parameters
    ----------
    missing : list of PlannedRun
    weights : dict
        Parameters of a net, by `PlannedRun.shape`.
    runs : Path
        Folder of all runs.

    Raises
    ------
    SolverError
        If there is no room for them.
    """
    needed = sum(run.bytes_to_come(weights[run.shape]) for run in missing)
    existing = next(folder for folder in (runs, *files.real(runs).parents) if folder.is_dir())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise SolverError(f"{runs}: {len(missing)} runs are going to write {decimal(needed)} of checkpoints and logs, and "
                          f"{decimal(free)} are free: make room, or name another folder with --runs")
    return needed

