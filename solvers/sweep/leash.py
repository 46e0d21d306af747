"""Start a command that is stopped (SIGTERM) when the process that started it ends, however that is: by kill -9, too.

    python -m solvers.sweep.leash PARENT COMMAND...     # PARENT: the process id of whoever starts this

solvers.train saves a checkpoint then; without this it would go on alone, where nobody looks after it.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # prctl(2)


def main(parent: str, *command: str) -> None:
    """Ask the kernel for the signal, and become the command."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() == int(parent):  # otherwise it has ended before the kernel was asked
        os.execv(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
