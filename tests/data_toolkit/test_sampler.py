"""The class-balanced sampler, compared with the description of the released loop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.errors import InputError
from data_toolkit.sampler import ClassBalancedSampler


def noisy_labels(seed: int, classes: int = 100, per_class: int = 20) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, classes, classes * per_class)


@given(seed=st.integers(0, 2**32 - 1), step=st.integers(1, 30000))
def test_batch_is_32_classes_in_groups_of_8_distinct_images(seed, step):
    labels = noisy_labels(1)
    indices = ClassBalancedSampler(labels, seed).indices(step)
    groups = labels[indices].reshape(32, 8)
    assert (groups == groups[:, :1]).all()
    assert len(set(groups[:, 0])) == 32
    assert len(set(indices)) == 256


@given(seed=st.integers(0, 1000), cycle=st.integers(0, 1000))
def test_three_batches_use_96_classes_of_one_permutation(seed, cycle):
    sampler = ClassBalancedSampler(noisy_labels(2), seed)
    first = 2 + 3 * cycle
    used = np.concatenate([sampler.chosen_classes(step) for step in range(first, first + 3)])
    assert len(set(used)) == 96


def test_steps_1_and_2_use_the_same_classes_but_not_the_same_images():
    sampler = ClassBalancedSampler(noisy_labels(3), seed=123)
    np.testing.assert_array_equal(sampler.chosen_classes(1), sampler.chosen_classes(2))
    assert set(sampler.chosen_classes(2)).isdisjoint(sampler.chosen_classes(3))
    assert (sampler.indices(1) != sampler.indices(2)).any()


def test_permutations_differ_and_classes_come_equally_often():
    sampler = ClassBalancedSampler(noisy_labels(4), seed=5)
    counts = np.bincount(np.concatenate([sampler.chosen_classes(2 + i) for i in range(3000)]), minlength=100)
    # 1000 permutations, each of which leaves out 4 of 100 classes: mean 960, standard deviation 6.2.
    assert counts.sum() == 96000 and abs(counts - 960).max() < 6 * 6.2


def test_images_of_a_class_come_equally_often():
    labels = np.repeat(np.arange(32), 10)
    sampler = ClassBalancedSampler(labels, seed=5)
    counts = np.bincount(np.concatenate([sampler.indices(i) for i in range(1, 1001)]), minlength=320)
    # 8 of 10 each step: mean 800, standard deviation sqrt(1000 * 0.8 * 0.2) = 12.6.
    assert abs(counts - 800).max() < 6 * 12.6


@given(step=st.integers(1, 100), size=st.integers(1, 7))
def test_small_class_repeats_its_images_evenly(step, size):
    labels = np.concatenate([np.repeat(np.arange(31), 8), np.full(size, 31)])
    drawn = ClassBalancedSampler(labels, seed=0).indices(step)
    counts = np.bincount(drawn[labels[drawn] == 31] - 31 * 8, minlength=size)
    assert counts.sum() == 8 and counts.max() - counts.min() <= 1  # a permutation of 0..7 modulo the size


def test_batch_is_a_function_of_seed_and_step():
    labels = noisy_labels(6)
    one, same, other = (ClassBalancedSampler(labels, seed) for seed in (1, 1, 2))
    forward = [one.indices(step) for step in range(1, 8)]
    backward = [same.indices(step) for step in range(7, 0, -1)][::-1]
    np.testing.assert_array_equal(forward, backward)
    assert (other.indices(1) != forward[0]).any()


def test_too_few_classes():
    with pytest.raises(InputError, match="31 classes, but a batch takes 32"):
        ClassBalancedSampler(np.arange(310) % 31, seed=0)
