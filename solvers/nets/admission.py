"""The check that every net and solver passes before Caffe gets it: nets may come from people who are not trusted."""

import difflib
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from base.did_you_mean import did_you_mean
from base.errors import InputError
from solvers.nets import data_layers, losses, rehearsal, user_layers
from solvers.nets.permissions import Permissions
from solvers.nets.phases import layers_in
from solvers.nets.pycaffe import caffe

pb = caffe.proto.caffe_pb2

OURS = "layers"
SOLVERS = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam")
NEED_OPENCV = ("ImageData", "WindowData")
POLICIES = ("fixed", "step", "exp", "inv", "multistep", "poly", "sigmoid")
MOST = 1 << 24  # the largest whole number in a net: with larger ones, Caffe's own arithmetic overflows
MOST_LAYERS = 10_000
MOST_READING = 100  # the most layers that read data: each may name a list of millions of files
LEAST = {"iter_size": 1, "max_iter": 1, "average_loss": 1, "snapshot": 0, "test_interval": 0, "test_iter": 1, "stepvalue": 0,
         "display": 0}
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # a terminal executes some of them
_WHOLE = {FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT32,
          FieldDescriptor.CPPTYPE_UINT64}


def admit(name: Path, net_params: Sequence[pb.NetParameter], allowed: Permissions, solver: pb.SolverParameter | None = None,
          weights: Iterable[str] = (), devices: Sequence[int] = (), rehearse: bool = True) -> None:
    """Check nets, and the solver that trains the first of them, before anything is written and before Caffe gets them.

    Checked of the layers of all phases:

    - their types are known and none of them writes files; their Python modules are ours or allowed, and can be imported;
    - they contain no weights (``blobs``), no text in them has control characters, and their whole numbers are at most MOST;
    - the files that they read, and the files that such a file lists, exist, are regular files, and lie in allowed folders;

    Checked of the layers that take part in a net's state:

    - each blob that a layer reads is made by exactly one layer before it; the parameters of our losses are valid;
    - Caffe can build them in a separate, confined process within the available memory; data layers can read a first batch;
      labels are smaller than the number of the net's outputs; HDF5 files contain their arrays and do not link to other files.

    Checked of a solver: its type, its learning rate policy and its numbers. Afterwards Caffe must be given `prototext.text` of
    these same messages, never the user's file: Caffe's parser may read that file in another way.

    Parameters
    ----------
    name : Path
        The folder of the setting or of the run, for error messages. Python modules are looked for in it.
    net_params : sequence of caffe_pb2.NetParameter
        Each with phase, level and stages in its ``state``.
    allowed : Permissions
        The modules that may run and the folders that may be read.
    solver : caffe_pb2.SolverParameter, optional
        From `solver_param.for_caffe`. The nets that it builds come first in `net_params`, ordered as by
        `phases.net_params_of`.
    weights : iterable of str
        The ``weights`` of the solver: caffemodel files that training starts from.
    devices : sequence of int
        The device numbers of the run's GPUs; empty for the CPU.
    rehearse : bool
        Whether Caffe builds the nets for a trial; False where the caller does so itself.

    Raises
    ------
    InputError
        At the first mistake. The message names the layer and suggests the right word where a similar one is known.
    """
    if solver is not None:
        check_solver(solver)
    for param in net_params:
        if len(param.layer) > MOST_LAYERS:
            raise InputError(f"{name}: a net has {len(param.layer)} layers; at most {MOST_LAYERS} are taken")
        for layer in param.layer:
            _check_harmless(layer, allowed)
        reading = sum(layer.type in data_layers.PARAMETERS for layer in param.layer)
        if reading > MOST_READING:
            raise InputError(f"{name}: a net has {reading} layers that read data; at most {MOST_READING} are taken")
    allowed.check_paths(net_params, weights)
    for param in net_params:
        check_net(param)
        user_layers.check(param, name)
    if rehearse:
        rehearsal.rehearse(name, net_params, solver, devices)


def check_solver(solver: pb.SolverParameter) -> None:
    """Check the values of a solver file that parsed without an error.

    Raises
    ------
    InputError
        If Caffe does not know its type or policy, or if a number is out of range.
    """
    for field, known in (("type", SOLVERS), ("lr_policy", POLICIES), ("regularization_type", ("L1", "L2"))):
        value = getattr(solver, field)
        if value not in known:
            raise InputError(f"the solver's {field} is {value!r}, which is none of {', '.join(known)}"
                             f"{did_you_mean(value, known)}")
    for field, value in solver.ListFields():
        if field.name in LEAST and any(number < LEAST[field.name] for number in (value if field.is_repeated else [value])):
            raise InputError(f"the solver's {field.name} is {value}; it must be at least {LEAST[field.name]}")
        if field.cpp_type == field.CPPTYPE_FLOAT and not math.isfinite(value):
            raise InputError(f"the solver's {field.name} is {value}, which is not a finite number")
    if solver.lr_policy == "step" and solver.stepsize < 1:
        raise InputError(f"the solver's stepsize is {solver.stepsize}, but lr_policy step needs one of at least 1")
    if not -1 <= solver.random_seed < 2**32:
        raise InputError(f"the solver's random_seed is {solver.random_seed}; it must be from 0 to {2**32 - 1}")
    steps = list(solver.stepvalue)
    if steps != sorted(set(steps)):
        raise InputError(f"the solver's stepvalues must increase; they are {steps}")


