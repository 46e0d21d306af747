"""Run a command that is told to stop (SIGTERM, once) when whoever started it ends, however that is: by kill -9, too.

    python -m solvers.sweep.leash PARENT COMMAND...     # PARENT: the process id of whoever starts this

solvers.train saves a checkpoint then; without this it would go on alone, where nobody looks after it. This process stays
between the two because the kernel tells a child of each thread of its parent that ends, and SIGTERM ends solvers.train
unsaved the second time.
"""

import ctypes
import os
import signal
import subprocess
import sys
from types import FrameType

PR_SET_PDEATHSIG = 1  # prctl(2)
LIBC = ctypes.CDLL(None, use_errno=True)


def follow(parent: int) -> None:
    """Get SIGTERM when this process's parent ends; at once if it has ended before the kernel could be asked."""
    if LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


def main(parent: str, *command: str) -> int:
    """Run the command; end as it ends, by the same signal if by one."""
    here = os.getpid()
    follow(int(parent))  # until there is a handler, SIGTERM ends this process
    child = subprocess.Popen(command, preexec_fn=lambda: follow(here))

    def pass_on(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)  # the first time only
        os.kill(child.pid, number)

    signal.signal(signal.SIGTERM, pass_on)
    code = child.wait()
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(here, -code)
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
