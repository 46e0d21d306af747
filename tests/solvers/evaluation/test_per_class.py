"""Accuracies of classes and the confusion matrix: compared with counts made here, for nets that are fed and others."""

import csv

import figures
import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from base.errors import InputError
from data_toolkit import batches
from solvers import evaluate
from solvers.evaluation import classifier, per_class, test_nets
from solvers.nets import weights
from solvers.runs.checkpoints import Checkpoints


@given(st.integers(1, 6).flatmap(lambda classes: st.tuples(
    st.just(classes), st.lists(st.tuples(*[st.integers(0, classes - 1)] * 2)))))
def test_every_image_is_counted_where_it_belongs(drawn):
    classes, pairs = drawn
    true, predicted = (np.array([pair[side] for pair in pairs], int) for side in (0, 1))
    confusion = per_class.confusion_matrix(true, predicted, classes)
    assert confusion.shape == (classes, classes)
    for row in range(classes):
        for column in range(classes):
            assert confusion[row, column] == pairs.count((row, column))
    found = per_class.accuracies(confusion)
    assert found.shape == (classes,)
    assert sum(np.nan_to_num(found) * confusion.sum(axis=1)) == pytest.approx((true == predicted).sum())
    assert (np.isnan(found) == ~np.isin(range(classes), true)).all()


def read(file):
    with open(file, newline="") as opened:
        return list(csv.reader(opened))


def test_files(tmp_path):
    """A class without images, one that is always right, and two that are confused with each other."""
    confusion = per_class.confusion_matrix([0, 0, 0, 0, 2, 3, 3], [0, 3, 3, 2, 2, 3, 0], 4)
    names = ["cat, big", "nobody", "dog", "fox"]
    per_class.write(tmp_path, confusion, names, "a title")
    assert read(tmp_path / "per_class.csv") == [
        ["class", "name", "images", "accuracy", "taken_for", "taken_for_images"],
        ["0", "cat, big", "4", "0.2500", "fox", "2"], ["1", "nobody", "0", "", "", "0"],
        ["2", "dog", "1", "1.0000", "", "0"], ["3", "fox", "2", "0.5000", "cat, big", "1"]]
    assert read(tmp_path / "confusion.csv") == [
        ["true class", *names], ["cat, big", "1", "0", "1", "2"], ["nobody", "0", "0", "0", "0"],
        ["dog", "0", "0", "1", "0"], ["fox", "1", "0", "0", "1"]]
    figures.assert_shows(tmp_path / "confusion.png", per_class.draw(confusion, names, "a title"))
    assert per_class.describe(confusion, names) == "from 25.00 % (cat, big) to 100.00 % (dog)"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(per_class.FILES)


def test_the_figure_shows_shares_of_each_true_class():
    confusion = np.array([[1, 3], [0, 0]])
    matrix, bars, _ = per_class.draw(confusion, ["a", "b"], "t").axes
    np.testing.assert_array_equal(matrix.images[0].get_array(), [[25, 75], [0, 0]])
    assert [bar.get_width() for bar in bars.patches] == [25, 0]
    assert [label.get_text() for label in matrix.get_yticklabels()] == ["a", "b"]


@pytest.fixture
def tested(monkeypatch):
    test = tiny.dataset(images=150)
    monkeypatch.setattr("data_toolkit.dataset.load_test", lambda data: test)
    return test


