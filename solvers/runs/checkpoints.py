"""Checkpoints: Caffe's own two files an iteration with a manifest, complete or absent, wherever the run folder is moved.

    checkpoints1/checkpoints_iter_1000.caffemodel     weights and BatchNorm statistics; all those on schedule are kept
    checkpoints1/checkpoints_iter_1000.solverstate    momentum and iteration; the newest two are kept
    checkpoints1/checkpoints_iter_1000.json           sizes and SHA-256 of both, and of what the run is made from

There is no more state: the batch of a step, and what layers draw in it, follow from seed and step alone.
"""

import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from base import files
from base.terminal import one_line, say
from solvers.errors import SolverError
from solvers.nets import weights
from solvers.nets.pycaffe import caffe, count_weights
from solvers.runs import config

pb = caffe.proto.caffe_pb2

FOLDER = "checkpoints1"
STATES_KEPT = 2
SUFFIXES = (".solverstate", ".caffemodel")
_UNFINISHED = ".new"


class Checkpoints:
    """The checkpoints of one run.

    Parameters
    ----------
    run : Path
        The run folder.
    interval : int
        Iterations between two checkpoints on schedule. Others (made when a run is stopped, or at its end) give way to
        the next checkpoint, so that a resumed run leaves the files of one that was never stopped.
    """

    def __init__(self, run: Path, interval: int = 1000):
        self.folder = run / FOLDER
        self.interval = interval

    def model(self, iteration: int) -> Path:
        return self.folder / f"checkpoints_iter_{iteration}.caffemodel"

    def state(self, iteration: int) -> Path:
        return self.folder / f"checkpoints_iter_{iteration}.solverstate"

    def manifest(self, iteration: int) -> Path:
        return self.folder / f"checkpoints_iter_{iteration}.json"

    def models(self) -> list[int]:
        """The iterations whose weights are here, ascending."""
        return self._iterations("caffemodel")

    def newest(self) -> int | None:
        """The last iteration that training can go on from; says on stderr which later ones are damaged, and how."""
        for iteration in sorted(set(self._iterations("solverstate")) & set(self.models()), reverse=True):
            damage = self.damage(self.state(iteration)) or self.damage(self.model(iteration))
            if not damage:
                return iteration
            say(one_line(f"warning: {damage}: taking the checkpoint before it"), file=sys.stderr)
        return None

    def damage(self, file: Path) -> str | None:
        """What is wrong with a file of a checkpoint; None if nothing is. Files of before manifests must parse."""
        try:
            if file.suffix == ".caffemodel":
                weights.parse(file, pb.NetParameter())
            elif self.model(read_state(file).iter) != file.with_suffix(".caffemodel"):
                return f"{file} is of another iteration than its name says"
        except SolverError as error:
            return str(error)
        return None

    def snapshot_prefix(self) -> str:
        """Where Caffe is to write: beside the checkpoints, to be renamed once the files are complete."""
        return str(self.folder / _UNFINISHED)

    def check_space(self, solver: caffe.SGDSolver) -> None:
        """Raise SolverError unless there is room for a checkpoint: Caffe would end the process half way through one."""
        values = count_weights(solver.net)
        needed = 2 * (2 * 4 * values + (1 << 20))  # weights and momentum in float32, and as much again for others
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise SolverError(f"{self.folder}: {free >> 20} MB are free, but a checkpoint needs {needed >> 20}: make room, "
                              "then go on with --resume")

    def save(self, solver: caffe.SGDSolver) -> None:
        """Write the solver's weights and state, then drop what the new checkpoint replaces.

        Raises
        ------
        SolverError
            If there is no room, a weight is not finite, or what is on the disk then is not what was written. The
            checkpoints before stay.
        """
        self.check_space(solver)
        for name, blobs in solver.net.params.items():
            if not all(np.isfinite(blob.data).all() for blob in blobs):
                raise SolverError(f"after iteration {solver.iter} the weights of layer '{name}' are not all finite: this "
                                  "is not saved; lower the learning rate, and go on from the checkpoint before")
        self._remove_unfinished()
        solver.snapshot()
        iteration = solver.iter
        new = Path(f"{self.snapshot_prefix()}_iter_{iteration}.caffemodel")
        state = read_state(new.with_suffix(".solverstate"))
        # Caffe noted the name under which it wrote the weights; `caffe train --snapshot` would look there.
        state.learned_net = str(self.model(iteration))
        with open(files.open_in(self.folder, new.with_suffix(".solverstate").name, os.O_WRONLY | os.O_TRUNC), "wb") as file:
            file.write(state.SerializeToString())
        written = {}
        for suffix in SUFFIXES:
            try:
                weights.parse(new.with_suffix(suffix), pb.SolverState() if suffix == SUFFIXES[0] else pb.NetParameter())
            except SolverError as error:
                raise SolverError(f"{error}, as soon as it was written: is the disk full?") from error
            content = files.read(new.with_suffix(suffix), files.MAX_BYTES)
            written[self.model(iteration).with_suffix(suffix).name] = {
                "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        # The manifest first, the weights last: where they are, all is.
        files.write_atomically(self.manifest(iteration), json.dumps(
            {"iteration": iteration, "files": written, "run": self._fingerprints()}, indent=1) + "\n")
        for suffix in SUFFIXES:
            files.publish(new.with_suffix(suffix), self.model(iteration).with_suffix(suffix))
        self.prune(iteration)

    def restore(self, solver: caffe.SGDSolver, iteration: int) -> None:
        """Load weights and state into a solver.

        Raises
        ------
        SolverError
            If they are not those of its net, or of another iteration.
        """
        self._remove_unfinished()
        file = self.state(iteration)
        state = read_state(file)
        blobs = distinct(blob.data for blobs in solver.net.params.values() for blob in blobs)
        of_each = 2 if isinstance(solver, (caffe.AdamSolver, caffe.AdaDeltaSolver)) else 1
        if state.iter != iteration or not 0 <= state.current_step <= iteration:
            raise SolverError(f"{file} has the iteration {state.iter} and the step {state.current_step}")
        history = weights.arrays_of(state.history, [blob.shape for blob in blobs] * of_each, f"{file}: the gradients' history")
        for blob, array in zip(state.history, history, strict=True):
            blob.shape.dim[:] = array.shape
            for field in "num", "channels", "height", "width":
                blob.ClearField(field)
        state.ClearField("learned_net")
        weights.load(solver.net, self.model(iteration))
        with open(os.memfd_create("state"), "wb") as written:  # Caffe reads states from files only
            written.write(state.SerializeToString())
            written.flush()
            solver.restore(f"/proc/self/fd/{written.fileno()}")

    def _fingerprints(self) -> dict[str, str | None]:
        """Of what the run is made from, as config.json has them."""
        try:
            about = config.read(self.folder.parent)
        except SolverError:
            return {}
        return {name: about.get(name) for name in ("data_sha256", "net_sha256", "solver_sha256")}

    def _iterations(self, suffix: str) -> list[int]:
        return sorted(int(name[1]) for name in self._files(rf"checkpoints_iter_(0|[1-9][0-9]{{0,9}})\.{suffix}"))

    def _files(self, pattern: str) -> Iterator[re.Match]:
        """The names in the folder that match; one at a time, for a long run has thousands."""
        try:
            with files.opened_in(self.folder.parent, FOLDER) as folder, os.scandir(folder) as entries:
                yield from filter(None, (re.fullmatch(pattern, entry.name) for entry in entries))
        except FileNotFoundError:
            return
        except OSError as error:
            raise SolverError(f"cannot open the folder {self.folder}: {error.strerror or error}") from error

    def prune(self, newest: int) -> None:
        """Drop what the checkpoint `newest` replaces."""
        for iteration in self.models():
            if iteration < newest and iteration % self.interval:
                self.state(iteration).unlink(missing_ok=True)
                self.model(iteration).unlink()
        states, weights = self._iterations("solverstate"), set(self.models())
        for iteration in set(states) - set([i for i in states if i in weights][-STATES_KEPT:]):
            self.state(iteration).unlink()
        for iteration in set(self._iterations("json")) - weights:
            self.manifest(iteration).unlink()

    def _remove_unfinished(self) -> None:
        """What Caffe, or we, were writing when the process was killed."""
        for name in list(self._files(r"\.new_iter_[0-9]+\.(caffemodel|solverstate)")):
            (self.folder / name[0]).unlink()
        files.remove_unfinished(self.folder)


def read_state(file: Path) -> pb.SolverState:
    """The state in a file; see `weights.parse` for errors."""
    return weights.parse(file, pb.SolverState())


def distinct(arrays: Iterable[np.ndarray]) -> list[np.ndarray]:
    """Arrays without those that share the memory of one before them."""
    return list({array.ctypes.data: array for array in reversed(list(arrays))}.values())[::-1]
