"""Convolution, Deconvolution, Pooling, LRN and SPP: exported, they give what Caffe gives, whatever their settings."""

import numpy as np
import pytest
from against_runtime import compare, drawn, inputs, layer
from hypothesis import assume, given
from hypothesis import strategies as st

from base.errors import InputError

small = st.integers(1, 3)


def repeated(name: str, values) -> str:
    return " ".join(f"{name}: {value}" for value in values)


@st.composite
def convolutions(draw, kind="Convolution"):
    """A net with one convolution of 1 to 3 sides, its settings given once, for each side, or as _h and _w."""
    sides, group = draw(st.integers(1, 3)), draw(small)
    settings = {"kernel_size": draw(st.lists(small, min_size=sides, max_size=sides)),
                "stride": draw(st.lists(small, min_size=sides, max_size=sides)),
                "pad": draw(st.lists(st.integers(0, 2), min_size=sides, max_size=sides)),
                "dilation": draw(st.lists(small, min_size=sides, max_size=sides))}
    reach = [d * (k - 1) + 1 for d, k in zip(settings["dilation"], settings["kernel_size"], strict=True)]
    size = [draw(st.integers(max(1, r - 2 * p), 9)) for r, p in zip(reach, settings["pad"], strict=True)]
    if kind == "Deconvolution":
        assume(all(s * (n - 1) + r - 2 * p > 0 for s, n, r, p in zip(settings["stride"], size, reach, settings["pad"],
                                                                     strict=True)))
    how = draw(st.sampled_from(["each", "once", "sides"] if sides == 2 else ["each", "once"]))
    if how == "once":
        assume(all(len(set(values)) == 1 for values in settings.values()))
        said = " ".join(f"{name}: {values[0]}" for name, values in settings.items())
    elif how == "sides":
        said = repeated("dilation", settings["dilation"]) + "".join(
            f" {name.removesuffix('_size')}_h: {settings[name][0]} {name.removesuffix('_size')}_w: {settings[name][1]}"
            for name in ("kernel_size", "stride", "pad"))
    else:
        said = " ".join(repeated(name, values) for name, values in settings.items())
    bias = draw(st.sampled_from(["", "bias_term: false"]))
    shape = (2, group * draw(small), *size)
    count = draw(st.integers(1, 2))  # some layers convolve several blobs with the same weights
    return inputs(*[shape] * count) + layer(
        kind, f"convolution_param {{ num_output: {group * draw(small)} group: {group} {said} {bias} }}", count, count)


@drawn
@given(net=convolutions())
def test_convolution(net):
    compare(net)


@drawn
@given(net=convolutions("Deconvolution"))
def test_deconvolution(net):
    compare(net)


@pytest.mark.parametrize("kind", ["Convolution", "Deconvolution"])
@pytest.mark.parametrize(("shape", "axis"), [((2, 5, 4, 6, 6), 2), ((2, 4, 6, 6), -3), ((2, 3, 4, 7), 2), ((2, 4), 1)])
def test_channels_at_another_axis(kind, shape, axis):
    compare(inputs(shape) + layer(kind, f"convolution_param {{ num_output: 6 kernel_size: 1 axis: {axis} group: 2 }}"
                                  .replace("group: 2", "group: 1" if shape[axis] % 2 else "group: 2")))


@st.composite
def poolings(draw, kind: str):
    """A net with one pooling whose windows may reach past the image, and whose last may be left out."""
    kernel = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    pad = [draw(st.integers(0, k - 1)) for k in kernel]
    stride = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    size = [draw(st.integers(max(1, k - 2 * p), 12)) for k, p in zip(kernel, pad, strict=True)]
    rounding = draw(st.sampled_from(["", "round_mode: FLOOR", "round_mode: CEIL"]))
    if kind == "AVE" and "FLOOR" not in rounding:  # Caffe divides by 0 where no pixel is in a window
        assume(all(p or k >= s or (n - k) % s == 0 for p, k, s, n in zip(pad, kernel, stride, size, strict=True)))
    said = "".join(f" {name}_h: {a} {name}_w: {b}" for name, (a, b) in (("kernel", kernel), ("pad", pad), ("stride", stride)))
    if len(set(kernel)) == len(set(pad)) == len(set(stride)) == 1 and draw(st.booleans()):
        said = f"kernel_size: {kernel[0]} pad: {pad[0]} stride: {stride[0]}"
    tops = draw(st.integers(1, 2)) if kind == "MAX" and all(k >= s for k, s in zip(kernel, stride, strict=True)) else 1
    return inputs((2, 3, *size)) + layer("Pooling", f"pooling_param {{ pool: {kind} {said} {rounding} }}", tops=tops)


@drawn
@given(net=st.one_of(poolings("MAX"), poolings("AVE")))
def test_pooling(net):
    compare(net)


@pytest.mark.parametrize("kind", ["MAX", "AVE"])
def test_global_pooling(kind):
    compare(inputs((2, 3, 5, 4)) + layer("Pooling", f"pooling_param {{ pool: {kind} global_pooling: true }}"))
    compare(inputs((2, 3, 5, 4)) + layer("Pooling", "pooling_param { global_pooling: true }", tops=2))


@pytest.mark.parametrize(("settings", "why"), [
    ("pool: STOCHASTIC kernel_size: 2", "draws at random"),
    ("pool: AVE kernel_size: 1 stride: 2", "outside the image"),
])
def test_a_pooling_that_is_refused(settings, why):
    with pytest.raises(InputError, match=rf"^layer 'layer' \(Pooling\) cannot be written as ONNX: .*{why}"):
        compare(inputs((2, 3, 4, 4)) + layer("Pooling", f"pooling_param {{ {settings} }}"))


@drawn
@given(size=st.integers(0, 3), alpha=st.floats(0, 2), beta=st.floats(-1, 1), k=st.floats(1, 3),
       region=st.sampled_from(["ACROSS_CHANNELS", "WITHIN_CHANNEL"]), shape=st.tuples(*[st.integers(1, 7)] * 3))
def test_lrn(size, alpha, beta, k, region, shape):
    """Of numbers near 1: both add one square to a sum and take another away, which loses digits beside large ones."""
    net = inputs((2, *shape)) + layer("LRN", f"lrn_param {{ local_size: {2 * size + 1} alpha: {alpha} beta: {beta} k: {k} "
                                             f"norm_region: {region} }}")
    compare(net, given={"x0": np.random.default_rng(0).normal(0, 1, (3, *shape))})


@drawn
@given(height=st.integers(4, 9), width=st.integers(4, 9), levels=st.integers(1, 3), kind=st.sampled_from(["MAX", "AVE"]))
def test_spp(height, width, levels, kind):
    bins = 2 ** (levels - 1)  # Caffe itself needs each bin to hold a pixel
    assume(all((-(-side // bins) * bins - side + 1) // 2 < -(-side // bins) for side in (height, width)))
    compare(inputs((2, 3, height, width)) + layer("SPP", f"spp_param {{ pyramid_height: {levels} pool: {kind} }}"))


def test_windows_without_a_pixel_give_what_caffe_gives():
    model = compare(inputs((2, 1, 4, 4)) + layer("Pooling", "pooling_param { kernel_size: 1 stride: 2 }"))
    assert [node.op_type for node in model.graph.node] == ["Pad", "MaxPool"]
