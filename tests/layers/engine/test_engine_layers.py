"""Each accelerated layer, and chains of them, against upstream's over drawn shapes, forward and backward."""

import resource
from pathlib import Path

import numpy as np
import pytest
from engines import Twins, convolution, inputs, layer, normalised
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("caffe")

drawn = settings(max_examples=30, deadline=None, derandomize=True,
                 suppress_health_check=[HealthCheck.function_scoped_fixture])
sizes = st.tuples(st.integers(1, 5), st.integers(1, 20), st.integers(1, 12), st.integers(1, 12))
kinds_before = st.sampled_from(["", "relu", "normalised"])
phases = st.sampled_from(["TRAIN", "TEST"])
several_pixels = st.tuples(st.integers(2, 4), st.integers(1, 20), st.integers(2, 12), st.integers(2, 12))


def before(kind: str, channels: int, more: str = "") -> str:
    """What leaves `x` in the engine's layout: values, a clipped recipe, or one of BatchNorm and Scale."""
    text = convolution("conv", "data", "x", channels, more=more)
    return text + {"": "", "relu": layer("ReLU", "relu0", "x", "x"), "normalised": normalised("conv", "x")}[kind]


def with_extent(kernel: int, dilation: int) -> int:
    return dilation * (kernel - 1) + 1


@st.composite
def convolutions(draw):
    """Prototxt fields of a convolution and the shape of an input that it can take."""
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    channels, outputs = groups * draw(st.integers(1, 18)), groups * draw(st.integers(1, 18))
    fields, sides = [f"num_output: {outputs} group: {groups} bias_term: {str(draw(st.booleans())).lower()}"], []
    for letter in "hw":
        kernel, pad, stride = draw(st.integers(1, 4)), draw(st.integers(0, 3)), draw(st.integers(1, 3))
        smallest = max(1, with_extent(kernel, 1) - 2 * pad - (stride - 1))  # upstream divides so that it has an output, too
        fields.append(f"kernel_{letter}: {kernel} pad_{letter}: {pad} stride_{letter}: {stride}")
        sides.append(draw(st.integers(smallest, smallest + 10)))
    return " ".join(fields), (draw(st.integers(1, 5)), channels, *sides)


@drawn
@given(convolutions(), phases, st.integers(0, 9))
def test_convolution(tmp_path, drawn_convolution, phase, seed):
    fields, shape = drawn_convolution
    text = inputs(data=shape) + layer("Convolution", "conv", "data", "top", f"convolution_param {{ {fields} "
                                      "weight_filler { type: 'gaussian' std: 0.2 } bias_filler { type: 'gaussian' } }")
    Twins(text, tmp_path, phase, seed).check_passes()


@drawn
@given(st.integers(2, 3), st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.integers(0, 4))
def test_dilated_convolution(tmp_path, dilation, kernel, channels, outputs, pad):
    side = max(1, with_extent(kernel, dilation) - 2 * pad) + 5
    twins = Twins(inputs(data=(2, channels, side, side + 1)) + convolution(
        "conv", "data", "top", outputs, kernel, pad, f"dilation: {dilation}"), tmp_path)
    twins.check_passes()


@pytest.mark.parametrize("channels, outputs, more", [
    (3, 8, "dilation: 0"), (8, 8, "dilation: 0"), (5, 6, "dilation: 0 dilation: 1"), (6, 8, "dilation: 1 dilation: 0"),
    (4, 6, "dilation: 0 group: 2")])
def test_dilation_0(tmp_path, channels, outputs, more):
    """All taps of a filter see one pixel."""
    Twins(inputs(data=(2, channels, 6, 7)) + convolution("conv", "data", "top", outputs, 3, 1, more), tmp_path).check_passes()


@pytest.mark.parametrize("channels, outputs, far", [(8, 8, 10**6), (3, 16, 30000), (5, 7, 10**8)])
def test_an_image_that_is_lost_in_its_padding(tmp_path, channels, outputs, far):
    """Work and memory are those of the data, not of the padded image."""
    twins = Twins(inputs(data=(2, channels, 5, 6)) + convolution("conv", "data", "top", outputs, 3, far, f"stride: {far}"),
                  tmp_path)
    twins.check_passes()


