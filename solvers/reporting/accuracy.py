"""The curve of a run's test accuracies, and how it is read from the accuracy.txt that solvers.evaluate writes."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from base import files
from base.commands import command
from base.errors import InputError

LINE = re.compile(r"iter: (\d{1,12}), accuracy: (0\.\d{4}|1\.0{4})(, .*)?")


@dataclass(frozen=True)
class Curve:
    """Test accuracy of a run's checkpoints.

    Attributes
    ----------
    iterations : list of int
        Solver steps done at each checkpoint, ascending.
    accuracies : list of float
        The fraction of the test images that is classified correctly, 0 to 1.
    """

    iterations: list[int]
    accuracies: list[float]

    @property
    def best(self) -> float:
        """The largest accuracy."""
        return max(self.accuracies)

    @property
    def final(self) -> float:
        """The accuracy of the last checkpoint."""
        return self.accuracies[-1]

    @property
    def mean_last_five(self) -> float:
        """The mean of the last five accuracies, or of all if there are fewer."""
        return fmean(self.accuracies[-5:])

    def at(self, iterations: Iterable[int]) -> "Curve":
        """The part of the curve at `iterations`; those that it does not have are left out."""
        wanted = set(iterations)
        kept = [point for point in zip(self.iterations, self.accuracies, strict=True) if point[0] in wanted]
        return Curve([iteration for iteration, _ in kept], [accuracy for _, accuracy in kept])


def measured(path: Path) -> set[int]:
    """The iterations in an accuracy.txt; none if it cannot be read. Its net may have no accuracy, but losses."""
    try:
        return {int(number) for number in re.findall(rb"^iter: (\d{1,12}), .*\n", files.read(path), re.MULTILINE)}
    except OSError:
        return set()


def read_accuracy(path: Path, run: Path | None = None) -> Curve:
    """The curve in an accuracy.txt of solvers.evaluate. `run` (default: its folder) is the run to evaluate, for errors.

    Raises
    ------
    InputError
        If the file is missing or empty, or at the first line that does not begin with `iter: %d, accuracy: %.4f`, or whose
        iteration does not come after the one before.
    """
    try:
        lines = files.read(path).decode(errors="replace").splitlines() if path.is_file() else []
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    if not lines:
        state = "empty" if path.is_file() else "no"
        raise InputError(f"{path.parent}: {state} {path.name}; run {command('solvers.evaluate', [run or path.parent])} first")
    curve = Curve([], [])
    for number, line in enumerate(lines, start=1):
        found = LINE.fullmatch(line)
        if not found:
            raise InputError(f"{path}:{number}: expected e.g. 'iter: 1000, accuracy: 0.1234', found {line!r}")
        iteration = int(found[1])
        if curve.iterations and iteration <= curve.iterations[-1]:
            raise InputError(f"{path}:{number}: iter {iteration} does not come after iter {curve.iterations[-1]}")
        curve.iterations.append(iteration)
        curve.accuracies.append(float(found[2]))
    return curve
