"""Set runs against the released ones and Table 1 of the paper: test accuracies in %, differences in percentage points.

    python -m solvers.compare runs/res44_usw/noise_0.4/seed_123 [RUN ...]
    python -m solvers.compare runs/*/noise_0.4/seed_123 --plot curves.png    # also draws them

Both sides are taken at the same checkpoints, so an unfinished run is held against the released one at its own age.
"""

import re
from pathlib import Path

from data_toolkit.errors import DataError
from data_toolkit.files import write_atomically
from layers.did_you_mean import did_you_mean
from solvers import config, curves, published
from solvers.errors import CommandLine, SolverError, failed
from solvers.published import Curve

HEADER = ["run", "steps", "test accuracy", "ours", "released", "diff", "Table 1", "diff"]
MEASURES = {"best": "best", "final": "final", "mean of last five": "mean_last_five"}
ACCURACY_LINE = re.compile(r"iter: (\d+), accuracy: (0\.\d{4}|1\.0{4})(, .*)?")


def compare(run: Path) -> tuple[list[list[str]], list[str]]:
    """The table's rows for one run, and what its reader has to know, a line each.

    Raises
    ------
    SolverError
        If the folder, its accuracy.txt or its config.json is missing or malformed.
    """
    if not run.is_dir():
        siblings = [path.name for path in run.parent.iterdir()] if run.parent.is_dir() else []
        raise SolverError(f"{run}: no such folder{did_you_mean(run.name, siblings)}")
    about = config.read(run)
    ours = read_accuracy(run / "accuracy.txt")
    released = published.match(about)
    steps, complete, notes = ours.iterations[-1], False, []
    theirs = Curve([], [])
    if released is None:
        notes.append(f"{run}: no released run has its loss, parameters and label noise")
    else:
        theirs = released.at(ours.iterations)
        complete = theirs.iterations == released.iterations
        if released.beta not in (None, about.get("beta")):
            notes.append(f"{run}: for its lambda and noise beta {released.beta:g} was released; compared with that run")
        if not complete:
            last, count = released.iterations[-1], len(released.iterations)
            notes.append(
                f"{run}: at {steps:,} of {last:,} steps; compared at {len(theirs.iterations)} of the released run's "
                f"{count} checkpoints; Table 1 is the best of them all"
            )
    if theirs.iterations:
        ours = ours.at(theirs.iterations)

    rows = []
    for measure, attribute in MEASURES.items():
        value = getattr(ours, attribute)
        row = [*([str(run), f"{steps:,}"] if not rows else ["", ""]), measure, f"{100 * value:.2f}"]
        if theirs.iterations:
            other = getattr(theirs, attribute)
            row += [f"{100 * other:.2f}", points(value - other)]
        else:
            row += ["-", "-"]
        if released and measure == "best":  # the one measure in Table 1
            row += [f"{100 * released.table1:.1f}", points(value - released.table1) if complete else "-"]
        else:
            row += ["", ""]
        rows.append(row)
    return rows, notes


def points(difference: float) -> str:
    """A difference of two fractions in percentage points, with its sign."""
    return f"{100 * difference:+z.2f}"


def read_accuracy(path: Path) -> Curve:
    """The curve that solvers.evaluate wrote.

    Raises
    ------
    SolverError
        If there is none, or at the first line that is not `iter: %d, accuracy: %.4f` or goes back in iterations.
    """
    lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
    if not lines:
        state = "empty" if path.is_file() else "no"
        raise SolverError(f"{path.parent}: {state} {path.name}; run python -m solvers.evaluate {path.parent} first")
    curve = Curve([], [])
    for number, line in enumerate(lines, start=1):
        found = ACCURACY_LINE.fullmatch(line)
        if not found:
            raise SolverError(f"{path}:{number}: expected e.g. 'iter: 1000, accuracy: 0.1234', found {line!r}")
        iteration = int(found[1])
        if curve.iterations and iteration <= curve.iterations[-1]:
            raise SolverError(f"{path}:{number}: iter {iteration} does not come after iter {curve.iterations[-1]}")
        curve.iterations.append(iteration)
        curve.accuracies.append(float(found[2]))
    return curve


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
    args = parser.parse_args(arguments)
    table, notes = [HEADER], []
    try:
        for run in args.runs:
            rows, remarks = compare(run)
            table += rows
            notes += remarks
        if args.plot:
            drawn = [(str(run), read_accuracy(run / "accuracy.txt"), published.match(config.read(run))) for run in args.runs]
            write_atomically(args.plot, curves.draw_together(drawn))
    except (SolverError, DataError, OSError) as error:
        return failed(error)
    print(align(table))
    if notes:
        print("", *notes, sep="\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
