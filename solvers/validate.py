"""Find what is wrong with a net or a solver before Caffe does: its checks end the process, these name the cause."""

import difflib
import re
from collections.abc import Iterable
from pathlib import Path

from layers.did_you_mean import did_you_mean
from solvers import data_layers, losses
from solvers.engine import caffe
from solvers.errors import SolverError
from solvers.phases import layers_in

pb = caffe.proto.caffe_pb2

SOLVERS = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam")
NEED_OPENCV = ("ImageData", "WindowData")
POLICIES = ("fixed", "step", "exp", "inv", "multistep", "poly", "sigmoid")


def check_solver(solver: pb.SolverParameter) -> None:
    """Check what a solver file can get wrong without failing to parse.

    Raises
    ------
    SolverError
        If type or lr_policy is unknown, or the stepvalues do not increase.
    """
    for field, known in (("type", SOLVERS), ("lr_policy", POLICIES)):
        value = getattr(solver, field)
        if value not in known:
            raise SolverError(f"the solver's {field} is {value!r}, which is none of {', '.join(known)}"
                              f"{did_you_mean(value, known)}")
    steps = list(solver.stepvalue)
    if steps != sorted(set(steps)):
        raise SolverError(f"the solver's stepvalues must increase; they are {steps}")


def check_net(net: pb.NetParameter, state: pb.NetState) -> None:
    """Check the layers of a net: their types, and that what they read exists and is made once.

    Parameters
    ----------
    net : caffe_pb2.NetParameter
    state : caffe_pb2.NetState

    Raises
    ------
    SolverError
        Naming the layer and, where one is near, the word that was meant.
    """
    check_types(net.layer)
    available = set(net.input)
    for layer in layers_in(net, state):
        if losses.kind(layer):
            losses.check(layer)
        if len(layer.propagate_down) not in (0, len(layer.bottom)):
            raise SolverError(f"layer '{layer.name}' has {len(layer.bottom)} bottoms but {len(layer.propagate_down)} "
                              "propagate_down: give one each, or none")
        for bottom in layer.bottom:
            if bottom not in available:
                raise SolverError(f"layer '{layer.name}' reads the blob {bottom!r}, which no layer before it makes"
                                  f"{did_you_mean(bottom, available)}")
        for top in layer.top:
            if top in available and top not in layer.bottom:
                raise SolverError(f"layer '{layer.name}' makes the blob {top!r}, which another layer made before")
        available.update(layer.top)
        source = data_layers.source(layer)
        if source and not Path(source).exists():
            raise SolverError(f"layer '{layer.name}' ({layer.type}) reads {source}, which does not exist, neither in the "
                              f"setting's folder nor in the working directory ({Path.cwd()})")
        lost = (name for name in data_layers.listed(layer) if layer.type != "Data" and not Path(name).exists())
        if name := next(lost, None):
            raise SolverError(f"layer '{layer.name}' ({layer.type}) reads {source}, which names {name}: that does not exist, "
                              f"seen from the working directory ({Path.cwd()}); whole paths are found from everywhere")


def check_types(layers: Iterable[pb.LayerParameter]) -> None:
    """Check that this Caffe has the type of every layer; raise SolverError that names the nearest it has."""
    known = list(caffe.layer_type_list())
    for layer in layers:
        if layer.type in NEED_OPENCV and layer.type not in known:
            raise SolverError(f"layer '{layer.name}' ({layer.type}) needs a Caffe with OpenCV: "
                              "CAFFE_OPENCV=1 make setup")
        if layer.type not in known:
            raise SolverError(f"layer '{layer.name}' has the unknown type {layer.type!r}; the nearest known types are "
                              f"{', '.join(nearest_types(layer.type, known))}")


def nearest_types(name: str, known: Iterable[str]) -> list[str]:
    """Three types that share beginnings of words with `name` (Norm of Normalization and BatchNorm), else letters."""
    def words(name: str) -> set[str]:
        return {word[:4].lower() for word in re.findall("[A-Z]?[a-z]+|[A-Z]+", name)}

    def nearness(other: str) -> tuple[int, float]:
        letters = difflib.SequenceMatcher(None, name.lower(), other.lower()).ratio()
        return len(words(name) & words(other)), letters

    return sorted(known, key=nearness, reverse=True)[:3]
