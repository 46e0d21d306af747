"""What is exported: a checkpoint of a run, or anybody's deploy.prototxt with a caffemodel."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

from base import files
from base.commands import command
from base.did_you_mean import did_you_mean_beside
from base.errors import InputError
from base.terminal import say
from solvers.evaluation import classifier, test_nets
from solvers.evaluation.source import find_source
from solvers.nets import prototext, setting
from solvers.nets.pycaffe import caffe
from solvers.reporting.accuracy import read_accuracy
from solvers.runs import config
from solvers.runs.checkpoints import Checkpoints

pb = caffe.proto.caffe_pb2


@dataclass
class Source:
    """A net to export.

    Attributes
    ----------
    name : str
        What the user calls it.
    net_param : caffe_pb2.NetParameter
        With its phase in ``state``.
    model : Path
        Its weights.
    config : dict
        What the run was trained with; {} of other nets.
    iteration : int or None
        Of the checkpoint.
    """

    name: str
    net_param: pb.NetParameter
    model: Path
    config: dict = field(default_factory=dict)
    iteration: int | None = None

    @property
    def is_run(self) -> bool:
        return self.iteration is not None


def of_files(net_file: Path, model: Path) -> Source:
    """Anybody's net."""
    param = setting.read_net(net_file)
    param.state.phase = pb.TEST
    return Source(str(net_file), _without_fillers(param), files.real(model.parent) / model.name)


def of_run(run: Path, iteration: str, runs: Path = Path("runs")) -> Source:
    """A checkpoint of a run of ours, or of the released package: the net from images to probabilities.

    Parameters
    ----------
    run : Path
    iteration : str
        A number, "last", or "best": that of the highest test accuracy, which solvers.evaluate has measured.
    runs : Path
        Where what was measured of a released run lies.

    Raises
    ------
    InputError
        If there is no such run or checkpoint, its net reads its own data, or its weights are not those that were written.
    """
    if not run.is_dir():
        raise InputError(f"there is no folder {run}{did_you_mean_beside(run)}; for a net of your own give both, "
                         "deploy.prototxt and weights.caffemodel")
    is_ours = (run / config.FILE).exists()
    if is_ours and not test_nets.is_classifier(run, setting.read_net(run / "train.prototxt")):
        raise InputError(f"{run}: its net reads its own data; give a deploy.prototxt, whose inputs are Input layers, and "
                         f"a file of {Checkpoints(run).folder}")
    found = find_source(run, runs)
    param = found.nets[0].param
    param.state.MergeFrom(classifier.TEST)
    available = found.checkpoints.models()
    if not available:
        raise InputError(f"{run} has no checkpoint yet")
    number = _chosen(iteration, available, found.output, run)
    if damage := found.checkpoints.damage(found.checkpoints.model(number)):
        raise InputError(damage)
    about = config.read(run) if is_ours else {
        "setting": found.title, "solver": prototext.text(found.solver)}
    return Source(str(run), _without_fillers(param), found.checkpoints.model(number), about, number)


def _without_fillers(param: pb.NetParameter) -> pb.NetParameter:
    """The net without what its weights are first filled with: all of them are loaded, and random numbers take time."""
    for layer in param.layer:
        for _, settings in layer.ListFields():
            for name, described in getattr(getattr(settings, "DESCRIPTOR", None), "fields_by_name", {}).items():
                if described.message_type is not None and described.message_type.name == "FillerParameter":
                    settings.ClearField(name)
    return param


def _chosen(iteration: str, available: list[int], measured: Path, run: Path) -> int:
    """The checkpoint that "last", "best" or a number means."""
    if iteration == "last":
        return available[-1]
    if iteration == "best":
        curve = read_accuracy(measured / "accuracy.txt", run)
        known = [(accuracy, -step) for step, accuracy in zip(curve.iterations, curve.accuracies, strict=True)
                 if step in available]
        if not known:
            raise InputError(f"{measured / 'accuracy.txt'} has none of the checkpoints that are there; run "
                             f"{command('solvers.evaluate', [run])} first")
        accuracy, negative_step = max(known)
        if accuracy < curve.best:
            say("note: the best checkpoint that was measured is not there any more; "
                f"{-negative_step} is the best of those that are", file=sys.stderr)
        return -negative_step
    if not iteration.isascii() or not iteration.isdigit() or int(iteration) not in available:
        raise InputError(f"--iteration {iteration}: the checkpoints are {', '.join(map(str, available))}; or say best or "
                         "last")
    return int(iteration)
