"""Compute the probabilities that a checkpoint's net gives to images, with one process per core.

Several processes with one thread each are faster than one process with several threads (benchmarks/evaluation.py). Threads
wait for each other at every layer, and longer if other work uses a core. Processes take the next images when they are free.
"""

import math
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import connection, get_context, resource_tracker
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from base import isolation, machine
from base.errors import InputError
from data_toolkit import batches
from data_toolkit.dataset import Dataset
from solvers.nets import threads, user_layers, weights
from solvers.nets.pycaffe import caffe, last_words
from solvers.nets.rehearsal import available_memory

pb = caffe.proto.caffe_pb2

BATCH = 64
PART = 4 * BATCH  # images in one task of a process
MOST_PROCESSES = 8  # each needs memory for the images and a net; with more cores, each gets more threads
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def nothing_more() -> None:
    """The default of `confine`: do nothing."""


class Predictor:
    """Computes probabilities; a context manager.

    Parameters
    ----------
    param : caffe_pb2.NetParameter
        From the blob ``data`` to the blob ``probs``, or to its first output.
    sets : dict of str to Dataset
        The images, under names of the caller's choice.
    confine : function, optional
        Confines a process. Called in each process, including this one, once all are started.

    Raises
    ------
    InputError
        If the net cannot be made.
    """

    def __init__(self, param: pb.NetParameter, sets: dict[str, Dataset], confine: Callable[[], None] = nothing_more):
        self._param, self.sets, self._confine = param, sets, confine
        self._open = ExitStack()
        self._workers: dict[connection.Connection, object] = {}

    def __enter__(self) -> "Predictor":
        if cores() > 1:
            self._start()
        self._confine()
        self.net = weights.build(self._param)  # if Caffe refuses the net, it reports the reason here
        return self

    def __exit__(self, *exception: object) -> None:
        self._open.close()

    @property
    def classes(self) -> int:
        """C, the number of an image's probabilities."""
        return math.prod(self.net.blobs[output_of(self.net)].data.shape[1:])

    def __call__(self, model: Path, name: str, count: Callable[[int], None] = lambda images: None) -> NDArray[np.float32]:
        """The probabilities of all images of a set, in its order.

        Parameters
        ----------
        model : Path
            The file with a checkpoint's weights.
        name : str
            The name of the set.
        count : function
            Called after each part with the number of its images.

        Returns
        -------
        (N, C) float32
            N images, C classes.

        Raises
        ------
        InputError
            If the weights are damaged or belong to another net, or a process ends early.
        """
        weights.load(self.net, model)
        total = len(self.sets[name].labels)
        rows = None
        for start, part in self._parts(model, name, total):
            if rows is None:
                rows = np.empty((total, part.shape[1]), np.float32)
            rows[start : start + len(part)] = part
            count(len(part))
        return rows

    def _parts(self, model: Path, name: str, total: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """The probabilities of PART images at a time, each with the index of the first image; the parts come in any order."""
        starts = iter(range(0, total, PART))
        if not self._workers:
            for start in starts:
                with user_layers.blamed(self._param):
                    part = probabilities(self.net, self.sets[name], start)
                yield start, part
            return
        busy = {}
        for worker, start in zip(self._workers, starts, strict=False):
            busy[worker] = start
            self._send(worker, (model, name, start))
        while busy:
            for worker in connection.wait(busy):
                part = self._receive(worker)
                yield busy.pop(worker), part
                if (start := next(starts, None)) is not None:
                    busy[worker] = start
                    self._send(worker, (model, name, start))

    def _start(self) -> None:
        spawn, number, param = get_context("spawn"), min(cores(), MOST_PROCESSES), self._param.SerializeToString()
        available = available_memory()
        memory = available and available // number
        resource_tracker.ensure_running()  # must come first: its start would unblock the signal
        with _environment(dict.fromkeys(THREADS, str(cores() // number))), _blocked(signal.SIGINT):
            for _ in range(number):
                ours, theirs = spawn.Pipe()
                process = spawn.Process(target=_work, args=(theirs, param, self.sets, self._confine, memory), daemon=True)
                process.start()
                theirs.close()
                self._workers[ours] = process
                self._open.callback(process.join)
                self._open.callback(process.terminate)
                self._open.callback(ours.close)

    def _send(self, worker: connection.Connection, task: tuple[Path, str, int]) -> None:
        try:
            worker.send(task)
        except OSError:
            self._raise_end(worker)

    def _receive(self, worker: connection.Connection) -> NDArray[np.float32]:
        try:
            part = worker.recv()
        except (EOFError, OSError):
            self._raise_end(worker)
        if isinstance(part, Exception):
            raise part
        return part

    def _raise_end(self, worker: connection.Connection) -> NoReturn:
        process = self._workers[worker]
        process.join()
        if process.exitcode == 2:  # the process has printed the reason itself
            raise SystemExit(2) from None
        raise InputError(f"a process that computes probabilities ended with {process.exitcode}: is there too little memory? "
                         "--threads 1 uses one process only") from None


def at_batch(param: pb.NetParameter) -> pb.NetParameter:
    """A copy of a net that is fed, with the size of its input ``data`` that `probabilities` sets."""
    changed = pb.NetParameter()
    changed.CopyFrom(param)
    for number, name in enumerate(changed.input):
        if name == "data" and len(changed.input_dim) >= 4 * number + 4:
            changed.input_dim[4 * number] = BATCH
        elif name == "data" and len(changed.input_shape) > number and changed.input_shape[number].dim:
            changed.input_shape[number].dim[0] = BATCH
    for layer in changed.layer:
        shapes = layer.input_param.shape
        if layer.type == "Input" and "data" in layer.top and len(shapes) in (1, len(layer.top)):
            shape = shapes[0] if len(shapes) == 1 else shapes[list(layer.top).index("data")]
            if shape.dim:
                shape.dim[0] = BATCH
    return changed


def cores() -> int:
    """The number of cores to use: that of Caffe's threads, but at most the cores available to this process."""
    return min(threads.count(), machine.processors())


def output_of(net: caffe.Net) -> str:
    """The blob with the probabilities. InputError if there is none, or no blob that takes images."""
    if "data" not in net.blobs or not net.outputs:
        raise InputError("the net has no blob 'data' to take images, or no output to give probabilities")
    return "probs" if "probs" in net.blobs else net.outputs[0]


def probabilities(net: caffe.Net, images: Dataset, start: int) -> NDArray[np.float32]:
    """The probabilities of up to PART images from index `start` on: (at most PART, C) float32. No flip, centre crop."""
    part = Dataset(images.images[start : start + PART], images.labels[start : start + PART])
    output = output_of(net)
    net.outputs_only = output in net.outputs  # halves the memory of ResNet-44
    rows = []
    for data, _ in batches.test_batches(part, batch_size=BATCH):
        net.blobs["data"].reshape(*data.shape)
        net.blobs["data"].data[...] = data
        net.forward()
        if net.blobs[output].data.shape[:1] != (len(data),):
            shape = net.blobs[output].data.shape
            raise InputError(f"the net's output {output!r} has the shape {shape} for {len(data)} images")
        rows.append(net.blobs[output].data.reshape(len(data), -1).copy())
    return np.concatenate(rows)


def _work(parent: connection.Connection, param: bytes, sets: dict[str, Dataset], confine: Callable[[], None],
          memory: int | None) -> None:
    """The main function of a process: compute each task from the parent until the connection closes.

    It may use at most `memory` bytes, its share of the available memory.
    """
    confine()
    if memory is not None:
        isolation.limit_memory(memory)
    loaded = None
    with last_words("nothing more is measured"):
        try:
            described = pb.NetParameter.FromString(param)
            net = weights.build(described)
            while True:
                model, name, start = parent.recv()
                try:
                    if model != loaded:
                        weights.load(net, model)
                        loaded = model
                    with user_layers.blamed(described):
                        answer = probabilities(net, sets[name], start)
                except Exception as error:  # raised by a Python layer
                    answer = error
                parent.send(answer)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            pass


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """While the context is open, started processes get these environment variables."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _blocked(number: signal.Signals) -> Iterator[None]:
    """While the context is open, started processes get a signal blocked: Ctrl-C must reach only the parent."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [number])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
