"""The committed nets and solvers have the properties of the released experiments, written out here without the generator."""

from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

caffe = pytest.importorskip("caffe")
from caffe.proto import caffe_pb2  # noqa: E402
from google.protobuf import text_format  # noqa: E402

ROOT = Path(__file__).resolve().parents[2] / "prototxt"
Weighting = caffe_pb2.LossParameter
SETTINGS = {  # setting: loss type, fields of loss_param
    "res44_cce": ("SoftmaxWithLoss", {}),
    "res44_cce_dn": ("WeightedSoftmaxWithLoss", {"weighting": Weighting.CCE_DN}),
    "res44_mae": ("WeightedSoftmaxWithLoss", {"weighting": Weighting.MAE}),
    "res44_mae_dn": ("WeightedSoftmaxWithLoss", {"weighting": Weighting.MAE_DN}),
    "res44_mse": ("WeightedSoftmaxWithLoss", {"weighting": Weighting.MSE}),
    "res44_mse_dn": ("WeightedSoftmaxWithLoss", {"weighting": Weighting.MSE_DN}),
    "res44_gce": ("WeightedSoftmaxWithLoss", {"weighting": Weighting.GCE, "q": 0.7}),
    "res44_gce_dn": ("WeightedSoftmaxWithLoss", {"weighting": Weighting.GCE_DN, "q": 0.7}),
    "res44_usw": ("UnifiedWeightLoss", {"lamda_p": 0.5, "scale": 6}),
    "res44_imae": ("UnifiedWeightLoss", {"lamda_p": 1, "scale": 6}),
    "res44_uniform": ("UnifiedWeightLoss", {"lamda_p": 1, "scale": 0}),
}
TRAIN = [f"{setting}/train.prototxt" for setting in SETTINGS]
TEST = {f"{setting}/test.prototxt": 44 for setting in SETTINGS} | {
    "test_nets/resnet20_cifar10.prototxt": 20,
    "test_nets/resnet32_cifar10.prototxt": 32,
    "test_nets/resnet44.prototxt": 44,
    "test_nets/resnet56_cifar10.prototxt": 56,
    "test_nets/resnet110_cifar10.prototxt": 110,
}
NETS = {path: 44 for path in TRAIN} | TEST


@cache
def read(path, message=caffe_pb2.NetParameter):
    return text_format.Parse((ROOT / path).read_text(), message())


def fields(message):
    return {field.name: value for field, value in message.ListFields()}


def of_type(net, kind):
    return [layer for layer in net.layer if layer.type == kind]


def multipliers(layer):
    return [(param.lr_mult, param.decay_mult) for param in layer.param]


def test_folder_holds_exactly_these_files():
    solvers = {f"{setting}/solver.prototxt" for setting in SETTINGS}
    assert {str(path.relative_to(ROOT)) for path in ROOT.glob("*/*.prototxt")} >= {*NETS, *solvers}
    assert {path.name for path in ROOT.glob("res44_*")} == set(SETTINGS)


@pytest.mark.parametrize("path, depth", NETS.items())
def test_layers_in_order(path, depth):
    n = (depth - 2) // 6
    convolution = ["Convolution", "BatchNorm", "Scale"]
    identity = [*convolution, "ReLU", *convolution, "Eltwise", "ReLU"]
    first = [*convolution, *identity]
    body = [*convolution, "ReLU", *n * identity, *first, *(n - 1) * identity, *first, *(n - 1) * identity]
    layers = read(path).layer
    kinds = [layer.type for layer in layers]
    assert kinds[: len(body) + 3] == [*body, "Pooling", "InnerProduct", "Softmax"]
    if depth == 44:
        count = Counter(kinds)
        assert [count[kind] for kind in (*convolution, "ReLU", "Eltwise")] == [45, 45, 45, 43, 21]

    seen = Counter()
    for layer in layers[: len(body) + 2]:
        seen[layer.type] += 1
        assert layer.name == f"{layer.type}{seen[layer.type]}"
    assert [layer.name for layer in layers[len(body) + 2 :]] in (["probs"], ["probs", "prob_groundtruth", "loss"])
    assert all(layer.top == [layer.name] for layer in layers if layer.type not in ("BatchNorm", "Scale", "ReLU"))


