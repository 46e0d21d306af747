"""The C++ layers in double precision, which pycaffe does not have, against NumPy: equal to 12 digits."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import faces
import numpy as np
import pytest
import rows

from layers.softmax_loss import SoftmaxLoss
from layers.weighting import WEIGHTINGS

SOURCE = Path(__file__).with_name("layer_probe.cpp")
IGNORED = 255
RANGE = 3  # of ordinary scores: then 1 - p > e^-6, and the relative rounding error of 1 - p stays below 1e-13
# The difference of the first two scores in extreme rows. With 1000, p is exactly 0 or 1; with 100, p is below FLT_MIN, where
# the logarithm is clamped. For differences in between, 1 - p loses digits, and two correct softmaxes may differ.
GAPS = (1000, -1000, 100, -100)


@pytest.fixture(scope="module")
def probe(compiled) -> Callable:
    """A function that takes a loss layer's prototxt, scores (N, C, inner), labels (N, inner); returns value and gradient."""
    program = compiled(SOURCE)

    def run(layer: str, scores: np.ndarray, labels: np.ndarray, loss_weight: float) -> tuple[float, np.ndarray]:
        result = subprocess.run([program, layer, *map(str, scores.shape), repr(loss_weight)], capture_output=True,
                                input=np.float64(scores).tobytes() + np.float64(labels).tobytes())
        assert result.returncode == 0, result.stderr.decode()
        output = np.frombuffer(result.stdout)
        return output[0], output[1:].reshape(scores.shape)

    return run


def batch(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Ordinary rows, some of them ignored, and extreme rows at the end."""
    rng = np.random.default_rng(seed)
    rows, classes, inner = rng.integers([6, 2, 1], [40, 30, 4])
    scores = rng.uniform(-RANGE, RANGE, (rows, classes, inner))
    labels = rng.integers(classes, size=(rows, inner))
    labels[rng.random(labels.shape) < 0.2] = IGNORED
    scores[-len(GAPS):] = -2000
    scores[-len(GAPS):, 0] = 0
    scores[-len(GAPS):, 1] = np.array(GAPS)[:, None]
    labels[-len(GAPS):] = 0
    return scores, labels


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("kind", "name"), [("WeightedSoftmaxWithLoss", name) for name in WEIGHTINGS]
                         + [("UnifiedWeightLoss", "DM")])
def test_twelve_digits(probe, kind, name, seed):
    rng = np.random.default_rng([seed, 1])
    parameters, loss_weight = rows.drawn(name, rng), float(rng.uniform(0.1, 10))
    chosen = {"weighting": name} if kind == "WeightedSoftmaxWithLoss" else {}
    layer = faces.layer("native", kind, (), (), {**chosen, **parameters, "ignore_label": IGNORED})
    layer = layer.strip().removeprefix("layer {").removesuffix("}")
    scores, labels = batch(seed)

    value, gradient = probe(layer, scores, labels, loss_weight)

    expected = SoftmaxLoss(scores, labels, rows.weighting(name, parameters), IGNORED)
    np.testing.assert_allclose(value, expected.value, rtol=1e-12)
    np.testing.assert_allclose(gradient, expected.gradient(loss_weight), rtol=1e-12)
    assert np.count_nonzero(gradient) > (0 if name.startswith("GCE_TRUNCATED") else gradient.size / 2)
