"""Training on several GPUs: a process each, the same weights in all, gradients averaged over them by NCCL.

Each GPU takes batches of its own, 32 classes x 8 images as one GPU would: of n, the k-th takes at step s what one GPU
would take at step (s - 1) n + k. The first, in the main process, writes the logs and the checkpoints, and tells the others
when to step, so that all stop at the same step.
"""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

from base.terminal import say
from solvers.errors import SolverError
from solvers.nets import inputs, pycaffe
from solvers.nets.pycaffe import caffe, has_cuda, seed_layers
from solvers.runs.checkpoints import Checkpoints
from solvers.training.interrupt import SIGNALS
from solvers.training.training_set import TrainingSet


@dataclass(frozen=True)
class Task:
    """What a process needs to know to train along.

    Attributes
    ----------
    run : Path
        The run folder.
    make_solver : function
        `run.Run.make_solver`.
    blobs : tuple of str
        From `inputs.fed_blobs`.
    labels : TrainingSet
    data : Path
        Folder of the data.
    seed, start : int
        Of the batches; steps already done.
    """

    run: Path
    make_solver: Callable[[], caffe.SGDSolver]
    blobs: tuple[str, ...]
    labels: TrainingSet
    data: Path
    seed: int
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
    """Take the first process's weights, and average gradients with all others from now on; waits for them."""
    nccl = caffe.NCCL(solver, uid)
    nccl.bcast()
    solver.add_callback(nccl)


def new_uid() -> bytes:
    """What tells NCCL which processes belong together."""
    return caffe.NCCL.new_uid()


class Others:
    """The processes beside the first: a context manager. Without any, all of it does nothing.

    Parameters
    ----------
    gpus : list of int
        Device numbers, this process's first.
    task : Task
    """

    def __init__(self, gpus: list[int], task: Task):
        self.gpus, self.task = gpus, task
        self.connections: list[Connection] = []
        self.ending = threading.Event()

    def __enter__(self) -> "Others":
        if len(self.gpus) > 1:
            context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
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
        """Wait until all are ready, with the weights of `solver`."""
        if self.connections:
            join(solver, self.uid)

    def step(self) -> None:
        """Let them make a step; the caller's own must follow, as they wait for its gradients."""
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
        """If one dies, the others would wait for its gradients for ever."""
        sentinels = [process.sentinel for process in self.processes]
        ended = wait(sentinels)[0]
        if not self.ending.is_set():
            dead = 1 + sentinels.index(ended)  # is_alive() may say yes for a moment
            say(f"error: the process of GPU {self.gpus[dead]} ended (see above); the run goes on with --resume from its "
                "newest checkpoint", file=sys.stderr)
            os._exit(1)


def train_along(gpus: list[int], rank: int, uid: bytes, task: Task, connection: Connection) -> None:
    """What a process beside the first does: step when told, end when the connection does."""
    for number in SIGNALS:  # the first process decides
        signal.signal(number, signal.SIG_IGN)
    pycaffe.use_devices(gpus, rank)
    solver = task.make_solver()
    if task.start:
        Checkpoints(task.run).restore(solver, task.start)
    data = task.labels.load(task.data) if task.blobs else None
    batches = inputs.fill(solver.net, task.blobs, data, task.seed, task.start, rank, len(gpus))
    join(solver, uid)
    follow(solver, batches, connection, task.seed, rank)


def follow(solver: caffe.SGDSolver, batches, connection: Connection, seed: int, rank: int) -> None:
    """Make a step at each message, until the connection ends; at once if that happens during a step."""
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
    """The device numbers of ``--gpu``; none where it is not given.

    Raises
    ------
    SolverError
        If it is neither numbers with commas between them nor "all", names a device twice or one that is not there, or
        this Caffe knows no GPU (asked all the same, it would abort).
    """
    if text is None:
        return []
    numbers = [part.strip() for part in text.split(",")]
    if text != "all" and not all(part.isdecimal() for part in numbers):
        raise SolverError(f"--gpu {text}: give device numbers such as 0 or 0,1, or all")
    if not has_cuda():
        raise SolverError(f"--gpu {text}: this Caffe was built for the CPU only; leave --gpu out, or build it for GPUs with "
                          "CAFFE_CUDA=1 make setup")
    there = count()
    if not there:
        raise SolverError(f"--gpu {text}: CUDA sees no GPU on this machine (nvidia-smi says why)")
    if text == "all":
        return list(range(there))
    gpus = [int(part) for part in numbers]
    if len(set(gpus)) < len(gpus):
        raise SolverError(f"--gpu {text}: a device is named twice")
    if max(gpus) >= there:
        raise SolverError(f"--gpu {text}: CUDA sees {there} GPU{'s' * (there > 1)}, numbered from 0")
    if len(gpus) > 1 and not caffe.has_nccl():
        raise SolverError(f"--gpu {text}: this Caffe was built without NCCL, so for one GPU only")
    return gpus
