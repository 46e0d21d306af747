"""Probabilities from several processes equal those from one, and errors of the processes are reported."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tiny

from base.errors import InputError
from data_toolkit import batches
from solvers.evaluation import classifier, inference
from solvers.evaluation.inference import Predictor
from solvers.nets import threads, weights
from solvers.runs.checkpoints import Checkpoints

DATA = tiny.dataset(images=600)


@pytest.fixture
def model(setting, run, folder):
    run(setting(solver=tiny.SOLVER + "snapshot: 3"), "--max-iter", 3)
    return Checkpoints(folder).model(3)


@pytest.fixture
def net(model, folder):
    return classifier.read(folder)


def expected(net, model):
    """The probabilities, with all images in one batch."""
    whole = weights.build(net)
    weights.load(whole, model)
    whole.blobs["data"].reshape(len(DATA.labels), 3, 32, 32)
    whole.blobs["data"].data[...] = np.concatenate([data for data, _ in batches.test_batches(DATA)])
    return whole.forward()["probs"].copy()


def test_every_image_in_its_place_whatever_the_number_of_processes(run, net, model, folder, monkeypatch):
    """Probabilities are equal bit by bit, and belong to the weights that are asked for."""
    run(folder.parents[3] / "tiny", "--max-iter", 5, "--resume")
    later = Checkpoints(folder).model(5)
    found = []
    for cores in 1, 2:
        monkeypatch.setattr(inference, "cores", lambda cores=cores: cores)
        with Predictor(net, {"few": tiny.dataset(images=20), "all": DATA}) as predict:
            probabilities = [predict(file, name) for file, name in ((model, "all"), (later, "all"), (later, "few"))]
            assert len(predict._workers) == (0 if cores == 1 else cores)
        assert probabilities[0].dtype == np.float32 and probabilities[2].shape == (20, 10)
        for rows, file in zip(probabilities[:2], (model, later), strict=True):
            np.testing.assert_allclose(rows, expected(net, file), rtol=1e-5)
        found.append(probabilities)
    for one, several in zip(*found, strict=True):
        np.testing.assert_array_equal(one, several)


def test_probabilities_that_another_layer_reads(net, model, monkeypatch):
    """Of outputs alone the values are kept, and here `probs` is none."""
    monkeypatch.setattr(inference, "cores", lambda: 1)
    with Predictor(net, {"all": DATA}) as predict:
        before = predict(model, "all")
    net.layer.add(name="after", type="Power", bottom=["probs"], top=["after"])
    with Predictor(net, {"all": DATA}) as predict:
        np.testing.assert_array_equal(predict(model, "all"), before)


def test_a_process_that_is_killed(net, model, monkeypatch):
    monkeypatch.setattr(inference, "cores", lambda: 2)
    with Predictor(net, {"all": DATA}) as predict:
        predict(model, "all")
        processes = list(predict._workers.values())
        os.kill(processes[0].pid, signal.SIGKILL)
        processes[0].join()
        with pytest.raises(InputError, match="a process that computes probabilities ended with -9"):
            predict(model, "all")
    assert not any(process.is_alive() for process in processes)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_processes_end_with_their_parent(net, model, number):
    """They print nothing, after Ctrl-C as well as after a kill."""
    code = ("import signal, sys, time; signal.signal(signal.SIGINT, signal.default_int_handler);"  # a shell's `&` ignores it
            "from pathlib import Path; import test_inference as t; t.inference.cores = lambda: 2;"
            "from solvers.evaluation import classifier; model = Path(sys.argv[1]);"
            "predict = t.Predictor(classifier.read(model.parents[1]), {'all': t.DATA}).__enter__(); predict(model, 'all');"
            "print(*(process.pid for process in predict._workers.values()), flush=True); time.sleep(60)")
    parent = subprocess.Popen([sys.executable, "-c", code, model], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, start_new_session=True)
    children = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(children) == 2
    os.killpg(parent.pid, number) if number == signal.SIGINT else parent.kill()
    said = parent.communicate(timeout=60)[1]
    assert said.count("Traceback") == (number == signal.SIGINT)  # the parent's own
    for _ in range(100):
        if not any(Path(f"/proc/{pid}").exists() for pid in children):
            break
        time.sleep(0.1)
    else:
        pytest.fail(f"{children} go on without their parent")


def test_cores_are_those_it_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {2, 3, 5, 7})
    for given, expected in (3, 3), (4, 4), (100000, 4):
        monkeypatch.setattr(threads, "count", lambda given=given: given)
        assert inference.cores() == expected
