"""The loss layers of a net, C++ and Python seen alike: their parameters read, overridden, moved between the two."""

import json
import os
from collections.abc import Iterator

import layers
from layers import param_str
from layers.weighting import WEIGHTINGS, Weighting
from prototxt.generate import setting_with
from solvers.engine import caffe
from solvers.errors import SolverError

pb = caffe.proto.caffe_pb2

LOSSES = ("UnifiedWeightLoss", "WeightedSoftmaxWithLoss")
LAYERS = (*LOSSES, "ExtractProb")

# The names of the options and of param_str -> those of loss_param.
FIELDS = {"weighting": "weighting", "beta": "scale", "lambda": "lamda_p", "q": "q", "ignore_label": "ignore_label"}
DEFAULTS = {"beta": 1.0, "lambda": 1.0, "q": 0.7}


def kind(layer: pb.LayerParameter) -> str | None:
    """Which of our layers this is, in C++ or in Python; None for any other."""
    if layer.type == "Python" and layer.python_param.module == "layers":
        return layer.python_param.layer
    return layer.type if layer.type in LAYERS else None


def is_softmax_loss(layer: pb.LayerParameter) -> bool:
    """Whether this is a loss over the softmax of scores: one of ours, in C++ or in Python, or stock Caffe's."""
    return kind(layer) in LOSSES or layer.type == "SoftmaxWithLoss"


def losses(net: pb.NetParameter) -> Iterator[pb.LayerParameter]:
    return (layer for layer in net.layer if kind(layer) in LOSSES)


def parameters(layer: pb.LayerParameter) -> dict:
    """The parameters that the file gives one of our layers, by the names of param_str."""
    if layer.type == "Python":
        python = layer.python_param
        try:
            return param_str.read(python.param_str, getattr(layers, python.layer).PARAMETERS)
        except (AttributeError, ValueError) as error:
            raise SolverError(f"layer '{layer.name}' (Python): {error}") from error
    loss_param = layer.loss_param
    given = {name: getattr(loss_param, field) for name, field in FIELDS.items() if loss_param.HasField(field)}
    if "weighting" in given:
        given["weighting"] = pb.LossParameter.Weighting.Name(given["weighting"])
    if layer.softmax_param.HasField("axis"):
        given["axis"] = layer.softmax_param.axis
    return given


def check(layer: pb.LayerParameter) -> None:
    """Check the parameters of one of our layers, C++ or Python, as the Python layers do.

    Raises
    ------
    SolverError
        If a name, a type or a value is wrong, or a loss has not its three bottoms.
    """
    parameters(layer)
    if kind(layer) not in LOSSES:
        return
    if len(layer.bottom) != 3:
        raise SolverError(f"layer '{layer.name}' ({kind(layer)}) needs 3 bottoms, scores, label and prob_groundtruth "
                          f"(the top of an ExtractProb); it has {len(layer.bottom)}")
    weighting_of(layer)


def weighting_of(layer: pb.LayerParameter) -> Weighting:
    """How a loss layer weighs examples: one of ours, or stock Caffe's SoftmaxWithLoss, which is CCE.

    Raises
    ------
    SolverError
        If a parameter is out of range.
    """
    if layer.type == "SoftmaxWithLoss":
        return Weighting("CCE")
    values = DEFAULTS | parameters(layer)
    try:
        return Weighting(values.get("weighting", "DM"), q=values["q"], lam=values["lambda"], beta=values["beta"])
    except ValueError as error:
        raise SolverError(f"layer '{layer.name}' ({kind(layer)}): {error}") from error


def takes(layer: pb.LayerParameter, name: str) -> bool:
    """Whether a parameter means anything to this loss."""
    if kind(layer) == "UnifiedWeightLoss":
        return name in ("beta", "lambda")
    weighting = parameters(layer).get("weighting", "")
    return {"weighting": True, "q": weighting.startswith("GCE")}.get(name, weighting == "DM")


