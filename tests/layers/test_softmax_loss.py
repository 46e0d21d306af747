"""The gradient over a batch, in float64: the derivatives of the papers' losses, and the rules for rows and labels."""

import numpy as np
import pytest
import rows
from hypothesis import given, settings
from hypothesis import strategies as st

from layers.softmax_loss import SoftmaxLoss
from layers.weighting import WEIGHTINGS, Weighting

Q = 0.7
# The losses whose derivatives the multipliers are, as functions of p.
PAPER = {
    "CCE": lambda p: -np.log(p),
    "MAE": lambda p: 1 - p,
    "MSE": lambda p: (1 - p) ** 2,
    "GCE": lambda p: (1 - p**Q) / Q,
}


def batch(shape: tuple[int, ...], axis: int = 1, seed: int = 0, spread: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Random scores of this shape and labels, one for each position."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(shape[axis], size=[1 if i == axis % len(shape) else n for i, n in enumerate(shape)])
    return rng.normal(scale=spread, size=shape), labels.astype(float)


def papers_loss(name: str, scores: np.ndarray, labels: np.ndarray) -> complex:
    """The mean of the paper's loss over a batch (N, C)."""
    exp = np.exp(scores)
    p = exp[range(len(scores)), labels.ravel().astype(int)] / exp.sum(1)
    return PAPER[name](p).mean()


@pytest.mark.parametrize("name", PAPER)
def test_gradient_is_the_derivative_of_the_papers_loss(name):
    scores, labels = batch((6, 5))
    gradient = SoftmaxLoss(scores, labels, Weighting(name, **{"q": Q} if name == "GCE" else {})).gradient(loss_weight=2)
    expected, central = np.empty_like(scores), np.empty_like(scores)
    for at in np.ndindex(scores.shape):
        step = np.zeros(scores.shape)
        step[at] = 1
        # A step along the imaginary axis: no difference is taken, so no digit is lost.
        expected[at] = papers_loss(name, scores + 1e-100j * step, labels).imag / 1e-100
        central[at] = (papers_loss(name, scores + 1e-5 * step, labels)
                       - papers_loss(name, scores - 1e-5 * step, labels)) / 2e-5
    np.testing.assert_allclose(gradient, 2 * central, atol=1e-9)
    np.testing.assert_allclose(gradient, 2 * expected, rtol=1e-7, atol=1e-15)  # S = N + 1e-8


# Rows that report the loss whose gradient they have.
REPORT_THEIR_LOSS = ("MAE", "RCE", "SCE", "FOCAL", "AGCE", "AUL", "AEL", "PHUBER_CE", "PHUBER_GCE", "JS", "FORWARD",
                     "GCE_TRUNCATED")


@pytest.mark.parametrize("name", [name for name in WEIGHTINGS if name != "CCE"])
def test_the_value_is_the_loss_or_unrelated_to_the_gradient(name):
    scores, labels = batch((6, 5), seed=1, spread=1.0)
    parameters = {"k": 0.01} if name.startswith("GCE_TRUNCATED") else rows.given(name)  # else example 0 does not count
    loss = SoftmaxLoss(scores, labels, rows.weighting(name, parameters))
    step = np.zeros(scores.shape)
    step[0, 0] = 1e-6
    slope = (SoftmaxLoss(scores + step, labels, loss.weighting).value - loss.value) / 1e-6
    if name in REPORT_THEIR_LOSS:
        assert slope == pytest.approx(loss.gradient()[0, 0], rel=1e-3)
    else:
        assert slope != pytest.approx(loss.gradient()[0, 0], rel=1e-2)


weightings = st.builds(lambda name, seed: rows.weighting(name, rows.drawn(name, np.random.default_rng(seed))),
                       st.sampled_from(WEIGHTINGS), st.integers(0, 2**32 - 1))


@settings(derandomize=True, deadline=None)
@given(data=st.data(), weighting=weightings, shape=st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple),
       seed=st.integers(0, 2**32 - 1), spread=st.sampled_from([0.1, 3.0, 30.0]), loss_weight=st.floats(0.1, 10))
