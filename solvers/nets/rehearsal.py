"""Make nets in a process that may die of it: Caffe's checks end the process, and no check of ours foresees all."""

import re
import signal
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from base import isolation
from base.errors import DataError
from solvers.errors import SolverError
from solvers.nets import data_layers, pycaffe, weights
from solvers.nets.built_net import BuiltNet
from solvers.nets.labels import check_labels, hdf5_arrays
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


def apart(name: Path | str, work: Callable[[], isolation.Arrays], memory: int | None, gpus: bool = False) -> bytes:
    """What `work` gives back, which lets Caffe make nets, from a process of its own; see `isolation.run`.

    Raises
    ------
    SolverError
        With what `work` says is wrong, or with Caffe's reason if it ends the process over `name`.
    """
    ended = isolation.run(work, None, memory, fresh=gpus, gpus=gpus)
    if ended.code == isolation.REFUSED:
        raise SolverError(ended.content.decode())
    if ended.code is None:
        raise SolverError(f"Caffe refuses {name}: it cannot be made within {isolation.MAX_SECONDS} s")
    if ended.code:
        raise SolverError(f"Caffe refuses {name}: {reason(ended.said) or crash(-ended.code)}")
    return ended.content


def _make(nets: Sequence[pb.NetParameter], solver: pb.SolverParameter | None, available: int | None,
          devices: Sequence[int]) -> dict:
    """In the process: what is wrong is a DataError."""
    caffe.init_log(0, True)  # all that it says: the layer that it was at
    try:
        for layer in (layer for net in nets for layer in net.layer if layer.type == "HDF5Data"):
            for file in data_layers.listed(layer):
                hdf5_arrays(file, tuple(layer.top), layer.name)
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
            check_labels(BuiltNet.of(net, param))
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
    except Exception:  # of a Python layer, as the SystemError above: it comes again in the parent, where it is seen
        pass
    return {}


def least_memory(net: caffe.Net, param: pb.NetParameter) -> int:
    """Bytes that training a net takes at the very least: weights, their gradients and momentum, and what its layers make."""
    shared = {top for layer in param.layer if layer.type in SHARING for top in layer.top}
    made = (blob.count for name, blob in net.blobs.items() if name not in shared and "_split_" not in name)
    return FLOAT * (3 * count_weights(net) + sum(made))


def reason(output: str) -> str:
    """What Caffe's log says of a failed check, and the layer it was at; "" if it says nothing."""
    fatal = re.findall(r"^F\d+ .*?\] (?:Check failed: )?(.*)", output, re.MULTILINE)
    at = re.findall(r"\] Creating Layer (.*)|\] (Network initialization done)", output)
    return (f"layer '{at[-1][0]}': " if at and at[-1][0] else "") + fatal[-1].strip() if fatal else ""


def crash(number: int) -> str:
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
