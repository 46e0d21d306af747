"""Everything that data come in, mutated: it is read, or refused in one line; nothing else is ever raised."""

import io
import pickle
from pathlib import Path

import forms
import numpy as np
import pytest
import scipy.io
from mutations import mutations

from data_toolkit import archives, dataset, matfile, noise, unpickle
from data_toolkit.errors import DataError

CORPUS = sorted((Path(__file__).parent / "corpus").iterdir())
COUNTS = [pytest.param(40, id="40"), pytest.param(1000, id="1000", marks=pytest.mark.slow)]


@pytest.fixture(params=COUNTS)
def count(request):
    return request.param


def check(read, content: bytes, count: int) -> None:
    refused = 0
    for broken in mutations(content, count):
        try:
            read(broken)
        except DataError as error:
            assert str(error)
            refused += 1
    assert refused


def images_and_labels():
    random = np.random.default_rng(0)
    return random.integers(0, 256, (3, 32, 32, 3), np.uint8), random.integers(0, 100, 3)


def test_mat_v7_3(tmp_path, count):
    file = tmp_path / "x.mat"
    matfile.write(file, *images_and_labels())

    def read(broken):
        file.write_bytes(broken)
        matfile.read(file)

    check(read, file.read_bytes(), count)


@pytest.mark.parametrize("compressed", [True, False])
def test_mat_v5(tmp_path, count, compressed):
    file, (images, labels) = tmp_path / "x.mat", images_and_labels()
    cell = np.empty((3, 1), object)
    cell[:, 0] = list(images)
    scipy.io.savemat(file, {"ImageDataCell": cell, "class_ids": labels}, do_compression=compressed)

    def read(broken):
        file.write_bytes(broken)
        matfile.read(file)

    check(read, file.read_bytes(), count // 4)  # each in a process of its own


def test_npz(tmp_path, count):
    file, (images, labels) = tmp_path / "x.npz", images_and_labels()
    dataset.save(file, dataset.Dataset(images, labels, labels), {"source": "x"})

    def read(broken):
        file.write_bytes(broken)
        dataset.load(file)

    check(read, file.read_bytes(), count)


@pytest.mark.parametrize("form", ["binary", "python2", "matlab"])
@pytest.mark.parametrize("compression", ["gz", "xz", ""])
def test_archives(tmp_path, monkeypatch, count, form, compression):
    monkeypatch.setattr(archives, "COUNTS", forms.COUNTS)
    file = forms.pack(tmp_path / "x", forms.files(form), compression)

    def read(broken):
        file.write_bytes(broken)
        archives.read(archives.find(file))

    check(read, file.read_bytes(), count // (20 if form == "matlab" else 4))


def test_pickles(count):
    content = pickle.dumps({"data": np.zeros((3, 4), np.uint8), "fine_labels": [1, 2, 3], "name": "x"}, protocol=2)
    check(lambda broken: unpickle.load(io.BytesIO(broken)), content, count)


@pytest.mark.parametrize("suffix", [".npy", ".csv"])
def test_noise_matrices(tmp_path, count, suffix):
    file = tmp_path / f"t{suffix}"
    np.save(file, np.eye(100)) if suffix == ".npy" else np.savetxt(file, np.eye(100), delimiter=",")

    def read(broken):
        file.write_bytes(broken)
        noise.read_matrix(file)

    check(read, file.read_bytes(), count)


@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.name)
def test_what_once_found_something(file):
    """Mutations that raised other errors, or ended the process. Put new ones there."""
    read = {".mat": matfile.read, ".npy": noise.read_matrix}[file.suffix]
    with pytest.raises(DataError, match=file.name):
        read(file)
