"""Training batches made in the background, and the test set in order."""

import threading

import numpy as np
import pytest

from base.errors import InputError
from data_toolkit import images
from data_toolkit.batches import BatchFeeder, BatchMaker, test_batches
from data_toolkit.dataset import Dataset


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    rng = np.random.default_rng(7)
    labels = np.arange(400) % 40
    pixels = rng.integers(0, 256, (400, 32, 32, 3), np.uint8)
    pixels[::50, :, :9] = 255  # eight with a white margin
    return Dataset(pixels, rng.permutation(labels), labels)


def take(feeder: BatchFeeder, count: int) -> list:
    return [batch for batch, _ in zip(feeder, range(count), strict=False)]


def test_feeder_gives_the_batches_of_the_maker_in_order(dataset):
    make = BatchMaker(dataset, seed=3)
    with BatchFeeder(dataset, seed=3) as feeder:
        for step, batch in enumerate(take(feeder, 5), start=1):
            assert batch.step == step
            np.testing.assert_array_equal(batch.data, make(step).data)
            np.testing.assert_array_equal(batch.labels.ravel(), dataset.labels[batch.indices])
            assert batch.labels.shape == (256, 1, 1, 1) and batch.labels.dtype == np.float32


def test_start_continues_where_another_feeder_stopped(dataset):
    with BatchFeeder(dataset, seed=3) as whole, BatchFeeder(dataset, seed=3, start=4) as rest:
        for expected, found in zip(take(whole, 7)[4:], take(rest, 3), strict=True):
            assert expected.step == found.step
            np.testing.assert_array_equal(expected.data, found.data)


def test_every_image_is_one_of_its_32_crops(dataset):
    batch = BatchMaker(dataset, seed=11)(1)
    for data, index in zip(batch.data, batch.indices, strict=True):
        image = dataset.images[index]
        cut = len(images.with_white_margin(image[None]))
        enlarged = images.enlarge_cut(image) if cut else images.enlarge(image[None])[0]
        flip, row, column = (axis.ravel() for axis in np.meshgrid([False, True], range(4), range(4), indexing="ij"))
        crops = images.network_input(np.repeat(enlarged[None], 32, axis=0), flip, row, column)
        assert (crops == data).all(axis=(1, 2, 3)).any()


def test_flips_and_offsets_are_uniform_and_independent(dataset, monkeypatch):
    seen = []
    monkeypatch.setattr(images, "network_input", lambda enlarged, *draws: seen.append(np.stack(draws)))
    make = BatchMaker(dataset, seed=5)
    make.enlarged = lambda indices: indices
    for step in range(1, 101):
        make(step)
    flip, row, column = np.concatenate(seen, axis=1)
    counts = np.bincount(flip * 16 + row * 4 + column, minlength=32)
    assert len(counts) == 32
    # 25,600 images over 32 equally likely cases: mean 800, standard deviation 27.8.
    assert abs(counts - 800).max() < 6 * 27.8


def test_error_in_the_background_reaches_the_consumer(dataset, monkeypatch):
    with BatchFeeder(dataset, seed=3) as feeder:
        monkeypatch.setattr(feeder.make.sampler, "members", [])
        with pytest.raises(IndexError):
            take(feeder, 10)


def test_leaving_early_ends_the_thread(dataset):
    before = threading.active_count()
    with BatchFeeder(dataset, seed=3) as feeder:
        take(feeder, 1)
    assert threading.active_count() == before


def test_too_few_classes_are_reported_before_anything_starts(dataset):
    with pytest.raises(InputError, match="40 classes, but a batch takes 41"):
        BatchFeeder(dataset, seed=0, classes_per_batch=41)


@pytest.mark.parametrize("batch_size", [64, 400, 1000])
def test_test_batches_are_the_images_in_order_at_offset_1(dataset, batch_size):
    batches = list(test_batches(dataset, batch_size))
    assert [len(labels) for _, labels in batches] == [min(batch_size, 400 - i) for i in range(0, 400, batch_size)]
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in batches]), dataset.labels)
    data = np.concatenate([data for data, _ in batches])
    plain = images.enlarge(dataset.images[1:2])[0]  # index 1 has no margin
    np.testing.assert_array_equal(data[1], plain[::-1, 1:33, 1:33] - images.MEANS[:, None, None])
    margin = images.enlarge_cut(dataset.images[0])
    np.testing.assert_array_equal(data[0], margin[::-1, 1:33, 1:33] - images.MEANS[:, None, None])
