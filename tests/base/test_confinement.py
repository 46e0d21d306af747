"""What the kernel refuses a confined process. Each attempt is made in a process of its own."""

import os
import platform
import subprocess
import sys
import textwrap
import tomllib

import pytest

from base import confinement

needs_landlock = pytest.mark.skipif(not confinement.abi(), reason="this kernel has no Landlock")

ATTEMPTS = {
    "read": ("open(secret).read()", PermissionError),
    "list": ("os.listdir(outside)", PermissionError),
    "read through a link": ("open(mine / 'link').read()", PermissionError),
    "write": ("open(outside / 'new', 'w')", PermissionError),
    "write through a link": ("open(mine / 'link', 'w')", PermissionError),
    "write what may be read": ("open(readable / 'new', 'w')", PermissionError),
    "remove": ("os.remove(secret)", PermissionError),
    "rename into": ("os.rename(secret, mine / 'x')", OSError),
    "hard link into": ("os.link(secret, mine / 'x')", OSError),
    "make a link": ("os.symlink(secret, mine / 'x')", PermissionError),
    "change the mode": ("os.chmod(secret, 0o777)", PermissionError),
    "change the mode of a handle": ("os.fchmod(os.open(readable / 'file', os.O_RDONLY), 0o777)", PermissionError),
    "change the time": ("os.utime(readable / 'file')", PermissionError),
    "TCP": ("socket.socket()", PermissionError),
    "UDP": ("socket.socket(type=socket.SOCK_DGRAM)", PermissionError),
    "Unix": ("socket.socket(socket.AF_UNIX)", PermissionError),
    "a datagram to a Unix socket": ("socket.socketpair(type=socket.SOCK_DGRAM)[0].sendto(b'x', os.fsencode(mine / 'socket'))",
                                    PermissionError),
    "flags of a file that may be read": (
        "fcntl.ioctl(os.open(readable / 'file', os.O_RDONLY), 0x40086602, (0).to_bytes(8, 'little'))", PermissionError),
    "a signal when a folder changes": ("fcntl.fcntl(os.open(readable, os.O_RDONLY), 1026, 2)", PermissionError),
    "a signal of a handle to another": ("fcntl.fcntl(os.pipe()[0], 8, os.getppid())", PermissionError),
    "a program that runs as its owner": ("os.open(mine / 'x', os.O_CREAT | os.O_WRONLY, 0o4755)", PermissionError),
    "the same as a special file": ("os.mknod(mine / 'x', 0o106755)", PermissionError),
    "the same, told in memory": ("call(437, -100, os.fsencode(mine / 'x'), bytes(24), 24)", AssertionError),
    "netlink": ("socket.socket(socket.AF_NETLINK)", PermissionError),
    "io_uring": ("assert ctypes.CDLL(None, use_errno=True).syscall(425, 1, None) >= 0", AssertionError),
    "a program": ("subprocess.run(['/bin/true'])", PermissionError),
    "a program of its own": ("shutil.copy('/bin/true', mine / 'x'); os.execv(mine / 'x', ['x'])", PermissionError),
    "a program in memory": ("f = os.memfd_create('x'); os.write(f, open('/bin/true', 'rb').read()); "
                            "os.execve(f, ['x'], {})", PermissionError),
    "a shell": ("assert os.system('true') == 0", AssertionError),
    "keys typed into a terminal": ("call(16, 0, 0x5412, b'x')", AssertionError),
    "keys typed by a number with more bits": ("call(16, 0, 0xF00005412, b'x')", AssertionError),
    "limits of another process": ("call(302, os.getppid(), 7, None, None)", AssertionError),
    "when a process runs, by its number": ("call(144, os.getpid(), 0, bytes(4))", AssertionError),
    "the same by its parameters": ("call(142, os.getpid(), bytes(4))", AssertionError),
    "the same by its attributes": ("call(314, os.getpid(), (48).to_bytes(48, 'little'), 0)", AssertionError),
    "what happens in folders": ("call(294, 0)", AssertionError),
    "another's memory": ("call(29, 4711, 4096, 0o1600)", AssertionError),
    "a queue": ("call(240, b'q', os.O_CREAT | os.O_RDWR, 0o600, None)", AssertionError),
    "a namespace of users": ("call(56, 0x10000000 | 17, None) or os._exit(0)", AssertionError),
    "a namespace, told in memory": ("call(435, ctypes.create_string_buffer(88), 88) or os._exit(0)", AssertionError),
    "attributes by a newer call": ("call(463, -100, os.fsencode(secret), 0, b'user.x', None, 0)", AssertionError),
    "flags of a file by a newer call": ("call(469, -100, os.fsencode(secret), bytes(24), 24, 0)", AssertionError),
    "a signal": ("os.kill(os.getppid(), 0)", PermissionError),
    "another process": ("open(f'/proc/{os.getppid()}/environ').read()", PermissionError),
    "the root's handle": ("open('/proc/self/root' + str(secret)).read()", PermissionError),
    "from C": ("assert ctypes.CDLL(None).fopen(os.fsencode(secret), b'r')", AssertionError),
    "from a thread": ("pool = concurrent.futures.ThreadPoolExecutor(); pool.submit(open, secret).result()", PermissionError),
    "from a child": ("assert os.fork() or os._exit(open(secret).read() and 0); assert os.wait()[1] == 0", AssertionError),
    "undo it": ("confinement.confine([outside], [outside]); open(secret)", PermissionError),
}
if platform.machine() != "x86_64":  # whose numbers these are
    ATTEMPTS = {name: attempt for name, attempt in ATTEMPTS.items() if "call(" not in attempt[0]}
