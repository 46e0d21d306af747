"""A net with the weights of a checkpoint, which may be damaged, or of another net."""

import tempfile
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError

from solvers import prototext
from solvers.engine import caffe
from solvers.errors import SolverError

pb = caffe.proto.caffe_pb2


def build(net: pb.NetParameter) -> caffe.Net:
    """The net in its TEST phase, at the level and stages of its ``state``, on the CPU.

    Raises
    ------
    SolverError
        If a Python layer of it cannot be made.
    """
    caffe.set_mode_cpu()
    with tempfile.NamedTemporaryFile("w", suffix=".prototxt") as file:  # Caffe reads nets from files only
        file.write(prototext.text(net))
        file.flush()
        try:
            return caffe.Net(file.name, caffe.TEST, level=net.state.level)
        except SystemError as error:
            raise SolverError("a Python layer of the net cannot be made; see above") from error


def load(net: caffe.Net, file: Path) -> None:
    """Load a checkpoint's weights into `net`, for all its layers: Caffe leaves a layer that it does not find random."""
    check_weights(net, file)
    net.copy_from(str(file))


def check_weights(net: caffe.Net, file: Path) -> None:
    """Raise SolverError unless the file is whole and has the net's weights; Caffe itself would end the process."""
    try:
        layers = {layer.name: layer.blobs for layer in pb.NetParameter.FromString(file.read_bytes()).layer}
    except DecodeError as error:
        raise SolverError(f"{file} is damaged: {error}") from error
    if missing := [name for name in net.params if not layers.get(name)]:
        raise SolverError(f"{file} has no weights for the layers {', '.join(missing)} of the test net")
    for name, blobs in net.params.items():
        ours = [tuple(blob.data.shape) for blob in blobs]
        theirs = [_shape(blob) for blob in layers[name]]
        if any(shape != other and np.prod(shape) != np.prod(other) for shape, other in zip(ours, theirs, strict=False)) \
                or len(ours) != len(theirs) or any(len(blob.data) != np.prod(shape) and len(blob.double_data) != np.prod(shape)
                                                   for blob, shape in zip(layers[name], theirs, strict=True)):
            raise SolverError(f"{file}: the weights of layer '{name}' have the shapes {theirs}, the test net's {ours}")


def _shape(blob: pb.BlobProto) -> tuple[int, ...]:
    """As Caffe reads it: the old four fields, or any number of dimensions."""
    if blob.HasField("shape"):
        return tuple(blob.shape.dim)
    return blob.num, blob.channels, blob.height, blob.width
