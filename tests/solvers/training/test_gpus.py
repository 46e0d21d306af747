"""Several GPUs, as far as they can be tested without one: processes and batches on the CPU, without NCCL."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny

from base.errors import InputError
from data_toolkit.batches import BatchMaker
from solvers.nets.pycaffe import caffe
from solvers.runs.checkpoints import Checkpoints
from solvers.runs.logs import read_log
from solvers.training import gpus

pb = caffe.proto.caffe_pb2
ROOT = Path(__file__).resolve().parents[3]


def train_on_two_ranks(source: Path, runs: Path, *options: object, **environment: str) -> subprocess.Popen:
    command = [sys.executable, Path(__file__).parents[1] / "ranks.py", source, "--runs", runs, *options]
    return subprocess.Popen(list(map(str, command)), cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env=os.environ | {"PYTHONUNBUFFERED": "1"} | environment, start_new_session=True)


def finished(process: subprocess.Popen) -> tuple[int, str, str]:
    try:
        out, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return process.returncode, out, err


def test_ranks_take_batches_in_turn_and_resume_from_the_checkpoint(setting, tmp_path, folder):
    source, runs = setting(), tmp_path / "runs"
    assert finished(train_on_two_ranks(source, runs, "--max-iter", 5))[0] == 0
    make = BatchMaker(tiny.dataset(), 123, classes_per_batch=2)
    seen = [list(map(int, line.split())) for line in (folder / "rank_1.txt").read_text().splitlines()]
    assert len(seen) in (5, 6)  # it may have prepared a sixth
    for step, indices in enumerate(seen, 1):
        np.testing.assert_array_equal(indices, make(2 * step).indices)
    assert [row.iteration for row in read_log(folder / "log.csv")] == [1, 2, 3, 4, 5]
    assert json.loads((folder / "rank_1.json").read_text())["iteration"] == 0
    saved = pb.NetParameter.FromString(Checkpoints(folder).model(5).read_bytes())
    # The images that one rank would see in ten steps; resumed, those of the steps after.
    assert finished(train_on_two_ranks(source, runs, "--max-iter", 7, "--resume"))[0] == 0
    first = (folder / "rank_1.txt").read_text().splitlines()[0]
    np.testing.assert_array_equal(list(map(int, first.split())), make(12).indices)
    # Step and weights (momentum comes along with them) before NCCL would give it those of the first rank.
    begun = json.loads((folder / "rank_1.json").read_text())
    assert begun["iteration"] == 5
    assert begun["weights"] == {layer.name: [list(blob.data) for blob in layer.blobs] for layer in saved.layer if layer.blobs}


def test_another_number_of_gpus_on_resume_is_refused(setting, tmp_path, run, capsys):
    source = setting()
    assert finished(train_on_two_ranks(source, tmp_path / "runs", "--max-iter", 2))[0] == 0
    assert run(source, "--max-iter", 3, "--resume") == 2
    assert "its gpus is 2, now 1" in capsys.readouterr().err


def test_a_signal_ends_all_ranks(setting, tmp_path, folder):
    process = train_on_two_ranks(setting(), tmp_path / "runs", "--max-iter", 1000000)
    while "iteration" not in (line := process.stdout.readline()):
        assert line, process.stderr.read()
    os.killpg(process.pid, signal.SIGTERM)  # as a terminal or Slurm does: the first rank decides for all
    code, out, err = finished(process)
    assert code == 143, err
    assert f"stopped after iteration {Checkpoints(folder).newest()}" in out


def test_the_death_of_a_rank_ends_the_run(setting, tmp_path):
    code, _, err = finished(train_on_two_ranks(setting(), tmp_path / "runs", "--max-iter", 1000000, RANK_1="dies"))
    assert code == 1
    assert "error: the process of GPU 1 ended (see above); the run goes on with --resume" in err


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(gpus, "has_cuda", lambda: True)
    monkeypatch.setattr(gpus, "count", lambda: 2)
    monkeypatch.setattr(gpus.caffe, "has_nccl", lambda: True)


@pytest.mark.parametrize(("text", "expected"), [("0", [0]), ("1", [1]), ("1,0", [1, 0]), ("0, 1", [0, 1]), ("all", [0, 1])])
def test_device_numbers(two_gpus, text, expected):
    assert gpus.choose(text) == expected


def test_none_is_the_cpu():
    assert gpus.choose(None) == []


@pytest.mark.parametrize(("text", "message"), [
    ("2", "CUDA sees 2 GPUs, numbered from 0"), ("0,0", "named twice"), ("-1", "such as 0 or 0,1"), ("", "such as 0 or 0,1"),
    ("0,", "such as 0 or 0,1"), ("gpu0", "such as 0 or 0,1")])
def test_no_device_numbers(two_gpus, text, message):
    with pytest.raises(InputError, match=message):
        gpus.choose(text)


def test_without_nccl_one_gpu(two_gpus, monkeypatch):
    monkeypatch.setattr(gpus.caffe, "has_nccl", lambda: False)
    assert gpus.choose("1") == [1]
    with pytest.raises(InputError, match="without NCCL, so for one GPU only"):
        gpus.choose("0,1")


def test_a_machine_without_gpus(two_gpus, monkeypatch):
    monkeypatch.setattr(gpus, "count", lambda: 0)
    with pytest.raises(InputError, match="CUDA sees no GPU on this machine"):
        gpus.choose("all")


@pytest.mark.skipif(gpus.has_cuda(), reason="this Caffe knows GPUs")
def test_a_caffe_without_gpus(setting, run, capsys):
    assert run(setting(), "--gpu", "0") == 2
    assert "this Caffe was built for the CPU only; leave --gpu out, or build it for GPUs" in capsys.readouterr().err
