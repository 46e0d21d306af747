"""What was measured of a run's checkpoints, kept in the run folder: accuracy.json, and the lines of accuracy.txt.

It stays when the checkpoint is pruned, and is not measured again as long as weights, nets and data are the same.
"""

import csv
import hashlib
import io
import json
from pathlib import Path

from base import files
from base.files import write_atomically

Results = dict[str, float | list[float]]


class Measurements:
    """The results of one run's checkpoints on some data, in a JSON file.

    Parameters
    ----------
    file : Path
    measured_on : str
        Tells the run, the nets and the data from others, whose results are not taken over.

    A file that is damaged counts as none.
    """

    def __init__(self, file: Path, measured_on: str):
        self.file, self.measured_on = file, measured_on
        self._points: dict[int, tuple[str, Results]] = {}
        try:
            content = json.loads(files.read(file))
            points = content["points"]
            if content["measured_on"] == measured_on and content["points_sha256"] == self._sum(points):
                self._points = {int(iteration): (str(weights), _results(found))
                                for iteration, (weights, found) in points.items()}
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            pass

    def missing(self, weights: dict[int, str]) -> list[int]:
        """The checkpoints that are to be measured; what was measured of other weights under their iterations is forgotten.

        Parameters
        ----------
        weights : dict of int to str
            SHA-256 of the weights that each checkpoint has now. Iterations that are not among them keep their results.
        """
        by_weights = dict(self._points.values())
        for iteration, now in weights.items():
            if now in by_weights:
                self._points[iteration] = now, by_weights[now]
            else:
                self._points.pop(iteration, None)
        return [iteration for iteration in weights if iteration not in self._points]

    def add(self, iteration: int, weights: str, results: Results) -> None:
        self._points[iteration] = weights, results

    @property
    def results(self) -> dict[int, Results]:
        """By iteration, ascending."""
        return {iteration: self._points[iteration][1] for iteration in sorted(self._points)}

    def write(self) -> None:
        points = {str(iteration): self._points[iteration] for iteration in sorted(self._points)}
        content = {"measured_on": self.measured_on, "points_sha256": self._sum(points), "points": points}
        write_atomically(self.file, json.dumps(content, indent=1) + "\n")

    @staticmethod
    def _sum(points: dict) -> str:
        """Tells a changed digit, which is still a number."""
        return sha256(json.dumps(points, sort_keys=True).encode())


def _results(found: Results) -> Results:
    """Results that are some; ValueError or TypeError for what is none, or has a name that a terminal would obey."""
    if not all(name.isprintable() for name in found):
        raise ValueError("a name with control characters")
    return {str(name): [float(value) for value in values] if isinstance(values, list) else float(values)
            for name, values in found.items()}


def line(iteration: int, results: Results) -> str:
    """A line of accuracy.txt: those results that are one number."""
    numbers = [f"{name}: {value:.4f}" for name, value in results.items() if not isinstance(value, list)]
    return ", ".join([f"iter: {iteration}", *numbers])


def write_lines(file: Path, results: dict[int, Results]) -> None:
    """Write accuracy.txt."""
    write_atomically(file, "".join(line(*point) + "\n" for point in results.items()))


def write_csv(file: Path, results: dict[int, Results]) -> None:
    """Write train_accuracy.csv; nothing if there is nothing yet."""
    rows = [{"iteration": iteration} | found for iteration, found in results.items()]
    if rows:
        text = io.StringIO()
        table = csv.DictWriter(text, rows[0], lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        write_atomically(file, text.getvalue())


def sha256(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()
