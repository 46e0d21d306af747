"""A confined process writes the files that it named before, and nothing else in their folders."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from base import confinement

pytestmark = pytest.mark.skipif(not confinement.abi(), reason="this kernel has no Landlock")

CONFINED = """
import os, sys
from pathlib import Path
from base import confinement, delivery, writing
folder = Path(sys.argv[1])
one, two = folder / "one.txt", folder / "below/two.txt"
missing = confinement.confine(confinement.installation(), delivery.start([one, two], r"\\.[0-9]+"))
assert not missing, missing
hidden = delivery.hidden_folder(one)
"""


def run(folder, code: str) -> str:
    program = CONFINED + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def names(folder) -> list[str]:
    """The paths of all files and folders below; what vanishes meanwhile is left out."""
    return sorted(os.path.relpath(f"{place}/{name}", folder) for place, folders, files in os.walk(folder)
                  for name in folders + files)


def test_files_are_delivered(tmp_path):
    (tmp_path / "one.txt").write_text("before")
    run(tmp_path, """
        writing.write_atomically(one, "1")
        writing.write_atomically(two, "2")
        writing.write_atomically(one.with_name("one.txt.17"), "17")
        writing.write_atomically(one, "again")
    """)
    assert names(tmp_path) == ["below", "below/two.txt", "one.txt", "one.txt.17"]
    assert [(tmp_path / name).read_text() for name in names(tmp_path)[1:]] == ["2", "again", "17"]


@pytest.mark.parametrize(("attempt", "error"), [
    ("open(folder / 'other', 'w')", "PermissionError"),
    ("open(one, 'w')", "PermissionError"),
    ("open(folder / 'code.py', 'a')", "PermissionError"),
    ("writing.write_atomically(folder / 'other', 'x')", "InputError"),
    ("os.rename(hidden / 'x', folder / 'x')", "PermissionError"),
    ("os.mkdir(folder / 'x')", "PermissionError"),
    *((f"ask({request!r})", "OSError") for request in (
        b"code.py", b"below/../code.py", b"one.txt/../code.py", b"one.txt.", b"one.txt.1/../code.py", b"one.txt.5x", b".",
        b"", b"..", b"/etc/one.txt", b"x" * 4000, b"one.txt\ncode.py", b"one.txt\0", b"\xff\xfe")),
])
def test_nothing_else_is_written(tmp_path, attempt, error):
    """Neither by the confined process, nor by the deliverer, whatever that is asked for."""
    (tmp_path / "code.py").write_text("ours")
    said = run(tmp_path, f"""
        for name in "x", "code.py", "one.txt.", "one.txt.5x":
            (hidden / name).write_text("theirs")
        def ask(request):
            os.write(delivery._deliverer.requests, os.path.join(os.fsencode(folder), request))
            if os.read(delivery._deliverer.answers, 4096) != b"done": raise OSError
        from base.errors import InputError
        try:
            {attempt}
        except {error}:
            print("refused")
    """)
    assert said == "refused" and (tmp_path / "code.py").read_text() == "ours" and names(tmp_path) == ["below", "code.py"]


def test_what_is_no_file_is_not_delivered(tmp_path):
    (tmp_path / "one.txt").mkdir()
    said = run(tmp_path, """
        try: writing.write_atomically(one, "1")
        except ValueError as error: print(error)
        (hidden / two.name).mkdir()
        try: delivery.deliver(two)
        except OSError as error: print("refused")
    """)
    assert said == f"cannot write {tmp_path}/one.txt: it is there, and is not a regular file\nrefused"
    assert names(tmp_path) == ["below", "one.txt"]


def test_a_killed_process_leaves_nothing(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", CONFINED + textwrap.dedent("""
        (hidden / "half").write_text("x")
        print("ready", flush=True)
        import signal
        signal.pause()
    """), str(tmp_path)], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout.readline() == "ready\n" and len(names(tmp_path)) == 4
    os.killpg(process.pid, signal.SIGTERM)  # the deliverer gets it, too, and waits for the end of the other
    process.wait()
    for _ in range(100):
        if names(tmp_path) == ["below"]:
            break
        time.sleep(0.05)
    assert names(tmp_path) == ["below"]