@pytest.mark.parametrize("path, depth", NETS.items())
def test_every_convolution(path, depth):
    convolutions = of_type(read(path), "Convolution")
    n = (depth - 2) // 6
    stage = 2 * n + 1
    projections = [stage + 1, 2 * stage + 1]
    if depth == 44:
        assert projections == [16, 31]
    for number, layer in enumerate(convolutions, start=1):
        given = layer.convolution_param
        assert given.num_output == 16 * 2 ** ((number - 1) // stage)
        assert list(given.kernel_size) == [1 if number in projections else 3]
        assert list(given.pad) == [0 if number in projections else 1]
        assert list(given.stride) == [2 if {number, number - 1} & {*projections} else 1]
        assert given.bias_term
        assert given.weight_filler == caffe_pb2.FillerParameter(type="msra")
        assert (given.bias_filler.type, given.bias_filler.value) == ("constant", 0)
        assert multipliers(layer) == [(1, 1), (2, 0)]
    assert number == 6 * n + 3


@pytest.mark.parametrize("path", NETS)
def test_in_place_layers_follow_their_convolution_or_sum(path):
    layers = read(path).layer
    for before, layer in pairwise(layers):
        if layer.type not in ("BatchNorm", "Scale", "ReLU"):
            continue
        assert layer.bottom == layer.top == before.top
        assert layer.top[0].startswith("Eltwise" if before.type == "Eltwise" else "Convolution")
        if layer.type == "BatchNorm":
            assert multipliers(layer) == [(0, 0)] * 3
            assert {*fields(layer)} == {"name", "type", "bottom", "top", "param"}  # the defaults of batch_norm_param
        if layer.type == "Scale":
            assert not layer.param and fields(layer.scale_param) == {"bias_term": True}


@pytest.mark.parametrize("path", [path for path, depth in NETS.items() if depth == 44])
def test_wiring_of_the_blocks(path):
    net = read(path)
    bottoms = {layer.name: list(layer.bottom) for layer in net.layer}
    assert bottoms["Convolution1"] == ["data"]
    for number, layer in enumerate(of_type(net, "Eltwise"), start=1):
        before = f"Eltwise{number - 1}" if number > 1 else "Convolution1"
        shortcut = {8: "Convolution16", 15: "Convolution31"}.get(number, before)
        second = 2 * number + 1 + (number >= 8) + (number >= 15)
        assert bottoms[layer.name] == [shortcut, f"Convolution{second}"]
        assert bottoms[f"Convolution{second}"] == [f"Convolution{second - 1}"]
        assert bottoms[f"Convolution{second - 1}"] == [before]
        assert number not in (8, 15) or bottoms[shortcut] == [before]
        assert layer.eltwise_param.operation == caffe_pb2.EltwiseParameter.SUM and not layer.eltwise_param.coeff
    assert bottoms["Pooling1"] == ["Eltwise21"]


@pytest.mark.parametrize("path", NETS)
def test_classifier(path):
    net = read(path)
    (pooling,), (product,), (probs,) = (of_type(net, kind) for kind in ("Pooling", "InnerProduct", "Softmax"))
    assert pooling.pooling_param.pool == caffe_pb2.PoolingParameter.AVE and pooling.pooling_param.global_pooling
    assert (product.name, list(product.bottom)) == ("InnerProduct1", ["Pooling1"])
    assert product.inner_product_param.num_output == (10 if "cifar10" in path else 100)
    assert product.inner_product_param.weight_filler.type == "msra"
    assert multipliers(product) == [(1, 1), (2, 1)]
    assert (probs.name, list(probs.bottom)) == ("probs", ["InnerProduct1"])


@pytest.mark.parametrize("path", TRAIN)
def test_train_inputs(path):
    net = read(path)
    assert {*fields(net)} == {"name", "input", "input_dim", "layer"}
    assert (net.name, list(net.input)) == ("resnet44", ["data", "label"])
    assert list(net.input_dim) == [256, 3, 32, 32, 256, 1, 1, 1]


@pytest.mark.parametrize("path, depth", TEST.items())
def test_test_inputs(path, depth):
    net = read(path)
    assert {*fields(net)} == {"name", "input", "input_dim", "layer"}
    assert net.name == ("resnet44" if depth == 44 else f"resnet{depth}_cifar10")
    assert list(net.input) == ["data"]
    assert list(net.input_dim) == [1 if depth == 44 else 128, 3, 32, 32]


@pytest.mark.parametrize("setting, expected", SETTINGS.items())
def test_loss(setting, expected):
    kind, loss_param = expected
    extract, loss = read(f"{setting}/train.prototxt").layer[-2:]
    assert (extract.name, extract.type, list(extract.bottom)) == ("prob_groundtruth", "ExtractProb", ["probs", "label"])
    assert list(extract.propagate_down) == [False, False]
    bottoms = ["InnerProduct1", "label", "prob_groundtruth"][: 2 if kind == "SoftmaxWithLoss" else 3]
    assert (loss.name, loss.type, list(loss.bottom), list(loss.top)) == ("loss", kind, bottoms, ["loss"])
    assert list(loss.loss_weight) == [1]
    assert list(loss.propagate_down) == [True, False, False][: len(bottoms)]
    assert fields(loss.loss_param) == loss_param


def test_settings_differ_only_in_the_loss():
    nets = [read(path) for path in TRAIN]
    for net in nets:
        assert net.layer[:-1] == nets[0].layer[:-1]
    assert len({(ROOT / path).read_text() for path in TEST if path.startswith("res44") or "resnet44" in path}) == 1


@pytest.mark.parametrize("setting", SETTINGS)
def test_solver(setting):
    solver = read(f"{setting}/solver.prototxt", caffe_pb2.SolverParameter)
    expected = caffe_pb2.SolverParameter(
        base_lr=0.1, lr_policy="multistep", gamma=0.1, stepvalue=[15000, 22000], momentum=0.9, weight_decay=0.0005
    )
    expected.net = "train.prototxt"  # released: ../<setting>/train.prototxt, which a copy of the folder would not train
    assert solver == expected  # and nothing else: no max_iter, display, snapshot, seed, mode


# Sizes in millions as Table 6 of the ResNet paper (arXiv 1512.03385) gives them, there without our convolutions' biases
# and projections; 44 is exact and has 100 outputs.
@pytest.mark.parametrize(
    "path, size, tolerance",
    [(path, 0.668868, 0) for path, depth in NETS.items() if depth == 44]
    + [
        ("test_nets/resnet20_cifar10.prototxt", 0.27, 0.01),
        ("test_nets/resnet32_cifar10.prototxt", 0.46, 0.01),
        ("test_nets/resnet56_cifar10.prototxt", 0.85, 0.01),
        ("test_nets/resnet110_cifar10.prototxt", 1.7, 0.05),
    ],
)
def test_caffe_loads_it_with_that_many_learnable_values(path, size, tolerance):
    train = path in TRAIN
    net = caffe.Net(str(ROOT / path), caffe.TRAIN if train else caffe.TEST)
    learnable = sum(blob.count for layer in net.layers if layer.type != "BatchNorm" for blob in layer.blobs)
    assert learnable / 1e6 == pytest.approx(size, rel=0, abs=tolerance)
    batch, outputs = (256, 100) if train else (128, 10) if "cifar10" in path else (1, 100)
    assert net.blobs["probs"].data.shape == (batch, outputs)
    assert net.blobs["Pooling1"].data.shape == (batch, 64, 1, 1)


@pytest.mark.parametrize("setting", SETTINGS)
def test_gradient_reaches_the_first_convolution(setting):
    caffe.set_random_seed(1)
    net = caffe.Net(str(ROOT / setting / "train.prototxt"), caffe.TRAIN)
    net.blobs["data"].reshape(4, 3, 32, 32)
    net.blobs["label"].reshape(4, 1, 1, 1)
    net.reshape()
    random = np.random.default_rng(1)
    net.blobs["data"].data[...] = random.normal(0, 60, net.blobs["data"].shape)
    net.blobs["label"].data[...] = random.integers(0, 100, net.blobs["label"].shape)
    net.forward()
    net.backward()
    chosen = net.blobs["probs"].data[range(4), net.blobs["label"].data.ravel().astype(int)]
    np.testing.assert_array_equal(net.blobs["prob_groundtruth"].data.ravel(), chosen)
    gradient = net.params["Convolution1"][0].diff
    assert np.isfinite(net.blobs["loss"].data) and np.isfinite(gradient).all() and gradient.any()