def _check_harmless(layer: pb.LayerParameter, allowed: Permissions) -> None:
    """Check that a layer, of any phase, runs no code, writes no file and contains no weights."""
    _check_values(layer, f"layer {layer.name!r}")
    where = f"layer '{layer.name}' ({layer.type})"
    module = layer.python_param.module
    if layer.type == "Python" and module not in (OURS, *allowed.modules):
        raise InputError(f"{where} would run code of the module {module!r}: give --allow-module {module} if you trust the "
                         "net")
    if layer.type == "HDF5Output":
        raise InputError(f"{where} would write {layer.hdf5_output_param.file_name!r}: remove it; a run writes only into its "
                         "own folder")
    if layer.blobs:
        raise InputError(f"{where} brings weights along (blobs): a net's weights must come from a caffemodel")
    if layer.type == "Data" and layer.data_param.prefetch < 1:
        raise InputError(f"{where} has prefetch: 0 and would wait for ever: give at least 1")


def _check_values(message: Message, where: str) -> None:
    """Check all texts and whole numbers in a message and in the messages inside it."""
    for field, value in message.ListFields():
        for item in value if field.is_repeated else [value]:
            if field.cpp_type == field.CPPTYPE_MESSAGE:
                if field.name != "blobs":
                    _check_values(item, where)
            elif field.cpp_type in _WHOLE and abs(item) > MOST and field.name != "ignore_label":
                raise InputError(f"{where}: {field.name} is {item}; at most {MOST} is taken")
            elif field.cpp_type == field.CPPTYPE_STRING and CONTROL.search(item) and not (
                    field.name == "param_str" and not CONTROL.search(re.sub(r"[\n\r\t]", "", item))):
                raise InputError(f"{where}: {field.name} has control characters: {item!r}")


def check_net(param: pb.NetParameter, state: pb.NetState | None = None) -> None:
    """Check the layers that a net has in `state` (default: the net's own): types, and the blobs that they read and make.

    Raises
    ------
    InputError
        If a type is unknown, a blob is read before a layer makes it, or two layers make the same blob. The message names the
        layer and suggests the right word where a similar one is known.
    """
    check_types(param.layer)
    available = set(param.input)
    for layer in layers_in(param, state):
        if losses.kind(layer):
            losses.check(layer)
        if len(layer.propagate_down) not in (0, len(layer.bottom)):
            raise InputError(f"layer '{layer.name}' has {len(layer.bottom)} bottoms but {len(layer.propagate_down)} "
                             "propagate_down: give one each, or none")
        for bottom in layer.bottom:
            if bottom not in available:
                raise InputError(f"layer '{layer.name}' reads the blob {bottom!r}, which no layer before it makes"
                                 f"{did_you_mean(bottom, available)}")
        for top in layer.top:
            if top in available and top not in layer.bottom:
                raise InputError(f"layer '{layer.name}' makes the blob {top!r}, which another layer made before")
        available.update(layer.top)
        data_layers.check(layer)
    if not available:
        raise InputError(f"the net has no layers in its phase {pb.Phase.Name((state or param.state).phase)}")


def check_types(layers: Iterable[pb.LayerParameter]) -> None:
    """Raise InputError, with the most similar known types, if this Caffe lacks the type of a layer."""
    known = list(caffe.layer_type_list())
    for layer in layers:
        if layer.type in NEED_OPENCV and layer.type not in known:
            raise InputError(f"layer '{layer.name}' ({layer.type}) needs a Caffe with OpenCV: "
                             "CAFFE_OPENCV=1 make setup")
        if layer.type not in known:
            raise InputError(f"layer '{layer.name}' has the unknown type {layer.type!r}; the nearest known types are "
                             f"{', '.join(nearest_types(layer.type, known))}")


def nearest_types(name: str, known: Iterable[str]) -> list[str]:
    """The three known types most similar to `name`: words that begin alike count most (Normalization, BatchNorm)."""
    def words(name: str) -> set[str]:
        return {word[:4].lower() for word in re.findall("[A-Z]?[a-z]+|[A-Z]+", name)}

    def nearness(other: str) -> tuple[int, float]:
        letters = difflib.SequenceMatcher(None, name[:100].lower(), other.lower()).ratio()
        return len(words(name[:100]) & words(other)), letters

    return sorted(known, key=nearness, reverse=True)[:3]
