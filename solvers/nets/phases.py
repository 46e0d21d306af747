"""Which layers of a net take part in a phase: the include and exclude rules of a prototxt, applied as Caffe does."""

from collections.abc import Iterator

from solvers.nets.pycaffe import caffe

pb = caffe.proto.caffe_pb2


def train_state(param: pb.NetParameter, solver: pb.SolverParameter) -> pb.NetState:
    """The state in which a solver builds its train net: phase TRAIN, level and stages from the net, then from the solver."""
    state = pb.NetState(phase=pb.TRAIN)
    state.MergeFrom(param.state)
    state.MergeFrom(solver.train_state)
    return state


def layers_in(param: pb.NetParameter, state: pb.NetState | None = None) -> Iterator[pb.LayerParameter]:
    """The layers of `param` that exist in `state`, by default the net's own, in the order of the file."""
    state = state or param.state
    for layer in param.layer:
        if layer.include:
            active = any(_meets(state, rule) for rule in layer.include)
        else:
            active = not any(_meets(state, rule) for rule in layer.exclude)
        if active:
            yield layer


def inputs_of(param: pb.NetParameter, state: pb.NetState | None = None) -> list[str]:
    """The names of the net's inputs: of the old fields for them, then of its Input layers in `state`."""
    return [*param.input, *(top for layer in layers_in(param, state) if layer.type == "Input" for top in layer.top)]


def _meets(state: pb.NetState, rule: pb.NetStateRule) -> bool:
    return not (
        rule.HasField("phase") and rule.phase != state.phase
        or rule.HasField("min_level") and state.level < rule.min_level
        or rule.HasField("max_level") and state.level > rule.max_level
        or set(rule.stage) - set(state.stage)
        or set(rule.not_stage) & set(state.stage)
    )


def net_params_of(param: pb.NetParameter, solver: pb.SolverParameter, shared: bool) -> list[pb.NetParameter]:
    """The nets that a solver builds, each with its state, in Caffe's order: the train net, then the test nets.

    Parameters
    ----------
    param : caffe_pb2.NetParameter
        The net that is trained.
    solver : caffe_pb2.SolverParameter
        With its test nets in ``test_net_param``.
    shared : bool
        Whether it also serves as the test net for each test_iter that has no net of its own.
    """
    found = [param, *solver.test_net_param]
    found += [param] * (len(solver.test_iter) - len(solver.test_net_param) if shared else 0)
    net_params = []
    for number, one in enumerate(found):
        net_params.append(pb.NetParameter())
        net_params[-1].CopyFrom(one)
        if not number:
            net_params[-1].state.CopyFrom(train_state(param, solver))
            continue
        net_params[-1].state.phase = pb.TEST
        if number <= len(solver.test_state):
            net_params[-1].state.MergeFrom(solver.test_state[number - 1])
    return net_params
