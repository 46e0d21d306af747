"""Figures of test accuracy: one run with its published run and learning-rate drops, or several runs with theirs."""

import io
import itertools
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from base.files import write_atomically
from base.terminal import shown
from solvers.nets.pycaffe import caffe
from solvers.reporting.published import Curve, PublishedRun

pb = caffe.proto.caffe_pb2

LEGEND_LINE = 0.23  # inches
MOST_DROPS = 100  # of the learning rate, that are drawn
matplotlib.rcParams["text.parse_math"] = False  # names of folders are anybody's: a $ in them is no formula


def draw(title: str, ours: Curve, published: PublishedRun | None, solver: pb.SolverParameter) -> Figure:
    """Draw the curves.

    Parameters
    ----------
    title : str
    ours : Curve
        Iterations, and accuracies as fractions of 1.
    published : PublishedRun or None
        Drawn behind ours.
    solver : caffe_pb2.SolverParameter
        Tells when the learning rate drops.

    Returns
    -------
    Figure
        1200 pixels wide.
    """
    figure, axes = _axes(title)
    if published is not None:
        _plot(axes, published, color="0.65", linewidth=2.5,
              label=f"published: {published.name} (best {100 * published.best:.2f} %)")
    _plot(axes, ours, color="tab:blue", marker="o", markersize=4, label=f"ours (best {100 * ours.best:.2f} %)")
    last = max(ours.iterations[-1], published.iterations[-1] if published is not None else 0)
    for i, drop in enumerate(learning_rate_drops(solver, last)):
        axes.axvline(drop, color="tab:red", linestyle=":", linewidth=1, label=None if i else "learning rate drops")
    axes.set_xlim(0, 1.02 * last)
    _finish(axes)
    return figure


def draw_together(runs: list[tuple[str, Curve, PublishedRun | None]]) -> Figure:
    """Draw several runs, as far as they go, each with its published run dashed in the same colour.

    Parameters
    ----------
    runs : list of (name, Curve, PublishedRun or None)

    Returns
    -------
    Figure
        1200 pixels wide.
    """
    figure, axes = _axes("test accuracy: ours and, dashed, as published")
    colours: dict[str, str] = {}
    markers = itertools.cycle("os^Dv")
    for name, ours, published in runs:
        behind = published.name + str(published.noise) if published is not None else name
        new = behind not in colours
        colour = colours.setdefault(behind, f"C{len(colours) % 10}")
        if published is not None and new:
            far = [step for step in published.iterations if step <= ours.iterations[-1] + 1000]
            _plot(axes, published.at(far), color=colour, linestyle="--",
                  label=f"published: {published.name}, noise {published.noise}")
        _plot(axes, ours, color=colour, marker=next(markers), markersize=4, label=name)
    axes.set_xlim(left=0)
    _finish(axes)
    return figure


def save(file: Path, figure: Figure) -> None:
    """Write a figure as PNG, whole or not at all; raise DataError if that cannot be done."""
    png = io.BytesIO()
    figure.savefig(png, format="png")
    write_atomically(file, png.getvalue())


def _axes(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8, 4.5), dpi=150, layout="constrained")
    axes = figure.subplots()
    axes.set(title=shown(title), xlabel="iteration", ylabel="test accuracy (%)")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.grid(alpha=0.25)
    return figure, axes


def _plot(axes: Axes, curve: Curve, **style) -> None:
    axes.plot(curve.iterations, [100 * accuracy for accuracy in curve.accuracies], **style | {"label": shown(style["label"])})


def _finish(axes: Axes) -> None:
    axes.set_ylim(bottom=0)
    # Below the axes, where it hides no curve, one name a line, so that none is cut; the figure grows with it.
    figure, entries = axes.figure, len(axes.get_legend_handles_labels()[1])
    figure.set_figheight(figure.get_figheight() + LEGEND_LINE * entries)
    figure.legend(loc="outside lower left", frameon=False)


def learning_rate_drops(solver: pb.SolverParameter, last: int) -> list[int]:
    """The iterations up to `last` at which a solver's policy lowers the learning rate in steps; the first MOST_DROPS."""
    if solver.lr_policy == "step" and solver.stepsize > 0:
        return list(range(solver.stepsize, last + 1, solver.stepsize)[:MOST_DROPS])
    return [step for step in solver.stepvalue if step <= last][:MOST_DROPS] if solver.lr_policy == "multistep" else []
