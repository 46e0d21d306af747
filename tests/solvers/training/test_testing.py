"""Tests during training: their numbers are right, and the training is the same with and without them."""

import signal
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import tiny

from data_toolkit import batches
from prototxt import generate
from solvers.evaluation import classifier
from solvers.nets import weights
from solvers.nets.pycaffe import caffe
from solvers.runs.checkpoints import Checkpoints
from solvers.runs.logs import read_log
from solvers.training import testing

pb = caffe.proto.caffe_pb2
TEST = tiny.dataset(images=150)


@pytest.fixture(autouse=True)
def test_images(monkeypatch):
    monkeypatch.setattr("data_toolkit.dataset.load_test", lambda data: TEST)


def rows(folder) -> list[list[str]]:
    return [line.split(",") for line in (folder / testing.FILE).read_text().splitlines()]


def accuracy(folder, iteration: int) -> float:
    """The accuracy of a checkpoint, counted here."""
    net = weights.build(classifier.read(folder))
    weights.load(net, Checkpoints(folder).model(iteration))
    right = 0
    for data, labels in batches.test_batches(TEST, 50):
        net.blobs["data"].reshape(*data.shape)
        net.blobs["data"].data[...] = data
        right += (net.forward()["probs"].reshape(len(data), -1).argmax(1) == labels).sum()
    return right / len(TEST.labels)


def test_the_accuracy_is_that_of_the_weights_of_that_step(setting, run, folder, capsys):
    assert run(setting(solver=tiny.SOLVER + "snapshot: 2"), "--max-iter", 7, "--test-interval", 2) == 0
    header, *tested = rows(folder)
    assert header == ["iteration", "test_accuracy"] and [int(row[0]) for row in tested] == [2, 4, 6, 7]
    found = {int(iteration): float(value) for iteration, value in tested}
    assert found == {iteration: pytest.approx(accuracy(folder, iteration), abs=1e-6) for iteration in found}
    out = capsys.readouterr().out
    assert all(f"iteration {iteration}/7: test accuracy {value:.4f}\n" in out for iteration, value in found.items())
    [events] = (folder / "tensorboard").glob("events.out.tfevents.*")
    assert events.read_bytes().count(b"test/accuracy") == len(found)


DROPOUT = 'layer { name: "drop" type: "Dropout" bottom: "pool" top: "pool" }\n'


@pytest.mark.parametrize("kind", ["dropout", "resnet"])
def test_it_does_not_change_the_training(setting, run, folder, tmp_path, kind):
    """Losses, weights and momentum are equal bit by bit, also with layers that draw numbers and in the engine's layout."""
    if kind == "dropout":
        net = tiny.INPUT + tiny.BODY.replace('layer { name: "scores"', DROPOUT + 'layer { name: "scores"') + tiny.CCE
    else:
        resnet = generate.resnet(8, 10, 16, "resnet")
        resnet.input.append("label")
        resnet.input_dim.extend([16, 1, 1, 1])
        net = generate.to_text(resnet) + tiny.CCE.replace('"scores"', '"InnerProduct1"')
    source = setting(net=net)
    assert run(source, "--max-iter", 6) == 0
    plain = folder.rename(tmp_path / "plain")
    assert run(source, "--max-iter", 4, "--test-interval", 1) == 0
    assert run(source, "--max-iter", 6, "--test-interval", 2, "--resume") == 0  # another interval is no other run
    assert [row[0] for row in rows(folder)[1:]] == ["1", "2", "3", "4", "6"]
    first, second = ([row[:3] for row in read_log(run / "log.csv")] for run in (plain, folder))
    assert first == second
    states = [Checkpoints(run).state(6).read_bytes() for run in (plain, folder)]
    histories = [[np.float32(blob.data).tobytes() for blob in pb.SolverState.FromString(state).history] for state in states]
    assert histories[0] == histories[1]
    assert Checkpoints(plain).model(6).read_bytes() == Checkpoints(folder).model(6).read_bytes()


