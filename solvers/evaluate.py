"""Measure every checkpoint of a run on the 10,000 test images: accuracy.txt and accuracy_curve.png in the run folder.

    python -m solvers.evaluate runs/res44_usw/noise_0.4/seed_123
    python -m solvers.evaluate runs/res44_usw/noise_0.4/seed_123 --train-sets    # also train_accuracy.csv
    python -m solvers.evaluate runs/res44_usw/noise_0.4/seed_123 --per-class      # also per_class.csv, confusion.csv and .png
    python -m solvers.evaluate RUN --save-train-probabilities train.npy           # for cleanlab: docs/label_errors.md
    python -m solvers.evaluate CIFAR100_ResNet44_V03_lambda1/train_Res44_CCE_0.4  # the released checkpoints

A net that reads its own data is measured by its solver's test nets instead: the means of their accuracies and losses over
test_iter batches. A checkpoint that was measured before, on the same net and data, is not measured again, and what was
measured of one that is gone stays. What is measured of a released run folder goes to runs/: the folder itself stays as it is.
"""

import argparse
import math
import os
import sys
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from base import files
from base.errors import DataError
from base.files import atomic_writer
from base.terminal import say
from data_toolkit import class_names, dataset
from data_toolkit.dataset import Dataset
from solvers.errors import CommandLine, SolverError, failed
from solvers.evaluation import classifier, per_class, test_nets
from solvers.evaluation.inference import Predictor, at_batch, nothing_more
from solvers.evaluation.measuring import Job, Measuring
from solvers.evaluation.progress import EvaluationProgress
from solvers.evaluation.test_nets import TestNet
from solvers.nets import admission, prototext, setting, threads, user_layers
from solvers.nets.permissions import NOTHING, Permissions
from solvers.nets.pycaffe import caffe, last_words, why_slow
from solvers.reporting import curves, published
from solvers.reporting.published import Curve, PublishedRun
from solvers.runs import config
from solvers.runs.checkpoints import Checkpoints
from solvers.training.training_set import TrainingSet

pb = caffe.proto.caffe_pb2

