"""Measure every checkpoint of a run on the 10,000 test images: accuracy.txt and accuracy_curve.png in the run folder.

    python -m solvers.evaluate runs/res44_usw/noise_0.4/seed_123
    python -m solvers.evaluate runs/res44_usw/noise_0.4/seed_123 --train-sets    # also train_accuracy.csv
    python -m solvers.evaluate runs/res44_usw/noise_0.4/seed_123 --per-class      # also per_class.csv, confusion.csv and .png
    python -m solvers.evaluate RUN --save-train-probabilities train.npy           # for cleanlab: docs/label_errors.md
    python -m solvers.evaluate CIFAR100_ResNet44_V03_lambda1/train_Res44_CCE_0.4  # the released checkpoints

A net that reads its own data is measured with its solver's test nets instead: the means of their accuracies and losses over
test_iter batches. A checkpoint that was measured before, with the same net and data, is not measured again, and results of
deleted checkpoints are kept. Results of a released run folder are written to runs/: the folder itself is not changed.
"""

import argparse
import math
import os
import shlex
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from base import files
from base.errors import CommandLine, InputError, reports_errors
from base.terminal import say
from base.writing import atomic_writer
from data_toolkit import class_names, dataset
from data_toolkit.dataset import Dataset
from solvers.evaluation import per_class, test_nets
from solvers.evaluation.inference import Predictor, at_batch, nothing_more
from solvers.evaluation.measurements import Results
from solvers.evaluation.measuring import Job
from solvers.evaluation.progress import EvaluationProgress
from solvers.evaluation.source import Source, check_is_run, find_source
from solvers.nets import admission, threads, user_layers
from solvers.nets.permissions import NO_PERMISSIONS, Permissions
from solvers.nets.pycaffe import last_words, why_slow
from solvers.reporting import curves
from solvers.reporting.accuracy import Curve
from solvers.runs import config


class Wanted(NamedTuple):
    """What is measured and written besides the test accuracies.

    Attributes
    ----------
    train_sets : bool
        Write train_accuracy.csv; see `train_accuracies`.
    save : dict of str to Path
        Where to write the newest checkpoint's probabilities for the images of "test" and "train".
    by_class : bool
        Write the newest checkpoint's accuracy on each class and its confusion matrix; see `per_class.write`.
    """

    train_sets: bool = False
    save: dict[str, Path] = {}
    by_class: bool = False


ACCURACIES = Wanted()  # nothing more


@reports_errors("interrupted: the results so far are kept, and the same command goes on")
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
                            help=f"write the newest checkpoint's probabilities of the {which} images: images x classes, "
                                 "float32, in the order of the data set")
    Permissions.add_options(parser)
    threads.add_option(parser)
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR",
                        help="where the measurements of a released folder go (default runs)")
    parser.add_argument("--data", type=Path, default=Path("data"), metavar="DIR",
                        help="folder of the data (default data)")
    args = parser.parse_args(argv)
    saved = {"test": args.save_probabilities, "train": args.save_train_probabilities}
    wanted = Wanted(args.train_sets, {name: file for name, file in saved.items() if file}, args.per_class)
    if len(set(wanted.save.values())) < len(wanted.save):
        raise InputError(f"--save-probabilities and --save-train-probabilities both name {args.save_probabilities}")
    for file in wanted.save.values():
        if not file.absolute().parent.is_dir():
            raise InputError(f"cannot write {file}: there is no folder {file.parent}")
    if reason := why_slow():
        say(f"note: {reason}", file=sys.stderr)
    check_is_run(args.run)
    allowed = Permissions.from_options(args, args.run, args.data)
    is_ours = (args.run / config.FILE).exists()  # a released folder has its setting beside it
    beside = not is_ours and files.real(args.run).parent
    read = [Path(path) for path in (os.environ.get("CIFAR100_SOURCE"), beside) if path]
    confine = partial(allowed.confine, read,
                      [args.run if is_ours else args.runs, *allowed.deliver(*wanted.save.values())])
    confine(processes=True)
    confine = partial(confine, signals=True)
    threads.use(args.threads)
    with last_words(f"{args.run} and the results so far are unchanged"), user_layers.blamed():
        evaluate(args.run, args.data, wanted, args.runs, allowed, confine)
    return 0


def evaluate(run: Path, data: Path, wanted: Wanted = ACCURACIES, runs: Path = Path("runs"),
             allowed: Permissions = NO_PERMISSIONS, confine: Callable[[], None] = nothing_more) -> Curve | None:
    """Measure a run's checkpoints and write accuracy.txt (after each of them) and accuracy_curve.png.

    Parameters
    ----------
    run : Path
        A run folder.
    data : Path
        Folder of the prepared data.
    wanted : Wanted
    runs : Path
        Where the measurements of a released run folder go.
    allowed : Permissions
    confine : function
        Confines a process. Called in each process once all are started.

    Returns
    -------
    Curve or None
        Iterations, and accuracies as fractions of the test images; None for a net that only has losses.

    Raises
    ------
    InputError
        If the run has no checkpoint, no net to measure it with, or the data are missing.
    """
    source = find_source(run, runs)
    admission.admit(run, [at_batch(net.param) if source.is_fed else net.param for net in source.nets], allowed)
    iterations = source.checkpoints.models()
    if not iterations:
        raise InputError(f"{run} has no checkpoint yet")
    if source.is_fed:
        with Predictor(source.nets[0].param, load_sets(source, data, wanted, allowed), confine) as predict:
            found = measure_fed(source, iterations[-1], predict, wanted)
    elif wanted.train_sets or wanted.save:
        raise InputError(f"{run}: its net reads its own data; --train-sets and probabilities are for nets that are fed")
    else:
        confine()
        found = measure_own_data(source, iterations[-1], wanted.by_class)
    if any("accuracy" not in results for results in found.values()):
        return None
    curve = Curve(list(found), [results["accuracy"] for results in found.values()])
    curves.save(source.output / "accuracy_curve.png", curves.draw(source.title, curve, source.released, source.solver))
    return curve


