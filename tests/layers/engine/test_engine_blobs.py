"""What pycaffe shows of blobs is upstream's at any time, and what it writes is heard."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from engines import OURS, STOCK, Twins, check, convolution, engine, inputs, layer, make_net, normalised
from test_engine_layers import residual_block

caffe = pytest.importorskip("caffe")


def both(twins: Twins):
    return (twins.stock, twins.ours)


def test_a_view_held_since_before_sees_later_passes(tmp_path):
    twins = Twins(residual_block(), tmp_path)
    twins.pass_both_ways()
    views = [{name: (blob.data, blob.diff) for name, blob in net.blobs.items()} for net in both(twins)]
    twins.fill("data")
    twins.pass_both_ways()
    for name, (data, diff) in views[0].items():
        np.testing.assert_allclose(views[1][name][0], data, rtol=1e-3, atol=1e-4, err_msg=name)
        np.testing.assert_allclose(views[1][name][1], diff, rtol=1e-2, atol=1e-4, err_msg=name)


def test_views_of_blobs_that_layers_of_both_kinds_write(tmp_path):
    text = inputs(data=(4, 5, 9, 7)) + convolution("conv", "data", "x", 8) + normalised("conv", "x")
    text += layer("Dropout", "drop", "x", "x", "dropout_param { dropout_ratio: 0.5 }") + layer("ReLU", "relu", "x", "x")
    twins = Twins(text + convolution("after", "x", "top", 8), tmp_path)
    views = [[getattr(net.blobs[name], what) for name in ("x", "top") for what in ("data", "diff")] for net in both(twins)]
    for _ in range(3):
        twins.fill("data")
        twins.pass_both_ways()
        for stock, ours in zip(*views, strict=True):
            np.testing.assert_allclose(ours, stock, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name, after", [("stem", "first"), ("first", "second"), ("second", "sum"), ("sum", "narrow")])
def test_writing_into_the_middle(tmp_path, name, after):
    twins = Twins(residual_block(), tmp_path)
    for net in both(twins):
        net.forward()
    twins.fill(name)
    for net in both(twins):
        net.forward(start=after)
    twins.fill("pool", diff=True)
    for net in both(twins):
        net.backward()
    twins.check(1e-3)


def test_through_a_view_that_is_held(tmp_path):
    twins = Twins(residual_block(), tmp_path)
    views = [net.blobs["second"].data for net in both(twins)]
    for net in both(twins):
        net.forward()
    for view in views:
        view[...] = np.arange(view.size).reshape(view.shape) % 17 - 8
    for net in both(twins):
        net.forward(start="sum")
        net.backward()
    twins.check(1e-3)


def test_every_partial_range(tmp_path):
    twins = Twins(residual_block(), tmp_path)
    names = list(twins.stock._layer_names)
    for cut in range(1, len(names)):
        for net in both(twins):
            net._forward(0, cut - 1)
            net._forward(cut, len(names) - 1)
            net.clear_param_diffs()
        twins.fill("pool", diff=True)
        for net in both(twins):
            net._backward(len(names) - 1, cut)
            net._backward(cut - 1, 0)
        twins.check(1e-3)


def test_looking_after_every_layer(tmp_path):
    twins = Twins(residual_block(), tmp_path)
    for index in range(len(twins.stock._layer_names)):
        for net in both(twins):
            net._forward(index, index)
        twins.check(1e-3)
    twins.fill("pool", diff=True)
    for index in reversed(range(len(twins.stock._layer_names))):
        for net in both(twins):
            net._backward(index, index)
        twins.check(1e-3)


def test_backward_twice_from_other_gradients(tmp_path):
    """Upstream's own Scale in place must see a forward pass in between: its backward pass overwrites what it kept."""
    twins = Twins(residual_block(), tmp_path)
    twins.pass_both_ways()
    twins.stock.forward()
    for name, blobs in twins.ours.params.items():
        for index, blob in enumerate(blobs):
            twins.stock.params[name][index].data[...] = blob.data
    twins.fill("pool", diff=True)
    for net in both(twins):
        net.clear_param_diffs()
        net.backward()
    twins.check(1e-3)


def test_reshape_between_passes(tmp_path):
    twins = Twins(residual_block(), tmp_path)
    for shape in (4, 5, 9, 7), (1, 5, 9, 7), (6, 5, 12, 11), (2, 5, 3, 3):
        for net in both(twins):
            net.blobs["data"].reshape(*shape)
            net.reshape()
        twins.fill("data")
        twins.pass_both_ways()
        twins.check(1e-3)


