"""Run a function in a process of its own: if a damaged file crashes SciPy, HDF5 or Caffe, only that process ends.

Mutations of a file have been seen to crash SciPy's reader, the HDF5 2.0 of h5py 3.16 has known errors over crafted files, and
Caffe's checks end the process. The process is a fork of this one, or a new one where CUDA is used. It is confined (see
confinement.py): it writes no file, starts no program, opens no connection, has a limit of memory and time, and dies with its
parent. What it gives back is plain arrays; nothing is unpickled.
"""

import multiprocessing
import os
import re
import resource
import select
import signal
import time
from collections.abc import Callable, Iterable
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.lib.format import read_array
from numpy.typing import NDArray

from base import confinement
from base.errors import InputError

REFUSED = 3  # exit code of a process that gives back what is wrong
MAX_SECONDS = 600
MAX_BYTES = 4 << 30  # of memory: compressed variables may unpack to any size
MAX_TEXT = 64 << 20
CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT)

Arrays = dict[str, NDArray]


class Ended(NamedTuple):
    """How such a process ended.

    Attributes
    ----------
    code : int or None
        Its exit code, -N after the signal N; None where it was killed for the time it took.
    found : dict of str to array
        What it gives back.
    wrong : str
        With the code REFUSED: what is wrong.
    said : str
        What it printed.
    """

    code: int | None
    found: Arrays
    wrong: str
    said: str


def arrays(work: Callable[[], Arrays], paths: Iterable[Path] | None = None) -> Arrays:
    """What `work` returns, called in a process of its own.

    Parameters
    ----------
    work : function
        Of no arguments; returns arrays of numbers or text by name.
    paths : iterable of Path, optional
        All that it may read besides the installation; by default what this process may.

    Raises
    ------
    InputError
        As `work` does; and if it raises anything else, crashes, or needs more than MAX_SECONDS or MAX_BYTES.
    """
    ended = run(work, paths, MAX_BYTES)
    if ended.code is None:
        raise InputError(f"cannot be read within {MAX_SECONDS} s")
    if ended.code == REFUSED:
        raise InputError(ended.wrong)
    if ended.code:
        raise InputError(f"is damaged: its reader ended with code {ended.code}")
    return ended.found


def run(work: Callable[[], Arrays], paths: Iterable[Path] | None, memory: int | None, fresh: bool = False,
        gpus: bool = False) -> Ended:
    """Call `work` in a process of its own and wait for its end, but no longer than MAX_SECONDS.

    Parameters
    ----------
    work, paths
        See `arrays`. What `work` raises is given back as text, with the code REFUSED.
    memory : int or None
        Bytes of data that it may take besides those that it has from this process; None: any.
    fresh : bool
        A new process in place of a fork, which CUDA does not survive. `work` is pickled for it.
    gpus : bool
        Whether it may use GPUs.
    """
    given, said = (os.memfd_create(name) for name in ("given", "said"))
    alive, held = os.pipe()  # its end comes with the process's
    try:
        parent, readable = os.getpid(), None if paths is None else [*paths, *confinement.installation()]
        if fresh:
            process = multiprocessing.get_context("spawn").Process(
                target=_answer, args=(work, DupFd(given), DupFd(said), parent, readable, memory, gpus))
            process.start()
            child, lives = process.pid, process.sentinel
        elif (child := os.fork()):
            lives = alive
        else:
            os.close(alive)
            _answer(work, given, said, parent, readable, memory, gpus)
        os.close(held)
        held = None
        code = _wait(child, lives)
        found = _arrays(given) if code == 0 else {}
        return Ended(code, found, _text(given) if code == REFUSED else "", _text(said))
    finally:
        for handle in (given, said, alive, held):
            if handle is not None:
                os.close(handle)


def _wait(child: int, alive: int) -> int | None:
    """The exit code of a process; None where it took too long. It is killed then, and at Ctrl-C."""
    ended, latest = select.poll(), time.monotonic() + MAX_SECONDS
    try:
        ended.register(alive, select.POLLIN)
        in_time = bool(ended.poll(1000 * MAX_SECONDS))
        while in_time and not os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):  # a moment, if it is honest
            in_time = time.monotonic() < latest
            time.sleep(0.001)
    except BaseException:
        in_time = False
        raise
    finally:
        if not in_time:
            os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
    return os.waitstatus_to_exitcode(status) if in_time else None


def _text(handle: int) -> str:
    with open(os.dup(handle), "rb") as file:
        file.seek(0)
        return file.read(MAX_TEXT).decode(errors="replace")


def _arrays(handle: int) -> Arrays:
    """The arrays that the process wrote, which may be another's by then; InputError if they are none."""
    with open(os.dup(handle), "rb") as file:
        file.seek(0)
        try:
            return {str(name): read_array(file, allow_pickle=False) for name in read_array(file, allow_pickle=False)}
        except Exception as error:  # NumPy parses the head of an array as Python text, and may raise anything
            raise InputError(f"is damaged: {error}") from error


def _answer(work: Callable[[], Arrays], given: int, said: int, parent: int, readable: list[Path] | None,
            memory: int | None, gpus: bool) -> None:
    """The process: write the names of what `work` returns, then its arrays, each as .npy, or what is wrong; and end."""
    code = 1
    try:
        given, said = (handle.detach() if not isinstance(handle, int) else handle for handle in (given, said))
        confinement.die_with(parent)
        for stream in 1, 2:
            os.dup2(said, stream)
        for number in (*CRASHES, signal.SIGTERM):  # whatever the parent does about them
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
        confinement.confine(readable, confinement.gpu_devices() if gpus else ())
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 * MAX_BYTES,) * 2)  # of what it gives back
        if memory is not None:
            limit_memory(memory)
        with open(given, "w+b") as file:
            try:
                found = work()
                for values in (list(found), *found.values()):
                    np.save(file, values, allow_pickle=False)
            except Exception as error:  # a damaged file may raise anything
                file.seek(0)
                file.truncate()
                file.write(str(error if isinstance(error, InputError)
                               else f"is damaged: {str(error) or type(error).__name__}").encode())
                code = REFUSED
            else:
                code = 0
    finally:
        os._exit(code)


def limit_memory(size: int) -> None:
    """Let this process take so many bytes of data besides those it has."""
    own = 1024 * int(re.search(r"VmData:\s+(\d+)", Path("/proc/self/status").read_text())[1])
    most = resource.getrlimit(resource.RLIMIT_DATA)[1]  # what whoever started us allows
    resource.setrlimit(resource.RLIMIT_DATA, (own + size if most == resource.RLIM_INFINITY else min(own + size, most),) * 2)
