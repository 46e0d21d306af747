"""Layers that slide a window over an image: Convolution, Deconvolution, Pooling, LRN, SPP."""

import math
from collections.abc import Sequence

import numpy as np

from solvers.export.graph import Layer
from solvers.nets.pycaffe import caffe

pb = caffe.proto.caffe_pb2

LOWEST = np.finfo(np.float32).min  # what Caffe takes the maximum of nothing for


def convolution(layer: Layer) -> list[str]:
    return [_convolve(layer, "Conv", number) for number in range(len(layer.bottom))]


def deconvolution(layer: Layer) -> list[str]:
    return [_convolve(layer, "ConvTranspose", number) for number in range(len(layer.bottom))]


def _convolve(layer: Layer, op: str, number: int) -> str:
    """One of the layer's bottoms, convolved. ONNX has the channels at axis 1, and at least one axis beside them."""
    param, shape, top_shape = layer.param.convolution_param, layer.shapes[number], layer.top_shapes[number]
    axis = layer.axis(param.axis, number)
    sides = len(shape) - axis - 1
    weights = layer.blobs[0] if sides else layer.blobs[0][..., None]
    flat = (-1, *shape[axis:]) if sides else (-1, shape[axis], 1)
    moved = axis != 1 or not sides
    x = layer.add("Reshape", layer.bottom[number], flat) if moved else layer.bottom[number]
    pads = _sides(param, "pad", sides, 0)
    y = layer.add(op, x, weights, *layer.blobs[1:], kernel_shape=weights.shape[2:], strides=_sides(param, "stride", sides, 1),
                  pads=pads + pads, dilations=_sides(param, "dilation", sides, 1), group=param.group)
    return layer.reshape(y, (), top_shape) if moved else y


def _sides(param: pb.ConvolutionParameter, name: str, sides: int, default: int) -> list[int]:
    """A setting for each side of the window: given by name_h and name_w, once for all, one by one, or not at all."""
    if name != "dilation" and (param.HasField(f"{name}_h") or param.HasField(f"{name}_w")):
        return [getattr(param, f"{name}_h"), getattr(param, f"{name}_w")]
    given = list(getattr(param, name)) or [default]
    return given * max(sides, 1) if len(given) == 1 else given


def pooling(layer: Layer) -> list[str]:
    param = layer.param.pooling_param
    height, width = layer.shapes[0][2:]
    if param.pool == pb.PoolingParameter.STOCHASTIC:
        layer.refuse("STOCHASTIC pooling draws at random")
    average = param.pool == pb.PoolingParameter.AVE
    [x] = layer.bottom
    if param.global_pooling and len(layer.param.top) == 1:
        return [layer.add("GlobalAveragePool" if average else "GlobalMaxPool", x)]
    kernel = (height, width) if param.global_pooling else (param.kernel_size,) * 2 if param.HasField("kernel_size") else (
        param.kernel_h, param.kernel_w)
    pads, strides = ((getattr(param, f"{name}_h"), getattr(param, f"{name}_w")) if param.HasField(f"{name}_h")
                     else (getattr(param, name),) * 2 for name in ("pad", "stride"))
    return pool(layer, x, average, kernel, strides, pads, layer.top_shapes[0][2:], mask=len(layer.param.top) == 2)