@pytest.mark.parametrize(("channels", "outputs"), [(3, 8), (16, 16), (24, 32), (8, 8), (64, 64)])
@pytest.mark.parametrize(("sides", "dilation"), [((2, 2), 1), ((9, 2), 1), ((2, 9), 1), ((4, 4), 2)])
def test_an_image_that_is_smaller_than_the_filter(tmp_path, channels, outputs, sides, dilation):
    """Upstream divides -1 by the stride 2, which rounds to 0, so that there is one output."""
    twins = Twins(inputs(data=(3, channels, *sides)) + convolution(
        "conv", "data", "top", outputs, 3, 0, f"stride: 2 dilation: {dilation}"), tmp_path)
    twins.check_passes()


@pytest.mark.parametrize("channels, outputs, side, batch", [
    (3, 16, 32, 5), (16, 16, 32, 3), (32, 32, 16, 4), (64, 64, 8, 5), (16, 32, 16, 2), (17, 15, 9, 2), (16, 16, 31, 1)])
def test_convolutions_of_resnets(tmp_path, channels, outputs, side, batch):
    Twins(inputs(data=(batch, channels, side, side)) + convolution("conv", "data", "top", outputs), tmp_path).check_passes()


@drawn
@given(sizes, st.booleans(), st.booleans(), st.sampled_from([0, 0.1]), phases)
def test_batch_norm_scale_relu(tmp_path, shape, in_place, after_convolution, slope, phase):
    tops = ["x"] * 4 if in_place else ["x", "normalised", "scaled", "top"]
    text = inputs(data=shape)
    if after_convolution:
        text += convolution("conv", "data", "x", shape[1] + 1)
    else:
        text += layer("Power", "power", "data", "x", "power_param { scale: 3 shift: 7 }")  # a layer that is not ours
    text += (layer("BatchNorm", "bn", tops[0], tops[1]) + layer("Scale", "scale", tops[1], tops[2],
             "scale_param { bias_term: true filler { type: 'gaussian' } bias_filler { type: 'gaussian' } }")
             + layer("ReLU", "relu", tops[2], tops[3], f"relu_param {{ negative_slope: {slope} }}"))
    twins = Twins(text, tmp_path, phase)
    for net in (twins.stock, twins.ours):
        for index, blob in enumerate(net.params["bn"]):
            blob.data[...] = [0.5, 3, 2][index]
    if twins.stock.blobs["x"].count == twins.stock.blobs["x"].channels and phase == "TRAIN":
        return  # one pixel a channel: the variance is 0, and all is rounding
    twins.check_passes(1e-3)


@settings(drawn, max_examples=12)
@given(st.sampled_from([0, 1, 30, 1000, 30000]), st.booleans(), st.sampled_from([0, 1, -500]), st.integers(0, 9))
def test_statistics_of_noise_on_a_large_mean(tmp_path, mean, after_convolution, bias, seed):
    """Upstream's variance is that of differences from the mean: so exact is ours, of the values as they are."""
    text = inputs(data=(8, 8, 20, 20))
    if after_convolution:
        text += convolution("conv", "data", "x", 8)
    else:
        text += layer("Power", "power", "data", "x")
    twins = Twins(text + layer("BatchNorm", "bn", "x", "top"), tmp_path, seed=seed)
    net = twins.ours
    net.blobs["data"].data[...] += mean
    if after_convolution:  # copies its input, so that the borders are no outliers
        net.params["conv"][0].data[...] = 0
        net.params["conv"][0].data[range(8), range(8), 1, 1] = 1
        net.params["conv"][1].data[...] = bias
    net.forward()
    x = np.float64(net.blobs["x"].data)
    expected = x.var(axis=(0, 2, 3), ddof=1)
    np.testing.assert_allclose(net.params["bn"][1].data, expected, rtol=5e-4)
    normalised = (x - x.mean(axis=(0, 2, 3), keepdims=True)) / np.sqrt(x.var(axis=(0, 2, 3), keepdims=True) + 1e-5)
    np.testing.assert_allclose(net.blobs["top"].data, normalised, rtol=1e-3, atol=2e-3 * max(1, mean / 1000))


@pytest.mark.parametrize(("bottoms", "axis"), [("x", 1), ("x other2", 0)])
def test_scale_of_what_was_written_between_the_passes(tmp_path, bottoms, axis):
    """By channel, and by a second blob."""
    twins = Twins(inputs(data=(2, 3, 4, 5), other=(2, 3, 4, 5)) + convolution("conv", "data", "x", 8)
                  + convolution("conv2", "other", "other2", 8)
                  + layer("Scale", "scale", bottoms, "y", f"scale_param {{ axis: {axis} }}"), tmp_path)
    for net in twins.stock, twins.ours:
        net.forward()
        net.blobs["x"].data[...] = 3
        for name in twins.stock.outputs:
            net.blobs[name].diff[...] = 1
        net.backward()
    twins.check()


