"""Draw how much weight each loss gives to an example, as a function of p: Figure 1(b) of arXiv 1905.11233.

    python -m layers.plot_emphasis                                             # CCE, MAE, MSE, GCE and three DM
    python -m layers.plot_emphasis CCE GCE:q=0.9 DM:lambda=1,beta=8 --output emphasis.png
"""

import argparse
import sys
from pathlib import Path

import matplotlib

from layers.weighting import Weighting

matplotlib.use("Agg")
import numpy as np  # noqa: E402
from matplotlib import pyplot as plt  # noqa: E402

SETTINGS = ["CCE", "MAE", "MSE", "GCE", "DM:lambda=0,beta=1", "DM:lambda=0.5,beta=6", "DM:lambda=1,beta=6"]
FIELDS = {"q": "q", "lambda": "lam", "beta": "beta"}


def parse(text: str) -> Weighting:
    """``NAME`` or ``NAME:key=number,...`` with the keys q, lambda and beta.

    Raises
    ------
    ValueError
        If it is neither.
    """
    name, _, pairs = text.partition(":")
    numbers = {}
    for pair in filter(None, pairs.split(",")):
        key, _, number = pair.partition("=")
        if key not in FIELDS:
            raise ValueError(f"{text}: no parameter {key!r}; there are {', '.join(FIELDS)}")
        try:
            numbers[FIELDS[key]] = float(number)
        except ValueError:
            raise ValueError(f"{text}: {key} is {number!r}, which is not a number") from None
    return Weighting(name, **numbers)


def draw(settings: list[str]) -> plt.Figure:
    """One curve a setting: the weight normalised over p, with its mode as a dot."""
    p = np.linspace(0, 1, 1001)
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for text in settings:
        weighting = parse(text)
        label = text
        for written, drawn in ((",", ", "), (":", ", "), ("=", " = "), ("lambda", "λ"), ("beta", "β")):
            label = label.replace(written, drawn)
        density = weighting.density(p)
        [line] = axes.plot(p, density, label=label)
        top = int(density.argmax())
        axes.plot(p[top], density[top], "o", color=line.get_color(), markersize=4)
    axes.set(xlabel="p, the probability given to the label", ylabel="normalised weight", xlim=(0, 1), ylim=(0, None))
    figure.legend(loc="outside right center", frameon=False, fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", nargs="*", default=SETTINGS, metavar="NAME[:key=number,...]")
    parser.add_argument("--output", type=Path, default=Path("emphasis.png"), help="default %(default)s")
    chosen = parser.parse_args(arguments)
    try:
        draw(chosen.settings).savefig(chosen.output, dpi=150)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(chosen.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
