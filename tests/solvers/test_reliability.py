"""Kills at any moment, damaged files, full disks, two processes, divergence: nothing is lost, and each error is named."""

import json
import os
import random
import re
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import tiny
from test_train import checkpoint_files, losses, weights

from solvers.nets.pycaffe import caffe
from solvers.runs.checkpoints import Checkpoints
from solvers.runs.dynamics import DYNAMICS_FILE

ROOT = Path(__file__).resolve().parents[2]
pb = caffe.proto.caffe_pb2
STEPS = 24


def start(source: Path, runs: Path, *options: object, **environment: str) -> subprocess.Popen:
    command = tiny.command(source, runs, "--max-iter", STEPS, "--resume", *options)
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env=os.environ | {"PYTHONUNBUFFERED": "1"} | environment)


def finish(process: subprocess.Popen) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A setting, and a run of it that was never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    source = tiny.write_setting(folder / "tiny", solver=tiny.SOLVER + "snapshot: 5")
    code, _, err = finish(start(source, folder / "runs"))
    assert code == 0, err
    return source, folder / "runs" / "tiny" / "noise_0.0" / "seed_123"


def assert_same(run: Path, whole: Path) -> None:
    """All files of a run are equal bit by bit, except times and paths."""
    assert weights(run, STEPS) == weights(whole, STEPS)
    assert losses(run) == losses(whole)
    assert (run / DYNAMICS_FILE).read_bytes() == (whole / DYNAMICS_FILE).read_bytes()
    assert Checkpoints(run).models() == Checkpoints(whole).models() == [5, 10, 15, 20, 24]
    for file in Checkpoints(whole).folder.glob("*.caffemodel"):
        ours, theirs = (pb.NetParameter.FromString((folder / "checkpoints1" / file.name).read_bytes())
                        for folder in (run, whole))
        assert ours.layer == theirs.layer
    assert checkpoint_files(run) == checkpoint_files(whole)


def kill_and_resume(whole, tmp_path, moments) -> int:
    """Resume a run after each kill, the moments being numbers of writes or seconds, then let it end.

    Returns how many kills came before the run had ended.
    """
    source, expected = whole
    kills = 0
    for moment in moments:
        if isinstance(moment, int):
            process = start(source, tmp_path / "runs", KILL_AT_WRITE=str(moment))
            code = finish(process)[0]
        else:
            process = start(source, tmp_path / "runs")
            time.sleep(moment)
            process.kill()
            code = finish(process)[0]
        assert code in (-signal.SIGKILL, 0)
        if code == 0:
            break
        kills += 1
    code, _, err = finish(start(source, tmp_path / "runs"))
    assert code == 0, err
    assert_same(tmp_path / "runs" / "tiny" / "noise_0.0" / "seed_123", expected)
    return kills


# The first run makes 74 such calls; at these it writes the settings, log.csv, the first checkpoint's three files, and others.
@pytest.mark.parametrize("moments", [[2], [11], [20], [23], [26, 28, 34], [73]])
def test_killed_at_a_write(whole, tmp_path, moments):
    assert kill_and_resume(whole, tmp_path, moments) == len(moments)


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(1, 75))
def test_killed_at_every_write(whole, tmp_path, moment):
    assert kill_and_resume(whole, tmp_path, [moment]) == 1


@pytest.mark.parametrize("moment", [2, 11, 20, 23, 26, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 75))])
def test_a_write_that_fails_is_an_error_and_the_run_goes_on(whole, tmp_path, moment):
    source, expected = whole
    code, _, err = finish(start(source, tmp_path / "runs", FAIL_AT_WRITE=str(moment)))
    assert code == 2, err
    assert err.splitlines()[-1].startswith("error: ") and "Input/output error" in err.splitlines()[-1]
    assert "Traceback" not in err
    code, _, err = finish(start(source, tmp_path / "runs"))
    assert code == 0, err
    assert_same(tmp_path / "runs" / "tiny" / "noise_0.0" / "seed_123", expected)


@pytest.mark.slow
def test_killed_at_fifty_random_moments(whole, tmp_path):
    draw = random.Random(0)
    kills = sum(kill_and_resume(whole, tmp_path / str(run), [draw.uniform(0.5, 3) for _ in range(5)]) for run in range(10))
    assert kills >= 10  # others may come too late, on a fast machine


def flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1:]


