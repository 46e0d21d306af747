"""Make nets in a process that may die of it: Caffe's checks end the process, and no check of ours foresees all."""

import re
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path

import h5py
import numpy as np

from base import hdf5, isolation
from base.errors import DataError
from solvers.errors import SolverError
from solvers.nets import data_layers, losses, pycaffe, weights
from solvers.nets.phases import layers_in
from solvers.nets.pycaffe import caffe, count_weights

pb = caffe.proto.caffe_pb2

FLOAT = 4  # bytes
SHARING = ("Split", "Flatten", "Reshape", "Input")  # their tops take no memory of their own, or are fed


def rehearse(name: Path, nets: Sequence[pb.NetParameter], solver: pb.SolverParameter | None = None,
             devices: Sequence[int] = ()) -> None:
    """Make nets once, the first of them as `solver` makes them, and let their data layers read a batch; see `admission.admit`.

    On the CPU, they get no more memory than there is.

    Raises
    ------
    SolverError
        With Caffe's reason if it ends the process over them; if a label that was read is none of a net's outputs, or the net
        needs more memory than there is.
    """
    available = None if devices else available_memory()
    apart(name, partial(_make, nets, solver, available, tuple(devices)[:1]), available, bool(devices))


def apart(name: Path | str, work: Callable[[], isolation.Arrays], memory: int | None, gpus: bool = False) -> isolation.Arrays:
    """What `work` gives back, which lets Caffe make nets, from a process of its own; see `isolation.run`.

    Raises
    ------
    SolverError
        With what `work` says is wrong, or with Caffe's reason if it ends the process over `name`.
    """
    ended = isolation.run(work, None, memory, fresh=gpus, gpus=gpus)
    if ended.code == isolation.REFUSED:
        raise SolverError(ended.wrong)
    if ended.code is None:
        raise SolverError(f"Caffe refuses {name}: it cannot be made within {isolation.MAX_SECONDS} s")
    if ended.code:
        raise SolverError(f"Caffe refuses {name}: {reason(ended.said) or crash(-ended.code)}")
    return ended.found


def _make(nets: Sequence[pb.NetParameter], solver: pb.SolverParameter | None, available: int | None,
          devices: Sequence[int]) -> dict:
    """In the process: what is wrong is a DataError."""
    caffe.init_log(0, True)  # all that it says: the layer that it was at
    try:
        for layer in (layer for net in nets for layer in net.layer if layer.type == "HDF5Data"):
            for file in data_layers.listed(layer):
                _hdf5(file, tuple(layer.top), layer.name)
        pycaffe.use_devices(list(devices))
        made = []
        if solver is not None:
            trained = weights.make_solver(solver)
            made = [trained.net, *trained.test_nets]
        made += [weights.build(net) for net in nets[len(made):]]
        for net, param in zip(made, nets, strict=True):
            for number, layer in enumerate(net.layers):
                if layer.type in data_layers.PARAMETERS:
                    net._forward(number, number)  # waits for the first batch, which another thread reads
            check_labels(net, param)
        needed = sum(map(least_memory, made, nets))
        if available is not None and needed > available:
            raise SolverError(f"the net needs at least {needed >> 20} MB of memory, and {available >> 20} MB are available: "
                              "make the batch or the layers smaller")
        if solver is not None and not any(made[0].blob_loss_weights.values()):
            raise SolverError("the net has no loss, so that nothing would be trained: a Python layer is one where it has a "
                              "loss_weight")
    except SolverError as error:
        if not isinstance(error.__cause__, SystemError):
            raise DataError(str(error)) from error
    except MemoryError as error:
        raise DataError("the net, or what it reads, needs more memory than there is: make the batch, the layers or the files "
                        "smaller") from error
    except Exception:  # of a Python layer, as the SystemError above: it comes again in the parent, where it is seen
        pass
    return {}


def least_memory(net: caffe.Net, param: pb.NetParameter) -> int:
    """Bytes that training a net takes at the very least: weights, their gradients and momentum, and what its layers make."""
    shared = {top for layer in param.layer if layer.type in SHARING for top in layer.top}
    made = (blob.count for name, blob in net.blobs.items() if name not in shared and "_split_" not in name)
    return FLOAT * (3 * count_weights(net) + sum(made))


