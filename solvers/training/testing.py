"""Tests of a net while it trains: on CIFAR-100's test images, or on the data that its solver's test nets read.

    test.csv    iteration, test_accuracy (a column for each output of the test nets that is one number)

Tests do not change the training: the random numbers of a step depend on seed and step alone.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from base.errors import InputError
from base.terminal import say
from data_toolkit import dataset
from solvers.evaluation import inference, test_nets
from solvers.nets import weights
from solvers.nets.pycaffe import caffe
from solvers.runs.logs import read_last

pb = caffe.proto.caffe_pb2

FILE = "test.csv"


class Tester:
    """Tests the current weights of a solver, in test nets that share them.

    Parameters
    ----------
    solver : caffe.SGDSolver
    interval : int
        Steps from one test to the next.
    nets : sequence of caffe.Net
        The test nets.
    names : sequence of str
        The names of the results, such as "accuracy".
    measure : function
        Returns the results of the nets, by name.

    Attributes
    ----------
    reading : list of (caffe.Net, int)
        The test nets that read their own data, each with the number of batches in a test.
    kind : type
        The type of a row of test.csv, for `logs.CsvLog`.

    Raises
    ------
    InputError
        If a test net has layers or shapes of weights that the trained net does not have.
    """

    def __init__(self, solver: caffe.SGDSolver, interval: int, nets: Sequence[caffe.Net], names: Sequence[str],
                 measure: Callable[[], dict[str, float]], reading: Sequence[tuple[caffe.Net, int]] = ()):
        self.reading = list(reading)
        self.solver, self.interval, self.nets, self.measure = solver, interval, nets, measure
        columns = {re.sub(r"\W", "_", f"test_{name}"): name for name in names}
        self.kind = NamedTuple("Tested", [("iteration", int), *((column, float) for column in columns)])
        self.kind.TAGS = {column: f"test/{name}" for column, name in columns.items()}
        self.kind.FORMATS = dict.fromkeys(columns, ".6g")
        trained = {name: [tuple(blob.data.shape) for blob in blobs] for name, blobs in solver.net.params.items()}
        for net in nets:
            for name, blobs in net.params.items():
                if trained.get(name) != [tuple(blob.data.shape) for blob in blobs]:
                    raise InputError(f"the layer '{name}' of the test net has other weights than the net that is trained")

    def __call__(self, iteration: int) -> tuple:
        """Test the net; return the row for test.csv."""
        for net in self.nets:
            net.share_with(self.solver.net)
        found = self.measure()
        return self.kind(iteration, *(found[tag.removeprefix("test/")] for tag in self.kind.TAGS.values()))


def is_due(tester: Tester | None, run: Path, start: int) -> bool:
    """Whether the test after step `start` was not made, as a signal had ended the run in that step."""
    if not tester or not start or start % tester.interval:
        return False
    last = read_last(run / FILE, tester.kind)
    return last is None or last.iteration < start


def describe(row: tuple) -> str:
    """A row of test.csv in words, for the terminal."""
    return ", ".join(f"{tag.replace('/', ' ')} {getattr(row, column):.4f}" for column, tag in row.TAGS.items())


def tester_of(solver: caffe.SGDSolver, run: Path, data: Path, interval: int | None,
              given: pb.SolverParameter) -> Tester | None:
    """A tester for a run; None if neither `interval` nor the solver's test_interval asks for tests.

    Parameters
    ----------
    solver : caffe.SGDSolver
    run : Path
        The run folder, with its prototxts.
    data : Path
        The folder of the data, for nets that are fed.
    interval : int or None
        The value of --test-interval.
    given : caffe_pb2.SolverParameter
        The solver as in its file, with its test_interval.

    Raises
    ------
    InputError
        If `interval` is given, but there is nothing to test, or the test images are missing. If only the solver's file asks
        for tests, a printed note replaces the error.
    """
    if not (interval or given.test_interval):
        return None
    try:
        described = test_nets.read(run)
        make = _fed if described[0].batches is None else _unfed
        return make(solver, interval or given.test_interval, described, data)
    except InputError as error:
        if interval:
            raise
        say(f"note: not tested while it trains: {error}")
        return None


def _fed(solver: caffe.SGDSolver, interval: int, described: list[test_nets.TestNet], data: Path) -> Tester:
    """The tester for a net from images to probabilities, which is fed with the test images."""
    test = dataset.load_test(data)
    net = weights.build(described[0].param)

    def measure() -> dict[str, float]:
        starts = range(0, len(test.labels), inference.PART)
        probabilities = np.concatenate([inference.probabilities(net, test, start) for start in starts])
        return {"accuracy": float(np.mean(probabilities.argmax(axis=1) == test.labels))}

    return Tester(solver, interval, [net], ["accuracy"], measure)


def _unfed(solver: caffe.SGDSolver, interval: int, described: list[test_nets.TestNet], _: Path) -> Tester:
    """The tester for the solver's test nets, which read their own data. As in Caffe, each test goes on after the last one."""
    nets = list(solver.test_nets)
    if len(nets) != len(described):
        raise InputError("the solver has no test_iter: add test_iter: N, the number of batches with all images of a test net")
    tops = [test_nets.measured_tops(net.param, made) for net, made in zip(described, nets, strict=True)]
    tops = [{top: f"{number}:{name}" if number else name for top, name in names.items() if nets[number].blobs[top].count == 1}
            for number, names in enumerate(tops)]
    if not any(tops):
        raise InputError("the test nets have neither an accuracy nor a loss")

    def measure() -> dict[str, float]:
        sums = dict.fromkeys((name for names in tops for name in names.values()), 0.0)
        for net, names, (_, batches) in zip(nets, tops, described, strict=True):
            for _ in range(batches):
                net.forward()
                for top, name in names.items():
                    sums[name] += float(net.blobs[top].data.sum()) / batches
        return sums

    return Tester(solver, interval, nets, list(dict.fromkeys(name for names in tops for name in names.values())), measure,
                  [(net, count) for net, (_, count) in zip(nets, described, strict=True)])
