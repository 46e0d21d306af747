"""Layers that move, join, cut, search or sum along axes, and matrices: exported, they give what Caffe gives."""

import numpy as np
import pytest
from against_runtime import compare, drawn, inputs, layer, parsed
from hypothesis import given
from hypothesis import strategies as st

from base.errors import InputError
from solvers.export import layer_types

shapes = st.lists(st.integers(1, 5), min_size=1, max_size=4).map(lambda rest: (7, *rest))  # 7 can only be the batch


def listed(name: str, values) -> str:
    return " ".join(f"{name}: {value}" for value in values)


@drawn
@given(shape=shapes, data=st.data(), parts=st.integers(1, 3))
def test_concat(shape, data, parts):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    all_shapes = [list(shape) for _ in range(parts)]
    if axis % len(shape):
        for other in all_shapes:
            other[axis] = data.draw(st.integers(1, 4))
    old = axis == 1 and data.draw(st.booleans())
    compare(inputs(*all_shapes) + layer("Concat", f"concat_param {{ {'concat_dim' if old else 'axis'}: {axis} }}", parts))


@drawn
@given(data=st.data(), parts=st.integers(1, 3), rest=st.lists(st.integers(1, 3), max_size=2))
def test_slice(data, parts, rest):
    if data.draw(st.booleans()):
        size = parts * data.draw(st.integers(1, 3))
        points = []
    else:
        points = sorted(data.draw(st.lists(st.integers(1, 8), min_size=parts - 1, max_size=parts - 1, unique=True)))
        size = (points[-1] if points else 0) + data.draw(st.integers(1, 3))
    name = data.draw(st.sampled_from(["axis: 1", "slice_dim: 1", f"axis: {-1 - len(rest)}"]))
    compare(inputs((2, size, *rest)) + layer("Slice", f"slice_param {{ {name} {listed('slice_point', points)} }}", tops=parts))


def test_slices_of_the_batch():
    compare(inputs((2, 3)) + layer("Slice", "slice_param { axis: 0 }", tops=2), batch=6)
    compare(inputs((2, 3)) + layer("Slice", "slice_param { axis: 0 slice_point: 1 }", tops=2), batch=5)


@drawn
@given(shape=shapes, data=st.data())
def test_flatten(shape, data):
    first = data.draw(st.integers(0, len(shape) - 1))
    last = data.draw(st.integers(first, len(shape) - 1)) - data.draw(st.sampled_from([0, len(shape)]))
    compare(inputs(shape) + layer("Flatten", f"flatten_param {{ axis: {first} end_axis: {last} }}"))


@pytest.mark.parametrize(("shape", "settings"), [
    ((2, 6, 4), "shape { dim: 0 dim: -1 }"),
    ((2, 6, 4), "shape { dim: 0 dim: 2 dim: 3 dim: 4 }"),
    ((2, 6, 4), "shape { dim: -1 dim: 3 }"),
    ((2, 6, 4), "shape { dim: 3 dim: 2 } axis: 1 num_axes: 1"),
    ((2, 6, 4), "shape { dim: 1 } num_axes: 0"),
    ((2, 6, 4), "shape { dim: 1 dim: 1 } axis: -1 num_axes: 0"),
    ((2, 6, 4), "shape { dim: -1 }"),
    ((2, 1), "shape { dim: 0 }  num_axes: 2"),
])
def test_reshape(shape, settings):
    compare(inputs(shape) + layer("Reshape", f"reshape_param {{ {settings} }}"))


@drawn
@given(data=st.data(), shape=st.lists(st.integers(1, 6), min_size=2, max_size=3).map(lambda rest: (7, *rest)))
def test_crop(data, shape):
    axis = data.draw(st.integers(1, len(shape) - 1))
    sizes = [data.draw(st.integers(1, size)) for size in shape[axis:]]
    offsets = [data.draw(st.integers(0, whole - size)) for whole, size in zip(shape[axis:], sizes, strict=True)]
    offsets = data.draw(st.sampled_from([offsets, [min(offsets)], []]))
    signed = data.draw(st.sampled_from([axis, axis - len(shape)]))
    compare(inputs(shape, (*shape[:axis], *sizes)) + layer(
        "Crop", f"crop_param {{ axis: {signed} {listed('offset', offsets)} }}", 2))


