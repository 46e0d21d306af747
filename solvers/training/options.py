"""The options of solvers.train, each checked where it is read."""

import argparse
import math
from collections.abc import Callable
from pathlib import Path

from base.did_you_mean import did_you_mean
from base.errors import CommandLine
from data_toolkit.noise import NOISE_TYPES
from layers.table import CUSTOM, OPTIONS, OWN, PARAMETERS, ROWS, WEIGHTINGS, Parameter
from layers.weighting import Weighting, chosen
from solvers.nets import threads
from solvers.nets.permissions import Permissions

LOSS_OPTIONS = ("weighting", *OWN, *OPTIONS, "set")


def parse(argv: list[str], description: str, parser_class: type[CommandLine] = CommandLine) -> argparse.Namespace:
    """Parse the arguments of solvers.train. The parser reports a wrong one; by default it exits with code 2."""
    parser = parser_class(prog="python -m solvers.train", description=description,
                          formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("setting", type=Path, nargs="?", help="folder with solver.prototxt, or a solver file")
    parser.add_argument("--released", nargs="+", metavar=("RUN", "NOISE"),
                        help="one of the 48 released runs instead: setting, noise, beta and lambda as it had them")
    parser.add_argument("--list-released", action="store_true", help="print these 48 with their accuracies, and exit")
    parser.add_argument("--noise", type=rate, metavar="R", help="rate of label noise (default 0)")
    parser.add_argument("--noise-type", choices=list(NOISE_TYPES), metavar="TYPE",
                        help=f"{', '.join(NOISE_TYPES)} (default symmetric)")
    parser.add_argument("--noise-matrix", type=Path, metavar="FILE",
                        help="100 x 100 transition probabilities instead, true class by label")
    parser.add_argument("--train-data", type=Path, metavar="FILE",
                        help="another training set, e.g. the authors' TrainImageDataCell0.4.mat; --noise only says its rate")
    parser.add_argument("--max-iter", type=steps, metavar="N",
                        help="steps (default: the solver's max_iter, or 30000)")
    parser.add_argument("--seed", type=seed_number, metavar="S",
                        help="seed of weights and batches (default: the solver's random_seed, or 123)")
    parser.add_argument("--lr", type=positive, metavar="R", help="learning rate to begin with (default: the solver's base_lr)")
    parser.add_argument("--batch", type=steps, metavar="N", help="images a step, 8 of a class (default: the net's)")
    parser.add_argument("--depth", type=steps, metavar="D",
                        help="layers of a ResNet as in prototxt/, 6n + 2: 20, 32, 44, 56, 110 (default: the net's)")
    parser.add_argument("--snapshot", type=steps, metavar="N",
                        help="steps from one checkpoint to the next (default: the solver's snapshot, or 1000)")
    for row in ROWS:
        for parameter in filter(lambda parameter: parameter.option, row.parameters):
            parser.add_argument(parameter.option, type=in_range(parameter), metavar=parameter.name[0].upper(),
                                help=f"{parameter.name} of {row.name}: {parameter.meaning}")
    parser.add_argument("--set", type=assignments, action="append", metavar="NAME=NUMBER,...",
                        help=f"parameters of any weighting, by their names in docs/weightings.md: {', '.join(PARAMETERS)}")
    parser.add_argument("--weighting", type=weighting, metavar="W",
                        help=f"weighting of WeightedSoftmaxWithLoss: {', '.join(WEIGHTINGS)}, or a formula of p, "
                        '"pow(p, 0.3) * exp(-2 * p)", for its c(p)')
    for name in OWN:
        parser.add_argument(f"--{name}", type=own(name), metavar="TEXT",
                            help=f"the {name} of the weighting CUSTOM, which it implies, or CUSTOM_DN")
    parser.add_argument("--layers", choices=("native", "python"), default="native",
                        help="our loss layers in C++ (default) or in Python")
    parser.add_argument("--dynamics-interval", type=steps, default=10, metavar="N",
                        help="steps from one row of dynamics.csv to the next (default 10)")
    parser.add_argument("--test-interval", type=steps, metavar="N",
                        help="steps from one test on the test images to the next (default: the solver's, or never)")
    Permissions.add_options(parser)
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint, if there is one")
    parser.add_argument("--inexact-resume", action="store_true",
                        help="also resume a net that may keep state between steps that no checkpoint saves")
    threads.add_option(parser)
    parser.add_argument("--wait", action="store_true",
                        help="wait for the end of another process that trains this run; an error otherwise")
    parser.add_argument("--gpu", metavar="IDS", help="GPUs to train on: 0, or 0,1, or all (default: the CPU)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR",
                        help="folder of all runs (default runs)")
    parser.add_argument("--data", type=Path, default=Path("data"), metavar="DIR",
                        help="folder of the data (default data); made from CIFAR100_SOURCE or a download if missing")
    args = parser.parse_args(argv)
    is_formula = args.weighting and "formula" in chosen(args.weighting)
    formulas = ["--weighting"] * bool(is_formula) + [f"--{name}" for name in OWN if getattr(args, name)]
    if len(formulas) > 1:
        parser.error(f"{' and '.join(formulas)}: give one of them; each says what the weighting is")
    numbers = [name for values in args.set or [] for name in values]
    numbers += [name for name in OPTIONS if getattr(args, name) is not None]
    if twice := [name for name in numbers if numbers.count(name) > 1]:
        parser.error(f"--set {twice[0]}: it is given twice")
    if args.released:
        if len(args.released) > 2:
            parser.error(f"--released takes a run and its noise; {' '.join(args.released[2:])} is too much")
        for name in ("setting", "noise", "noise_type", "noise_matrix", "train_data", *LOSS_OPTIONS,
                     "lr", "batch", "depth"):
            if getattr(args, name) is not None:
                parser.error(f"--released says what the run is: leave out {'--' * (name != 'setting')}"
                             f"{name.replace('_', '-')} {getattr(args, name)}")
    elif args.setting is None and not args.list_released:
        parser.error("name a setting, e.g. prototxt/res44_usw, or a run with --released")
    return args


def rate(text: str) -> float:
    """An argparse type: a number from 0 to 1."""
    value = number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a rate from 0 to 1")
    return value


def number(text: str) -> float:
    """An argparse type: a finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return value


def positive(text: str) -> float:
    """An argparse type: a number above 0."""
    value = number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def whole(text: str, first: int, last: int) -> int:
    """Parse a whole number from `first` to `last`, for argparse types."""
    if not (text.isdecimal() and first <= int(text) <= last):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {first} to {last}")
    return int(text)


def steps(text: str) -> int:
    """An argparse type: a number of steps, at least 1."""
    return whole(text, 1, 2**31 - 1)


def seed_number(text: str) -> int:
    """An argparse type: a seed that Caffe and NumPy take."""
    return whole(text, 0, 2**32 - 1)


def weighting(text: str) -> str:
    """An argparse type: the name of a weighting, or a formula of c(p)."""
    try:
        chosen(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def in_range(parameter: Parameter) -> Callable[[str], float]:
    """An argparse type for an option that sets a parameter of a weighting: a number in the parameter's range."""
    def read(text: str) -> float:
        value = number(text)
        if not parameter.holds(value):
            raise argparse.ArgumentTypeError(f"{text} is not {parameter.range}")
        return value
    return read


def assignments(text: str) -> dict[str, float]:
    """Parse NAME=NUMBER,... into parameters of weightings. Whether the net's weighting has them is checked later."""
    values = {}
    for pair in text.split(","):
        name, sign, value = (part.strip() for part in pair.partition("="))
        if name not in PARAMETERS:
            raise argparse.ArgumentTypeError(f"{pair!r}: no weighting has a parameter {name!r}"
                                             f"{did_you_mean(name, PARAMETERS)} (there are {', '.join(PARAMETERS)})")
        if not sign:
            raise argparse.ArgumentTypeError(f"{pair!r}: give a number, as in {name}=1")
        if name in values:
            raise argparse.ArgumentTypeError(f"{pair!r}: {name} is given twice")
        values[name] = number(value)
    return values


def own(kind: str) -> Callable[[str], str]:
    """An argparse type for an option that takes a formula, of c(p) or of the emphasis."""
    def read(text: str) -> str:
        try:
            return Weighting("CUSTOM", **{kind: text}).parameters[kind]
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error
    return read


def of_loss(args: argparse.Namespace) -> dict:
    """The options about losses, for `losses.override`. A formula given to --weighting becomes the formula of CUSTOM."""
    given = {name: getattr(args, name) for name in LOSS_OPTIONS}
    given["set"] = {name: value for values in given["set"] or [] for name, value in values.items()}
    if given["weighting"]:
        given |= chosen(given["weighting"])
    elif given["formula"] or given["emphasis"]:
        given["weighting"] = CUSTOM
    return given
