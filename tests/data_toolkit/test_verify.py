"""The noise that prepare.py --verify finds in files, our own and others."""

import numpy as np
import pytest

from base.errors import InputError
from data_toolkit import dataset, prepare, verify
from data_toolkit.dataset import Dataset
from data_toolkit.noise import NOISE_TYPES, LabelNoise, superclasses


@pytest.fixture(scope="module")
def clean() -> Dataset:
    """5,000 images of 100 classes in 20 superclasses; some images are equal, with equal or different labels."""
    random = np.random.default_rng(0)
    labels = np.arange(5000) % 100
    images = np.zeros((5000, 32, 32, 3), np.uint8)
    images[:, 0] = random.integers(0, 256, (5000, 32, 3), np.uint8)
    images[100] = images[0]
    images[201] = images[0]
    return Dataset(images, labels, labels, labels // 5)


def noisy(clean: Dataset, noise: LabelNoise) -> Dataset:
    return Dataset(clean.images, noise.inject(clean.true_labels, clean.coarse_labels))


def test_clean_labels(clean):
    assert verify.describe(noisy(clean, LabelNoise()), clean).endswith("label noise 0.0000; the labels are the true ones")


@pytest.mark.parametrize("type", NOISE_TYPES)
@pytest.mark.parametrize(("rate", "seed"), [(0.4, 123), (0.37, 5)])
def test_type_rate_and_seed_of_ours(clean, type, rate, seed):
    said = verify.describe(noisy(clean, LabelNoise(type, rate, seed)), clean)
    assert f"type: {type}\n" in said
    if (type, rate) == ("asymmetric_sl", 0.37):  # floor(0.37 * 50) images a class: 0.36 and 0.37 are the same
        assert f"with seed {seed} gives exactly these labels" in said
    else:
        assert f"rate {rate} with seed {seed} gives exactly these labels" in said


@pytest.mark.parametrize("type", NOISE_TYPES)
def test_another_order_hides_only_the_seed(clean, type):
    """The authors' files have another order, so that their random numbers cannot be drawn again."""
    given = noisy(clean, LabelNoise(type, 0.4, 1))
    order = np.random.default_rng(1).permutation(len(given.labels))
    said = verify.describe(Dataset(given.images[order], given.labels[order]), clean)
    assert f"type: {type}\n" in said
    assert "rate about 0." in said and "none of the seeds 0 to 123 gives these labels in this order" in said


def test_one_class_of_each_superclass(clean):
    """Such labels have no siblings, so the noise is not asymmetric; nothing else is wrong with them."""
    first = [int(group[0]) for group in superclasses(clean.true_labels, clean.coarse_labels)]
    kept = np.isin(clean.true_labels, first)
    labels = clean.true_labels[kept].copy()
    labels[::2] = np.roll(labels, 7)[::2]
    part = Dataset(clean.images[kept], labels)
    assert "label noise 0." in verify.describe(part, clean)


def test_noise_of_no_type(clean):
    labels = clean.true_labels.copy()
    labels[labels < 40] = 99
    assert "type: none of symmetric" in verify.describe(Dataset(clean.images, labels), clean)


@pytest.mark.parametrize(("label", "advice"), [(100, "; count classes from 0"), (10**12, "")])
def test_a_label_that_is_no_class(clean, label, advice):
    labels = clean.labels.copy()
    labels[3] = label
    with pytest.raises(InputError) as error:
        verify.describe(Dataset(clean.images, labels), clean)
    assert str(error.value) == f"1 labels are outside 0 to 99, the first of them {label}{advice}"


def test_a_foreign_image(clean):
    images = clean.images.copy()
    images[7] = 1
    with pytest.raises(InputError, match="image 8 is not in CIFAR-100's training set"):
        verify.describe(Dataset(images, clean.labels), clean)


@pytest.mark.slow
def test_the_command(shared, tmp_path, capsys):
    source = str(shared / "data" / "cifar-100-binary.tar.xz")
    options = ["--source", source, "--output", str(tmp_path)]
    assert prepare.main(["--noise", "0.2", "--noise-type", "asymmetric_sl", *options]) == 0
    assert "label noise 0.0800 (4000 labels)" in capsys.readouterr().out
    made = tmp_path / "SLAsymmetricTrainImageDataCell0.2.mat"
    assert prepare.main(["--verify", str(made), "--source", source]) == 0
    assert capsys.readouterr().out.endswith(
        f"{made}: 50000 images, 4000 labels changed: label noise 0.0800\n  type: asymmetric_sl\n"
        "  rate 0.2 with seed 123 gives exactly these labels\n")
    fast = dataset.load(tmp_path / "cifar100_train_asymmetric_sl_0.2_seed_123.npz")[0]
    assert fast.noise_rate == 0.08 and fast.coarse_labels is not None
    counts = np.loadtxt(tmp_path / "cifar100_train_asymmetric_sl_0.2_seed_123_confusion.csv", delimiter=",")
    assert (counts.sum(axis=1) == 500).all() and np.trace(counts) == 46000
