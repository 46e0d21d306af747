"""What is to be measured: a run folder of ours, or one of the released package."""

from pathlib import Path
from typing import NamedTuple

from solvers.errors import SolverError
from solvers.evaluation import classifier, test_nets
from solvers.evaluation.measuring import Job, Measuring
from solvers.evaluation.test_nets import TestNet
from solvers.nets import prototext, setting
from solvers.nets.pycaffe import caffe
from solvers.reporting import released_runs
from solvers.reporting.released_runs import ReleasedRun
from solvers.runs import config
from solvers.runs.checkpoints import Checkpoints
from solvers.runs.training_set import TrainingSet

pb = caffe.proto.caffe_pb2


class Source(NamedTuple):
    """What is to be measured: checkpoints, the nets to measure them by, and what is known of the run.

    Attributes
    ----------
    checkpoints : Checkpoints
    nets : list of TestNet
    solver : caffe_pb2.SolverParameter
    training_set : TrainingSet or None
        What it learned from; None if its net read its own data.
    released : ReleasedRun or None
        The released run of the same experiment.
    title : str
        Of figures.
    output : Path
        The folder of what is measured.
    run : str
        The same only for the same run, and not for another that was in this folder before.
    """

    checkpoints: Checkpoints
    nets: list[TestNet]
    solver: pb.SolverParameter
    training_set: TrainingSet | None
    released: ReleasedRun | None
    title: str
    output: Path
    run: str

    @property
    def is_fed(self) -> bool:
        """Whether the net is one from images to probabilities, and not one that reads its own data."""
        return self.nets[0].batches is None

    def measuring(self, jobs: list[Job], unit: str, more: int) -> Measuring:
        """Jobs on its checkpoints; see `Measuring`."""
        models = {iteration: self.checkpoints.model(iteration) for iteration in self.checkpoints.models()}
        made_of = [self.run, *(prototext.text(net.param) for net in self.nets)]
        return Measuring(self.output, models, made_of, jobs, unit, more)


def find_source(run: Path, runs: Path) -> Source:
    """The parts of a run folder of ours, or of the released package.

    Raises
    ------
    SolverError
        If it is neither.
    """
    if (run / config.FILE).exists():
        about = config.read(run)
        folders = run.resolve().parent
        return Source(Checkpoints(run), test_nets.read(run), prototext.read(run / "solver.prototxt", pb.SolverParameter()),
                      TrainingSet.from_config(about), released_runs.match(about),
                      f"{folders.parent.name}, {folders.name.replace('_', ' ', 1)}, seed {about.get('seed')}", run,
                      str([about.get(name) for name in ("seed", *config.FINGERPRINTS)]))
    name = released_runs.RUN_FOLDER.fullmatch(run.resolve().name)
    if not name:
        raise SolverError(f"{run} is no run folder: it has no config.json; solvers.train makes one")
    chosen = setting.load(run.resolve().parent / name["setting"])
    setting_name = released_runs.setting_name(chosen.name, chosen.folder)
    nets = [TestNet(classifier.derive(chosen.net))]
    released = next((r for r in released_runs.load_runs()
                     if (r.exp_folder, r.run_folder) == (run.resolve().parent.name, run.resolve().name)), None)
    return Source(Checkpoints(run), nets, chosen.solver, TrainingSet("symmetric", float(name["noise"])), released,
                  f"{setting_name}, noise {name['noise']}, as released",
                  runs / setting_name / f"noise_{name['noise']}" / "released", "released")
