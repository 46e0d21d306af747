"""Ctrl-C, SIGTERM and Slurm's SIGUSR1: finish the step first; a second one ends the process at once."""

import ctypes
import signal
from types import FrameType
from typing import Self

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Interrupt:
    """Context in which SIGINT, SIGTERM and SIGUSR1 are noted instead of obeyed.

    Attributes
    ----------
    signal : signal.Signals or None
        The first that came.

    Python runs its handlers between two calls of C code, hence after the step. So that a second signal need not
    wait for that, each handler is installed to be replaced by the default action as soon as the signal is delivered.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        for number in SIGNALS:
            _reset_when_delivered(number)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = self.signal or signal.Signals(number)
        for other in SIGNALS:
            signal.signal(other, signal.SIG_DFL)

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _reset_when_delivered(number: int) -> None:
    """Give the handler in place the flag SA_RESETHAND, which is what System V's signal() is about."""
    sysv_signal = getattr(ctypes.CDLL(None), "sysv_signal", None)
    if sysv_signal is None:  # not glibc: a second signal waits for the end of the step
        return
    sysv_signal.restype, sysv_signal.argtypes = ctypes.c_void_p, (ctypes.c_int, ctypes.c_void_p)
    sysv_signal(number, sysv_signal(number, None))
