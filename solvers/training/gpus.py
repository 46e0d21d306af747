"""Training on several GPUs: one process for each, with the same weights. NCCL averages their gradients.

Each GPU takes its own batches, of 32 classes x 8 images in the released settings: of n GPUs, the k-th takes at step s the
batch that a single GPU would take at step (s - 1) n + k. The first GPU belongs to the main process, which writes logs and
checkpoints and tells the other processes when to step, so that all stop at the same step.
"""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

from base.errors import InputError
from base.terminal import say
from solvers.nets import inputs, pycaffe
from solvers.nets.pycaffe import caffe, has_cuda, seed_layers
from solvers.runs.run import Run
from solvers.runs.training_set import TrainingSet
from solvers.training.interrupt import SIGNALS


@dataclass(frozen=True)
class Task:
    """What a process of another GPU needs to take part in the training.

    Attributes
    ----------
    run : Run
    fed_blobs : tuple of str
        From `inputs.fed_blobs`.
    training_set : TrainingSet
    data : Path
        Folder of the data.
    start : int
        Steps already done.
    """

    run: Run
    fed_blobs: tuple[str, ...]
    training_set: TrainingSet
    data: Path
    start: int


def count() -> int:
    """How many GPUs CUDA sees."""
    with open("/proc/self/maps") as maps:
        library = next((line.split()[-1] for line in maps if "libcudart.so" in line), None)
    number = ctypes.c_int(0)
    if library is None or ctypes.CDLL(library).cudaGetDeviceCount(ctypes.byref(number)) != 0:
        return 0
    return number.value


def join(solver: caffe.SGDSolver, uid: bytes) -> None:
    """Copy the weights of the first process, and average gradients with all processes from now on. Waits until all join."""
    nccl = caffe.NCCL(solver, uid)
    nccl.bcast()
    solver.add_callback(nccl)


def new_uid() -> bytes:
    """An identifier by which NCCL recognises the processes of one training."""
    return caffe.NCCL.new_uid()


class OtherRanks:
    """The processes of all GPUs but the first: a context manager. With at most one GPU, its methods do nothing.

    Parameters
    ----------
    gpus : list of int
        Device numbers; the first is that of this process.
    task : Task
    """

    def __init__(self, gpus: list[int], task: Task):
        self.gpus, self.task = gpus, task
        self.connections: list[Connection] = []
        self.ending = threading.Event()

    def __enter__(self) -> "OtherRanks":
        if len(self.gpus) > 1:
            context = multiprocessing.get_context("spawn")  # CUDA cannot be used in a forked process
            self.uid = new_uid()
            self.processes = []
            for rank in range(1, len(self.gpus)):
                ours, theirs = context.Pipe()
                process = context.Process(target=train_along, args=(self.gpus, rank, self.uid, self.task, theirs), daemon=True)
                process.start()
                theirs.close()
                self.connections.append(ours)
                self.processes.append(process)
            threading.Thread(target=self._watch, daemon=True).start()
        return self

    def join(self, solver: caffe.SGDSolver) -> None:
        """Send the weights of `solver` to the other processes and wait until all are ready."""
        if self.connections:
            join(solver, self.uid)

    def step(self) -> None:
        """Let the other processes make a step. The caller must then make its own: they wait for its gradients."""
        for connection in self.connections:
            connection.send("step")

    def __exit__(self, *exception: object) -> None:
        self.ending.set()
        for connection in self.connections:
            connection.close()
        for process in self.processes if self.connections else ():
            process.join(timeout=10)
            if process.is_alive():
                process.kill()

    def _watch(self) -> None:
        """End the training if one of the processes ends: the others would wait for its gradients for ever."""
        sentinels = [process.sentinel for process in self.processes]
        ended = wait(sentinels)[0]
        if not self.ending.is_set():
            dead = 1 + sentinels.index(ended)  # is_alive() may say yes for a moment
            say(f"error: the process of GPU {self.gpus[dead]} ended (see above); the run goes on with --resume from its "
                "newest checkpoint", file=sys.stderr)
            os._exit(1)


def train_along(gpus: list[int], rank: int, uid: bytes, task: Task, connection: Connection) -> None:
    """The main function of another GPU's process: make a step at each message, end when the connection closes."""
    for number in SIGNALS:  # the first process handles them
        signal.signal(number, signal.SIG_IGN)
    pycaffe.use_devices(gpus, rank)
    solver = task.run.make_solver()
    if task.start:
        task.run.folder.checkpoints.restore(solver, task.start)
    data = task.training_set.load(task.data) if task.fed_blobs else None
    seed = task.run.solver.random_seed
    batches = inputs.fill(solver.net, task.fed_blobs, data, seed, task.start, rank, len(gpus))
    join(solver, uid)
    follow(solver, batches, connection, seed, rank)


def follow(solver: caffe.SGDSolver, batches, connection: Connection, seed: int, rank: int) -> None:
    """Make a step at each message until the connection closes. If it closes during a step, end the process at once."""
    messages: list[str] = []
    arrived = threading.Semaphore(0)

    def receive() -> None:
        try:
            while True:
                messages.append(connection.recv())
                arrived.release()
        except EOFError:
            os._exit(0)

    threading.Thread(target=receive, daemon=True).start()
    while True:
        next(batches)
        arrived.acquire()
        seed_layers(seed, solver.iter + 1, rank)
        solver.step(1)


def choose(text: str | None) -> list[int]:
    """The device numbers of ``--gpu``; an empty list if the option is not given.

    Raises
    ------
    InputError
        If the text is neither "all" nor numbers separated by commas, names a device twice or one that does not exist, or if
        this Caffe was built without CUDA (it would end the process) or, for several devices, without NCCL.
    """
    if text is None:
        return []
    numbers = [part.strip() for part in text.split(",")]
    if text != "all" and not all(part.isdecimal() for part in numbers):
        raise InputError(f"--gpu {text}: give device numbers such as 0 or 0,1, or all")
    if not has_cuda():
        raise InputError(f"--gpu {text}: this Caffe was built for the CPU only; leave --gpu out, or build it for GPUs with "
                         "CAFFE_CUDA=1 make setup")
    there = count()
    if not there:
        raise InputError(f"--gpu {text}: CUDA sees no GPU on this machine (nvidia-smi says why)")
    if text == "all":
        return list(range(there))
    gpus = [int(part) for part in numbers]
    if len(set(gpus)) < len(gpus):
        raise InputError(f"--gpu {text}: a device is named twice")
    if max(gpus) >= there:
        raise InputError(f"--gpu {text}: CUDA sees {there} GPU{'s' * (there > 1)}, numbered from 0")
    if len(gpus) > 1 and not caffe.has_nccl():
        raise InputError(f"--gpu {text}: this Caffe was built without NCCL, so for one GPU only")
    return gpus
