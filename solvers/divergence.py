"""Whether a run has diverged: a loss that is no number, or that of probabilities which Caffe had to clamp."""

import json
import math
from collections.abc import Callable

import numpy as np

from data_toolkit.files import write_atomically
from solvers import losses
from solvers.checkpoints import Checkpoints
from solvers.engine import caffe
from solvers.errors import SolverError
from solvers.phases import layers_in

pb = caffe.proto.caffe_pb2

CLAMPED = -math.log(np.finfo(np.float32).tiny)  # 87.34, -log of the least p that Caffe's losses distinguish from 0
FILE = "diverged.json"


def check_of(net: caffe.Net, param: pb.NetParameter, state: pb.NetState,
             checkpoints: Checkpoints) -> Callable[[int, np.ndarray | None], float]:
    """A function of iteration and indices of the batch that returns the loss of the step just made, summed with its weights.

    It raises SolverError where the loss is NaN or infinite, or where a whole batch has the loss of clamped probabilities;
    the batch is in the run folder's diverged.json then.
    """
    weights = {name: weight for name, weight in net.blob_loss_weights.items() if weight}
    logarithmic = {layer.top[0] for layer in layers_in(param, state)
                   if (losses.kind(layer) or layer.type) in (*losses.LOSSES, "SoftmaxWithLoss")}

    def check(iteration: int, indices: np.ndarray | None) -> float:
        values = {name: float(net.blobs[name].data.sum()) for name in weights}
        for name, value in values.items():
            clamped = name in logarithmic and value > 0.999 * CLAMPED
            if not math.isfinite(value) or clamped:
                raise SolverError(explain(name, value, iteration, indices))
        return sum(weight * values[name] for name, weight in weights.items())

    def explain(name: str, value: float, iteration: int, indices: np.ndarray | None) -> str:
        what = f"the loss {name!r} of iteration {iteration} is {value:.6g}"
        if math.isfinite(value):
            what += ", that of probabilities 0"
        where = ""
        if indices is not None:
            file = checkpoints.folder.parent / FILE
            batch = {"iteration": iteration, "loss": repr(value), "images": indices.tolist()}
            write_atomically(file, json.dumps(batch) + "\n")
            where = f" on the images in {file} ({', '.join(map(str, indices[:4]))}, ...)"
        good = checkpoints.newest()
        last = f"the last good checkpoint is {checkpoints.model(good)}" if good else "there is no checkpoint yet"
        return f"training has diverged: {what}{where}; {last}; a lower base_lr may help"

    return check
