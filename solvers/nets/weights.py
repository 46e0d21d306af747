"""Read weights from caffemodels, which may be damaged or belong to another net. Caffe itself never reads these files."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError, Message
from numpy.typing import NDArray

from base import files
from base.errors import InputError
from solvers.nets import prototext
from solvers.nets.pycaffe import caffe

pb = caffe.proto.caffe_pb2

MAX_MANIFEST = 1 << 20
MAX_BYTES = (1 << 31) - 1  # protobuf's limit for a message, so for any caffemodel
MOST_AXES = 32  # Caffe's limit for the axes of a blob


def build(param: pb.NetParameter) -> caffe.Net:
    """Let Caffe build the net in its TEST phase, with the level and stages of its ``state``.

    Raises
    ------
    InputError
        If one of its Python layers raises an error.
    """
    with prototext.in_memory(param) as file:
        try:
            return caffe.Net(file, caffe.TEST, level=param.state.level)
        except SystemError as error:
            raise InputError("a Python layer of the net raises an error; see above") from error


def make_solver(param: pb.SolverParameter) -> caffe.SGDSolver:
    """Let Caffe build a solver and its nets from a message of `solver_param.for_caffe`.

    Raises
    ------
    InputError
        If a Python layer of the nets raises an error.
    """
    whole = pb.SolverParameter()
    whole.CopyFrom(param)
    for one in (whole.net_param, whole.train_net_param, *whole.test_net_param):
        if one.ByteSize():  # Caffe upgrades nets that are files, but not these
            one.ParseFromString(caffe._caffe.upgrade_net(one.SerializeToString()))
    with prototext.in_memory(whole) as file:
        try:
            return caffe.get_solver(file)
        except SystemError as error:
            raise InputError("a Python layer of the net raises an error; see above") from error


def load(net: caffe.Net, file: Path) -> None:
    """Load the weights of all layers of a net from a caffemodel, which must match its manifest and the net's shapes.

    Raises
    ------
    InputError
        If the file is damaged or differs from its manifest, lacks a layer, or has other shapes or values that are not finite.
    """
    found = layers_of(file)
    if missing := [name for name in net.params if name not in found]:
        raise InputError(f"{file} has no weights for the layers {', '.join(missing)} of the net")
    _copy(net, found, list(net.params), file)


def begin_with(net: caffe.Net, names: str) -> None:
    """Load a solver's ``weights`` (caffemodels, separated by commas) into the layers that have the same names.

    Raises
    ------
    InputError
        As `read`, but missing layers are allowed; if a file and the net have no layer in common.
    """
    for file in map(Path, names.split(",")):
        found = layers_of(file)
        common = [name for name in net.params if name in found]
        if not common:
            raise InputError(f"{file}, the solver's weights, has none of the net's layers {', '.join(net.params)}")
        _copy(net, found, common, file)


def _copy(net: caffe.Net, found: dict[str, Sequence[pb.BlobProto]], names: Iterable[str], file: Path) -> None:
    """Copy weights into layers, one layer at a time: memory may not hold many copies of a large net."""
    for name in names:
        shapes = [blob.data.shape for blob in net.params[name]]
        arrays = arrays_of(found[name], shapes, f"{file}: the weights of layer '{name}'")
        for blob, array in zip(net.params[name], arrays, strict=True):
            blob.data[...] = array


def layers_of(file: Path) -> dict[str, Sequence[pb.BlobProto]]:
    """The weights in a caffemodel, by layer. Their shapes are not checked."""
    return {layer.name: layer.blobs for layer in parse(file, pb.NetParameter()).layer if layer.blobs}


def parse(file: Path, message: Message) -> Message:
    """The `content` of a file of a checkpoint as a message; InputError if it does not parse."""
    found = content(file)
    try:
        message.ParseFromString(found)
    except DecodeError as error:
        if found.startswith(b"\x89HDF"):
            raise InputError(f"{file} is in HDF5, which is not read here: let Caffe save it as a .caffemodel") from error
        raise InputError(f"{file} is damaged: {error}") from error
    return message


def content(file: Path) -> bytes:
    """The bytes of a checkpoint's file, checked against the manifest beside it, if there is one.

    The checkpoint folder must be a real folder in the run folder, not a link.

    Raises
    ------
    InputError
        If the file cannot be read, or its size or SHA-256 differs from the manifest.
    """
    manifest = file.with_suffix(".json")
    # Of a checkpoint, the folder of the run; "a/.." is not the folder above `a` if that is a link.
    folder = file.parent.parent if file.parent.name not in ("", "..") else file.parent
    try:
        found = files.read(file, MAX_BYTES, folder)
        if manifest.exists() or manifest.is_symlink():
            expected = json.loads(files.read(manifest, MAX_MANIFEST, folder))["files"][file.name]
            if len(found) != expected["bytes"]:
                raise InputError(f"{file} has {len(found)} bytes instead of {expected['bytes']}")
            if hashlib.sha256(found).hexdigest() != expected["sha256"]:
                raise InputError(f"{file} is not what was written: its SHA-256 differs")
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror or error}") from error
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise InputError(f"{file} or its manifest is damaged ({error!r:.200})") from error
    return found


def arrays_of(blobs: Sequence[pb.BlobProto], shapes: Sequence[tuple[int, ...]], what: str) -> list[NDArray[np.float32]]:
    """Blobs of a caffemodel or solverstate as float32 arrays.

    Parameters
    ----------
    blobs : sequence of caffe_pb2.BlobProto
    shapes : sequence of tuple of int
        The shapes that the arrays must have. Leading ones are ignored in the comparison.
    what : str
        The name of the blobs in error messages.

    Raises
    ------
    InputError
        If a shape differs, or a value is not finite.
    """
    theirs = [_shape(blob) for blob in blobs]
    arrays = [np.array(blob.double_data or blob.data, np.float32) for blob in blobs]
    if len(arrays) != len(shapes) or any(
            _bare(shape) != _bare(other) or array.size != np.prod(shape, dtype=object)
            for shape, other, array in zip(shapes, theirs, arrays, strict=True)):
        raise InputError(f"{what} have the shapes {theirs}, the net's {list(map(tuple, shapes))}")
    if not all(np.isfinite(array).all() for array in arrays):
        raise InputError(f"{what} are not all finite numbers")
    return [array.reshape(shape) for array, shape in zip(arrays, shapes, strict=True)]


def _shape(blob: pb.BlobProto) -> tuple[int, ...]:
    """The shape of a blob: its field ``shape``, or the four fields of Caffe's old format."""
    if blob.HasField("shape"):
        return tuple(blob.shape.dim[: MOST_AXES + 1])
    return blob.num, blob.channels, blob.height, blob.width


def _bare(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape without leading ones: the four fields of the old format pad smaller shapes with them."""
    return tuple(shape[next((place for place, size in enumerate(shape) if size != 1), len(shape)):])
