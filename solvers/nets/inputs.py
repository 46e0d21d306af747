"""The inputs of a net: CIFAR-100 in its blobs ``data`` and ``label``, or what its own data layers read."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from base.errors import InputError
from data_toolkit.batches import BatchFeeder
from data_toolkit.dataset import Dataset
from prototxt.generate import IMAGES_PER_CLASS
from solvers.nets import data_layers
from solvers.nets.phases import inputs_of, layers_in
from solvers.nets.pycaffe import caffe, seed_layers

pb = caffe.proto.caffe_pb2

IMAGE = (3, 32, 32)

def fed_blobs(param: pb.NetParameter) -> tuple[str, ...]:
    """The blobs that the driver fills at each step: none if the net has data layers of its own.

    Raises
    ------
    InputError
        If the net has an input that is neither ``data`` nor ``label``.
    """
    names = inputs_of(param)
    for name in names:
        if name not in ("data", "label"):
            raise InputError(f"the net has the input {name!r}; the driver fills only 'data' and 'label'")
    if names and "data" not in names:
        raise InputError("the net has the input 'label' but not 'data': the driver fills both")
    return tuple(names)


def classes_per_batch(net: caffe.Net, num_classes: int) -> int:
    """How many classes, of 8 images each, make one batch of this net (released settings: 256 images = 32 classes x 8).

    Raises
    ------
    InputError
        If CIFAR-100 images do not fit the net's blobs, or the batch size is not 8 times 1 to `num_classes` classes.
    """
    batch, *image = net.blobs["data"].data.shape
    if tuple(image) != IMAGE:
        raise InputError(f"the net's blob 'data' holds images of {'x'.join(map(str, image))}; CIFAR-100's are 3x32x32")
    if "label" in net.blobs and net.blobs["label"].data.size != batch:
        raise InputError(f"the net's blob 'label' holds {net.blobs['label'].data.size} labels for {batch} images")
    if batch % IMAGES_PER_CLASS or batch > IMAGES_PER_CLASS * num_classes:
        nearest = IMAGES_PER_CLASS * min(max(1, round(batch / IMAGES_PER_CLASS)), num_classes)
        raise InputError(f"the net's batch of {batch} images is not {IMAGES_PER_CLASS} images of each of "
                         f"1 to {num_classes} classes: give --batch {nearest}")
    return batch // IMAGES_PER_CLASS


def fill(net: caffe.Net, blobs: tuple[str, ...], data: Dataset | None, seed: int, start: int, rank: int = 0,
         ranks: int = 1) -> Iterator[np.ndarray | None]:
    """At each ``next()``, put the next batch into the net's input blobs.

    Parameters
    ----------
    net : caffe.Net
    blobs : tuple of str
        The blobs to fill, from `fed_blobs`.
    data : Dataset or None
        The training set; None for a net that reads its own data.
    seed, start : int
        The run's seed, and the steps already done: the first batch is that of step `start` + 1.
    rank, ranks : int
        Which of how many solvers this one is, where several train together. See `BatchFeeder` for the batches that each gets.

    Returns
    -------
    generator of (B,) int64 or None
        The batch's indices in `data`; None for a net that reads its own data (`blobs` is empty).

    Raises
    ------
    InputError
        Before the first batch, if the images do not fit the net or are too few for one of its batches.
    """
    feeder = BatchFeeder(data, seed=seed, start=start, classes_per_batch=classes_per_batch(net, data.num_classes),
                         images_per_class=IMAGES_PER_CLASS, rank=rank, ranks=ranks) if blobs else None
    return _filled(net, blobs, feeder)


def _filled(net: caffe.Net, blobs: tuple[str, ...], feeder: BatchFeeder | None) -> Iterator[np.ndarray | None]:
    if feeder is None:
        yield from itertools.repeat(None)
    with feeder:
        for batch in feeder:
            for name, values in (("data", batch.data), ("label", batch.labels)):
                if name in blobs:
                    blob = net.blobs[name].data
                    blob[...] = values.reshape(blob.shape)
            yield batch.indices


def fast_forward(net: caffe.Net, tests: Sequence[tuple[caffe.Net, int]], seed: int, start: int, iter_size: int) -> None:
    """Read and discard the batches that the data layers had read before the run was stopped, so that they go on after them.

    Parameters
    ----------
    net : caffe.Net
        The net that is trained.
    tests : sequence of (caffe.Net, int)
        The test nets, each with the number of batches that it had read.
    seed, start : int
        The run's seed and the steps done. The random numbers that a layer draws in a step depend on seed and step alone.
    iter_size : int
        Batches in a step.
    """
    reading = _reading(net)
    for iteration in range(1, start + 1 if reading else 1):
        seed_layers(seed, iteration)
        for _ in range(iter_size):
            for number in reading:
                net._forward(number, number)
    for test, batches in tests:
        for _ in range(batches):
            for number in _reading(test):
                test._forward(number, number)


def _reading(net: caffe.Net) -> list[int]:
    return [number for number, layer in enumerate(net.layers) if layer.type in data_layers.PARAMETERS]


def check_repeatable(param: pb.NetParameter) -> None:
    """Raise InputError if a layer may keep state between steps that no checkpoint saves: a resume would not be exact."""
    for layer in layers_in(param):
        if layer.type in ("RNN", "LSTM", "MemoryData") or layer.type == "Python" and layer.python_param.module != "layers":
            raise InputError(f"layer '{layer.name}' ({layer.type}) may keep state between steps that no checkpoint saves, so "
                             "the run would not go on as if it had never stopped: --inexact-resume goes on all the same")
