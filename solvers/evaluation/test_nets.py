"""The nets with which solvers.evaluate measures a run: one fed with CIFAR-100, or the test nets of the run's solver."""

import hashlib
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from base.errors import InputError
from solvers.evaluation import classifier
from solvers.nets import admission, data_layers, losses, prototext, setting, weights
from solvers.nets.phases import layers_in, net_params_of
from solvers.nets.pycaffe import caffe

pb = caffe.proto.caffe_pb2


class TestNet(NamedTuple):
    """A net to measure with.

    Attributes
    ----------
    param : caffe_pb2.NetParameter
        With phase, level and stages in its ``state``.
    batches : int or None
        How many batches of its own data a test takes (the solver's test_iter). None for a net that our driver feeds.
    """

    __test__ = False  # pytest must not collect this class

    param: pb.NetParameter
    batches: int | None = None


def read(run: Path) -> list[TestNet]:
    """The test nets of a run folder. An error says why solvers.evaluate cannot measure the run.

    A run whose net is fed with images, or that has a test.prototxt, has one net: that of `classifier.read`. Any other run has
    its solver's test nets, in Caffe's order.

    Raises
    ------
    InputError
        If there is none, a number of batches is missing, or `admission.check_net` refuses a net.
    """
    train = setting.read_net(run / "train.prototxt")
    if is_classifier(run, train):
        return [TestNet(classifier.read(run))]
    solver = prototext.read(run / "solver.prototxt", pb.SolverParameter())
    setting.put_test_nets_in(solver, run / "solver.prototxt")
    shared = solver.HasField("net")
    if not solver.test_net_param and not shared:
        raise InputError("the net reads its own data, and the solver names none to test: write net or test_net in place of "
                         "train_net")
    if shared and not solver.test_net_param and not solver.test_iter:
        solver.test_iter.append(0)
    nets = []
    for number, param in enumerate(net_params_of(train, solver, shared)[1:]):
        if not any(layer.type in data_layers.PARAMETERS or not layer.bottom for layer in layers_in(param)):
            raise InputError("the net reads its own data, but none in its TEST phase: give it a data layer with "
                             "include { phase: TEST }, or the solver a test_net")
        admission.check_net(param)
        if number >= len(solver.test_iter) or solver.test_iter[number] < 1:
            raise InputError(f"{run / 'solver.prototxt'} has no test_iter for this net's data: add test_iter: N, the "
                             "batches that are all its images, there and in the setting's solver")
        nets.append(TestNet(param, solver.test_iter[number]))
    return nets


def is_classifier(run: Path, train: pb.NetParameter) -> bool:
    """Whether a run, whose net is `train`, is measured by a net from images to probabilities; others read their own data."""
    is_fed = bool(train.input) or any(layer.type == "Input" for layer in train.layer)
    return is_fed or (run / "test.prototxt").is_file()


def measure(nets: Iterable[TestNet], model: Path,
            done: Callable[[int], None] = lambda batches: None) -> dict[str, float | list[float]]:
    """The accuracies and losses of the nets with a checkpoint's weights: means over all batches.

    Each net starts with the first batch of its data, so that all checkpoints are measured on the same images. `done` is called
    with the number of batches as they are done.

    Returns
    -------
    dict
        The means, by the names of `measured_tops`; a list where a top has several values, such as accuracies of classes. In
        the names of a second and further nets, the number of the net comes first: 1:accuracy.

    Raises
    ------
    InputError
        If a net has neither an accuracy nor a loss, or the weights belong to another net.
    """
    results = {}
    for number, (param, count) in enumerate(nets):
        net = _with_weights(param, model)
        names = measured_tops(param, net)
        if not names:
            raise InputError("the net has neither an accuracy nor a loss in its TEST phase")
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
    """The labels and the predictions that a test net's first Accuracy layer (or softmax loss) compares, over all batches.

    Returns
    -------
    labels, predicted : (N,) int64
        Without images whose label is the layer's ignore_label.
    classes : int
        The number of classes that the net scores.

    Raises
    ------
    InputError
        If the net has neither an Accuracy layer nor a softmax loss, or the weights belong to another net.
    """
    param, batches = described
    layers = list(layers_in(param))
    judge = next((layer for layer in layers if layer.type == "Accuracy"), None) or next(
        filter(losses.is_softmax_loss, layers), None)
    if judge is None:
        raise InputError("accuracies of classes need an Accuracy layer, or a softmax loss, in the net's TEST phase")
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
    """A new net with a checkpoint's weights; its data layers start with their first batch."""
    caffe.set_random_seed(0)
    net = weights.build(param)
    weights.load(net, model)
    return net


def measured_tops(param: pb.NetParameter, net: caffe.Net) -> dict[str, str]:
    """The outputs of a net that are accuracies, then those that are losses, each with the name under which it is reported.

    One of them is named "accuracy", which solvers.compare reads: the top of that name, else the first one with top_k 1, else
    the first.
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
    """A SHA-256 that changes if the nets' test data do: the numbers of batches, and paths, sizes and times of files."""
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
