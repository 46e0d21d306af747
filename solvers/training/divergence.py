"""Whether a run has diverged: a loss that is no number or that of clamped probabilities, a gradient beyond its bound."""

import json
import math
from collections.abc import Callable, Iterator

import numpy as np

from base.files import write_atomically
from solvers.errors import SolverError
from solvers.nets import losses
from solvers.nets.phases import layers_in
from solvers.nets.pycaffe import caffe
from solvers.runs.checkpoints import Checkpoints

pb = caffe.proto.caffe_pb2

CLAMPED = -math.log(np.finfo(np.float32).tiny)  # 87.34, -log of the least p that Caffe's losses distinguish from 0
FILE = "diverged.json"
ROUNDING = 1e-3  # of a float32 sum over a batch


def check_of(net: caffe.Net, param: pb.NetParameter, state: pb.NetState,
             checkpoints: Checkpoints) -> Callable[[int, np.ndarray | None], float]:
    """A function of iteration and indices of the batch that returns the loss of the step just made, summed with its weights.

    It raises SolverError where the loss is NaN or infinite, where a whole batch has the loss of clamped probabilities, or
    where the L1 norm of a loss's gradient is more than its weights can make it; the batch is in the run folder's
    diverged.json then.
    """
    weights = {name: weight for name, weight in net.blob_loss_weights.items() if weight}
    logarithmic = {net.top_names[layer.name][0] for layer in filter(losses.is_softmax_loss, layers_in(param, state))}
    bounds = dict(gradient_bounds(net, param, state))

    def check(iteration: int, indices: np.ndarray | None) -> float:
        values = {name: float(net.blobs[name].data.sum()) for name in weights}
        for name, value in values.items():
            clamped = name in logarithmic and value > 0.999 * CLAMPED
            if not math.isfinite(value) or clamped:
                what = f"the loss {name!r} of iteration {iteration} is {value:.6g}"
                raise SolverError(explain(what + ", that of probabilities 0" * clamped, value, iteration, indices))
        for blob, bound in bounds.items():
            norm = float(np.abs(net.blobs[blob].diff).sum())
            if not norm <= bound * (1 + ROUNDING):
                raise SolverError(explain(f"the gradient of {blob!r} of iteration {iteration} has the L1 norm {norm:.6g}, but "
                                          f"its loss can give at most {bound:.6g}", norm, iteration, indices))
        return sum(weight * values[name] for name, weight in weights.items())

    def explain(what: str, value: float, iteration: int, indices: np.ndarray | None) -> str:
        where = ""
        if indices is not None:
            file = checkpoints.folder.parent / FILE
            batch = {"iteration": iteration, "value": repr(value), "images": indices.tolist()}
            write_atomically(file, json.dumps(batch) + "\n")
            where = f" on the images in {file} ({', '.join(map(str, indices[:4]))}, ...)"
        good = checkpoints.newest()
        last = f"the last good checkpoint is {checkpoints.model(good)}" if good else "there is no checkpoint yet"
        return f"training has diverged: {what}{where}; {last}; a lower base_lr may help"

    return check


def gradient_bounds(net: caffe.Net, param: pb.NetParameter, state: pb.NetState) -> Iterator[tuple[str, float]]:
    """The blobs of scores that losses read, and what the L1 norm of the gradient there can be at most."""
    for layer in filter(losses.is_softmax_loss, layers_in(param, state)):
        if layer.type == "SoftmaxWithLoss" and layer.HasField("loss_param"):
            continue  # it may divide by something else
        loss_weight = net.blob_loss_weights[net.top_names[layer.name][0]]
        yield net.bottom_names[layer.name][0], abs(loss_weight) * losses.weighting_of(layer).gradient_bound()
