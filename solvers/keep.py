"""Copy the results of measured runs to a folder that is small enough to commit or to publish: about 100 KB a run.

    python -m solvers.keep runs/res44_usw_beta_8/noise_0.4/seed_123 --to results

A run's copy has config.json, with the seconds of training, accuracy.txt, accuracy_curve.png, and every hundredth step of
dynamics.csv. With --weights it also has the net and its newest weights, so that solvers.export and solvers.evaluate take it.
"""

import argparse
import sys
from pathlib import Path

from base import files
from base.errors import CommandLine, InputError, reports_errors
from base.terminal import say
from base.writing import write_atomically
from solvers.nets.permissions import Permissions
from solvers.reporting import results
from solvers.runs import config
from solvers.runs.checkpoints import FOLDER, Checkpoints
from solvers.runs.dynamics import DYNAMICS_FILE, Dynamics
from solvers.runs.logs import Step, csv_text, read_log

INTERVAL = 100  # steps from one kept row of dynamics.csv to the next
RESULTS = ("accuracy.txt", "accuracy_curve.png")
NET = ("accuracy.json", "solver.prototxt", "test.prototxt", "train.prototxt")  # what evaluate reads besides


def keep(run: Path, folder: Path, weights: bool = False) -> int:
    """Copy the results of a run. They replace an earlier copy, after all files of the run have been read.

    Parameters
    ----------
    run : Path
        A run folder that solvers.evaluate has measured.
    folder : Path
        The folder of the copy.
    weights : bool
        Whether to copy the net and its newest weights, too.

    Returns
    -------
    int
        The step of the last measured checkpoint.

    Raises
    ------
    InputError
        If the run was not measured, has no weights that could be copied, or has a damaged file.
    """
    result = results.read(run)
    about = result.config
    seconds = {step.iteration: step.seconds for step in read_log(run / "log.csv", Step)}
    if result.steps in seconds:
        about = about | {"seconds": round(seconds[result.steps])}
    names = [*RESULTS, *(NET + _newest(run) if weights else ())]
    contents = {name: _content(run, name) for name in names if (run / name).is_file()}
    if dynamics := [row for row in read_log(run / DYNAMICS_FILE, Dynamics) if row.iteration % INTERVAL == 0]:
        contents[DYNAMICS_FILE] = csv_text(Dynamics, dynamics).encode()
    for name, content in contents.items():
        write_atomically(folder / name, content)
    config.write(folder, about)
    for name in {*RESULTS, *NET, DYNAMICS_FILE} - contents.keys():  # of an earlier copy
        (folder / name).unlink(missing_ok=True)
    for file in (folder / FOLDER).glob("*"):
        if f"{FOLDER}/{file.name}" not in contents:
            file.unlink()
    return result.steps


def copy_of(run: Path, to: Path) -> Path:
    """The folder of a run's copy: SETTING/NOISE/SEED in `to`, where a setting of the released package has two folders.

    Raises
    ------
    InputError
        If the run is in no such folders, or a run was trained in the folder of the copy.
    """
    parts = files.real(run).parts[1:]
    count = 3 + config.read(run)["setting"].count("/")
    if len(parts) < count:
        raise InputError(f"{run}: its folders are not runs/SETTING/NOISE/SEED, by which copies are named")
    copy = to.joinpath(*parts[-count:])
    if files.real(copy) == files.real(run):
        raise InputError(f"{run} is in {to} already")
    if (copy / "log.csv").exists():
        raise InputError(f"{copy} is a run itself: name another folder with --to")
    return copy


def _content(run: Path, name: str) -> bytes:
    try:
        return files.read(run / name, files.MAX_BYTES, run)
    except OSError as error:
        raise InputError(f"cannot read {run / name}: {error.strerror or error}") from error


def _newest(run: Path) -> tuple[str, ...]:
    """The files of the newest weights, which must be undamaged, below the run folder."""
    checkpoints = Checkpoints(run)
    iterations = checkpoints.models()
    if not iterations:
        raise InputError(f"{run} has no weights: leave out --weights")
    model, manifest = checkpoints.model(iterations[-1]), checkpoints.manifest(iterations[-1])
    if damage := checkpoints.damage(model):
        raise InputError(damage)
    return f"{FOLDER}/{model.name}", f"{FOLDER}/{manifest.name}"


@reports_errors()
def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code: 0, 2 after bad input, 130 after Ctrl-C."""
    parser = CommandLine(prog="python -m solvers.keep", description=__doc__,
                         formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", metavar="RUN", type=Path, nargs="+", help="a run folder, measured by solvers.evaluate")
    parser.add_argument("--to", metavar="FOLDER", type=Path, default=Path("results"),
                        help="where SETTING/NOISE/SEED of each run are copied to; default %(default)s")
    parser.add_argument("--weights", action="store_true", help="copy the net and its newest weights, too")
    Permissions.add_unconfined(parser)
    args = parser.parse_args(arguments)
    for run in args.runs:
        if not (run / config.FILE).exists():
            raise config.missing(run)
    Permissions.from_options(args, *args.runs).confine(write=[args.to])
    copies: dict[Path, Path] = {}
    for run in args.runs:
        copy = copy_of(run, args.to)
        if (other := copies.setdefault(copy, run)) != run:
            raise InputError(f"{other} and {run} would both be copied to {copy}: copy one of them to another folder")
    for copy, run in copies.items():
        steps = keep(run, copy, args.weights)
        say(f"{copy}: the results of {steps:,} steps")
    return 0


if __name__ == "__main__":
    sys.exit(main())