@drawn
@given(shape=shapes, data=st.data(), tiles=st.integers(1, 3))
def test_tile(shape, data, tiles):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    compare(inputs(shape) + layer("Tile", f"tile_param {{ axis: {axis} tiles: {tiles} }}"))


@drawn
@given(shape=shapes, data=st.data(), values=st.booleans(), ties=st.booleans())
def test_argmax(shape, data, values, ties):
    """Whole numbers are often equal; then the last one counts."""
    axis = data.draw(st.one_of(st.none(), st.integers(1, len(shape) - 1)))
    top_k = data.draw(st.integers(1, int(np.prod(shape[1:])) if axis is None else shape[axis]))
    given = {"x0": np.random.default_rng(2).integers(0, 3, (3, *shape[1:]))} if ties else {}
    compare(inputs(shape) + layer("ArgMax", f"argmax_param {{ top_k: {top_k} out_max_val: {str(values).lower()} "
                                            f"{'' if axis is None else f'axis: {axis}'} }}"), given=given)


@drawn
@given(shape=shapes, data=st.data(), operation=st.sampled_from(["SUM", "ASUM", "SUMSQ", "MEAN"]),
       coefficient=st.sampled_from([1, -2.5]))
def test_reduction(shape, data, operation, coefficient):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    compare(inputs(shape) + layer("Reduction", f"reduction_param {{ operation: {operation} axis: {axis} "
                                               f"coeff: {coefficient} }}"))


@drawn
@given(shape=shapes, data=st.data(), transpose=st.booleans(), bias=st.booleans())
def test_inner_product(shape, data, transpose, bias):
    axis = data.draw(st.integers(1, len(shape) - 1)) - data.draw(st.sampled_from([0, len(shape)]))
    compare(inputs(shape) + layer("InnerProduct", f"inner_product_param {{ num_output: 3 axis: {axis} transpose: "
                                  f"{str(transpose).lower()} bias_term: {str(bias).lower()} }}"))


@drawn
@given(shape=st.lists(st.integers(1, 4), min_size=1, max_size=2).map(lambda rest: (7, *rest)), words=st.integers(1, 9),
       bias=st.booleans())
def test_embed(shape, words, bias):
    compare(inputs(shape) + layer("Embed", f"embed_param {{ num_output: 4 input_dim: {words} "
                                           f"bias_term: {str(bias).lower()} }}"))


def test_batch_reindex():
    compare(inputs((2, 3, 4), (5,)) + layer("BatchReindex", bottoms=2), given={"x1": np.array([2, 0, 0, 1, 2.])})


def test_parameter_and_silence():
    compare(inputs((2, 3), (2, 1)) +
            'layer { name: "w" type: "Parameter" top: "w" parameter_param { shape { dim: 2 dim: 3 } } }\n'
            'layer { name: "quiet" type: "Silence" bottom: "x1" }\n' + layer("AbsVal"))


@pytest.mark.parametrize(("net", "said"), [
    (layer("Im2col", "convolution_param { kernel_size: 2 }"), r"^layer 'layer' \(Im2col\) cannot be written as ONNX; docs"),
    (layer("SoftmaxWithLoss", bottoms=2), r"^layer 'layer' \(SoftmaxWithLoss\) cannot .*; give a deploy net"),
    (layer("Python", 'python_param { module: "layers" layer: "ExtractProb" }', 2), r"^layer 'layer' \(layers.ExtractProb\) "),
    ('layer { name: "d" type: "Data" top: "x0" }', r"^layer 'd' \(Data\) reads data, which an ONNX file cannot: give a"),
])
def test_other_types_are_refused_by_name(net, said):
    with pytest.raises(InputError, match=said):
        layer_types.check(parsed(inputs((2, 3, 4, 4), (2,)) + net).layer)
