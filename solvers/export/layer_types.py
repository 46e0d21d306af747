"""The layer types that can be written as ONNX, each with the function that does it: the only place where they are listed."""

from collections.abc import Callable, Iterable

from base.errors import InputError
from solvers.export import axes, channels, elementwise, recurrent, windows
from solvers.export.graph import Layer
from solvers.nets.pycaffe import caffe

pb = caffe.proto.caffe_pb2

CONVERTERS: dict[str, Callable[[Layer], str | list[str]]] = {
    "AbsVal": elementwise.absval,
    "ArgMax": axes.argmax,
    "BNLL": elementwise.bnll,
    "BatchNorm": channels.batch_norm,
    "BatchReindex": axes.batch_reindex,
    "Bias": channels.bias,
    "Clip": elementwise.clip,
    "Concat": axes.concat,
    "Convolution": windows.convolution,
    "Crop": axes.crop,
    "Deconvolution": windows.deconvolution,
    "Dropout": elementwise.same,
    "ELU": elementwise.elu,
    "Eltwise": elementwise.eltwise,
    "Embed": axes.embed,
    "Exp": elementwise.exp,
    "Flatten": axes.flatten,
    "InnerProduct": axes.inner_product,
    "LRN": windows.lrn,
    "LSTM": recurrent.lstm,
    "Log": elementwise.log,
    "MVN": channels.mvn,
    "PReLU": channels.prelu,
    "Parameter": axes.parameter,
    "Pooling": windows.pooling,
    "Power": elementwise.power,
    "RNN": recurrent.rnn,
    "ReLU": elementwise.relu,
    "Reduction": axes.reduction,
    "Reshape": axes.reshape,
    "SPP": windows.spp,
    "Scale": channels.scale,
    "Sigmoid": elementwise.sigmoid,
    "Silence": axes.silence,
    "Slice": axes.slice_,
    "Softmax": channels.softmax,
    "Split": elementwise.same,
    "Swish": elementwise.swish,
    "TanH": elementwise.tanh,
    "Threshold": elementwise.threshold,
    "Tile": axes.tile,
}
INPUT = "Input"  # becomes an input of the graph
DECISIONS = ("ArgMax", "Threshold")  # a difference in the last digit of what they read may change all of what they give
READERS = ("Data", "DummyData", "HDF5Data", "ImageData", "MemoryData", "WindowData")


def check(layers: Iterable[pb.LayerParameter]) -> None:
    """Raise InputError that names the first layer that reads data, or whose type is not here."""
    for layer in layers:
        if layer.type in READERS:
            raise InputError(f"layer '{layer.name}' ({layer.type}) reads data, which an ONNX file cannot: give a deploy net, "
                             "whose inputs are Input layers or `input` fields")
        if layer.type not in CONVERTERS and layer.type != INPUT:
            kind = f"{layer.python_param.module}.{layer.python_param.layer}" if layer.type == "Python" else layer.type
            extra = "; give a deploy net, without losses and accuracies" if "Loss" in kind or kind == "Accuracy" else ""
            raise InputError(f"layer '{layer.name}' ({kind}) cannot be written as ONNX{extra}; docs/export.md has the types "
                             "that can")


def convert(layer: Layer) -> list[str]:
    """Add the layer's nodes; return the values of its tops."""
    tops = CONVERTERS[layer.param.type](layer)
    return [tops] if isinstance(tops, str) else tops
