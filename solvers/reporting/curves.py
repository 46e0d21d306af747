"""Figures of test accuracy: one run with the released one and learning-rate drops, or several runs with theirs."""

import io
import itertools
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from base.errors import InputError
from base.terminal import shown
from base.writing import write_atomically
from solvers.nets.pycaffe import caffe
from solvers.reporting.accuracy import Curve
from solvers.reporting.released_runs import ReleasedRun

pb = caffe.proto.caffe_pb2

FORMATS = (".png", ".pdf", ".svg")
LEGEND_LINE = 0.23  # inches
MOST_DROPS = 100  # the most drops of the learning rate that are drawn
matplotlib.rcParams["text.parse_math"] = False  # a $ in the name of a folder must not begin a formula


def draw(title: str, ours: Curve, released: ReleasedRun | None, solver: pb.SolverParameter) -> Figure:
    """Draw the curves.

    Parameters
    ----------
    title : str
    ours : Curve
        Iterations, and accuracies as fractions of 1.
    released : ReleasedRun or None
        Drawn behind ours.
    solver : caffe_pb2.SolverParameter
        Its policy determines where the learning rate drops, which dotted lines show.

    Returns
    -------
    Figure
        1200 pixels wide.
    """
    figure, axes = _axes(title)
    if released is not None:
        _plot(axes, released, color="0.65", linewidth=2.5,
              label=f"published: {released.name} (best {100 * released.best:.2f} %)")
    _plot(axes, ours, color="tab:blue", marker="o", markersize=4, label=f"ours (best {100 * ours.best:.2f} %)")
    last = max(ours.iterations[-1], released.iterations[-1] if released is not None else 0)
    for i, drop in enumerate(learning_rate_drops(solver, last)):
        axes.axvline(drop, color="tab:red", linestyle=":", linewidth=1, label=None if i else "learning rate drops")
    axes.set_xlim(0, 1.02 * last)
    _finish(axes)
    return figure


def draw_together(runs: list[tuple[str, Curve, ReleasedRun | None]]) -> Figure:
    """Draw several runs, each with its released run dashed in the same colour.

    Parameters
    ----------
    runs : list of (name, Curve, ReleasedRun or None)

    Returns
    -------
    Figure
        1200 pixels wide.
    """
    figure, axes = _axes("test accuracy: ours and, dashed, as published")
    colours: dict[str, str] = {}
    markers = itertools.cycle("os^Dv")
    together = [released.name + str(released.noise) if released is not None else name for name, _, released in runs]
    longest: dict[str, int] = {}  # the most steps of runs that have the same released one
    for behind, (_, ours, _) in zip(together, runs, strict=True):
        longest[behind] = max(longest.get(behind, 0), ours.iterations[-1])
    for behind, (name, ours, released) in zip(together, runs, strict=True):
        new = behind not in colours
        colour = colours.setdefault(behind, f"C{len(colours) % 10}")
        if released is not None and new:
            far = [step for step in released.iterations if step <= longest[behind] + 1000]
            _plot(axes, released.at(far), color=colour, linestyle="--",
                  label=f"published: {released.name}, noise {released.noise}")
        _plot(axes, ours, color=colour, marker=next(markers), markersize=4, label=name)
    axes.set_xlim(left=0)
    _finish(axes)
    return figure


def save(file: Path, figure: Figure) -> None:
    """Write a figure in the format that the name ends in. The file is never left half written.

    Raises
    ------
    InputError
        If the name ends in none of FORMATS, or the file cannot be written.
    """
    if file.suffix not in FORMATS:
        raise InputError(f"{file}: a figure's name ends in {', '.join(FORMATS)}")
    content = io.BytesIO()
    figure.savefig(content, format=file.suffix[1:])
    write_atomically(file, content.getvalue())


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
    # The legend is below the axes, with one name per line, so that it hides no curve; the figure grows with it.
    figure, entries = axes.figure, len(axes.get_legend_handles_labels()[1])
    figure.set_figheight(figure.get_figheight() + LEGEND_LINE * entries)
    figure.legend(loc="outside lower left", frameon=False)


def learning_rate_drops(solver: pb.SolverParameter, last: int) -> list[int]:
    """The iterations up to `last` at which a solver's policy lowers the learning rate in steps; the first MOST_DROPS."""
    if solver.lr_policy == "step" and solver.stepsize > 0:
        return list(range(solver.stepsize, last + 1, solver.stepsize)[:MOST_DROPS])
    return [step for step in solver.stepvalue if step <= last][:MOST_DROPS] if solver.lr_policy == "multistep" else []
