"""Layers that move, join, cut, search or sum along axes, and those that multiply by a matrix."""

import math

import numpy as np

from solvers.export.graph import Layer
from solvers.nets.pycaffe import caffe

pb = caffe.proto.caffe_pb2

END = np.iinfo(np.int64).max


def parameter(layer: Layer) -> str:
    return layer.add("Identity", layer.blobs[0])


def silence(layer: Layer) -> list[str]:
    return []


def concat(layer: Layer) -> str:
    param = layer.param.concat_param
    axis = param.concat_dim if param.HasField("concat_dim") else layer.axis(param.axis)
    return layer.add("Concat", *layer.bottom, axis=axis)


def slice_(layer: Layer) -> list[str]:
    param, parts = layer.param.slice_param, len(layer.param.top)
    axis = param.slice_dim if param.HasField("slice_dim") else layer.axis(param.axis)
    if parts == 1:
        return layer.bottom
    if not param.slice_point:
        return layer.add_many("Split", *layer.bottom, outputs=parts, axis=axis)
    points = [0, *param.slice_point, END]
    return [layer.add("Slice", *layer.bottom, [start], [end], [axis]) for start, end in zip(points, points[1:], strict=False)]


def flatten(layer: Layer) -> str:
    param = layer.param.flatten_param
    if layer.axis(param.axis) == 1 and layer.axis(param.end_axis) == len(layer.shapes[0]) - 1:
        return layer.add("Flatten", *layer.bottom, axis=1)
    return reshape(layer)


def reshape(layer: Layer) -> str:
    return layer.reshape(layer.bottom[0], layer.shapes[0], layer.top_shapes[0])


def crop(layer: Layer) -> str:
    param = layer.param.crop_param
    first = layer.axis(param.axis)
    starts, ends, axes = [], [], []
    for axis in range(first, len(layer.shapes[0])):
        offset = 0 if not param.offset else param.offset[axis - first if len(param.offset) > 1 else 0]
        size, whole = layer.top_shapes[0][axis], layer.shapes[0][axis]
        if size == whole and not offset:
            continue
        if size is None:
            layer.refuse("it cuts the batch to a size that changes")
        starts.append(offset)
        ends.append(offset + size)
        axes.append(axis)
    return layer.add("Slice", layer.bottom[0], starts, ends, axes) if axes else layer.bottom[0]


def tile(layer: Layer) -> str:
    param = layer.param.tile_param
    repeats = [1] * len(layer.shapes[0])
    repeats[layer.axis(param.axis)] = param.tiles
    return layer.add("Tile", *layer.bottom, repeats)


def argmax(layer: Layer) -> str:
    """The places of the largest numbers, or these; of equal ones Caffe takes the last first."""
    param = layer.param.argmax_param
    if param.HasField("axis"):
        values, places = _largest(layer, layer.bottom[0], layer.axis(param.axis), param.top_k,
                                  layer.shapes[0][layer.axis(param.axis)])
        return values if param.out_max_val else places
    flat = layer.add("Flatten", *layer.bottom, axis=1)
    values, places = _largest(layer, flat, 1, param.top_k, math.prod(layer.shapes[0][1:]))
    top = layer.top_shapes[0]
    if not param.out_max_val:
        return layer.reshape(places, (), top)
    return layer.reshape(layer.add("Concat", places, values, axis=1), (), top)


def _largest(layer: Layer, x: str, axis: int, count: int, size: int | None) -> tuple[str, str]:
    """The `count` largest numbers along an axis of `size`, and their places as float32."""
    if count == 1:
        places = layer.add("ArgMax", x, axis=axis, select_last_index=1)
        return layer.add("ReduceMax", x, axes=[axis]), layer.add("Cast", places, to=1)
    if size is None:
        layer.refuse("it searches along the batch, whose size changes")
    backwards = layer.add("Slice", x, [-1], [-END], [axis], [-1])  # TopK takes the first of equal ones
    values, places = layer.add_many("TopK", backwards, [count], outputs=2, axis=axis)
    return values, layer.add("Cast", layer.add("Sub", np.int64(size - 1), places), to=1)


def reduction(layer: Layer) -> str:
    param = layer.param.reduction_param
    axes = list(range(layer.axis(param.axis), len(layer.shapes[0])))
    [x] = layer.bottom
    if param.operation == pb.ReductionParameter.SUM:
        y = layer.add("ReduceSum", x, axes, keepdims=0)
    else:
        op = {pb.ReductionParameter.ASUM: "ReduceL1", pb.ReductionParameter.SUMSQ: "ReduceSumSquare",
              pb.ReductionParameter.MEAN: "ReduceMean"}[param.operation]
        y = layer.add(op, x, axes=axes, keepdims=0)
    return y if param.coeff == 1 else layer.add("Mul", y, np.float32(param.coeff))


def inner_product(layer: Layer) -> str:
    param, shape = layer.param.inner_product_param, layer.shapes[0]
    axis = layer.axis(param.axis)
    x = layer.bottom[0] if axis == 1 and len(shape) == 2 else layer.add("Flatten", *layer.bottom, axis=axis)
    y = layer.add("Gemm", x, *layer.blobs, transB=int(not param.transpose))
    return y if axis == 1 else layer.reshape(y, (), layer.top_shapes[0])


def embed(layer: Layer) -> str:
    y = layer.add("Gather", layer.blobs[0], layer.add("Cast", *layer.bottom, to=7), axis=0)
    return layer.add("Add", y, layer.blobs[1]) if layer.param.embed_param.bias_term else y


def batch_reindex(layer: Layer) -> str:
    return layer.add("Gather", layer.bottom[0], layer.add("Cast", layer.bottom[1], to=7), axis=0)
