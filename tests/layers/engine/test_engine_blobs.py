"""What pycaffe shows of blobs is upstream's at any time, and what it writes is heard."""

import os
import subprocess
import sys

import numpy as np
import pytest
from engines import STOCK, Twins, convolution, engine, inputs, layer, normalised
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
