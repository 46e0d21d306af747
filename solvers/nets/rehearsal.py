"""Build nets for a trial in a separate process: Caffe's own checks end the process, and ours do not find every mistake."""

import re
import signal
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from base import isolation
from base.errors import InputError
from solvers.nets import data_layers, pycaffe, weights
from solvers.nets.built_net import BuiltNet
from solvers.nets.labels import check_labels, hdf5_arrays
from solvers.nets.pycaffe import caffe, count_weights

pb = caffe.proto.caffe_pb2

FLOAT = 4  # bytes
SHARING = ("Split", "Flatten", "Reshape", "Input")  # their tops are not counted: they share memory, or are inputs


def rehearse(name: Path, net_params: Sequence[pb.NetParameter], solver: pb.SolverParameter | None = None,
             devices: Sequence[int] = ()) -> None:
    """Build nets in a separate process, the first of them with `solver`, and let their data layers read one batch.

    On the CPU, that process can use only the available memory. For the parameters see `admission.admit`.

    Raises
    ------
    InputError
        If Caffe ends the process, with its reason; if a label is not the number of an output of its net; if the nets need
        more memory than is available; if the net to train has no loss.
    """
    available = None if devices else available_memory()
    apart(name, partial(_make, net_params, solver, available, tuple(devices)[:1]), available, bool(devices))


def apart(name: Path | str, work: Callable[[], isolation.Arrays], memory: int | None, gpus: bool = False) -> isolation.Arrays:
    """Run `work`, which lets Caffe build nets, in a separate process and return its result; see `isolation.run`.

    Raises
    ------
    InputError
        With the text of the InputError that `work` raises, or with Caffe's reason if Caffe ends the process. The message then
        names the setting or net, `name`.
    """
    ended = isolation.run(work, None, memory, fresh=gpus, gpus=gpus)
    if ended.code == isolation.REFUSED:
        raise InputError(ended.wrong)
    if ended.code is None:
        raise InputError(f"Caffe refuses {name}: it cannot be made within {isolation.MAX_SECONDS} s")
    if ended.code:
        raise InputError(f"Caffe refuses {name}: {reason(ended.said) or crash(-ended.code)}")
    return ended.found


def _make(net_params: Sequence[pb.NetParameter], solver: pb.SolverParameter | None, available: int | None,
          devices: Sequence[int]) -> dict:
    """The work of the separate process. It raises InputError for what is wrong with the nets."""
    caffe.init_log(0, True)  # log everything: `reason` finds the failing layer in it
    try:
        for layer in (layer for param in net_params for layer in param.layer if layer.type == "HDF5Data"):
            for file in data_layers.listed(layer):
                hdf5_arrays(file, tuple(layer.top), layer.name)
        pycaffe.use_devices(list(devices))
        made = []
        if solver is not None:
            trained = weights.make_solver(solver)
            made = [trained.net, *trained.test_nets]
        made += [weights.build(param) for param in net_params[len(made):]]
        for net, param in zip(made, net_params, strict=True):
            for number, layer in enumerate(net.layers):
                if layer.type in data_layers.PARAMETERS:
                    net._forward(number, number)  # waits for the first batch, which another thread reads
            check_labels(BuiltNet.of(net, param))
        needed = sum(map(least_memory, made, net_params))
        if available is not None and needed > available:
            raise InputError(f"the net needs at least {needed >> 20} MB of memory, and {available >> 20} MB are available: "
                             "make the batch or the layers smaller")
        if solver is not None and not any(made[0].blob_loss_weights.values()):
            raise InputError("the net has no loss, so that nothing would be trained: a Python layer counts as a loss if it "
                             "has a loss_weight")
    except InputError as error:
        if not isinstance(error.__cause__, SystemError):
            raise
    except MemoryError as error:
        raise InputError("the net, or what it reads, needs more memory than there is: make the batch, the layers or the files "
                         "smaller") from error
    except Exception:  # raised by a Python layer, as the SystemError above: the parent raises it again and reports it
        pass
    return {}


def least_memory(net: caffe.Net, param: pb.NetParameter) -> int:
    """The least memory, in bytes, that training takes: weights, their gradients and momentum, and the blobs of the layers."""
    shared = {top for layer in param.layer if layer.type in SHARING for top in layer.top}
    made = (blob.count for name, blob in net.blobs.items() if name not in shared and "_split_" not in name)
    return FLOAT * (3 * count_weights(net) + sum(made))


def reason(output: str) -> str:
    """The failed check in Caffe's log and the layer that was being built; "" if the log has none."""
    fatal = re.findall(r"^F\d+ .*?\] (?:Check failed: )?(.*)", output, re.MULTILINE)
    at = re.findall(r"\] Creating Layer (.*)|\] (Network initialization done)", output)
    return (f"layer '{at[-1][0]}': " if at and at[-1][0] else "") + fatal[-1].strip() if fatal else ""


def crash(number: int) -> str:
    """Why the process that built the nets ended: by the signal `number`, or, if negative, with the exit code -`number`."""
    if number < 0:
        return f"the process that builds it ended with code {-number}"
    known = number in signal.valid_signals()
    return (f"it crashes ({signal.Signals(number).name if known else number}): is a file that the net's layers read damaged?")


def available_memory() -> int | None:
    """The memory, in bytes, that is still available to this process, also in a container; None if the system does not say."""
    found = []
    try:
        found.append(1024 * int(re.search(r"MemAvailable: +(\d+)", Path("/proc/meminfo").read_text())[1]))
        limit, used = (int((Path("/sys/fs/cgroup") / name).read_text()) for name in ("memory.max", "memory.current"))
        found.append(limit - used)
    except (OSError, ValueError, TypeError):  # no such file; "max", no limit
        pass
    return min(found, default=None)
