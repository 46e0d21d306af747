"""Learning dynamics: the mean p of examples with clean and with noisy labels, and each group's share of the gradient."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_toolkit.dataset import Dataset
from layers.softmax_loss import softmax
from layers.weighting import Weighting
from solvers.nets import losses
from solvers.nets.built_net import BuiltNet
from solvers.nets.pycaffe import caffe
from solvers.runs.logs import read_log

pb = caffe.proto.caffe_pb2

DYNAMICS_FILE = "dynamics.csv"


class Dynamics(NamedTuple):
    """The learning dynamics of one training batch. A mean or a share is NaN where the batch has no such examples.

    Attributes
    ----------
    iteration : int
    clean, noisy : int
        Numbers of examples whose given label is the true one, and whose is not.
    clean_p, noisy_p : float
        Mean p of these examples. p is the probability that the net gives to the given label, true or not.
    clean_share, noisy_share : float
        Their share of the batch's sum of emphasis, the L1 norm of an example's gradient with respect to its scores. The two
        shares sum to 1.
    """

    iteration: int
    clean: int
    noisy: int
    clean_p: float
    noisy_p: float
    clean_share: float
    noisy_share: float

    TAGS = {name: f"dynamics/{name}" for name in ("clean_p", "noisy_p", "clean_share", "noisy_share")}
    FORMATS = dict.fromkeys(TAGS, ".6g")


def measure(iteration: int, p: np.ndarray, noisy: np.ndarray, weighting: Weighting) -> Dynamics:
    """The dynamics of a batch of B examples.

    Parameters
    ----------
    iteration : int
    p : (B,) float32 or float64
        The probabilities that the net gives to the examples' labels.
    noisy : (B,) bool
        True where the label is not the true one.
    weighting : Weighting
        The weighting of the loss. Its normaliser cancels out, being the same for all examples of a batch.
    """
    emphasis = weighting.emphasis(p.astype(np.float64))
    total = emphasis.sum()
    means = [p[side].mean(dtype=np.float64) if side.any() else np.nan for side in (~noisy, noisy)]
    shares = [emphasis[side].sum() / total if total else np.nan for side in (~noisy, noisy)]
    return Dynamics(iteration, int((~noisy).sum()), int(noisy.sum()), *map(float, means), *map(float, shares))


class Observer:
    """Measures the batch of the last training step. It reads blobs that the step has computed and computes nothing else.

    Parameters
    ----------
    net : caffe.Net
        The net that is trained.
    loss : caffe_pb2.LayerParameter
        The loss layer to measure: one of ours, or SoftmaxWithLoss.
    data : Dataset
        The training set. Its true labels must be known.
    interval : int
        Steps from one measurement to the next.
    """

    def __init__(self, net: caffe.Net, loss: pb.LayerParameter, data: Dataset, interval: int):
        self.interval = interval
        self.weighting = losses.weighting_of(loss)
        self.labels, self.noisy = data.labels, data.labels != data.true_labels
        self.ignored = losses.parameters(loss).get("ignore_label")
        # The third bottom of our losses, prob_groundtruth, holds p. SoftmaxWithLoss has none: p comes from the scores.
        self.scores, self.p = net.blobs[loss.bottom[0]], net.blobs[loss.bottom[2]] if len(loss.bottom) > 2 else None

    def __call__(self, iteration: int, indices: np.ndarray) -> Dynamics:
        """Measure the last step.

        Parameters
        ----------
        iteration : int
        indices : (B,) int64
            The indices of the batch's images in the data set.
        """
        labels = self.labels[indices]
        if self.p is None:
            p = softmax(self.scores.data.reshape(len(labels), -1), axis=1)[np.arange(len(labels)), labels]
        else:
            p = self.p.data.reshape(len(labels))
        counted = np.ones(len(labels), bool) if self.ignored is None else labels != self.ignored
        return measure(iteration, p[counted], self.noisy[indices[counted]], self.weighting)


def observer(train_net: BuiltNet, data: Dataset, interval: int) -> Observer | None:
    """An observer of the net's first softmax loss layer; None where its dynamics cannot be measured.

    They cannot if the true labels are unknown, the net has no softmax loss, or the loss does not take exactly one label and
    one vector of scores for each image.
    """
    if not train_net.losses or data.true_labels is None:
        return None
    net, loss = train_net.net, train_net.losses[0]
    images = len(net.blobs["data"].data)
    scores, label = (net.blobs[name].data for name in loss.bottom[:2])
    one_each = label.size == images and scores.shape[0] == images and scores.size == images * scores.shape[1]
    return Observer(net, loss, data, interval) if one_each else None


def interval_of(folder: Path, start: int) -> int | None:
    """The steps from one row of a run's dynamics.csv to the next; None if there is no row up to step `start`."""
    first = next(iter(read_log(folder / DYNAMICS_FILE, Dynamics)), None)
    return first.iteration if first and first.iteration <= start else None


def is_whole(folder: Path, start: int, interval: int) -> bool:
    """Whether a run's dynamics.csv has all rows up to step `start`. Rows are missing if the true labels were unknown then."""
    rows, expected = read_log(folder / DYNAMICS_FILE, Dynamics), range(interval, start + 1, interval)
    return len(rows) >= len(expected) and all(row.iteration == step for row, step in zip(rows, expected, strict=False))


def means(values: np.ndarray, window: int) -> np.ndarray:
    """The means over each `window` rows, without NaN: (N, C) -> (ceil(N / window), C). The last mean may be of fewer rows."""
    parts = np.split(values, range(window, len(values), window))
    with np.errstate(invalid="ignore"):
        sums = [np.nansum(part, axis=0) / (~np.isnan(part)).sum(axis=0) for part in parts]
    return np.array(sums)
