"""Training by the engine is training by upstream's layers: losses, options of the solver, restarts, repeatability."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from engines import OURS, STOCK, check, convolution, engine, inputs, layer, normalised

caffe = pytest.importorskip("caffe")

BATCH = 16


def small_net(more: str = "") -> str:
    """A residual net with a loss."""
    text = inputs(data=(BATCH, 3, 16, 16), label=(BATCH,)).replace("force_backward: true\n", "")
    text += convolution("stem", "data", "stem", 8) + normalised("stem", "stem")
    text += convolution("first", "stem", "first", 8) + normalised("first", "first")
    text += convolution("second", "first", "second", 8) + normalised("second", "second").rsplit("layer", 1)[0]
    text += layer("Eltwise", "sum", "stem second", "sum") + layer("ReLU", "relu", "sum", "sum")
    text += more
    text += layer("Pooling", "pool", "sum", "pool", "pooling_param { pool: AVE global_pooling: true }")
    text += layer("InnerProduct", "scores", "pool", "scores",
                  "inner_product_param { num_output: 5 weight_filler { type: 'msra' } }")
    return text + layer("SoftmaxWithLoss", "loss", "scores label", "loss")


SGD = "base_lr: 0.05 momentum: 0.9 weight_decay: 0.001"


def make_solver(name: str, folder: Path, net: str, options: str = SGD):
    (folder / "net.prototxt").write_text(net)
    file = folder / "solver.prototxt"
    file.write_text(f"net: '{folder}/net.prototxt' lr_policy: 'fixed' random_seed: 3 "
                    f"snapshot_prefix: '{folder}/{name}' {options}")
    with engine(name):
        return caffe.get_solver(str(file))


def train(solver, name: str, steps: int, start: int = 0) -> list[float]:
    losses = []
    for step in range(start, start + steps):
        random = np.random.default_rng(step)
        solver.net.blobs["label"].data[...] = np.arange(BATCH) % 5
        solver.net.blobs["data"].data[...] = (random.normal(size=(BATCH, 3, 16, 16))
                                              + (np.arange(BATCH) % 5).reshape(-1, 1, 1, 1))
        with engine(name):
            solver.step(1)
        losses.append(float(solver.net.blobs["loss"].data))
    return losses


def compare_training(folder: Path, net: str, options: str = SGD, steps: int = 6):
    solvers = {name: make_solver(name, folder, net, options) for name in (STOCK, OURS)}
    losses = {name: train(solver, name, steps) for name, solver in solvers.items()}
    np.testing.assert_allclose(losses[OURS], losses[STOCK], rtol=1e-3)
    for name, blobs in solvers[STOCK].net.params.items():
        for index, blob in enumerate(blobs):
            check(solvers[OURS].net.params[name][index].data, blob.data, 5e-3, f"parameter {index} of {name}")
    return solvers


@pytest.mark.parametrize("options", ["iter_size: 3", "clip_gradients: 0.5", "regularization_type: 'L1'",
                                     "debug_info: true display: 1", "test_interval: 2 test_iter: 1"])
def test_options_of_the_solver(tmp_path, options):
    compare_training(tmp_path, small_net(), f"{SGD} {options}")


@pytest.mark.parametrize("options", [
    "type: 'Nesterov' momentum: 0.9", "type: 'AdaGrad' delta: 1e-3", "type: 'Adam' momentum: 0.9",
    "type: 'RMSProp' rms_decay: 0.9 delta: 1e-3", "type: 'AdaDelta' momentum: 0.9 delta: 1e-6"])
def test_other_solvers(tmp_path, options):
    solvers = {name: make_solver(name, tmp_path, small_net(), f"base_lr: 0.002 {options}") for name in (STOCK, OURS)}
    # They divide by the size of the gradient, and a convolution's bias before a BatchNorm has none but rounding errors.
    np.testing.assert_allclose(train(solvers[OURS], OURS, 4), train(solvers[STOCK], STOCK, 4), rtol=1e-2)


def test_a_callback_sees_all_gradients_of_a_step(tmp_path):
    """From the first step on."""
    seen = {}
    for name in STOCK, OURS:
        solver = make_solver(name, tmp_path, small_net())
        blobs = solver.net.blobs
        seen[name] = []
        solver.net.after_backward(lambda layer, blobs=blobs, log=seen[name]: log.append(
            {key: blob.diff.copy() for key, blob in blobs.items()}) if layer == 0 else None)
        train(solver, name, 1)
    for key, values in seen[STOCK][0].items():
        check(seen[OURS][0][key], values, 1e-3, key)


INNER = """
import caffe
class Inner(caffe.Layer):
    net, seen = None, []
    def setup(self, bottom, top): pass
    def reshape(self, bottom, top): top[0].reshape(*bottom[0].data.shape)
    def forward(self, bottom, top): top[0].data[...] = bottom[0].data
    def backward(self, top, propagate_down, bottom):
        self.net.forward()
        self.net.backward()
        self.seen.append(self.net.blobs["first"].diff.copy())
        bottom[0].diff[...] = top[0].diff