@pytest.mark.parametrize("parameters", ["axis: 1", "axis: 0 num_axes: 2 bias_term: true", "axis: 2",
                                        "num_axes: 0 bias_term: true"])
def test_scales_of_other_axes(tmp_path, parameters):
    twins = Twins(inputs(data=(2, 3, 4, 5)) + convolution("conv", "data", "x", 3)
                  + layer("Scale", "scale", "x", "x", f"scale_param {{ {parameters} }}"), tmp_path)
    twins.check_passes(more=1)


@drawn
@given(sizes, st.sampled_from(["", "coeff: 1 coeff: -0.5 coeff: 2", "operation: PROD", "operation: MAX"]),
       st.booleans(), phases)
def test_eltwise(tmp_path, shape, parameters, one_of_another_layer, phase):
    text = inputs(data=shape)
    for name in "abc":
        text += convolution(name, "data", name, 7)
    if one_of_another_layer:
        text += layer("TanH", "tanh", "b", "b")
    twins = Twins(text + layer("Eltwise", "sum", "a b c", "sum", f"eltwise_param {{ {parameters} }}")
                  + layer("ReLU", "relu", "sum", "sum"), tmp_path, phase)
    twins.check_passes(1e-3)


def test_a_chain_of_sums(tmp_path):
    """Each link doubles: 2^30 terms, were they all kept."""
    text = inputs(data=(2, 3, 4, 5)) + convolution("conv", "data", "x0", 4)
    for i in range(30):
        text += layer("Eltwise", f"sum{i}", f"x{i} x{i}", f"x{i + 1}")
    twins = Twins(text, tmp_path)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()  # by tests before, in this process
    resource.setrlimit(resource.RLIMIT_AS, (taken + (4 << 30), resource.RLIM_INFINITY))  # a failure ends this process only
    try:
        twins.pass_both_ways()
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    twins.check()


@st.composite
def poolings(draw):
    """Prototxt fields of a pooling layer, and the sides of an input that it can take."""
    fields = [f"pool: {draw(st.sampled_from(['MAX', 'AVE']))}"]
    if draw(st.integers(0, 5)) == 0:
        return f"{fields[0]} global_pooling: true", [draw(st.integers(1, 9)) for _ in "hw"]
    fields.append(f"round_mode: {draw(st.sampled_from(['CEIL', 'CEIL', 'FLOOR']))}")
    sides = []
    for letter in "hw":
        kernel, stride = draw(st.integers(1, 5)), draw(st.integers(1, 4))
        pad = draw(st.integers(0, kernel - 1))
        fields.append(f"kernel_{letter}: {kernel} stride_{letter}: {stride} pad_{letter}: {pad}")
        sides.append(draw(st.integers(max(1, kernel - 2 * pad), kernel + 9)))
    return " ".join(fields), sides


@drawn
@given(poolings(), st.integers(1, 4), st.integers(1, 40), kinds_before, phases)
def test_pooling(tmp_path, pooling, images, channels, kind_before, phase):
    parameters, sides = pooling
    if kind_before == "normalised" and images * np.prod(sides) < 8:
        return  # a variance of so few values is mostly rounding
    text = inputs(data=(images, 3, *sides)) + before(kind_before, channels)
    text += layer("Pooling", "pool", "x", "top", f"pooling_param {{ {parameters} }}")
    Twins(text, tmp_path, phase).check_passes(1e-3)


@pytest.mark.parametrize("pool", ["MAX", "AVE"])
@pytest.mark.parametrize(("kernel", "stride", "side"), [(1, 3, 5), (1, 4, 6), (2, 5, 8), (2, 6, 9)])
def test_pooling_whose_last_window_is_beyond_the_image(tmp_path, pool, kernel, stride, side):
    """Upstream's rounding up makes such windows: their maximum is -FLT_MAX, their sum 0."""
    for before in "", layer("ReLU", "relu", "x", "x"), normalised("conv", "x"):
        fields = f"pooling_param {{ pool: {pool} kernel_size: {kernel} stride: {stride} }}"
        twins = Twins(inputs(data=(4, 3, side, side)) + convolution("conv", "data", "x", 5) + before
                      + layer("Pooling", "pool", "x", "top", fields), tmp_path)
        twins.check_passes(1e-3)