GROW_AGAIN = """
import sys, caffe
net = caffe.Net(sys.argv[1], caffe.TRAIN)
for images in 4, 1:
    net.blobs["data"].reshape(images, 5, 9, 7)
    net.reshape()
net.forward()
assert net.blobs["top"].data.any()
net.blobs["top"].reshape(4, 8, 9, 7)
assert not net.blobs["top"].data[1:].any(), net.blobs["top"].data[1:]
"""


RESHAPED = """
import sys, caffe
net = caffe.Net(sys.argv[1], caffe.TRAIN)
net.forward()
net.blobs["data"].reshape(int(sys.argv[2]), 3, 16, 16)
if sys.argv[3] == "net": net.reshape()
net.backward()
"""


@pytest.mark.parametrize(("images", "what"), [(1, "blob"), (64, "net")])
@pytest.mark.parametrize("behind", [
    "", normalised("conv", "x"), layer("Pooling", "pool", "x", "y", "pooling_param { kernel_size: 2 }"),
    layer("Dropout", "drop", "x", "y")], ids=["convolution", "normalised", "pooling", "dropout"])
def test_no_backward_pass_of_other_shapes(tmp_path, images, what, behind):
    (tmp_path / "net.prototxt").write_text(inputs(data=(8, 3, 16, 16)) + convolution("conv", "data", "x", 8) + behind)
    done = subprocess.run([sys.executable, "-c", RESHAPED, str(tmp_path / "net.prototxt"), str(images), what],
                          capture_output=True, text=True)
    assert done.returncode == -signal.SIGABRT
    assert "its blobs were reshaped after the last forward pass; make a forward pass before the backward pass" in done.stderr


def test_memory_that_grows_again_is_zero(tmp_path):
    """As upstream's is, whatever was in that memory before: here the C library fills it with something else."""
    file = tmp_path / "net.prototxt"
    file.write_text(inputs(data=(4, 5, 9, 7)) + convolution("conv", "data", "top", 8))
    subprocess.run([sys.executable, "-c", GROW_AGAIN, str(file)], check=True, env=os.environ | {"MALLOC_PERTURB_": "90"})


def test_the_engine_can_be_switched_off(tmp_path):
    """With CAFFE_ENGINE=stock, and with `engine: CAFFE`, the bits are upstream's."""
    text = inputs(data=(3, 5, 9, 7)) + convolution("conv", "data", "top", 6, more="engine: CAFFE")
    twins = Twins(text, tmp_path)
    twins.pass_both_ways()
    for name in "data", "top":
        assert (twins.ours.blobs[name].data == twins.stock.blobs[name].data).all()
        assert (twins.ours.blobs[name].diff == twins.stock.blobs[name].diff).all()


def test_saved_parameters_are_plain(tmp_path):
    twins = Twins(residual_block(), tmp_path)
    twins.pass_both_ways()
    twins.ours.save(str(tmp_path / "ours.caffemodel"))
    with engine(STOCK):
        copy = caffe.Net(str(tmp_path / "net.prototxt"), str(tmp_path / "ours.caffemodel"), caffe.TRAIN)
    for name, blobs in twins.ours.params.items():
        for index, blob in enumerate(blobs):
            assert (copy.params[name][index].data == blob.data).all()


def test_inplace_relu_on_a_shared_top(tmp_path):
    text = inputs(data=(3, 5, 9, 7)) + convolution("conv", "data", "x", 6) + normalised("conv", "x")
    text += layer("Pooling", "pool", "x", "pool", "pooling_param { pool: MAX kernel_size: 3 stride: 2 }")
    text += convolution("a", "x", "a", 4) + layer("Sigmoid", "b", "x", "b") + convolution("c", "pool", "c", 2)
    twins = Twins(text, tmp_path)
    twins.pass_both_ways()
    twins.check(1e-3)


SHAPES = {  # of convolutions, for each family of kernels
    "Winograd": (8, "num_output: 16 kernel_size: 3 pad: 1"), "Direct": (3, "num_output: 16 kernel_size: 3 stride: 2"),
    "one pixel": (12, "num_output: 20 kernel_size: 1"), "depthwise": (8, "num_output: 8 group: 8 kernel_size: 3"),
    "oneDNN": (6, "num_output: 6 kernel_size: 5 group: 2")}


