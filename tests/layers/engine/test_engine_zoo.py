"""The nets of the zoo at random weights: outputs and the gradients of all parameters, against upstream's layers.

Both compute in single precision. A net is smooth but where a ReLU clips and where a MAX pooling chooses: there, among values
that are equal but for rounding, rounding decides, and a gradient goes another way. So upstream's own are up to 3 % of
their norm away from those in double precision, as are ours; with ELU and AVE in the place of these two, both are within 1e-5.
"""

import sys
from pathlib import Path

import double_net
import numpy as np
import pytest
from engines import OURS, STOCK, make_net

caffe = pytest.importorskip("caffe")
sys.path.append(str(Path(__file__).resolve().parents[3] / "benchmarks"))
import zoo  # noqa: E402
import zoo_nets  # noqa: E402

pytestmark = pytest.mark.slow

BATCHES = {"alexnet": 2, "squeezenet": 2, "googlenet": 2, "resnet50": 2, "densenet121": 2, "mobilenet_v2": 2, "vgg16": 1,
           "cifar10_full": 4}
ROUNDED_BY = 5e-6  # of a layer's output, at most: Winograd's transforms round by so much, matrix products by 3e-7
DRAWS = 3


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return double_net.build(tmp_path_factory.mktemp("double"))


def distance(values: np.ndarray, exact: np.ndarray) -> float:
    """Relative; what is zero but for rounding, as the gradient of a bias before a BatchNorm, may be any such zero."""
    difference = max(np.linalg.norm(np.float64(values) - exact) - 2e-6 * np.sqrt(exact.size), 0)
    return difference / np.linalg.norm(exact) if difference else 0


class Zoo:
    """A net of the zoo with a loss, in single precision by both engines and in double precision, with the same values."""

    def __init__(self, name: str, library, folder: Path, smooth: bool):
        files, shape = zoo.write_net(name, BATCHES[name], zoo.TRAINING, str(folder))
        file = files[zoo.OURS]
        if smooth:
            file.write_text(file.read_text().replace('type: "ReLU"', 'type: "ELU"').replace("pool: MAX", "pool: AVE"))
        self.stock, self.ours = make_net(STOCK, file), make_net(OURS, file)
        zoo_nets.randomise(self.stock)
        for name, blobs in self.stock.params.items():
            for index, blob in enumerate(blobs):
                self.ours.params[name][index].data[...] = blob.data
        self.double = double_net.DoubleNet(library, file, self.stock)
        random = np.random.default_rng(0)
        values = {"data": np.float32(random.normal(0, zoo_nets.PIXELS, shape)), "label": random.integers(0, 10, shape[0])}
        for name, value in values.items():
            self.double.blob(name)[...] = value
            for net in self.stock, self.ours:
                net.blobs[name].data[...] = value
        self.scores = [name for name in self.stock.blobs if name not in ("label", "loss")][-1]
        self.run_all()

    def run_all(self) -> None:
        for net in self.stock, self.ours:
            caffe.set_random_seed(1)  # of Dropout's mask
            net.clear_param_diffs()
            net.forward()
            net.backward()
        self.run_double()

    def run_double(self) -> None:
        caffe.set_random_seed(1)
        self.double.forward()
        self.double.backward()

    def parameters(self) -> list[tuple[str, int]]:
        return [(name, index) for name, blobs in self.stock.params.items() for index in range(len(blobs))]

    def gradients(self, net) -> dict[tuple[str, int], np.ndarray]:
        if net is self.double:
            return {key: net.parameter(*key, diff=True).copy() for key in self.parameters()}
        return {(name, index): net.params[name][index].diff for name, index in self.parameters()}

    def distances(self, net) -> dict[tuple[str, int], float]:
        exact = self.gradients(self.double)
        return {key: distance(values, exact[key]) for key, values in self.gradients(net).items()}

    def sensitivity(self) -> float:
        """How far the farthest gradient in double precision moves where weights change as by rounding."""
        exact, random, farthest = self.gradients(self.double), np.random.default_rng(1), 0
        weights = [(name, 0) for name, blobs in self.stock.params.items() if blobs[0].data.ndim > 1]
        for _ in range(DRAWS):
            for key in weights:
                values = self.double.parameter(*key)
                values[...] = self.stock.params[key[0]][0].data
                values *= 1 + ROUNDED_BY * random.standard_normal(values.shape, np.float32)
            self.run_double()
            farthest = max(farthest, *(distance(values, exact[key]) for key, values in self.gradients(self.double).items()))
        return farthest


@pytest.mark.parametrize("name", BATCHES)
def test_without_kinks_gradients_are_stock_s(tmp_path, library, name):
    net = Zoo(name, library, tmp_path, smooth=True)
    try:
        for blob, tolerance in (net.scores, 1e-4), ("loss", 1e-5):
            assert distance(net.ours.blobs[blob].data, net.stock.blobs[blob].data) < tolerance
            assert distance(net.ours.blobs[blob].data, net.double.blob(blob)) < tolerance
        stock = net.gradients(net.stock)
        far = {key: distance(values, stock[key]) for key, values in net.gradients(net.ours).items()}
        print(f"{name}: ours to stock {max(far.values()):.1e}, stock to double {max(net.distances(net.stock).values()):.1e}, "
              f"ours to double {max(net.distances(net.ours).values()):.1e}")
        assert not {key: value for key, value in far.items() if value > 1e-3}
    finally:
        net.double.delete()


@pytest.mark.parametrize("name", BATCHES)
def test_as_it_is(tmp_path, library, name):
    """Our gradients are no farther from double precision than upstream's are, or than rounded weights would move them."""
    net = Zoo(name, library, tmp_path, smooth=False)
    try:
        for blob, tolerance in (net.scores, 1e-3), ("loss", 1e-4):
            assert distance(net.ours.blobs[blob].data, net.stock.blobs[blob].data) < tolerance
        stock, ours = net.distances(net.stock), net.distances(net.ours)
        sensitivity = net.sensitivity()
        print(f"{name}: stock to double {max(stock.values()):.1e}, ours to double {max(ours.values()):.1e}, "
              f"sensitivity {sensitivity:.1e}")
        bound = max(1e-3, 2 * max(max(stock.values()), sensitivity))
        assert not {key: value for key, value in ours.items() if value > bound}
    finally:
        net.double.delete()