def test_pooling_with_a_window_of_more_taps_than_can_be_counted(tmp_path):
    """In 32 bits, 65536 squared is 0."""
    twins = Twins(inputs(data=(1, 8, 2, 2)) + convolution("conv", "data", "x", 8) + layer(
        "Pooling", "pool", "x", "y", "pooling_param { kernel_size: 65536 pad: 32768 stride: 65536 }"), tmp_path)
    twins.check_passes()


def test_pooling_with_a_window_of_many_taps(tmp_path):
    """A tap's number takes a byte: upstream's layer takes windows of more than 256."""
    for parameters in "kernel_size: 16", "kernel_size: 17", "global_pooling: true":
        twins = Twins(inputs(data=(2, 3, 20, 19)) + convolution("conv", "data", "x", 5)
                      + layer("Pooling", "pool", "x", "top", f"pooling_param {{ pool: MAX {parameters} }}"), tmp_path)
        twins.check_passes()


def test_the_first_of_equal_maxima_gets_the_gradient(tmp_path):
    twins = Twins(inputs(data=(2, 3, 6, 6)) + convolution("conv", "data", "x", 5) + layer("ReLU", "relu", "x", "y")
                  + layer("Pooling", "pool", "y", "top", "pooling_param { kernel_size: 3 stride: 1 }"), tmp_path)
    for net in twins.stock, twins.ours:
        net.params["conv"][0].data[...] = 0
        net.params["conv"][1].data[...] = [-1, 0, 1, 2, 3]
    twins.check_passes()


@settings(drawn, max_examples=15)
@given(sizes, st.lists(st.integers(1, 40), min_size=2, max_size=4),
       st.sets(st.sampled_from(["relu", "plain", "norm", "twice"])), phases)
def test_concat(tmp_path, shape, outputs, kinds, phase):
    text, bottoms = inputs(data=shape), []
    for i, channels in enumerate(outputs):
        text += convolution(f"c{i}", "data", f"x{i}", channels)
        bottoms.append(f"x{i}")
    if "relu" in kinds:
        text += layer("ReLU", "relu", "x0", "x0")
    if "plain" in kinds:
        bottoms.append("data")
    if "twice" in kinds:
        bottoms.append("x1")
    text += layer("Concat", "cat", " ".join(bottoms), "top")
    if "norm" in kinds and shape[0] * shape[2] * shape[3] > 7:
        text += layer("BatchNorm", "bn", "top", "bn") + convolution("after", "bn", "end", 8)
    Twins(text, tmp_path, phase).check_passes(1e-3)


@pytest.mark.parametrize("axis", [0, 2, 3, -1])
def test_concat_along_another_axis(tmp_path, axis):
    twins = Twins(inputs(data=(2, 3, 4, 5)) + convolution("a", "data", "a", 6) + convolution("b", "data", "b", 6)
                  + layer("Concat", "cat", "a b", "top", f"concat_param {{ axis: {axis} }}"), tmp_path)
    twins.check_passes()


@drawn
@given(sizes, st.booleans(), st.sampled_from([0.2, 0.5]), phases)
def test_dropout(tmp_path, shape, in_place, ratio, phase):
    """The same elements are dropped for the same seed."""
    top = "x" if in_place else "top"
    twins = Twins(inputs(data=shape) + convolution("conv", "data", "x", 7)
                  + layer("Dropout", "drop", "x", top, f"dropout_param {{ dropout_ratio: {ratio} }}"), tmp_path, phase)
    twins.check_passes()


@drawn
@given(sizes, st.sampled_from([1, 3, 5, 7]), st.sampled_from([0.75, 0.5, 1.3]), st.sampled_from([1e-4, 0.5]),
       st.sampled_from([1, 2.5]), st.sampled_from(["ACROSS_CHANNELS", "ACROSS_CHANNELS", "WITHIN_CHANNEL"]), phases)
def test_lrn(tmp_path, shape, size, beta, alpha, k, region, phase):
    twins = Twins(inputs(data=shape) + convolution("conv", "data", "x", shape[1]) + layer("ReLU", "relu", "x", "x")
                  + layer("LRN", "lrn", "x", "top", f"lrn_param {{ local_size: {size} alpha: {alpha} beta: {beta} k: {k} "
                          f"norm_region: {region} }}"), tmp_path, phase)
    twins.check_passes()


@drawn
@given(st.tuples(st.integers(1, 9), st.integers(1, 20), st.integers(1, 4), st.integers(1, 4)), st.integers(1, 40),
       st.booleans(), st.booleans(), st.integers(1, 2), st.booleans(), phases)
