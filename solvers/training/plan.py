"""Turn the arguments of solvers.train into a plan of the run: all inputs are read and checked, and nothing is written."""

import argparse
import os
from typing import NamedTuple

from base.errors import InputError
from data_toolkit.dataset import Dataset
from solvers.nets import admission, inputs, losses, setting, solver_param
from solvers.nets.permissions import Permissions
from solvers.nets.phases import net_params_of
from solvers.nets.pycaffe import caffe
from solvers.reporting import released_runs
from solvers.runs.checkpoints import INTERVAL
from solvers.runs.folder import RunFolder, folder_of
from solvers.runs.run import Run
from solvers.runs.training_set import TrainingSet
from solvers.training import options, overrides, released

pb = caffe.proto.caffe_pb2


class Plan(NamedTuple):
    """All that the arguments of solvers.train determine about a run.

    Attributes
    ----------
    training_set : TrainingSet
    setting : Setting
        The setting, with the options about losses applied to its net.
    changed : dict
        The options that differ from the setting's files.
    solver : caffe_pb2.SolverParameter
        From `solver_param.resolved`.
    net_param : caffe_pb2.NetParameter
        The setting's net in the state in which the solver trains it.
    allowed : Permissions
        What the net may use.
    fed_blobs : tuple of str
        The blobs that the driver fills; from `inputs.fed_blobs`.
    folder : RunFolder
    """

    training_set: TrainingSet
    setting: setting.Setting
    changed: dict
    solver: pb.SolverParameter
    net_param: pb.NetParameter
    allowed: Permissions
    fed_blobs: tuple[str, ...]
    folder: RunFolder

    def run(self, layers: str, gpus: int, threads: int, data: Dataset | None) -> Run:
        """The run, with the content of its config.json.

        Parameters
        ----------
        layers : str
            The language of the loss layers: "native" (C++) or "python".
        gpus, threads : int
            The number of processes, one for each GPU, and of threads in each.
        data : Dataset or None
            The training set; None for a net that reads its own data.
        """
        labels = self.training_set.config if self.fed_blobs else dict.fromkeys(self.training_set.config)
        return Run(self.folder, self.setting, self.solver, {
            "setting": self.setting.name, **labels, "seed": self.solver.random_seed,
            **losses.in_use(self.setting.net_param), "layers": layers, "gpus": gpus, "threads": threads,
            "engine": "stock" if os.environ.get("CAFFE_ENGINE") == "stock" else "ours",
            "max_iter": self.solver.max_iter, "snapshot": self.folder.interval, "data_sha256": data and data.fingerprint})


def plan_of(args: argparse.Namespace, devices: list[int], rehearse: bool = True) -> Plan:
    """Read and check all inputs of a run; nothing is written. For `rehearse` see `admission.admit`.

    Raises
    ------
    InputError
        If an input is wrong.
    """
    if args.released:
        released.choose(args)
    training_set = TrainingSet.from_options(args)
    chosen = setting.load(args.setting)
    chosen.name = released_runs.setting_name(chosen.name, chosen.folder)
    overrides.apply(chosen, args)
    changed = change_losses(chosen.net_param, args)
    solver = solver_param.resolved(chosen.solver, args.seed, args.max_iter, devices)
    net_params = net_params_of(chosen.net_param, solver, chosen.shared_net)
    fed_blobs = inputs.fed_blobs(net_params[0])
    if not fed_blobs and (training_set.rate or training_set.file):
        raise InputError(f"{training_set.name}: this net reads its own data, which the driver does not change; leave out "
                         "--noise and --train-data")
    if fed_blobs and solver.iter_size > 1:
        raise InputError(f"the solver's iter_size is {solver.iter_size}, but the driver feeds one batch a step")
    allowed = Permissions.from_options(args, chosen.folder, args.runs, args.data)
    admission.admit(chosen.folder, [*net_params, *([chosen.test_net_param] if chosen.test_net_param else ())], allowed,
                    solver_param.for_caffe(chosen, solver), solver.weights, devices, rehearse)
    folder = RunFolder(folder_of(args.runs, chosen.name, changed, training_set.name, solver.random_seed),
                       chosen.solver.snapshot or INTERVAL)
    return Plan(training_set, chosen, changed, solver, net_params[0], allowed, fed_blobs, folder)


def change_losses(param: pb.NetParameter, args: argparse.Namespace) -> dict:
    """Apply the options about losses to `param`; return those that change its losses."""
    changed = losses.override(param, options.of_loss(args))
    if args.layers == "python":
        losses.to_python(param)
        changed["layers"] = args.layers
    return changed


def from_environment(args: argparse.Namespace, changed: dict) -> list[str]:
    """The option --weighting with the value that this run took from CAFFE_WEIGHTING; empty if it took none."""
    return ["--weighting", changed["weighting"]] if "weighting" in changed and not options.of_loss(args)["weighting"] else []
