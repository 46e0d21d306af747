"""Label noise as recipe.md has it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_toolkit import noise
from data_toolkit.errors import DataError

LABELS = np.arange(50_000) % 100


@pytest.mark.parametrize("rate", [0.2, 0.4, 0.6])
def test_rate_and_classes_are_as_likely_as_they_should_be(rate):
    noisy = noise.inject(LABELS, rate)
    changed = noisy != LABELS
    assert abs(changed.mean() - rate) < 4 * np.sqrt(rate * (1 - rate) / len(LABELS))
    steps = np.bincount((noisy - LABELS)[changed] % 100, minlength=100)
    assert steps[0] == 0
    expected = changed.sum() / 99
    chi_squared = np.sum((steps[1:] - expected) ** 2 / expected)
    assert 98 - 5 * np.sqrt(2 * 98) < chi_squared < 98 + 5 * np.sqrt(2 * 98)


def test_draws_are_those_of_the_released_loop():
    """Written out by another way: one number an image, and a second one for those below the rate."""
    numbers = iter(np.random.RandomState(123).random_sample(200))
    expected = []
    for label in LABELS[:100]:
        others = [other for other in range(100) if other != label]
        expected.append(others[int(next(numbers) * 99)] if next(numbers) < 0.4 else label)
    assert noise.inject(LABELS[:100], 0.4).tolist() == expected


def test_no_noise_changes_nothing_but_still_draws():
    random = np.random.RandomState(5)
    np.testing.assert_array_equal(noise.symmetric(LABELS, 0.0, random), LABELS)
    assert random.random_sample() == np.random.RandomState(5).random_sample(len(LABELS) + 1)[-1]


def test_rate_1_changes_all():
    assert (noise.inject(LABELS, 1.0) != LABELS).all()


@given(rate=st.floats(0, 1), seed=st.integers(0, 2**32 - 1))
def test_same_seed_same_labels(rate, seed):
    labels = LABELS[:300]
    once = noise.inject(labels, rate, seed=seed)
    np.testing.assert_array_equal(once, noise.inject(labels, rate, seed=seed))
    assert once.dtype == np.int64 and once.min() >= 0 and once.max() < 100
    np.testing.assert_array_equal(labels, LABELS[:300])  # not changed in place


def test_other_seed_other_labels():
    assert (noise.inject(LABELS, 0.4, seed=1) != noise.inject(LABELS, 0.4, seed=2)).any()


@pytest.mark.parametrize("rate", [1.5, -0.1, float("nan"), float("inf")])
def test_impossible_rate(rate):
    with pytest.raises(DataError, match=f"noise {rate} is not a rate: it must be from 0 to 1"):
        noise.inject(LABELS, rate)


def test_unknown_type_lists_the_known_and_suggests():
    with pytest.raises(DataError, match=r'"symetric" is not known; did you mean "symmetric"\? \(there is symmetric'):
        noise.inject(LABELS, 0.4, "symetric")


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_impossible_seed(seed):
    with pytest.raises(DataError, match=f"seed {seed} is not possible"):
        noise.inject(LABELS, 0.4, seed=seed)