def test_inner_product(tmp_path, shape, outputs, transpose, bias, axis, after_convolution, phase):
    text = inputs(data=shape)
    if after_convolution:
        text += convolution("conv", "data", "x", 7)
    else:
        text += layer("Power", "power", "data", "x")
    twins = Twins(text + layer("InnerProduct", "ip", "x", "top", f"inner_product_param {{ num_output: {outputs} axis: {axis} "
                  f"transpose: {str(transpose).lower()} bias_term: {str(bias).lower()} weight_filler {{ type: 'msra' }} "
                  "bias_filler { type: 'gaussian' } }"), tmp_path, phase)
    twins.check_passes()


@drawn
@given(st.integers(1, 3), st.sampled_from([8, 24, 32]), st.integers(1, 5), st.integers(1, 2), st.integers(3, 40),
       st.booleans(), st.booleans(), phases)
def test_depthwise_convolution(tmp_path, images, channels, kernel, stride, side, normal, bias, phase):
    pad, text = kernel // 2, inputs(data=(images, 4, side, side + 2))
    text += convolution("conv", "data", "x", channels, more="bias_term: false")
    text += normalised("conv", "x") if normal else layer("ReLU", "relu", "x", "x")
    text += convolution("deep", "x", "y", channels, kernel, pad,
                        f"stride: {stride} group: {channels} bias_term: {str(bias).lower()}")
    # A bias before a BatchNorm has no gradient but rounding errors.
    text += layer("ReLU", "relu2", "y", "y") if bias else normalised("deep", "y")
    Twins(text + convolution("end", "y", "z", 8, 1, 0), tmp_path, phase).check_passes(2e-3)


@settings(drawn, max_examples=12)
@given(st.sampled_from([(3, 30, 32), (16, 16, 17), (1, 50, 51), (2, 5, 5)]), st.integers(2, 40), st.integers(1, 40),
       kinds_before, st.booleans())
def test_convolution_with_filters_of_one_pixel(tmp_path, shape, channels, outputs, kind_before, bias):
    """Many pixels go through the matrix product in chunks, a few at once."""
    images, *sides = shape
    text = inputs(data=(images, 3, *sides)) + before(kind_before, channels, "bias_term: false")
    text += convolution("one", "x", "y", outputs, 1, 0, f"bias_term: {str(bias).lower()}")
    Twins(text + (layer("ReLU", "relu2", "y", "y") if bias else normalised("one", "y")), tmp_path).check_passes(2e-3)


@settings(drawn, max_examples=25)
@given(several_pixels, st.sampled_from([
    ("ELU", ""), ("ELU", "elu_param { alpha: 0.3 }"), ("ELU", "elu_param { alpha: -0.3 }"), ("Sigmoid", ""), ("TanH", ""),
    ("PReLU", "prelu_param { filler { type: 'gaussian' } }"), ("PReLU", "prelu_param { channel_shared: true }")]),
    st.booleans(), kinds_before, phases)
def test_activation(tmp_path, shape, kind, in_place, kind_before, phase):
    name, parameters = kind
    in_place = in_place and "-0.3" not in parameters  # upstream's tells the sign of the input from the output then
    text = inputs(data=shape) + before(kind_before, 7) + layer(name, "act", "x", "x" if in_place else "y", parameters)
    Twins(text + convolution("after", "x" if in_place else "y", "top", 5), tmp_path, phase).check_passes(1e-3)


@pytest.mark.parametrize("kind", ["Sigmoid", "TanH", "ELU"])
def test_activations_over_the_whole_range(tmp_path, kind):
    """To float's last digits, where the exponential is far from 1 and where it is near."""
    twins = Twins(inputs(data=(1, 1, 40, 50)) + convolution("conv", "data", "x", 1, 1, 0, "bias_term: false")
                  + layer(kind, "act", "x", "top"), tmp_path)
    x = np.random.default_rng(0).normal(size=(1, 1, 40, 50)) * 10.0 ** np.linspace(-6, 3, 2000).reshape(1, 1, 40, 50)
    twins.ours.params["conv"][0].data[...] = 1
    twins.ours.blobs["data"].data[...] = x
    twins.ours.forward()
    x = np.float64(twins.ours.blobs["x"].data)
    with np.errstate(over="ignore"):
        expected = {"Sigmoid": 1 / (1 + np.exp(-x)), "TanH": np.tanh(x), "ELU": np.where(x > 0, x, np.expm1(x))}[kind]
    np.testing.assert_allclose(twins.ours.blobs["top"].data, expected, rtol=1e-6, atol=2e-7 if kind == "ELU" else 2e-38)


