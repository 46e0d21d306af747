"""Checkpoints: Caffe's own two files an iteration, complete or absent, wherever the run folder is moved.

    checkpoints1/checkpoints_iter_1000.caffemodel     weights and BatchNorm statistics; all those on schedule are kept
    checkpoints1/checkpoints_iter_1000.solverstate    momentum and iteration; the newest two are kept
"""

import os
import re
import tempfile
from pathlib import Path

from solvers.engine import caffe

pb = caffe.proto.caffe_pb2

FOLDER = "checkpoints1"
STATES_KEPT = 2
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

    def models(self) -> list[int]:
        """The iterations whose weights are here, ascending."""
        return self._iterations("caffemodel")

    def newest(self) -> int | None:
        """The last iteration that training can go on from."""
        return max(set(self._iterations("solverstate")) & set(self.models()), default=None)

    def snapshot_prefix(self) -> str:
        """Where Caffe is to write: beside the checkpoints, to be renamed once the files are complete."""
        return str(self.folder / _UNFINISHED)

    def save(self, solver: caffe.SGDSolver) -> None:
        """Write the solver's weights and state, then drop what the new checkpoint replaces."""
        self._remove_unfinished()
        solver.snapshot()
        iteration = solver.iter
        new = Path(f"{self.snapshot_prefix()}_iter_{iteration}.caffemodel")
        state = read_state(new.with_suffix(".solverstate"))
        # Caffe noted the name under which it wrote the weights; `caffe train --snapshot` would look there.
        state.learned_net = str(self.model(iteration))
        new.with_suffix(".solverstate").write_bytes(state.SerializeToString())
        for suffix in (".caffemodel", ".solverstate"):  # the state last: where it is, the weights are
            publish(new.with_suffix(suffix), self.model(iteration).with_suffix(suffix))
        self._prune(iteration)

    def restore(self, solver: caffe.SGDSolver, iteration: int) -> None:
        """Load weights and state into a solver."""
        self._remove_unfinished()
        state = read_state(self.state(iteration))
        state.learned_net = str(self.model(iteration).resolve())  # the run folder may have been moved
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "resume.solverstate"
            file.write_bytes(state.SerializeToString())
            solver.restore(str(file))

    def _iterations(self, suffix: str) -> list[int]:
        names = (re.fullmatch(rf"checkpoints_iter_(\d+)\.{suffix}", p.name) for p in self.folder.glob(f"*.{suffix}"))
        return sorted(int(name[1]) for name in names if name)

    def _prune(self, newest: int) -> None:
        for iteration in self.models():
            if iteration < newest and iteration % self.interval:
                self.state(iteration).unlink(missing_ok=True)
                self.model(iteration).unlink()
        for iteration in self._iterations("solverstate")[:-STATES_KEPT]:
            self.state(iteration).unlink()

    def _remove_unfinished(self) -> None:
        for file in self.folder.glob(f"{_UNFINISHED}*"):
            file.unlink()


def read_state(file: Path) -> pb.SolverState:
    return pb.SolverState.FromString(file.read_bytes())


def publish(new: Path, name: Path) -> None:
    """Rename a file once its content is on the disk, so that whoever sees `name` sees all of it."""
    with open(new, "rb") as file:
        os.fsync(file.fileno())
    os.replace(new, name)
    folder = os.open(name.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_atomically(name: Path, content: str | bytes) -> None:
    """Write a file (text as UTF-8) that is never seen half written."""
    new = name.with_name(f".{name.name}{_UNFINISHED}")
    new.write_bytes(content.encode() if isinstance(content, str) else content)
    publish(new, name)