def pool(layer: Layer, x: str, average: bool, kernel: Sequence[int], strides: Sequence[int], pads: Sequence[int],
         pooled: Sequence[int], mask: bool = False) -> list[str]:
    """Pool the layer's images to the size `pooled`, which Caffe may have rounded up, and without ONNX's ceil_mode: readers
    of it count differently what lies outside the image.

    Windows begin `pads` before the image. Those at its end may reach past the padding there: what lies outside counts in
    an average as far as the padding goes, and as nothing beyond.
    """
    size = layer.shapes[0][2:]
    past = [(count - 1) * stride + window - side - pad for count, stride, window, side, pad in
            zip(pooled, strides, kernel, size, pads, strict=True)]  # by how much the last window passes the image
    past = [max(0, end) for end in past]
    attributes = {"kernel_shape": kernel, "strides": strides}
    begin = list(pads)
    empty = any(end >= window for end, window in zip(past, kernel, strict=True))
    if average:
        if empty:
            layer.refuse("an average over windows that lie outside the image")
        if any(end > pad for end, pad in zip(past, pads, strict=True)) and any(pads):
            x = _padded(layer, x, 0, begin, begin)
            past = [max(0, end - pad) for end, pad in zip(past, pads, strict=True)]
            begin = [0, 0]
        inside = not any(begin) and any(past)
        return [layer.add("AveragePool", x, **attributes, pads=begin + past, count_include_pad=int(not inside))]
    if empty:
        if mask:
            layer.refuse("the place of a maximum over windows that lie outside the image")
        x, begin, past = _padded(layer, x, LOWEST, begin, past), [0, 0], [0, 0]
    if not mask:
        return [layer.add("MaxPool", x, **attributes, pads=begin + past)]
    y, places = layer.add_many("MaxPool", x, outputs=2, **attributes, pads=begin + past)
    plane = layer.add("Mod", places, np.int64(math.prod(size)))  # ONNX counts through the whole batch
    return [y, layer.add("Cast", plane, to=1)]


def _padded(layer: Layer, x: str, value: float, begin: Sequence[int], end: Sequence[int]) -> str:
    return layer.add("Pad", x, [0, 0, *begin, 0, 0, *end], np.float32(value))


def lrn(layer: Layer) -> str:
    param = layer.param.lrn_param
    [x], [(batch, channels, height, width)] = layer.bottom, layer.shapes
    across = param.norm_region == pb.LRNParameter.ACROSS_CHANNELS
    if across and param.alpha > 0 and param.beta > 0:  # ONNX Runtime refuses others
        return layer.add("LRN", x, size=param.local_size, alpha=param.alpha, beta=param.beta, bias=param.k)
    square, reach = layer.add("Mul", x, x), param.local_size // 2
    if across:  # a window over channels is one over the rows of an image of them
        square = layer.add("Reshape", square, [-1, 1, channels, height * width])
    window, pads = ([param.local_size, 1], [reach, 0]) if across else ([param.local_size] * 2, [reach] * 2)
    mean = layer.add("AveragePool", square, kernel_shape=window, pads=pads * 2, count_include_pad=1)
    if across:
        mean = layer.reshape(mean, (), (batch, channels, height, width))
    shift = param.k if across else 1  # within channels Caffe takes k as 1
    scaled = layer.add("Add", layer.add("Mul", mean, np.float32(param.alpha)), np.float32(shift))
    return layer.add("Mul", x, layer.add("Pow", scaled, np.float32(-param.beta)))


def spp(layer: Layer) -> str:
    """Spatial pyramid pooling: 1, 4, 16, ... bins, flattened and joined."""
    param = layer.param.spp_param
    if param.pool == pb.SPPParameter.STOCHASTIC:
        layer.refuse("STOCHASTIC pooling draws at random")
    size = layer.shapes[0][2:]
    parts = []
    for level in range(param.pyramid_height):
        kernel = [-(-side // 2**level) for side in size]
        pads = [(window * 2**level - side + 1) // 2 for window, side in zip(kernel, size, strict=True)]
        pooled = [_pooled(*sides) for sides in zip(size, kernel, pads, strict=True)] if any(pads) else [
            -(-(side - window) // window) + 1 for side, window in zip(size, kernel, strict=True)]
        [part] = pool(layer, layer.bottom[0], param.pool == pb.SPPParameter.AVE, kernel, kernel, pads, pooled)
        parts.append(part if param.pyramid_height == 1 else layer.add("Flatten", part, axis=1))
    return layer.add("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]


def _pooled(side: int, window: int, pad: int) -> int:
    """How many windows, one beside the other, Caffe places on a padded side: none begins after the image and its padding."""
    count = -(-(side + 2 * pad - window) // window) + 1
    return count - 1 if (count - 1) * window >= side + pad else count