@settings(drawn, max_examples=12)
@given(several_pixels, st.lists(st.integers(1, 30), min_size=1, max_size=4), kinds_before,
       st.sampled_from(["", "relu", "norm"]), phases)
def test_slice(tmp_path, shape, widths, kind_before, behind, phase):
    tops = [f"part{i}" for i in range(len(widths))]
    points = " ".join(f"slice_point: {point}" for point in np.cumsum(widths)[:-1])
    text = inputs(data=shape) + before(kind_before, sum(widths))
    text += layer("Slice", "slice", "x", " ".join(tops), f"slice_param {{ {points} }}")
    text += {"": "", "relu": layer("ReLU", "relu", "part0", "part0"), "norm": normalised("part0", "part0")}[behind]
    Twins(text + convolution("after", tops[-1], "top", 5), tmp_path, phase).check_passes(1e-3)


@pytest.mark.parametrize("axis", [0, 2, 3])
def test_slice_along_another_axis(tmp_path, axis):
    Twins(inputs(data=(4, 3, 4, 6)) + convolution("conv", "data", "x", 6)
          + layer("Slice", "slice", "x", "a b", f"slice_param {{ axis: {axis} }}"), tmp_path).check_passes(1e-3)


@st.composite
def crops(draw):
    """The shape of a convolution's output, that of what it is cropped to, and prototxt fields of the Crop layer."""
    axis = draw(st.integers(0, 3))
    whole = [draw(st.integers(1, 4)), draw(st.integers(1, 9)), draw(st.integers(1, 12)), draw(st.integers(1, 12))]
    offsets = [draw(st.integers(0, size - 1)) if number >= axis else 0 for number, size in enumerate(whole)]
    part = [draw(st.integers(1, size - offset)) for size, offset in zip(whole, offsets, strict=True)]
    return whole, part, f"axis: {axis} " + " ".join(f"offset: {offset}" for offset in offsets[axis:])


@settings(drawn, max_examples=12)
@given(crops(), kinds_before, phases)
def test_crop(tmp_path, crop, kind_before, phase):
    (images, channels, *sides), part, fields = crop
    if kind_before == "normalised" and images * np.prod(sides) < 8:
        return  # a variance of so few values is mostly rounding
    text = inputs(data=(images, 3, *sides), like=part) + before(kind_before, channels)
    text += layer("Crop", "crop", "x like", "y", f"crop_param {{ {fields} }}")
    Twins(text + convolution("after", "y", "top", 5), tmp_path, phase).check_passes(1e-3)


@st.composite
def deconvolutions(draw):
    groups, fields, sides = draw(st.sampled_from([1, 1, 2, 8])), [], []
    channels, outputs = groups * draw(st.integers(1, 9)), groups * draw(st.integers(1, 9))
    if groups == 8:
        channels = outputs = 8  # each channel alone, as where maps are enlarged
    for letter in "hw":
        kernel, stride, side = draw(st.integers(1, 5)), draw(st.integers(1, 4)), draw(st.integers(1, 7))
        most = (stride * (side - 1) + kernel - 1) // 2  # an output has one row at least
        pad = draw(st.integers(0, min(3, most)))
        fields.append(f"kernel_{letter}: {kernel} stride_{letter}: {stride} pad_{letter}: {pad}")
        sides.append(side)
    fields.append(f"num_output: {outputs} group: {groups} bias_term: {str(draw(st.booleans())).lower()}")
    return " ".join(fields), channels, sides


@settings(drawn, max_examples=25)
@given(deconvolutions(), st.integers(1, 3), kinds_before, st.booleans(), phases)
def test_deconvolution(tmp_path, deconvolution, images, kind_before, after_convolution, phase):
    fields, channels, sides = deconvolution
    if kind_before == "normalised" and images * np.prod(sides) < 8:
        return  # a variance of so few values is mostly rounding
    if after_convolution:
        text = inputs(data=(images, 3, *sides)) + before(kind_before, channels)
    else:
        text = inputs(data=(images, channels, *sides)) + layer("Power", "power", "data", "x")
    text += layer("Deconvolution", "deconv", "x", "y", f"convolution_param {{ {fields} "
                  "weight_filler { type: 'gaussian' std: 0.3 } bias_filler { type: 'gaussian' } }")
    Twins(text + layer("ReLU", "relu", "y", "y") + convolution("after", "y", "top", 5), tmp_path, phase).check_passes(1e-3)


