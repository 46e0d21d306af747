"""What a net and its weights must pass before they are exported, and what is learnt of them: the sizes of all blobs."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError

from data_toolkit import isolation
from data_toolkit.errors import DataError
from solvers import rehearsal, validate, weights
from solvers.engine import caffe
from solvers.errors import SolverError
from solvers.export import layer_types
from solvers.export.graph import Shape
from solvers.permissions import NOTHING
from solvers.phases import layers_in

pb = caffe.proto.caffe_pb2

BATCHES = 2, 4  # even, as some nets slice them


def admit(net: pb.NetParameter, model: Path, given: str) -> dict[str, Shape]:
    """Check a net and its weights as the commands that run nets do, and make it, with its weights, in a process that may die.

    Parameters
    ----------
    net : caffe_pb2.NetParameter
        With its phase in ``state``.
    model : Path
        Its weights.
    given : str
        What the user calls the net.

    Returns
    -------
    dict of str to tuple
        The shapes of all blobs; None where a dimension changes with the batch. There is none in a net that can be made for
        its own batch alone.

    Raises
    ------
    SolverError
        If a layer cannot be written as ONNX, would read a file or run code, the net is wrong, the weights are not its own,
        or Caffe refuses them.
    """
    NOTHING.check(net)
    validate.check_net(net, net.state)
    layer_types.check(layers_in(net, net.state))
    for layer in net.layer:
        if layer.blobs:  # of any size: Caffe trusts them
            raise SolverError(f"layer '{layer.name}' has weights in the prototxt itself: remove its `blobs`")
    own = _shapes(net, model, given)
    try:
        small, large = (_shapes(with_batch(net, batch), model, given) for batch in BATCHES)
    except SolverError:
        return own
    if any(len(small[blob]) != len(large[blob]) for blob in own):
        return own
    return {blob: tuple(None if a != b else a for a, b in zip(small[blob], large[blob], strict=True)) for blob in own}


def with_batch(net: pb.NetParameter, batch: int) -> pb.NetParameter:
    """The net with another size of the first dimension of its inputs: of all that have the same as the first input."""
    changed = pb.NetParameter()
    changed.CopyFrom(net)
    dims = [shape.dim for shape in changed.input_shape]
    dims += [shape.dim for layer in layers_in(changed, changed.state) if layer.type == layer_types.INPUT
             for shape in layer.input_param.shape]
    firsts = [dim[0] for dim in dims if dim] + list(changed.input_dim[:1])
    for dim in dims:
        if dim and dim[0] == firsts[0]:
            dim[0] = batch
    for start in range(0, len(changed.input_dim), 4):
        if changed.input_dim[start] == firsts[0]:
            changed.input_dim[start] = batch
    return changed


def _shapes(net: pb.NetParameter, model: Path, given: str) -> dict[str, tuple[int, ...]]:
    """The shapes of a net's blobs, told by a process that makes the net and loads its weights."""
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder) / "said"

        def make() -> dict[str, np.ndarray]:
            output = os.open(said, os.O_WRONLY | os.O_CREAT)
            for stream in 1, 2:
                os.dup2(output, stream)
            caffe.init_log(0, True)  # all that it says: the layer that it was at
            try:
                made = weights.build(net)
                weights.load(made, model)
            except SolverError as error:
                raise DataError(str(error)) from error
            shapes = [np.array(blob.data.shape, np.int64) for blob in made.blobs.values()]
            return {"names": np.array(list(made.blobs)), **{f"{number}": shape for number, shape in enumerate(shapes)}}

        try:
            found = isolation.arrays(make)
        except DataError as error:
            reason = rehearsal.reason(said.read_text(errors="replace")) if said.exists() else ""
            raise SolverError(f"Caffe refuses {given}: {reason}" if reason else str(error)) from error
    return {str(name): tuple(map(int, found[f"{number}"])) for number, name in enumerate(found["names"])}


@contextmanager
def upgraded(model: Path) -> Iterator[Path]:
    """A caffemodel of one of Caffe's formats before 2014 as one of today's, in a temporary file; others as they are."""
    try:
        is_old = bool(pb.NetParameter.FromString(model.read_bytes()).layers)
    except OSError as error:
        raise SolverError(f"cannot read {model}: {error.strerror}") from error
    except DecodeError as error:
        raise SolverError(f"{model} is damaged: {error}") from error
    if not is_old:
        yield model
        return
    with tempfile.TemporaryDirectory() as folder:
        new = Path(folder) / "new.caffemodel"
        done = subprocess.run([Path(caffe.__file__).parents[2] / "bin/upgrade_net_proto_binary", model, new],
                              capture_output=True)
        if done.returncode or not new.is_file():
            raise SolverError(f"{model} has `layers` of an old Caffe, which cannot be upgraded")
        yield new