"""


def test_a_net_within_a_layer_keeps_its_gradients(tmp_path, monkeypatch):
    (tmp_path / "inner_gradients.py").write_text(INNER)
    monkeypatch.syspath_prepend(tmp_path)
    from inner_gradients import Inner

    (tmp_path / "inner.prototxt").write_text(small_net())
    with engine(OURS):
        Inner.net = caffe.Net(str(tmp_path / "inner.prototxt"), caffe.TRAIN)
    Inner.net.blobs["data"].data[...] = np.random.default_rng(0).normal(size=Inner.net.blobs["data"].data.shape)
    outer = small_net(layer("Python", "inner", "sum", "sum2", "python_param { module: 'inner_gradients' layer: 'Inner' }"))
    assert "bottom: 'sum' top: 'pool'" in outer
    solver = make_solver(OURS, tmp_path, outer.replace("bottom: 'sum' top: 'pool'", "bottom: 'sum2' top: 'pool'"))
    train(solver, OURS, 1)
    Inner.net.forward()
    Inner.net.backward()
    check(Inner.seen[0], Inner.net.blobs["first"].diff, 1e-6, "first")


def test_a_sum_in_place(tmp_path):
    compare_training(tmp_path, small_net(layer("Eltwise", "in_place", "sum stem", "sum")))


def test_a_loss_weight_on_an_activation_in_place(tmp_path):
    """Caffe writes the loss weights into the top's gradient once, when the net is made."""
    more = convolution("branch", "stem", "branch", 4) + layer("ReLU", "branch_relu", "branch", "branch", "loss_weight: 0.001")
    compare_training(tmp_path, small_net(more))


@pytest.mark.parametrize("force", [False, True])
def test_a_gradient_that_no_layer_writes(tmp_path, force):
    """The size reference of a Crop gets none, and an unused branch has one only with force_backward: it stays 0."""
    more = convolution("branch", "stem", "branch", 4, 3, 0) + layer("ReLU", "branch_relu", "branch", "branch")
    crop = layer("Crop", "crop", "sum branch", "cropped", "crop_param { axis: 2 offset: 1 }")
    if force:
        net = "force_backward: true\n" + small_net(more)
    else:
        net = small_net(more + crop).replace("bottom: 'sum' top: 'pool'", "bottom: 'cropped' top: 'pool'")
    solvers = compare_training(tmp_path, net)
    for solver in solvers.values():  # and in a pass of its own after the steps
        solver.net.clear_param_diffs()
        solver.net.forward()
        solver.net.backward()
    gradients = [solvers[name].net.params["branch"][0].diff for name in (STOCK, OURS)]
    np.testing.assert_array_equal(*gradients)


RAISES = """
import caffe
class Raises(caffe.Layer):
    def setup(self, bottom, top): pass
    def reshape(self, bottom, top): top[0].reshape(*bottom[0].data.shape)
    def forward(self, bottom, top):
        if self.phase == caffe.TEST: raise ValueError("no test today")
    def backward(self, top, propagate_down, bottom): pass
"""


