"""The accuracy of each class and the confusion matrix, as CSV files and as a figure.

    per_class.csv     a row for each class: its images, its accuracy, and the most frequent wrong prediction
    confusion.csv     how many images of each true class (row) are predicted as each class (column)
    confusion.png     both
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from base import terminal
from base.writing import write_atomically
from solvers.reporting import curves

FILES = ("per_class.csv", "confusion.csv", "confusion.png")
INCHES_A_CLASS = 0.11  # in the figure, so that a name of 5 points has its own line
FONT = 5


def confusion_matrix(true: NDArray, predicted: NDArray, classes: int) -> NDArray[np.int64]:
    """The confusion matrix of N images: how many of each true class (row) are predicted as each class (column).

    Parameters
    ----------
    true, predicted : (N,) int
        Classes from 0 to C - 1.
    classes : int
        C, the number of classes.

    Returns
    -------
    (C, C) int64
    """
    return np.bincount(np.asarray(true, np.int64) * classes + predicted, minlength=classes**2).reshape(classes, classes)


def accuracies(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """The accuracy of each class, (C,), from a confusion matrix, (C, C); NaN where a class has no image."""
    images = confusion.sum(axis=1)
    return np.divide(confusion.diagonal(), images, out=np.full(len(images), np.nan), where=images > 0)


def write(folder: Path, confusion: NDArray[np.int64], names: Sequence[str], title: str) -> None:
    """Write FILES.

    Parameters
    ----------
    folder : Path
    confusion : (C, C) int64
        From `confusion_matrix`.
    names : sequence of str
        The names of the C classes.
    title : str
        The title of the figure.

    Raises
    ------
    InputError
        If a file cannot be written.
    """
    rows = [("class", "name", "images", "accuracy", "taken_for", "taken_for_images")]
    for number, (name, accuracy) in enumerate(zip(names, accuracies(confusion), strict=True)):
        mistaken = confusion[number].copy()
        mistaken[number] = 0
        most = int(mistaken.argmax())
        taken_for = (names[most], mistaken[most]) if mistaken[most] else ("", 0)
        rows.append((number, name, confusion[number].sum(), "" if np.isnan(accuracy) else f"{accuracy:.4f}", *taken_for))
    per_class, matrix, figure = (folder / name for name in FILES)
    write_atomically(per_class, _csv(rows))
    counts = [(name, *row) for name, row in zip(names, confusion, strict=True)]
    write_atomically(matrix, _csv([("true class", *names), *counts]))
    curves.save(figure, draw(confusion, names, title))


def draw(confusion: NDArray[np.int64], names: Sequence[str], title: str) -> Figure:
    """Draw the matrix as shares of each true class, and beside it the accuracies of the classes, both in %."""
    side = max(4.5, INCHES_A_CLASS * len(names))
    figure = Figure(figsize=(side + 3, side + 1), dpi=150, layout="constrained")
    matrix, bars = figure.subplots(1, 2, width_ratios=[5, 1], sharey=True)
    images = confusion.sum(axis=1, keepdims=True)
    shares = 100 * np.divide(confusion, images, out=np.zeros(confusion.shape), where=images > 0)
    shown = matrix.imshow(shares, cmap="Blues", vmin=0, vmax=100, aspect="auto", interpolation="none")
    matrix.set(title=terminal.shown(title), xlabel="taken for", ylabel="true class")
    every = range(len(names))
    matrix.set_xticks(every, names, rotation=90, fontsize=FONT)
    matrix.set_yticks(every, names, fontsize=FONT)
    figure.colorbar(shown, ax=matrix, label="of the class's images (%)", location="bottom", shrink=0.5, aspect=40)
    bars.barh(every, 100 * np.nan_to_num(accuracies(confusion)), color="tab:blue")
    bars.set(xlabel="accuracy (%)", xlim=(0, 100))
    bars.grid(axis="x", alpha=0.25)
    return figure


def describe(confusion: NDArray[np.int64], names: Sequence[str]) -> str:
    """The lowest and the highest accuracy of a class, in words."""
    found = accuracies(confusion)
    known = [number for number in np.argsort(found, kind="stable") if not np.isnan(found[number])]
    if not known:
        return "no images"
    worst, best = known[0], known[-1]
    return f"from {100 * found[worst]:.2f} % ({names[worst]}) to {100 * found[best]:.2f} % ({names[best]})"


def _csv(rows: list[tuple]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
