"""Nets that read their own data are measured with their solver's test nets; the numbers are computed again in NumPy."""

import json

import h5py
import numpy as np
import pytest
import tiny
from google.protobuf import text_format
from scipy.special import softmax

from base.commands import command
from solvers import compare, evaluate
from solvers.evaluation import test_nets
from solvers.nets import weights
from solvers.nets.pycaffe import caffe
from solvers.runs.checkpoints import Checkpoints

BATCH, BATCHES, CLASSES = 40, 5, 10  # all 200 images of the data set
TOPS = """layer { name: "top1" type: "Accuracy" bottom: "scores" bottom: "label" top: "top-1" top: "by class"
  include { phase: TEST } }
layer { name: "top3" type: "Accuracy" bottom: "scores" bottom: "label" top: "top3" accuracy_param { top_k: 3 }
  include { phase: TEST } }
"""
SOLVER = tiny.SOLVER + f"snapshot: 4 test_iter: {BATCHES} test_interval: 1000 test_initialization: false "


def data_layer(phase, batch, extra=""):
    return (f'layer {{ name: "images" type: "HDF5Data" top: "data" top: "label" include {{ phase: {phase} {extra} }}'
            f' hdf5_data_param {{ source: "tiny/list.txt" batch_size: {batch} }} }}\n')


NET = data_layer("TRAIN", 16) + data_layer("TEST", BATCH) + tiny.BODY + TOPS + tiny.CCE


@pytest.fixture
def trained(setting, run, folder, tmp_path, monkeypatch):
    """A function that trains a net with these layers to step 8, with checkpoints at 4 and 8; returns its run folder."""
    monkeypatch.chdir(tmp_path)

    def train(net=NET, solver=SOLVER):
        source = setting(net=net, solver=solver)
        tiny.write_hdf5(source / "images.h5")
        (source / "list.txt").write_text("tiny/images.h5\n")
        assert run(source, "--max-iter", 8) == 0
        return folder

    return train


def measure(folder):
    return evaluate.main([str(folder), "--allow-path", "tiny"])


def expected(folder, iteration):
    """Accuracy, top-3 accuracy, accuracies of classes, and loss over all images, computed from the scores."""
    with h5py.File("tiny/images.h5") as file:
        images, labels = file["data"][()], file["label"][()].astype(int)
    net = weights.build(text_format.Parse(tiny.TEST, caffe.proto.caffe_pb2.NetParameter()))
    weights.load(net, Checkpoints(folder).model(iteration))
    net.blobs["data"].reshape(*images.shape)
    net.blobs["data"].data[...] = images
    net.forward()
    scores = net.blobs["scores"].data.astype(float)
    right = scores.argmax(axis=1) == labels
    within = (np.argsort(-scores, axis=1)[:, :3] == labels[:, None]).any(axis=1)
    loss = -np.log(softmax(scores, axis=1)[np.arange(len(labels)), labels]).mean()
    return right.mean(), within.mean(), [right[labels == c].mean() for c in range(CLASSES)], loss


def test_all_accuracies_and_losses(trained, capsys):
    folder = trained()
    capsys.readouterr()
    assert measure(folder) == 0
    lines = (folder / "accuracy.txt").read_text().splitlines()
    assert capsys.readouterr().out.splitlines() == lines and len(lines) == 2
    stored = [results for _, results in json.loads((folder / "accuracy.json").read_text())["points"].values()]
    for iteration, line, results in zip((4, 8), lines, stored, strict=True):
        accuracy, within, by_class, loss = expected(folder, iteration)
        assert list(results) == ["accuracy", "by_class", "top3", "loss"]
        np.testing.assert_allclose(results["accuracy"], accuracy, rtol=1e-6)
        np.testing.assert_allclose(results["top3"], within, rtol=1e-6)
        np.testing.assert_allclose(results["by_class"], by_class, rtol=1e-6)
        np.testing.assert_allclose(results["loss"], loss, rtol=1e-4)
        assert line == f"iter: {iteration}, accuracy: {accuracy:.4f}, top3: {within:.4f}, loss: {results['loss']:.4f}"
    assert (folder / "accuracy_curve.png").read_bytes().startswith(b"\x89PNG")
    assert compare.main([str(folder)]) == 0
    assert f"{100 * accuracy:.2f}" in capsys.readouterr().out


@pytest.mark.parametrize("is_fed", [False, True], ids=["own data", "fed"])
def test_a_test_net_of_caffes_that_is_called_as_ours_from_images_to_probabilities(setting, run, folder, monkeypatch, is_fed):
    """test.prototxt, Caffe's usual name for a test net. A net that is fed is measured by one derived from it."""
    monkeypatch.setattr("data_toolkit.dataset.load_test", lambda data: tiny.dataset(images=20))
    accuracy = 'layer { name: "right" type: "Accuracy" bottom: "scores" bottom: "label" top: "right" }'
    solver = tiny.SOLVER.replace("net:", "train_net:") + 'test_net: "test.prototxt" test_iter: 2 test_interval: 2'
    net = tiny.INPUT + tiny.BODY + tiny.CCE if is_fed else tiny.hdf5_net("list.txt").replace("include { phase: TRAIN }", "")
    source = setting(net=net, solver=solver)
    tiny.write_hdf5_list(source)
    (source / "test.prototxt").write_text(net + accuracy)
    assert run(source, "--max-iter", 4) == 0
    assert (folder / "test.csv").read_text().count("\n") == 3
    assert evaluate.main([str(folder), "--allow-path", str(source)]) == 0
    assert (folder / "accuracy.txt").read_text().startswith("iter: 4, accuracy: ")


