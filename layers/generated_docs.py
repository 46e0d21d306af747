"""Write the tables of weightings in the documentation, each between two comments. `make table` runs this.

    python -m layers.generated_docs            # rewrite
    python -m layers.generated_docs --check    # compare only; exit code 1 where a file differs
"""

import argparse
import re
from pathlib import Path

import numpy as np

from layers.table import CUSTOM, MINUS_LOG, ROWS, Row
from layers.weighting import Weighting

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- written by python -m layers.generated_docs: {} -->", "<!-- end -->"
FIGURE = ROOT / "docs/weightings.png"  # the curves of all rows with default parameters; drawn again when a table changes
UNTRAINED = 0.01  # p of an untrained net with 100 classes


def _text(formula: str) -> str:
    """A formula as a cell of a table."""
    return f"`{formula.replace('|', chr(92) + '|')}`"


def _number(value: float) -> str:
    return f"{value:.4f}".rstrip("0").rstrip(".")


def _multiplier(row: Row) -> str:
    if row.name == CUSTOM:
        return "yours"
    return _text(row.multiplier) if row.multiplier else f"emphasis / (2 - 2p + 1e-6), emphasis = {_text(row.emphasis)}"


def formulas() -> str:
    """The table of layers/README.md, with the formulas of each weighting."""
    lines = ["| weighting | c(p) | distance | psi |", "|---|---|---|---|"]
    for row in ROWS:
        psi = _text(row.mode) + (f" if {row.peak} > 0" if row.peak else "") if row.mode else "found by trying"
        distance = _text("-log(p)" if row.distance == MINUS_LOG else row.distance.replace(MINUS_LOG, "-log(p)"))
        lines.append(f"| {', '.join(f'`{name}`' for name in row.names)} | {_multiplier(row)} | {distance} | {psi} |")
    return "\n".join(lines)


def choices() -> str:
    """The table of docs/weightings.md, with the facts for choosing a weighting."""
    lines = [f"| weighting | parameters, default, range | psi | emphasis at p = {UNTRAINED} | largest | what it is | source |",
             "|---|---|---|---|---|---|---|"]
    for row in ROWS:
        numbers = "<br>".join(f"`{parameter.name}` {parameter.default:g}, {parameter.range}: {parameter.meaning}"
                              for parameter in row.parameters) or "none"
        if row.name == CUSTOM:
            lines.append(f"| `{row.name}`, `{row.name}_DN` | `formula` or `emphasis` | | | | {row.sentence} | {row.source} |")
            continue
        weighting = Weighting(row.name)
        psi = weighting.mode()
        at = weighting.emphasis(np.array([UNTRAINED, psi, np.nextafter(psi, 1)]))
        lines.append(f"| `{row.name}` | {numbers} | {_number(psi)} | {at[0]:.3g} | {at[1:].max():.3g} | {row.sentence} | "
                     f"{row.source} |")
    return "\n".join(lines)


WRITTEN = {"layers/README.md": {"formulas": formulas}, "docs/weightings.md": {"choices": choices}}


def files() -> dict[Path, str]:
    """The up-to-date contents of the files that contain these tables, by path.

    Raises
    ------
    ValueError
        If a file does not have exactly one place for its table.
    """
    found = {}
    for name, tables in WRITTEN.items():
        text = (ROOT / name).read_text()
        for table, content in tables.items():
            begin = BEGIN.format(table)
            text, count = re.subn(f"{re.escape(begin)}\n.*?{END}", lambda _, b=begin, c=content: f"{b}\n{c()}\n{END}", text,
                                  flags=re.DOTALL)
            if count != 1:
                raise ValueError(f"{name} has {count} places for its table: write the line {begin}, and below it {END}")
        found[ROOT / name] = text
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare only; exit code 1 where a file differs")
    check = parser.parse_args(arguments).check
    stale = {path: text for path, text in files().items() if path.read_text() != text}
    for path, text in stale.items():
        print(f"{'stale' if check else 'wrote'} {path.relative_to(ROOT)}")
        if not check:
            path.write_text(text)
    if stale and not check:
        from layers import plot_emphasis

        plot_emphasis.draw([row.name for row in ROWS if row.name != CUSTOM]).savefig(FIGURE, dpi=120)
        print(f"wrote {FIGURE.relative_to(ROOT)}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
