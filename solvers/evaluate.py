"""Measure every checkpoint of a run on the 10,000 test images: accuracy.txt and accuracy_curve.png in the run folder.

    python -m solvers.evaluate runs/res44_usw/noise_0.4/seed_123

A checkpoint that was measured before, on the same net and data, is not measured again.
"""

import argparse
import hashlib
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError
from tqdm import tqdm

from data_toolkit import batches, dataset
from data_toolkit.errors import DataError
from solvers import curves, prototext, published, validate
from solvers.checkpoints import Checkpoints, write_atomically
from solvers.engine import caffe
from solvers.errors import CommandLine, SolverError, failed
from solvers.inputs import IMAGE
from solvers.phases import layers_in
from solvers.published import Curve

pb = caffe.proto.caffe_pb2

TEST = pb.NetState(phase=pb.TEST)
BATCH = 64


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit code: 0, 2 after bad input, 130 after Ctrl-C."""
    parser = CommandLine(prog="python -m solvers.evaluate", description=__doc__,
                         formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder that solvers.train wrote")
    parser.add_argument("--data", type=Path, default=Path("data"), metavar="DIR",
                        help="folder of the data (default data)")
    args = parser.parse_args(argv)
    try:
        evaluate(args.run, args.data)
    except (SolverError, DataError) as error:
        return failed(error)
    except KeyboardInterrupt:
        return 130
    return 0


def evaluate(run: Path, data: Path) -> Curve:
    """Measure a run's checkpoints and write accuracy.txt (after each of them) and accuracy_curve.png.

    Parameters
    ----------
    run : Path
        A run folder.
    data : Path
        Folder of the prepared data.

    Returns
    -------
    Curve
        Iterations, and accuracies as fractions of the test images.

    Raises
    ------
    SolverError, data_toolkit.errors.DataError
        If the run has no checkpoint, its net no probabilities, or the data are missing.
    """
    if not (run / "config.json").is_file():
        raise SolverError(f"{run} is no run folder: it has no config.json; solvers.train makes one")
    checkpoints = Checkpoints(run)
    if not checkpoints.models():
        raise SolverError(f"{run} has no checkpoint yet")
    net_param = read_test_net(run)
    test = dataset.load_test(data)
    net = build(net_param)
    same = prototext.text(net_param).encode(), test.fingerprint.encode()
    of = {iteration: _sha256(checkpoints.model(iteration).read_bytes(), *same) for iteration in checkpoints.models()}
    measured = _read_measured(run)
    for iteration, key in of.items():
        if key not in measured:
            load(net, checkpoints.model(iteration))
            measured[key] = accuracy(net, test)
            write(run, of, measured)
        print(line(iteration, measured[key]), flush=True)
    write(run, of, measured)
    curve = Curve(list(of), [measured[key] for key in of.values()])
    config = json.loads((run / "config.json").read_text())
    solver = prototext.read(run / "solver.prototxt", pb.SolverParameter())
    title = f"{run.resolve().parent.parent.name}, noise {config['noise']}, seed {config['seed']}"
    png = curves.draw(title, curve, published.match(config), solver)
    write_atomically(run / "accuracy_curve.png", png)
    return curve


def read_test_net(run: Path) -> pb.NetParameter:
    """The net from images to probabilities: the run's test.prototxt, else what its train net is without the label."""
    file = run / "test.prototxt"
    if file.is_file():
        net = prototext.read(file, pb.NetParameter())
    else:
        net = derive_test_net(prototext.read(run / "train.prototxt", pb.NetParameter()))
    validate.check_net(net, TEST)
    return net


def derive_test_net(train: pb.NetParameter) -> pb.NetParameter:
    """Keep of a train net what follows from its images alone, up to the probabilities ``probs``.

    Raises
    ------
    SolverError
        If it is not fed with images through the blob ``data``, or has no loss to tell its scores by.
    """
    net = pb.NetParameter(name=train.name, input=["data"], input_dim=[1, *IMAGE])
    layers = list(layers_in(train, TEST))
    inputs = {*train.input, *(top for layer in layers if layer.type == "Input" for top in layer.top)}
    if "data" not in inputs:
        raise SolverError("the net reads its own data; solvers.evaluate measures nets that are fed with CIFAR-100")
    available = {"data"}
    for layer in layers:
        if layer.bottom and available.issuperset(layer.bottom):
            net.layer.add().CopyFrom(layer)
            available.update(layer.top)
    if "probs" not in available:
        scores = [layer.bottom[0] for layer in layers if "label" in layer.bottom and layer.bottom[0] in available]
        if not scores:
            raise SolverError("the net has neither the blob 'probs' nor a loss of scores and 'label'")
        net.layer.add(name="probs", type="Softmax", bottom=[scores[-1]], top=["probs"])
    return net


def build(net: pb.NetParameter) -> caffe.Net:
    caffe.set_mode_cpu()
    with tempfile.NamedTemporaryFile("w", suffix=".prototxt") as file:  # Caffe reads nets from files only
        file.write(prototext.text(net))
        file.flush()
        return caffe.Net(file.name, caffe.TEST)


def load(net: caffe.Net, file: Path) -> None:
    """Load a checkpoint's weights into `net`, for all its layers: Caffe leaves a layer that it does not find random."""
    try:
        layers = {layer.name for layer in pb.NetParameter.FromString(file.read_bytes()).layer if layer.blobs}
    except DecodeError as error:
        raise SolverError(f"{file} is damaged: {error}") from error
    if missing := [name for name in net.params if name not in layers]:
        raise SolverError(f"{file} has no weights for the layers {', '.join(missing)} of the test net")
    net.copy_from(str(file))


def accuracy(net: caffe.Net, test: dataset.Dataset) -> float:
    """The fraction of the test images whose largest probability is at their label."""
    output = "probs" if "probs" in net.blobs else net.outputs[0]
    correct = 0
    for data, labels in tqdm(batches.test_batches(test, batch_size=BATCH), total=-(-len(test.labels) // BATCH),
                             unit="batch", leave=False, disable=None):
        net.blobs["data"].reshape(*data.shape)
        net.blobs["data"].data[...] = data
        net.forward()
        predicted = net.blobs[output].data.reshape(len(data), -1).argmax(axis=1)
        correct += int(np.count_nonzero(predicted == np.ravel(labels)))
    return correct / len(test.labels)


def line(iteration: int, value: float) -> str:
    return f"iter: {iteration}, accuracy: {value:.4f}"


def write(run: Path, of: dict[int, str], measured: dict[str, float]) -> None:
    """Write accuracy.txt and, to know the values again, accuracy.json.

    Parameters
    ----------
    run : Path
    of : dict
        Hash of weights, net and data of each checkpoint, by iteration.
    measured : dict
        Accuracies by these hashes, as far as they are known.
    """
    known = {iteration: key for iteration, key in of.items() if key in measured}
    lines = [line(iteration, measured[key]) + "\n" for iteration, key in known.items()]
    write_atomically(run / "accuracy.txt", "".join(lines))
    values = {key: measured[key] for key in known.values()}
    write_atomically(run / "accuracy.json", json.dumps(values, indent=1) + "\n")


def _read_measured(run: Path) -> dict[str, float]:
    """What accuracy.json holds; nothing if it cannot be read."""
    try:
        return dict(json.loads((run / "accuracy.json").read_text()))
    except (OSError, ValueError):
        return {}


def _sha256(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
