"""The original layers' own outputs against all our implementations."""

import faces
import numpy as np
import pytest

from layers.softmax_loss import SoftmaxLoss


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numpy(golden, dtype):
    for case in golden:
        loss = SoftmaxLoss(case.scores.astype(dtype), case.labels, case.weighting, case.ignore_label)
        gradient = loss.gradient(case.loss_weight)
        assert gradient.dtype == dtype
        case.check(loss.value, gradient)


def test_losses(golden, face, loss_net):
    for case in golden:
        given = case.parameters
        losses = [faces.loss(face, "WeightedSoftmaxWithLoss", given, case.loss_weight)]
        if given.pop("weighting") == "DM":
            losses.append(faces.loss(face, "UnifiedWeightLoss", given, case.loss_weight))
        for loss in losses:
            case.check(*faces.run(loss_net(loss), case.scores, case.labels))


def test_public_code_in_numpy(literature):
    assert len(literature) == 39 and len({case.weighting.name for case in literature}) == 10
    for case in literature:
        loss = SoftmaxLoss(case.scores, case.labels, case.weighting)
        case.check(loss.value, loss.gradient(), 1e-9)


def test_public_code_in_layers(literature, face, loss_net):
    for case in literature:
        loss = faces.loss(face, "WeightedSoftmaxWithLoss", {"weighting": case.weighting.name, **case.weighting.parameters})
        case.check(*faces.run(loss_net(loss), case.scores, case.labels), 1e-5)


def test_extract_prob(golden, face, net):
    for case in golden:
        layers = (faces.inputs(scores=case.scores.shape, label=case.labels.shape)
                  + "layer { name: 'probs' type: 'Softmax' bottom: 'scores' top: 'probs' }\n"
                  + faces.layer(face, "ExtractProb", ("probs", "label"), ("p",), {}))
        extract = net(layers)
        extract.blobs["scores"].data[...] = case.scores
        extract.blobs["label"].data[...] = case.labels
        extract.forward()
        p = extract.blobs["p"].data
        assert p.shape == case.p.shape
        if case.scores.ndim == 2:
            np.testing.assert_allclose(p, case.p, rtol=1e-5, atol=1e-37, err_msg=case.name)
        else:
            # With spatial outputs the original reads the n-th of all labels for every position of example n. Nothing
            # uses that output; ours is what its name says, the probability of the position's own label.
            probabilities = extract.blobs["probs"].data
            own = np.take_along_axis(probabilities, case.labels.astype(int), axis=1)
            np.testing.assert_array_equal(p, own, err_msg=case.name)
            first = case.labels.ravel()[:len(p)].astype(int)
            np.testing.assert_allclose(probabilities[range(len(p)), first][:, None], case.p, rtol=1e-5)