def test_a_test_net_after_an_exception_in_it(tmp_path, monkeypatch):
    (tmp_path / "raises.py").write_text(RAISES)
    monkeypatch.syspath_prepend(tmp_path)
    net = small_net(layer("Python", "raises", "stem", "raised", "python_param { module: 'raises' layer: 'Raises' }"))
    solver = make_solver(OURS, tmp_path, net, f"{SGD} test_interval: 1 test_iter: 1")
    with pytest.raises(ValueError, match="no test today"):
        solver.step(1)
    assert not solver.test_nets[0].outputs_only


def test_frozen_parameters(tmp_path):
    net = small_net()
    frozen = net.replace("name: 'first' type: 'Convolution'", "name: 'first' type: 'Convolution' param { lr_mult: 0 }")
    assert frozen != net
    solvers = compare_training(tmp_path, frozen)
    start = make_solver(OURS, tmp_path, frozen)
    assert (start.net.params["first"][0].data == solvers[OURS].net.params["first"][0].data).all()
    assert (start.net.params["first"][1].data != solvers[OURS].net.params["first"][1].data).any()


def test_frozen_bottom(tmp_path):
    """Nothing learns below: the gradient stops there."""
    net = small_net().replace("name: 'first' type: 'Convolution'",
                              "name: 'first' type: 'Convolution' propagate_down: false")
    net = net.replace("name: 'sum' type: 'Eltwise'",
                      "name: 'sum' type: 'Eltwise' propagate_down: false propagate_down: true")
    compare_training(tmp_path, net)


def test_shared_parameters(tmp_path):
    net = small_net()
    for name in "first", "second":
        net = net.replace(f"name: '{name}' type: 'Convolution'",
                          f"name: '{name}' type: 'Convolution' param {{ name: 'w' }} param {{ name: 'b' }}")
    solvers = compare_training(tmp_path, net)
    shared = solvers[OURS].net.params
    assert (shared["first"][0].data == shared["second"][0].data).all()


def test_twenty_steps(tmp_path):
    compare_training(tmp_path, small_net(), steps=20)


def sums(*layers: str) -> str:
    """A residual block behind that of small_net, and more layers in between."""
    text = "".join(layers) + convolution("third", "sum", "third", 8) + normalised("third", "third").rsplit("layer", 1)[0]
    text += layer("Eltwise", "sum_of_sums", "sum third", "last") + layer("ReLU", "last_relu", "last", "last")
    return small_net(text).replace("bottom: 'sum' top: 'pool'", "bottom: 'last' top: 'pool'")


OTHER_READERS = {
    "none": [],
    "a convolution": [convolution("branch", "sum", "branch", 8), layer("Eltwise", "more", "branch stem", "more")],
    "itself": [layer("Eltwise", "twice", "sum sum", "twice")],
    "a difference": [layer("Eltwise", "less", "sum stem", "less", "eltwise_param { coeff: -2 coeff: 1 }")],
    "a layer of upstream's": [layer("Power", "power", "sum", "power", "power_param { scale: 0.5 }")],
    "its pixels": [layer("Reshape", "reshape", "sum", "pixels", "reshape_param { shape { dim: 0 dim: 0 dim: -1 dim: 1 } }")],
}


@pytest.mark.parametrize("readers", OTHER_READERS)
@pytest.mark.parametrize("options", ["", "debug_info: true display: 1", "iter_size: 2"])
def test_a_sum_with_several_readers(tmp_path, readers, options):
    """Its gradient is the sum of theirs, whoever adds them up."""
    more = OTHER_READERS[readers]
    if more:
        top = more[-1].split("top: '")[1].split("'")[0]
        more = [*more, layer("Reduction", "small", top, "small", "loss_weight: 0.00001 reduction_param { operation: SUMSQ }")]
    compare_training(tmp_path, sums(*more), f"{SGD} {options}")


