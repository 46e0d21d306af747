"""Helpers for tests of figures: the numbers of the curves, and the picture in a file."""

import io
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread


def lines(axes: Axes) -> dict[str, tuple[list, list]]:
    """The x and y values of each line in the legend."""
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines
            if not line.get_label().startswith("_")}


def assert_shows(file: Path, figure: Figure) -> None:
    """The file is a picture that equals the figure in each pixel, and contains the colours of the figure's curves."""
    shown = imread(file)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    drawn.seek(0)
    np.testing.assert_array_equal(shown, imread(drawn))
    for line in (line for axes in figure.axes for line in axes.lines):
        away = np.abs(shown[..., :3] - to_rgb(line.get_color())).max(axis=-1)
        assert (away < 1 / 255).sum() > 10, line.get_label()
