"""Accuracies of checkpoints: right numbers in the right format, each measured once; and the curve."""

import os
import re
import subprocess
import sys

import figures
import numpy as np
import pytest
import tiny
from matplotlib.backends.backend_agg import FigureCanvasAgg

from base.errors import InputError
from data_toolkit import batches
from solvers import evaluate
from solvers.evaluation import classifier
from solvers.nets import prototext, weights
from solvers.nets.pycaffe import caffe
from solvers.reporting import curves, released_runs
from solvers.reporting.accuracy import Curve
from solvers.runs.checkpoints import Checkpoints
from solvers.runs.training_set import TrainingSet

pb = caffe.proto.caffe_pb2


@pytest.fixture
def trained(setting, run, folder, monkeypatch):
    """A run with checkpoints at 4, 8 and 10, of a setting without a test net."""
    monkeypatch.setattr("data_toolkit.dataset.load_test", lambda data: tiny.dataset(images=150))
    run(setting(solver=tiny.SOLVER + "snapshot: 4"), "--max-iter", 10)
    return folder


def test_a_folder_that_is_no_run(tmp_path):
    """Nothing is made for it."""
    (tmp_path / "above/a").mkdir(parents=True)
    (tmp_path / "above/a/config.json").touch()
    for command, said in (("evaluate above", "above is no run folder: it has no config.json; below it are above/a"),
                          ("evaluate nowhere", "nowhere is no run folder: it has no config.json; solvers.train makes one"),
                          ("keep nowhere", "nowhere: no config.json, so not a run folder of solvers.train")):
        module, run = command.split()
        done = subprocess.run([sys.executable, "-m", f"solvers.{module}", run], cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (2, f"error: {said}\n")
    assert os.listdir(tmp_path) == ["above"]


def test_accuracy_txt(trained, capsys):
    assert evaluate.main([str(trained)]) == 0
    text = (trained / "accuracy.txt").read_text()
    assert re.fullmatch(r"(iter: \d+, accuracy: [01]\.\d{4}\n){3}", text)
    assert [line.split(",")[0] for line in text.splitlines()] == ["iter: 4", "iter: 8", "iter: 10"]
    assert capsys.readouterr().out == text
    assert evaluate.main([str(trained)]) == 0
    assert (trained / "accuracy.txt").read_text() == text  # not appended


def test_accuracy_is_the_share_of_right_labels(trained):
    """Computed again with the train net in its TEST phase, all images in one batch."""
    curve = evaluate.evaluate(trained, None)
    test = tiny.dataset(images=150)
    net = caffe.Net(str(trained / "train.prototxt"), caffe.TEST, weights=str(Checkpoints(trained).model(10)))
    net.blobs["data"].reshape(150, 3, 32, 32)
    net.blobs["label"].reshape(150, 1, 1, 1)
    net.blobs["data"].data[...] = np.concatenate([data for data, _ in batches.test_batches(test)])
    net.forward()
    assert curve.accuracies[-1] == np.mean(net.blobs["scores"].data.argmax(1) == test.labels)
    assert curve.iterations == [4, 8, 10]


def test_only_new_or_changed_checkpoints_are_measured(trained, monkeypatch):
    measure, measured = evaluate.accuracy, []
    monkeypatch.setattr(evaluate, "accuracy", lambda *given: measured.append(1) or measure(*given))
    evaluate.evaluate(trained, None)
    evaluate.evaluate(trained, None)
    assert len(measured) == 3
    checkpoints = Checkpoints(trained)
    checkpoints.model(8).write_bytes(checkpoints.model(10).read_bytes())
    with pytest.raises(InputError, match="checkpoints_iter_8.caffemodel is not what was written: its SHA-256 differs"):
        evaluate.evaluate(trained, None)
    checkpoints.manifest(8).unlink()
    curve = evaluate.evaluate(trained, None)
    assert len(measured) == 3  # those weights are known already
    assert curve.accuracies[1] == curve.accuracies[2]
    monkeypatch.setattr("data_toolkit.dataset.load_test", lambda data: tiny.dataset(images=100))
    evaluate.evaluate(trained, None)
    assert len(measured) == 5


def test_what_was_measured_of_pruned_checkpoints_stays(setting, run, folder, monkeypatch, capsys):
    """Evaluate, train on, evaluate again, on test and training images; earlier accuracies do not change."""
    monkeypatch.setattr("data_toolkit.dataset.load_test", lambda data: tiny.dataset(images=150))
    monkeypatch.setattr(TrainingSet, "load", lambda self, data: tiny.dataset())
    source = setting(solver=tiny.SOLVER + "snapshot: 4")
    run(source, "--max-iter", 5)
    assert evaluate.main([str(folder), "--train-sets"]) == 0
    before = [(folder / name).read_text().splitlines() for name in ("accuracy.txt", "train_accuracy.csv")]
    run(source, "--max-iter", 10, "--resume")
    assert Checkpoints(folder).models() == [4, 8, 10]
    capsys.readouterr()
    assert evaluate.main([str(folder), "--train-sets"]) == 0
    printed = [line.partition(";")[0] for line in capsys.readouterr().out.splitlines()]
    tested, trained = ((folder / name).read_text().splitlines() for name in ("accuracy.txt", "train_accuracy.csv"))
    assert printed == tested
    assert [line.split(",")[0] for line in tested] == ["iter: 4", "iter: 5", "iter: 8", "iter: 10"]
    assert [line.split(",")[0] for line in trained] == ["iteration", "4", "5", "8", "10"]
    assert [tested[:2], trained[:3]] == before
    assert evaluate.evaluate(folder, None).iterations == [4, 5, 8, 10]


@pytest.mark.parametrize("change", [
    lambda folder: (folder / "test.prototxt").write_text(tiny.TEST.replace("name: \"relu\"", "name: \"another\"")),
    lambda folder: (folder / "config.json").write_text((folder / "config.json").read_text().replace(": 123", ": 124")),
], ids=["net", "seed"])
def test_what_was_measured_of_another_net_or_run_does_not(trained, change):
    evaluate.evaluate(trained, None)
    Checkpoints(trained).model(8).unlink()
    assert evaluate.evaluate(trained, None).iterations == [4, 8, 10]
    change(trained)
    assert evaluate.evaluate(trained, None).iterations == [4, 10]


def test_weights_that_replace_others_are_measured_anew(trained):
    """If a deleted iteration is made again, its results are those of the new weights."""
    first = evaluate.evaluate(trained, None)
    checkpoints = Checkpoints(trained)
    net = pb.NetParameter.FromString(checkpoints.model(8).read_bytes())
    for layer in net.layer:
        for blob in layer.blobs:
            blob.data[:] = [0] * len(blob.data)
    checkpoints.model(8).write_bytes(net.SerializeToString())
    checkpoints.manifest(8).unlink()
    assert evaluate.evaluate(trained, None).accuracies == [first.accuracies[0], 0.1, first.accuracies[2]]


def test_interrupted_evaluation_keeps_what_is_done(trained, monkeypatch, capsys):
    measure = evaluate.accuracy
    results = iter([measure, KeyboardInterrupt])

    def interrupted(probabilities, test):
        step = next(results)
        if step is KeyboardInterrupt:
            raise KeyboardInterrupt
        return step(probabilities, test)

    monkeypatch.setattr(evaluate, "accuracy", interrupted)
    assert evaluate.main([str(trained)]) == 130
    assert (trained / "accuracy.txt").read_text().startswith("iter: 4, accuracy: ")
    assert capsys.readouterr().err == "interrupted: the results so far are kept, and the same command goes on\n"


def test_the_settings_own_test_net_gives_the_same(trained):
    derived = evaluate.evaluate(trained, None)
    (trained / "test.prototxt").write_text(tiny.TEST)
    assert evaluate.evaluate(trained, None) == derived


def test_scores_without_probs(setting, run, folder, monkeypatch):
    monkeypatch.setattr("data_toolkit.dataset.load_test", lambda data: tiny.dataset())
    body = tiny.BODY[:tiny.BODY.index('layer { name: "probs"')]
    run(setting(net=tiny.INPUT + body + tiny.CCE), "--max-iter", 1)
    assert len(evaluate.evaluate(folder, None).accuracies) == 1


@pytest.mark.parametrize("setting_name", ["tiny", "res44_usw"])  # without and with a published curve
def test_accuracy_curve(setting, run, folder, monkeypatch, setting_name):
    monkeypatch.setattr("data_toolkit.dataset.load_test", lambda data: tiny.dataset())
    run(setting(setting_name), "--max-iter", 2)
    run_folder = folder.parents[2] / setting_name / "noise_0.0" / "seed_123"
    curve = evaluate.evaluate(run_folder, None)
    released = released_runs.find_released("res44_usw", 0.0, beta=6) if setting_name == "res44_usw" else None
    solver = prototext.read(run_folder / "solver.prototxt", pb.SolverParameter())
    expected = curves.draw(f"{setting_name}, noise 0.0, seed 123", curve, released, solver)
    assert len(figures.lines(expected.axes[0])) == (1 if released is None else 3)
    figures.assert_shows(run_folder / "accuracy_curve.png", expected)


def test_the_drawn_lines_are_the_numbers():
    ours, released = Curve([1000, 2000], [0.25, 0.5]), released_runs.find_released("res44_cce", 0.4)
    solver = pb.SolverParameter(lr_policy="multistep", stepvalue=[15000, 22000, 40000])
    figure = curves.draw("a title", ours, released, solver)
    [axes] = figure.axes
    assert axes.get_title() == "a title"
    assert figures.lines(axes) == {
        "ours (best 50.00 %)": ([1000, 2000], [25, 50]),
        "published: CCE (best 53.15 %)": (released.iterations, [100 * accuracy for accuracy in released.accuracies]),
        "learning rate drops": ([15000, 15000], [0, 1])}
    assert [line.get_xdata()[0] for line in axes.lines[2:]] == [15000, 22000]
    assert axes.get_xlim()[1] > 30000 and axes.get_ylim()[0] == 0
    assert figure.get_figwidth() * figure.dpi == 1200
    FigureCanvasAgg(figure).draw()
    [legend] = figure.legends
    assert legend.get_window_extent().y1 < axes.get_window_extent().y0  # it hides no curve


def test_learning_rate_drops():
    drops = curves.learning_rate_drops
    assert drops(pb.SolverParameter(lr_policy="multistep", stepvalue=[15000, 22000]), 20000) == [15000]
    assert drops(pb.SolverParameter(lr_policy="step", stepsize=10), 35) == [10, 20, 30]
    assert drops(pb.SolverParameter(lr_policy="fixed"), 35) == []


def test_a_damaged_or_foreign_checkpoint(trained):
    model = Checkpoints(trained).model(8)
    whole = model.read_bytes()
    model.write_bytes(whole[:-10])
    with pytest.raises(InputError, match=r"checkpoints_iter_8.caffemodel has \d+ bytes instead of"):
        evaluate.evaluate(trained, None)
    (trained / "test.prototxt").write_text(tiny.TEST.replace('name: "conv"', 'name: "other"'))
    model.write_bytes(whole)
    with pytest.raises(InputError, match=r"has no weights for the layers other of the net"):
        evaluate.evaluate(trained, None)


@pytest.mark.parametrize("spoil", [lambda f: (f / "config.json").unlink(),
                                   lambda f: [p.unlink() for p in (f / "checkpoints1").iterdir()]])
def test_bad_run_folders(trained, spoil, capsys):
    spoil(trained)
    assert evaluate.main([str(trained)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_a_net_that_caffe_ends_the_process_over(setting, run, folder):
    """Only Caffe checks the shapes in a test net. The output ends with its reason and one more line, without a stack trace."""
    source = setting()
    (source / "test.prototxt").write_text(tiny.TEST.replace("kernel_size: 3", "kernel_size: 64"))
    assert run(source, "--max-iter", 1) == 2
    (source / "test.prototxt").unlink()
    assert run(source, "--max-iter", 1) == 0
    (folder / "test.prototxt").write_text(tiny.TEST.replace("kernel_size: 3", "kernel_size: 64"))
    code = ("import sys, tiny; from data_toolkit import dataset; from solvers import evaluate;"
            "dataset.load_test = lambda data: tiny.dataset(); sys.exit(evaluate.main(sys.argv[1:]))")
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
    assert done.returncode == 2
    assert done.stderr == f"error: Caffe refuses {folder}: layer 'conv': shape[i] >= 0 (-7 vs. 0)\n"


def test_probabilities_are_those_of_the_newest_checkpoint_in_the_order_of_the_images(trained, tmp_path, monkeypatch):
    """On test and training images. A checkpoint that was measured before is not measured again."""
    monkeypatch.setattr(TrainingSet, "load", lambda self, data: tiny.dataset(images=170))
    test, train = tmp_path / "test.npy", tmp_path / "train.npy"
    assert evaluate.main([str(trained)]) == 0
    monkeypatch.setattr(evaluate, "accuracy", lambda *_: pytest.fail("measured again"))
    assert evaluate.main([str(trained), "--save-probabilities", str(test), "--save-train-probabilities", str(train)]) == 0
    assert not (trained / "train_accuracy.csv").exists()
    net = weights.build(classifier.read(trained))
    weights.load(net, Checkpoints(trained).model(10))
    for file, images in (test, 150), (train, 170):
        data = np.concatenate([data for data, _ in batches.test_batches(tiny.dataset(images=images))])
        net.blobs["data"].reshape(*data.shape)
        net.blobs["data"].data[...] = data
        found = np.load(file)
        assert found.dtype == np.float32 and found.shape == (images, 10)
        np.testing.assert_allclose(found, net.forward()["probs"], rtol=1e-5)


def test_probabilities_that_cannot_be_written(trained, tmp_path, capsys):
    for file in tmp_path / "nowhere" / "x.npy", trained:
        assert evaluate.main([str(trained), "--save-probabilities", str(file)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and f"cannot write {file}" in error
    assert not (tmp_path / "nowhere").exists() and trained.is_dir()
    assert evaluate.main([str(trained), "--save-probabilities", "x.npy", "--save-train-probabilities", "x.npy"]) == 2
    assert "both name x.npy" in capsys.readouterr().err
