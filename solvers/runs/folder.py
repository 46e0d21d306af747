"""The folder of a run: its path, its files, its lock, and the step at which training starts.

    runs/<setting>/noise_<rate>/seed_<seed>/       (noise_<type>_<rate> if not symmetric; data_<file> for --train-data)
        config.json  train.prototxt  solver.prototxt  test.prototxt    what it trains, as Caffe reads it
        log.csv  dynamics.csv  test.csv  tensorboard/  checkpoints1/   train.py
        accuracy.txt  accuracy_curve.png                               evaluate.py
"""

import fcntl
import hashlib
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

from base import files, writing
from base.errors import InputError
from base.terminal import say
from layers.table import OWN
from solvers.runs.checkpoints import INTERVAL, Checkpoints


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run.

    Attributes
    ----------
    path : Path
    interval : int
        Steps from one scheduled checkpoint to the next.
    """

    path: Path
    interval: int = INTERVAL

    def __str__(self) -> str:
        return str(self.path)

    @property
    def train_file(self) -> Path:
        return self.path / "train.prototxt"

    @property
    def test_file(self) -> Path:
        return self.path / "test.prototxt"

    @property
    def solver(self) -> Path:
        return self.path / "solver.prototxt"

    @cached_property
    def checkpoints(self) -> Checkpoints:
        """The checkpoints in this folder."""
        return Checkpoints(self.path, self.interval)

    def make(self) -> list[Path]:
        """Make the folder; return those that are new, of it and of the folders above it.

        Raises
        ------
        InputError
            If it cannot be made or written.
        """
        try:
            new = [path for path in (self.path, *self.path.parents) if not path.exists()]
            self.checkpoints.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot make the run folder {self}: {error.strerror}") from error
        if not os.access(self.checkpoints.folder, os.W_OK):
            raise InputError(f"cannot write the run folder {self}")
        return new

    @contextmanager
    def lock(self, wait: bool = False) -> Iterator[None]:
        """Keep other processes from training here. The kernel releases the lock when the process ends, however it ends.

        If another process has the lock, wait for the end of that process (`wait`), or raise InputError.
        """
        file = files.open_in(self.path, ".lock", os.O_RDWR | os.O_CREAT)
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                other = os.read(file, 100).decode(errors="replace").strip()
                if not wait:
                    raise InputError(
                        f"{self}: another process ({other}) trains there: wait for its end, or stop it") from None
                say(f"{self}: waiting for the end of another process ({other}) that trains there")
                fcntl.flock(file, fcntl.LOCK_EX)
            writing.remove_unfinished(self.path)  # files that a killed process was writing
            os.ftruncate(file, 0)
            os.write(file, f"{os.getpid()} on {platform.node()}".encode())
            yield
        finally:
            os.close(file)

    def starting_point(self, resume: bool) -> int:
        """The number of steps already done. With `resume`, it is that of the newest checkpoint.

        Raises
        ------
        InputError
            If the folder holds a run and `resume` is not given, or if its checkpoints are gone or cannot be resumed.
        """
        models = self.checkpoints.models()
        if models and not resume:
            raise InputError(f"{self} holds a run that has reached iteration {models[-1]}: give --resume to go on with "
                             "it, or remove it to start again")
        newest = self.checkpoints.newest()
        if not models and (self.path / "accuracy.txt").exists():
            raise InputError(f"{self} holds the accuracies of a run whose checkpoints are gone: name another folder with "
                             f"--runs, or remove {self} to start again")
        if models and newest is None:
            raise InputError(f"{self.checkpoints.folder} has weights but no whole .solverstate to go on from: remove {self} "
                             "to start again")
        return newest or 0


@contextmanager
def removed_if_refused(new: list[Path]) -> Iterator[None]:
    """If the block raises, remove the folders in `new` again: the run's own, and those above it that are empty."""
    try:
        yield
    except BaseException:
        if new:
            shutil.rmtree(new[0], ignore_errors=True)
        for parent in new[1:]:
            try:
                parent.rmdir()
            except OSError:  # another run has made a folder in it
                break
        raise


def folder_of(runs: Path, setting: str, changed: dict, labels: str, seed: int) -> Path:
    """The path of a run's folder. Options that change the setting (`changed`) extend its name: res44_usw_beta_8.

    Characters of a formula that a file name should not contain are percent-encoded: %2F for /.
    """
    changes = "".join(f"_{name}_{value:g}" if isinstance(value, float) else f"_{name}_{value}" if name not in OWN else
                      f"_{name}_{_file_name(value)}" for name, value in changed.items())
    return runs / (setting + changes) / labels / f"seed_{seed}"


def _file_name(formula: str) -> str:
    """A formula, without spaces, for a file name. A long one is cut to its beginning and a checksum."""
    name = quote(formula.replace(" ", ""), safe="()*+,")
    return name if len(name) <= 120 else f"{name[:100]}_{hashlib.sha256(name.encode()).hexdigest()[:16]}"
