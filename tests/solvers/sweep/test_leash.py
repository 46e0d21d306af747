"""A command on a leash gets one signal when its parent is killed, with any number of threads; the leash ends like it."""

import os
import signal
import subprocess
import sys
import time

import pytest
from places import ROOT

# Starts a command from one of many threads, as workers do, and waits.
PARENT = """
import os, subprocess, sys, threading, time
for _ in range(20):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
command = [sys.executable, "-m", "solvers.sweep.leash", str(os.getpid()), sys.executable, "-c", sys.argv[1], sys.argv[2]]
threading.Thread(target=lambda: subprocess.Popen(command).wait()).start()
"""
# Counts the signals it gets, for a second after the first.
CHILD = """
import signal, sys, time
count = 0
def note(*_):
    global count
    count += 1
signal.signal(signal.SIGTERM, note)
open(sys.argv[1], "w").write("ready")
while not count:
    time.sleep(0.01)
time.sleep(1)
open(sys.argv[1], "w").write(f"told {count} times")
"""


def wait_for(file, text: str) -> None:
    end = time.monotonic() + 30
    while not (file.exists() and file.read_text().startswith(text)):
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("attempt", range(5))
def test_a_killed_parent_is_told_once(tmp_path, attempt):
    file = tmp_path / "file"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, CHILD, file], cwd=ROOT)
    wait_for(file, "ready")
    time.sleep(0.1 * attempt)
    parent.kill()
    parent.wait()
    wait_for(file, "told")
    assert file.read_text() == "told 1 times"


def test_signals_close_together_are_one(tmp_path):
    """Each leash is sent many at a time, so that in some of them the second interrupts the handler of the first."""
    command = [sys.executable, "-m", "solvers.sweep.leash", str(os.getpid()), sys.executable, "-c", CHILD]
    files = [tmp_path / str(number) for number in range(12)]
    leashes = [subprocess.Popen([*command, file], cwd=ROOT) for file in files]
    for leash, file in zip(leashes, files, strict=True):
        wait_for(file, "ready")
        time.sleep(0.05)
        for _ in range(1000):
            leash.send_signal(signal.SIGTERM)
    assert [leash.wait(timeout=30) for leash in leashes] == [0] * 12
    assert {file.read_text() for file in files} == {"told 1 times"}


@pytest.mark.parametrize(("code", "ends"), [
    ("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 9)", -9), ("import os; os.abort()", -signal.SIGABRT)])
def test_it_ends_as_its_command(code, ends):
    leash = [sys.executable, "-m", "solvers.sweep.leash", str(os.getpid()), sys.executable, "-c", code]
    assert subprocess.run(leash, cwd=ROOT).returncode == ends


def test_a_parent_that_ended_before(tmp_path):
    leash = [sys.executable, "-m", "solvers.sweep.leash", "1", sys.executable, "-c", "open('there', 'w')"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    assert subprocess.run(leash, cwd=tmp_path, env=environment).returncode == -signal.SIGTERM
    assert not (tmp_path / "there").exists()