def override(net: pb.NetParameter, options: dict) -> dict:
    """Write the options into every loss of `net` that takes them.

    A WeightedSoftmaxWithLoss that neither file nor option gives a weighting gets it from CAFFE_WEIGHTING, in writing:
    the net then says all that it computes.

    Parameters
    ----------
    net : caffe_pb2.NetParameter
        Changed in place.
    options : dict
        ``weighting``, ``beta``, ``lambda``, ``q``; None where not given.

    Returns
    -------
    dict
        Those values, given or from the environment, that differ from the file.

    Raises
    ------
    SolverError
        If no layer takes an option, or a WeightedSoftmaxWithLoss is left without a weighting.
    """
    changed = {}
    for name in ("weighting", "beta", "lambda", "q"):  # the weighting first: it decides what else is taken
        value = options[name]
        takers = [layer for layer in losses(net) if takes(layer, name)]
        if value is not None and not takers:
            raise SolverError(f"--{name} {value}: no layer of this net takes it{_who_takes(name, value)}")
        for layer in takers:
            before = parameters(layer).get(name, DEFAULTS.get(name))
            after = value if value is not None else before
            if name == "weighting" and after is None:
                after = weighting_from_environment(layer)
            if after != before:
                _set(layer, name, after)
                changed[name] = after
    return changed


def weighting_from_environment(layer: pb.LayerParameter) -> str:
    """The weighting that CAFFE_WEIGHTING gives to a layer which has none of its own."""
    value = os.environ.get("CAFFE_WEIGHTING")
    if not value:
        raise SolverError(
            f"layer '{layer.name}' (WeightedSoftmaxWithLoss) has no weighting: write loss_param {{ weighting: GCE }} "
            "in the prototxt, or give --weighting or the environment variable CAFFE_WEIGHTING; "
            f"one of {', '.join(WEIGHTINGS)}")
    try:
        return Weighting(value).name
    except ValueError as error:
        raise SolverError(f"CAFFE_WEIGHTING: {error}") from error


def in_use(net: pb.NetParameter) -> dict:
    """The values that the net's first loss computes with: None for what does not apply to it."""
    layer = next(losses(net), None)
    return {name: {**DEFAULTS, **parameters(layer)}[name] if layer is not None and takes(layer, name) else None
            for name in ("weighting", "beta", "lambda", "q")}


def to_python(net: pb.NetParameter) -> None:
    """Replace our C++ layers in `net` by the Python layers that compute the same.

    Raises
    ------
    SolverError
        If the net has none of them.
    """
    native = [layer for layer in net.layer if layer.type in LAYERS]
    if not native:
        raise SolverError(f"--layers python: this net has none of the layers {', '.join(LAYERS)}")
    for layer in native:
        if layer.type in LOSSES and not layer.loss_weight:
            # A C++ loss layer weighs its first top 1 unless told otherwise, a Python layer 0.
            layer.loss_weight[:] = [1.0] + [0.0] * (len(layer.top) - 1)
        # The C++ layers ignore what they have no use for, e.g. the q of a UnifiedWeightLoss; the Python layers do not.
        known = getattr(layers, layer.type).PARAMETERS
        given = {name: value for name, value in parameters(layer).items() if name in known}
        layer.python_param.CopyFrom(
            pb.PythonParameter(module="layers", layer=layer.type, param_str=json.dumps(given)))
        layer.type = "Python"
        layer.ClearField("loss_param")
        layer.ClearField("softmax_param")


def _set(layer: pb.LayerParameter, name: str, value: float | str) -> None:
    if layer.type == "Python":
        layer.python_param.param_str = json.dumps({**parameters(layer), name: value})
    else:
        number = pb.LossParameter.Weighting.Value(value) if name == "weighting" else value
        setattr(layer.loss_param, FIELDS[name], number)


def _who_takes(name: str, value: float | str) -> str:
    if name == "weighting":
        return f" (WeightedSoftmaxWithLoss does); the setting prototxt/{setting_with(value)} has this weighting"
    return {"q": " (the weightings GCE and GCE_DN do)"}.get(
        name, " (UnifiedWeightLoss and the weighting DM do)")
