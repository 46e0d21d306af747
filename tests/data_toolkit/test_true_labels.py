"""True labels of files that do not contain them."""

import h5py
import numpy as np
import pytest
import scipy.io

from base.errors import InputError
from data_toolkit import archives, dataset, matfile, prepare, true_labels
from data_toolkit.dataset import Dataset
from data_toolkit.noise import LabelNoise


@pytest.fixture
def clean() -> Dataset:
    """300 different images of 100 classes."""
    random = np.random.default_rng(0)
    labels = np.arange(300) % 100
    return Dataset(random.integers(0, 256, (300, 32, 32, 3), np.uint8), labels, labels, labels // 5)


@pytest.fixture
def noisy(clean) -> Dataset:
    """The data of a file without true labels: 200 of those images in another order, two fifths with a wrong label."""
    order = np.random.default_rng(1).permutation(300)[:200]
    return Dataset(clean.images[order], LabelNoise(rate=0.4).inject(clean.labels, clean.coarse_labels)[order])


def check(found: Dataset, noisy: Dataset, clean: Dataset) -> None:
    label_of = {image.tobytes(): label for image, label in zip(clean.images, clean.labels, strict=True)}
    np.testing.assert_array_equal(found.true_labels, [label_of[image.tobytes()] for image in noisy.images])
    np.testing.assert_array_equal(found.labels, noisy.labels)
    assert found.fingerprint == noisy.fingerprint


def test_from_a_prepared_set_whatever_its_noise(clean, noisy, tmp_path):
    other = LabelNoise("pair_flip", 0.2)
    labels = other.inject(clean.labels, clean.coarse_labels)
    path = dataset.train_path(tmp_path, other)
    dataset.save(path, Dataset(clean.images, labels, clean.labels, clean.coarse_labels), {})
    (tmp_path / "cifar100_train_damaged_0.1_seed_1.npz").write_bytes(b"")
    found, said = true_labels.find_true_labels(noisy, tmp_path)
    check(found, noisy, clean)
    assert said == f"true labels of 200 images, from {path}: label noise {np.mean(noisy.labels != found.true_labels):.4f}"


def test_from_the_archive(clean, noisy, tmp_path, monkeypatch):
    archive = tmp_path / prepare.ARCHIVE
    archive.touch()
    monkeypatch.setattr(archives, "find_archive", lambda path: archives.Source(path, ""))
    monkeypatch.setattr(archives, "read", lambda source: (clean, None))
    found, said = true_labels.find_true_labels(noisy, tmp_path)
    check(found, noisy, clean)
    assert f"from {archive}" in said
    archive.unlink()
    monkeypatch.setenv("CIFAR100_SOURCE", "elsewhere.tar.gz")
    assert "from elsewhere.tar.gz" in true_labels.find_true_labels(noisy, tmp_path)[1]


@pytest.mark.slow
def test_a_file_of_ours_and_the_archive(shared, tmp_path, monkeypatch):
    """All of CIFAR-100: a .mat without true labels, like the released ones, and the archive from which it was made."""
    monkeypatch.setenv("CIFAR100_SOURCE", str(shared / "data" / "cifar-100-binary.tar.xz"))
    made = prepare.prepare(LabelNoise("asymmetric", 0.3), output=tmp_path)
    expected = dataset.load(made.train_fast)[0]
    made.train_fast.unlink()
    given = dataset.load_file(made.train_mat)
    assert given.true_labels is None
    np.testing.assert_array_equal(true_labels.find_true_labels(given, tmp_path)[0].true_labels, expected.true_labels)


def test_what_cannot_be_found_is_said(clean, noisy, tmp_path):
    found, said = true_labels.find_true_labels(noisy, tmp_path)
    assert found is noisy and f"there is no CIFAR-100 in {tmp_path} to find the images in" in said
    dataset.save(dataset.train_path(tmp_path, LabelNoise()), clean, {})
    images = noisy.images.copy()
    images[7, 0, 0, 0] ^= 1
    foreign = Dataset(images, noisy.labels)
    found, said = true_labels.find_true_labels(foreign, tmp_path)
    assert found is foreign and "image 8 is not in CIFAR-100's training set" in said


def add(path, values) -> None:
    with h5py.File(path, "r+") as file:
        file["true_labels"] = values


def test_labels_that_mean_something_else_are_no_noise(clean, tmp_path):
    """As the superclasses of CIFAR-100's images."""
    path = dataset.train_path(tmp_path, LabelNoise("symmetric", 0.0))
    dataset.save(path, clean, {})
    coarse = Dataset(clean.images, clean.coarse_labels)
    found, said = true_labels.find_true_labels(coarse, tmp_path)
    assert found is coarse and "the labels are its for 1.0% of them only, so they mean something else" in said


def test_mat_files_may_hold_them(noisy, tmp_path):
    true = (noisy.labels + 1) % 100
    matfile.write(tmp_path / "new.mat", noisy.images, noisy.labels)
    assert dataset.load_file(tmp_path / "new.mat").true_labels is None
    add(tmp_path / "new.mat", true[np.newaxis].astype(float))
    cell = np.empty((len(noisy.images), 1), object)
    cell[:, 0] = list(noisy.images)
    scipy.io.savemat(tmp_path / "old.mat", {"ImageDataCell": cell, "class_ids": noisy.labels, "true_labels": true})
    for name in "new.mat", "old.mat":
        found = dataset.load_file(tmp_path / name)
        assert found.fingerprint == Dataset(noisy.images, noisy.labels, true).fingerprint


@pytest.mark.parametrize(("values", "message"), [
    (np.zeros((1, 6)), "has 200 class_ids but 6 true_labels"),
    (np.full((1, 200), 0.5), "true_labels are not all whole numbers from 0 on"),
    (np.zeros((2, 100)), "true_labels is not an N x 1 array"),
    (h5py.ExternalLink("/etc/passwd", "x"), "true_labels is a link to elsewhere"),
])
def test_wrong_ones_are_refused(noisy, tmp_path, values, message):
    path = tmp_path / "x.mat"
    matfile.write(path, noisy.images, noisy.labels)
    add(path, values)
    with pytest.raises(InputError, match=f"{path}: {message}"):
        dataset.load_file(path)
