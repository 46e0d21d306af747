"""Learning dynamics: the probability that a net gives to clean and to noisy labels, and each side's share of the gradient."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.special import softmax

from data_toolkit.dataset import Dataset
from layers.weighting import Weighting
from solvers.nets import losses
from solvers.nets.phases import layers_in
from solvers.nets.pycaffe import caffe
from solvers.runs.logs import read_log

pb = caffe.proto.caffe_pb2

FILE = "dynamics.csv"


class Dynamics(NamedTuple):
    """What one training batch tells; NaN where it has no such examples.

    Attributes
    ----------
    iteration : int
    clean, noisy : int
        Examples whose label is the true one, and others.
    clean_p, noisy_p : float
        Mean p, the probability given to the label, true or not.
    clean_share, noisy_share : float
        Their part of the sum of the L1 norms of the examples' gradients with respect to the scores: 1 together.
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
        The probabilities given to the labels.
    noisy : (B,) bool
        Which labels are not the true ones.
    weighting : Weighting
        Of the loss. Its normaliser is the same for all examples of a batch, so it does not matter here.
    """
    emphasis = weighting.emphasis(p.astype(np.float64))
    total = emphasis.sum()
    means = [p[side].mean(dtype=np.float64) if side.any() else np.nan for side in (~noisy, noisy)]
    shares = [emphasis[side].sum() / total if total else np.nan for side in (~noisy, noisy)]
    return Dynamics(iteration, int((~noisy).sum()), int(noisy.sum()), *map(float, means), *map(float, shares))


class Observer:
    """Measures the batch that a net was just stepped on, from blobs that the step leaves anyway.

    Parameters
    ----------
    net : caffe.Net
    loss : caffe_pb2.LayerParameter
        The loss layer to look at: one of ours, or SoftmaxWithLoss.
    data : Dataset
        With true labels.
    interval : int
        Steps from one measurement to the next.
    """

    def __init__(self, net: caffe.Net, loss: pb.LayerParameter, data: Dataset, interval: int):
        self.interval = interval
        self.weighting = losses.weighting_of(loss)
        self.labels, self.noisy = data.labels, data.labels != data.true_labels
        self.ignored = losses.parameters(loss).get("ignore_label")
        # Ours reads p of the labels from its third bottom.
        self.scores, self.p = net.blobs[loss.bottom[0]], net.blobs[loss.bottom[2]] if len(loss.bottom) > 2 else None

    def __call__(self, iteration: int, indices: np.ndarray) -> Dynamics:
        """Measure.

        Parameters
        ----------
        iteration : int
        indices : (B,) int64
            The batch's images in the data set.
        """
        labels = self.labels[indices]
        if self.p is None:
            p = softmax(self.scores.data.reshape(len(labels), -1), axis=1)[np.arange(len(labels)), labels]
        else:
            p = self.p.data.reshape(len(labels))
        counted = np.ones(len(labels), bool) if self.ignored is None else labels != self.ignored
        return measure(iteration, p[counted], self.noisy[indices[counted]], self.weighting)


def observer(net: caffe.Net, param: pb.NetParameter, state: pb.NetState, data: Dataset, interval: int) -> Observer | None:
    """An observer of the net's first loss layer; None where there is nothing to observe.

    That is so where the true labels are unknown, the loss is neither one of ours nor SoftmaxWithLoss, or it does not
    take one label and one vector of scores an image.
    """
    loss = next(filter(losses.is_softmax_loss, layers_in(param, state)), None)
    if loss is None or data.true_labels is None:
        return None
    images = len(net.blobs["data"].data)
    scores, label = (net.blobs[name].data for name in loss.bottom[:2])
    one_each = label.size == images and scores.shape[0] == images and scores.size == images * scores.shape[1]
    return Observer(net, loss, data, interval) if one_each else None


def is_whole(folder: Path, start: int, interval: int) -> bool:
    """Whether a run's dynamics.csv has all rows up to step `start`; not so if the true labels were unknown for a while."""
    rows, expected = read_log(folder / FILE, Dynamics), range(interval, start + 1, interval)
    return len(rows) >= len(expected) and all(row.iteration == step for row, step in zip(rows, expected, strict=False))
