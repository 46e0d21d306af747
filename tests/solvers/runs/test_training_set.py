"""The training set of a run, from options, folders and config.json."""

import json

import numpy as np
import pytest
import tiny

from base.errors import InputError
from data_toolkit import dataset, matfile
from data_toolkit.batches import BatchFeeder
from data_toolkit.dataset import Dataset
from solvers import evaluate, train
from solvers.evaluation import classifier
from solvers.evaluation.inference import Predictor
from solvers.runs.dynamics import Dynamics
from solvers.runs.logs import read_log
from solvers.runs.training_set import TrainingSet
from solvers.training import options


def chosen(*arguments: object) -> TrainingSet:
    return TrainingSet.from_options(options.parse(["setting", *map(str, arguments)], ""))


@pytest.mark.parametrize(("arguments", "name"), [
    ([], "noise_0.0"),
    (["--noise", 0.4], "noise_0.4"),
    (["--noise", "0.40"], "noise_0.4"),
    (["--noise", 0.4, "--noise-type", "asymmetric_sl"], "noise_asymmetric_sl_0.4"),
])
def test_names(arguments, name):
    assert chosen(*arguments).name == name


def test_matrix(tmp_path):
    np.savetxt(tmp_path / "t.csv", np.eye(100), delimiter=",")
    labels = chosen("--noise-matrix", tmp_path / "t.csv")
    assert labels.name.startswith("noise_matrix_") and labels.rate == 0
    again = TrainingSet.from_config(json.loads(json.dumps(labels.config)))
    data = tiny.dataset()
    dataset.save(dataset.train_path(tmp_path, labels.noise), data, {})
    assert again.load(tmp_path).fingerprint == data.fingerprint


@pytest.mark.parametrize(("arguments", "message"), [
    (["--noise-type", "pair_flip", "--noise-matrix", "t.csv"], "--noise-type and --noise-matrix exclude each other"),
    (["--train-data", "x.mat", "--noise-type", "pair_flip"], "--noise-type and --train-data exclude each other"),
    (["--noise-matrix", "t.csv", "--noise", 0.4], "--noise 0.4 and --noise-matrix exclude each other"),
    (["--train-data", "none.mat"], "--train-data none.mat does not exist"),
])
def test_contradictions(arguments, message):
    with pytest.raises(InputError, match=message):
        chosen(*arguments)


@pytest.fixture
def mat(tmp_path):
    data = tiny.dataset()
    matfile.write(tmp_path / "TrainImageDataCell0.4.mat", data.images, data.labels)
    return tmp_path / "TrainImageDataCell0.4.mat"


def test_a_mat_file_is_trained_on(setting, tmp_path, mat):
    """For example the authors' noisy labels. The data equal those that were written into the file."""
    runs = tmp_path / "runs"
    arguments = [str(setting()), "--runs", str(runs), "--max-iter", "3"]
    assert train.main([*arguments, "--train-data", str(mat), "--noise", "0.4"]) == 0
    folder = runs / "tiny" / "data_TrainImageDataCell0.4" / "seed_123"
    config = json.loads((folder / "config.json").read_text())
    assert (config["noise"], config["noise_type"], config["train_data"]) == (0.4, None, str(mat))
    assert config["data_sha256"] == Dataset(tiny.dataset().images, tiny.dataset().labels).fingerprint
    matfile.write(mat, tiny.dataset().images[:160], tiny.dataset().labels[:160])
    assert train.main([*arguments[:-1], "4", "--train-data", str(mat), "--noise", "0.4", "--resume"]) == 2


def test_a_file_of_ones_own_with_true_labels(setting, tmp_path, capsys):
    """With true labels in the file, the learning dynamics are measured."""
    data = tiny.dataset()
    arguments = [str(setting()), "--runs", str(tmp_path / "runs"), "--max-iter", "2", "--dynamics-interval", "1",
                 "--train-data", str(tmp_path / "mine.npz")]
    np.savez(tmp_path / "mine.npz", images=data.images, classes=data.labels)
    assert train.main(arguments) == 2
    assert "mine.npz: it has no array labels; the arrays needed are images" in capsys.readouterr().err
    np.savez(tmp_path / "mine.npz", images=data.images, labels=data.labels, true_labels=np.zeros(200, np.int16))
    assert train.main(arguments) == 0
    folder = tmp_path / "runs" / "tiny" / "data_mine" / "seed_123"
    assert [(row.clean, row.noisy) for row in read_log(folder / "dynamics.csv", Dynamics)] == expected_counts(data)


def expected_counts(data: Dataset) -> list[tuple[int, int]]:
    """Of two batches: the number of labels that are 0, and of the others."""
    with BatchFeeder(data, seed=123, classes_per_batch=2) as feeder:
        batches = [batch.labels for batch, _ in zip(feeder, range(2), strict=False)]
    return [(int((labels == 0).sum()), int((labels != 0).sum())) for labels in batches]