def test_a_sum_whose_relu_is_not_in_place(tmp_path):
    net = sums()
    for before, after in (("type: 'ReLU' bottom: 'sum' top: 'sum'", "type: 'ReLU' bottom: 'sum' top: 'y'"),
                          ("bottom: 'sum' top: 'third'", "bottom: 'y' top: 'third'"),
                          ("bottom: 'sum' bottom: 'third'", "bottom: 'y' bottom: 'third'")):
        assert before in net
        net = net.replace(before, after)
    solvers = compare_training(tmp_path, net)
    for name, solver in solvers.items():  # now somebody has looked at every gradient
        for blob in solver.net.blobs.values():
            blob.diff[...]
        train(solver, name, 1, start=6)
    for name in "y", "sum", "third":
        check(*(solvers[engine].net.blobs[name].diff for engine in (OURS, STOCK)), 1e-2, f"gradient of {name}")


def test_gradients_of_a_sum_that_somebody_looked_at(tmp_path):
    """Each reader's own."""
    solvers = {name: make_solver(name, tmp_path, sums()) for name in (STOCK, OURS)}
    for name, solver in solvers.items():
        readers = [blob for blob in solver.net.blobs if "split" in blob]
        assert len(readers) >= 4
        for blob in readers:
            solver.net.blobs[blob].diff[...]
        train(solver, name, 1)
    for blob in readers:
        check(*(solvers[engine].net.blobs[blob].diff for engine in (OURS, STOCK)), 1e-3, f"gradient of {blob}")


@pytest.mark.parametrize("first, second", [(STOCK, OURS), (OURS, STOCK)])
def test_snapshot_of_one_engine_restored_by_the_other(tmp_path, first, second):
    before = make_solver(first, tmp_path, small_net())
    train(before, first, 3)
    before.snapshot()
    after = make_solver(second, tmp_path, small_net())
    after.restore(str(tmp_path / f"{first}_iter_3.solverstate"))
    np.testing.assert_allclose(train(after, second, 3, start=3), train(before, first, 3, start=3), rtol=1e-3)


def test_gradients_after_a_step(tmp_path):
    """The solver's own steps keep those that somebody looked at before; the others read NaN."""
    solvers = {name: make_solver(name, tmp_path, small_net()) for name in (STOCK, OURS)}
    for name, solver in solvers.items():
        train(solver, name, 1)
    assert np.isnan(solvers[OURS].net.blobs["second"].diff).all()
    for name, solver in solvers.items():
        train(solver, name, 1, start=1)
    check(solvers[OURS].net.blobs["second"].diff, solvers[STOCK].net.blobs["second"].diff, 1e-2, "gradient")


def test_gradients_that_upstream_layers_wrote_are_freed_too(tmp_path):
    """Dropout in place writes the gradient, and the ReLU before it again."""
    solver = make_solver(OURS, tmp_path, small_net(layer("Dropout", "drop", "sum", "sum")))
    train(solver, OURS, 2)
    assert np.isnan(solver.net.blobs["sum"].diff).all()
    train(solver, OURS, 1, start=2)
    assert np.isfinite(solver.net.blobs["sum"].diff).all()


def test_a_solver_that_tests_keeps_no_activation(tmp_path):
    """Of its test net; whoever makes a pass of that net has them all."""
    solver = make_solver(OURS, tmp_path, small_net(), f"{SGD} test_interval: 1 test_iter: 1")
    net = solver.test_nets[0]
    train(solver, OURS, 2)
    assert np.isnan(net.blobs["second"].data).all() and not net.outputs_only
    net.forward()
    assert np.isfinite(net.blobs["second"].data).all()
    train(solver, OURS, 1, start=2)
    assert np.isfinite(net.blobs["second"].data).all()  # as somebody looked at it