def check_labels(net: caffe.Net, param: pb.NetParameter, fed: np.ndarray | None = None) -> None:
    """Check that every label is one of the net's outputs. Stock Caffe would read past the end of its scores.

    A weighting that has to know the number of classes must have the net's.

    Parameters
    ----------
    net : caffe.Net
        Built, and its data layers over databases have read a batch.
    param : caffe_pb2.NetParameter
        What it was built from.
    fed : numpy.ndarray, optional
        The labels of the data set, integers, for nets whose ``label`` the driver fills.

    Raises
    ------
    SolverError
        Naming layer, label and number of outputs.
    """
    layers = list(layers_in(param, param.state))
    for layer in filter(losses.is_softmax_loss, layers):
        given = losses.parameters(layer)
        outputs = net.blobs[layer.bottom[0]].data.shape[given.get("axis", 1)]
        classes = losses.weighting_of(layer).parameters.get("classes")
        if classes not in (None, outputs):
            raise SolverError(f"layer '{layer.name}' scores {outputs} classes, but its weighting is told that there are "
                              f"{classes:g}: say classes: {outputs} in its loss_param, or --set classes={outputs}")
        for source, labels in _labels(layer.bottom[1], layers, net, fed):
            wrong = ~((labels >= 0) & (labels < outputs))  # of NaN, too
            if "ignore_label" in given:
                wrong &= labels != given["ignore_label"]
            if wrong.any():
                raise SolverError(f"{source} has the label {labels[wrong][0]:g}, but layer '{layer.name}' scores {outputs} "
                                  f"classes, 0 to {outputs - 1}")


def _labels(blob: str, layers: list[pb.LayerParameter], net: caffe.Net,
            fed: np.ndarray | None) -> Iterator[tuple[str, np.ndarray]]:
    """The labels that will reach a blob, with the name of where they come from; none where that cannot be told."""
    maker = next((layer for layer in layers if blob in layer.top), None)
    match maker.type if maker is not None else "Input":
        case "Input":
            if fed is not None:
                yield "the training data", fed
        case "Data" | "WindowData":
            yield f"the first batch of {blob!r}", net.blobs[blob].data
        case "HDF5Data":
            for name in data_layers.listed(maker):
                yield name, _hdf5(name, tuple(maker.top), maker.name)[blob][()]
        case "ImageData":
            lines = [line.split()[-1] for line in data_layers.lines(maker.image_data_param.source) if line.strip()]
            with suppress(ValueError):  # atoi of Caffe's takes anything
                yield maker.image_data_param.source, np.array([float(label) for label in lines])


@cache
def _hdf5(name: str, tops: tuple[str, ...], layer: str) -> dict[str, h5py.Dataset]:
    """The arrays of an HDF5 file that a layer reads, all of which must lie in the file itself."""
    try:
        file = h5py.File(name)  # open until the process ends
        return {top: hdf5.array(file, top) for top in tops}
    except (DataError, OSError, RuntimeError) as error:
        raise SolverError(f"layer '{layer}' (HDF5Data) reads {name}: {error}") from error


def reason(output: str) -> str:
    """What Caffe's log says of a failed check, and the layer it was at; "" if it says nothing."""
    fatal = re.findall(r"^F\d+ .*?\] (?:Check failed: )?(.*)", output, re.MULTILINE)
    at = re.findall(r"\] Creating Layer (.*)|\] (Network initialization done)", output)
    return (f"layer '{at[-1][0]}': " if at and at[-1][0] else "") + fatal[-1].strip() if fatal else ""


def crash(number: int) -> str:
    """What is said of a process that the signal `number` ended; of one that ended by itself, its exit code is -`number`."""
    if number < 0:
        return f"the process that makes it ended with code {-number}"
    known = number in signal.valid_signals()
    return (f"it crashes on it ({signal.Signals(number).name if known else number}): is a file that its layers read damaged?")


def available_memory() -> int | None:
    """Bytes that this process may still take, in a container too; None where the system does not tell."""
    found = []
    try:
        found.append(1024 * int(re.search(r"MemAvailable: +(\d+)", Path("/proc/meminfo").read_text())[1]))
        limit, used = (int((Path("/sys/fs/cgroup") / name).read_text()) for name in ("memory.max", "memory.current"))
        found.append(limit - used)
    except (OSError, ValueError, TypeError):  # no such file; "max", no limit
        pass
    return min(found, default=None)
