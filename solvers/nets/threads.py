"""How many threads Caffe computes with, and whether other processes keep the processors busy."""

import argparse
import ctypes
import os
import sys
import time
from pathlib import Path
from typing import NamedTuple

from base import machine
from base.errors import InputError
from base.terminal import say
from solvers import BLAS_THREADS
from solvers.nets.pycaffe import caffe

# Caffe's library gives access to the libraries it is linked with: OpenMP, and OpenBLAS unless another BLAS is used.
_LIBRARIES = ctypes.CDLL(caffe._caffe.__file__)
MOST = 1024


def count() -> int:
    """How many threads a layer of Caffe uses."""
    return _LIBRARIES.omp_get_max_threads()


def use(number: int | None) -> int:
    """Let Caffe compute with `number` threads from now on; return the number in use. Call it before nets are built.

    None stands for OMP_NUM_THREADS, or all processors that this process may use.

    Raises
    ------
    InputError
        If OMP_NUM_THREADS is more than MOST: OpenMP would end the process.
    """
    if number is not None:
        _LIBRARIES.omp_set_num_threads(number)
    elif not 1 <= count() <= MOST:
        raise InputError(f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS')}: the number must be from 1 to {MOST}")
    if hasattr(_LIBRARIES, "openblas_set_num_threads"):
        given = BLAS_THREADS if number is None and (BLAS_THREADS or "").isdecimal() else count()
        _LIBRARIES.openblas_set_num_threads(min(max(1, int(given)), MOST))
    if BLAS_THREADS is None:  # the environment of processes that are started later
        os.environ.pop("OPENBLAS_NUM_THREADS", None)
    else:
        os.environ["OPENBLAS_NUM_THREADS"] = BLAS_THREADS
    return count()


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add --threads to a command."""
    parser.add_argument("--threads", type=_number, metavar="N",
                        help="threads to compute with (default: OMP_NUM_THREADS, or all processors)")


def _number(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= MOST):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {MOST}")
    return int(text)


class _Used(NamedTuple):
    """Seconds: on the clock; used of our processors by processes of normal priority; used of any processor by this process."""

    clock: float
    all: float
    ours: float


def _used() -> _Used | None:
    """The seconds until now; None where the system does not report them."""
    ours = os.times()
    try:
        lines = [line.split() for line in Path("/proc/stat").read_text().splitlines()]
        names = {f"cpu{number}" for number in os.sched_getaffinity(0)}
        # Columns: cpuN user nice system idle iowait irq softirq steal. Without nice: such processes do not slow ours.
        ticks = sum(int(line[column]) for line in lines if line[0] in names for column in (1, 3, 6, 7, 8))
    except (OSError, AttributeError, ValueError, IndexError):
        return None
    return _Used(time.monotonic(), ticks / os.sysconf("SC_CLK_TCK"), sum(ours[:4]))


_BEGAN = _used()


def busy_with_others() -> float:
    """How many of our processors other processes kept busy, on average, since this process began; 0 if unknown."""
    now = _used()
    if _BEGAN is None or now is None or now.clock - _BEGAN.clock < 0.5:  # a tick is 10 ms
        return 0.0
    others = (now.all - _BEGAN.all) - (now.ours - _BEGAN.ours)
    return max(0.0, others / (now.clock - _BEGAN.clock))


def why_slow(busy: float, processors: int, threads: int) -> str:
    """A note that other processes slow this one down, where `busy` of `processors` are taken; "" where they do not."""
    if busy < 0.5 or busy + threads <= processors + 0.5:
        return ""
    fewer = max(1, round(processors - busy))
    advice = f"; --threads {fewer} may be as fast and leaves them room" if fewer < threads else ""
    return (f"other processes keep {busy:.1f} of {processors} processors busy, so this is slower than on an idle machine"
            + advice)


def note_if_busy() -> None:
    """Print the note of `why_slow` on stderr, if there is one."""
    if reason := why_slow(busy_with_others(), machine.processors(), count()):
        say(f"note: {reason}", file=sys.stderr)
