"""Draw the learning dynamics of runs, after Figure 2 of arXiv 1905.11233: p and gradient shares of clean and noisy examples.

    python -m solvers.plot_dynamics runs/res44_cce/noise_0.4/seed_123 runs/res44_usw_beta_8/noise_0.4/seed_123
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from base.errors import CommandLine, InputError, reports_errors
from base.terminal import say, shown
from solvers.nets.permissions import Permissions
from solvers.reporting import curves, run_folders
from solvers.runs.dynamics import DYNAMICS_FILE, Dynamics, means
from solvers.runs.logs import read_log

LEGEND_LINE = 0.2  # inches
WINDOW = 100  # the most steps averaged in a point of a curve
POINTS = 20  # if a run has fewer points than this, each averages fewer steps and is marked


def draw(runs: dict[str, list[Dynamics]]) -> Figure:
    """Draw runs, each in a colour of its own.

    Parameters
    ----------
    runs : dict
        Rows of dynamics.csv by the name of the run.
    """
    figure = Figure(figsize=(10, 4), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2)
    for number, (name, rows) in enumerate(runs.items()):
        values = np.array(rows, float)
        interval = int(values[0, 0])
        points = means(values, max(1, min(WINDOW // interval, len(values) // POINTS)))
        iterations, *_, clean_p, noisy_p, _, noisy_share = points.T
        noisy = values[:, 2].sum() / values[:, 1:3].sum()
        colour = f"C{number}"
        style = {"color": colour, "marker": "." if len(points) <= POINTS else None}
        left.plot(iterations, clean_p, **style, label=shown(f"{name}, clean"))
        left.plot(iterations, noisy_p, **style, linestyle="--", label=shown(f"{name}, noisy"))
        right.plot(iterations, noisy_share, **style)
        right.axhline(noisy, color=colour, linestyle=":", linewidth=1,
                      label="share of noisy examples" if number == len(runs) - 1 else None)
    left.set(xlabel="iteration", ylabel="mean p, the probability given to the label", xlim=(0, None), ylim=(0, None))
    right.set(xlabel="iteration", ylabel="noisy examples' share of the gradient", xlim=(0, None), ylim=(0, 1))
    # The legend is below both plots, with one name per line, so that it hides no curve; the figure grows with it.
    figure.set_figheight(figure.get_figheight() + LEGEND_LINE * (2 * len(runs) + 1))
    figure.legend(loc="outside lower left", frameon=False, fontsize="small")
    for axes in left, right:
        axes.spines[["top", "right"]].set_visible(False)
    return figure


@reports_errors()
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code: 0, 2 after bad input, 130 after Ctrl-C."""
    parser = CommandLine(prog="python -m solvers.plot_dynamics", description=__doc__.splitlines()[0])
    parser.add_argument("runs", metavar="RUN", nargs="+",
                        help="a run folder with dynamics.csv; a folder with some below; or a glob of these")
    parser.add_argument("--output", type=Path, default=Path("dynamics.png"), metavar="FILE", help="default dynamics.png")
    Permissions.add_unconfined(parser)
    args = parser.parse_args(arguments)
    folders = run_folders.expanded(args.runs)
    allowed = Permissions.from_options(args, *folders)
    allowed.confine(write=allowed.deliver(args.output))
    rows = {str(run): read_log(run / DYNAMICS_FILE, Dynamics) for folder in folders
            for run in (list(run_folders.folders_below([folder])) or [folder])}
    if empty := [run for run, values in rows.items() if not values]:
        raise InputError(f"{empty[0]} has no {DYNAMICS_FILE} with a row: solvers.train writes one every ten steps, or "
                         "every --dynamics-interval, where the true labels are known")
    try:
        with np.errstate(all="ignore"):  # values that are not finite, or too large for a figure, are not drawn
            curves.save(args.output, draw(rows))
    except (ValueError, KeyError) as error:  # Matplotlib raises them over numbers that it cannot place
        raise InputError(str(error)) from error
    say(args.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
