"""Layers with numbers of their own for each channel, and those that normalise: BatchNorm, Scale, Bias, PReLU, MVN, Softmax."""

import numpy as np
from numpy.typing import NDArray

from solvers.export.graph import Layer, Shape


def statistics(blobs: list[NDArray[np.float32]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and variance, each (C,), of a BatchNorm layer, whose blobs have sums and, in the third, by what to divide them."""
    mean, variance, weight = blobs
    factor = np.float32(0) if weight[0] == 0 else np.float32(1) / weight[0]
    return mean * factor, variance * factor


def uses_statistics(layer: Layer) -> bool:
    """Whether a BatchNorm layer normalises by its own statistics when testing, and not by those of the batch."""
    param = layer.param.batch_norm_param
    return param.use_global_stats or not param.HasField("use_global_stats")


def batch_norm(layer: Layer) -> str:
    [x], [shape] = layer.bottom, layer.shapes
    eps = layer.param.batch_norm_param.eps
    if uses_statistics(layer):
        mean, variance = statistics(layer.blobs)
        return layer.add("BatchNormalization", x, np.ones_like(mean), np.zeros_like(mean), mean, variance, epsilon=eps)
    axes = [axis for axis in range(len(shape)) if axis != 1]
    centred = layer.add("Sub", x, layer.add("ReduceMean", x, axes=axes))
    variance = layer.add("ReduceMean", layer.add("Mul", centred, centred), axes=axes)
    return layer.add("Div", centred, layer.add("Sqrt", layer.add("Add", variance, np.float32(eps))))


def scale(layer: Layer) -> str:
    param = layer.param.scale_param
    factor, shape, blobs = _operand(layer, layer.blobs)
    y = layer.add("Mul", layer.bottom[0], _aligned(layer, factor, shape, param.axis))
    return layer.add("Add", y, _aligned(layer, blobs[0], blobs[0].shape, param.axis)) if param.bias_term else y


def bias(layer: Layer) -> str:
    term, shape, _ = _operand(layer, layer.blobs)
    return layer.add("Add", layer.bottom[0], _aligned(layer, term, shape, layer.param.bias_param.axis))


def _operand(layer: Layer, blobs: list) -> tuple[str | NDArray, Shape, list]:
    """What the first bottom is multiplied with or added to: the second bottom or a blob; its shape; the blobs left."""
    if len(layer.bottom) > 1:
        return layer.bottom[1], layer.shapes[1], blobs
    return blobs[0], blobs[0].shape, blobs[1:]


def _aligned(layer: Layer, operand: str | NDArray, shape: Shape, axis: int) -> str | NDArray:
    """The operand with as many axes behind it as the first bottom has behind the last of those that it covers."""
    behind = len(layer.shapes[0]) - layer.axis(axis) - len(shape)
    if not shape or not behind:
        return operand
    if isinstance(operand, str):
        return layer.add("Unsqueeze", operand, range(len(shape), len(shape) + behind))
    return operand.reshape(shape + (1,) * behind)


def prelu(layer: Layer) -> str:
    slope = layer.blobs[0].reshape(-1, *[1] * (len(layer.shapes[0]) - 2))
    return layer.add("PRelu", *layer.bottom, slope)


def softmax(layer: Layer) -> str:
    return layer.add("Softmax", *layer.bottom, axis=layer.axis(layer.param.softmax_param.axis))


def mvn(layer: Layer) -> str:
    """Less the mean, and by default over the deviation, of each image's channel or of the whole image."""
    param, shape = layer.param.mvn_param, layer.top_shapes[0]  # of four axes always
    x = layer.reshape(layer.bottom[0], layer.shapes[0], shape)
    axes = [1, 2, 3] if param.across_channels else [2, 3]
    centred = layer.add("Sub", x, layer.add("ReduceMean", x, axes=axes))
    if not param.normalize_variance:
        return centred
    deviation = layer.add("Sqrt", layer.add("ReduceMean", layer.add("Mul", centred, centred), axes=axes))
    return layer.add("Div", centred, layer.add("Add", deviation, np.float32(param.eps)))
