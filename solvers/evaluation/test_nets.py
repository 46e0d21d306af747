"""The nets by which solvers.evaluate measures a run: one fed with CIFAR-100, or the test nets of its solver."""

import hashlib
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from solvers.errors import SolverError
from solvers.evaluation import classifier
from solvers.nets import admission, data_layers, losses, prototext, setting, weights
from solvers.nets.phases import layers_in, nets_of
from solvers.nets.pycaffe import caffe

pb = caffe.proto.caffe_pb2


class TestNet(NamedTuple):
    """A net to measure by.

    Attributes
    ----------
    param : caffe_pb2.NetParameter
        With phase, level and stages in its ``state``.
    batches : int or None
        How many batches of its own data are tested: the solver's test_iter. None for a net from images to probabilities.
    """

    __test__ = False  # not one of pytest's

    param: pb.NetParameter
    batches: int | None = None


def read(run: Path) -> list[TestNet]:
    """The nets of a run folder. Whatever it raises is why solvers.evaluate cannot measure the run.

    A run that is fed with images, or has a test.prototxt, has one net, its classifier. Else they are its solver's test
    nets, in Caffe's order.

    Raises
    ------
    SolverError
        If there is none, a number of batches is missing, or `admission.check_net` refuses a net.
    """
    train = setting.read_net(run / "train.prototxt")
    if (run / "test.prototxt").is_file() or _is_fed(train):
        return [TestNet(classifier.read(run))]
    solver = prototext.read(run / "solver.prototxt", pb.SolverParameter())
    setting.put_test_nets_in(solver, run / "solver.prototxt")
    shared = solver.HasField("net")
    if not solver.test_net_param and not shared:
        raise SolverError("the net reads its own data, and the solver names none to test: write net or test_net in place of "
                          "train_net")
    if shared and not solver.test_net_param and not solver.test_iter:
        solver.test_iter.append(0)
    nets = []
    for number, net in enumerate(nets_of(train, solver, shared)[1:]):
        if not any(layer.type in data_layers.PARAMETERS or not layer.bottom for layer in layers_in(net)):
            raise SolverError("the net reads its own data, but none in its TEST phase: give it a data layer with "
                              "include { phase: TEST }, or the solver a test_net")
        admission.check_net(net)
        if number >= len(solver.test_iter) or solver.test_iter[number] < 1:
            raise SolverError(f"{run / 'solver.prototxt'} has no test_iter for this net's data: add test_iter: N, the "
                              "batches that are all its images")
        nets.append(TestNet(net, solver.test_iter[number]))
    return nets


def _is_fed(net: pb.NetParameter) -> bool:
    return bool(net.input) or any(layer.type == "Input" for layer in net.layer)


def measure(nets: Iterable[TestNet], model: Path,
            done: Callable[[int], None] = lambda batches: None) -> dict[str, float | list[float]]:
    """What a checkpoint's weights reach: the means over all batches of the nets' accuracies and losses.

    Each net begins anew with the first of its data, so that every checkpoint is measured on the same. `done` is called with
    each number of batches that are done.

    Returns
    -------
    dict
        By the names of `measured_tops`; a list where a top has several values, as accuracies by class. Those of a second
        net and further ones begin with its number: 1:accuracy.

    Raises
    ------
    SolverError
        If a net has no such top, or the weights are not its own.
    """
    results = {}
    for number, (param, count) in enumerate(nets):
        net = _with_weights(param, model)
        names = measured_tops(param, net)
        if not names:
            raise SolverError("the net has neither an accuracy nor a loss in its TEST phase")
        sums = {top: np.zeros(net.blobs[top].data.size) for top in names}
        for _ in range(count):
            net.forward()
            for top, total in sums.items():
                total += net.blobs[top].data.reshape(-1)
            done(1)
        for top, total in sums.items():
            means = [float(value) for value in total / count]
            results[f"{number}:{names[top]}" if number else names[top]] = means[0] if len(means) == 1 else means
    return results


def predictions(described: TestNet, model: Path, done: Callable[[int], None]) -> tuple[NDArray, NDArray, int]:
    """What a checkpoint's weights take the images of a test net for: what its first Accuracy layer compares.

    Returns
    -------
    labels, predicted : (N,) int64
        Without those whose label is the layer's ignore_label.
    classes : int
        How many the net scores.

    Raises
    ------
    SolverError
        If the net has neither an Accuracy layer nor a softmax loss, or the weights are not its own.
    """
    param, batches = described
    layers = list(layers_in(param))
    judge = next((layer for layer in layers if layer.type == "Accuracy"), None) or next(
        filter(losses.is_softmax_loss, layers), None)
    if judge is None:
        raise SolverError("accuracies of classes need an Accuracy layer, or a softmax loss, in the net's TEST phase")
    if judge.type == "Accuracy":
        about = {field.name: value for field, value in judge.accuracy_param.ListFields()}
    else:
        about = losses.parameters(judge)
    axis = about.get("axis", 1)
    net = _with_weights(param, model)
    labels, predicted = [], []
    for _ in range(batches):
        net.forward()
        scores = net.blobs[judge.bottom[0]].data
        classes = scores.shape[axis]
        predicted.append(scores.argmax(axis=axis).ravel())
        labels.append(net.blobs[judge.bottom[1]].data.astype(np.int64).ravel())
        done(1)
    labels, predicted = np.concatenate(labels), np.concatenate(predicted)
    counted = labels != about.get("ignore_label")
    return labels[counted], predicted[counted], classes


def _with_weights(param: pb.NetParameter, model: Path) -> caffe.Net:
    """A net at the first of its data, with a checkpoint's weights."""
    caffe.set_random_seed(0)
    net = weights.build(param)
    weights.load(net, model)
    return net


def measured_tops(param: pb.NetParameter, net: caffe.Net) -> dict[str, str]:
    """The outputs of a net that are accuracies, then those that are losses, and the names under which they are reported.

    One accuracy is called just that, as solvers.compare reads it: the top of that name, else the first that counts the
    best score alone, else the first.
    """
    accuracies, losses, main = [], [], []
    for layer in layers_in(param):
        kind = layer.python_param.layer if layer.type == "Python" else layer.type
        tops = [top for top in layer.top if top in net.outputs]
        if kind == "Accuracy":
            accuracies += tops
            main += [(top != "accuracy", layer.accuracy_param.top_k > 1, top) for top in tops if net.blobs[top].data.size == 1]
        elif kind.endswith("Loss") or any(layer.loss_weight):
            losses += [top for top in tops if net.blobs[top].data.size == 1]  # not the probabilities of a softmax loss
    names = {top: re.sub(r"[^\w.-]", "_", top) for top in accuracies + losses}
    return names | ({min(main, key=lambda found: found[:2])[2]: "accuracy"} if main else {})


def fingerprint(nets: Iterable[TestNet]) -> str:
    """SHA-256 of what tells whether the nets would still be tested on the same: batches, and files with size and time."""
    sha = hashlib.sha256()
    for param, count in nets:
        sha.update(f"{count}\n".encode())
        for layer in layers_in(param):
            source = data_layers.source(layer)
            for path in [source, *data_layers.listed(layer)] if source else []:
                state = os.stat(path) if os.path.exists(path) else None
                about = (path, state.st_size, state.st_mtime_ns) if state and not os.path.isdir(path) else (path,)
                sha.update(repr(about).encode())
    return sha.hexdigest()
