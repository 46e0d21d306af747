"""What a net is fed: CIFAR-100 through its blobs ``data`` and ``label``, or what its own data layers read."""

import itertools
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import h5py
import numpy as np

from data_toolkit import hdf5, isolation
from data_toolkit.batches import BatchFeeder
from data_toolkit.dataset import Dataset
from data_toolkit.errors import DataError
from solvers import data_layers, losses
from solvers.engine import caffe
from solvers.errors import SolverError
from solvers.phases import layers_in

pb = caffe.proto.caffe_pb2

IMAGE = (3, 32, 32)
IMAGES_PER_CLASS = 8


def fed_blobs(net: pb.NetParameter, state: pb.NetState) -> tuple[str, ...]:
    """The blobs that the driver fills at each step: none if the net has data layers of its own.

    Raises
    ------
    SolverError
        If the net has an input that is neither ``data`` nor ``label``.
    """
    names = [*net.input, *(top for layer in layers_in(net, state) if layer.type == "Input" for top in layer.top)]
    for name in names:
        if name not in ("data", "label"):
            raise SolverError(f"the net has the input {name!r}; the driver fills only 'data' and 'label'")
    if names and "data" not in names:
        raise SolverError("the net has the input 'label' but not 'data': the driver fills both")
    return tuple(names)


def classes_per_batch(net: caffe.Net, num_classes: int) -> int:
    """How many classes, of 8 images each, make one batch of this net (recipe: 256 = 32 x 8).

    Raises
    ------
    SolverError
        If CIFAR-100 images do not fit its blobs, or the batch does not divide so.
    """
    batch, *image = net.blobs["data"].data.shape
    if tuple(image) != IMAGE:
        raise SolverError(f"the net's blob 'data' holds images of {'x'.join(map(str, image))}; CIFAR-100's are 3x32x32")
    if "label" in net.blobs and net.blobs["label"].data.size != batch:
        raise SolverError(f"the net's blob 'label' holds {net.blobs['label'].data.size} labels for {batch} images")
    if batch % IMAGES_PER_CLASS or batch > IMAGES_PER_CLASS * num_classes:
        raise SolverError(f"the net's batch of {batch} images is not {IMAGES_PER_CLASS} images of each of "
                          f"1 to {num_classes} classes")
    return batch // IMAGES_PER_CLASS


def fill(net: caffe.Net, blobs: tuple[str, ...], data: Dataset | None, seed: int, start: int, rank: int = 0,
         ranks: int = 1) -> Iterator[np.ndarray | None]:
    """At each ``next()``, put the next batch into the net's input blobs; step `start` + 1 gets the first.

    With `ranks` solvers beside each other, this one gets those batches that are its turn; see `BatchFeeder`.

    Returns
    -------
    generator of (B,) int64 or None
        The batch's indices in `data`; None for a net that reads its own data (no `blobs`) and gets nothing.

    Raises
    ------
    SolverError, data_toolkit.errors.DataError
        Before the first batch, if the data do not fill a batch of this net.
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


def check_labels(net: caffe.Net, param: pb.NetParameter, state: pb.NetState, fed: np.ndarray | None) -> None:
    """Check that every label is one of the net's outputs. Stock Caffe would read past the end of its scores.

    A weighting that has to know the number of classes must have the net's.

    Parameters
    ----------
    net : caffe.Net
        Built, so that the scores have their shape.
    param, state
        What it was built from.
    fed : numpy.ndarray or None
        The labels of the data set, integers, for nets whose ``label`` the driver fills.

    Raises
    ------
    SolverError
        Naming layer, label and number of outputs.
    """
    layers = list(layers_in(param, state))
    for layer in filter(losses.is_softmax_loss, layers):
        classes = losses.weighting_of(layer).parameters.get("classes")
        if classes not in (None, outputs := _outputs(layer, net)):
            raise SolverError(f"layer '{layer.name}' scores {outputs} classes, but its weighting is told that there are "
                              f"{classes:g}: say classes: {outputs} in its loss_param, or --set classes={outputs}")
        for source, labels in _labels(layer.bottom[1], layers, fed):
            _check_labels(source, labels, layer, net)


def check_first_batch(net: caffe.Net, param: pb.NetParameter, state: pb.NetState) -> None:
    """As `check_labels`, of what only Caffe can read: the labels that data layers over databases have just read."""
    layers = list(layers_in(param, state))
    read = {top for layer in layers if layer.type in ("Data", "WindowData") for top in layer.top}
    for layer in filter(losses.is_softmax_loss, layers):
        label = layer.bottom[1]
        if label in read:
            _check_labels(f"the first batch of {label!r}", net.blobs[label].data, layer, net)


def _outputs(layer: pb.LayerParameter, net: caffe.Net) -> int:
    """How many classes a loss has scores of."""
    return net.blobs[layer.bottom[0]].data.shape[losses.parameters(layer).get("axis", 1)]


def _check_labels(source: str, labels: np.ndarray, layer: pb.LayerParameter, net: caffe.Net) -> None:
    given = losses.parameters(layer)
    outputs = _outputs(layer, net)
    wrong = ~((labels >= 0) & (labels < outputs))  # of NaN, too
    if "ignore_label" in given:
        wrong &= labels != given["ignore_label"]
    if wrong.any():
        raise SolverError(f"{source} has the label {labels[wrong][0]:g}, but layer '{layer.name}' scores {outputs} classes, "
                          f"0 to {outputs - 1}")


def _labels(blob: str, layers: list[pb.LayerParameter], fed: np.ndarray | None) -> Iterator[tuple[str, np.ndarray]]:
    """The labels that will reach a blob, with the name of where they come from; none where that cannot be told."""
    maker = next((layer for layer in layers if blob in layer.top and layer.type != "Input"), None)
    if maker is None:
        if fed is not None:
            yield "the training data", fed
    elif maker.type == "HDF5Data":
        for name in data_layers.listed(maker):
            try:
                yield name, isolation.arrays(partial(_hdf5_array, name, blob))[blob]
            except DataError as error:
                raise SolverError(f"layer '{maker.name}' (HDF5Data) reads {name}: {error}") from error
    elif maker.type == "ImageData":
        lines = Path(maker.image_data_param.source).read_text().splitlines()
        yield maker.image_data_param.source, np.array([float(line.split()[-1]) for line in lines if line.strip()])


def _hdf5_array(file: str, name: str) -> dict[str, np.ndarray]:
    with h5py.File(file) as content:
        return {name: hdf5.array(content, name)[()]}
