"""Run a command, and send it SIGTERM once when the process that started it ends, even if that was killed with SIGKILL.

    python -m solvers.sweep.leash PARENT COMMAND...     # PARENT: the process id of the process that starts this

solvers.train then saves a checkpoint and ends; otherwise it would go on, and no worker would know of it. The signal comes
from the kernel (PR_SET_PDEATHSIG), which sends one for each thread of the parent that ends. A second SIGTERM would end
solvers.train before it has saved, so this process stands between the two and passes on only the first.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from types import FrameType

PR_SET_PDEATHSIG = 1  # prctl(2)
LIBC = ctypes.CDLL(None, use_errno=True)


def follow(parent: int) -> None:
    """Ask the kernel to send this process SIGTERM when its parent ends. If the parent has already ended, send it at once."""
    if LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


def main(parent: str, *command: str) -> int:
    """Run the command; end with its exit code, or by the signal that ended it."""
    here = os.getpid()
    follow(int(parent))  # until there is a handler, SIGTERM ends this process
    child = subprocess.Popen(command, preexec_fn=lambda: follow(here))

    first = threading.Lock()  # the second signal may interrupt the handler of the first: only one of them gets the lock

    def pass_on(number: int, frame: FrameType | None) -> None:
        if first.acquire(blocking=False):
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
