"""Which layers of a net take part in a phase: the include and exclude rules of a prototxt, applied as Caffe does."""

from collections.abc import Iterator

from solvers.nets.pycaffe import caffe

pb = caffe.proto.caffe_pb2


def train_state(net: pb.NetParameter, solver: pb.SolverParameter) -> pb.NetState:
    """The state in which a solver builds its train net: phase TRAIN, level and stages from the net, then from the solver."""
    state = pb.NetState(phase=pb.TRAIN)
    state.MergeFrom(net.state)
    state.MergeFrom(solver.train_state)
    return state


def layers_in(net: pb.NetParameter, state: pb.NetState | None = None) -> Iterator[pb.LayerParameter]:
    """The layers of `net` that exist in `state`, by default the net's own, in the order of the file."""
    state = state or net.state
    for layer in net.layer:
        if layer.include:
            active = any(_meets(state, rule) for rule in layer.include)
        else:
            active = not any(_meets(state, rule) for rule in layer.exclude)
        if active:
            yield layer


def _meets(state: pb.NetState, rule: pb.NetStateRule) -> bool:
    return not (
        rule.HasField("phase") and rule.phase != state.phase
        or rule.HasField("min_level") and state.level < rule.min_level
        or rule.HasField("max_level") and state.level > rule.max_level
        or set(rule.stage) - set(state.stage)
        or set(rule.not_stage) & set(state.stage)
    )


def nets_of(net: pb.NetParameter, solver: pb.SolverParameter, shared: bool) -> list[pb.NetParameter]:
    """The nets that a solver builds, each with its state, in Caffe's order: the train net, then the test nets.

    Parameters
    ----------
    net : caffe_pb2.NetParameter
        The net that is trained.
    solver : caffe_pb2.SolverParameter
        With its test nets in ``test_net_param``.
    shared : bool
        Whether `net` also serves as the test net for each test_iter that has no net of its own.
    """
    described = [net, *solver.test_net_param]
    described += [net] * (len(solver.test_iter) - len(solver.test_net_param) if shared else 0)
    nets = []
    for number, param in enumerate(described):
        nets.append(pb.NetParameter())
        nets[-1].CopyFrom(param)
        if not number:
            nets[-1].state.CopyFrom(train_state(net, solver))
            continue
        nets[-1].state.phase = pb.TEST
        if number <= len(solver.test_state):
            nets[-1].state.MergeFrom(solver.test_state[number - 1])
    return nets
