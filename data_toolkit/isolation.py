"""Read files from strangers in a process of its own: what a damaged one makes SciPy or HDF5 do stays there.

Mutations of a file have been seen to crash SciPy's reader, and the HDF5 2.0 of h5py 3.16 has known errors over crafted
files. The process is a fork of this one, gives back plain arrays, and nothing that it returns is unpickled.
"""

import io
import os
import re
import resource
import signal
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_toolkit.errors import DataError

REFUSED = 3  # exit code of a process that gives back what is wrong
MAX_SECONDS = 600
MAX_BYTES = 4 << 30  # of memory: compressed variables may unpack to any size
CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT)


def arrays(read: Callable[[], dict[str, NDArray]]) -> dict[str, NDArray]:
    """What `read` returns, called in a process of its own.

    Parameters
    ----------
    read : function
        Of no arguments; returns arrays of numbers or text by name.

    Raises
    ------
    DataError
        As `read` does; and if it raises anything else, crashes, or needs more than MAX_SECONDS or MAX_BYTES.
    """
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        os.close(ours)
        _answer(read, theirs)
    os.close(theirs)
    try:
        with open(ours, "rb") as pipe:
            content = pipe.read()
    except BaseException:  # Ctrl-C
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == REFUSED:
        raise DataError(content.decode(errors="replace"))
    if code == -signal.SIGALRM:
        raise DataError(f"cannot be read within {MAX_SECONDS} s")
    try:
        if code:
            raise ValueError(f"its reader ended with code {code}")
        with np.load(io.BytesIO(content), allow_pickle=False) as found:
            return dict(found)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"is damaged: {error}") from error


def _answer(read: Callable[[], dict[str, NDArray]], pipe: int) -> None:
    """The process: write what is read as an .npz, or what is wrong, and end."""
    code = 1
    try:
        for number in (*CRASHES, signal.SIGALRM):  # whatever the parent does about them
            signal.signal(number, signal.SIG_DFL)
        signal.alarm(MAX_SECONDS)
        limit_memory(MAX_BYTES)
        with open(pipe, "wb") as file:
            try:
                found = read()
            except Exception as error:  # a damaged file may raise anything
                file.write(str(error if isinstance(error, DataError)
                               else f"is damaged: {str(error) or type(error).__name__}").encode())
                code = REFUSED
            else:
                np.savez(file, **found)
                code = 0
    finally:
        os._exit(code)


def limit_memory(size: int) -> None:
    """Let this process take so many bytes of data besides those it has."""
    own = 1024 * int(re.search(r"VmData:\s+(\d+)", Path("/proc/self/status").read_text())[1])
    resource.setrlimit(resource.RLIMIT_DATA, (own + size,) * 2)