def test_dilated_deconvolution_and_one_by_upstream(tmp_path):
    for more in "dilation: 2", "engine: CAFFE", "dilation: 2 stride: 3":
        text = inputs(data=(2, 3, 5, 6)) + convolution("conv", "data", "x", 8)
        text += layer("Deconvolution", "deconv", "x", "y", f"convolution_param {{ num_output: 8 kernel_size: 3 pad: 1 {more} "
                      "weight_filler { type: 'msra' } }")
        Twins(text, tmp_path).check_passes(1e-3)


@settings(drawn, max_examples=25)
@given(several_pixels, st.sampled_from(["", "0", "1", "01", "0123"]), st.sampled_from(["Scale", "Bias"]), st.booleans(),
       kinds_before, st.booleans(), phases)
def test_a_second_blob(tmp_path, shape, axes, kind, in_place, kind_before, factor_is_ours, phase):
    """A factor or summand of each image, of each channel, of both, of all, or of each value."""
    images, _, *sides = shape
    whole = (images, 7, *sides)
    by = tuple(whole[int(axis)] for axis in axes)
    text = inputs(data=shape, by=by).replace("shape {  }", "shape { }") + before(kind_before, 7)
    if axes == "0123" and factor_is_ours:
        text += convolution("factor", "data", "other", 7)
    else:
        text += layer("Power", "power", "by", "other", "power_param { scale: 2 }")
    field = f"{kind.lower()}_param {{ axis: {axes[:1] or 0} }}"
    text += layer(kind, "layer", "x other", "x" if in_place else "y", field)
    twins = Twins(text + convolution("after", "x" if in_place else "y", "top", 5), tmp_path, phase)
    twins.fill("by")
    twins.check_passes(1e-3)


@settings(drawn, max_examples=12)
@given(several_pixels, st.sampled_from(["axis: 1", "axis: 0 num_axes: 2", "axis: 2", "num_axes: 0"]), st.booleans(),
       kinds_before, phases)
def test_learned_bias(tmp_path, shape, fields, in_place, kind_before, phase):
    text = inputs(data=shape) + before(kind_before, 7)
    text += layer("Bias", "bias", "x", "x" if in_place else "y", f"bias_param {{ {fields} filler {{ type: 'gaussian' }} }}")
    Twins(text + convolution("after", "x" if in_place else "y", "top", 5), tmp_path, phase).check_passes(1e-3, more=1)


@settings(drawn, max_examples=12)
@given(several_pixels, st.sampled_from([1, 1, 1, 2, -1]), st.sampled_from([0.3, 20]), st.booleans(),
       st.sampled_from(["", "relu"]), phases)
def test_softmax_of_maps(tmp_path, shape, axis, spread, in_place, kind_before, phase):
    text = inputs(data=shape) + before(kind_before, 7)
    text += layer("Scale", "spread", "x", "x", f"scale_param {{ filler {{ value: {spread} }} }}")
    text += layer("Softmax", "softmax", "x", "x" if in_place else "y", f"softmax_param {{ axis: {axis} }}")
    Twins(text + convolution("after", "x" if in_place else "y", "top", 5), tmp_path, phase).check_passes(1e-3)


def test_loss_of_maps(tmp_path):
    """Upstream's loss over our softmax."""
    text = inputs(data=(3, 4, 5, 6), label=(3, 1, 5, 6)) + before("relu", 7)
    twins = Twins(text + layer("SoftmaxWithLoss", "loss", "x label", "loss", "loss_param { ignore_label: 3 }"), tmp_path)
    for net in twins.stock, twins.ours:
        net.blobs["label"].data[...] = np.arange(90).reshape(3, 1, 5, 6) % 7
    twins.check_passes(1e-3)


@settings(drawn, max_examples=12)
@given(several_pixels, st.sampled_from([
    layer("Flatten", "flat", "x", "y"), layer("Flatten", "flat", "x", "y", "flatten_param { axis: 2 }"),
    layer("Flatten", "flat", "x", "y", "flatten_param { axis: 0 end_axis: 1 }"),
    *(layer("Reshape", "reshape", "x", "y", f"reshape_param {{ shape {{ {shape} }} }}") + layer("TanH", "tanh", "y", "z")
      for shape in ("dim: 0 dim: 0 dim: -1 dim: 1", "dim: 0 dim: 0 dim: 1 dim: -1", "dim: 0 dim: -1 dim: 1 dim: 1",
                    "dim: -1 dim: 0 dim: 1 dim: 1", "dim: 1 dim: -1 dim: 0 dim: 0", "dim: 0 dim: -1"))]),
    kinds_before, st.booleans())
