"""Hostile inputs of every kind through the commands that read them: a result, or one line and exit code 2; nothing else.

    PYTHONPATH=tests/solvers:tests/data_toolkit .venv/bin/python tests/fuzz/test_fuzz.py net 17    # again, in /tmp/fuzz-net-17
    FUZZ_CASES=20000 .venv/bin/python -m pytest tests/fuzz -m slow

Each runs in a process of its own, confined as the command is.
"""

import itertools
import os
import random
import re
import select
import signal
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import hostile
import pytest
import tiny

from base import confinement
from data_toolkit import archives, dataset, prepare
from solvers import compare, evaluate, keep, plot_dynamics, report, train
from solvers.runs.training_set import TrainingSet

COMMANDS = {"train": train.main, "evaluate": evaluate.main, "compare": compare.main, "plot_dynamics": plot_dynamics.main,
            "prepare": prepare.main, "report": report.main, "keep": keep.main}
SECRET = "the secret that nobody may read"
SECONDS = 60
SANITISED = "ASAN_OPTIONS" in os.environ  # make test-sanitized
PROCESSES = len(os.sched_getaffinity(0))
LONG = int(os.environ.get("FUZZ_CASES", "20000")) // len(hostile.CASES)
SHORT = 300 // len(hostile.CASES)
SLOW = ("run", "database", "mat", "archive", "npz")  # of these, a case takes a tenth of a second and more
# What once got through, by kind and seed.
KEPT = [("net", 66), ("solver", 84), ("solver", 105), ("hdf5", 153), ("database", 137), ("database", 254), ("mat", 163)]


def run(kind: str, seeds: Iterable[int], folder: Path) -> list[str]:
    """Run cases, as many at once as there are processors; return the failures."""
    found, running = [], {}
    for seed in itertools.chain(seeds, [None] * PROCESSES):
        if len(running) >= PROCESSES or seed is None:
            for oldest in list(running)[:1]:
                found += [f"{kind}-{oldest}: {finding}" for finding in finish(kind, *running.pop(oldest))]
        if seed is not None:
            running[seed] = start(kind, seed, folder / str(seed))
    return found


def start(kind: str, seed: int, folder: Path) -> tuple[int, str, Path]:
    """Write a case and start its command; return the process, the command and the folder."""
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
    return child, f"{name} {' '.join(arguments)}", folder


def finish(kind: str, child: int, command: str, folder: Path) -> Iterator[str]:
    """Wait for a command to end; return what it did wrong."""
    handle, ended = os.pidfd_open(child), select.poll()
    ended.register(handle, select.POLLIN)
    if not ended.poll(1000 * SECONDS):
        os.kill(child, signal.SIGKILL)
        yield f"{command}: more than {SECONDS} s"
    os.close(handle)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    said = (folder / "said").read_text(errors="backslashreplace")
    lines = said.splitlines()
    # Caffe reads a database's pages while it trains: what crashes then is said, and the run may go on.
    crashed = kind == "database" and code in (-signal.SIGSEGV, -signal.SIGBUS) and "Caffe was ended by SIG" in said
    outside = folder / "outside"
    written = [path for place in ("runs", "data") for path in (folder / place).rglob("*")
               if path.is_file() and not path.is_symlink()]
    rules = {
        "another exit code": code in (0, 2) or crashed,
        "a traceback": "Traceback" not in said,
        "control characters": all(line.isprintable() for line in said.split("\n")),
        "no error line": code == 0 or crashed or bool(lines) and lines[-1].startswith("error: "),
        "the secret was read": SECRET not in said and not any(SECRET.encode() in path.read_bytes() for path in written),
        "something outside was written": (outside / "secret").read_text() == SECRET and os.listdir(outside) == ["secret"],
        # A finding also ends the separate process that rehearses a net or reads a file; the command survives that. LMDB itself
        # crashes over damaged pages there, but by these two signals only.
        "the sanitisers found something": not (SANITISED and re.search(
            r"Sanitizer|runtime error:|ended with code -|crashes" + r" \((?!SIGSEGV|SIGBUS)" * (kind == "database"), said)),
    }
    yield from (f"{rule}: {command}: code {code}\n{said[-3000:]}" for rule, kept in rules.items() if not kept)


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
            TrainingSet.prepare = lambda labels, folder: tiny.dataset()
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
    """Make the run that others are copied from, before the first fork."""
    hostile.template()


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=[pytest.mark.slow] * (kind in SLOW)) for kind in hostile.CASES])
def test_hostile_inputs(kind, tmp_path):
    kept = [seed for other, seed in KEPT if other == kind and seed >= SHORT]
    assert not (found := run(kind, [*range(SHORT), *kept], tmp_path)), "\n\n".join(found)


@pytest.mark.slow
@pytest.mark.parametrize("kind", hostile.CASES)
def test_many_hostile_inputs(kind, tmp_path):
    assert not (found := run(kind, range(LONG), tmp_path)), "\n\n".join(found)


def test_a_case_can_fail(tmp_path, monkeypatch):
    """A command that reads the secret, and one that raises an exception, are reported."""
    for function in (lambda arguments: print(SECRET) or 0, lambda arguments: 1 / 0,
                     lambda arguments: os.kill(os.getpid(), signal.SIGKILL), lambda arguments: print("\x1b[2J") or 2):
        monkeypatch.setitem(COMMANDS, "train", function)
        assert run("net", [0], tmp_path / re.sub(r"\W", "", repr(function)))


@pytest.mark.skipif(not confinement.abi(), reason="this kernel has no Landlock")
def test_cases_are_confined(tmp_path, monkeypatch):
    def spy(arguments: list[str]) -> int:
        train.confine(train.options.parse(arguments, ""))
        try:
            open(tmp_path / "0/outside/secret")
        except PermissionError:
            return 0
        return 1
    monkeypatch.setitem(COMMANDS, "train", spy)
    assert not run("net", [0], tmp_path)


if __name__ == "__main__":
    hostile.template()
    place = Path(f"/tmp/fuzz-{sys.argv[1]}-{sys.argv[2]}")
    print("\n".join(run(sys.argv[1], [int(sys.argv[2])], place)) or "nothing", (place / sys.argv[2] / "said").read_text())
