"""LSTM and RNN: exported, they give what Caffe's first forward pass gives, with sequences that begin in the middle."""

import numpy as np
import pytest
from against_runtime import BATCH, compare, drawn, inputs, layer
from hypothesis import given
from hypothesis import strategies as st

TINY = 2e-7  # Caffe's LSTM takes tanh(x) as 2 sigmoid(2 x) - 1, which has no more digits; a state may be as small


@drawn
@given(kind=st.sampled_from(["LSTM", "RNN"]), streams=st.integers(1, 3), width=st.integers(1, 4),
       rest=st.lists(st.integers(1, 3), min_size=1, max_size=2), static=st.booleans(), exposed=st.booleans())
def test_recurrent_layers(kind, streams, width, rest, static, exposed):
    """The first dimension, here what may change, is time."""
    states = (2 if kind == "LSTM" else 1) * exposed
    shapes = [(7, streams, *rest), (7, streams)] + [(streams, 3)] * static + [(1, streams, width)] * states
    compare(inputs(*shapes) + layer(kind, f"recurrent_param {{ num_output: {width} expose_hidden: {str(exposed).lower()} }}",
                                    len(shapes), 1 + states), tiny=TINY)


@pytest.mark.parametrize("kind", ["LSTM", "RNN"])
@pytest.mark.parametrize("cont", [[0, 1, 1], [1, 1, 1], [0, 0, 0], [0, 0.5, 1]])
def test_where_sequences_begin(kind, cont):
    compare(inputs((2, 1, 4), (2, 1)) + layer(kind, "recurrent_param { num_output: 5 }", 2), batch=BATCH,
            given={"x1": np.array(cont)[:, None]}, tiny=TINY)
