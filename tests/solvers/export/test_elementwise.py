"""Activations and Eltwise: exported, they give what Caffe gives, whatever their settings."""

import numpy as np
import pytest
from against_runtime import compare, drawn, inputs, layer
from hypothesis import given
from hypothesis import strategies as st

shapes = st.lists(st.integers(1, 5), min_size=1, max_size=3).map(lambda rest: (7, *rest))
number = st.floats(-3, 3, width=32).map(lambda value: value if abs(value) > 1e-3 else 0.0)
positive = st.floats(0.125, 4, width=32).filter(lambda value: abs(value - 1) > 0.01)


@pytest.mark.parametrize("kind", ["AbsVal", "BNLL", "Dropout", "ReLU", "Sigmoid", "TanH", "ELU", "Swish"])
@drawn
@given(shape=shapes, spread=st.sampled_from([1, 30]))
def test_without_settings(kind, shape, spread):
    compare(inputs(shape) + layer(kind), spread=spread)


@drawn
@given(shape=shapes, slope=number)
def test_relu(shape, slope):
    compare(inputs(shape) + layer("ReLU", f"relu_param {{ negative_slope: {slope} }}"))


@drawn
@given(shape=shapes, alpha=st.floats(0, 3, width=32))
def test_elu(shape, alpha):
    compare(inputs(shape) + layer("ELU", f"elu_param {{ alpha: {alpha} }}"))


@drawn
@given(shape=shapes, beta=number)
def test_swish(shape, beta):
    """If beta is negative, large inputs give nearly 0: ONNX Runtime's sigmoid has no number below 1e-8."""
    compare(inputs(shape) + layer("Swish", f"swish_param {{ beta: {beta} }}"), tiny=1e-6)


@drawn
@given(shape=shapes, low=number, width=st.floats(0, 3))
def test_clip(shape, low, width):
    compare(inputs(shape) + layer("Clip", f"clip_param {{ min: {low} max: {low + width} }}"))


@drawn
@given(shape=shapes, threshold=st.floats(0, 2))
def test_threshold(shape, threshold):
    compare(inputs(shape) + layer("Threshold", f"threshold_param {{ threshold: {threshold} }}"))


def test_threshold_is_not_passed_by_what_equals_it():
    compare(inputs((1, 3)) + layer("Threshold", "threshold_param { threshold: 0.5 }"), batch=1,
            given={"x0": np.array([[0.25, 0.5, 0.75]])})


@drawn
@given(shape=shapes, power=st.sampled_from([0, 1, 2, 3, -1, 0.5, -0.75]), scale=number, shift=number)
def test_power(shape, power, scale, shift):
    if scale * power or shift or power >= 0:  # else it is 1/0
        compare(inputs(shape) + layer("Power", f"power_param {{ power: {power} scale: {scale} shift: {shift} }}"))


def test_a_power_that_ignores_what_it_reads():
    compare(inputs((2, 2)) + layer("Power", "power_param { power: 2 scale: 0 shift: -3 }"), batch=2,
            given={"x0": np.array([[np.inf, np.nan], [0, 1]])})


@drawn
@given(shape=shapes, base=st.one_of(st.just(-1.0), positive), scale=number, shift=number)
def test_exp(shape, base, scale, shift):
    compare(inputs(shape) + layer("Exp", f"exp_param {{ base: {base} scale: {scale} shift: {shift} }}"))


def test_exp_beyond_all_numbers():
    """Infinite in both."""
    compare(inputs((2, 3)) + layer("Exp", "exp_param { shift: 800 }"))


@drawn
@given(shape=shapes, base=st.one_of(st.just(-1.0), positive), scale=number, shift=number)
def test_log(shape, base, scale, shift):
    """Of negative numbers it is NaN in both, of 0 infinite."""
    compare(inputs(shape) + layer("Log", f"log_param {{ base: {base} scale: {scale} shift: {shift} }}"))


@drawn
@given(data=st.data(), shape=shapes, count=st.integers(2, 4), operation=st.sampled_from(["SUM", "PROD", "MAX"]))
def test_eltwise(data, shape, count, operation):
    coefficients = data.draw(st.lists(number, min_size=count, max_size=count)) if operation == "SUM" and \
        data.draw(st.booleans()) else []
    compare(inputs(*[shape] * count) + layer("Eltwise", f"eltwise_param {{ operation: {operation} "
            + " ".join(f"coeff: {value}" for value in coefficients) + " }", count))


def test_split():
    compare(inputs((2, 3)) + layer("Split", tops=3))
