"""Layers that compute each number from the numbers at the same place: activations, and Eltwise."""

import math
from functools import reduce

import numpy as np

from solvers.export.graph import Layer
from solvers.nets.pycaffe import caffe

pb = caffe.proto.caffe_pb2


def same(layer: Layer) -> list[str]:
    """Layers that hand on what they read: Dropout when testing, Split."""
    return layer.bottom * (len(layer.param.top) // len(layer.bottom))


def absval(layer: Layer) -> str:
    return layer.add("Abs", *layer.bottom)


def bnll(layer: Layer) -> str:
    return layer.add("Softplus", *layer.bottom)


def clip(layer: Layer) -> str:
    param = layer.param.clip_param
    return layer.add("Clip", *layer.bottom, np.float32(param.min), np.float32(param.max))


def elu(layer: Layer) -> str:
    return layer.add("Elu", *layer.bottom, alpha=layer.param.elu_param.alpha)


def sigmoid(layer: Layer) -> str:
    return layer.add("Sigmoid", *layer.bottom)


def tanh(layer: Layer) -> str:
    return layer.add("Tanh", *layer.bottom)


def relu(layer: Layer) -> str:
    slope = layer.param.relu_param.negative_slope
    return layer.add("LeakyRelu", *layer.bottom, alpha=slope) if slope else layer.add("Relu", *layer.bottom)


def swish(layer: Layer) -> str:
    [x] = layer.bottom
    return layer.add("Mul", x, layer.add("Sigmoid", _affine(layer, x, layer.param.swish_param.beta, 0)))


def threshold(layer: Layer) -> str:
    return layer.add("Cast", layer.add("Greater", *layer.bottom, np.float32(layer.param.threshold_param.threshold)), to=1)


def power(layer: Layer) -> str:
    """(shift + scale x)^power."""
    param = layer.param.power_param
    [x] = layer.bottom
    if not param.scale * param.power:  # Caffe does not even look at x, which may be infinite
        with np.errstate(invalid="ignore", divide="ignore"):
            value = np.float32(param.shift) ** np.float32(param.power) if param.power else 1
        return layer.add("Expand", np.float32(value), layer.add("Shape", x))
    y = _affine(layer, x, param.scale, param.shift)
    return y if param.power == 1 else layer.add("Pow", y, np.float32(param.power))


def exp(layer: Layer) -> str:
    """base^(shift + scale x); -1 is e."""
    param = layer.param.exp_param
    log_base = 1 if param.base == -1 else math.log(param.base)
    y = layer.add("Exp", _affine(layer, *layer.bottom, log_base * param.scale, 0))
    with np.errstate(over="ignore"):  # inf, as in Caffe
        return _affine(layer, y, float(np.exp(np.float64(log_base * param.shift))), 0)


def log(layer: Layer) -> str:
    """The logarithm of shift + scale x to the base; -1 is e."""
    param = layer.param.log_param
    y = layer.add("Log", _affine(layer, *layer.bottom, param.scale, param.shift))
    return y if param.base == -1 else _affine(layer, y, 1 / math.log(param.base), 0)


def eltwise(layer: Layer) -> str:
    param = layer.param.eltwise_param
    if param.operation == pb.EltwiseParameter.SUM:
        coefficients = list(param.coeff) or [1] * len(layer.bottom)
        terms = [_affine(layer, x, coefficient, 0) for x, coefficient in zip(layer.bottom, coefficients, strict=True)]
        return reduce(lambda x, y: layer.add("Add", x, y), terms)
    if param.operation == pb.EltwiseParameter.PROD:
        return reduce(lambda x, y: layer.add("Mul", x, y), layer.bottom)
    return layer.add("Max", *layer.bottom)


def _affine(layer: Layer, x: str, scale: float, shift: float) -> str:
    y = x if scale == 1 else layer.add("Mul", x, np.float32(scale))
    return y if shift == 0 else layer.add("Add", y, np.float32(shift))
