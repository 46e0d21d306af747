"""Measure every checkpoint of a run on the 10,000 test images: accuracy.txt and accuracy_curve.png in the run folder.

    python -m solvers.evaluate runs/res44_usw/noise_0.4/seed_123
    python -m solvers.evaluate runs/res44_usw/noise_0.4/seed_123 --train-sets    # also train_accuracy.csv
    python -m solvers.evaluate RUN --save-train-probabilities train.npy           # for cleanlab: docs/label_errors.md
    python -m solvers.evaluate CIFAR100_ResNet44_V03_lambda1/train_Res44_CCE_0.4  # the released checkpoints

A net that reads its own data is measured by its solver's test nets instead: the means of their accuracies and losses over
test_iter batches. A checkpoint that was measured before, on the same net and data, is not measured again. What is measured
of a released run folder goes to runs/: the folder itself stays as it is.
"""

import argparse
import csv
import hashlib
import io
import json
import math
import os
import sys
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_toolkit import dataset, files
from data_toolkit.dataset import Dataset
from data_toolkit.errors import DataError
from data_toolkit.files import atomic_writer, write_atomically
from solvers import (
    admission,
    classifier,
    config,
    curves,
    prototext,
    published,
    setting,
    test_nets,
    threads,
    user_layers,
    weights,
)
from solvers.checkpoints import Checkpoints
from solvers.engine import caffe, last_words
from solvers.errors import CommandLine, SolverError, failed
from solvers.inference import Predictor, nothing_more
from solvers.permissions import NOTHING, Permissions
from solvers.published import Curve, PublishedRun
from solvers.test_nets import TestNet
from solvers.training_set import TrainingSet

pb = caffe.proto.caffe_pb2

Results = dict[str, float | list[float]]


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit code: 0, 2 after bad input, 130 after Ctrl-C."""
    parser = CommandLine(prog="python -m solvers.evaluate", description=__doc__,
                         formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder that solvers.train wrote, or one of the released package")
    parser.add_argument("--train-sets", action="store_true",
                        help="measure the training images too, against their given and their true labels")
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
        read = [Path(path) for path in (os.environ.get("CIFAR100_SOURCE"), not is_ours and args.run.resolve().parent) if path]
        confine = partial(allowed.confine, read,
                          [args.run if is_ours else args.runs, *(file.absolute().parent for file in saved.values() if file)])
        confine(processes=True)
        confine = partial(confine, signals=True)
        threads.use(args.threads)
        with last_words(f"{args.run} and what was measured before are as they were"), user_layers.blamed():
            evaluate(args.run, args.data, args.train_sets, args.runs, allowed, saved, confine)
    except (SolverError, DataError, OSError) as error:
        return failed(error)
    except KeyboardInterrupt:
        return 130
    return 0


def evaluate(run: Path, data: Path, train_sets: bool = False, runs: Path = Path("runs"), allowed: Permissions = NOTHING,
             save: dict[str, Path | None] | None = None, confine: Callable[[], None] = nothing_more) -> Curve | None:
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
    confine : function
        Called in each process once all are started.

    Returns
    -------
    Curve or None
        Iterations, and accuracies as fractions of the test images; None of a net that tells only losses.

    Raises
    ------
    SolverError, data_toolkit.errors.DataError
        If the run has no checkpoint, nothing to measure it by, or the data are missing.
    """
    save = {name: file for name, file in (save or {}).items() if file}
    for file in save.values():
        if not file.absolute().parent.is_dir():
            raise SolverError(f"cannot write {file}: there is no folder {file.parent}")
    source = find_source(run, runs)
    admission.admit(run, [net.param for net in source.nets], allowed)
    iterations = source.checkpoints.models()
    if not iterations:
        raise SolverError(f"{run} has no checkpoint yet")
    if source.is_fed:
        sets = load_sets(source, data, train_sets, save)
        with Predictor(source.nets[0].param, sets, confine) as predict:
            jobs = [Job(source.output / "accuracy.json", sets["test"].fingerprint,
                        lambda model: {"accuracy": accuracy(predict(model, "test"), sets["test"])})]
            if train_sets:
                jobs.append(Job(source.output / "train_accuracy.json", sets["train"].fingerprint,
                                lambda model: train_accuracies(predict(model, "train"), sets["train"])))
            tested = measure(source, iterations, jobs)
            for name, file in save.items():
                with atomic_writer(file) as written:
                    np.save(written, predict(source.checkpoints.model(iterations[-1]), name))
    elif train_sets or save:
        raise SolverError(f"{run}: its net reads its own data; --train-sets and probabilities are for nets that are fed")
    else:
        confine()
        tested = measure(source, iterations, [Job(source.output / "accuracy.json", test_nets.fingerprint(source.nets),
                                                  lambda model: test_nets.measure(source.nets, model))])
    if any("accuracy" not in results for results in tested):
        return None
    curve = Curve(iterations, [results["accuracy"] for results in tested])
    curves.save(source.output / "accuracy_curve.png", curves.draw(source.title, curve, source.published, source.solver))
    return curve


class Job(NamedTuple):
    """Something to measure of each checkpoint.

    Attributes
    ----------
    file : Path
        Where the results are kept.
    data : str
        The fingerprint of what is measured on.
    compute : function
        From a checkpoint's weights, a file, to its results.
    """

    file: Path
    data: str
    compute: Callable[[Path], Results]


