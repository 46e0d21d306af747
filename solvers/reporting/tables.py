"""Tables of results like the paper's Table 1: a row for each weighting, a column for each noise, a mean over seeds in each."""

import csv
import io
import math
from typing import NamedTuple

from solvers.reporting import results
from solvers.reporting.results import Result, percent, points


class Row(NamedTuple):
    """A row of the tables: a weighting, with the runs of each noise rate."""

    name: str
    cells: dict[str, list[Result]]


def tabulate(shown: list[Result]) -> tuple[list[str], list[Row]]:
    """The columns (noise rates) and the rows (weightings).

    Runs of DM with one lambda share a row, as in the paper, unless a noise rate has runs with different betas.
    """
    noises = sorted({result.noise for result in shown}, key=_in_order)
    shown = sorted(shown, key=lambda result: (result.beta or 0, str(result.seed)))
    betas: dict[tuple[str, str], set] = {}
    for result in shown:
        betas.setdefault((result.family, result.noise), set()).add(result.beta)
    split = {family for (family, _), found in betas.items() if len(found) > 1}
    rows: dict[str, dict[str, list[Result]]] = {}
    for result in shown:
        name = result.loss if result.family in split else result.family
        rows.setdefault(name, {noise: [] for noise in noises})[result.noise].append(result)
    return noises, [Row(*row) for row in sorted(rows.items())]


def cell(row: Row, noise: str, measure: str) -> dict[str, object] | None:
    """A cell of the table: the summary of a weighting's runs at a noise rate, as texts; None if there are none."""
    runs = row.cells[noise]
    if not runs:
        return None
    summary = results.summarise(runs, measure)
    deviation = None if summary.deviation is None else percent(summary.deviation)
    beta = None if runs[0].loss == row.name or not runs[0].beta else f"{runs[0].beta:g}"
    about = [f"± {deviation}, {len(runs)} seeds"] * bool(deviation) + [f"β {beta}"] * bool(beta)
    return {
        "ours": percent(summary.ours), "deviation": deviation, "released": percent(summary.released),
        "difference": points(summary.difference), "seeds": len(runs), "beta": beta, "about": ", ".join(about),
        "unfinished": sum(not run.is_complete for run in runs),
    }


def as_csv(noises: list[str], rows: list[Row]) -> str:
    """All tables as CSV, with one line for each cell."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["weighting", "noise", "measure", "seeds", "ours", "deviation", "published", "difference"])
    for measure in results.MEASURES:
        for row in rows:
            for noise in noises:
                if found := cell(row, noise, measure):
                    table.writerow([row.name + (f", beta {found['beta']}" if found["beta"] else ""), noise, measure,
                                    found["seeds"], found["ours"], found["deviation"] or "", found["released"],
                                    found["difference"]])
    return text.getvalue()


def as_latex(noises: list[str], rows: list[Row], measure: str) -> str:
    """One table, in the form of the paper's: ours, and in brackets what was published."""
    lines = [rf"% test accuracy in %, {measure}: ours (published)", rf"\begin{{tabular}}{{l{'r' * len(noises)}}}", r"\hline",
             " & ".join(["weighting", *(f"noise {_latex(noise)}" for noise in noises)]) + r" \\", r"\hline"]
    for row in rows:
        cells = [_latex(row.name)]
        for noise in noises:
            found = cell(row, noise, measure)
            deviation = rf" $\pm$ {found['deviation']}" if found and found["deviation"] else ""
            beta = rf"; $\beta$ {found['beta']}" if found and found["beta"] else ""
            cells.append(f"{found['ours']}{deviation} ({found['released']}{beta})" if found else "")
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\hline", r"\end{tabular}", ""])


LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", **{c: "\\" + c for c in "&%$#_{}"}}


def _latex(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in text)


def _in_order(noise: str) -> tuple[bool, float, str]:
    """A key to sort by: noise rates by value, then other texts by name."""
    try:
        rate = float(noise)
    except ValueError:
        rate = math.nan
    return math.isnan(rate), 0.0 if math.isnan(rate) else rate, noise
