"""Whether a run has diverged: a loss not finite or that of probabilities clamped at 0, or a gradient above its bound."""

import json
import math
from collections.abc import Iterator

import numpy as np

from base.errors import InputError
from base.writing import write_atomically
from layers.weighting import Weighting
from solvers.nets import losses
from solvers.nets.built_net import BuiltNet
from solvers.nets.pycaffe import caffe
from solvers.runs.folder import RunFolder

pb = caffe.proto.caffe_pb2

CLAMPED = float(np.finfo(np.float32).tiny)  # the losses take p as at least this in a logarithm
FILE = "diverged.json"
ROUNDING = 1e-3  # relative, of a float32 sum over a batch


class LossCheck:
    """Reads the loss of each step, and ends a run that has diverged.

    Parameters
    ----------
    train_net : BuiltNet
    folder : RunFolder
        The run folder. If the run diverges, the batch is written into its diverged.json.
    """

    def __init__(self, train_net: BuiltNet, folder: RunFolder):
        self.net, self.folder = train_net.net, folder
        self.loss_weights = {name: weight for name, weight in self.net.blob_loss_weights.items() if weight}
        self.clamped = dict(clamped_values(train_net))
        self.bounds = dict(gradient_bounds(train_net))

    def __call__(self, iteration: int, indices: np.ndarray | None) -> float:
        """The loss of the last step: the sum of the net's losses times their loss weights.

        Parameters
        ----------
        iteration : int
        indices : (B,) int64 or None
            The indices of the batch's images in the data set.

        Raises
        ------
        InputError
            If a loss is NaN or infinite; if the probabilities of a whole batch are clamped at 0; or if the L1 norm of a
            loss's gradient is above the bound of its weighting. The batch is then in the run folder's diverged.json.
        """
        values = {name: float(self.net.blobs[name].data.sum()) for name in self.loss_weights}
        if found := self._divergence(iteration, values):
            raise InputError(self._report(*found, iteration, indices))
        return sum(weight * values[name] for name, weight in self.loss_weights.items())

    def _divergence(self, iteration: int, values: dict[str, float]) -> tuple[str, float] | None:
        """What has diverged, as the beginning of a message, and its value; None if nothing has."""
        for name, value in values.items():
            clamped = value > 0.999 * self.clamped.get(name, math.inf)
            if not math.isfinite(value) or clamped:
                what = f"the loss {name!r} of iteration {iteration} is {value:.6g}"
                return what + ", the loss of probabilities clamped at 0" * clamped, value
        for blob, bound in self.bounds.items():
            norm = float(np.abs(self.net.blobs[blob].diff).sum())
            if not norm <= bound * (1 + ROUNDING):
                return (f"the gradient of {blob!r} of iteration {iteration} has the L1 norm {norm:.6g}, but "
                        f"its loss can give at most {bound:.6g}"), norm
        return None

    def _report(self, what: str, value: float, iteration: int, indices: np.ndarray | None) -> str:
        """Write the batch into diverged.json in the run folder; return the error message."""
        where = ""
        if indices is not None:
            file = self.folder.path / FILE
            batch = {"iteration": iteration, "value": repr(value), "images": indices.tolist()}
            write_atomically(file, json.dumps(batch) + "\n")
            where = f" on the images in {file} ({', '.join(map(str, indices[:4]))}, ...)"
        good = self.folder.checkpoints.newest()
        last = f"the last good checkpoint is {self.folder.checkpoints.model(good)}" if good else "there is no checkpoint yet"
        return f"training has diverged: {what}{where}; {last}; a lower base_lr may help"


def clamped_values(train_net: BuiltNet) -> Iterator[tuple[str, float]]:
    """For each loss that grows without bound as p goes to 0: its blob, and its value if all p of a batch are clamped."""
    for layer, weighting in _weightings(train_net):
        small, clamped = weighting.distance(np.array([1e-30, CLAMPED]))
        if clamped > 1.01 * small:
            yield train_net.net.top_names[layer.name][0], float(clamped)


def gradient_bounds(train_net: BuiltNet) -> Iterator[tuple[str, float]]:
    """For each loss of the net: the blob with its scores, and the largest possible L1 norm of the gradient there."""
    for layer, weighting in _weightings(train_net):
        loss_weight = train_net.net.blob_loss_weights[train_net.net.top_names[layer.name][0]]
        yield train_net.net.bottom_names[layer.name][0], abs(loss_weight) * weighting.gradient_bound()


def _weightings(train_net: BuiltNet) -> Iterator[tuple[pb.LayerParameter, Weighting]]:
    """The losses of the net whose value and gradient are those of a weighting."""
    for layer in train_net.losses:
        if layer.type != "SoftmaxWithLoss" or not layer.HasField("loss_param"):  # that may choose another normaliser
            yield layer, losses.weighting_of(layer)