def test_of_the_newest_checkpoint(setting, run, folder, tested, capsys):
    """Also if all is measured already. The mean over the images is the accuracy in accuracy.txt."""
    run(setting(solver=tiny.SOLVER + "snapshot: 4"), "--max-iter", 6)
    evaluate.evaluate(folder, None)
    capsys.readouterr()
    assert evaluate.main([str(folder), "--per-class"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("iter: 6, accuracy of classes: from ") and last.endswith(f"confusion.png in {folder}")
    net = weights.build(classifier.read(folder))
    weights.load(net, Checkpoints(folder).model(6))
    data = np.concatenate([data for data, _ in batches.test_batches(tested)])
    net.blobs["data"].reshape(*data.shape)
    net.blobs["data"].data[...] = data
    predicted = net.forward()["probs"].argmax(axis=1)
    counts = [[int(((tested.labels == row) & (predicted == column)).sum()) for column in range(10)] for row in range(10)]
    header, *rows = read(folder / "confusion.csv")
    assert header[1:] == [row[0] for row in rows] == [str(number) for number in range(10)]
    assert [list(map(int, row[1:])) for row in rows] == counts
    accuracy = float((folder / "accuracy.txt").read_text().split()[-1])
    assert np.trace(counts) / 150 == pytest.approx(accuracy, abs=5e-5)


def test_the_classes_of_cifar_100_have_names(setting, run, folder, tested):
    net = (tiny.INPUT + tiny.BODY + tiny.CCE).replace("num_output: 10", "num_output: 100")
    run(setting(net=net), "--max-iter", 1)
    assert evaluate.main([str(folder), "--per-class"]) == 0
    rows = read(folder / "per_class.csv")
    assert rows[1][:3] == ["0", "apple", "15"] and rows[100][:4] == ["99", "worm", "0", ""]


TOPS = """layer { name: "by_class" type: "Accuracy" bottom: "scores" bottom: "label" top: "accuracy" top: "by_class"
  include { phase: TEST } %s }\n"""


@pytest.mark.parametrize(("tops", "ignored"), [
    (TOPS % "", None), (TOPS % "accuracy_param { ignore_label: 3 }", 3), ("", None)])
def test_of_a_net_that_reads_its_own_data(setting, run, folder, tmp_path, monkeypatch, tops, ignored):
    """Measured with its Accuracy layer, else with its loss. If that layer gives accuracies of classes, they are equal."""
    tiny.write_hdf5(tmp_path / "data.h5")
    (tmp_path / "list.txt").write_text(f"{tmp_path / 'data.h5'}\n")
    net = tiny.hdf5_net(tmp_path / "list.txt").replace("include { phase: TRAIN }", "") + tops
    solver = tiny.SOLVER + "test_iter: 12 test_interval: 1000"
    assert run(setting(net=net, solver=solver), "--max-iter", 2, "--allow-path", tmp_path) == 0
    assert evaluate.main([str(folder), "--per-class", "--allow-path", str(tmp_path)]) == 0
    header, *rows = read(folder / "per_class.csv")
    images = {int(row[0]): int(row[2]) for row in rows}
    labels = (np.arange(12 * 16) % 200) % 10
    assert images == {label: 0 if label == ignored else int((labels == label).sum()) for label in range(10)}
    if tops:
        found = test_nets.measure(test_nets.read(folder), Checkpoints(folder).model(2))["by_class"]
        counted = [label for label in range(10) if label != ignored]
        # Caffe means the accuracies of batches, which have one or two images of a class each
        shares = np.array([float(row[3] or "nan") for row in rows])
        assert (shares[counted] == 1).sum() == (np.array(found)[counted] == 1).sum()
        np.testing.assert_allclose(shares[counted], np.array(found)[counted], atol=0.2)


def test_a_net_without_anything_to_tell_classes(setting, run, folder, tmp_path):
    tiny.write_hdf5(tmp_path / "data.h5")
    (tmp_path / "list.txt").write_text(f"{tmp_path / 'data.h5'}\n")
    loss = 'layer { name: "loss" type: "EuclideanLoss" bottom: "narrow" bottom: "label" top: "loss" }'
    narrow = 'layer { name: "narrow" type: "InnerProduct" bottom: "pool" top: "narrow" inner_product_param { num_output: 1 } }'
    net = tiny.hdf5_net(tmp_path / "list.txt").replace("include { phase: TRAIN }", "").replace(tiny.CCE, narrow + loss)
    assert run(setting(net=net, solver=tiny.SOLVER + "test_iter: 1 test_interval: 1000"), "--max-iter", 1,
               "--allow-path", tmp_path) == 0
    with pytest.raises(InputError, match="accuracies of classes need an Accuracy layer, or a softmax loss"):
        test_nets.predictions(test_nets.read(folder)[0], Checkpoints(folder).model(1), lambda batches: None)
