"""Set runs against the released ones and Table 1 of the paper: test accuracies in %, differences in percentage points.

    python -m solvers.compare runs/res44_usw/noise_0.4/seed_123 [RUN ...]
    python -m solvers.compare runs/*/noise_0.4/seed_123 --plot curves.png    # also draws them

Both sides are taken at the same checkpoints, so an unfinished run is held against the released one at its own age.
"""

from pathlib import Path

from data_toolkit.errors import DataError
from solvers import curves, results
from solvers.errors import CommandLine, SolverError, failed
from solvers.permissions import Permissions, nearest
from solvers.results import Result, percent, points

HEADER = ["run", "steps", "test accuracy", "ours", "released", "diff", "Table 1", "diff"]


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


def align(rows: list[list[str]]) -> str:
    """Columns of equal width; numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    text = (HEADER.index("run"), HEADER.index("test accuracy"))
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if column in text else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = CommandLine(prog="python -m solvers.compare", description=__doc__.splitlines()[0])
    parser.add_argument("runs", metavar="RUN", type=Path, nargs="+", help="a run folder, measured by solvers.evaluate")
    parser.add_argument("--plot", metavar="FILE", type=Path, help="draw the curves, ours and released, as PNG")
    Permissions.add_unconfined(parser)
    args = parser.parse_args(arguments)
    try:
        Permissions.from_options(args, *map(nearest, args.runs)).confine(write=[nearest(args.plot)] if args.plot else [])
        compared = [results.read(run) for run in args.runs]
        if args.plot:
            drawn = [(str(result.run), result.curve, result.released) for result in compared]
            curves.save(args.plot, curves.draw_together(drawn))
    except (SolverError, DataError, OSError) as error:
        return failed(error)
    print(align([HEADER, *(row for result in compared for row in rows(result))]))
    if notes := [note for result in compared for note in result.notes]:
        print("", *notes, sep="\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
