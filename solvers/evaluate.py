"""Measure every checkpoint of a run on the 10,000 test images: accuracy.txt and accuracy_curve.png in the run folder.

    python -m solvers.evaluate runs/res44_usw/noise_0.4/seed_123
    python -m solvers.evaluate runs/res44_usw/noise_0.4/seed_123 --train-sets    # also train_accuracy.csv
    python -m solvers.evaluate CIFAR100_ResNet44_V03_lambda1/train_Res44_CCE_0.4  # the released checkpoints

A checkpoint that was measured before, on the same net and data, is not measured again. What is measured of a released
run folder goes to runs/: the folder itself stays as it is.
"""

import argparse
import csv
import hashlib
import io
import json
import math
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import numpy as np
from google.protobuf.message import DecodeError
from tqdm import tqdm

from data_toolkit import batches, dataset
from data_toolkit.errors import DataError
from data_toolkit.files import write_atomically
from solvers import classifier, config, curves, prototext, published, setting
from solvers.checkpoints import Checkpoints
from solvers.engine import caffe, last_words
from solvers.errors import CommandLine, SolverError, failed
from solvers.permissions import NOTHING, Permissions
from solvers.published import Curve, PublishedRun
from solvers.training_set import TrainingSet

pb = caffe.proto.caffe_pb2

BATCH = 64


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit code: 0, 2 after bad input, 130 after Ctrl-C."""
    parser = CommandLine(prog="python -m solvers.evaluate", description=__doc__,
                         formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder that solvers.train wrote, or one of the released package")
    parser.add_argument("--train-sets", action="store_true",
                        help="measure the training images too, against their given and their true labels")
    Permissions.add_options(parser)
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR",
                        help="where the measurements of a released folder go (default runs)")
    parser.add_argument("--data", type=Path, default=Path("data"), metavar="DIR",
                        help="folder of the data (default data)")
    args = parser.parse_args(argv)
    try:
        with last_words(f"{args.run} and what was measured before are as they were"):
            evaluate(args.run, args.data, args.train_sets, args.runs, Permissions.from_options(args, args.run, args.data))
    except (SolverError, DataError) as error:
        return failed(error)
    except KeyboardInterrupt:
        return 130
    return 0


def evaluate(run: Path, data: Path, train_sets: bool = False, runs: Path = Path("runs"),
             allowed: Permissions = NOTHING) -> Curve:
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

    Returns
    -------
    Curve
        Iterations, and accuracies as fractions of the test images.

    Raises
    ------
    SolverError, data_toolkit.errors.DataError
        If the run has no checkpoint, its net no probabilities, or the data are missing.
    """
    source = find_source(run, runs)
    allowed.check(source.net)
    iterations = source.checkpoints.models()
    if not iterations:
        raise SolverError(f"{run} has no checkpoint yet")
    test = dataset.load_test(data)
    train = source.labels.load(data) if train_sets else None
    if train_sets and train.true_labels is None:
        raise SolverError(f"--train-sets: {source.labels.file} does not tell its images' true labels")
    net = build(source.net)
    net_text = prototext.text(source.net).encode()
    keys = {iteration: _sha256(source.checkpoints.model(iteration).read_bytes(), net_text) for iteration in iterations}
    source.output.mkdir(parents=True, exist_ok=True)
    tested = Measurements(source.output / "accuracy.json", test)
    trained = Measurements(source.output / "train_accuracy.json", train) if train_sets else None
    loaded = None
    for iteration, key in keys.items():
        for measurements, measure in (tested, accuracy), (trained, train_accuracies):
            if measurements is None or key in measurements:
                continue
            if loaded != iteration:
                load(net, source.checkpoints.model(iteration))
                loaded = iteration
            measurements[key] = measure(net, measurements.data)
        write(source.output, keys, tested, trained)
        train_line = ", ".join(f"{name} {value:.4f}" for name, value in trained[key].items()) if trained else ""
        print(line(iteration, tested[key]) + (f"; training: {train_line}" if train_line else ""), flush=True)
    curve = Curve(iterations, [tested[key] for key in keys.values()])
    curves.save(source.output / "accuracy_curve.png", curves.draw(source.title, curve, source.published, source.solver))
    return curve


class Source(NamedTuple):
    """What is to be measured: checkpoints, the net from images to probabilities, and what is known of the run."""

    checkpoints: Checkpoints
    net: pb.NetParameter
    solver: pb.SolverParameter
    labels: TrainingSet
    published: PublishedRun | None
    title: str
    output: Path


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
        return Source(Checkpoints(run), classifier.read(run), prototext.read(run / "solver.prototxt", pb.SolverParameter()),
                      TrainingSet.from_config(about), published.match(about),
                      f"{folders.parent.name}, {folders.name.replace('_', ' ', 1)}, seed {about.get('seed')}", run)
    name = published.RUN_FOLDER.fullmatch(run.resolve().name)
    if not name:
        raise SolverError(f"{run} is no run folder: it has no config.json; solvers.train makes one")
    chosen = setting.load(run.resolve().parent / name["setting"])
    net = classifier.derive(chosen.net)
    released = next((r for r in published.load_runs()
                     if (r.exp_folder, r.run_folder) == (run.resolve().parent.name, run.resolve().name)), None)
    return Source(Checkpoints(run), net, chosen.solver, TrainingSet("symmetric", float(name["noise"])), released,
                  f"{chosen.name}, noise {name['noise']}, as released",
                  runs / chosen.name / f"noise_{name['noise']}" / "released")


