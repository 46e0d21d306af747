"""Whole sweeps on this machine, in seconds: they do what is missing, whatever interrupted them before."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import tiny
from places import ROOT, Place, SmallPlace

from solvers import evaluate

# Many enough to be met in the middle.
LONG = "max_iter = 600\n[[runs]]\nsetting = {one}\n"
ONE = "one/noise_0.0/seed_123"


def wait_for(condition, process: subprocess.Popen, seconds: float = 120) -> None:
    """Wait until a running sweep fulfils a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


def rows(place: Place, run: str = ONE) -> int:
    log = place.runs / run / "log.csv"
    return log.read_text().count("\n") if log.exists() else 0


def trainers(place: Place) -> list[int]:
    """The processes that train runs of this place."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"solvers.train" in command and b"solvers.sweep.leash" not in command and str(place.runs).encode() in command:
            found.append(int(process.name))
    return found


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory):
    """accuracy.txt of the run in LONG, made by calling the commands that a sweep starts."""
    place = SmallPlace(tmp_path_factory.mktemp("by_hand") / "place")
    done = subprocess.run(tiny.command(place.folder / "one", place.runs, "--max-iter", 600), cwd=ROOT,
                          env=place.environment(), capture_output=True)
    assert done.returncode == 0, done.stderr
    evaluate.evaluate(place.runs / ONE, place.data)
    return place.accuracies()[ONE]


def test_what_is_missing_is_trained_and_evaluated(place):
    first = place.run()
    assert first.returncode == 0, first.stderr
    accuracies = place.accuracies()
    assert {name: text.count("\n") for name, text in accuracies.items()} == {
        "one/noise_0.0/seed_123": 3, "two/noise_0.0/seed_123": 3}
    for name, text in accuracies.items():
        assert f"{name}: done, test accuracy {100 * float(text.split()[-1]):.2f} %" in first.stdout
    place.write("max_iter = 12\n[[runs]]\nsetting = [{one}, {two}]\n[[runs]]\nsetting = {one}\nseed = 7\n")
    (place.runs / "two/noise_0.0/seed_123/accuracy.txt").unlink()
    dry = place.run("--dry-run").stdout.splitlines()
    assert [line.split("  ")[-1].split(",")[0] for line in dry[:3]] == ["done", "12 of 12 steps", "to do"]
    assert dry[3].startswith("3 runs: 1 done, 2 to do: 12 steps, ")
    assert place.run("--jobs", 2).returncode == 0
    assert set(accuracies.items()) < set(place.accuracies().items()) and len(place.accuracies()) == 3
    said = place.run().stdout
    assert said.startswith("nothing to do: all runs are done; next: ") and said.endswith(f" -m solvers.compare {place.runs}\n")
    compared = subprocess.run(["sh", "-c", said.partition("next: ")[2]], cwd=ROOT, capture_output=True, text=True)
    assert compared.returncode == 0 and compared.stdout.count("mean of last five") == 4, compared.stderr


def test_killed_and_interrupted_it_goes_on(place, by_hand):
    place.write(LONG)
    process = place.start()
    wait_for(lambda: rows(place) > 100, process)
    process.kill()
    process.wait()
    end = time.monotonic() + 30
    while trainers(place):  # the kernel tells it; it saves and ends
        assert time.monotonic() < end
        time.sleep(0.05)
    saved = rows(place) - 1
    assert f"stopped after iteration {saved} of 600, which is saved" in (place.runs / ONE / "output.log").read_text()

    process = place.start()
    wait_for(lambda: rows(place) > saved + 100, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and not trainers(place), err
    assert f"goes on at step {saved}" in out
    assert out.endswith(f"/bin/python -m solvers.sweep {' '.join(place.command()[3:])}\n") and "go on with\n" in out

    assert place.run().returncode == 0
    assert place.accuracies() == {ONE: by_hand}


def test_a_failed_run_does_not_stop_the_others(place):
    net = (tiny.INPUT + tiny.BODY + tiny.CCE).replace("num_output: 10", "num_output: 5")
    tiny.write_setting(place.folder / "three", net=net)
    place.write("max_iter = 12\n[[runs]]\nsetting = [{three}, {one}]\n")
    done = place.run("--retries", 1)
    assert done.returncode == 1
    assert list(place.accuracies()) == [ONE]
    words = "error: the training data has the label 5, but layer 'loss' scores 5 classes, 0 to 4 (solvers.train, exit code 2)"
    assert f"three/noise_0.0/seed_123: {words}: trying again (1 of 1)" in done.stdout
    assert done.stderr == ("1 of 2 runs failed, each 2 times in a row:\n"
                           f"  three/noise_0.0/seed_123: {words}\n    {place.runs}/three/noise_0.0/seed_123/output.log\n")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_signals(place, by_hand, number):
    place.write(LONG)
    process = place.start()
    wait_for(lambda: rows(place) > 100, process)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == (128 + number if number != signal.SIGHUP else -number)
    end = time.monotonic() + 30
    while trainers(place):
        assert time.monotonic() < end
    assert place.run().returncode == 0
    assert place.accuracies() == {ONE: by_hand}


@pytest.mark.slow
def test_two_commands_at_once_train_each_run_once(place, by_hand):
    place.write(LONG)
    commands = [place.start(), place.start()]
    wait_for(lambda: len(trainers(place)) == 2, commands[0])
    for process in commands:
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
    assert "waiting for the end of another process" in (place.runs / ONE / "output.log").read_text()
    assert rows(place) == 601
    assert place.accuracies() == {ONE: by_hand}


@pytest.mark.slow
def test_a_trainer_that_is_killed_is_started_again(place, by_hand):
    place.write(LONG)
    process = place.start()
    wait_for(lambda: rows(place) > 100, process)
    os.kill(trainers(place)[0], signal.SIGKILL)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert "killed by SIGKILL): trying again (1 of 2)" in out
    assert place.accuracies() == {ONE: by_hand}