@pytest.mark.parametrize("channels", [7, 8], ids=["oneDNN's kernels", "ours"])
def test_two_solvers_at_the_same_time(tmp_path, channels):
    """Each in its own thread, which changes no bit."""
    net = small_net().replace("num_output: 8", f"num_output: {channels}")
    random = np.random.default_rng(0)
    images, labels = random.normal(size=(BATCH, 3, 16, 16)), random.integers(5, size=BATCH)

    def new_solver():
        solver = make_solver(OURS, tmp_path, net)
        solver.net.blobs["data"].data[...] = images
        solver.net.blobs["label"].data[...] = labels
        return solver

    alone, *both = [new_solver() for _ in range(3)]
    alone.step(10)
    threads = [threading.Thread(target=solver.step, args=(10,)) for solver in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for solver in both:
        for name, blobs in alone.net.params.items():
            for index, blob in enumerate(blobs):
                assert (solver.net.params[name][index].data == blob.data).all(), name


TRAIN_FOUR_STEPS = """
import sys
sys.path[:0] = {path!r}
from pathlib import Path
from test_engine_training import *
solver = make_solver(OURS, Path({folder!r}), small_net())
print(train(solver, OURS, 4), [float(b.data.astype('f8').sum()) for p in solver.net.params.values() for b in p])
"""


def test_same_bits_again(tmp_path):
    """In two processes with the same number of threads."""
    script = TRAIN_FOUR_STEPS.format(path=[str(Path(__file__).parent), *sys.path], folder=str(tmp_path))
    runs = [subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True,
                           env=os.environ | {"OMP_NUM_THREADS": "2", "GLOG_minloglevel": "2"}).stdout for _ in range(2)]
    assert runs[0] == runs[1] and runs[0].startswith("[")


def test_a_wrong_name_of_an_engine_stops(tmp_path):
    (tmp_path / "net.prototxt").write_text(small_net())
    done = subprocess.run([sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}; import caffe; "
                           f"caffe.Net({str(tmp_path / 'net.prototxt')!r}, caffe.TRAIN)"],
                          capture_output=True, text=True, env=os.environ | {"CAFFE_ENGINE": "stok"})
    assert done.returncode != 0 and "CAFFE_ENGINE=stok" in done.stderr and "onednn" in done.stderr


@pytest.mark.parametrize("options", [SGD, "type: 'Adam' base_lr: 0.01"])
def test_a_net_that_tests_in_between_has_the_new_weights(tmp_path, options):
    """It shares them, and keeps its filters laid out; no array holds them."""
    solver = make_solver(OURS, tmp_path, small_net(), f"{options} test_interval: 1000 test_iter: 1 test_initialization: false")
    images = np.random.default_rng(0).normal(size=(BATCH, 3, 16, 16))
    found = []
    for step in range(3):
        solver.test_nets[0].share_with(solver.net)
        solver.net.save(str(tmp_path / "now.caffemodel"))
        with engine(OURS):
            fresh = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST, weights=str(tmp_path / "now.caffemodel"))
        for net in (solver.test_nets[0], fresh):
            net.blobs["data"].data[...] = images
            net.forward()
            found.append(net.blobs["scores"].data.copy())
        np.testing.assert_array_equal(found[-2], found[-1])
        train(solver, OURS, 1, step)
    assert not np.array_equal(found[0], found[2]) and not np.array_equal(found[2], found[4])


@pytest.mark.slow
def test_resnet_44_from_the_same_weights(tmp_path):
    """Twenty steps of the recipe, each from upstream's weights.

    Left alone, two runs part within a few steps at this learning rate: so do two of upstream's from weights that differ
    by 1e-7.
    """
    setting = Path(__file__).resolve().parents[3] / "prototxt" / "res44_usw" / "train.prototxt"
    net = setting.read_text().replace("dim: 256", f"dim: {BATCH}")
    solvers = {name: make_solver(name, tmp_path, net, "base_lr: 0.1 momentum: 0.9 weight_decay: 0.0005")
               for name in (STOCK, OURS)}
    random = np.random.default_rng(0)
    for _ in range(20):
        images, labels = random.normal(0, 60, (BATCH, 3, 32, 32)), random.integers(0, 100, (BATCH, 1, 1, 1))
        for name, blobs in solvers[STOCK].net.params.items():
            for index, blob in enumerate(blobs):
                solvers[OURS].net.params[name][index].data[...] = blob.data
        for name, solver in solvers.items():
            solver.net.blobs["data"].data[...] = images
            solver.net.blobs["label"].data[...] = labels
            with engine(name):
                solver.step(1)
        losses = [float(solver.net.blobs["loss"].data) for solver in solvers.values()]
        np.testing.assert_allclose(losses[1], losses[0], rtol=5e-6)
