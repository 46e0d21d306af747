"""Keep the results of a run's checkpoints in the run folder: accuracy.json, and the lines of accuracy.txt.

Results stay when their checkpoint is deleted. A checkpoint is measured again only if its weights, the nets or the data change.
"""

import csv
import hashlib
import io
import json
from pathlib import Path

from base import files
from base.writing import write_atomically

DIGITS = 12  # of an iteration, at most

Results = dict[str, float | list[float]]


class Measurements:
    """The results of one run's checkpoints on some data, in a JSON file.

    Parameters
    ----------
    file : Path
    measured_on : str
        A fingerprint of the run, its nets and the data. Results in the file with another fingerprint are ignored.

    A damaged file is ignored, too.
    """

    def __init__(self, file: Path, measured_on: str):
        self.file, self.measured_on = file, measured_on
        self._points: dict[int, tuple[str, Results]] = {}
        try:
            content = json.loads(files.read(file))
            points = content["points"]
            if content["measured_on"] == measured_on and content["points_sha256"] == self._sum(points):
                self._points = {int(iteration): (str(weights), _results(found))
                                for iteration, (weights, found) in points.items() if len(iteration) <= DIGITS}
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            pass

    def missing(self, weights: dict[int, str]) -> list[int]:
        """The iterations still to be measured. Results of other weights under the same iterations are deleted.

        Parameters
        ----------
        weights : dict of int to str
            The SHA-256 of each existing checkpoint's weights, by iteration. Results of other iterations are kept.
        """
        by_weights = dict(self._points.values())
        for iteration, now in weights.items():
            if now in by_weights:
                self._points[iteration] = now, by_weights[now]
            else:
                self._points.pop(iteration, None)
        return [iteration for iteration in weights if iteration not in self._points]

    def add(self, iteration: int, weights: str, results: Results) -> None:
        """Set the results of a checkpoint; `weights` is the SHA-256 of its weights."""
        self._points[iteration] = weights, results

    @property
    def results(self) -> dict[int, Results]:
        """The results by iteration, ascending."""
        return {iteration: self._points[iteration][1] for iteration in sorted(self._points)}

    def write(self) -> None:
        """Write all results to the file."""
        points = {str(iteration): self._points[iteration] for iteration in sorted(self._points)}
        content = {"measured_on": self.measured_on, "points_sha256": self._sum(points), "points": points}
        write_atomically(self.file, json.dumps(content, indent=1) + "\n")

    @staticmethod
    def _sum(points: dict) -> str:
        """A checksum: without it, a changed digit would go unnoticed, since the file would still be valid."""
        return sha256(json.dumps(points, sort_keys=True).encode())


def _results(found: Results) -> Results:
    """Results read from a file; ValueError or TypeError if they are not such as `evaluate` finds."""
    results = {str(name): [float(value) for value in values] if isinstance(values, list) else float(values)
               for name, values in found.items()}
    if not all(name.isprintable() for name in results) or not 0 <= results.get("accuracy", 0) <= 1:
        raise ValueError("results that evaluate does not find")
    return results


def line(iteration: int, results: Results) -> str:
    """A line of accuracy.txt: the results that are a single number, the one named "accuracy" first."""
    ordered = sorted(results.items(), key=lambda result: result[0] != "accuracy")
    numbers = [f"{name}: {value:.4f}" for name, value in ordered if not isinstance(value, list)]
    return ", ".join([f"iter: {iteration}", *numbers])


def write_lines(file: Path, results: dict[int, Results]) -> None:
    """Write accuracy.txt."""
    write_atomically(file, "".join(line(*point) + "\n" for point in results.items()))


def write_csv(file: Path, results: dict[int, Results]) -> None:
    """Write train_accuracy.csv, unless there are no results yet."""
    rows = [{"iteration": iteration} | found for iteration, found in results.items()]
    if rows:
        text = io.StringIO()
        table = csv.DictWriter(text, rows[0], lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        write_atomically(file, text.getvalue())


def sha256(*parts: bytes) -> str:
    """The SHA-256 of the parts, joined by zero bytes, in hexadecimal."""
    return hashlib.sha256(b"\0".join(parts)).hexdigest()