@pytest.mark.parametrize("family", SHAPES)
@pytest.mark.parametrize("way", ["array", "array held", "copy_from", "share_with", "all signs"])
def test_other_weights_in_a_net_that_tests(tmp_path, family, way):
    """It keeps its filters laid out, but not beyond the weights."""
    channels, fields = SHAPES[family]
    text = inputs(data=(4, channels, 40, 40)) + layer("Convolution", "conv", "data", "top", f"convolution_param {{ {fields} "
                                                      "weight_filler { type: 'msra' } bias_filler { type: 'gaussian' } }")
    twins = Twins(text, tmp_path, "TEST")
    other = Twins(text, tmp_path, "TEST", seed=1).ours
    held = twins.ours.params["conv"][0].data
    for step in range(3):
        twins.fill("data")
        for net in both(twins):
            net.forward()
        np.testing.assert_allclose(twins.ours.blobs["top"].data, twins.stock.blobs["top"].data, rtol=1e-3, atol=1e-4)
        if step == 1:
            continue  # with the same weights again
        if way == "array":
            twins.ours.params["conv"][0].data.flat[-1] += 1
        elif way == "array held":
            held.flat[7] += 1
        elif way == "all signs":
            held *= -1
        elif way == "copy_from":
            other.save(str(tmp_path / "other.caffemodel"))
            twins.ours.copy_from(str(tmp_path / "other.caffemodel"))
        else:
            twins.ours.share_with(other)
        twins.stock.params["conv"][0].data[...] = twins.ours.params["conv"][0].data
        twins.stock.params["conv"][1].data[...] = twins.ours.params["conv"][1].data


@pytest.mark.parametrize("family", SHAPES)
def test_weights_that_no_array_holds(tmp_path, family):
    """Then a net does not even look whether they have changed: it is told. All ways to change them must tell it."""
    channels, fields = SHAPES[family]
    (tmp_path / "net.prototxt").write_text(
        inputs(data=(4, channels, 40, 40)) + layer("Convolution", "conv", "data", "top", f"convolution_param {{ {fields} "
                                                   "weight_filler { type: 'msra' } bias_filler { type: 'gaussian' } }"))
    stock, ours, other = (make_net(name, tmp_path / "net.prototxt", "TEST") for name in (STOCK, OURS, OURS))
    files = [str(tmp_path / name) for name in ("a.caffemodel", "b.caffemodel")]
    for file in files:
        make_net(STOCK, tmp_path / "net.prototxt", "TEST").save(file)
    images = np.random.default_rng(0).normal(size=stock.blobs["data"].shape)

    def compare(*nets):
        for net in (stock, *nets):
            net.blobs["data"].data[...] = images
            net.forward()
            np.testing.assert_allclose(net.blobs["top"].data, stock.blobs["top"].data, rtol=1e-3, atol=1e-4)

    for file in (*files, files[0]):
        stock.copy_from(file)
        ours.copy_from(file)
        compare(ours)
        compare(ours)
    for file in files:
        stock.copy_from(file)
        other.copy_from(file)
        ours.share_with(other)
        compare(ours, other)
        compare(other, ours)
    for net in (stock, other):
        net.params["conv"][0].data[...] *= 2
    compare(ours, other)


def with_a_score(block: str) -> str:
    """Splits, a Flatten that shares memory, a ReLU in place at the end."""
    block += layer("Flatten", "flat", "pool", "flat") + layer("Scale", "by", "pool flat", "scaled", "scale_param { axis: 0 }")
    return block + layer("ReLU", "last", "scaled", "scaled")


def test_a_net_of_which_only_the_outputs_are_wanted(tmp_path):
    """Other blobs read NaN, unless somebody had looked at them before."""
    twins = Twins(with_a_score(residual_block()), tmp_path, "TEST")
    twins.ours.outputs_only = True
    looked_at = twins.ours.blobs["first"].data
    for _ in range(2):
        twins.fill("data")
        for net in both(twins):
            net.forward()
        for name in *twins.stock.outputs, "first":
            check(twins.ours.blobs[name].data, twins.stock.blobs[name].data, 1e-3, name)
        check(looked_at, twins.stock.blobs["first"].data, 1e-3, "the array held")
    assert np.isnan(twins.ours.blobs["second"].data).all()
    assert np.isnan(twins.ours.blobs["sum"].data).all()
    twins.ours.outputs_only = False
    for net in both(twins):
        net.forward()
    check(twins.ours.blobs["sum"].data, twins.stock.blobs["sum"].data, 1e-3, "sum")


