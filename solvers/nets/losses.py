"""The loss layers of a net, in C++ or in Python: read their parameters, override them, replace C++ layers by Python ones."""

import json
import os
from collections.abc import Iterator

import layers
from base.did_you_mean import did_you_mean
from base.errors import InputError
from layers import param_str
from layers.table import BY_NAME, CUSTOM, OPTIONS, OWN, ROWS, WEIGHTINGS, Parameter, Row
from layers.weighting import Weighting, parameters_of, row_of, weighting_with
from prototxt.generate import setting_with
from solvers.nets.pycaffe import caffe

pb = caffe.proto.caffe_pb2

LOSSES = ("UnifiedWeightLoss", "WeightedSoftmaxWithLoss")
LAYERS = (*LOSSES, "ExtractProb")
TAKES_ANY = "prototxt/res44_mae"  # a setting whose loss layer takes any weighting


def kind(layer: pb.LayerParameter) -> str | None:
    """Which of our layers this is, in C++ or in Python; None for any other."""
    if layer.type == "Python" and layer.python_param.module == "layers":
        return layer.python_param.layer
    return layer.type if layer.type in LAYERS else None


def is_softmax_loss(layer: pb.LayerParameter) -> bool:
    """Whether this is a loss over the softmax of scores: one of ours, in C++ or in Python, or stock Caffe's."""
    return kind(layer) in LOSSES or layer.type == "SoftmaxWithLoss"


def losses(param: pb.NetParameter) -> Iterator[pb.LayerParameter]:
    """Our loss layers in a net, C++ and Python, in the order of the file."""
    return (layer for layer in param.layer if kind(layer) in LOSSES)


def parameters(layer: pb.LayerParameter) -> dict:
    """The parameters that the prototxt gives to one of our layers, with the names that param_str uses."""
    if layer.type == "Python":
        python = layer.python_param
        try:
            return param_str.read(python.param_str, getattr(layers, python.layer).PARAMETERS)
        except (AttributeError, ValueError) as error:
            raise InputError(f"layer '{layer.name}' (Python): {error}") from error
    loss_param = layer.loss_param
    given = {name: getattr(loss_param, field) for name, field in fields(row(layer)).items() if loss_param.HasField(field)}
    if loss_param.HasField("weighting"):
        given["weighting"] = pb.LossParameter.Weighting.Name(loss_param.weighting)
    if layer.softmax_param.HasField("axis"):
        given["axis"] = layer.softmax_param.axis
    return given


def row(layer: pb.LayerParameter) -> Row | None:
    """The row of layers.table with the weighting of one of our layers; None if the prototxt names no weighting."""
    if kind(layer) == "UnifiedWeightLoss":
        return BY_NAME["DM"]
    if layer.type == "Python":
        return BY_NAME.get(parameters(layer).get("weighting"))
    loss_param = layer.loss_param
    return BY_NAME[pb.LossParameter.Weighting.Name(loss_param.weighting)] if loss_param.HasField("weighting") else None


def fields(of: Row | None) -> dict[str, str]:
    """The field of loss_param for each name in param_str. It depends on the row: DM and SCE have different fields for beta."""
    found = {name: name for name in (*OWN, "ignore_label")}
    for parameter in (*(of.parameters if of else ()), *(parameter for each in ROWS for parameter in each.parameters)):
        found.setdefault(parameter.name, parameter.field or parameter.name)
    return found


def check(layer: pb.LayerParameter) -> None:
    """Check the parameters of one of our layers, C++ or Python, as the Python layers do.

    Raises
    ------
    InputError
        If a name, a type or a value is wrong, or a loss does not have three bottoms.
    """
    parameters(layer)
    if kind(layer) not in LOSSES:
        return
    if len(layer.bottom) != 3:
        raise InputError(f"layer '{layer.name}' ({kind(layer)}) needs 3 bottoms, scores, label and prob_groundtruth "
                         f"(the top of an ExtractProb); it has {len(layer.bottom)}")
    weighting_of(layer)


