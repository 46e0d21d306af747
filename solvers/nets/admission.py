"""The one entry of nets and solvers that somebody else wrote: Caffe is handed nothing that has not passed it."""

import difflib
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from base.did_you_mean import did_you_mean
from solvers.errors import SolverError
from solvers.nets import data_layers, losses, rehearsal, user_layers
from solvers.nets.permissions import Permissions
from solvers.nets.phases import layers_in
from solvers.nets.pycaffe import caffe

pb = caffe.proto.caffe_pb2

OURS = "layers"
SOLVERS = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam")
NEED_OPENCV = ("ImageData", "WindowData")
POLICIES = ("fixed", "step", "exp", "inv", "multistep", "poly", "sigmoid")
MOST = 1 << 24  # of any whole number in a net; larger ones overflow in what Caffe computes from them
MOST_LAYERS = 10_000
MOST_READING = 100  # of them; each may name a list of millions of files
LEAST = {"iter_size": 1, "max_iter": 1, "average_loss": 1, "snapshot": 0, "test_interval": 0, "test_iter": 1, "stepvalue": 0,
         "display": 0}
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # none belongs into a name; a terminal obeys some
_WHOLE = {FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT32,
          FieldDescriptor.CPPTYPE_UINT64}


def admit(name: Path, nets: Sequence[pb.NetParameter], allowed: Permissions, solver: pb.SolverParameter | None = None,
          weights: Iterable[str] = (), devices: Sequence[int] = (), rehearse: bool = True) -> None:
    """Check nets, and the solver that trains the first of them, before anything is written and Caffe sees them.

    When it returns, this has been checked, of the layers of all phases:

    - their types are known and none of them writes files; their Python modules are ours or allowed, and can be imported;
    - they bring no weights (``blobs``) along, no text in them has control characters, and their numbers are small enough for
      Caffe to count with;
    - what they read, and the files that this names, is there, is regular, and lies in a folder that is allowed;

    and of those that take part in a net's state:

    - what they read is made before and once; parameters of our losses are right;
    - Caffe can make them, in a process of its own that is confined, with the memory that there is; they read a first batch;
      labels are outputs of the net; HDF5 files hold their content themselves.

    Of a solver: type, policy and numbers. Caffe is then to be given `prototext.text` of these very messages, never a file
    of the user's, which its parser may read in another way.

    Parameters
    ----------
    name : Path
        What errors call it: the folder of the setting or of the run. Modules are looked for in it.
    nets : sequence of caffe_pb2.NetParameter
        Each with phase, level and stages in its ``state``.
    allowed : Permissions
    solver : caffe_pb2.SolverParameter, optional
        From `run.for_caffe`; the nets that it makes are the first of `nets`, as `phases.nets_of` says.
    weights : iterable of str
        Files that the solver begins with.
    devices : sequence of int
        The GPUs of the run; none for the CPU.
    rehearse : bool
        Whether Caffe makes the nets: not where the caller sees to that.

    Raises
    ------
    SolverError
        Naming the layer and, where one is near, the word that was meant.
    """
    if solver is not None:
        check_solver(solver)
    for net in nets:
        if len(net.layer) > MOST_LAYERS:
            raise SolverError(f"{name}: a net has {len(net.layer)} layers; at most {MOST_LAYERS} are taken")
        for layer in net.layer:
            _check_harmless(layer, allowed)
        reading = sum(layer.type in data_layers.PARAMETERS for layer in net.layer)
        if reading > MOST_READING:
            raise SolverError(f"{name}: a net has {reading} layers that read data; at most {MOST_READING} are taken")
    allowed.check_paths(nets, weights)
    for net in nets:
        check_net(net, net.state)
        user_layers.check(net, name)
    if rehearse:
        rehearsal.rehearse(name, nets, solver, devices)


def check_solver(solver: pb.SolverParameter) -> None:
    """Check what a solver file can get wrong without failing to parse.

    Raises
    ------
    SolverError
        If type, policy or a number is none that Caffe can work with.
    """
    for field, known in (("type", SOLVERS), ("lr_policy", POLICIES), ("regularization_type", ("L1", "L2"))):
        value = getattr(solver, field)
        if value not in known:
            raise SolverError(f"the solver's {field} is {value!r}, which is none of {', '.join(known)}"
                              f"{did_you_mean(value, known)}")
    for field, value in solver.ListFields():
        if field.name in LEAST and any(number < LEAST[field.name] for number in (value if field.is_repeated else [value])):
            raise SolverError(f"the solver's {field.name} is {value}; it must be at least {LEAST[field.name]}")
        if field.cpp_type == field.CPPTYPE_FLOAT and not math.isfinite(value):
            raise SolverError(f"the solver's {field.name} is {value}, which is not a finite number")
    if solver.lr_policy == "step" and solver.stepsize < 1:
        raise SolverError(f"the solver's stepsize is {solver.stepsize}, but lr_policy step needs one of at least 1")
    if not -1 <= solver.random_seed < 2**32:
        raise SolverError(f"the solver's random_seed is {solver.random_seed}; it must be from 0 to {2**32 - 1}")
    steps = list(solver.stepvalue)
    if steps != sorted(set(steps)):
        raise SolverError(f"the solver's stepvalues must increase; they are {steps}")


def _check_harmless(layer: pb.LayerParameter, allowed: Permissions) -> None:
    """Check what a layer, of any phase, brings along."""
    _check_values(layer, f"layer {layer.name!r}")
    where = f"layer '{layer.name}' ({layer.type})"
    module = layer.python_param.module
    if layer.type == "Python" and module not in (OURS, *allowed.modules):
        raise SolverError(f"{where} would run code of the module {module!r}: give --allow-module {module} if you trust the "
                          "net")
    if layer.type == "HDF5Output":
        raise SolverError(f"{where} would write {layer.hdf5_output_param.file_name!r}: remove it; a run writes only into its "
                          "own folder")
    if layer.blobs:
        raise SolverError(f"{where} brings weights along (blobs): a net's weights come from a caffemodel")
    if layer.type == "Data" and layer.data_param.prefetch < 1:
        raise SolverError(f"{where} has prefetch: 0, with which it would wait for ever: at least 1")


def _check_values(message: Message, where: str) -> None:
    """Check all texts and whole numbers in a message, however deep."""
    for field, value in message.ListFields():
        for item in value if field.is_repeated else [value]:
            if field.cpp_type == field.CPPTYPE_MESSAGE:
                if field.name != "blobs":
                    _check_values(item, where)
            elif field.cpp_type in _WHOLE and abs(item) > MOST and field.name != "ignore_label":
                raise SolverError(f"{where}: {field.name} is {item}; at most {MOST} is taken")
            elif field.cpp_type == field.CPPTYPE_STRING and CONTROL.search(item) and not (
                    field.name == "param_str" and not CONTROL.search(re.sub(r"[\n\r\t]", "", item))):
                raise SolverError(f"{where}: {field.name} has control characters: {item!r}")


def check_net(net: pb.NetParameter, state: pb.NetState) -> None:
    """Check the layers of a net: their types, and that what they read exists and is made once.

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
        data_layers.check(layer)
    if not available:
        raise SolverError(f"the net has no layers in its phase {pb.Phase.Name(state.phase)}")


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
        letters = difflib.SequenceMatcher(None, name[:100].lower(), other.lower()).ratio()
        return len(words(name[:100]) & words(other)), letters

    return sorted(known, key=nearness, reverse=True)[:3]
