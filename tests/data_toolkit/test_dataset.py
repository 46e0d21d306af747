"""The data set in memory and its fast form."""

import re
import shlex

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.errors import InputError
from data_toolkit import dataset, prepare
from data_toolkit.dataset import Dataset
from data_toolkit.noise import LabelNoise


def make(count: int = 5, seed: int = 0, coarse: bool = True) -> Dataset:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 32, 32, 3), np.uint8)
    return Dataset(images, rng.integers(0, 100, count), rng.integers(0, 100, count),
                   rng.integers(0, 20, count) if coarse else None)


@given(count=st.integers(1, 5), seed=st.integers(0, 99), coarse=st.booleans())
def test_fast_form_keeps_everything(tmp_path_factory, count, seed, coarse):
    path = tmp_path_factory.mktemp("fast") / "x.npz"
    written, about = make(count, seed, coarse), {"noise": 0.4, "source": "somewhere"}
    dataset.save(path, written, about)
    read, said = dataset.load(path)
    assert said == about and read.fingerprint == written.fingerprint
    for name in "images", "labels", "true_labels", "coarse_labels":
        expected, found = getattr(written, name), getattr(read, name)
        assert (expected is None) == (found is None)
        if expected is not None:
            np.testing.assert_array_equal(found, expected)
            assert found.dtype == expected.dtype


@pytest.mark.parametrize("field", ["images", "labels", "true_labels"])
def test_fingerprint_sees_every_change(field):
    before = make()
    values = getattr(before, field).copy()
    values.flat[3] ^= 1
    after = Dataset(**{**{n: getattr(before, n) for n in ("images", "labels", "true_labels")}, field: values})
    assert after.fingerprint != before.fingerprint


def test_missing_file_says_how_to_make_it(tmp_path, monkeypatch):
    """The error gives the command that makes this file. For noise by a matrix, the user must name the matrix."""
    made = []
    monkeypatch.setattr(prepare, "prepare", lambda *given: made.append(given))
    for noise in LabelNoise(rate=0.4), LabelNoise("asymmetric_sl", 0.2, 5):
        with pytest.raises(InputError, match=f"{noise.type}_{noise.rate}_seed_{noise.seed}.npz does not exist: run ") as error:
            dataset.load_train(tmp_path, noise)
        said = re.search("`(.*)`", str(error.value))[1]
        assert prepare.main(shlex.split(said.partition("data_toolkit.prepare ")[2])) == 0
        assert made.pop() == (noise, None, tmp_path)
    with pytest.raises(InputError, match="--noise-matrix FILE"):
        dataset.load(tmp_path / dataset.train_name("matrix_01234567", 0.4, 123))


@given(cut=st.floats(0, 0.99))
def test_truncated_file_is_damaged(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("fast") / "x.npz"
    dataset.save(path, make(1), {})
    path.write_bytes(path.read_bytes()[: int(cut * path.stat().st_size)])
    with pytest.raises(InputError, match="is damaged"):
        dataset.load(path)


def test_pickles_are_not_loaded(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, about=np.array("{}"), images=np.array([print], dtype=object))
    with pytest.raises(InputError, match="is damaged"):
        dataset.load(path)


def test_small_files_that_unpack_to_very_much(tmp_path, monkeypatch):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, images=np.zeros(10**7, np.uint8))
    assert path.stat().st_size < 20_000
    monkeypatch.setattr(dataset, "MAX_BYTES", 10**6)
    with pytest.raises(InputError, match="would unpack to 10000128 bytes; at most 1000000 are read"):
        dataset.load(path)


def test_a_plain_array_is_not_the_fast_form(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros(3))
    with pytest.raises(InputError, match="is damaged"):
        dataset.load(tmp_path / "x.npy")


def test_wrong_shapes_are_refused():
    good = make()
    with pytest.raises(InputError, match=r"images are float64 \(5, 32, 32, 3\)"):
        Dataset(good.images.astype(float), good.labels, good.true_labels)
    with pytest.raises(InputError, match=r"labels of shape \(4,\)"):
        Dataset(good.images, good.labels[:4], good.true_labels)
    with pytest.raises(InputError, match="from -1 on"):
        Dataset(good.images, good.labels - 1 - good.labels.min(), good.true_labels)


def test_noise_rate_and_classes():
    data = Dataset(np.zeros((4, 32, 32, 3), np.uint8), np.array([0, 1, 2, 9]), np.array([0, 1, 3, 3]))
    assert data.noise_rate == 0.5 and data.num_classes == 10


@given(kind=st.sampled_from(["u1", "i2", "i8", "f4", "f8"]), true=st.booleans(), column=st.booleans(), packed=st.booleans())
def test_a_file_of_ones_own(tmp_path_factory, kind, true, column, packed):
    """Our own description is missing; labels have any numeric type, also as a column; other arrays are ignored."""
    path, expected = tmp_path_factory.mktemp("own") / "mine.npz", make(coarse=False)
    labels = {"labels": expected.labels} | ({"true_labels": expected.true_labels} if true else {})
    labels = {name: values.astype(kind).reshape((-1, 1) if column else -1) for name, values in labels.items()}
    (np.savez_compressed if packed else np.savez)(path, images=expected.images, names=np.array([print], object), **labels)
    found = dataset.load_file(path)
    assert found.labels.dtype == np.int64
    assert found.fingerprint == Dataset(expected.images, expected.labels, expected.true_labels if true else None).fingerprint


@pytest.mark.parametrize(("change", "message"), [
    ({"labels": None}, "it has no array labels"),
    ({"labels": None, "images": None}, "it has no array images and no array labels"),
    ({"labels": np.array([0, 1, 2, 3, np.nan])}, "labels are not all whole numbers"),
    ({"labels": np.arange(5) + 0.5}, "labels are not all whole numbers"),
    ({"labels": np.array(list("abcde"))}, r"labels are <U1 \(5,\)"),
    ({"labels": np.arange(4)}, r"labels of shape \(4,\)"),
    ({"labels": np.arange(5) - 1}, "from -1 on"),
    ({"labels": np.eye(5)}, r"labels are float64 \(5, 5\)"),
    ({"true_labels": np.arange(6)}, r"true_labels of shape \(6,\)"),
    ({"images": np.zeros((5, 3, 32, 32), np.uint8)}, r"images are uint8 \(5, 3, 32, 32\)"),
    ({"images": np.zeros((5, 32, 32, 3))}, r"images are float64 \(5, 32, 32, 3\)"),
    ({"images": np.array([print], object)}, "Object arrays cannot be loaded"),
])
def test_a_file_of_ones_own_that_does_not_fit(tmp_path, change, message):
    """The error says what is needed. It never advises to delete the user's file."""
    path = tmp_path / "mine.npz"
    arrays = {"images": make().images, "labels": make().labels} | change
    np.savez(path, **{name: values for name, values in arrays.items() if values is not None})
    with pytest.raises(InputError, match=message) as error:
        dataset.load_file(path)
    assert str(error.value).startswith(str(path)) and "the arrays needed are images" in str(error.value)
    assert "delete" not in str(error.value)


def test_no_npz_file_at_all(tmp_path):
    (tmp_path / "mine.npz").write_text("images")
    with pytest.raises(InputError, match="mine.npz cannot be read as an .npz file .*the arrays needed are images") as error:
        dataset.load_file(tmp_path / "mine.npz")
    assert "delete" not in str(error.value)
