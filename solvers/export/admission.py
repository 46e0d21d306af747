"""What a net and its weights must pass before they are exported, and what is learnt of them: the sizes of all blobs."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from base.errors import InputError
from solvers.export import layer_types
from solvers.export.graph import Shape
from solvers.nets import admission, rehearsal, setting, weights
from solvers.nets.permissions import NO_PERMISSIONS
from solvers.nets.phases import layers_in
from solvers.nets.pycaffe import caffe

pb = caffe.proto.caffe_pb2

BATCHES = 2, 4  # even, as some nets slice them


def admit(param: pb.NetParameter, model: Path, given: str) -> dict[str, Shape]:
    """Check a net and its weights as the commands that run nets do, and make it, with its weights, in a process that may die.

    Parameters
    ----------
    param : caffe_pb2.NetParameter
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
    InputError
        If a layer cannot be written as ONNX, would read a file or run code, the net is wrong, the weights are not its own,
        or Caffe refuses them.
    """
    admission.check_types(layers_in(param))
    layer_types.check(layers_in(param))
    admission.admit(Path(given), [param], NO_PERMISSIONS, rehearse=False)
    own = _shapes(param, model, given)
    try:
        small, large = (_shapes(with_batch(param, batch), model, given) for batch in BATCHES)
    except InputError:
        return own
    if any(len(small[blob]) != len(large[blob]) for blob in own):
        return own
    return {blob: tuple(None if a != b else a for a, b in zip(small[blob], large[blob], strict=True)) for blob in own}


def with_batch(param: pb.NetParameter, batch: int) -> pb.NetParameter:
    """The net with another size of the first dimension of its inputs: of all that have the same as the first input."""
    changed = pb.NetParameter()
    changed.CopyFrom(param)
    dims = [shape.dim for shape in changed.input_shape]
    dims += [shape.dim for layer in layers_in(changed) if layer.type == layer_types.INPUT
             for shape in layer.input_param.shape]
    firsts = [dim[0] for dim in dims if dim] + list(changed.input_dim[:1])
    for dim in dims:
        if dim and dim[0] == firsts[0]:
            dim[0] = batch
    for start in range(0, len(changed.input_dim), 4):
        if changed.input_dim[start] == firsts[0]:
            changed.input_dim[start] = batch
    return changed


def _shapes(param: pb.NetParameter, model: Path, given: str) -> dict[str, tuple[int, ...]]:
    """The shapes of a net's blobs, told by a process that makes the net and loads its weights."""
    def make() -> dict[str, np.ndarray]:
        caffe.init_log(0, True)  # all that it says: the layer that it was at
        made = weights.build(param)
        weights.load(made, model)
        shapes = [np.array(blob.data.shape, np.int64) for blob in made.blobs.values()]
        return {"names": np.array(list(made.blobs)), **{f"{number}": shape for number, shape in enumerate(shapes)}}

    found = rehearsal.apart(given, make, rehearsal.available_memory())
    return {str(name): tuple(map(int, found[f"{number}"])) for number, name in enumerate(found["names"])}


@contextmanager
def upgraded(model: Path, scratch: Path | None = None) -> Iterator[Path]:
    """A caffemodel of one of Caffe's formats before 2014 as one of today's, in a temporary file; others as they are.

    The file lies in a folder of its own in `scratch`, which vanishes; by default where temporary files do.
    """
    net = weights.parse(model, pb.NetParameter())
    if not net.layers:
        yield model
        return
    with tempfile.TemporaryDirectory(dir=scratch, prefix=".") as folder:
        new = Path(folder) / "new.caffemodel"
        new.write_bytes(setting.upgraded(net, model).SerializeToString())
        yield new
