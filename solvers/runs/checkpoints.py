"""Checkpoints: the two files that Caffe writes for an iteration, and a manifest. A checkpoint is complete or not there.

    checkpoints1/checkpoints_iter_1000.caffemodel     weights and BatchNorm statistics; all those on schedule are kept
    checkpoints1/checkpoints_iter_1000.solverstate    momentum and iteration; the newest two are kept
    checkpoints1/checkpoints_iter_1000.json           sizes and SHA-256 of both, and of what the run is made from

Nothing else has to be saved: the batch of a step, and the random numbers that layers draw in it, depend on seed and step
alone. A run folder may be moved: the path of the weights in a .solverstate is ignored on resume.
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

from base import files, writing
from base.errors import InputError
from base.terminal import one_line, say
from solvers.nets import weights
from solvers.nets.pycaffe import caffe, count_weights
from solvers.runs import config

pb = caffe.proto.caffe_pb2

FOLDER = "checkpoints1"
INTERVAL = 1000
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
        Iterations from one scheduled checkpoint to the next. Other checkpoints, made when a run is stopped or ends, are
        deleted by the next checkpoint, so that a resumed run leaves the same files as one that was never stopped.
    """

    def __init__(self, run: Path, interval: int = INTERVAL):
        self.run, self.folder = run, run / FOLDER
        self.interval = interval

    def model(self, iteration: int) -> Path:
        """The path of the weights of an iteration."""
        return self.folder / f"checkpoints_iter_{iteration}.caffemodel"

    def state(self, iteration: int) -> Path:
        """The path of the solver's state of an iteration."""
        return self.folder / f"checkpoints_iter_{iteration}.solverstate"

    def manifest(self, iteration: int) -> Path:
        """The path of the manifest of an iteration."""
        return self.folder / f"checkpoints_iter_{iteration}.json"

    def models(self) -> list[int]:
        """The iterations whose weights are in the folder, ascending."""
        return self._iterations("caffemodel")

    def newest(self) -> int | None:
        """The last undamaged iteration, from which training can go on; warns on stderr of each damaged one after it."""
        for iteration in sorted(set(self._iterations("solverstate")) & set(self.models()), reverse=True):
            damage = self.damage(self.state(iteration)) or self.damage(self.model(iteration))
            if not damage:
                return iteration
            say(one_line(f"warning: {damage}: taking the checkpoint before it"), file=sys.stderr)
        return None

    def damage(self, file: Path) -> str | None:
        """What is wrong with a file of a checkpoint; None if nothing is. Old files without a manifest only have to parse."""
        try:
            if file.suffix == ".caffemodel":
                weights.parse(file, pb.NetParameter())
            elif self.model(read_state(file).iter) != file.with_suffix(".caffemodel"):
                return f"{file} is of another iteration than its name says"
        except InputError as error:
            return str(error)
        return None

    def snapshot_prefix(self) -> str:
        """The path prefix under which Caffe writes unfinished files; they are renamed when they are complete."""
        return str(self.folder / _UNFINISHED)

    def check_space(self, solver: caffe.SGDSolver) -> None:
        """Raise InputError unless the disk has room for a checkpoint: Caffe would end the process while it writes one."""
        values = count_weights(solver.net)
        needed = 2 * (2 * 4 * values + (1 << 20))  # bytes: weights and momentum in float32, doubled as a reserve
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise InputError(f"{self.folder}: {free >> 20} MB are free, but a checkpoint needs {needed >> 20}: make room, "
                             "then go on with --resume")

    def save(self, solver: caffe.SGDSolver) -> None:
        """Write the solver's weights and state, then delete the older files that the new checkpoint replaces.

        Raises
        ------
        InputError
            If the disk has no room, a weight is not finite, or the files, read again, differ from what was written. The
            older checkpoints then stay.
        """
        self.check_space(solver)
        for name, blobs in solver.net.params.items():
            if not all(np.isfinite(blob.data).all() for blob in blobs):
                raise InputError(f"after iteration {solver.iter} the weights of layer '{name}' are not all finite: this "
                                 "is not saved; lower the learning rate, and go on from the checkpoint before")
        self._remove_unfinished()
        solver.snapshot()
        iteration = solver.iter
        new = Path(f"{self.snapshot_prefix()}_iter_{iteration}.caffemodel")
        state = read_state(new.with_suffix(".solverstate"))
        # The state names the file with the weights, under the unfinished name; `caffe train --snapshot` would look there.
        state.learned_net = str(self.model(iteration))
        with open(files.open_in(self.folder, new.with_suffix(".solverstate").name, os.O_WRONLY | os.O_TRUNC), "wb") as file:
            file.write(state.SerializeToString())
        written = {}
        for suffix in SUFFIXES:
            try:
                weights.parse(new.with_suffix(suffix), pb.SolverState() if suffix == SUFFIXES[0] else pb.NetParameter())
            except InputError as error:
                raise InputError(f"{error}, as soon as it was written: is the disk full?") from error
            content = files.read(new.with_suffix(suffix), files.MAX_BYTES)
            written[self.model(iteration).with_suffix(suffix).name] = {
                "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        # The manifest is renamed first, the weights last: where the weights exist, the other two files do as well.
        writing.write_atomically(self.manifest(iteration), json.dumps(
            {"iteration": iteration, "files": written, "run": config.fingerprints(self.run)}, indent=1) + "\n")
        for suffix in SUFFIXES:
            files.publish(new.with_suffix(suffix), self.model(iteration).with_suffix(suffix))
        self.prune(iteration)

    def restore(self, solver: caffe.SGDSolver, iteration: int) -> None:
        """Load weights and state into a solver.

        Raises
        ------
        InputError
            If the files do not belong to the solver's net, or to `iteration`.
        """
        self._remove_unfinished()
        file = self.state(iteration)
        state = read_state(file)
        blobs = distinct(blob.data for blobs in solver.net.params.values() for blob in blobs)
        of_each = 2 if isinstance(solver, (caffe.AdamSolver, caffe.AdaDeltaSolver)) else 1
        if state.iter != iteration or not 0 <= state.current_step <= iteration:
            raise InputError(f"{file} has the iteration {state.iter} and the step {state.current_step}")
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

    def _iterations(self, suffix: str) -> list[int]:
        return sorted(int(name[1]) for name in self._files(rf"checkpoints_iter_(0|[1-9][0-9]{{0,9}})\.{suffix}"))

    def _files(self, pattern: str) -> Iterator[re.Match]:
        """The file names in the folder that match. A generator, since a long run has thousands of files."""
        try:
            with files.opened_in(self.run, FOLDER) as folder, os.scandir(folder) as entries:
                yield from filter(None, (re.fullmatch(pattern, entry.name) for entry in entries))
        except FileNotFoundError:
            return
        except OSError as error:
            raise InputError(f"cannot open the folder {self.folder}: {error.strerror or error}") from error

    def prune(self, newest: int) -> None:
        """Delete the files that the checkpoint `newest` makes superfluous."""
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
        """Delete files that were still being written when a process was killed."""
        for name in list(self._files(r"\.new_iter_[0-9]+\.(caffemodel|solverstate)")):
            (self.folder / name[0]).unlink()
        writing.remove_unfinished(self.folder)


def read_state(file: Path) -> pb.SolverState:
    """The solver's state in a .solverstate file; see `weights.parse` for errors."""
    return weights.parse(file, pb.SolverState())


def distinct(arrays: Iterable[np.ndarray]) -> list[np.ndarray]:
    """The arrays without those that share the memory of an earlier one."""
    return list({array.ctypes.data: array for array in reversed(list(arrays))}.values())[::-1]