def test_properties(data, weighting, shape, seed, spread, loss_weight):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    ignore_label = data.draw(st.none() | st.sampled_from([-1, 0, 1, 255]))
    scores, labels = batch(shape, axis, seed, spread)
    if ignore_label in (-1, 255):
        labels.ravel()[::2] = ignore_label
    loss = SoftmaxLoss(scores, labels, weighting, ignore_label, axis)
    gradient = loss.gradient(loss_weight)

    assert np.isfinite(gradient).all() and np.isfinite(loss.value)
    assert loss.probabilities.shape == gradient.shape == shape
    np.testing.assert_allclose(loss.probabilities.sum(axis), 1)
    np.testing.assert_allclose(gradient.sum(axis), 0, atol=1e-9 * loss_weight / min(1, loss.normaliser))
    # The bound is loss_weight, except for CCE, whose emphasis reaches 2, and GCE with a small q.
    assert np.abs(gradient).sum() <= loss_weight * weighting.gradient_bound() * (1 + 1e-9)
    rows = np.moveaxis(gradient, axis, 0).reshape(shape[axis], -1)
    ignored = labels.ravel() == ignore_label
    assert (rows[:, ignored] == 0).all()

    # Expected: only the rows that are not ignored, as an (N, C) batch. Ignored rows and the layout must not matter.
    flat = np.moveaxis(scores, axis, -1).reshape(-1, shape[axis])[~ignored]
    alone = SoftmaxLoss(flat, labels.ravel()[~ignored], weighting)
    assert loss.value == pytest.approx(alone.value, rel=1e-12)
    np.testing.assert_allclose(rows[:, ~ignored].T, alone.gradient(loss_weight), rtol=1e-12)


@pytest.mark.parametrize("name", [name for name in WEIGHTINGS if rows.weighting(name).derivative_normalised])
def test_derivative_normalised_gradients_have_the_l1_norm_loss_weight(name):
    scores, labels = batch((64, 10))
    gradient = SoftmaxLoss(scores, labels, rows.weighting(name)).gradient(loss_weight=2.5)
    assert np.abs(gradient).sum() == pytest.approx(2.5, rel=1e-5)


def test_beta_0_gives_each_row_the_l1_norm_1_over_n():
    scores, labels = batch((8, 10))
    gradient = SoftmaxLoss(scores, labels, Weighting("DM", lam=0.5, beta=0)).gradient()
    np.testing.assert_allclose(np.abs(gradient).sum(1), 1 / 8, rtol=1e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", WEIGHTINGS)
def test_p_0_and_p_1_are_finite(name, dtype):
    scores = np.array([[0, 1e4], [1e4, 0]], dtype)
    loss = SoftmaxLoss(scores, np.zeros(2), rows.weighting(name))
    gradient = loss.gradient()
    assert gradient.dtype == dtype
    assert np.isfinite(loss.value) and np.isfinite(gradient).all()
    assert (gradient[1] == 0).all()  # p = 1
    # c(0) / S; DM: w / 2 and S = 1 + 1; for the twins with c(0) > 0 only this example has an emphasis, 2 c(0).
    at_0 = {"SCE": 6, **dict.fromkeys(("CCE", "FOCAL", "FOCAL_DETACHED"), 1)}.get(name.removesuffix("_DN"), 0)
    c = 1 / 4 if name == "DM" else 1 / 2 if at_0 and name.endswith("_DN") else at_0 / 2
    if name.startswith("CUSTOM"):  # which is not asked for p = 0, but for the smallest normal number
        assert 0 < gradient[0, 1] < 1
    else:
        np.testing.assert_allclose(gradient[0], [-c, c], rtol=2e-6)


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_all_labels_ignored(name):
    scores, _ = batch((4, 3))
    loss = SoftmaxLoss(scores, np.full(4, 255), rows.weighting(name), ignore_label=255)
    assert loss.value == 0
    assert (loss.gradient() == 0).all()


@pytest.mark.parametrize(("shape", "labels", "axis", "message"), [
    ((2, 3), [0, 3], 1, "label 3 of example 1 is outside 0..2"),
    ((2, 3), [-1, 0], 1, "label -1 of example 0 is outside 0..2, the classes of the scores, and not ignore_label (9)"),
    ((1, 3, 2), [[0, 7]], 1, "label 7 of example 0, position 1"),
    ((2, 3), [0, 1, 2], 1, "shape (2, 3) with its classes on axis 1 needs 2 labels, one a position"),
    ((2, 3), [0, 1], 2, "no axis 2 in a blob of shape (2, 3): it can be -2 to 1"),
])
def test_errors(shape, labels, axis, message):
    with pytest.raises(ValueError) as error:
        SoftmaxLoss(np.zeros(shape), np.array(labels), Weighting("CCE"), ignore_label=9, axis=axis)
    assert message in str(error.value)
