"""The small data set and the forms of CIFAR-100 of the other tests."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / name) for name in ("solvers", "data_toolkit")]
