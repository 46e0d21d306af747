"""Label noise as the released experiments and the papers define it."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.errors import InputError
from data_toolkit import noise
from data_toolkit.noise import LabelNoise

LABELS = np.arange(50_000) % 100
COARSE = np.random.default_rng(0).permutation(np.arange(100) // 5)[LABELS]  # 20 superclasses of 5, not neighbours
NOISE_TYPES = list(noise.NOISE_TYPES)


def inject(rate=0.0, type="symmetric", seed=123, labels=LABELS):
    return LabelNoise(type, rate, seed).inject(labels, COARSE[: len(labels)])


def is_close(share: float, probability: float, count: int) -> bool:
    """Within 4 standard deviations."""
    return abs(share - probability) <= 4 * np.sqrt(probability * (1 - probability) / count)


@pytest.mark.parametrize("rate", [0.2, 0.4, 0.6])
def test_rate_and_classes_are_as_likely_as_they_should_be(rate):
    noisy = inject(rate)
    changed = noisy != LABELS
    assert is_close(changed.mean(), rate, len(LABELS))
    steps = np.bincount((noisy - LABELS)[changed] % 100, minlength=100)
    assert steps[0] == 0
    expected = changed.sum() / 99
    chi_squared = np.sum((steps[1:] - expected) ** 2 / expected)
    assert 98 - 5 * np.sqrt(2 * 98) < chi_squared < 98 + 5 * np.sqrt(2 * 98)


def test_draws_are_those_of_the_released_loop():
    """The expected labels are drawn in a loop: one number for each image, and a second one if it is below the rate."""
    numbers = iter(np.random.RandomState(123).random_sample(200))
    expected = []
    for label in LABELS[:100]:
        others = [other for other in range(100) if other != label]
        expected.append(others[int(next(numbers) * 99)] if next(numbers) < 0.4 else label)
    assert inject(0.4, labels=LABELS[:100]).tolist() == expected


def test_no_noise_changes_nothing_but_still_draws():
    random = np.random.RandomState(5)
    np.testing.assert_array_equal(noise.symmetric(LABELS, 0.0, random), LABELS)
    assert random.random_sample() == np.random.RandomState(5).random_sample(len(LABELS) + 1)[-1]


@pytest.mark.parametrize("type", NOISE_TYPES)
def test_rate_0_changes_none_and_1_all_that_can(type):
    np.testing.assert_array_equal(inject(0.0, type), LABELS)
    assert (inject(1.0, type) != LABELS).mean() == (0.4 if type == "asymmetric_sl" else 1)


@given(rate=st.floats(0, 1), seed=st.integers(0, 2**32 - 1), type=st.sampled_from(NOISE_TYPES))
def test_same_seed_same_labels(rate, seed, type):
    labels = LABELS[:300].copy()
    once = inject(rate, type, seed, labels)
    np.testing.assert_array_equal(once, inject(rate, type, seed, labels))
    assert once.dtype == np.int64 and once.min() >= 0 and once.max() < 100
    np.testing.assert_array_equal(labels, LABELS[:300])  # not changed in place


@pytest.mark.parametrize("type", NOISE_TYPES)
def test_other_seed_other_labels(type):
    assert (inject(0.4, type, 1) != inject(0.4, type, 2)).any()


@pytest.mark.parametrize("rate", [0.2, 0.4])
def test_asymmetric_takes_the_siblings_alike(rate):
    """The released second version."""
    noisy = inject(rate, "asymmetric")
    changed = noisy != LABELS
    assert is_close(changed.mean(), rate, len(LABELS))
    counts = noise.confusion(LABELS, noisy)
    superclass = np.array([COARSE[np.argmax(LABELS == c)] for c in range(100)])
    siblings = (superclass[:, None] == superclass) & ~np.eye(100, dtype=bool)
    assert (siblings.sum(axis=1) == 4).all()
    assert counts[~siblings & ~np.eye(100, dtype=bool)].sum() == 0
    expected = rate * 500 / 4
    chi_squared = ((counts[siblings] - expected) ** 2 / expected).sum()
    assert chi_squared < 400 + 5 * np.sqrt(800)


@pytest.mark.parametrize(("rate", "each"), [(0.2, 100), (0.4, 200), (0.29, 145), (0.0015, 0), (1.0, 500)])
def test_asymmetric_sl_swaps_two_classes_of_each_superclass(rate, each):
    noisy = inject(rate, "asymmetric_sl")
    counts = noise.confusion(LABELS, noisy)
    off = counts - np.diag(np.diag(counts))
    assert sorted(off[off > 0].tolist()) == [each] * (40 if each else 0)
    np.testing.assert_array_equal(off, off.T)
    if each:
        pairs = np.argwhere(np.triu(off))
        superclass = np.array([COARSE[np.argmax(LABELS == c)] for c in range(100)])
        assert (superclass[pairs[:, 0]] == superclass[pairs[:, 1]]).all()
        assert len(set(superclass[pairs[:, 0]])) == 20
        assert (noisy != LABELS).mean() == pytest.approx(0.4 * each / 500)


def test_asymmetric_sl_takes_the_first_of_a_shuffled_order():
    order = np.random.RandomState(7).random_sample(len(LABELS))
    noisy = inject(0.4, "asymmetric_sl", seed=7)
    changed = noisy != LABELS
    taken = LABELS[changed]
    for c in np.unique(taken):
        assert order[changed & (LABELS == c)].max() < order[~changed & (LABELS == c)].min()


def test_pair_flip():
    noisy = inject(0.45, "pair_flip")
    changed = noisy != LABELS
    assert is_close(changed.mean(), 0.45, len(LABELS))
    np.testing.assert_array_equal(noisy[changed], (LABELS[changed] + 1) % 100)


def test_asymmetric_noise_needs_superclasses():
    for type in noise.NEED_SUPERCLASSES:
        with pytest.raises(InputError, match=f"{type} noise needs the superclasses of the images"):
            LabelNoise(type, 0.4).inject(LABELS)
        with pytest.raises(InputError, match="class 0 is alone in its superclass"):
            LabelNoise(type, 0.4).inject(LABELS, LABELS)
        with pytest.raises(InputError, match="two superclasses"):
            LabelNoise(type, 0.4).inject(LABELS, np.arange(50_000) // 2500)


def write(path, matrix):
    if path.suffix == ".npy":
        np.save(path, matrix)
    else:
        np.savetxt(path, matrix, delimiter="," if path.suffix == ".csv" else " ")
    return path


def random_matrix(seed):
    matrix = np.random.default_rng(seed).dirichlet(np.full(100, 0.05), 100)
    matrix[3] = np.eye(100)[99]
    return matrix


@pytest.mark.parametrize("name", ["t.csv", "t.txt", "t.npy"])
def test_any_matrix(tmp_path, name):
    matrix = random_matrix(0)
    given = LabelNoise.from_matrix(write(tmp_path / name, matrix))
    noisy = given.inject(LABELS)
    counts = noise.confusion(LABELS, noisy)
    assert counts[matrix == 0].sum() == 0
    assert counts[3, 99] == 500
    deviation = (counts - 500 * matrix) / np.sqrt(np.maximum(500 * matrix * (1 - matrix), 1))
    assert abs(deviation).max() < 6
    assert given.rate == pytest.approx(1 - np.trace(matrix) / 100, abs=1e-4)
    assert given.name.startswith("matrix_") and given.name.endswith(f"_{given.rate}")


def test_a_matrix_with_the_mark_that_windows_puts_before_text(tmp_path):
    plain = write(tmp_path / "a.csv", random_matrix(0))
    (tmp_path / "b.csv").write_bytes(b"\xef\xbb\xbf" + plain.read_bytes())
    assert LabelNoise.from_matrix(tmp_path / "b.csv").name == LabelNoise.from_matrix(plain).name


def test_matrices_reduce_to_the_other_types(tmp_path):
    """The identity matrix changes no label, a shift changes all; names of different matrices differ."""
    shift = LabelNoise.from_matrix(write(tmp_path / "a.csv", np.roll(np.eye(100), 1, axis=1)))
    identity = LabelNoise.from_matrix(write(tmp_path / "b.csv", np.eye(100)))
    np.testing.assert_array_equal(identity.inject(LABELS), LABELS)
    np.testing.assert_array_equal(shift.inject(LABELS), inject(1.0, "pair_flip"))
    assert shift.name != identity.name


@pytest.mark.parametrize(("spoil", "message"), [
    (lambda m: m * 0.99, r"row 0 sums to 0.99 instead of 1, and so do 99 other rows"),
    (lambda m: np.where(np.arange(100)[:, None] == 7, m * 0.5, m), r"row 7 sums to 0.5 instead of 1$"),
    (lambda m: m - 2 * np.eye(100), r"row 0, column 0 is -.*, which is no probability"),
    (lambda m: np.full_like(m, np.nan), "is nan, which is no probability"),
    (lambda m: m[:, :99], r"shape \(100, 99\); a transition matrix of CIFAR-100 is \(100, 100\)"),
    (lambda m: m[0], r"shape"),
])
def test_wrong_matrices(tmp_path, spoil, message):
    for name in "t.csv", "t.npy":
        with pytest.raises(InputError, match=f"{name}.*{message}"):
            LabelNoise.from_matrix(write(tmp_path / name, spoil(random_matrix(1))))


@pytest.mark.parametrize("content", ["a b\nc d\n", "1 2\n3\n", "\0\1"])
def test_files_that_are_no_matrix(tmp_path, content):
    for name in "t.csv", "t.npy":
        (tmp_path / name).write_text(content)
        with pytest.raises(InputError, match=f"{name} is not a matrix of numbers"):
            LabelNoise.from_matrix(tmp_path / name)
    with pytest.raises(InputError, match="none.csv does not exist: --noise-matrix names"):
        LabelNoise.from_matrix(tmp_path / "none.csv")


@pytest.mark.parametrize("name", ["pipe.npy", "pipe.csv"])
def test_a_pipe_is_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match="it is not a regular file"):
        LabelNoise.from_matrix(tmp_path / name)


def test_pickled_matrices_are_not_loaded(tmp_path):
    np.save(tmp_path / "t.npy", np.array([[print]], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="is not a matrix of numbers"):
        LabelNoise.from_matrix(tmp_path / "t.npy")


def test_confusion_counts():
    np.testing.assert_array_equal(noise.confusion(LABELS, LABELS), 500 * np.eye(100))
    counts = noise.confusion(np.array([1, 1, 99]), np.array([2, 2, 0]))
    assert counts[1, 2] == 2 and counts[99, 0] == 1 and counts.sum() == 3


@pytest.mark.parametrize("rate", [1.5, -0.1, float("nan"), float("inf")])
def test_impossible_rate(rate):
    with pytest.raises(InputError, match=f"noise {rate} is not a rate: it must be from 0 to 1"):
        LabelNoise(rate=rate)


def test_unknown_type_lists_the_known_and_suggests():
    with pytest.raises(InputError, match=r'"symetric" is not known; did you mean "symmetric"\? \(there is symmetric, asym'):
        LabelNoise("symetric", 0.4)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_impossible_seed(seed):
    with pytest.raises(InputError, match=f"seed {seed} is not possible"):
        LabelNoise(seed=seed)
