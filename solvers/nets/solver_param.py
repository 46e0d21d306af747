"""A solver's parameters for a run: which are filled in, which are cleared because our driver does that job itself."""

from solvers.nets.pycaffe import caffe
from solvers.nets.setting import Setting

pb = caffe.proto.caffe_pb2


def for_caffe(setting: Setting, solver: pb.SolverParameter, snapshot_prefix: str = "") -> pb.SolverParameter:
    """The solver with its train net inside. Its tests and ``weights`` are switched off: our driver does both itself."""
    whole = pb.SolverParameter()
    whole.CopyFrom(solver)
    getattr(whole, "net_param" if setting.shared_net else "train_net_param").CopyFrom(setting.net_param)
    if whole.test_interval or whole.test_iter:  # see testing.py
        whole.test_interval, whole.test_initialization = 2**31 - 1, False
    whole.ClearField("weights")
    whole.snapshot_prefix = snapshot_prefix
    return whole


def resolved(given: pb.SolverParameter, seed: int | None, max_iter: int | None,
                   gpus: list[int]) -> pb.SolverParameter:
    """The solver of a run: seed, last step and device filled in; snapshots cleared, since our driver writes the checkpoints.

    The seed must be in it because Caffe prefers it to a seed set before; max_iter because lr_policy poly divides by it.
    """
    solver = pb.SolverParameter()
    solver.CopyFrom(given)
    for field in ("snapshot", "snapshot_format", "snapshot_prefix", "device_id"):
        solver.ClearField(field)
    if seed is not None or given.random_seed < 0:
        solver.random_seed = 123 if seed is None else seed
    solver.max_iter = max_iter or given.max_iter or 30000
    solver.solver_mode = pb.SolverParameter.GPU if gpus else pb.SolverParameter.CPU
    if gpus:
        solver.device_id = gpus[0]
    return solver


def lasting(solver: pb.SolverParameter) -> pb.SolverParameter:
    """The part of a solver that must be equal on resume. Folder, device, tests and (but for poly) max_iter may change."""
    same = pb.SolverParameter()
    same.CopyFrom(solver)
    fields = ["net", "train_net", "snapshot_prefix", "solver_mode", "device_id", "test_iter", "test_interval",
              "test_initialization"]
    for field in fields + ([] if solver.lr_policy == "poly" else ["max_iter"]):
        same.ClearField(field)
    return same