def build(net: pb.NetParameter) -> caffe.Net:
    caffe.set_mode_cpu()
    with tempfile.NamedTemporaryFile("w", suffix=".prototxt") as file:  # Caffe reads nets from files only
        file.write(prototext.text(net))
        file.flush()
        return caffe.Net(file.name, caffe.TEST)


def load(net: caffe.Net, file: Path) -> None:
    """Load a checkpoint's weights into `net`, for all its layers: Caffe leaves a layer that it does not find random."""
    check_weights(net, file)
    net.copy_from(str(file))


def check_weights(net: caffe.Net, file: Path) -> None:
    """Raise SolverError unless the file is whole and has the net's weights; Caffe itself would end the process."""
    try:
        layers = {layer.name: layer.blobs for layer in pb.NetParameter.FromString(file.read_bytes()).layer}
    except DecodeError as error:
        raise SolverError(f"{file} is damaged: {error}") from error
    if missing := [name for name in net.params if not layers.get(name)]:
        raise SolverError(f"{file} has no weights for the layers {', '.join(missing)} of the test net")
    for name, blobs in net.params.items():
        ours = [tuple(blob.data.shape) for blob in blobs]
        theirs = [_shape(blob) for blob in layers[name]]
        if any(shape != other and np.prod(shape) != np.prod(other) for shape, other in zip(ours, theirs, strict=False)) \
                or len(ours) != len(theirs) or any(len(blob.data) != np.prod(shape) and len(blob.double_data) != np.prod(shape)
                                                   for blob, shape in zip(layers[name], theirs, strict=True)):
            raise SolverError(f"{file}: the weights of layer '{name}' have the shapes {theirs}, the test net's {ours}")


def _shape(blob: pb.BlobProto) -> tuple[int, ...]:
    """As Caffe reads it: the old four fields, or any number of dimensions."""
    if blob.HasField("shape"):
        return tuple(blob.shape.dim)
    return blob.num, blob.channels, blob.height, blob.width


def predict(net: caffe.Net, images: dataset.Dataset) -> np.ndarray:
    """The class of the largest probability of each image: (N,) int64. No flip, the middle crop."""
    output = "probs" if "probs" in net.blobs else net.outputs[0]
    predicted = []
    for data, _ in tqdm(batches.test_batches(images, batch_size=BATCH), total=-(-len(images.labels) // BATCH),
                        unit="batch", leave=False, disable=None):
        net.blobs["data"].reshape(*data.shape)
        net.blobs["data"].data[...] = data
        net.forward()
        predicted.append(net.blobs[output].data.reshape(len(data), -1).argmax(axis=1))
    return np.concatenate(predicted)


def accuracy(net: caffe.Net, test: dataset.Dataset) -> float:
    """The fraction of the images whose largest probability is at their label."""
    return float(np.mean(predict(net, test) == test.labels))


def train_accuracies(net: caffe.Net, train: dataset.Dataset) -> dict[str, float]:
    """Accuracies on the training images, as in Table 9 of arXiv 1905.11233 and on the two parts.

    Returns
    -------
    dict
        corrupted, intact: all images, against their given and against their true labels (the table's columns);
        clean_part: images whose given label is the true one; memorised, recovered: the other images, against their given
        and against their true labels. NaN where there are no such images.
    """
    predicted = predict(net, train)
    given, true = predicted == train.labels, predicted == train.true_labels
    noisy = train.labels != train.true_labels
    parts = {"corrupted": given, "intact": true, "clean_part": given[~noisy], "memorised": given[noisy],
             "recovered": true[noisy]}
    return {name: float(right.mean()) if len(right) else math.nan for name, right in parts.items()}


def line(iteration: int, value: float) -> str:
    return f"iter: {iteration}, accuracy: {value:.4f}"


class Measurements:
    """What was measured of checkpoints on some data, in a JSON file, so that it need not be measured again.

    Keys tell a checkpoint's weights and net.
    """

    def __init__(self, file: Path, data: dataset.Dataset):
        self.file, self.data = file, data
        try:
            content = json.loads(file.read_text())
            known = content["data_sha256"] == data.fingerprint and content["values_sha256"] == self._sum(content["values"])
            self.values = dict(content["values"]) if known else {}
        except (OSError, ValueError, KeyError, TypeError, RecursionError):  # none yet, or damaged: measure
            self.values = {}

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def __getitem__(self, key: str) -> float | dict[str, float]:
        return self.values[key]

    def __setitem__(self, key: str, value: float | dict[str, float]) -> None:
        self.values[key] = value

    def write(self, keys: Collection[str]) -> None:
        """Write those of `keys`; others belong to checkpoints that are gone."""
        values = {key: value for key, value in self.values.items() if key in keys}
        content = {"data_sha256": self.data.fingerprint, "values_sha256": self._sum(values), "values": values}
        write_atomically(self.file, json.dumps(content, indent=1) + "\n")

    @staticmethod
    def _sum(values: dict) -> str:
        """Tells a changed digit, which is still a number."""
        return _sha256(json.dumps(values, sort_keys=True).encode())


def write(output: Path, keys: dict[int, str], tested: Measurements, trained: Measurements | None) -> None:
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
