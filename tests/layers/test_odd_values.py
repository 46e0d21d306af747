"""Upstream's layers with NaN, infinities or empty inputs: they stay within their blobs, and NaN stays NaN."""

import subprocess
import sys
from pathlib import Path

import faces
import numpy as np
import pytest

LEAST = -np.finfo(np.float32).max


@pytest.fixture(params=["onednn", "stock"])
def make(request, net, monkeypatch):
    """A function that builds a prototxt's net with each engine; gradients reach the net's inputs."""
    monkeypatch.setenv("CAFFE_ENGINE", request.param)
    return lambda prototxt: net("force_backward: true\n" + prototxt)


def windows(size: int, kernel: int, stride: int, pad: int) -> list[range]:
    """The indices of each of Caffe's pooling windows along an axis."""
    count = -(-(size + 2 * pad - kernel) // stride) + 1
    if pad and (count - 1) * stride >= size + pad:
        count -= 1
    return [range(max(0, start), min(start + kernel, size)) for start in (i * stride - pad for i in range(count))]


def max_pooling(plane: np.ndarray, gradients: np.ndarray, rows: list[range], columns: list[range]
                ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values, indices and the gradient of a plane. In a window, the last NaN wins, else the first maximum."""
    values, indices = np.full(gradients.shape, LEAST), np.full(gradients.shape, -1)
    diff = np.zeros(plane.shape, np.float32)
    for (i, rs), (j, cs) in ((r, c) for r in enumerate(rows) for c in enumerate(columns)):
        if rs and cs:
            window = plane[rs.start:rs.stop, cs.start:cs.stop].ravel()
            nan = np.flatnonzero(np.isnan(window))
            at = nan[-1] if nan.size else window.argmax()
            place = rs[at // len(cs)], cs[at % len(cs)]
            values[i, j], indices[i, j] = window[at], np.ravel_multi_index(place, plane.shape)
            diff[place] += gradients[i, j]
    return values, indices, diff


def some_nan(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    values = random.normal(size=shape)
    values[random.random(shape) < 0.3] = np.nan
    values[random.random(shape) < 0.1] = -np.inf
    return values


@pytest.mark.parametrize("fill", [some_nan, *(lambda _, shape, value=value: np.full(shape, value)
                                               for value in (np.nan, -np.inf, LEAST, np.inf))],
                         ids=["some NaN", "NaN", "-inf", "-FLT_MAX", "inf"])
@pytest.mark.parametrize(("kernel", "stride", "pad", "side"), [
    (2, 2, 0, 6), (3, 2, 1, 7), (3, 1, 1, 5), (5, 5, 0, 5), (1, 1, 0, 3), (1, 4, 0, 8)],
    ids=["2", "overlapping", "same", "global", "1", "empty windows"])
@pytest.mark.parametrize("mask", [False, True], ids=["", "mask"])
def test_max_pooling(make, fill, kernel, stride, pad, side, mask):
    random = np.random.default_rng(0)
    shape = (2, 3, side, side + 1)
    net = make(faces.inputs(data=shape) + faces.layer(
        "native", "Pooling", ("data",), ("top", "mask") if mask else ("top",), {},
        f"pooling_param {{ kernel_size: {kernel} stride: {stride} pad: {pad} }}"))
    data = net.blobs["data"].data[...] = np.float32(fill(random, shape))
    net.forward()
    gradients = net.blobs["top"].diff[...] = np.float32(random.normal(size=net.blobs["top"].data.shape))
    net.backward()
    for plane in np.ndindex(shape[:2]):
        values, indices, diff = max_pooling(data[plane], gradients[plane], *(
            windows(size, kernel, stride, pad) for size in shape[2:]))
        np.testing.assert_array_equal(net.blobs["top"].data[plane], np.float32(values))
        np.testing.assert_allclose(net.blobs["data"].diff[plane], diff, rtol=1e-5, atol=1e-6)
        if mask:
            np.testing.assert_array_equal(net.blobs["mask"].data[plane], indices)


FILTER = """
import sys, caffe
net = caffe.Net(sys.argv[1], caffe.TRAIN)
net.blobs["select"].data[...] = 0
net.blobs["x"].diff[...] = 7
net.forward()
net.backward()
assert net.blobs["top"].data.shape == (0, 2), net.blobs["top"].data.shape
assert not net.blobs["x"].diff.any()
"""


def test_a_filter_that_selects_nothing(tmp_path: Path):
    """In a separate process: a division by zero used to end it."""
    file = tmp_path / "net.prototxt"
    file.write_text(
        faces.inputs(data=(3, 2), select=(3,)) + faces.layer("native", "Bias", ("data",), ("x",), {}) + faces.layer(
            "native", "Filter", ("x", "select"), ("top",), {}, "loss_weight: 1 propagate_down: true propagate_down: false"))
    done = subprocess.run([sys.executable, "-c", FILTER, str(file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("top_k", [1, 2])
def test_the_accuracy_of_nan_is_0(make, top_k):
    net = make(faces.inputs(scores=(4, 3), label=(4,)) + faces.layer(
        "native", "Accuracy", ("scores", "label"), ("accuracy",), {}, f"accuracy_param {{ top_k: {top_k} }}"))
    net.blobs["label"].data[...] = [0, 1, 2, 0]
    net.blobs["scores"].data[...] = np.nan
    assert net.forward()["accuracy"] == 0
    net.blobs["scores"].data[:2] = np.eye(3)[:2]
    assert net.forward()["accuracy"] == 0.5