def load_sets(source: "Source", data: Path, train_sets: bool, save: Collection[str]) -> dict[str, Dataset]:
    """The test images, and the training images where they are wanted."""
    sets = {"test": dataset.load_test(data)}
    if train_sets or "train" in save:
        sets["train"] = source.labels.load(data)
    if train_sets and sets["train"].true_labels is None:
        raise SolverError(f"--train-sets: {source.labels.file} does not tell its images' true labels")
    return sets


def measure(source: "Source", iterations: list[int], jobs: list[Job]) -> list[Results]:
    """Do the jobs for each checkpoint, but for what is done; write and print the results. Returns those of the first job."""
    nets = "".join(prototext.text(net.param) for net in source.nets).encode()
    models = {iteration: source.checkpoints.model(iteration) for iteration in iterations}
    keys = {iteration: _sha256(weights.content(model), nets) for iteration, model in models.items()}
    source.output.mkdir(parents=True, exist_ok=True)
    stored = [Measurements(job.file, job.data) for job in jobs]
    for iteration, key in keys.items():
        for job, measurements in zip(jobs, stored, strict=True):
            if key not in measurements:
                measurements[key] = job.compute(models[iteration])
        write(source.output, keys, *stored)
        tested, *trained = (measurements[key] for measurements in stored)
        train_line = ", ".join(f"{name} {value:.4f}" for results in trained for name, value in results.items())
        print(line(iteration, tested) + (f"; training: {train_line}" if train_line else ""), flush=True)
    return [stored[0][key] for key in keys.values()]


class Source(NamedTuple):
    """What is to be measured: checkpoints, the nets to measure them by, and what is known of the run."""

    checkpoints: Checkpoints
    nets: list[TestNet]
    solver: pb.SolverParameter
    labels: TrainingSet
    published: PublishedRun | None
    title: str
    output: Path

    @property
    def is_fed(self) -> bool:
        """Whether the net is one from images to probabilities, and not one that reads its own data."""
        return self.nets[0].batches is None


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
                      TrainingSet.from_config(about), published.match(about),
                      f"{folders.parent.name}, {folders.name.replace('_', ' ', 1)}, seed {about.get('seed')}", run)
    name = published.RUN_FOLDER.fullmatch(run.resolve().name)
    if not name:
        raise SolverError(f"{run} is no run folder: it has no config.json; solvers.train makes one")
    chosen = setting.load(run.resolve().parent / name["setting"])
    nets = [TestNet(classifier.derive(chosen.net))]
    released = next((r for r in published.load_runs()
                     if (r.exp_folder, r.run_folder) == (run.resolve().parent.name, run.resolve().name)), None)
    return Source(Checkpoints(run), nets, chosen.solver, TrainingSet("symmetric", float(name["noise"])), released,
                  f"{chosen.name}, noise {name['noise']}, as released",
                  runs / chosen.name / f"noise_{name['noise']}" / "released")


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


def line(iteration: int, results: Results) -> str:
    """A line of accuracy.txt: those results that are one number."""
    numbers = [f"{name}: {value:.4f}" for name, value in results.items() if not isinstance(value, list)]
    return ", ".join([f"iter: {iteration}", *numbers])


class Measurements:
    """What was measured of checkpoints on some data, in a JSON file, so that it need not be measured again.

    Keys tell a checkpoint's weights and nets.
    """

    def __init__(self, file: Path, data_sha256: str):
        self.file, self.data_sha256 = file, data_sha256
        try:
            content = json.loads(files.read(file))
            known = content["data_sha256"] == data_sha256 and content["values_sha256"] == self._sum(content["values"])
            self.values = {key: _results(found) for key, found in content["values"].items()} if known else {}
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):  # none yet, or damaged: measure
            self.values = {}

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def __getitem__(self, key: str) -> Results:
        return self.values[key]

    def __setitem__(self, key: str, results: Results) -> None:
        self.values[key] = results

    def write(self, keys: Collection[str]) -> None:
        """Write those of `keys`; others belong to checkpoints that are gone."""
        values = {key: results for key, results in self.values.items() if key in keys}
        content = {"data_sha256": self.data_sha256, "values_sha256": self._sum(values), "values": values}
        write_atomically(self.file, json.dumps(content, indent=1) + "\n")

    @staticmethod
    def _sum(values: dict) -> str:
        """Tells a changed digit, which is still a number."""
        return _sha256(json.dumps(values, sort_keys=True).encode())


def _results(found: Results) -> Results:
    """Results that are some; ValueError or TypeError for what is none."""
    return {str(name): [float(value) for value in values] if isinstance(values, list) else float(values)
            for name, values in found.items()}


def write(output: Path, keys: dict[int, str], tested: Measurements, trained: Measurements | None = None) -> None:
    """Write accuracy.txt and, where the training images are measured, train_accuracy.csv, as far as they go."""
    known = {iteration: tested[key] for iteration, key in keys.items() if key in tested}
    write_atomically(output / "accuracy.txt", "".join(line(*point) + "\n" for point in known.items()))
    tested.write(keys.values())
    if trained:
        rows = [{"iteration": iteration} | trained[key] for iteration, key in keys.items() if key in trained]
        text = io.StringIO()
        table = csv.DictWriter(text, rows[0], lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        write_atomically(output / "train_accuracy.csv", text.getvalue())
        trained.write(keys.values())


def _sha256(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