def test_each_checkpoint_is_measured_on_the_first_of_the_data(trained):
    """With fewer batches than one pass over the data, the next checkpoint must not go on where the last one ended."""
    folder = trained(solver=SOLVER.replace(f"test_iter: {BATCHES}", "test_iter: 2"))
    model = Checkpoints(folder).model(8)
    nets = test_nets.read(folder)
    assert test_nets.measure(nets, model) == test_nets.measure(nets, model)
    with h5py.File("tiny/images.h5") as file:
        labels = file["label"][: 2 * BATCH]
    by_class = test_nets.measure(nets, model)["by_class"]
    assert len(set(labels)) == CLASSES and len(by_class) == CLASSES


def test_several_test_nets_with_stages(trained):
    other = data_layer("TEST", 20, 'stage: "few"') + data_layer("TEST", BATCH, 'not_stage: "few"')
    folder = trained(net=data_layer("TRAIN", 16) + other + tiny.BODY + TOPS + tiny.CCE,
                     solver=SOLVER + 'test_iter: 1 test_state {} test_state { stage: "few" }')
    results = test_nets.measure(test_nets.read(folder), Checkpoints(folder).model(8))
    assert list(results) == ["accuracy", "by_class", "top3", "loss", "1:accuracy", "1:by_class", "1:top3", "1:loss"]
    with h5py.File("tiny/images.h5") as file:
        assert results["1:accuracy"] * 20 == pytest.approx(round(results["1:accuracy"] * 20)) and len(file["label"]) == 200
    assert results["accuracy"] == pytest.approx(expected(folder, 8)[0])


@pytest.mark.parametrize(("names", "reported"), [
    (("top3", "top-1"), ["top3", "accuracy"]),  # that of the best score alone
    (("accuracy", "top-1"), ["accuracy", "top-1"]),
    (("top3", "accuracy"), ["top3", "accuracy"]),
])
def test_which_accuracy_is_called_so(trained, names, reported):
    three, one = (f'layer {{ name: "{name}" type: "Accuracy" bottom: "scores" bottom: "label" top: "{name}" '
                  f'include {{ phase: TEST }} accuracy_param {{ top_k: {k} }} }}\n'
                  for name, k in zip(names, (3, 1), strict=True))
    folder = trained(net=NET.replace(TOPS, three + one))
    results = test_nets.measure(test_nets.read(folder), Checkpoints(folder).model(8))
    accuracy, within, *_ = expected(folder, 8)
    assert list(results) == [*reported, "loss"]
    assert list(results.values())[:2] == pytest.approx([within, accuracy])


def test_losses_alone(trained, capsys):
    folder = trained(net=NET.replace(TOPS, ""))
    capsys.readouterr()
    assert measure(folder) == 0
    assert capsys.readouterr().out == (folder / "accuracy.txt").read_text()
    assert (folder / "accuracy.txt").read_text().splitlines()[1] == f"iter: 8, loss: {expected(folder, 8)[3]:.4f}"
    assert not (folder / "accuracy_curve.png").exists()
    assert compare.main([str(folder)]) == 2
    assert "expected e.g. 'iter: 1000, accuracy: 0.1234', found 'iter: 4, loss: " in capsys.readouterr().err


def test_what_was_measured_is_not_measured_again_unless_the_data_change(trained, monkeypatch):
    folder = trained()
    counted, original = [], test_nets.measure
    monkeypatch.setattr(test_nets, "measure", lambda *given: counted.append(1) or original(*given))
    measure(folder)
    measure(folder)
    assert len(counted) == 2
    with h5py.File("tiny/images.h5", "r+") as file:
        file["label"][:] = 9 - file["label"][:]
    measure(folder)
    assert len(counted) == 4


@pytest.mark.parametrize(("net", "solver", "said"), [
    (NET.replace(data_layer("TEST", BATCH), ""), tiny.SOLVER, "none in its TEST phase: give it a data layer"),
    (NET, tiny.SOLVER, "solver.prototxt has no test_iter for this net's data: add test_iter: N"),
    (NET, tiny.SOLVER.replace("net:", "train_net:"), "the solver names none to test: write net or test_net"),
    (NET.replace(TOPS + tiny.CCE, tiny.CCE.replace("layer {", "layer { include { phase: TRAIN }")), SOLVER,
     "neither an accuracy nor a loss in its TEST phase"),
])
def test_what_cannot_be_measured(trained, capsys, net, solver, said):
    folder = trained(net, solver)
    capsys.readouterr()
    assert measure(folder) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and said in error
    assert not (folder / "accuracy.txt").exists()


def test_train_says_how(trained, capsys):
    folder = trained()
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.endswith(f"next: {command('solvers.evaluate', [folder, '--allow-path', folder.parents[3] / 'tiny'])}")
    assert evaluate.main(said.rpartition("solvers.evaluate ")[2].split()) == 0


def test_such_nets_have_no_probabilities_to_save(trained, capsys):
    folder = trained()
    assert evaluate.main([str(folder), "--allow-path", "tiny", "--save-probabilities", "x.npy"]) == 2
    assert "its net reads its own data" in capsys.readouterr().err


def test_data_elsewhere_need_a_permission(trained, capsys):
    folder = trained()
    assert evaluate.main([str(folder)]) == 2
    assert "--allow-path" in capsys.readouterr().err