def weighting_of(layer: pb.LayerParameter) -> Weighting:
    """How a loss layer weighs examples: one of ours, or stock Caffe's SoftmaxWithLoss, which is CCE.

    Raises
    ------
    InputError
        If a parameter is out of range.
    """
    if layer.type == "SoftmaxWithLoss":
        return Weighting("CCE")
    given = parameters(layer)
    where = f"layer '{layer.name}' ({kind(layer)})"
    name = given.get("weighting", "DM")
    if kind(layer) == "UnifiedWeightLoss" and name != "DM":
        raise InputError(f"{where}: its weighting is DM, not {name}; a WeightedSoftmaxWithLoss takes any weighting")
    if layer.type in LOSSES and (meant := _other_field(layer)):
        raise InputError(f"{where}: {meant}")
    try:
        return weighting_with(name, given)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from error


def _other_field(layer: pb.LayerParameter) -> str:
    """An error message if a parameter is given only in another weighting's field, as DM's beta in SCE's `beta`; else ""."""
    given = {field.name for field, _ in layer.loss_param.ListFields()}
    of = row(layer)
    return next((f"{of.name} reads its {parameter.name} from the field {parameter.field}, not {parameter.name}"
                 for parameter in (of.parameters if of else ())
                 if parameter.field and parameter.name in given and parameter.field not in given), "")


def takes(layer: pb.LayerParameter, name: str) -> bool:
    """Whether this loss has the parameter `name`."""
    if name == "weighting":
        return kind(layer) == "WeightedSoftmaxWithLoss"
    of = row(layer)
    return of is not None and name in parameters_of(of)


def override(param: pb.NetParameter, options: dict) -> dict:
    """Write the options into every loss of `param` that takes them.

    A WeightedSoftmaxWithLoss without a weighting in the file or in the options takes that of the environment variable
    CAFFE_WEIGHTING. It is written into the net, so that the net alone determines what is computed.

    Parameters
    ----------
    param : caffe_pb2.NetParameter
        Changed in place.
    options : dict
        From `options.of_loss`: ``weighting``, ``formula``, ``emphasis`` and the parameters that have their own options, each
        None if not given; under ``set`` the parameters given with --set.

    Returns
    -------
    dict
        The values, from options or the environment, that differ from the file's.

    Raises
    ------
    InputError
        If no layer takes an option, a value does not fit, or a WeightedSoftmaxWithLoss is left without a weighting.
    """
    changed = {}
    for layer in losses(param):  # the weighting first: it decides what else is taken
        if takes(layer, "weighting"):
            _change(layer, "weighting", options.get("weighting") or parameters(layer).get("weighting")
                    or weighting_from_environment(layer), changed)
    if (value := options.get("weighting")) and not any(takes(layer, "weighting") for layer in losses(param)):
        raise InputError(f"--weighting {value}: no layer of this net takes it{_which_setting(value)}")
    for name, value in options.items():
        if name not in ("weighting", "set") and value is not None:
            of_option = [layer for layer in losses(param) if takes(layer, name)
                         and (name in OWN or OPTIONS[name] in row(layer).parameters)]
            _change_all(of_option, name, value, changed, f"--{name} {_number(value)}: no layer of this net takes it"
                        f"{_who_takes(OPTIONS.get(name))}")
    for name, value in options.get("set", {}).items():
        takers = [layer for layer in losses(param) if takes(layer, name)]
        taken = list(dict.fromkeys(name for layer in losses(param) if row(layer) for name in parameters_of(row(layer))))
        _change_all(takers, name, value, changed, f"--set {name}={_number(value)}: no layer of this net takes it"
                    f"{did_you_mean(name, taken)} ({'they take ' + ', '.join(taken) if taken else 'they take no parameters'})")
    if not changed:
        return changed
    for layer in losses(param):
        weighting_of(layer)
    # The name of the run's folder follows this order, whatever that of the options is.
    names = parameters_of(row(next(losses(param))))
    order = ["weighting", *OWN, *(OPTIONS if set(names) <= set(OPTIONS) else names), *changed]
    return {name: changed[name] for name in sorted(changed, key=order.index)}


def _number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _change_all(layers_: list[pb.LayerParameter], name: str, value: float | str, changed: dict, nobody: str) -> None:
    if not layers_:
        raise InputError(nobody)
    for layer in layers_:
        _change(layer, name, value, changed)


