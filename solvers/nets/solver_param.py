"""A solver's parameters as the driver runs them: what is filled in, what is left to the driver, what stays on resume."""

from solvers.nets.pycaffe import caffe
from solvers.nets.setting import Setting

pb = caffe.proto.caffe_pb2


def for_caffe(setting: Setting, solver: pb.SolverParameter, snapshot_prefix: str = "") -> pb.SolverParameter:
    """The solver with its net in it; the driver tests, loads weights and names checkpoints, not Caffe."""
    whole = pb.SolverParameter()
    whole.CopyFrom(solver)
    getattr(whole, "net_param" if setting.shared_net else "train_net_param").CopyFrom(setting.net)
    if whole.test_interval:  # see testing.py
        whole.test_interval, whole.test_initialization = 2**31 - 1, False
    whole.ClearField("weights")
    whole.snapshot_prefix = snapshot_prefix
    return whole


def resolved(given: pb.SolverParameter, seed: int | None, max_iter: int | None,
                   gpus: list[int]) -> pb.SolverParameter:
    """A solver as the driver runs it: seed, last step and device filled in, snapshots left to the driver.

    The seed is here because Caffe takes the file's over the driver's; max_iter because lr_policy poly divides by it.
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
    """The part of a solver that stays the same on resume: a run may be moved, prolonged, or go to another device."""
    same = pb.SolverParameter()
    same.CopyFrom(solver)
    fields = ["net", "train_net", "snapshot_prefix", "solver_mode", "device_id", "test_interval", "test_initialization"]
    for field in fields + ([] if solver.lr_policy == "poly" else ["max_iter"]):
        same.ClearField(field)
    return same
