"""Which layers of a net take part in a phase: the include and exclude rules of a prototxt, as Caffe applies them."""

from collections.abc import Iterator

from solvers.engine import caffe

pb = caffe.proto.caffe_pb2


def train_state(net: pb.NetParameter, solver: pb.SolverParameter) -> pb.NetState:
    """The state in which a solver builds its train net: phase TRAIN, then what net and solver say."""
    state = pb.NetState(phase=pb.TRAIN)
    state.MergeFrom(net.state)
    state.MergeFrom(solver.train_state)
    return state


def layers_in(net: pb.NetParameter, state: pb.NetState) -> Iterator[pb.LayerParameter]:
    """The layers of `net` that exist in `state`, in the order of the file."""
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