def test_other_shapes_of_the_same_values(tmp_path, shape, reshape, kind_before, read_by_others):
    text = inputs(data=shape) + before(kind_before, 7) + (convolution("other", "x", "other", 3) if read_by_others else "")
    Twins(text + reshape, tmp_path).check_passes(1e-3)


def residual_block(engine_of_one: str = "") -> str:
    text = inputs(data=(4, 5, 9, 7)) + convolution("stem", "data", "stem", 8) + normalised("stem", "stem")
    text += convolution("first", "stem", "first", 8, more=engine_of_one) + normalised("first", "first")
    text += convolution("second", "first", "second", 8) + normalised("second", "second").rsplit("layer", 1)[0]
    text += layer("Eltwise", "sum", "stem second", "sum") + layer("ReLU", "relu", "sum", "sum")
    text += convolution("narrow", "sum", "narrow", 12, 1, 0, "stride: 2") + normalised("narrow", "narrow")
    text += convolution("wide", "sum", "wide", 12, 3, 1, "stride: 2") + layer("Eltwise", "sum2", "narrow wide", "sum2")
    return text + layer("Pooling", "pool", "sum2", "pool", "pooling_param { pool: AVE global_pooling: true }")


@pytest.mark.parametrize("engine_of_one", ["", "engine: CAFFE"])
def test_residual_block(tmp_path, engine_of_one):
    Twins(residual_block(engine_of_one), tmp_path).check_passes(1e-3)


@pytest.mark.parametrize("more", [
    layer("Dropout", "drop", "x", "x", "dropout_param { dropout_ratio: 0.5 }"),
    layer("PReLU", "prelu", "x", "x"),
    layer("Concat", "cat", "x data", "top"),
    layer("LRN", "lrn", "x", "top"),
    layer("Flatten", "flat", "x", "flat")
    + layer("InnerProduct", "ip", "flat", "top",
            "inner_product_param { num_output: 4 weight_filler { type: 'msra' } }"),
    layer("Reshape", "reshape", "x", "top", "reshape_param { shape { dim: 0 dim: 4 dim: -1 dim: 6 } }")
    + convolution("after", "top", "end", 3),
    layer("Slice", "slice", "x", "one two", "slice_param { slice_point: 3 }"),
    layer("Deconvolution", "deconv", "x", "top", "convolution_param { num_output: 3 kernel_size: 2 stride: 2 "
          "weight_filler { type: 'msra' } }"),
], ids=lambda text: text.split("'")[3])
def test_beside_layers_that_are_not_ours(tmp_path, more):
    text = inputs(data=(3, 5, 4, 6)) + convolution("conv", "data", "x", 8) + normalised("conv", "x")
    Twins(text + more, tmp_path).check_passes(1e-3)


def test_other_numbers_of_axes_fall_back(tmp_path):
    text = inputs(data=(4, 6)) + layer("BatchNorm", "bn", "data", "x") + layer("Scale", "scale", "x", "x")
    Twins(text + layer("ReLU", "relu", "x", "x"), tmp_path).check_passes()


@drawn
@given(st.tuples(st.integers(1, 5), st.integers(1, 40)), st.sampled_from([1, 30, 300]), st.integers(0, 99))
def test_softmax(tmp_path, shape, spread, seed):
    """To float's last digits, over the whole range; values that are no normal numbers become 0."""
    twins = Twins(inputs(data=shape) + layer("Softmax", "softmax", "data", "top"), tmp_path)
    scores = np.random.default_rng(seed).normal(0, spread, shape).astype(np.float32)
    twins.ours.blobs["data"].data[...] = scores
    twins.ours.forward()
    shifted = np.float64(scores - scores.max(axis=1, keepdims=True))  # a difference in float, as the layer takes it
    expected = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(twins.ours.blobs["top"].data, expected, rtol=1e-6, atol=2e-38)


def test_softmax_of_what_is_no_number_is_none(tmp_path):
    twins = Twins(inputs(data=(3, 20)) + layer("Softmax", "softmax", "data", "top"), tmp_path)
    scores = twins.ours.blobs["data"].data
    scores[0, 5], scores[1, 0], scores[2, 19] = np.nan, np.inf, -np.inf
    twins.ours.forward()
    top = twins.ours.blobs["top"].data
    assert np.isnan(top[0]).all() and np.isnan(top[1]).any()
    assert top[2, 19] == 0 and np.isclose(top[2].sum(), 1)
