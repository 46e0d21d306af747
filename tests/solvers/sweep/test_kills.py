"""smoke.toml on workers of their own, killed at random moments: the accuracies are those of a sweep that nobody disturbed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from conftest import ROOT, Place

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


@pytest.fixture
def nanny(scheduler):
    """A worker's nanny, which starts the worker again when it dies."""
    process = start("dask_worker", scheduler, "--nthreads", 2, "--memory-limit", 0, "--no-dashboard")
    yield psutil.Process(process.pid)
    process.terminate()
    process.wait()


def start(module: str, *arguments: object) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", f"distributed.cli.{module}", *map(str, arguments)], cwd=ROOT,
                            env=Place.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def at_work(place: Place) -> list[int]:
    """The processes that train or evaluate in this place."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if {"solvers.train", "solvers.evaluate"} & set(command) and any(str(place.runs) in part for part in command):
            found.append(process.pid)
    return found


@pytest.mark.slow
def test_killed_at_random_moments(smoke, scheduler, nanny, tmp_path):
    place = Place(tmp_path, smoke.file, smoke.data)
    options = ("--scheduler", scheduler, "--threads", 1, "--retries", 100)
    chance = random.Random(0)
    killed = {"command": 0, "worker": 0, "trainer": 0}
    process = place.start(*options)
    while sum(killed.values()) < KILLS:
        time.sleep(chance.uniform(1, min(40, smoke.seconds / 3)))
        if process.poll() is not None:
            out, err = process.communicate()
            assert process.returncode == 0, err
            # All was done before the last kill: what comes now is another sweep, from nothing.
            assert place.accuracies() == smoke.accuracies()
            place.runs.rename(tmp_path / f"done_after_{sum(killed.values())}")
            process = place.start(*options)
            continue
        victims = {"command": [process.pid], "worker": [child.pid for child in nanny.children() if "spawn_main" in
                                                        " ".join(child.cmdline())], "trainer": at_work(place)}
        kind = chance.choice([kind for kind, pids in victims.items() if pids])
        os.kill(chance.choice(victims[kind]), signal.SIGKILL)
        killed[kind] += 1
        if kind == "command":
            process.communicate()
            process = place.start(*options)
    out, err = process.communicate(timeout=3600)
    assert process.returncode == 0, err
    assert all(killed.values()), killed
    assert place.accuracies() == smoke.accuracies()
    for run in smoke.accuracies():
        rows = Path(place.runs, run, "log.csv").read_text().splitlines()[1:]
        assert [row.split(",")[0] for row in rows] == [str(step) for step in range(1, 21)]
        undisturbed = Path(smoke.runs, run, "log.csv").read_text().splitlines()[1:]
        assert [row.split(",")[1] for row in rows] == [row.split(",")[1] for row in undisturbed]
    print(killed)


@pytest.mark.slow
def test_ctrl_c_leaves_nothing_behind_on_the_workers(smoke, scheduler, nanny, tmp_path):
    place = Place(tmp_path, smoke.file, smoke.data)
    process = place.start("--scheduler", scheduler, "--threads", 1)
    while len(at_work(place)) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert not at_work(place)
    assert nanny.is_running() and nanny.children()
