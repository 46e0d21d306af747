"""Ctrl-C, SIGTERM and Slurm's SIGUSR1: the first finishes the step, a second one ends the process at once."""

import ctypes
import signal
from types import FrameType
from typing import Self

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Interrupt:
    """Context in which SIGINT, SIGTERM and SIGUSR1 are recorded in `signal` and do not end the process.

    Attributes
    ----------
    signal : signal.Signals or None
        The first signal that was delivered.

    Python runs signal handlers between two calls of C code, that is, after the step. A second signal should not wait for
    that: the kernel restores the default action of a signal when it delivers it once.
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
    """Set the flag SA_RESETHAND on the installed handler. glibc's sysv_signal() does that."""
    sysv_signal = getattr(ctypes.CDLL(None), "sysv_signal", None)
    if sysv_signal is None:  # not glibc: a second signal waits for the end of the step
        return
    sysv_signal.restype, sysv_signal.argtypes = ctypes.c_void_p, (ctypes.c_int, ctypes.c_void_p)
    sysv_signal(number, sysv_signal(number, None))
