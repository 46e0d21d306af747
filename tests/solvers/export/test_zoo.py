"""The nets of the model zoo and our ResNets, exported by the command: all their blobs are those of Caffe."""

import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from data_toolkit import dataset, prepare
from data_toolkit.noise import LabelNoise
from prototxt import generate
from solvers import evaluate, train
from solvers.export import admission, comparison, source
from solvers.export.__main__ import main
from solvers.nets import prototext, weights

ROOT = Path(__file__).resolve().parents[3]
sys.path.append(str(ROOT / "benchmarks"))
import zoo_nets  # noqa: E402

FAST = "squeezenet", "cifar10_full"
ZOO = [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in zoo_nets.NETS]
DEPTHS = [20, *(pytest.param(depth, marks=pytest.mark.slow) for depth in (32, 44, 56, 110))]


def written(folder: Path, net) -> list[str]:
    """The files of a net with random weights: arguments of the command."""
    files = folder / "deploy.prototxt", folder / "net.caffemodel"
    files[0].write_text(prototext.text(net))
    made = weights.build(source.of_files(*files).net_param)  # without its fillers
    zoo_nets.randomise(made)
    made.save(str(files[1]))
    return list(map(str, files))


def check_all_blobs(folder: Path) -> None:
    """No blob of the net, and no output, is further from Caffe's than the tolerance."""
    given = source.of_files(folder / "deploy.prototxt", folder / "net.caffemodel")
    shapes = admission.admit(given.net_param, given.model, given.name)
    for case in comparison.cases(given.net_param, shapes, None, None, None):
        expected = comparison.caffe_blobs(given.net_param, given.model, case)
        assert comparison.first_apart(given.net_param, shapes, folder / "net.onnx", case, expected) is None


def check_opencv(file: Path) -> None:
    """OpenCV's dnn reads the file and computes what ONNX Runtime does."""
    shape = [size.dim_value or 2 for size in onnx.load(file).graph.input[0].type.tensor_type.shape.dim]
    data = np.random.default_rng(0).normal(0, zoo_nets.PIXELS, shape).astype(np.float32)
    [expected] = comparison.outputs_of(file, comparison.Case("random", {"data": data}, {"data": data})).values()
    net = cv2.dnn.readNetFromONNX(str(file))
    net.setInput(data)
    assert comparison.difference("prob", None, expected, net.forward().reshape(expected.shape), False).relative < 1e-4


@pytest.mark.parametrize("name", ZOO)
def test_the_zoo(tmp_path, name):
    arguments = written(tmp_path, zoo_nets.NETS[name](1))
    assert main([*arguments, "-o", str(tmp_path / "net.onnx")]) == 0
    check_all_blobs(tmp_path)
    check_opencv(tmp_path / "net.onnx")


@pytest.mark.parametrize("depth", DEPTHS)
def test_our_resnets(tmp_path, depth):
    arguments = written(tmp_path, generate.resnet(depth, 100, 1, f"resnet{depth}"))
    assert main([*arguments, "--fold", "-o", str(tmp_path / "net.onnx")]) == 0
    folded = onnx.load(tmp_path / "net.onnx").graph.node
    assert {node.op_type for node in folded} == {"Conv", "Relu", "Add", "GlobalAveragePool", "Flatten", "Gemm", "Softmax"}
    assert main([*arguments, "-o", str(tmp_path / "net.onnx")]) == 0
    check_all_blobs(tmp_path)
    check_opencv(tmp_path / "net.onnx")


@pytest.mark.slow
def test_a_trained_resnet_44_is_as_accurate(tmp_path, shared):
    """On the 10,000 test images, from uint8 on, the same images are right, in ONNX Runtime as in Caffe."""
    data, runs = tmp_path / "data", tmp_path / "runs"
    prepare.prepare(LabelNoise("symmetric", 0.0, 123), shared / "data" / "cifar-100-binary.tar.xz", data)
    setting = str(ROOT / "prototxt" / "res44_cce")
    # Small batches and steps: so few steps of the recipe's leave a net that knows nothing of the test images.
    few = ["--max-iter", "200", "--batch", "64", "--lr", "0.01"]
    assert train.main([setting, *few, "--runs", str(runs), "--data", str(data)]) == 0
    [run] = runs.glob("*/noise_0.0/seed_123")
    expected = evaluate.evaluate(run, data, evaluate.Wanted(save={"test": tmp_path / "probabilities.npy"})).accuracies[-1]
    assert main([str(run), "--preprocessing", "-o", str(tmp_path / "net.onnx"), "--data", str(data)]) == 0
    test = dataset.load_test(data)
    found = np.concatenate([
        comparison.outputs_of(tmp_path / "net.onnx", comparison.Case("real", {}, {"images": part}))["probs"]
        for part in np.array_split(test.images, 40)])
    assert evaluate.accuracy(found, test) == expected > 0.02
    np.testing.assert_allclose(found, np.load(tmp_path / "probabilities.npy"), atol=1e-4)
