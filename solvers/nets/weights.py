"""A net with the weights of a caffemodel, which may be damaged, or of another net. Caffe itself never reads such a file."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError, Message
from numpy.typing import NDArray

from base import files
from solvers.errors import SolverError
from solvers.nets import prototext
from solvers.nets.pycaffe import caffe

pb = caffe.proto.caffe_pb2

MAX_MANIFEST = 1 << 20
MAX_BYTES = (1 << 31) - 1  # of a message of protobuf's, so of any caffemodel
MOST_AXES = 32  # of a blob, in Caffe


def build(net: pb.NetParameter) -> caffe.Net:
    """The net in its TEST phase, at the level and stages of its ``state``.

    Raises
    ------
    SolverError
        If a Python layer of it cannot be made.
    """
    with prototext.in_memory(net) as file:
        try:
            return caffe.Net(file, caffe.TEST, level=net.state.level)
        except SystemError as error:
            raise SolverError("a Python layer of the net cannot be made; see above") from error


def make_solver(param: pb.SolverParameter) -> caffe.SGDSolver:
    """The solver of a message with its nets in it, from `run.for_caffe`.

    Raises
    ------
    SolverError
        If a Python layer of them cannot be made.
    """
    whole = pb.SolverParameter()
    whole.CopyFrom(param)
    for net in (whole.net_param, whole.train_net_param, *whole.test_net_param):
        if net.ByteSize():  # of a net in a file of its own, Caffe does so itself
            net.ParseFromString(caffe._caffe.upgrade_net(net.SerializeToString()))
    with prototext.in_memory(whole) as file:
        try:
            return caffe.get_solver(file)
        except SystemError as error:
            raise SolverError("a Python layer of the net cannot be made; see above") from error


def load(net: caffe.Net, file: Path) -> None:
    """Load the weights of all layers of a net from a caffemodel: whole, as its manifest says, of the net's shapes, and finite.

    Raises
    ------
    SolverError
        If the file has not got them; it names the layer.
    """
    found = layers_of(file)
    if missing := [name for name in net.params if name not in found]:
        raise SolverError(f"{file} has no weights for the layers {', '.join(missing)} of the net")
    _copy(net, found, list(net.params), file)


def begin_with(net: caffe.Net, names: str) -> None:
    """Load what a solver's ``weights`` names, files with commas between them, into those layers that are in both.

    Raises
    ------
    SolverError
        Also if a file and the net have no layer in common.
    """
    for file in map(Path, names.split(",")):
        found = layers_of(file)
        common = [name for name in net.params if name in found]
        if not common:
            raise SolverError(f"{file}, the solver's weights, has none of the net's layers {', '.join(net.params)}")
        _copy(net, found, common, file)


def _copy(net: caffe.Net, found: dict[str, Sequence[pb.BlobProto]], names: Iterable[str], file: Path) -> None:
    """Put weights into layers, one after the other: the largest nets fit into memory a few times only."""
    for name in names:
        shapes = [blob.data.shape for blob in net.params[name]]
        arrays = arrays_of(found[name], shapes, f"{file}: the weights of layer '{name}'")
        for blob, array in zip(net.params[name], arrays, strict=True):
            blob.data[...] = array


def layers_of(file: Path) -> dict[str, Sequence[pb.BlobProto]]:
    """The weights in a caffemodel, by layer, of whatever shapes."""
    return {layer.name: layer.blobs for layer in parse(file, pb.NetParameter()).layer if layer.blobs}


def parse(file: Path, message: Message) -> Message:
    """The `content` of a file of a checkpoint as a message; SolverError if it does not parse."""
    try:
        message.ParseFromString(content(file))
    except DecodeError as error:
        raise SolverError(f"{file} is damaged: {error}") from error
    return message


def content(file: Path) -> bytes:
    """A file of a checkpoint, checked against the manifest beside it, where there is one.

    The folder of the checkpoints must lie in that of the run, not behind a link.

    Raises
    ------
    SolverError
        If it cannot be read, or is not what the manifest says.
    """
    manifest = file.with_suffix(".json")
    # Of a checkpoint, the folder of the run; "a/.." is not the folder above `a` if that is a link.
    folder = file.parent.parent if file.parent.name not in ("", "..") else file.parent
    try:
        found = files.read(file, MAX_BYTES, folder)
        if manifest.exists() or manifest.is_symlink():
            expected = json.loads(files.read(manifest, MAX_MANIFEST, folder))["files"][file.name]
            if len(found) != expected["bytes"]:
                raise SolverError(f"{file} has {len(found)} bytes instead of {expected['bytes']}")
            if hashlib.sha256(found).hexdigest() != expected["sha256"]:
                raise SolverError(f"{file} is not what was written: its SHA-256 differs")
    except SolverError:
        raise
    except OSError as error:
        raise SolverError(f"cannot read {file}: {error.strerror or error}") from error
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise SolverError(f"{file} or its manifest is damaged ({error!r:.200})") from error
    return found


def arrays_of(blobs: Sequence[pb.BlobProto], shapes: Sequence[tuple[int, ...]], what: str) -> list[NDArray[np.float32]]:
    """Blobs as arrays of the shapes that are wanted; `what` they are called in errors.

    Raises
    ------
    SolverError
        If they have other shapes, or a number in them is not finite.
    """
    theirs = [_shape(blob) for blob in blobs]
    arrays = [np.array(blob.double_data or blob.data, np.float32) for blob in blobs]
    if len(arrays) != len(shapes) or any(
            _bare(shape) != _bare(other) or array.size != np.prod(shape, dtype=object)
            for shape, other, array in zip(shapes, theirs, arrays, strict=True)):
        raise SolverError(f"{what} have the shapes {theirs}, the net's {list(map(tuple, shapes))}")
    if not all(np.isfinite(array).all() for array in arrays):
        raise SolverError(f"{what} are not all finite numbers")
    return [array.reshape(shape) for array, shape in zip(arrays, shapes, strict=True)]


def _shape(blob: pb.BlobProto) -> tuple[int, ...]:
    """As Caffe reads it: the old four fields, or any number of dimensions."""
    if blob.HasField("shape"):
        return tuple(blob.shape.dim[: MOST_AXES + 1])
    return blob.num, blob.channels, blob.height, blob.width


def _bare(shape: Sequence[int]) -> tuple[int, ...]:
    """Without ones in front, which the old four fields have."""
    return tuple(shape[next((place for place, size in enumerate(shape) if size != 1), len(shape)):])
