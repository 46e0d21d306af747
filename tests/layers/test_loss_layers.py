"""The loss layers in nets: each rule for C++ and Python alike, and the two compared with each other."""

import faces
import numpy as np
import pytest
import rows
from hypothesis import given, settings
from hypothesis import strategies as st

from layers.softmax_loss import SoftmaxLoss
from layers.table import BY_NAME
from layers.weighting import WEIGHTINGS, Weighting

DM = {"lambda": 0.5, "beta": 6}


def batch(*shape: int, axis: int = 1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Random float32 scores of this shape, and a label for each position."""
    rng = np.random.default_rng(seed)
    label_shape = [1 if i == axis % len(shape) else size for i, size in enumerate(shape)]
    return rng.normal(scale=2, size=shape).astype("f"), rng.integers(shape[axis], size=label_shape).astype("f")


def close(actual: np.ndarray, expected: np.ndarray) -> None:
    """Equal within 1e-5 of the largest value: for p near 1, the float32 rounding of 1 - p differs between softmaxes."""
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max(initial=1e-30))


def check(result: tuple[float, np.ndarray], scores, labels, weighting, loss_weight=1, **rules) -> None:
    """Value and gradient equal those computed in float64."""
    expected = SoftmaxLoss(scores.astype(np.float64), labels, weighting, **rules)
    value, gradient = result
    assert value == pytest.approx(expected.value, rel=1e-5)
    close(gradient, expected.gradient(loss_weight))


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_parameters_reach_the_formula(face, loss_net, name):
    scores, labels = batch(8, 5)
    parameters = rows.drawn(name, np.random.default_rng(1))
    net = loss_net(faces.loss(face, "WeightedSoftmaxWithLoss", {"weighting": name, **parameters}))
    check(faces.run(net, scores, labels), scores, labels, rows.weighting(name, parameters))


@pytest.mark.parametrize("parameters", rows.FORMULAS)
def test_formulas_reach_the_layer(face, loss_net, parameters):
    scores, labels = batch(8, 5)
    for name in "CUSTOM", "CUSTOM_DN":
        net = loss_net(faces.loss(face, "WeightedSoftmaxWithLoss", {"weighting": name, **parameters}))
        check(faces.run(net, scores, labels), scores, labels, rows.weighting(name, parameters))


def test_parameters_of_other_weightings_are_ignored(face, loss_net):
    scores, labels = batch(8, 5)
    net = loss_net(faces.loss(face, "WeightedSoftmaxWithLoss", {"weighting": "MAE", "q": 0.3, "gamma": 2, "alpha": 3}))
    check(faces.run(net, scores, labels), scores, labels, Weighting("MAE"))


@pytest.mark.parametrize("name", [name for name in WEIGHTINGS if BY_NAME[name].name != "CUSTOM"])
def test_defaults_and_the_weighting_from_the_environment(face, loss_net, monkeypatch, name):
    scores, labels = batch(8, 5)
    monkeypatch.setenv("CAFFE_WEIGHTING", name)
    net = loss_net(faces.loss(face, "WeightedSoftmaxWithLoss", {}))
    check(faces.run(net, scores, labels), scores, labels, Weighting(name))


def test_the_prototxt_goes_before_the_environment(face, loss_net, monkeypatch):
    scores, labels = batch(8, 5)
    monkeypatch.setenv("CAFFE_WEIGHTING", "MAE")
    net = loss_net(faces.loss(face, "WeightedSoftmaxWithLoss", {"weighting": "CCE"}))
    check(faces.run(net, scores, labels), scores, labels, Weighting("CCE"))


def test_unified_weight_loss_is_dm(face, loss_net, monkeypatch):
    scores, labels = batch(8, 5)
    monkeypatch.setenv("CAFFE_WEIGHTING", "MAE")  # which is not its business
    check(faces.run(loss_net(faces.loss(face, "UnifiedWeightLoss", DM)), scores, labels),
          scores, labels, Weighting("DM", lam=0.5, beta=6))
    check(faces.run(loss_net(faces.loss(face, "UnifiedWeightLoss", {})), scores, labels),
          scores, labels, Weighting("DM", lam=1, beta=1))


def test_loss_weight_scales_the_gradient_and_not_the_value(face, loss_net):
    scores, labels = batch(8, 5)
    net = loss_net(faces.loss(face, "UnifiedWeightLoss", DM, loss_weight=2.5))
    check(faces.run(net, scores, labels), scores, labels, Weighting("DM", lam=0.5, beta=6), loss_weight=2.5)


@pytest.mark.parametrize("ignore_label", [2, -1, 255])
def test_ignore_label(face, loss_net, ignore_label):
    scores, labels = batch(6, 4, 2, 2)
    labels[::2] = ignore_label
    net = loss_net(faces.loss(face, "UnifiedWeightLoss", {**DM, "ignore_label": ignore_label}))
    value, gradient = faces.run(net, scores, labels)
    check((value, gradient), scores, labels, Weighting("DM", lam=0.5, beta=6), ignore_label=ignore_label)
    assert (gradient[::2] == 0).all() and (gradient[1::2] != 0).any()


@pytest.mark.filterwarnings("ignore:invalid value")  # infinity minus infinity
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", [(2, 3), (1, 3, 2)], ids=["examples", "positions"])
def test_scores_that_are_no_numbers_where_the_label_is_ignored(face, loss_net, shape, wrong):
    scores, labels = batch(*shape)
    labels.flat[0] = 255
    np.moveaxis(scores, 1, -1)[0, 0, ...].flat[0] = wrong
    net = loss_net(faces.loss(face, "UnifiedWeightLoss", {**DM, "ignore_label": 255}))
    value, gradient = faces.run(net, scores, labels)
    ignored, counted = np.moveaxis(gradient, 1, -1).reshape(2, 3)
    assert (ignored == 0).all() and np.abs(counted).sum() == pytest.approx(1, rel=1e-4) and np.isfinite(value)


def test_a_sum_of_emphasis_that_is_too_large_for_single_precision(face, loss_net):
    """Each of 1,000 examples has the emphasis 1.7e38, the sum's half is that of float32's largest number."""
    scores, labels = np.tile(np.array([0, 200], "f"), (1000, 1)), np.zeros(1000)
    net = loss_net(faces.loss(face, "WeightedSoftmaxWithLoss", {"weighting": "CUSTOM_DN", "formula": "1 / p"}))
    value, gradient = faces.run(net, scores, labels)
    assert value == pytest.approx(1)
    np.testing.assert_allclose(gradient, np.tile([-5e-4, 5e-4], (1000, 1)), rtol=1e-2)


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_all_labels_ignored(face, loss_net, name):
    scores, labels = batch(6, 4)
    net = loss_net(faces.loss(face, "WeightedSoftmaxWithLoss", {"weighting": name, **rows.given(name), "ignore_label": 9}))
    value, gradient = faces.run(net, scores, np.full_like(labels, 9))
    assert value == 0
    assert (gradient == 0).all()


@pytest.mark.parametrize(("shape", "axis"), [((6, 5), -1), ((3, 4, 5), 2), ((2, 3, 4, 5), -3)])
def test_axis(face, loss_net, shape, axis):
    scores, labels = batch(*shape, axis=axis)
    net = loss_net(faces.loss(face, "UnifiedWeightLoss", {**DM, "axis": axis}), shape, labels.shape)
    check(faces.run(net, scores, labels), scores, labels, Weighting("DM", lam=0.5, beta=6), axis=axis)


def test_reshaping_between_passes(face, loss_net):
    net = loss_net(faces.loss(face, "UnifiedWeightLoss", DM))
    for shape in ((8, 5), (2, 7), (3, 4, 2, 2), (8, 5)):
        scores, labels = batch(*shape)
        check(faces.run(net, scores, labels), scores, labels, Weighting("DM", lam=0.5, beta=6))
        assert net.blobs["loss"].data.shape == ()


def test_two_tops(face, loss_net, tmp_path):
    loss = faces.loss(face, "UnifiedWeightLoss", DM, tops=("loss", "probabilities"))
    # First apart: a Caffe without patches/0006-softmax-loss-with-two-tops.patch would take all the tests with it.
    apart = faces.run_apart(tmp_path / "net.prototxt", faces.scores_and_labels() + loss)
    assert apart.returncode == 0, apart.stderr
    net = loss_net(loss)
    for shape in ((8, 5), (3, 4, 2, 2)):
        scores, labels = batch(*shape)
        check(faces.run(net, scores, labels), scores, labels, Weighting("DM", lam=0.5, beta=6))
        expected = SoftmaxLoss(scores, labels, Weighting("DM"))
        np.testing.assert_allclose(net.blobs["probabilities"].data, expected.probabilities, rtol=1e-5)


def test_the_third_bottom_is_not_read(face, loss_net):
    scores, labels = batch(8, 5)
    net = loss_net(faces.loss(face, "UnifiedWeightLoss", DM))
    net.blobs["prob_groundtruth"].data[...] = np.nan
    check(faces.run(net, scores, labels), scores, labels, Weighting("DM", lam=0.5, beta=6))


def test_p_0_and_p_1(face, loss_net):
    scores = np.array([[0, 1e4], [1e4, 0]], "f")
    for lam, w in ((0.5, 1), (0, np.exp(6))):  # of p = 0; 0^0 = 1
        net = loss_net(faces.loss(face, "UnifiedWeightLoss", {"lambda": lam, "beta": 6}))
        value, gradient = faces.run(net, scores, np.zeros(2))
        s = w + 1  # p = 1 weighs 1
        np.testing.assert_allclose(gradient, [[-w / s / 2, w / s / 2], [0, 0]], rtol=2e-6)
        assert value == pytest.approx(-w / s * np.log(np.finfo(np.float32).tiny), rel=1e-5)


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_one_score_that_is_no_number_makes_the_loss_none(face, loss_net, name):
    net = loss_net(faces.loss(face, "WeightedSoftmaxWithLoss", {"weighting": name, **rows.given(name)}))
    for wrong in range(5):
        scores, labels = batch(8, 5)
        scores[3, wrong] = np.nan
        value, gradient = faces.run(net, scores, labels)
        assert np.isnan(value)
        assert np.isnan(gradient[3]).all()


def random_net(face: str, loss: str, parameters: dict, shape: tuple[int, ...], loss_weight: float) -> str:
    """Data -> weights -> scores -> probs, prob_groundtruth, loss, as the released nets end; convolution if spatial."""
    filler = "weight_filler { type: 'gaussian' std: 0.5 }"
    weights = (f"'Convolution' convolution_param {{ num_output: {shape[1]} kernel_size: 1 {filler} }}"
               if len(shape) == 4 else f"'InnerProduct' inner_product_param {{ num_output: {shape[1]} {filler} }}")
    labels = (shape[0], 1, *shape[2:])
    rest = {key: value for key, value in parameters.items() if key == "ignore_label"}
    return (faces.inputs(data=(shape[0], 3, *shape[2:]), label=labels)
            + f"layer {{ name: 'weights' bottom: 'data' top: 'scores' type: {weights} }}\n"
            + "layer { name: 'probs' type: 'Softmax' bottom: 'scores' top: 'probs' }\n"
            + faces.layer(face, "ExtractProb", ("probs", "label"), ("prob_groundtruth",), rest,
                          "propagate_down: false propagate_down: false")
            + faces.loss(face, loss, parameters, loss_weight))


@settings(derandomize=True, deadline=None)
@given(loss=st.sampled_from(["UnifiedWeightLoss", "WeightedSoftmaxWithLoss"]), name=st.sampled_from(WEIGHTINGS),
       ignore_label=st.none() | st.integers(-1, 3),
       shape=st.tuples(st.integers(1, 8), st.integers(2, 20))
       | st.tuples(st.integers(1, 3), st.integers(2, 6), st.integers(1, 3), st.integers(1, 3)),
       loss_weight=st.floats(0.1, 10), seed=st.integers(0, 2**32 - 1))
def test_native_against_python(both_faces, net, loss, name, ignore_label, shape, loss_weight, seed):
    rng = np.random.default_rng(seed)
    if loss == "WeightedSoftmaxWithLoss":
        parameters = {"weighting": name, **rows.drawn(name, rng), "ignore_label": ignore_label}
    else:
        parameters = {**rows.drawn("DM", rng), "ignore_label": ignore_label}
    nets = {face: net(random_net(face, loss, parameters, shape, loss_weight)) for face in both_faces}
    native, python = nets["native"], nets["python"]
    native.blobs["data"].data[...] = rng.normal(size=native.blobs["data"].shape)
    native.blobs["label"].data[...] = rng.integers(shape[1], size=native.blobs["label"].shape)
    for name in ("data", "label"):
        python.blobs[name].data[...] = native.blobs[name].data
    for ours, theirs in zip(python.params["weights"], native.params["weights"], strict=True):
        ours.data[...] = theirs.data
    for each in nets.values():
        each.forward()
        each.backward()
    close(python.blobs["prob_groundtruth"].data, native.blobs["prob_groundtruth"].data)
    # The literature's values are differences, of which float32 keeps fewer digits where p is near 1.
    np.testing.assert_allclose(python.blobs["loss"].data, native.blobs["loss"].data, rtol=1e-5, atol=2e-5)
    close(python.blobs["scores"].diff, native.blobs["scores"].diff)
    for ours, theirs in zip(python.params["weights"], native.params["weights"], strict=True):
        np.testing.assert_allclose(ours.diff, theirs.diff, atol=1e-5 * loss_weight)  # sums that cancel


@pytest.mark.parametrize(("shape", "axis"), [((6, 5), 1), ((3, 4, 2, 3), 1), ((3, 4, 5), 2), ((6, 5), 0), ((6, 5), -1)])
def test_extract_prob(face, net, shape, axis):
    probs, labels = batch(*shape, axis=axis)
    extract = net(faces.inputs(probs=shape, label=labels.shape)
                  + faces.layer(face, "ExtractProb", ("probs", "label"), ("p", "largest"), {"axis": axis}))
    extract.blobs["probs"].data[...] = probs
    extract.blobs["label"].data[...] = labels
    extract.forward()
    np.testing.assert_array_equal(extract.blobs["p"].data, np.take_along_axis(probs, labels.astype(int), axis))
    np.testing.assert_array_equal(extract.blobs["largest"].data, probs.max(axis, keepdims=True))


@pytest.mark.parametrize("wrong", range(3))
def test_the_largest_of_what_is_no_number_is_none(face, net, wrong):
    extract = net(faces.inputs(probs=(2, 3), label=(2,))
                  + faces.layer(face, "ExtractProb", ("probs", "label"), ("p", "largest"), {}))
    extract.blobs["probs"].data[...] = 0.5
    extract.blobs["probs"].data[0, wrong] = np.nan
    extract.forward()
    assert np.isnan(extract.blobs["largest"].data.ravel()).tolist() == [True, False]


def test_extract_prob_of_ignored_labels(face, net):
    """If the ignore_label is one of the classes, p is its probability; otherwise p is 0."""
    for ignore_label, expected in ((1, 0.75), (255, 0)):
        extract = net(faces.inputs(probs=(1, 2), label=(1,)) + faces.layer(
            face, "ExtractProb", ("probs", "label"), ("p",), {"ignore_label": ignore_label}))
        extract.blobs["probs"].data[...] = [[0.25, 0.75]]
        extract.blobs["label"].data[...] = ignore_label
        extract.forward()
        assert extract.blobs["p"].data == expected
