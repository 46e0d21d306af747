"""Check that each label is the number of one of the net's outputs: stock Caffe would read memory beyond the scores."""

from collections.abc import Iterator
from contextlib import suppress
from functools import cache

import h5py
import numpy as np

from base import hdf5
from base.errors import InputError
from solvers.nets import data_layers, losses
from solvers.nets.built_net import BuiltNet
from solvers.nets.pycaffe import caffe

pb = caffe.proto.caffe_pb2


def check_labels(built: BuiltNet, fed_labels: np.ndarray | None = None) -> None:
    """Check that every label of a softmax loss is from 0 to the number of its scores minus 1.

    A weighting with the parameter ``classes`` must have the net's number of classes.

    Parameters
    ----------
    built : BuiltNet
        Its data layers that read databases must have read a batch: only that batch is checked.
    fed_labels : (N,) int array, optional
        The labels of the data set, for nets whose ``label`` the driver fills.

    Raises
    ------
    InputError
        If not. The message names the layer, the label and the number of outputs.
    """
    for layer in built.losses:
        given = losses.parameters(layer)
        outputs = built.net.blobs[layer.bottom[0]].data.shape[given.get("axis", 1)]
        classes = losses.weighting_of(layer).parameters.get("classes")
        if classes not in (None, outputs):
            raise InputError(f"layer '{layer.name}' scores {outputs} classes, but its weighting has classes: {classes:g}; "
                             f"write classes: {outputs} in its loss_param, or give --set classes={outputs}")
        for source, labels in _labels(layer.bottom[1], built, fed_labels):
            wrong = ~((labels >= 0) & (labels < outputs))  # also True for NaN
            if "ignore_label" in given:
                wrong &= labels != given["ignore_label"]
            if wrong.any():
                raise InputError(f"{source} has the label {labels[wrong][0]:g}, but layer '{layer.name}' scores {outputs} "
                                 f"classes, 0 to {outputs - 1}")


def _labels(blob: str, built: BuiltNet, fed_labels: np.ndarray | None) -> Iterator[tuple[str, np.ndarray]]:
    """The labels that will reach a blob, each array with the name of its source; nothing where the labels are unknown."""
    maker = next((layer for layer in built.layers if blob in layer.top), None)
    match maker.type if maker is not None else "Input":
        case "Input":
            if fed_labels is not None:
                yield "the training data", fed_labels
        case "Data" | "WindowData":
            yield f"the first batch of {blob!r}", built.net.blobs[blob].data
        case "HDF5Data":
            for name in data_layers.listed(maker):
                yield name, hdf5_arrays(name, tuple(maker.top), maker.name)[blob][()]
        case "ImageData":
            lines = [line.split()[-1] for line in data_layers.lines(maker.image_data_param.source) if line.strip()]
            with suppress(ValueError):  # Caffe parses them with atoi, which takes any text
                yield maker.image_data_param.source, np.array([float(label) for label in lines])


@cache
def hdf5_arrays(name: str, tops: tuple[str, ...], layer: str) -> dict[str, h5py.Dataset]:
    """The arrays of an HDF5 file that a layer reads. They must lie in the file itself: links to other files are refused."""
    try:
        file = h5py.File(name)  # open until the process ends
        return {top: hdf5.array(file, top) for top in tops}
    except (InputError, OSError, RuntimeError) as error:
        raise InputError(f"layer '{layer}' (HDF5Data) reads {name}: {error}") from error
