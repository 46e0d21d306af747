"""Find what to measure: the checkpoints, nets and data of one of our run folders, or of one of the released package."""

from itertools import islice
from pathlib import Path
from typing import NamedTuple

from base import files
from base.errors import InputError
from solvers.evaluation import classifier, test_nets
from solvers.evaluation.measuring import Job, Measuring
from solvers.evaluation.test_nets import TestNet
from solvers.nets import prototext, setting
from solvers.nets.pycaffe import caffe
from solvers.reporting import released_runs, run_folders
from solvers.reporting.released_runs import ReleasedRun
from solvers.runs import config
from solvers.runs.checkpoints import Checkpoints
from solvers.runs.training_set import TrainingSet

pb = caffe.proto.caffe_pb2


class Source(NamedTuple):
    """A run to measure: its checkpoints, the nets to measure them with, and facts about the run.

    Attributes
    ----------
    checkpoints : Checkpoints
    nets : list of TestNet
    solver : caffe_pb2.SolverParameter
    training_set : TrainingSet or None
        The set that the run was trained on; None if its net read its own data.
    released : ReleasedRun or None
        The released run of the same experiment.
    title : str
        The title of figures.
    output : Path
        The folder for the results.
    run : str
        A fingerprint of the run: an earlier run in the same folder had another.
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
        """Whether our driver feeds the net with images; otherwise the net reads its own data."""
        return self.nets[0].batches is None

    def measuring(self, jobs: list[Job], unit: str, more: int) -> Measuring:
        """A `Measuring` of jobs on the run's checkpoints."""
        models = {iteration: self.checkpoints.model(iteration) for iteration in self.checkpoints.models()}
        made_of = [self.run, *(prototext.text(net.param) for net in self.nets)]
        return Measuring(self.output, models, made_of, jobs, unit, more)


def check_is_run(run: Path) -> None:
    """Raise InputError, with the runs below it, unless a folder is a run folder of ours or of the released package."""
    if not (run / config.FILE).exists() and not released_runs.RUN_FOLDER.fullmatch(files.real(run).name):
        below = list(islice(run_folders.folders_below([run]), 3))
        raise InputError(f"{run} is no run folder: it has no {config.FILE}; "
                         + (f"below it are {', '.join(map(str, below))}" if below else "solvers.train makes one"))


def find_source(run: Path, runs: Path) -> Source:
    """The source in one of our run folders, or in one of the released package.

    Raises
    ------
    InputError
        If it is neither.
    """
    check_is_run(run)
    real = files.real(run)
    if (run / config.FILE).exists():
        about = config.read(run)
        return Source(Checkpoints(run), test_nets.read(run), prototext.read(run / "solver.prototxt", pb.SolverParameter()),
                      TrainingSet.from_config(about), released_runs.match(about),
                      f"{real.parent.parent.name}, {real.parent.name.replace('_', ' ', 1)}, seed {about.get('seed')}", run,
                      str([about.get(name) for name in ("seed", *config.FINGERPRINTS)]))
    name = released_runs.RUN_FOLDER.fullmatch(real.name)
    chosen = setting.load(real.parent / name["setting"])
    setting_name = released_runs.setting_name(chosen.name, chosen.folder)
    nets = [TestNet(classifier.derive(chosen.net_param))]
    released = next((r for r in released_runs.load_runs()
                     if (r.exp_folder, r.run_folder) == (real.parent.name, real.name)), None)
    return Source(Checkpoints(run), nets, chosen.solver, TrainingSet("symmetric", float(name["noise"])), released,
                  f"{setting_name}, noise {name['noise']}, as released",
                  runs / setting_name / f"noise_{name['noise']}" / "released", "released")