def test_dynamics_where_the_images_are_known(setting, tmp_path, mat, monkeypatch, capsys):
    """A file without true labels trains. Once a set with its images exists, new runs have dynamics; old runs go on without."""
    data = tmp_path / "data"
    data.mkdir()
    arguments = [str(setting()), "--train-data", str(mat), "--data", str(data), "--dynamics-interval", "2"]
    old, new = ([*arguments, "--runs", str(tmp_path / name)] for name in ("old", "new"))
    run = f"tiny/data_{mat.stem}/seed_123"
    assert train.main([*old, "--max-iter", "4"]) == 0
    assert "true labels are not known" in capsys.readouterr().out
    assert not (tmp_path / "old" / run / "dynamics.csv").exists()

    clean = tiny.dataset()
    dataset.save(data / dataset.train_name("symmetric", 0.0, 123), clean, {})
    matfile.write(mat, clean.images, clean.labels)
    assert train.main([*old, "--max-iter", "6", "--resume"]) == 0
    assert "dynamics.csv is not continued: it lacks steps" in capsys.readouterr().out
    assert train.main([*new, "--max-iter", "4"]) == 0
    assert train.main([*new, "--max-iter", "6", "--resume"]) == 0
    rows = (tmp_path / "new" / run / "dynamics.csv").read_text().splitlines()[1:]
    assert [row.split(",")[:3] for row in rows] == [[step, "16", "0"] for step in "246"]


def test_classes_with_few_images_and_too_few_classes(setting, tmp_path, capsys):
    """A class of 3 images gives 8 images of a batch by repetition; a batch of 16 needs two classes."""
    data = tiny.dataset()
    arguments = [str(setting()), "--runs", str(tmp_path / "runs"), "--max-iter", "3", "--train-data"]
    for name, kept in ("few", data.labels < 1), ("enough", (data.labels < 1) | ((data.labels == 9) & (np.arange(200) < 30))):
        matfile.write(tmp_path / f"{name}.mat", data.images[kept], data.labels[kept])
    assert train.main([*arguments, str(tmp_path / "enough.mat")]) == 0
    capsys.readouterr()
    assert train.main([*arguments, str(tmp_path / "few.mat")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: the net's batch of 16 images is not 8 images of each of 1 to 1 classes")
    # ten classes by number, one by content
    matfile.write(tmp_path / "one.mat", data.images, np.full(200, 9))
    assert train.main([*arguments, str(tmp_path / "one.mat")]) == 2
    assert "error: the labels hold 1 classes, but a batch takes 2" in capsys.readouterr().err


def test_train_sets(setting, run, folder, tmp_path, monkeypatch, capsys):
    """The five accuracies of each checkpoint equal those counted here."""
    clean = tiny.dataset()
    labels = clean.labels.copy()
    labels[::3] = (labels[::3] + 1) % 10
    noisy = Dataset(clean.images, labels, clean.true_labels)
    monkeypatch.setattr(TrainingSet, "prepare", lambda labels, folder: noisy)
    monkeypatch.setattr("data_toolkit.dataset.load_test", lambda data: clean)
    monkeypatch.setattr(TrainingSet, "load", lambda self, data: noisy)
    run(setting(solver=tiny.SOLVER + "snapshot: 4"), "--max-iter", 8)
    assert evaluate.main([str(folder), "--train-sets"]) == 0
    header, *lines = (folder / "train_accuracy.csv").read_text().splitlines()
    assert header == "iteration,corrupted,intact,clean_part,memorised,recovered"
    assert [line.split(",")[0] for line in lines] == ["4", "8"]
    assert "; training: corrupted 0." in capsys.readouterr().out
    with Predictor(classifier.read(folder), {"noisy": noisy}) as predict:
        predicted = predict(folder / "checkpoints1" / "checkpoints_iter_8.caffemodel", "noisy").argmax(axis=1)
    wrong = labels != clean.labels
    expected = [(predicted == labels).mean(), (predicted == clean.labels).mean(), (predicted == labels)[~wrong].mean(),
                (predicted == labels)[wrong].mean(), (predicted == clean.labels)[wrong].mean()]
    assert [float(value) for value in lines[-1].split(",")[1:]] == expected
    # the parts make up the whole
    assert expected[0] == pytest.approx((expected[2] * (~wrong).sum() + expected[3] * wrong.sum()) / len(wrong))
    monkeypatch.setattr(Predictor, "__call__", lambda *_: pytest.fail("measured again"))
    evaluate.evaluate(folder, None, evaluate.Wanted(train_sets=True))


def test_train_sets_need_true_labels(setting, tmp_path, mat, monkeypatch, capsys):
    monkeypatch.setattr("data_toolkit.dataset.load_test", lambda data: tiny.dataset())
    train.main([str(setting()), "--runs", str(tmp_path / "runs"), "--max-iter", "1", "--train-data", str(mat)])
    [config] = tmp_path.rglob("config.json")
    assert evaluate.main([str(config.parent), "--train-sets"]) == 2
    assert f"in that of the data: give --allow-path {mat} if you trust the run" in capsys.readouterr().err
    assert evaluate.main([str(config.parent), "--train-sets", "--allow-path", str(mat)]) == 2
    assert "TrainImageDataCell0.4.mat does not tell its images' true labels" in capsys.readouterr().err
