"""Our layers on a GPU: the golden vectors, the CPU's results over odd shapes, and equal bits from equal runs.

Run by `make test-gpu`; skipped where this Caffe or this machine knows no GPU.
"""

import faces
import numpy as np
import pytest
import rows

from layers.weighting import WEIGHTINGS
from solvers.nets.pycaffe import caffe
from solvers.training import gpus

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(
    not (gpus.has_cuda() and gpus.count()), reason="needs a GPU and a Caffe built for it: CAFFE_CUDA=1 make test-gpu")]


@pytest.fixture(autouse=True)
def on_the_gpu():
    caffe.set_device(0)
    caffe.set_mode_gpu()
    yield
    caffe.set_mode_cpu()


def test_public_code(literature, loss_net):
    for case in literature:
        loss = faces.loss("native", "WeightedSoftmaxWithLoss", {"weighting": case.weighting.name, **case.weighting.parameters})
        case.check(*faces.run(loss_net(loss), case.scores, case.labels), 1e-5)


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
    """With 40,000 positions, the sums are made in two stages."""
    random = np.random.default_rng(0)
    scores = random.normal(0, 4, shape).astype(np.float32)
    labels = random.integers(0, shape[1], (shape[0], 1, *shape[2:]))
    net = loss_net(faces.loss("native", "WeightedSoftmaxWithLoss", {"weighting": weighting, **rows.given(weighting)}))
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


@pytest.mark.parametrize("label", [3, -1, 1e10, np.nan])
@pytest.mark.parametrize("kind", ["WeightedSoftmaxWithLoss", "SoftmaxWithLoss"])
def test_a_wrong_label_makes_the_loss_nan_and_has_no_gradient(loss_net, kind, label):
    """Stock Caffe's kernel would read and write beyond its blobs."""
    if kind == "SoftmaxWithLoss":
        loss = faces.layer("native", kind, faces.LOSS_BOTTOMS[:2], ("loss",), {})
    else:
        loss = faces.loss("native", kind, {"weighting": "MAE"})
    value, gradient = faces.run(loss_net(loss), np.zeros((4, 3), np.float32), np.array([0, 1, label, 2])[:, None])
    assert np.isnan(value) and not gradient[2].any()


@pytest.mark.parametrize("top", ["accuracy", "accuracy classes"])
def test_a_wrong_label_makes_the_accuracy_nan(net, top):
    accuracy = net(faces.inputs(scores=(4, 3), label=(4,)) + faces.layer(
        "native", "Accuracy", ("scores", "label"), tuple(top.split()), {}, "accuracy_param { ignore_label: 255 }"))
    accuracy.blobs["scores"].data[...] = np.eye(4, 3)
    for labels, expected in (([0, 1, 2, 255], 1), ([0, 2, 1, 255], 1 / 3), ([0, 1, 7, 2], np.nan), ([np.nan] * 4, np.nan)):
        accuracy.blobs["label"].data[...] = labels
        np.testing.assert_allclose(accuracy.forward()["accuracy"], expected)


@pytest.mark.parametrize("shape", [(8, 64, 16, 16), (4, 3, 32, 32)])
def test_convolutions_keep_float32(net, shape):
    """With TF32, the error would be about 3e-4 of the norm."""
    convolution = net("force_backward: true\n" + faces.inputs(data=shape) + faces.layer(
        "native", "Convolution", ("data",), ("top",), {}, "convolution_param { num_output: 64 kernel_size: 3 pad: 1 "
        "weight_filler { type: 'msra' } }"))
    random = np.random.default_rng(0)
    data, gradient = random.normal(size=shape), random.normal(size=(shape[0], 64, *shape[2:]))

    def passes() -> list[np.ndarray]:
        convolution.clear_param_diffs()
        convolution.blobs["data"].data[...] = data
        convolution.forward()
        convolution.blobs["top"].diff[...] = gradient
        convolution.backward()
        weights = convolution.params["Convolution"][0]
        return [np.float64(array) for array in (convolution.blobs["top"].data, convolution.blobs["data"].diff, weights.diff)]

    on_gpu = passes()
    caffe.set_mode_cpu()
    for found, expected in zip(on_gpu, passes(), strict=True):
        assert np.linalg.norm(found - expected) < 1e-4 * np.linalg.norm(expected)
