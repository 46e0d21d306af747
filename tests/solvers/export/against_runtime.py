"""A net through Caffe and, exported, through ONNX Runtime: the oracle of the tests of layers."""

import os
from collections import defaultdict
from collections.abc import Callable, Mapping

import numpy as np
import onnx
import onnxruntime
from google.protobuf import text_format
from hypothesis import settings

from solvers.export import comparison
from solvers.export.admission import BATCHES, with_batch
from solvers.export.build import build
from solvers.nets import weights
from solvers.nets.pycaffe import caffe

pb = caffe.proto.caffe_pb2

BATCH = 3  # neither of those by which the exporter learns what changes with the batch
WORST: dict[str, float] = defaultdict(float)  # the largest relative difference of each layer type; printed with -v
SEEN: dict[str, int] = defaultdict(int)
drawn = settings(max_examples=int(os.environ.get("EXPORT_EXAMPLES", 12)))

Inputs = Mapping[str, np.ndarray]


def inputs(*shapes: tuple[int, ...]) -> str:
    """Inputs x0, x1, ... of a prototxt."""
    return "".join(f'input: "x{number}" input_shape {{ {" ".join(f"dim: {size}" for size in shape)} }}\n'
                   for number, shape in enumerate(shapes))


def layer(kind: str, settings: str = "", bottoms: int = 1, tops: int = 1, name: str = "layer") -> str:
    """A layer of a prototxt that reads x0, x1, ... and makes y0, y1, ..."""
    read = " ".join(f'bottom: "x{number}"' for number in range(bottoms))
    made = " ".join(f'top: "y{number}"' for number in range(tops))
    return f'layer {{ name: "{name}" type: "{kind}" {read} {made} {settings} }}\n'


def parsed(net: str) -> pb.NetParameter:
    param = text_format.Parse(net, pb.NetParameter())
    param.state.phase = pb.TEST
    return param


def compare(net: str, fill: Callable[[caffe.Net], None] | None = None, given: Inputs | None = None, batch: int = BATCH,
            fold: bool = False, spread: float = 1, tiny: float = 0) -> onnx.ModelProto:
    """Check that a net's outputs are the same in Caffe and, as a valid model with shapes, in ONNX Runtime.

    Weights and inputs are random, but for what `fill` does to the net and the inputs that are `given`. Differences up to
    `tiny` do not count.
    """
    param = parsed(net)
    small, large = (weights.build(with_batch(param, size)).blobs for size in BATCHES)
    shapes = {name: tuple(a if a == b else None for a, b in zip(blob.data.shape, large[name].data.shape, strict=True))
              for name, blob in small.items()}
    made = weights.build(with_batch(param, batch))
    random = np.random.default_rng(1)
    for blobs in made.params.values():
        for blob in blobs:
            blob.data[...] = random.normal(0, 1, blob.data.shape)
    for param_layer in param.layer:
        if param_layer.type == "BatchNorm":
            mean, variance, weight = made.params[param_layer.name]
            variance.data[...] = random.uniform(0.1, 2, variance.data.shape)
            weight.data[...] = 0.7
    if fill:
        fill(made)
    model = build(param, made, shapes, fold)
    onnx.checker.check_model(model, full_check=True)
    check_shapes(model, shapes)
    feeds = {name: comparison._random(random, made.blobs[name].data.shape, name, list(param.layer)) for name in made.inputs}
    feeds |= given or {}
    for name, values in feeds.items():
        feeds[name] = values = np.asarray(values * spread if name not in (given or {}) else values, np.float32)
        made.blobs[name].data[...] = values
    made.forward()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    used = {value.name for value in session.get_inputs()}
    found = session.run(None, {name: values for name, values in feeds.items() if name in used})
    case = comparison.Case("random", feeds, feeds)
    for output, values in zip(session.get_outputs(), found, strict=True):
        apart = comparison.difference(output.name, case, made.blobs[output.name].data, values, False)
        assert apart.relative <= comparison.TOLERANCE or apart.largest <= tiny, f"{apart.blob}: {apart}\n{net}"
        kinds = {param_layer.type for param_layer in param.layer}
        if len(kinds) == 1:
            SEEN[min(kinds)] += 1
            WORST[min(kinds)] = max(WORST[min(kinds)], apart.relative if apart.largest > tiny else 0)
    return model


def check_shapes(model: onnx.ModelProto, shapes: dict[str, tuple]) -> None:
    """ONNX's own shape inference, in strict mode, gives the outputs the sizes that Caffe gives them."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    for output in bare.graph.output:
        output.type.tensor_type.ClearField("shape")
    for output in onnx.shape_inference.infer_shapes(bare, strict_mode=True, data_prop=True).graph.output:
        inferred = output.type.tensor_type
        if inferred.HasField("shape"):
            assert len(inferred.shape.dim) == len(shapes[output.name]), output.name
            for found, size in zip(inferred.shape.dim, shapes[output.name], strict=True):
                assert size is None or not found.HasField("dim_value") or found.dim_value == size, output.name
