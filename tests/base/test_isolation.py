"""Readers that crash, hang, fail or take all memory do so alone."""

import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays

from base import confinement, isolation
from base.errors import InputError


@given(arrays.arrays(arrays.integer_dtypes() | arrays.floating_dtypes() | arrays.unicode_string_dtypes(),
                     arrays.array_shapes(min_side=0)))
def test_arrays_come_back_as_they_are(array):
    found = isolation.arrays(lambda: {"x": array, "others": np.arange(3)})
    assert found.keys() == {"x", "others"} and found["x"].dtype == array.dtype
    np.testing.assert_array_equal(found["x"], array)


def test_more_than_a_pipe_holds():
    assert isolation.arrays(lambda: {"x": np.ones((1000, 1000))})["x"].sum() == 1e6


def fail(error: BaseException):
    raise error


@pytest.mark.parametrize(("read", "said"), [
    (lambda: os.kill(os.getpid(), signal.SIGSEGV), "^is damaged: its reader ended with code -11$"),
    (lambda: fail(InputError("is not what it should be: \u00e9")), "^is not what it should be: \u00e9$"),
    (lambda: fail(ZeroDivisionError()), "^is damaged: ZeroDivisionError$"),
    (lambda: fail(SystemExit(0)), "^is damaged: its reader ended with code 1$"),
    (lambda: {"x": np.zeros(1 << 40, np.uint8)}, "^is damaged: Unable to allocate 1.00 TiB"),
    (lambda: {"x": np.array([object()])}, "^is damaged: Object arrays cannot be saved"),
], ids=["crash", "refusal", "another error", "exit", "memory", "objects"])
def test_what_goes_wrong_is_one_line(read, said):
    with pytest.raises(InputError, match=said):
        isolation.arrays(read)


def test_a_reader_that_hangs(monkeypatch):
    monkeypatch.setattr(isolation, "MAX_SECONDS", 1)
    with pytest.raises(InputError, match="cannot be read within 1 s"):
        isolation.arrays(lambda: time.sleep(60))


def test_an_interrupt_ends_the_reader_too(monkeypatch):
    """Ctrl-C reaches the waiting process; the other must not stay."""
    children, fork = [], os.fork
    monkeypatch.setattr(os, "fork", lambda: children.append(fork()) or children[-1])
    before = signal.signal(signal.SIGALRM, lambda *_: fail(KeyboardInterrupt()))
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(KeyboardInterrupt):
            isolation.arrays(lambda: time.sleep(60))
    finally:
        signal.signal(signal.SIGALRM, before)
    with pytest.raises(ChildProcessError):
        os.waitpid(children[0], os.WNOHANG)


def test_neither_process_keeps_a_pipe():
    before = len(os.listdir("/proc/self/fd"))
    isolation.arrays(lambda: {})
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.skipif(not confinement.abi(), reason="this kernel has no Landlock")
@pytest.mark.parametrize("attempt", [
    lambda folder: open(folder / "secret"), lambda folder: open(folder / "new", "w"), lambda folder: socket.socket(),
    lambda folder: os.execv("/bin/true", ["true"])], ids=["read", "write", "connect", "program"])
def test_a_reader_can_do_nothing_but_read_its_file(tmp_path, attempt):
    (tmp_path / "secret").touch()
    (tmp_path / "given").touch()
    assert isolation.arrays(lambda: {"x": np.array(open(tmp_path / "given").read())}, [tmp_path / "given"])["x"] == ""
    with pytest.raises(InputError, match="is damaged: .*(not permitted|denied)"):
        isolation.arrays(lambda: attempt(tmp_path), [tmp_path / "given"])
    assert not (tmp_path / "new").exists()


def test_a_reader_cannot_give_back_without_end(monkeypatch):
    def write_without_end():
        while os.write(1, bytes(1 << 20)):
            pass

    monkeypatch.setattr(isolation, "MAX_BYTES", 1 << 26)
    with pytest.raises(InputError, match="is damaged: .*File too large"):
        isolation.arrays(write_without_end)


def test_a_reader_dies_with_its_parent():
    code = ("import os, time; from base import isolation\n"
            "isolation.arrays(lambda: print(os.getpid()) or os.write(3, b'%d' % os.getpid()) and time.sleep(60))")
    ours, theirs = os.pipe()
    parent = subprocess.Popen([sys.executable, "-c", "import os; os.dup2(%d, 3); " % theirs + code], pass_fds=[theirs])
    child = os.read(ours, 20).decode()
    parent.kill()
    parent.wait()
    for _ in range(100):
        if not os.path.exists(f"/proc/{child}"):
            return
        time.sleep(0.05)
    pytest.fail("it goes on")
