"""Hostile inputs of every kind through the commands that read them: a result, or one line and exit code 2; nothing else.

    .venv/bin/python -m pytest tests/fuzz -k net-17        # one case again
    FUZZ_CASES=20000 .venv/bin/python -m pytest tests/fuzz -m slow

Each runs in a process of its own, confined as the command is.
"""

import os
import random
import re
import signal
import sys
import time
from pathlib import Path

import hostile
import pytest
import tiny

from data_toolkit import archives, confinement, dataset, prepare
from solvers import compare, evaluate, plot_dynamics, train

COMMANDS = {"train": train.main, "evaluate": evaluate.main, "compare": compare.main, "plot_dynamics": plot_dynamics.main,
            "prepare": prepare.main}
SECRET = "the secret that nobody may read"
SECONDS = 60
LONG = int(os.environ.get("FUZZ_CASES", "20000")) // len(hostile.CASES)
SHORT = 500 // len(hostile.CASES)
# What once got through, by kind and seed.
KEPT: list[tuple[str, int]] = []


def run(kind: str, seed: int, folder: Path) -> None:
    """Write a case and run its command; AssertionError for a finding."""
    (folder / "outside").mkdir(parents=True)
    (folder / "outside/secret").write_text(SECRET)
    name, *arguments = hostile.CASES[kind](folder, random.Random(f"{kind} {seed}"))
    if name == "train":
        arguments += ["--runs", str(folder / "runs")]
    if name in ("train", "evaluate"):
        arguments += ["--data", str(folder / "data"), "--threads", "1"]
    child = os.fork()
    if not child:
        _command(name, arguments, folder)
    for _ in range(100 * SECONDS):
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            break
        time.sleep(0.01)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise AssertionError(f"{name} {arguments}: more than {SECONDS} s")
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    said = (folder / "said").read_text(errors="backslashreplace")
    what = f"{name} {' '.join(arguments)}: code {code}\n{said}"
    lines = said.splitlines()
    # Caffe reads a database's pages while it trains: what crashes then is said, and the run may go on.
    crashed = kind == "database" and code in (-signal.SIGSEGV, -signal.SIGBUS) and "Caffe was ended by SIG" in said
    assert code in (0, 2) or crashed, what
    assert "Traceback" not in said and SECRET not in said, what
    assert all(line.isprintable() for line in said.split("\n")), what
    assert code == 0 or lines and lines[-1].startswith("error: "), what
    outside = folder / "outside"
    assert (outside / "secret").read_text() == SECRET and os.listdir(outside) == ["secret"], what
    for file in (folder / "runs", folder / "data"):
        for path in file.rglob("*"):
            assert path.is_symlink() or not path.is_file() or SECRET.encode() not in path.read_bytes(), f"{path}: {what}"


def _command(name: str, arguments: list[str], folder: Path) -> None:
    code = 1
    try:
        output = os.open(folder / "said", os.O_WRONLY | os.O_CREAT)
        for stream in 1, 2:
            os.dup2(output, stream)
        sys.stdout, sys.stderr = (open(stream, "w", buffering=1, closefd=False) for stream in (1, 2))
        archives.COUNTS.update(hostile.forms.COUNTS)
        dataset.load_test = lambda data: tiny.dataset(images=16)
        if "--train-data" not in arguments:
            train.load_data = lambda data, labels: tiny.dataset()
        code = COMMANDS[name](arguments)
    except SystemExit as error:
        code = error.code
    except BaseException:
        import traceback
        traceback.print_exc()
    finally:
        os._exit(code)


@pytest.fixture(scope="session", autouse=True)
def whole():
    """The run that others are made from, before the first fork."""
    hostile.template()


@pytest.mark.parametrize(("kind", "seed"), [(kind, seed) for kind in hostile.CASES for seed in range(SHORT)] + KEPT,
                         ids=lambda value: str(value))
def test_hostile_inputs(kind, seed, tmp_path):
    run(kind, seed, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", hostile.CASES)
def test_many_hostile_inputs(kind, tmp_path):
    found = []
    for seed in range(LONG):
        try:
            run(kind, seed, tmp_path / str(seed))
        except AssertionError as error:
            found.append(f"{kind}-{seed}: {error}")
    assert not found, "\n\n".join(found)


def test_a_case_can_fail(tmp_path, monkeypatch):
    """What reads the secret, and what raises, is found."""
    for function in (lambda arguments: print(SECRET) or 0, lambda arguments: 1 / 0, lambda arguments: os.abort(),
                     lambda arguments: print("\x1b[2J") or 2):
        monkeypatch.setitem(COMMANDS, "train", function)
        with pytest.raises(AssertionError):
            run("net", 0, tmp_path / re.sub(r"\W", "", repr(function)))


@pytest.mark.skipif(not confinement.abi(), reason="this kernel has no Landlock")
def test_cases_are_confined(tmp_path, monkeypatch):
    def spy(arguments: list[str]) -> int:
        train.confine(train.options.parse(arguments, ""))
        try:
            open(tmp_path / "outside/secret")
        except PermissionError:
            return 0
        return 1
    monkeypatch.setitem(COMMANDS, "train", spy)
    run("net", 0, tmp_path)