def _change(layer: pb.LayerParameter, name: str, value: float | str, changed: dict) -> None:
    """Give a layer's parameter a value; where that is another than before, enter it into `changed`."""
    before = parameters(layer).get(name, next((parameter.default for parameter in (row(layer) or BY_NAME["CCE"]).parameters
                                               if parameter.name == name), None))
    if value == before:
        return
    former = row(layer).parameters if name == "weighting" and before else ()
    _set(layer, name, value)
    changed[name] = value
    for parameter in former:
        if parameter not in row(layer).parameters and parameter.name in parameters_of(row(layer)):  # GCE's q is not AUL's
            _clear(layer, parameter.name if layer.type == "Python" else parameter.field or parameter.name)
    for other in OWN:  # formula or emphasis, never both, and only with CUSTOM
        if name == "weighting" and BY_NAME[value].name != CUSTOM or name in OWN and other != name:
            _clear(layer, other)


def weighting_from_environment(layer: pb.LayerParameter) -> str:
    """The weighting that CAFFE_WEIGHTING gives to a layer which has none of its own."""
    value = os.environ.get("CAFFE_WEIGHTING")
    if not value:
        raise InputError(
            f"layer '{layer.name}' (WeightedSoftmaxWithLoss) has no weighting: write loss_param {{ weighting: GCE }} "
            "in the prototxt, or give --weighting or the environment variable CAFFE_WEIGHTING; "
            f"one of {', '.join(WEIGHTINGS)}")
    try:
        row_of(value)
    except ValueError as error:
        raise InputError(f"CAFFE_WEIGHTING: {error}") from error
    return value


def in_use(param: pb.NetParameter) -> dict:
    """The weighting and the parameters of the net's first loss.

    The weighting is None if the layer's type determines it. A parameter with its own option (--beta) that the loss does not
    have is None; a parameter without one is present only if the loss has it.
    """
    nothing = dict.fromkeys(("weighting", *OPTIONS))
    layer = next(losses(param), None)
    if layer is None:
        return nothing
    weighting = weighting_of(layer)
    return nothing | ({"weighting": weighting.name} if takes(layer, "weighting") else {}) | weighting.parameters


def to_python(param: pb.NetParameter) -> None:
    """Replace our C++ layers in `param` by the Python layers that compute the same.

    Raises
    ------
    InputError
        If the net has none of them.
    """
    native = [layer for layer in param.layer if layer.type in LAYERS]
    if not native:
        raise InputError(f"--layers python: this net has none of the layers {', '.join(LAYERS)}")
    for layer in native:
        if layer.type in LOSSES and not layer.loss_weight:
            # Without loss_weight, a C++ loss layer weighs its first top with 1, a Python layer with 0.
            layer.loss_weight[:] = [1.0] + [0.0] * (len(layer.top) - 1)
        # The C++ layers ignore parameters of other losses, e.g. q in a UnifiedWeightLoss; the Python layers refuse them.
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
    elif name == "weighting":
        layer.loss_param.weighting = pb.LossParameter.Weighting.Value(value)
    else:
        setattr(layer.loss_param, fields(row(layer))[name], value)


def _clear(layer: pb.LayerParameter, name: str) -> None:
    if layer.type == "Python":
        layer.python_param.param_str = json.dumps({key: value for key, value in parameters(layer).items() if key != name})
    else:
        layer.loss_param.ClearField(name)


def _which_setting(weighting: str) -> str:
    ours = setting_with(weighting)
    return (" (WeightedSoftmaxWithLoss does); "
            + (f"the setting prototxt/{ours} has this weighting" if ours else f"the setting {TAKES_ANY} takes it"))


def _who_takes(parameter: Parameter | None) -> str:
    if parameter is None:
        return f" (WeightedSoftmaxWithLoss does, as in {TAKES_ANY})"
    [taker] = [each for each in ROWS if parameter in each.parameters]
    others = [name for each in ROWS for name in each.names
              if each is not taker and parameter.name in parameters_of(each)]
    unified = "UnifiedWeightLoss and " * (taker.name == "DM")
    return (f" ({unified}the weighting{'s' * (len(taker.names) > 1)} {' and '.join(taker.names)} "
            f"do{'es' * (len(taker.names) == 1 and not unified)}"
            + (f"; --set {parameter.name}=NUMBER is for {', '.join(others)})" if others else ")"))