def measure_fed(source: Source, newest: int, predict: Predictor, wanted: Wanted) -> dict[int, Results]:
    """Measure a net from images to probabilities; return the results on the test images, by iteration."""
    sets = predict.sets
    sizes = {name: len(images.labels) for name, images in sets.items()}
    if (classes := sets["test"].labels.max(initial=0) + 1) > predict.classes:
        say(f"warning: the net scores {predict.classes} classes, but the test images have {classes}: their accuracy says "
            "nothing about the data that the net has learnt", file=sys.stderr)
    jobs = [Job("accuracy.json", sets["test"].fingerprint, sizes["test"],
                lambda model, done: {"accuracy": accuracy(predict(model, "test", done), sets["test"])})]
    if wanted.train_sets:
        jobs.append(Job("train_accuracy.json", sets["train"].fingerprint, sizes["train"],
                        lambda model, done: train_accuracies(predict(model, "train", done), sets["train"])))
    # The sets for which the newest checkpoint's probabilities are needed.
    again = {*wanted.save, *(["test"] if wanted.by_class else [])}
    with source.measuring(jobs, "images", sum(sizes[name] for name in again)) as measuring:
        found = measuring.all()
        given = {name: predict(source.checkpoints.model(newest), name, measuring.progress.add) for name in again}
        for name, file in wanted.save.items():
            with atomic_writer(file) as written:
                np.save(written, given[name])
        if wanted.by_class:
            rows = given["test"]
            write_classes(source, newest, sets["test"].labels, rows.argmax(axis=1), rows.shape[1], measuring.progress)
    return found


def measure_own_data(source: Source, newest: int, by_class: bool) -> dict[int, Results]:
    """Measure a net that reads its own data, with its solver's test nets; return the results, by iteration."""
    first = source.nets[0]
    job = Job("accuracy.json", test_nets.fingerprint(source.nets), sum(net.batches for net in source.nets),
              lambda model, done: test_nets.measure(source.nets, model, done))
    with source.measuring([job], "batches", first.batches if by_class else 0) as measuring:
        found = measuring.all()
        if by_class:
            predictions = test_nets.predictions(first, source.checkpoints.model(newest), measuring.progress.add)
            write_classes(source, newest, *predictions, measuring.progress)
    return found


def load_sets(source: Source, data: Path, wanted: Wanted, allowed: Permissions) -> dict[str, Dataset]:
    """The data sets "test" and, if the options need it, "train"."""
    sets = {"test": dataset.load_test(data)}
    if wanted.train_sets or "train" in wanted.save:
        if source.training_set is None:
            raise InputError("this run's config.json does not say which training set it learned from")
        file = source.training_set.file
        if file and not (allowed.unconfined or allowed.allows(file)):
            raise InputError(f"the run was trained on {file}, which is neither in its folder nor in that of the data: give "
                             f"--allow-path {shlex.quote(str(file))} if you trust the run")
        sets["train"] = source.training_set.load(data)
    if wanted.train_sets and sets["train"].true_labels is None:
        raise InputError(f"--train-sets: {source.training_set.file} does not tell its images' true labels")
    return sets


def write_classes(source: Source, iteration: int, labels: NDArray, predicted: NDArray, classes: int,
                  progress: EvaluationProgress) -> None:
    """Write the files of `per_class`, and print the lowest and the highest accuracy of a class.

    Parameters
    ----------
    source : Source
    iteration : int
        The checkpoint's.
    labels, predicted : (N,) int
        The true and the predicted classes of the images.
    classes : int
        The number of classes that the net scores.
    progress : EvaluationProgress
    """
    classes = max(classes, int(labels.max(initial=0)) + 1)
    names = class_names.CIFAR100 if source.is_fed and classes == len(class_names.CIFAR100) else list(map(str, range(classes)))
    confusion = per_class.confusion_matrix(labels, predicted, classes)
    per_class.write(source.output, confusion, names, f"{source.title}, iteration {iteration:,}")
    progress.say(f"iter: {iteration}, accuracy of classes: {per_class.describe(confusion, names)}; "
                 f"{', '.join(per_class.FILES)} in {source.output}")


def accuracy(probabilities: NDArray[np.float32], test: Dataset) -> float:
    """The accuracy on N images: the fraction whose largest probability, in a row of (N, C), is that of the label."""
    return float(np.mean(probabilities.argmax(axis=1) == test.labels))


def train_accuracies(probabilities: NDArray[np.float32], train: Dataset) -> dict[str, float]:
    """Accuracies on the N training images, from (N, C) probabilities: those of Table 9 of arXiv 1905.11233, and three more.

    Returns
    -------
    dict
        corrupted, intact: of all images, with respect to their given and to their true labels (the table's columns);
        clean_part: of the images whose given label is the true one; memorised, recovered: of the other images, with respect
        to their given and to their true labels. NaN where there are no such images.
    """
    predicted = probabilities.argmax(axis=1)
    given, true = predicted == train.labels, predicted == train.true_labels
    noisy = train.labels != train.true_labels
    parts = {"corrupted": given, "intact": true, "clean_part": given[~noisy], "memorised": given[noisy],
             "recovered": true[noisy]}
    return {name: float(right.mean()) if len(right) else math.nan for name, right in parts.items()}


if __name__ == "__main__":
    sys.exit(main())