# Of config.json: two runs in one folder with the same of these, one after the other, are the same run.
SAME_RUN = ("seed", "data_sha256", "net_sha256", "solver_sha256")


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit code: 0, 2 after bad input, 130 after Ctrl-C."""
    parser = CommandLine(prog="python -m solvers.evaluate", description=__doc__,
                         formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder that solvers.train wrote, or one of the released package")
    parser.add_argument("--train-sets", action="store_true",
                        help="measure the training images too, against their given and their true labels")
    parser.add_argument("--per-class", action="store_true",
                        help="write the newest checkpoint's accuracy on each class and its confusion matrix, CSV and figure")
    for which, name in ("test", "--save-probabilities"), ("training", "--save-train-probabilities"):
        parser.add_argument(name, type=Path, metavar="FILE.npy",
                            help=f"write what the newest checkpoint gives to the {which} images: images x classes, float32, "
                                 "in the order of the data set")
    Permissions.add_options(parser)
    threads.add_option(parser)
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR",
                        help="where the measurements of a released folder go (default runs)")
    parser.add_argument("--data", type=Path, default=Path("data"), metavar="DIR",
                        help="folder of the data (default data)")
    args = parser.parse_args(argv)
    allowed = Permissions.from_options(args, args.run, args.data)
    saved = {"test": args.save_probabilities, "train": args.save_train_probabilities}
    try:
        is_ours = (args.run / config.FILE).exists()  # of a released folder, the setting lies beside it
        beside = not is_ours and files.real(args.run).parent
        read = [Path(path) for path in (os.environ.get("CIFAR100_SOURCE"), beside) if path]
        confine = partial(allowed.confine, read,
                          [args.run if is_ours else args.runs, *(file.absolute().parent for file in saved.values() if file)])
        confine(processes=True)
        confine = partial(confine, signals=True)
        threads.use(args.threads)
        if reason := why_slow():
            say(f"note: {reason}", file=sys.stderr)
        with last_words(f"{args.run} and what was measured before are as they were"), user_layers.blamed():
            evaluate(args.run, args.data, args.train_sets, args.runs, allowed, saved, args.per_class, confine)
    except (SolverError, DataError, OSError, MemoryError) as error:
        return failed(error)
    except KeyboardInterrupt:
        say("interrupted: what was measured is kept, and the same command goes on", file=sys.stderr)
        return 130
    return 0


def evaluate(run: Path, data: Path, train_sets: bool = False, runs: Path = Path("runs"), allowed: Permissions = NOTHING,
             save: dict[str, Path | None] | None = None, by_class: bool = False,
             confine: Callable[[], None] = nothing_more) -> Curve | None:
    """Measure a run's checkpoints and write accuracy.txt (after each of them) and accuracy_curve.png.

    Parameters
    ----------
    run : Path
        A run folder.
    data : Path
        Folder of the prepared data.
    train_sets : bool
        Write train_accuracy.csv too; see `train_accuracies`.
    runs : Path
        Where the measurements of a released run folder go.
    allowed : Permissions
    save : dict of str to Path or None
        Where to write the newest checkpoint's probabilities for the images of "test" and "train".
    by_class : bool
        Write the newest checkpoint's accuracy on each class and its confusion matrix; see `per_class.write`.
    confine : function
        Called in each process once all are started.

    Returns
    -------
    Curve or None
        Iterations, and accuracies as fractions of the test images; None of a net that tells only losses.

    Raises
    ------
    SolverError, base.errors.DataError
        If the run has no checkpoint, nothing to measure it by, or the data are missing.
    """
    save = {name: file for name, file in (save or {}).items() if file}
    for file in save.values():
        if not file.absolute().parent.is_dir():
            raise SolverError(f"cannot write {file}: there is no folder {file.parent}")
    source = find_source(run, runs)
    admission.admit(run, [at_batch(net.param) if source.is_fed else net.param for net in source.nets], allowed)
    iterations = source.checkpoints.models()
    if not iterations:
        raise SolverError(f"{run} has no checkpoint yet")
    newest, model = iterations[-1], source.checkpoints.model(iterations[-1])
    if source.is_fed:
        sets = load_sets(source, data, train_sets, save)
        sizes = {name: len(images.labels) for name, images in sets.items()}
        with Predictor(source.nets[0].param, sets, confine) as predict:
            jobs = [Job("accuracy.json", sets["test"].fingerprint, sizes["test"],
                        lambda model, done: {"accuracy": accuracy(predict(model, "test", done), sets["test"])})]
            if train_sets:
                jobs.append(Job("train_accuracy.json", sets["train"].fingerprint, sizes["train"],
                                lambda model, done: train_accuracies(predict(model, "train", done), sets["train"])))
            again = {*save, *(["test"] if by_class else [])}  # of the newest checkpoint
            with source.measuring(jobs, "images", sum(sizes[name] for name in again)) as measuring:
                found = measuring.all()
                given = {name: predict(model, name, measuring.progress.add) for name in again}
                for name, file in save.items():
                    with atomic_writer(file) as written:
                        np.save(written, given[name])
                if by_class:
                    rows = given["test"]
                    write_classes(source, newest, sets["test"].labels, rows.argmax(axis=1), rows.shape[1], measuring.progress)
    elif train_sets or save:
        raise SolverError(f"{run}: its net reads its own data; --train-sets and probabilities are for nets that are fed")
    else:
        confine()
        job = Job("accuracy.json", test_nets.fingerprint(source.nets), sum(net.batches for net in source.nets),
                  lambda model, done: test_nets.measure(source.nets, model, done))
        with source.measuring([job], "batches", source.nets[0].batches if by_class else 0) as measuring:
            found = measuring.all()
            if by_class:
                write_classes(source, newest, *test_nets.predictions(source.nets[0], model, measuring.progress.add),
                              measuring.progress)
    if any("accuracy" not in results for results in found.values()):
        return None
    curve = Curve(list(found), [results["accuracy"] for results in found.values()])
    curves.save(source.output / "accuracy_curve.png", curves.draw(source.title, curve, source.published, source.solver))
    return curve


def load_sets(source: "Source", data: Path, train_sets: bool, save: Collection[str]) -> dict[str, Dataset]:
    """The test images, and the training images where they are wanted."""
    sets = {"test": dataset.load_test(data)}
    if train_sets or "train" in save:
        sets["train"] = source.labels.load(data)
    if train_sets and sets["train"].true_labels is None:
        raise SolverError(f"--train-sets: {source.labels.file} does not tell its images' true labels")
    return sets


def write_classes(source: "Source", iteration: int, labels: NDArray, predicted: NDArray, classes: int,
                  progress: EvaluationProgress) -> None:
    """Write the files of `per_class`, and say between which accuracies its classes are.

    Parameters
    ----------
    source : Source
    iteration : int
        Of the checkpoint.
    labels, predicted : (N,) int
    classes : int
        How many the net scores.
    progress : EvaluationProgress
    """
    classes = max(classes, int(labels.max(initial=0)) + 1)
    names = class_names.CIFAR100 if source.is_fed and classes == len(class_names.CIFAR100) else list(map(str, range(classes)))
    confusion = per_class.confusion_matrix(labels, predicted, classes)
    per_class.write(source.output, confusion, names, f"{source.title}, iteration {iteration:,}")
    progress.say(f"iter: {iteration}, accuracy of classes: {per_class.describe(confusion, names)}; "
                 f"{', '.join(per_class.FILES)} in {source.output}")


class Source(NamedTuple):
    """What is to be measured: checkpoints, the nets to measure them by, and what is known of the run."""

    checkpoints: Checkpoints
    nets: list[TestNet]
    solver: pb.SolverParameter
    labels: TrainingSet
    published: PublishedRun | None
    title: str
    output: Path
    run: str  # tells it from another run that was in this folder before

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
        folders = files.real(run).parent
        return Source(Checkpoints(run), test_nets.read(run), prototext.read(run / "solver.prototxt", pb.SolverParameter()),
                      TrainingSet.from_config(about), published.match(about),
                      f"{folders.parent.name}, {folders.name.replace('_', ' ', 1)}, seed {about.get('seed')}", run,
                      str([about.get(name) for name in SAME_RUN]))
    name = published.RUN_FOLDER.fullmatch(files.real(run).name)
    if not name:
        raise SolverError(f"{run} is no run folder: it has no config.json; solvers.train makes one")
    chosen = setting.load(files.real(run).parent / name["setting"])
    setting_name = published.setting_name(chosen.name, chosen.folder)
    nets = [TestNet(classifier.derive(chosen.net))]
    released = next((r for r in published.load_runs()
                     if (r.exp_folder, r.run_folder) == (files.real(run).parent.name, files.real(run).name)), None)
    return Source(Checkpoints(run), nets, chosen.solver, TrainingSet("symmetric", float(name["noise"])), released,
                  f"{setting_name}, noise {name['noise']}, as released",
                  runs / setting_name / f"noise_{name['noise']}" / "released", "released")


def accuracy(probabilities: NDArray[np.float32], test: Dataset) -> float:
    """The fraction of the N images whose largest probability, of (N, C), is at their label."""
    return float(np.mean(probabilities.argmax(axis=1) == test.labels))


def train_accuracies(probabilities: NDArray[np.float32], train: Dataset) -> dict[str, float]:
    """Accuracies on the N training images, as in Table 9 of arXiv 1905.11233 and on the two parts, from (N, C) probabilities.

    Returns
    -------
    dict
        corrupted, intact: all images, against their given and against their true labels (the table's columns);
        clean_part: images whose given label is the true one; memorised, recovered: the other images, against their given
        and against their true labels. NaN where there are no such images.
    """
    predicted = probabilities.argmax(axis=1)
    given, true = predicted == train.labels, predicted == train.true_labels
    noisy = train.labels != train.true_labels
    parts = {"corrupted": given, "intact": true, "clean_part": given[~noisy], "memorised": given[noisy],
             "recovered": true[noisy]}
    return {name: float(right.mean()) if len(right) else math.nan for name, right in parts.items()}


if __name__ == "__main__":
    sys.exit(main())
