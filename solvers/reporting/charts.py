"""The charts of a report, as Vega specifications without data: the page adds the data of the runs that its reader chooses.

Colours are names of variables in the page's style sheet, so that the charts follow its light and dark themes. Weightings
differ in the shape of their marks as well.
"""

from functools import cache

import altair as alt
import vl_convert

# The style sheet has eight colours. When all are used, the next weightings repeat them with other shapes.
COLOURS = [f"var(--series-{number})" for number in range(8)]
SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-left", "triangle-right"]
DASHES = {"solid": [1, 0], "dashed": [6, 4]}
REFERENCE = {"strokeDash": [2, 3], "color": "currentColor", "opacity": 0.6}  # style of lines of reference
HEIGHT = 240


def looks(count: int) -> list[tuple[str, str]]:
    """The colour and the shape of each of `count` weightings. Up to 64, no two have the same pair."""
    return [(COLOURS[i % len(COLOURS)], SHAPES[(i + i // len(COLOURS)) % len(SHAPES)]) for i in range(count)]


@cache
def vega_script() -> str:
    """What draws the charts: Vega, as window.vegaEmbed. vl-convert takes three seconds to put it together."""
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")


def curves(count: int, highest: float) -> dict:
    """Test accuracy in % over iterations; dashed with hollow marks, as released. Data: `ours`, `released`, `drops`.

    Parameters
    ----------
    count : int
        The number of weightings. The data name them by number, from 0; the number determines colour and shape.
    highest : float
        The end of the accuracy axis in %: the same for all charts, so that they can be compared.
    """
    y = alt.Y("accuracy:Q", title="test accuracy (%)", scale=alt.Scale(domain=[0, highest]))
    drops = alt.Chart(alt.NamedData("drops")).mark_rule(**REFERENCE).encode(x=_iterations())
    tooltip = [alt.Tooltip("run:N"), alt.Tooltip("iteration:Q", format=","), alt.Tooltip("accuracy:Q", format=".2f")]
    released = _series("released", count, tooltip, dashed=True, x=_iterations(), y=y, detail="run:N")
    return _vega(drops + released + _series("ours", count, tooltip, x=_iterations(), y=y, detail="run:N"))


def dynamics(count: int, title: str, highest: float) -> dict:
    """A quantity of the learning dynamics; solid for clean examples, dashed for noisy ones. Data: `dynamics`, `level`.

    `level` holds the fraction of noisy examples, for a dotted line; it is empty in charts without that line.
    """
    dash = alt.StrokeDash("kind:N", legend=None, scale=alt.Scale(domain=["clean", "noisy"], range=list(DASHES.values())))
    tooltip = [alt.Tooltip("run:N"), alt.Tooltip("kind:N"), alt.Tooltip("iteration:Q", format=","),
               alt.Tooltip("value:Q", format=".3f")]
    level = alt.Chart(alt.NamedData("level")).mark_rule(**REFERENCE).encode(y="value:Q")
    y = alt.Y("value:Q", title=title, scale=alt.Scale(domain=[0, highest]))
    return _vega(level + _series("dynamics", count, tooltip, x=_iterations(), y=y, detail="run:N", strokeDash=dash))


def emphasis(count: int) -> dict:
    """The normalised emphasis of each weighting, as a function of p. Data: `emphasis`; a point's `label` is written there."""
    x = alt.X("p:Q", title="p, the probability given to the label", scale=alt.Scale(domain=[0, 1]),
              axis=alt.Axis(values=[0, 0.2, 0.4, 0.6, 0.8, 1]))
    y = alt.Y("density:Q", title="normalised weight", scale=alt.Scale(zero=True))
    tooltip = [alt.Tooltip("loss:N"), alt.Tooltip("p:Q"), alt.Tooltip("density:Q", format=".2f")]
    inwards = alt.ExprRef("datum.p > 0.5 ? 'right' : 'left'")
    labels = alt.Chart(alt.NamedData("emphasis")).transform_filter("datum.label").mark_text(align=inwards, dy=-9).encode(
        x=x, y=y, text="label:N", color=_colour(count))
    return _vega(_series("emphasis", count, tooltip, x=x, y=y, detail="loss:N") + labels)


def _series(data: str, count: int, tooltip: list[alt.Tooltip], dashed: bool = False, **encoding: object) -> alt.LayerChart:
    """A line for each run, with marks at the points whose field `marked` is true; a dashed line has hollow marks."""
    chart = alt.Chart(alt.NamedData(data))
    style = {"strokeDash": DASHES["dashed"], "strokeWidth": 1.5} if dashed else {"strokeWidth": 2}
    line = chart.mark_line(**style).encode(color=_colour(count), **encoding)
    marks = chart.transform_filter("datum.marked").mark_point(filled=not dashed, size=45, opacity=1).encode(
        x=encoding["x"], y=encoding["y"], color=_colour(count), shape=_shape(count), tooltip=tooltip)
    return line + marks


def _iterations() -> alt.X:
    axis = alt.Axis(format="~s", tickCount=6)
    return alt.X("iteration:Q", title="iteration", axis=axis, scale=alt.Scale(nice=False, zero=True))


def _colour(count: int) -> alt.Color:
    colours = [colour for colour, _ in looks(count)]
    return alt.Color("row:N", legend=None, scale=alt.Scale(domain=list(range(count)), range=colours))


def _shape(count: int) -> alt.Shape:
    shapes = [shape for _, shape in looks(count)]
    return alt.Shape("row:N", legend=None, scale=alt.Scale(domain=list(range(count)), range=shapes))


def _vega(chart: alt.LayerChart) -> dict:
    text = {"labelColor": "currentColor", "titleColor": "currentColor", "domainColor": "currentColor",
            "tickColor": "currentColor", "gridColor": "currentColor", "gridOpacity": 0.15, "titleFontWeight": "normal",
            "labelFont": "inherit", "titleFont": "inherit", "labelFontSize": 12, "titleFontSize": 13}
    chart = chart.properties(width="container", height=HEIGHT).configure(
        background="transparent", autosize=alt.AutoSizeParams(type="fit-x", contains="padding"), aria=False).configure_axis(
        **text).configure_view(stroke=None)
    return vl_convert.vegalite_to_vega(chart.to_dict())