PROGRAM = """
import concurrent.futures, ctypes, errno, fcntl, os, shutil, socket, subprocess, sys
from pathlib import Path
from base import confinement
mine, readable, outside = map(Path, sys.argv[1:4])
secret = outside / "secret"
def call(*values):  # a system call of x86-64, whatever is wrong with it besides
    values = [ctypes.c_long(value) if type(value) is int else value for value in values]
    done = ctypes.CDLL(None, use_errno=True).syscall(*values)
    assert done >= 0 or ctypes.get_errno() not in (errno.EPERM, errno.ENOSYS)
    return done
missing = confinement.confine([readable, *confinement.installation()], [mine])
assert not missing, missing
{allowed}
try:
    {attempt}
except {error}:
    print("refused")
else:
    print("done")
"""
ALLOWED = """
(mine / "a").write_text("x"); os.rename(mine / "a", mine / "b"); os.remove(mine / "b"); (mine / "c").mkdir()
assert (readable / "file").read_text() == "x"
import numpy, h5py
open(os.devnull, "w").write("x"); os.memfd_create("x"); socket.socketpair()
os.set_blocking(os.pipe()[0], False); os.isatty(0); os.open(mine / "d", os.O_CREAT, 0o666)
"""


@pytest.fixture
def places(tmp_path):
    """Folders that may be written, only read, and neither."""
    folders = [tmp_path / name for name in ("mine", "readable", "outside")]
    for folder in folders:
        folder.mkdir()
    (tmp_path / "outside/secret").write_text("secret")
    (tmp_path / "readable/file").write_text("x")
    (tmp_path / "mine/link").symlink_to(tmp_path / "outside/secret")
    return folders


def run(places, attempt: str, error: type[BaseException] = OSError, allowed: str = "") -> str:
    program = PROGRAM.format(attempt=attempt, error=error.__name__, allowed=allowed)
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program), *map(str, places)], text=True, capture_output=True,
                          env=os.environ | {"OPENBLAS_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[-1]


@needs_landlock
def test_what_is_refused(places):
    """All attempts one after the other; each is possible where nothing is confined, or its test could not fail."""
    attempts = [f"try_({attempt!r}, {error.__name__})" for attempt, (_, error) in ATTEMPTS.items()]
    bodies = "".join(f"\ndef attempt_{number}(): {body}" for number, (body, _) in enumerate(ATTEMPTS.values()))
    allowed = ALLOWED + bodies + "\n" + "\n".join(
        f"""
try:
    attempt_{number}()
    print("came through:", {name!r}); sys.exit(1)
except {error.__name__}:
    pass""" for number, (name, (_, error)) in enumerate(ATTEMPTS.items()))
    assert len(attempts) == len(ATTEMPTS) and run(places, "open(secret)", allowed=allowed) == "refused"


def test_without_landlock_it_is_said_and_the_rest_is_refused(places, monkeypatch):
    """As on an older kernel: files are free, connections and programs are not."""
    program = PROGRAM.replace("missing = ", "confinement.abi = lambda: 0\nmissing = ").replace(
        "assert not missing, missing", "assert missing == 'this kernel has no Landlock, so files are not confined', missing")
    monkeypatch.setitem(globals(), "PROGRAM", program)
    assert run(places, "open(secret)") == "done"
    assert run(places, "socket.socket()") == "refused"
    assert run(places, "subprocess.run(['/bin/true'])") == "refused"


@needs_landlock
def test_a_program_that_may_be_started_is_confined_too(places, monkeypatch):
    monkeypatch.setitem(globals(), "PROGRAM", PROGRAM.replace("[mine])", "[mine], execute=confinement.interpreter())"))
    started = "assert subprocess.run([sys.executable, '-c', {!r}]).returncode == 0"
    assert run(places, started.format("print(1)"), AssertionError) == "done"
    assert run(places, started.format(f"open({str(places[2] / 'secret')!r})"), AssertionError) == "refused"
    assert run(places, "subprocess.run(['/bin/true'])") == "refused"


def test_while_something_is_downloaded_no_unix_socket_is_opened(places, monkeypatch):
    """It is another way to start a program."""
    sockets = "socket.socket(socket.AF_INET); socket.socket(socket.AF_{})"
    for which, unix in ("network=True", "refused"), ("local=True", "done"):
        monkeypatch.setitem(globals(), "PROGRAM", PROGRAM.replace("[mine])", f"[mine], {which})", 1))
        assert run(places, sockets.format("INET6")) == "done"
        assert run(places, sockets.format("UNIX")) == unix
        monkeypatch.undo()


def test_threads_that_were_there_before_are_counted(places, monkeypatch):
    monkeypatch.setitem(globals(), "PROGRAM", PROGRAM.replace(
        "missing = ", "import threading, time\nthreading.Thread(target=time.sleep, args=(5,), daemon=True).start()\nmissing = "
    ).replace("assert not missing, missing", "assert missing.endswith('1 threads were there before'), missing"))
    assert run(places, "socket.socket()") == "refused"


def test_all_our_code_may_be_read():
    """Processes that a confined one starts import it again."""
    root = confinement.ROOT
    packages = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["root_packages"]
    assert {root / name for name in packages} <= set(confinement.installation())
