"""The batches that a net is fed with: random ones for training, made in the background, and the test set in order."""

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_toolkit import images
from data_toolkit.dataset import Dataset
from data_toolkit.sampler import ClassBalancedSampler

AUGMENTATION_STREAM = 2  # a random stream of the seed; the sampler uses 0 and 1
SHIFTS = 4  # the released code crops at offsets 0 to 3, although 4 would also fit
TEST_OFFSET = 1


@dataclass(frozen=True)
class Batch:
    """One training batch of B images.

    Attributes
    ----------
    step : int
        The number of the step, from 1.
    data : (B, 3, 32, 32) float32
    labels : (B, 1, 1, 1) float32
    indices : (B,) int64
        The indices of the images in the data set.
    """

    step: int
    data: NDArray[np.float32]
    labels: NDArray[np.float32]
    indices: NDArray[np.int64]


class Enlarger:
    """Enlarges images of a data set to planes of 36 x 36. The few images with a white margin are enlarged once and kept."""

    def __init__(self, dataset: Dataset):
        self.images = dataset.images
        self.cut = {i: images.enlarge_cut(self.images[i]) for i in images.with_white_margin(self.images)}

    def __call__(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """(B,) indices -> (B, 3, 36, 36) float32; red, green, blue."""
        enlarged = images.enlarge(self.images[indices])
        for position, index in enumerate(indices):
            if index in self.cut:
                enlarged[position] = self.cut[index]
        return enlarged


class BatchMaker:
    """Makes the batch of any step. It depends on data set, seed and step alone. Parameters as for `BatchFeeder`."""

    def __init__(self, dataset: Dataset, seed: int, classes_per_batch: int = 32, images_per_class: int = 8):
        self.labels = dataset.labels
        self.seed = seed
        self.sampler = ClassBalancedSampler(dataset.labels, seed, classes_per_batch, images_per_class)
        self.enlarged = Enlarger(dataset)

    def __call__(self, step: int) -> Batch:
        """The batch of a step, which counts from 1."""
        indices = self.sampler.indices(step)
        # A row of three numbers per image, in the order of the released code: flip, row of the crop, column of the crop.
        draws = np.random.default_rng([self.seed, AUGMENTATION_STREAM, step]).random((len(indices), 3))
        offsets = (draws[:, 1:] * SHIFTS).astype(np.intp)
        data = images.network_input(self.enlarged(indices), draws[:, 0] < 0.5, offsets[:, 0], offsets[:, 1])
        return Batch(step, data, self.labels[indices].astype(np.float32).reshape(-1, 1, 1, 1), indices)


class BatchFeeder:
    """Training batches in order, made ahead in a background thread: a context manager and an endless iterator.

    Parameters
    ----------
    dataset : Dataset
    seed : int
    start : int
        Steps already done; the first batch is that of step ``start + 1``.
    classes_per_batch, images_per_class : int
        32 and 8 in the released experiments.
    rank, ranks : int
        Several feeders (GPUs) share the batches: this one, number `rank` from 0, gives every `ranks`-th batch.

    Raises
    ------
    InputError
        If the data set holds fewer than `classes_per_batch` classes.
    """

    AHEAD = 2

    def __init__(self, dataset: Dataset, seed: int, start: int = 0, classes_per_batch: int = 32,
                 images_per_class: int = 8, rank: int = 0, ranks: int = 1):
        self.make = BatchMaker(dataset, seed, classes_per_batch, images_per_class)
        self.next_step, self.ranks = start * ranks + rank + 1, ranks
        self.ready = queue.Queue(self.AHEAD)
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._work, name="batches", daemon=True)

    def _work(self) -> None:
        step = self.next_step
        while not self.stopping.is_set():
            try:
                self.ready.put(self.make(step))
            except Exception as error:  # the iterator raises it
                self.ready.put(error)
                return
            step += self.ranks

    def __enter__(self) -> "BatchFeeder":
        self.thread.start()
        return self

    def __exit__(self, *exception) -> None:
        self.stopping.set()
        while self.thread.is_alive():  # it may be waiting for room in the queue
            try:
                self.ready.get(timeout=0.01)
            except queue.Empty:
                pass

    def __iter__(self) -> Iterator[Batch]:
        while True:
            batch = self.ready.get()
            if isinstance(batch, Exception):
                raise batch
            yield batch


def test_batches(dataset: Dataset, batch_size: int = 64) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """The images in order for evaluation: no flip, the crop at (1, 1).

    Yields
    ------
    (B, 3, 32, 32) float32, (B,) int64
        B is `batch_size`; the last batch may be smaller.
    """
    enlarged = Enlarger(dataset)
    for start in range(0, len(dataset.labels), batch_size):
        indices = np.arange(start, min(start + batch_size, len(dataset.labels)))
        offset = np.full(len(indices), TEST_OFFSET)
        yield (images.network_input(enlarged(indices), np.zeros(len(indices), bool), offset, offset),
               dataset.labels[indices])


test_batches.__test__ = False  # pytest must not collect this function
