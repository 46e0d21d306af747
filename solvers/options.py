"""The options of solvers.train, each checked where it is read."""

import argparse
import math
from pathlib import Path

from layers.weighting import WEIGHTINGS, Weighting
from solvers.errors import CommandLine


def parse(argv: list[str], description: str) -> argparse.Namespace:
    """Parse the arguments of solvers.train; whatever is wrong with one ends the process with exit code 2."""
    parser = CommandLine(prog="python -m solvers.train", description=description,
                         formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("setting", type=Path, help="folder with solver.prototxt, or a solver file")
    parser.add_argument("--noise", type=rate, default=0.0, metavar="R",
                        help="rate of symmetric label noise (default 0)")
    parser.add_argument("--max-iter", type=steps, metavar="N",
                        help="steps (default: the solver's max_iter, or 30000)")
    parser.add_argument("--seed", type=seed_number, metavar="S",
                        help="seed of weights and batches (default: the solver's random_seed, or 123)")
    parser.add_argument("--beta", type=number, metavar="B", help="beta of DM, T of IMAE")
    parser.add_argument("--lambda", type=not_negative, metavar="L", help="lambda of DM")
    parser.add_argument("--q", type=not_negative, metavar="Q", help="q of GCE")
    parser.add_argument("--weighting", type=weighting, metavar="W",
                        help=f"weighting of WeightedSoftmaxWithLoss: {', '.join(WEIGHTINGS)}")
    parser.add_argument("--layers", choices=("native", "python"), default="native",
                        help="our loss layers in C++ (default) or in Python")
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint, if there is one")
    parser.add_argument("--gpu", metavar="IDS", help="GPU to train on (default: the CPU)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR",
                        help="folder of all runs (default runs)")
    parser.add_argument("--data", type=Path, default=Path("data"), metavar="DIR",
                        help="folder of the data (default data); made from CIFAR100_SOURCE or a download if missing")
    return parser.parse_args(argv)


def rate(text: str) -> float:
    value = number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a rate from 0 to 1")
    return value


def number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return value


def not_negative(text: str) -> float:
    value = number(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative")
    return value


def whole(text: str, first: int, last: int) -> int:
    if not (text.isdecimal() and first <= int(text) <= last):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {first} to {last}")
    return int(text)


def steps(text: str) -> int:
    return whole(text, 1, 2**31 - 1)


def seed_number(text: str) -> int:
    return whole(text, 0, 2**32 - 1)


def weighting(text: str) -> str:
    try:
        return Weighting(text).name
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
