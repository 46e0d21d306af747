"""BatchNorm and Scale folded into the Convolution, Deconvolution or InnerProduct before them: the same sums, fewer of them."""

from collections.abc import Collection

import numpy as np

from solvers.export.channels import statistics, uses_statistics
from solvers.export.graph import Layer
from solvers.nets.pycaffe import caffe

pb = caffe.proto.caffe_pb2

PARAMETERS = {"Convolution": "convolution_param", "Deconvolution": "convolution_param", "InnerProduct": "inner_product_param"}


def folded(layers: list[Layer], outputs: Collection[str]) -> list[Layer]:
    """The layers without those BatchNorm and Scale layers that are folded into others.

    A layer is folded where it alone reads what the layer before it makes. Blobs between the folded layers vanish; the last
    of them keeps its name.

    Parameters
    ----------
    layers : list of Layer
        In the net's order; stays as it is.
    outputs : collection of str
        Blobs that must stay.
    """
    result: list[Layer] = []
    taken: set[int] = set()
    for number, layer in enumerate(layers):
        if number in taken:
            continue
        if layer.param.type in PARAMETERS and len(layer.param.top) == 1 and _has_channels_at_1(layer):
            while (following := _only_reader(layers, number, layer.param.top[0], taken, outputs)) is not None:
                if not _folds(layers[following]):
                    break
                layer = _merged(layer, layers[following])
                taken.add(following)
        result.append(layer)
    return result


def _has_channels_at_1(layer: Layer) -> bool:
    return getattr(layer.param, PARAMETERS[layer.param.type]).axis == 1


def _only_reader(layers: list[Layer], maker: int, blob: str, taken: set[int], outputs: Collection[str]) -> int | None:
    """The layer that alone reads the value that the layer `maker` gave to a blob; None if there is not just one."""
    readers = []
    for number in range(maker + 1, len(layers)):
        if number in taken:
            continue
        param = layers[number].param
        if blob in param.bottom:
            readers.append(number)
        if blob in param.top:  # from here on the blob has another value
            break
    else:
        if blob in outputs:
            return None
    return readers[0] if len(readers) == 1 else None


def _folds(layer: Layer) -> bool:
    param = layer.param
    if len(param.bottom) != 1:
        return False
    if param.type == "BatchNorm":
        return uses_statistics(layer)
    return param.type == "Scale" and param.scale_param.axis == 1 and layer.blobs[0].ndim == 1


def _merged(layer: Layer, following: Layer) -> Layer:
    """A layer that does what both do: W x + b, then factor times it plus term, for each output channel."""
    settings = getattr(layer.param, PARAMETERS[layer.param.type])
    if following.param.type == "BatchNorm":
        mean, variance = (values.astype(np.float64) for values in statistics(following.blobs))
        factor = 1 / np.sqrt(variance + following.param.batch_norm_param.eps)
        term = -mean * factor
    else:
        factor = following.blobs[0].astype(np.float64)
        term = following.blobs[1].astype(np.float64) if following.param.scale_param.bias_term else np.zeros_like(factor)
    weights = layer.blobs[0].astype(np.float64)
    if layer.param.type == "Deconvolution":  # inputs, outputs of a group, sides: outputs count through the groups
        inputs, outputs, *sides = weights.shape
        parts = weights.reshape(settings.group, inputs // settings.group, outputs, *sides)
        weights = (parts * factor.reshape(settings.group, 1, outputs, *[1] * len(sides))).reshape(weights.shape)
    elif layer.param.type == "InnerProduct" and settings.transpose:
        weights = weights * factor
    else:
        weights = weights * factor.reshape(-1, *[1] * (weights.ndim - 1))
    bias = layer.blobs[1] * factor + term if settings.bias_term else term
    param = pb.LayerParameter()
    param.CopyFrom(layer.param)
    param.top[:] = following.param.top
    getattr(param, PARAMETERS[param.type]).bias_term = True
    return Layer(param, [weights.astype(np.float32), bias.astype(np.float32)])
