"""Make a solver in a process that may die of it: Caffe's checks end the process, and no check of ours foresees all."""

import multiprocessing
import os
import re
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path

from data_toolkit import isolation
from solvers import data_layers, gpus, inputs
from solvers.engine import caffe, count_weights
from solvers.errors import SolverError
from solvers.phases import train_state
from solvers.run import Run
from solvers.setting import Setting

pb = caffe.proto.caffe_pb2

FLOAT = 4  # bytes
REFUSED = 3  # the exit code of a child that has found what is wrong


def rehearse(setting: Setting, solver: pb.SolverParameter, devices: Sequence[int] = ()) -> None:
    """Make the solver and its nets once and read a batch, in a child process, before anything is written for the run.

    Parameters
    ----------
    setting : Setting
    solver : caffe_pb2.SolverParameter
        From `run.resolve_solver`.
    devices : sequence of int
        The GPUs of the run, the first of which is used; none for the CPU. How much memory there is, is seen on the CPU only.

    Raises
    ------
    SolverError
        With Caffe's reason if it ends the process over them; if a label that was read is none of the net's outputs, or the
        net needs more memory than there is.
    """
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder), setting, solver, {})
        run.write()
        said = Path(folder) / "said"
        code = _in_new_process(run, said, devices) if devices else _in_fork(run, said)
        output = said.read_text(errors="replace") if said.exists() else ""
    if code == REFUSED:
        raise SolverError(output.splitlines()[-1])
    if code < 0:
        raise SolverError(f"Caffe refuses {setting.folder}: {reason(output) or crash(-code)}")


def _in_fork(run: Run, said: Path) -> int:
    """The exit code of a fork of this process that makes the net on the CPU."""
    available = available_memory()
    child = os.fork()
    if not child:
        _make(run, said, available, ())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _in_new_process(run: Run, said: Path, devices: Sequence[int]) -> int:
    """The same on a GPU: CUDA does not survive a fork, and reserves more addresses than there is memory."""
    child = multiprocessing.get_context("spawn").Process(target=_make, args=(run, said, None, devices[:1]))
    child.start()
    child.join()
    return child.exitcode


def _make(run: Run, said: Path, available: int | None, devices: Sequence[int]) -> None:
    """The child: make the solver with at most the available memory, and end; what is said goes to a file."""
    code = 1
    try:
        output = os.open(said, os.O_WRONLY | os.O_CREAT)
        for stream in 1, 2:
            os.dup2(output, stream)
        if available is not None:
            isolation.limit_memory(available)
        caffe.init_log(0, True)  # all that it says: the layer that it was at
        gpus.prepare(devices)
        net = caffe.get_solver(str(run.solver_file)).net
        for number, layer in enumerate(net.layers):
            if layer.type in data_layers.PARAMETERS:
                net._forward(number, number)  # waits for the first batch, which another thread reads
        inputs.check_first_batch(net, run.setting.net, train_state(run.setting.net, run.solver))
        needed = least_memory(net)
        if available is not None and needed > available:
            raise SolverError(f"the net needs at least {needed >> 20} MB of memory, and {available >> 20} MB are available: "
                              "make the batch or the layers smaller")
        code = 0
    except SolverError as error:
        os.write(output, f"\n{error}".encode())
        code = REFUSED
    finally:
        os._exit(code)  # an exception, of a Python layer, will come again in the parent, where it is seen


def least_memory(net: caffe.Net) -> int:
    """Bytes that training a net takes at the very least: weights, their gradients and momentum, and the largest blob."""
    return FLOAT * (3 * count_weights(net) + max((blob.count for blob in net.blobs.values()), default=0))


def reason(output: str) -> str:
    """What Caffe's log says of a failed check, and the layer it was at; "" if it says nothing."""
    fatal = re.findall(r"^F\d+ .*?\] (?:Check failed: )?(.*)", output, re.MULTILINE)
    at = re.findall(r"\] Creating Layer (.*)|\] (Network initialization done)", output)
    return (f"layer '{at[-1][0]}': " if at and at[-1][0] else "") + fatal[-1].strip() if fatal else ""


def crash(number: int) -> str:
    return f"it crashes on it ({signal.Signals(number).name}): is a file that its layers read damaged?"


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