def test_blobs_that_are_asked_for_beside_the_outputs(tmp_path):
    """From the first pass on, and by forward_all from the first batch on."""
    twins = Twins(with_a_score(residual_block()), tmp_path, "TEST")
    images = np.concatenate([twins.stock.blobs["data"].data] * 2)
    expected = twins.stock.forward_all(blobs=["second"], data=images)["second"]
    for call in "forward", "forward_all":
        net = make_net(OURS, tmp_path / "net.prototxt", "TEST")
        net.share_with(twins.ours)
        net.outputs_only = True
        found = getattr(net, call)(blobs=["second"], data=images[:len(images) // (1 + (call == "forward"))])["second"]
        check(found, expected[:len(found)], 1e-3, call)


AFTER_OUTPUTS_ONLY = """
import sys, caffe
net = caffe.Net(sys.argv[1], caffe.TEST)
net.outputs_only = True
net.forward()
net.outputs_only = False
if sys.argv[2] == "forward": net.forward()
net.backward()
"""


@pytest.mark.parametrize(("between", "code"), [("nothing", -signal.SIGABRT), ("forward", 0)])
def test_no_backward_pass_of_values_that_were_freed(tmp_path, between, code):
    (tmp_path / "net.prototxt").write_text(inputs(data=(2, 3, 8, 8)) + convolution("conv", "data", "x", 8)
                                           + layer("ReLU", "relu", "x", "x") + convolution("conv2", "x", "y", 8))
    done = subprocess.run([sys.executable, "-c", AFTER_OUTPUTS_ONLY, str(tmp_path / "net.prototxt"), between],
                          capture_output=True, text=True)
    assert done.returncode == code
    assert code == 0 or "no backward pass follows a forward pass of which only the outputs were wanted" in done.stderr


def test_weights_that_a_layer_reads_as_a_blob_are_no_activation(tmp_path):
    """A Parameter's top is the memory of the weights, here those of a convolution, too."""
    shared = "param { name: 'w' }"
    text = inputs(data=(2, 3, 8, 8)) + layer("Convolution", "conv", "data", "x", shared + (
        " convolution_param { num_output: 8 kernel_size: 3 weight_filler { type: 'msra' } }"))
    text += layer("Parameter", "same", "", "w", shared + " parameter_param { shape { dim: 8 dim: 3 dim: 3 dim: 3 } }")
    (tmp_path / "net.prototxt").write_text(text + layer("Reduction", "squares", "w", "squares",
                                                        "reduction_param { operation: SUMSQ }"))
    net = make_net(OURS, tmp_path / "net.prototxt", "TEST")
    net.outputs_only = True
    first, second = (float(net.forward()["squares"]) for _ in range(2))
    assert first == second > 0


def test_outputs_only_is_for_nets_that_test(tmp_path):
    net = Twins(residual_block(), tmp_path).ours
    with pytest.raises(RuntimeError, match="TEST"):
        net.outputs_only = True
    assert not net.outputs_only


INNER = """
import caffe
class Inner(caffe.Layer):
    net = None
    def setup(self, bottom, top): pass
    def reshape(self, bottom, top): top[0].reshape(*bottom[0].data.shape)
    def forward(self, bottom, top):
        self.net.forward()
        top[0].data[...] = self.net.blobs["first"].data.sum()
    def backward(self, top, propagate_down, bottom): pass
"""


def test_a_net_within_a_layer_keeps_what_it_keeps(tmp_path, monkeypatch):
    (tmp_path / "inner_net.py").write_text(INNER)
    monkeypatch.syspath_prepend(tmp_path)
    import inner_net

    inner_net.Inner.net = Twins(residual_block(), tmp_path, "TEST").ours
    text = inputs(data=(1, 2, 3, 4)) + layer("Python", "inner", "data", "top",
                                             "python_param { module: 'inner_net' layer: 'Inner' }")
    (tmp_path / "outer.prototxt").write_text(text)
    outer = caffe.Net(str(tmp_path / "outer.prototxt"), caffe.TEST)
    outer.outputs_only = True
    assert np.isfinite(outer.forward()["top"]).all()


MEASURE_TESTING = """
import sys, caffe
net = caffe.Net(sys.argv[1], caffe.TEST)
for net.outputs_only in True, False:
    net.forward()
    print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def test_memory_of_a_net_that_tests(tmp_path):
    """Of twenty activations of 16 MB, a few at a time."""
    text = inputs(data=(4, 16, 250, 250)) + convolution("conv", "data", "x0", 16)
    for i in range(20):
        text += convolution(f"conv{i}", f"x{i}", f"x{i + 1}", 16) + layer("ReLU", f"relu{i}", f"x{i + 1}", f"x{i + 1}")
    file = tmp_path / "net.prototxt"
    file.write_text(text)
    done = subprocess.run([sys.executable, "-c", MEASURE_TESTING, str(file)], capture_output=True, text=True, check=True,
                          env=os.environ | {"GLOG_minloglevel": "2"})
    outputs_only, everything = (int(line) / 1024 for line in done.stdout.split())
    assert everything - outputs_only > 200
