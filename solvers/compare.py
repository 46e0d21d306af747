"""Compare runs with the released ones and with Table 1 of the paper: test accuracies in %, differences in percentage points.

    python -m solvers.compare runs/res44_usw/noise_0.4/seed_123
    python -m solvers.compare runs/res44_usw                                 # all runs below, and means over seeds
    python -m solvers.compare 'runs/*/noise_0.4/seed_*' --plot curves.png    # also draws them

Both sides are taken at the same checkpoints: an unfinished run is compared with the same steps of the released one.
"""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from base.errors import CommandLine, InputError, reports_errors
from base.terminal import one_line, say
from solvers.nets.permissions import Permissions
from solvers.reporting import curves, results, run_folders, tables
from solvers.reporting.results import Result, percent, points

HEADER = ["run", "steps", "test accuracy", "ours", "released", "diff", "Table 1", "diff"]
MEANS = ["mean over seeds", "seeds", "test accuracy", "ours", "deviation", "released", "diff"]
TEXT = (0, 2)  # the columns with text, in both tables; the others are numbers


def rows(result: Result) -> list[list[str]]:
    """The table's rows for one run."""
    rows = []
    for measure in result.measures:
        run = ["", ""] if rows else [str(result.run), f"{result.steps:,}"]
        table1 = ["", ""]
        if measure.table1 is not None:
            table1 = [percent(measure.table1, 1), points(measure.table1_difference)]
        ours = [percent(measure.ours), percent(measure.released), points(measure.difference)]
        rows.append([*run, measure.name, *ours, *table1])
    return rows


def means(shown: Iterable[Result]) -> list[list[str]]:
    """The rows of the second table: means and sample standard deviations of experiments with several seeds."""
    noises, experiments = tables.tabulate(run_folders.distinct(shown)[0])
    rows = []
    for experiment in experiments:
        for noise in noises:
            found = {measure: tables.cell(experiment, noise, measure) for measure in results.MEASURES}
            for measure, cell in found.items():
                if cell and cell["deviation"]:
                    beta = f", beta {cell['beta']}" * bool(cell["beta"])
                    unfinished = f" ({cell['unfinished']} unfinished)" * bool(cell["unfinished"])
                    name = f"{experiment.name}{beta}, noise {noise}{unfinished}" if measure == next(iter(found)) else ""
                    rows.append([name, str(cell["seeds"]) if name else "", measure, cell["ours"], cell["deviation"],
                                 cell["released"], cell["difference"]])
    return rows


def align(rows: list[list[str]]) -> str:
    """The rows as text, with aligned columns: numbers to the right, texts to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) if column in TEXT else cell.rjust(width)
                 for column, (cell, width) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


@reports_errors()
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code: 0, 2 after bad input, 130 after Ctrl-C."""
    parser = CommandLine(prog="python -m solvers.compare", description=__doc__,
                         formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", metavar="RUN", nargs="+",
                        help="a run folder, measured by solvers.evaluate; a folder with some below; or a glob of these")
    parser.add_argument("--plot", metavar="FILE", type=Path, help="draw the curves, ours and released: .png, .pdf or .svg")
    Permissions.add_unconfined(parser)
    args = parser.parse_args(arguments)
    folders = run_folders.expanded(args.runs)
    allowed = Permissions.from_options(args, *folders)
    allowed.confine(write=allowed.deliver(args.plot))
    shown, refused = run_folders.read(run_folders.folders_below(folders))
    if not shown:
        raise refused[0] if refused else InputError(
            f"no run folder in {', '.join(args.runs)}: none has a config.json, which solvers.train writes")
    if args.plot:
        drawn = [(str(result.run), result.curve, result.released) for result in shown]
        curves.save(args.plot, curves.draw_together(drawn))
    say(align([HEADER, *(row for result in shown for row in rows(result))]))
    if found := means(shown):
        say("", align([MEANS, *found]))
    if notes := [note for result in shown for note in result.notes]:
        say("", *map(one_line, notes))
    for reason in refused:
        say(one_line(f"not shown: {reason}"), file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
