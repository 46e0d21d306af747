"""Learning dynamics: right numbers for every loss, equal after stopping and resuming."""

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from data_toolkit.batches import BatchFeeder
from data_toolkit.dataset import Dataset
from layers.weighting import WEIGHTINGS, Weighting
from solvers.nets.pycaffe import caffe
from solvers.runs import dynamics
from solvers.runs.dynamics import Dynamics
from solvers.runs.logs import read_log
from solvers.runs.training_set import TrainingSet


def noisy_dataset() -> Dataset:
    clean = tiny.dataset()
    labels = clean.labels.copy()
    labels[::3] = (labels[::3] + 1) % 10
    return Dataset(clean.images, labels, clean.true_labels)


@pytest.fixture
def noisy(monkeypatch, run):
    """The fixture `run`, on data with a third of the labels wrong."""
    monkeypatch.setattr(TrainingSet, "prepare", lambda labels, folder: noisy_dataset())
    return run


def rows(folder):
    return read_log(folder / dynamics.DYNAMICS_FILE, Dynamics)


GIVEN = {"DM": {"lam": 0.5, "beta": 6}, "CUSTOM": {"formula": "pow(p, 0.3) * exp(-2 * p)"}, "FORWARD": {"classes": 5},
         "GCE_TRUNCATED": {"k": 1e-6}}  # else no example of a batch may count


@pytest.mark.parametrize("name", WEIGHTINGS)
@given(seed=st.integers(0, 2**32 - 1), wrong=st.integers(0, 12))
def test_shares_are_those_of_the_gradients(name, seed, wrong):
    """Computed again from the gradients c(p) * (P - onehot): sums of absolute values."""
    random = np.random.default_rng(seed)
    scores, labels = random.normal(0, 2, (12, 5)), random.integers(0, 5, 12)
    noisy = random.permutation(12) < wrong
    weighting = Weighting(name, **GIVEN.get(name.removesuffix("_DN"), {}))
    probs = softmax(scores, axis=1)
    p = probs[np.arange(12), labels]
    gradients = weighting.multiplier(p)[:, None] * (probs - np.eye(5)[labels])
    norms = abs(gradients).sum(axis=1)
    found = dynamics.measure(10, p, noisy, weighting)
    assert (found.iteration, found.clean, found.noisy) == (10, 12 - wrong, wrong)
    for side, mean, share in (~noisy, found.clean_p, found.clean_share), (noisy, found.noisy_p, found.noisy_share):
        np.testing.assert_allclose(mean, p[side].mean() if side.any() else np.nan)
        np.testing.assert_allclose(share, norms[side].sum() / norms.sum(), rtol=1e-4)
    assert found.clean_share + found.noisy_share == pytest.approx(1)


def test_no_gradient_at_all():
    found = dynamics.measure(1, np.ones(4), np.zeros(4, bool), Weighting("MAE"))
    assert np.isnan([found.clean_share, found.noisy_share, found.noisy_p]).all() and found.clean_p == 1


@pytest.mark.parametrize(("loss", "options", "weighting"), [
    (tiny.USW, [], Weighting("DM", lam=0.5, beta=6)),
    (tiny.USW, ["--beta", 2, "--layers", "python"], Weighting("DM", lam=0.5, beta=2)),
    (tiny.WEIGHTED, ["--weighting", "GCE_DN"], Weighting("GCE_DN")),
    (tiny.CCE, [], Weighting("CCE")),
])
def test_a_run_writes_what_its_batches_tell(setting, noisy, tmp_path, loss, options, weighting):
    assert noisy(setting(loss=loss), "--max-iter", 7, "--dynamics-interval", 3, *options) == 0
    [folder] = (file.parent for file in tmp_path.rglob("config.json"))
    caffe.set_random_seed(123)
    solver = caffe.get_solver(str(folder / "solver.prototxt"))
    data, expected = noisy_dataset(), []
    with BatchFeeder(data, seed=123, classes_per_batch=2) as feeder:
        for step, batch in zip(range(1, 8), feeder, strict=False):
            solver.net.blobs["data"].data[...], solver.net.blobs["label"].data[...] = batch.data, batch.labels
            solver.step(1)
            p = solver.net.blobs["probs"].data[np.arange(16), batch.labels.ravel().astype(int)]
            wrong = (data.labels != data.true_labels)[batch.indices]
            expected.append(dynamics.measure(step, p, wrong, weighting))
    np.testing.assert_allclose(rows(folder), expected[2::3], rtol=1e-4)


def test_resumed_rows_equal_those_of_an_uninterrupted_run(setting, noisy, folder, tmp_path):
    source = setting()
    noisy(source, "--max-iter", 12, "--dynamics-interval", 5)
    whole = (folder / dynamics.DYNAMICS_FILE).read_bytes()
    folder.rename(tmp_path / "whole")
    for stop in 3, 8, 12:
        noisy(source, "--max-iter", stop, "--resume", "--dynamics-interval", 5)
    assert (folder / dynamics.DYNAMICS_FILE).read_bytes() == whole
    assert [row.iteration for row in rows(folder)] == [5, 10]


def test_another_interval_on_resume_is_an_error(setting, run, capsys):
    source = setting()
    run(source, "--max-iter", 12, "--dynamics-interval", 5)
    for other in 2, 50:
        assert run(source, "--max-iter", 13, "--resume", "--dynamics-interval", other) == 2
        assert f"has a row every 5 steps, now every {other}: give --dynamics-interval 5" in capsys.readouterr().err
    assert run(source, "--max-iter", 13, "--resume", "--dynamics-interval", 5) == 0


def test_unknown_true_labels_and_other_losses_are_not_observed(setting, run, folder, monkeypatch):
    data = tiny.dataset()
    monkeypatch.setattr(TrainingSet, "prepare", lambda labels, folder: Dataset(data.images, data.labels))
    assert run(setting(), "--max-iter", 10) == 0
    assert not (folder / dynamics.DYNAMICS_FILE).exists()
    net = tiny.CCE.replace("SoftmaxWithLoss", "MultinomialLogisticLoss").replace("scores", "probs")
    monkeypatch.setattr(TrainingSet, "prepare", lambda labels, folder: data)
    assert run(setting("other", loss=net), "--max-iter", 10) == 0
    assert not (folder.parents[2] / "other" / "noise_0.0" / "seed_123" / dynamics.DYNAMICS_FILE).exists()


def test_tensorboard_has_them(setting, noisy, folder):
    noisy(setting(), "--max-iter", 10)
    [events] = (folder / "tensorboard").glob("events.out.tfevents.*")
    content = events.read_bytes()
    for tag in Dynamics.TAGS.values():
        assert tag.encode() in content
