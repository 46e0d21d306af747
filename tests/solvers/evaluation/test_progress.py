"""How far an evaluation is: a bar with the time left on a terminal, lines at intervals in a pipe."""

import os
import pty
import re
import subprocess
import sys
import termios
from types import SimpleNamespace

import pytest
import tiny

from solvers import evaluate
from solvers.evaluation import progress
from solvers.evaluation.progress import EvaluationProgress
from solvers.runs.training_set import TrainingSet


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(progress.time, "perf_counter", lambda: clock.now)
    return clock


def test_in_a_pipe_a_line_every_half_minute_with_the_time_left(clock, capsys):
    """Processes take 25 seconds to start and compute the first images; these are not counted in the pace."""
    shown = EvaluationProgress(60_000, "images")
    for second in range(25, 85):
        clock.now = second
        shown.add(1_000)
    shown.close()
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == ("6,000 of 60,000 images: 1000.0 images/s, 0:00:54 left\n"
                        "36,000 of 60,000 images: 1000.0 images/s, 0:00:24 left\n")


def test_a_short_evaluation_is_quiet(setting, run, folder, monkeypatch, capsys):
    """All images are counted: for two checkpoints, test and training images; for one of them, test images once more."""
    monkeypatch.setattr("data_toolkit.dataset.load_test", lambda data: tiny.dataset(images=150))
    monkeypatch.setattr(TrainingSet, "load", lambda self, data: tiny.dataset())
    run(setting(solver=tiny.SOLVER + "snapshot: 4"), "--max-iter", 6)
    made = []
    monkeypatch.setattr(EvaluationProgress, "close", lambda self: made.append((self.done, self.total)))
    capsys.readouterr()
    assert evaluate.main([str(folder), "--train-sets", "--per-class"]) == 0
    assert made == [(2 * 350 + 150,) * 2]
    assert capsys.readouterr().err == ""
    assert evaluate.main([str(folder), "--train-sets"]) == 0
    assert made[1:] == [(0, 0)]


def test_on_a_terminal_a_bar_that_lines_do_not_tear():
    code = ("import time; from solvers.evaluation.progress import EvaluationProgress as P; p = P(400, 'images');\n"
            "for number in range(4): time.sleep(0.15); p.add(100); p.say(f'iter: {number}')\n"
            "p.close()")
    terminal, end = pty.openpty()
    termios.tcsetwinsize(end, (24, 90))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=end, stderr=end,
                               env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "TERM": "xterm"})
    os.close(end)
    shown = b""
    try:
        while part := os.read(terminal, 4096):
            shown += part
    except OSError:  # the terminal's other side is closed
        pass
    assert process.wait() == 0
    text = shown.decode()
    assert re.search(r"300/400 images \|[^|]+\| +\d+\.\d+ images/s, 00:00 left", text), text
    assert re.findall(r"(?:^|[\r\n])(iter: \d)(?=\r?\n)", text) == [f"iter: {number}" for number in range(4)]
