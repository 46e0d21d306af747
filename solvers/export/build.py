"""From a net of Caffe's with its weights to a model of ONNX."""

from collections.abc import Iterator, Sequence

import numpy as np
import onnx

from base.errors import InputError
from solvers.export import layer_types
from solvers.export.folding import folded
from solvers.export.graph import Graph, Layer, Shape
from solvers.export.preprocessing import IMAGES, Preprocessing
from solvers.nets.phases import layers_in
from solvers.nets.pycaffe import caffe

pb = caffe.proto.caffe_pb2


def build(param: pb.NetParameter, net: caffe.Net, shapes: dict[str, Shape], fold: bool = False,
          preprocessing: Preprocessing | None = None) -> onnx.ModelProto:
    """The model of a net.

    Parameters
    ----------
    param : caffe_pb2.NetParameter
        What the net was made from, with its phase in ``state``.
    net : caffe.Net
        With its weights.
    shapes : dict of str to tuple
        Of all blobs, None where a dimension changes with the batch.
    fold : bool
        Put BatchNorm and Scale layers into the convolutions before them.
    preprocessing : Preprocessing, optional
        What the graph does to uint8 images to make the net's first input of them.

    Raises
    ------
    InputError
        If a layer cannot be written.
    """
    layers = list(weighted(param, net))
    outputs = [blob for blob in net.outputs if blob not in net.inputs]
    if not outputs or not net.inputs:
        raise InputError(f"the net has no {'outputs' if net.inputs else 'inputs'}: there is nothing to compute")
    if not shapes[net.inputs[0]]:
        raise InputError(f"the net's input '{net.inputs[0]}' has no dimensions: give it one, the batch")
    if preprocessing and IMAGES in shapes:
        raise InputError(f"--preprocessing: the net has a blob {IMAGES!r}, which is what the graph's input is called")
    if fold:
        layers = folded(layers, outputs)
    graph = Graph(shapes)
    for number, blob in enumerate(net.inputs):
        graph.blobs[blob] = preprocessing.add(graph, shapes[blob], blob) if preprocessing and not number else \
            graph.input(blob, shapes[blob])
    for layer in layers:
        layer.graph = graph
        layer.bottom = [graph.blobs[blob] for blob in layer.param.bottom]
        layer.shapes = [shapes[blob] for blob in layer.param.bottom]
        layer.top_shapes = [shapes[blob] for blob in layer.param.top]
        graph.blobs.update(zip(layer.param.top, layer_types.convert(layer), strict=True))
    return graph.model({blob: shapes[blob] for blob in outputs})


def weighted(param: pb.NetParameter, net: caffe.Net) -> Iterator[Layer]:
    """The layers of a net that compute, with copies of nothing: their weights are those of `net`."""
    seen: set[str] = set()
    for layer in layers_in(param):
        blobs = net.params.get(layer.name, [])
        if blobs and layer.name in seen:
            raise InputError(f"two layers with weights are called '{layer.name}': give each a name of its own")
        seen.add(layer.name)
        if layer.type != layer_types.INPUT:
            yield Layer(layer, [np.asarray(blob.data) for blob in blobs])


def blobs_in_order(layers: Sequence[pb.LayerParameter]) -> list[str]:
    """The blobs that layers make, each where its last value is made."""
    order = [top for layer in layers for top in layer.top]
    return [top for place, top in enumerate(order) if top not in order[place + 1:]]