@pytest.mark.parametrize("suffix", ["solverstate", "caffemodel", "json"])
@pytest.mark.parametrize("damage", [flip, lambda content: content[: len(content) // 2], lambda content: b""])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(whole, tmp_path, run, folder, capsys, suffix, damage):
    source, expected = whole
    run(source, "--max-iter", 12)
    file = folder / "checkpoints1" / f"checkpoints_iter_12.{suffix}"
    file.write_bytes(damage(file.read_bytes()))
    capsys.readouterr()
    assert run(source, "--max-iter", STEPS, "--resume") == 0
    said = capsys.readouterr()
    assert "from iteration 10" in said.out
    assert said.err.startswith("warning: ") and "checkpoints_iter_12" in said.err.splitlines()[0]
    (folder / "checkpoints1" / "checkpoints_iter_12.json").unlink(missing_ok=True)
    assert_same(folder, expected)


def test_checkpoints_of_before_manifests(whole, run, folder):
    source, expected = whole
    run(source, "--max-iter", 12)
    for manifest in (folder / "checkpoints1").glob("*.json"):
        manifest.unlink()
    assert run(source, "--max-iter", STEPS, "--resume") == 0
    assert weights(folder, STEPS) == weights(expected, STEPS)


def test_the_manifest_says_what_belongs_together(whole):
    _, folder = whole
    manifest = json.loads((folder / "checkpoints1" / "checkpoints_iter_20.json").read_text())
    config = json.loads((folder / "config.json").read_text())
    assert manifest["iteration"] == 20
    assert manifest["run"] == {name: config[name] for name in ("data_sha256", "net_sha256", "solver_sha256")}
    assert set(manifest["files"]) == {"checkpoints_iter_20.caffemodel", "checkpoints_iter_20.solverstate"}


# The first write that fails: of the rehearsal, the run's settings, dynamics.csv, the logs, Caffe's own files. The slow cases
# are all writes of 17 steps.
@pytest.mark.parametrize("moment", [2, 19, 33, 45, 55, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 91))])
def test_a_full_disk_leaves_the_checkpoint_before(whole, tmp_path, moment):
    """From a certain moment no file can grow. The run reports that in one line."""
    source, expected = whole
    runs = tmp_path / "runs"
    code, _, err = finish(start(source, runs, "--max-iter", 7))
    assert code == 0, err
    code, _, err = finish(start(source, runs, FULL_AT_WRITE=str(moment)))
    assert code == 2, err
    assert "Traceback" not in err
    assert re.fullmatch("error: .*(File too large|Caffe refuses to go on, for the reason above).*", err.splitlines()[-1]), err
    code, _, err = finish(start(source, runs))
    assert code == 0, err
    assert_same(runs / "tiny" / "noise_0.0" / "seed_123", expected)


def test_no_room_for_a_checkpoint(setting, run, monkeypatch, capsys):
    usage = type("usage", (), {"free": 1 << 20})
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)
    assert run(setting(), "--max-iter", 1) == 2
    assert "1 MB are free, but a checkpoint needs 2: make room" in capsys.readouterr().err


def test_a_second_process_is_refused(setting, tmp_path):
    source, runs = setting(), tmp_path / "runs"
    first = start(source, runs, "--max-iter", 1000000)
    while "iteration" not in (line := first.stdout.readline()):
        assert line, first.stderr.read()
    code, _, err = finish(start(source, runs))
    assert code == 2 and f"another process ({first.pid} on " in err
    first.kill()
    first.communicate()
    assert finish(start(source, runs, "--max-iter", 2))[0] == 0  # the kernel has released the killed process's lock


def test_a_second_process_may_wait(setting, tmp_path):
    source, runs = setting(), tmp_path / "runs"
    first = start(source, runs, "--max-iter", 1000000)
    while "iteration" not in (line := first.stdout.readline()):
        assert line, first.stderr.read()
    second = start(source, runs, "--max-iter", 1, "--wait")
    assert f"waiting for the end of another process ({first.pid} on " in second.stdout.readline()
    first.terminate()  # it saves
    code, out, err = finish(second)
    assert code == 0 and "nothing to do" in out, err
    first.communicate()


def test_slurms_signal(setting, tmp_path):
    process = start(setting(), tmp_path / "runs", "--max-iter", 1000000)
    while "iteration" not in (line := process.stdout.readline()):
        assert line, process.stderr.read()
    process.send_signal(signal.SIGUSR1)
    code, out, _ = finish(process)
    assert code == 128 + signal.SIGUSR1 and "SIGUSR1: stopped after iteration" in out


@pytest.mark.parametrize(("snapshot", "said"), [
    (1, r"after iteration \d+ the weights of layer '\w+' are not all finite: this is not saved"),
    (50, r"training has diverged: the loss 'loss' of iteration \d+ ")])
def test_divergence_is_named(setting, run, folder, capsys, snapshot, said):
    """At the first checkpoint or the first loss that shows it, whichever comes first."""
    source = setting(solver=tiny.SOLVER.replace("0.1", "1e18", 1) + f"snapshot: {snapshot}")
    assert run(source, "--max-iter", 50) == 2
    assert re.match(f"error: {said}", capsys.readouterr().err)
    for iteration in Checkpoints(folder).models():
        values = [np.array(blob.data) for layer in pb.NetParameter.FromString(
            Checkpoints(folder).model(iteration).read_bytes()).layer for blob in layer.blobs]
        assert all(np.isfinite(value).all() for value in values)


def test_the_loss_of_clamped_probabilities_is_divergence(setting, run, folder, monkeypatch, capsys):
    # As if the first loss, of about 2.3, were that of p = 0.
    monkeypatch.setattr("layers.weighting.Weighting.distance", lambda self, p: np.array([1.0, 2.0]))
    assert run(setting(loss=tiny.CCE), "--max-iter", 5) == 2
    error = capsys.readouterr().err
    assert "the loss of probabilities clamped at 0 on the images in" in error and "there is no checkpoint yet" in error
    batch = json.loads((folder / "diverged.json").read_text())
    assert len(batch["images"]) == 16 and batch["iteration"] >= 1


def test_other_losses_may_be_large(setting, run, monkeypatch):
    monkeypatch.setattr("layers.weighting.Weighting.distance", lambda self, p: np.array([0.0, 0.1]))
    net = tiny.CCE.replace("SoftmaxWithLoss", "MultinomialLogisticLoss").replace("scores", "probs")
    assert run(setting(loss=net), "--max-iter", 2) == 0
