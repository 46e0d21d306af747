"""Our layers on a GPU: the golden vectors, the CPU's results over odd shapes, and that equal runs give equal bits.

Run by `make test-gpu`; skipped where this Caffe or this machine knows no GPU.
"""

import faces
import numpy as np
import pytest

from layers.weighting import WEIGHTINGS
from solvers import gpus
from solvers.engine import caffe

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(
    not (gpus.has_cuda() and gpus.count()), reason="needs a GPU and a Caffe built for it: CAFFE_CUDA=1 make test-gpu")]


@pytest.fixture(autouse=True)
def on_the_gpu():
    caffe.set_device(0)
    caffe.set_mode_gpu()
    yield
    caffe.set_mode_cpu()


def test_golden_losses(golden, loss_net):
    for case in golden:
        given = case.parameters
        losses = [faces.loss("native", "WeightedSoftmaxWithLoss", given, case.loss_weight)]
        if given.pop("weighting") == "DM":
            losses.append(faces.loss("native", "UnifiedWeightLoss", given, case.loss_weight))
        for loss in losses:
            case.check(*faces.run(loss_net(loss), case.scores, case.labels))


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("shape", [(256, 100), (7, 33), (1, 1), (3, 5, 7, 3), (70, 2, 9, 9), (40000, 3)])
def test_losses_equal_the_cpus_and_repeat(loss_net, weighting, shape):
    """40,000 positions are summed in two stages."""
    random = np.random.default_rng(0)
    scores = random.normal(0, 4, shape).astype(np.float32)
    labels = random.integers(0, shape[1], (shape[0], 1, *shape[2:]))
    net = loss_net(faces.loss("native", "WeightedSoftmaxWithLoss", {"weighting": weighting, "lambda": 0.5, "beta": 6}))
    value, gradient = faces.run(net, scores, labels)
    again, gradient_again = faces.run(net, scores, labels)
    assert value == again and gradient.tobytes() == gradient_again.tobytes()
    caffe.set_mode_cpu()
    expected, expected_gradient = faces.run(net, scores, labels)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-7 * abs(expected_gradient).max())


def test_extract_prob_equals_the_cpus(net):
    random = np.random.default_rng(0)
    for shape in (256, 100), (7, 33), (3, 5, 7, 3):
        label_shape = (shape[0], 1, *shape[2:])
        extract = net(faces.inputs(probs=shape, label=label_shape)
                      + faces.layer("native", "ExtractProb", ("probs", "label"), ("p", "largest"), {}))
        extract.blobs["probs"].data[...] = random.random(shape)
        extract.blobs["label"].data[...] = random.integers(0, shape[1], label_shape)
        extract.forward()
        on_gpu = [extract.blobs[name].data.copy() for name in ("p", "largest")]
        caffe.set_mode_cpu()
        extract.forward()
        for name, found in zip(("p", "largest"), on_gpu, strict=True):
            np.testing.assert_array_equal(found, extract.blobs[name].data)
        caffe.set_mode_gpu()


def test_a_wrong_label_makes_the_loss_nan(loss_net):
    net = loss_net(faces.loss("native", "WeightedSoftmaxWithLoss", {"weighting": "MAE"}))
    value, _ = faces.run(net, np.zeros((4, 3), np.float32), np.array([0, 1, 3, 2])[:, None])
    assert np.isnan(value)
