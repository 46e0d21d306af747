"""Make a page for trying out weightings: a single file that needs no network. Its sources are in emphasis_page/."""

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from layers import formula
from layers.table import CUSTOM, ROWS, Row
from layers.weighting import Weighting

PAGE = Path(__file__).parent / "emphasis_page"
HEIGHT = 260


def page(settings: Iterable[tuple[str, Weighting]]) -> str:
    """The HTML of the page. Its charts show the weightings of `settings`, with their names, behind the one being tried out.

    The page's Content-Security-Policy allows only the scripts that are inserted here, and no downloads.

    Raises
    ------
    ValueError
        If packages that the page needs are not installed.
    """
    try:
        import jinja2
        import vl_convert
        from markupsafe import Markup
    except ImportError as missing:
        raise ValueError(f"a page needs the packages of the extra `report` ({missing}): make setup installs them") from None

    names = [name for name, _ in settings]
    data = {
        "rows": [_row(row) for row in ROWS],
        "settings": [{"name": name, "row": weighting.row.name, "given": weighting.parameters} for name, weighting in settings],
        "functions": formula.FUNCTIONS, "meant": formula.MEANT, "most": formula.MOST_CHARACTERS,
        "nesting": formula.MOST_NESTING, "stack": formula.MOST_STACK, "checked": formula.CHECKED.tolist(), "custom": CUSTOM,
        "charts": {"density": _chart("density", "normalised weight", names), "c": _chart("c", "c(p)", names)},
    }
    scripts = [vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"), (PAGE / "page.js").read_text()]
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(PAGE), autoescape=True, undefined=jinja2.StrictUndefined,
                                     trim_blocks=True, lstrip_blocks=True)
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return environment.get_template("page.html").render(
        data=data, rows=ROWS, custom=CUSTOM, style=Markup((PAGE / "page.css").read_text()),
        scripts=[Markup(script) for script in scripts], hashes=[_csp_hash(script) for script in scripts])


def _row(row: Row) -> dict:
    """A row of the table as JSON data for the page."""
    parameters = [asdict(parameter) | {"field": parameter.field or parameter.name, "range": parameter.range}
                  for parameter in row.parameters]
    return {"name": row.name, "formula": row.multiplier, "emphasis": row.emphasis, "parameters": parameters,
            "sentence": row.sentence, "source": row.source, "twin": not row.always_normalised}


def _chart(field: str, title: str, names: list[str]) -> dict:
    """A Vega chart with a curve for each setting and one for the weighting being tried out. Data: `curves`, `tried`."""
    import altair as alt
    import vl_convert

    x = alt.X("p:Q", title="p, the probability given to the label", scale=alt.Scale(domain=[0, 1]))
    y = alt.Y(f"{field}:Q", title=title, scale=alt.Scale(zero=True))
    colours = [f"var(--series-{number % 8})" for number in range(len(names))]
    colour = alt.Color("name:N", scale=alt.Scale(domain=names, range=colours),
                       legend=alt.Legend(title=None, orient="bottom", columns=2, columnPadding=30, labelLimit=300))
    dash = alt.StrokeDash("name:N", legend=None, scale=alt.Scale(
        domain=names, range=[[[1, 0], [6, 3], [2, 2]][number % 3] for number in range(len(names))]))
    curves = alt.Chart(alt.NamedData("curves")).mark_line(strokeWidth=1.3, clip=True).encode(
        x=x, y=y, color=colour, strokeDash=dash)
    tried = alt.Chart(alt.NamedData("tried")).mark_line(strokeWidth=3.5, clip=True, color="currentColor").encode(x=x, y=y)
    text = {"labelColor": "currentColor", "titleColor": "currentColor", "domainColor": "currentColor",
            "tickColor": "currentColor", "gridColor": "currentColor", "gridOpacity": 0.15, "titleFontWeight": "normal",
            "labelFont": "inherit", "titleFont": "inherit", "labelFontSize": 12, "titleFontSize": 13}
    chart = (curves + tried).properties(width="container", height=HEIGHT).configure(
        background="transparent", autosize=alt.AutoSizeParams(type="fit-x", contains="padding"), aria=False).configure_axis(
        **text).configure_legend(labelColor="currentColor", labelFont="inherit", labelFontSize=12).configure_view(stroke=None)
    return vl_convert.vegalite_to_vega(chart.to_dict())


def _csp_hash(script: str) -> str:
    """The name of an inline script in a Content-Security-Policy: its hash."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