@pytest.fixture
def own_data(setting):
    """A setting whose net reads its own data in both phases, and whose solver asks for tests."""
    source = setting(solver=tiny.SOLVER + "test_iter: 5 test_interval: 3")
    tiny.write_hdf5_list(source)
    (source / "train.prototxt").write_text(tiny.tested_hdf5_net("list.txt"))
    return source


def test_the_test_phase_of_a_net_with_its_own_data(own_data, run, folder, capsys):
    assert run(own_data, "--max-iter", 8) == 0
    header, *tested = rows(folder)
    assert sorted(header) == ["iteration", "test_accuracy", "test_loss"] and [row[0] for row in tested] == ["3", "6", "8"]
    values = np.array(tested, float)[:, 1:]
    assert np.all(np.isfinite(values)) and 0 <= values[0, header.index("test_accuracy") - 1] <= 1
    assert capsys.readouterr().out.count(": test accuracy 0.") == 3
    assert run(own_data, "--max-iter", 9, "--resume") == 0


def test_its_numbers_are_those_of_caffe(own_data, run, folder):
    """Caffe makes the same test in its own step. Here it is made by hand, on the first batches of the data."""
    assert run(own_data, "--max-iter", 3, "--test-interval", 3) == 0
    header, row = rows(folder)
    solver = caffe.get_solver(str(folder / "solver.prototxt"))
    solver.net.copy_from(str(Checkpoints(folder).model(3)))
    [net] = solver.test_nets
    net.share_with(solver.net)
    found = [(net.forward(), float(net.blobs["right"].data), float(net.blobs["loss"].data))[1:] for _ in range(5)]
    expected = dict(zip(("test_accuracy", "test_loss"), np.mean(found, axis=0), strict=True))
    assert {name: float(value) for name, value in zip(header[1:], row[1:], strict=True)} == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("data", ["fed", "its own"])
def test_a_signal_in_a_step_that_is_tested(setting, run, folder, own_data, tmp_path, monkeypatch, data):
    """The resumed run makes the test that the signal prevented: no row is missing, and all are as without a signal."""
    source = own_data if data == "its own" else setting("fed")
    folder = folder.parents[1].with_name(source.name) / "noise_0.0/seed_123"
    assert run(source, "--max-iter", 4, "--test-interval", 1) == 0
    undisturbed = rows(folder)
    folder.rename(tmp_path / "undisturbed")
    with monkeypatch.context() as patch:
        patch.setattr("solvers.training.steps.Interrupt", lambda: nullcontext(SimpleNamespace(signal=signal.SIGTERM)))
        assert run(source, "--max-iter", 4, "--test-interval", 1) == 143
        assert rows(folder) == undisturbed[:1]
    assert run(source, "--max-iter", 4, "--test-interval", 1, "--resume") == 0
    assert rows(folder) == undisturbed


def test_a_signal_in_the_last_step(setting, run, folder, monkeypatch):
    monkeypatch.setattr("solvers.training.steps.Interrupt", lambda: nullcontext(SimpleNamespace(signal=signal.SIGTERM)))
    assert run(setting(), "--max-iter", 1, "--test-interval", 1) == 0
    assert [row[0] for row in rows(folder)] == ["iteration", "1"]


def test_a_test_that_cannot_be_made(setting, run, own_data, tmp_path, capsys):
    """If the command line asks for tests, an error before anything is made; if only the solver's file does, a note."""
    solver = own_data / "solver.prototxt"
    solver.write_text(solver.read_text().replace("test_iter: 5 test_interval: 3", ""))
    assert run(own_data, "--max-iter", 1, "--test-interval", 1) == 2
    assert "has no test_iter" in capsys.readouterr().err and not (tmp_path / "runs").exists()
    other = setting("other")
    (other / "test.prototxt").write_text(tiny.TEST.replace("num_output: 8", "num_output: 9"))
    assert run(other, "--max-iter", 1, "--test-interval", 1) == 2
    assert "the layer 'conv' of the test net has other weights than the net" in capsys.readouterr().err
    (other / "solver.prototxt").write_text(tiny.SOLVER + "test_interval: 1")
    assert run(other, "--max-iter", 1) == 0
    assert "note: not tested while it trains: the layer 'conv'" in capsys.readouterr().out
