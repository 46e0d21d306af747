"""Draw how much weight each loss gives to an example, as a function of p: Figure 1(b) of arXiv 1905.11233.

    python -m layers.plot_emphasis                                             # CCE, MAE, MSE, GCE and three DM
    python -m layers.plot_emphasis CCE GCE:q=0.9 DM:lambda=1,beta=8 --output emphasis.png
    python -m layers.plot_emphasis SCE "pow(p, 0.3) * exp(-2 * p)" "emphasis: p < 0.2 ? 0 : 1"     # c(p), emphasis
    python -m layers.plot_emphasis --html emphasis.html                        # a page to try out all of them
"""

import argparse
import io
import sys
from pathlib import Path

import matplotlib

from base.did_you_mean import did_you_mean
from base.errors import failed, reports_errors
from base.writing import write_atomically
from layers import emphasis_html
from layers.table import BY_NAME, CUSTOM, OWN
from layers.weighting import Weighting, chosen, parameters_of, weighting_with

matplotlib.use("Agg")
import numpy as np  # noqa: E402
from matplotlib import pyplot as plt  # noqa: E402

SETTINGS = ["CCE", "MAE", "MSE", "GCE", "DM:lambda=0,beta=1", "DM:lambda=0.5,beta=6", "DM:lambda=1,beta=6"]


def parse(text: str) -> Weighting:
    """The weighting of a text: ``NAME``, ``NAME:key=number,...``, a formula of c(p), or ``emphasis:`` and a formula.

    Raises
    ------
    ValueError
        If the text is none of these.
    """
    name, sign, pairs = text.partition(":")
    if sign and name in OWN:
        return Weighting(CUSTOM, **{name: pairs.strip()})
    if name not in BY_NAME:
        return weighting_with(**_named(text))
    numbers, known = {}, parameters_of(BY_NAME[name])
    for pair in filter(None, pairs.split(",")):
        key, _, number = pair.partition("=")
        if key not in known:
            raise ValueError(f"{text}: no parameter {key!r}{did_you_mean(key, known)}; there are {', '.join(known) or 'none'}")
        try:
            numbers[key] = float(number)
        except ValueError:
            raise ValueError(f"{text}: {key} is {number!r}, which is not a number") from None
    return Weighting(name, **numbers)


def _named(text: str) -> dict:
    given = chosen(text)
    return {"name": given.pop("weighting"), "given": given}


def draw(settings: list[str]) -> plt.Figure:
    """Draw a curve for each setting: the emphasis density, with a dot at its mode psi."""
    p = np.linspace(0, 1, 1001)
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for number, text in enumerate(settings):
        weighting = parse(text)
        label = text
        if text.partition(":")[0] in BY_NAME:  # else a formula
            for written, drawn in ((",", ", "), (":", ", "), ("=", " = "), ("lambda", "λ"), ("beta", "β")):
                label = label.replace(written, drawn)
        density = weighting.density(p)
        [line] = axes.plot(p, density, label=label, linestyle=("-", "--", ":")[number // 10 % 3])  # colours repeat after ten
        top = int(density.argmax())
        axes.plot(p[top], density[top], "o", color=line.get_color(), markersize=4)
    axes.set(xlabel="p, the probability given to the label", ylabel="normalised weight", xlim=(0, 1), ylim=(0, None))
    figure.legend(loc="outside right center", frameon=False, fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


@reports_errors()
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code: 0, 2 after bad input, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", nargs="*", default=SETTINGS, metavar="NAME[:key=number,...] or FORMULA")
    parser.add_argument("--output", type=Path, default=Path("emphasis.png"), help="default %(default)s")
    parser.add_argument("--html", type=Path, metavar="FILE", help="instead of the figure, a page for trying out weightings")
    args = parser.parse_args(arguments)
    try:
        if args.html:
            write_atomically(args.html, emphasis_html.page([(text, parse(text)) for text in args.settings]))
        else:
            content = io.BytesIO()
            draw(args.settings).savefig(content, dpi=150, format=args.output.suffix[1:] or "png")
            write_atomically(args.output, content.getvalue())
    except (ValueError, OSError) as error:
        return failed(error)
    print(args.html or args.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
