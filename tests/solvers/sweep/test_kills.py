"""smoke.toml with separate workers, killed at random moments: the accuracies equal those of an undisturbed sweep."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from places import ROOT, Place

KILLS = 20


@pytest.fixture
def scheduler(tmp_path):
    """A scheduler of dask; yields its address."""
    file = tmp_path / "scheduler.json"
    process = start("dask_scheduler", "--host", "127.0.0.1", "--port", 0, "--no-dashboard", "--scheduler-file", file)
    while not file.exists():
        assert process.poll() is None
        time.sleep(0.1)
    yield json.loads(file.read_text())["address"]
    process.terminate()
    process.wait()


class Worker:
    """A worker for two runs at once, which is started again when it is killed."""

    def __init__(self, scheduler: str):
        self.scheduler = scheduler
        self.process = self.start()

    def start(self) -> subprocess.Popen:
        return start("dask_worker", self.scheduler, "--nthreads", 2, "--no-nanny", "--memory-limit", 0, "--no-dashboard")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process = self.start()


@pytest.fixture
def worker(scheduler):
    worker = Worker(scheduler)
    yield worker
    worker.process.terminate()
    worker.process.wait()


def start(module: str, *arguments: object) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", f"distributed.cli.{module}", *map(str, arguments)], cwd=ROOT,
                            env=Place.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def at_work(place: Place) -> list[int]:
    """The processes that train or evaluate runs of this place."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if {"solvers.train", "solvers.evaluate"} & set(command) and any(str(place.runs) in part for part in command):
            found.append(process.pid)
    return found


@pytest.mark.slow
def test_killed_at_random_moments(smoke, scheduler, worker, tmp_path):
    place = Place(tmp_path, smoke.file, smoke.data)
    options = ("--scheduler", scheduler, "--threads", 1, "--retries", 100)
    chance = random.Random(0)
    process, sweeps = place.start(*options), 1
    killed = {"command": 0, "worker": 0, "trainer": 0}
    while sum(killed.values()) < KILLS:
        if chance.random() < 0.75:  # else whenever it is: while it starts, too
            wait_for(lambda process=process: at_work(place) or process.poll() is not None)
        time.sleep(chance.uniform(0, smoke.seconds / 4))
        if process.poll() is not None:  # all is done before the next kill: once more, from nothing
            check(place, smoke, process)
            place.runs.rename(tmp_path / f"sweep_{sweeps}")
            process, sweeps = place.start(*options), sweeps + 1
            continue
        kind = chance.choice([kind for kind, count in killed.items() if count == min(killed.values())])
        if kind == "command":
            process.kill()
            process.communicate()
            process = place.start(*options)
        elif kind == "worker":
            worker.kill()
        elif victims := at_work(place):
            with contextlib.suppress(ProcessLookupError):  # it ends by itself in this moment
                os.kill(chance.choice(victims), signal.SIGKILL)
        else:
            continue
        killed[kind] += 1
    process.wait(timeout=3600)
    check(place, smoke, process)


def wait_for(condition: Callable[[], object], seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def check(place: Place, smoke: Place, process: subprocess.Popen) -> None:
    """The sweep has succeeded; accuracies and losses equal the undisturbed ones, and each step is logged once."""
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert place.accuracies() == smoke.accuracies()
    for run in smoke.accuracies():
        ours, theirs = ([row.split(",")[:2] for row in Path(where.runs, run, "log.csv").read_text().splitlines()]
                        for where in (place, smoke))
        assert ours == theirs and len(ours) == 21


@pytest.mark.slow
def test_ctrl_c_leaves_nothing_behind_on_the_workers(smoke, scheduler, worker, tmp_path):
    place = Place(tmp_path, smoke.file, smoke.data)
    process = place.start("--scheduler", scheduler, "--threads", 1)
    while len(at_work(place)) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert not at_work(place)
    assert worker.process.poll() is None
