"""BatchNorm, Scale, Bias, PReLU, MVN and Softmax: exported, they give what Caffe gives, whatever their settings."""

import pytest
from against_runtime import BATCH, compare, drawn, inputs, layer
from hypothesis import given
from hypothesis import strategies as st

shapes = st.lists(st.integers(1, 5), min_size=1, max_size=4).map(lambda rest: (7, *rest))  # 7 can only be the batch


@drawn
@given(shape=shapes, eps=st.floats(1e-6, 1e-2), stats=st.sampled_from(["", "use_global_stats: true"]),
       weight=st.sampled_from([0, 0.5, 999]))
def test_batch_norm(shape, eps, stats, weight):
    """With a weight of 0 there are no statistics yet."""
    def fill(net):
        net.params["layer"][2].data[...] = weight
        net.params["layer"][0].data[...] *= weight
        net.params["layer"][1].data[...] *= weight
    compare(inputs(shape) + layer("BatchNorm", f"batch_norm_param {{ eps: {eps} {stats} }}"), fill)


@drawn
@given(shape=shapes)
def test_batch_norm_by_the_batch(shape):
    compare(inputs(shape) + layer("BatchNorm", "batch_norm_param { use_global_stats: false eps: 0.01 }"))


@st.composite
def per_channel(draw, kind: str):
    """A Scale or Bias by a blob of its own, or by a second bottom, at any axes; no axis is the batch's in a blob."""
    shape = draw(shapes)
    name = f"{kind.lower()}_param"
    bias = f"bias_term: {str(draw(st.booleans())).lower()}" if kind == "Scale" else ""
    if draw(st.booleans()):
        axis = draw(st.integers(0, len(shape) - 1))
        count = draw(st.integers(0, len(shape) - axis))
        if bias.endswith("true") and (axis == 0 or not count):
            bias = ""  # Caffe's bias blob would have the batch's size
        second = shape[axis:axis + count]
        signed = draw(st.sampled_from([axis, axis - len(shape)]))
        return inputs(shape, second) + layer(kind, f"{name} {{ axis: {signed} {bias} }}", bottoms=2)
    axis = draw(st.integers(1, len(shape) - 1))
    count = draw(st.sampled_from([-1, *range(len(shape) - axis + 1)]))
    return inputs(shape) + layer(kind, f"{name} {{ axis: {axis} num_axes: {count} {bias} }}")


@drawn
@given(net=st.one_of(per_channel("Scale"), per_channel("Bias")))
def test_scale_and_bias(net):
    compare(net)


@drawn
@given(shape=shapes.filter(lambda shape: len(shape) < 5), shared=st.booleans())
def test_prelu(shape, shared):
    compare(inputs(shape) + layer("PReLU", f"prelu_param {{ channel_shared: {str(shared).lower()} }}"))


@drawn
@given(shape=shapes, data=st.data())
def test_softmax(shape, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    compare(inputs(shape) + layer("Softmax", f"softmax_param {{ axis: {axis} }}"), spread=5)


@drawn
@given(shape=shapes.filter(lambda shape: len(shape) < 5), across=st.booleans(), variance=st.booleans(),
       eps=st.floats(1e-3, 1e-1))
def test_mvn(shape, across, variance, eps):
    compare(inputs(shape) + layer("MVN", f"mvn_param {{ across_channels: {str(across).lower()} "
                                         f"normalize_variance: {str(variance).lower()} eps: {eps} }}"))


@pytest.mark.parametrize("batch", [1, BATCH, 7])
def test_any_batch(batch):
    compare(inputs((2, 3, 4, 4)) + layer("BatchNorm"), batch=batch)
