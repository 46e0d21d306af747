"""LSTM and RNN: one step as the body of ONNX's Scan, since ONNX's own LSTM cannot begin anew in the middle, as `cont` tells.

Caffe's layers go on where the last forward pass ended, unless `cont` is 0 at the first step. In ONNX a call begins with
zeros, as Caffe's first pass does; `expose_hidden` gives the state in and out.
"""

from collections.abc import Callable

import numpy as np
from onnx import TensorProto, helper

from solvers.export.graph import Layer

Add = Callable[..., str]  # adds a node with one output to the body of a Scan; returns its name


def lstm(layer: Layer) -> list[str]:
    """Gates i, f, o, g: c = cont f c + i g, h = o tanh(c)."""
    weights, [hidden] = _inputs(layer), layer.blobs[-1:]

    def step(add: Add, x: str, cont: str, h: str, c: str) -> tuple[str, list[str]]:
        gates = add("Add", add("MatMul", add("Mul", h, cont), "weights"), x)
        i, f, o, g = add("Split", gates, outputs=4, axis=-1)
        i, f, o, g = add("Sigmoid", i), add("Sigmoid", f), add("Sigmoid", o), add("Tanh", g)
        c = add("Add", add("Mul", add("Mul", f, cont), c), add("Mul", i, g))
        h = add("Mul", o, add("Tanh", c))
        return h, [h, c]

    outputs, states = _scan(layer, weights, {"weights": hidden.T}, step, states=2, width=hidden.shape[1])
    return [outputs, *states]


def rnn(layer: Layer) -> list[str]:
    """h = tanh(W_hh cont h + W_xh x + b_h), o = tanh(W_ho h + b_o)."""
    hidden, out, out_bias = layer.blobs[-3:]

    def step(add: Add, x: str, cont: str, h: str) -> tuple[str, list[str]]:
        h = add("Tanh", add("Add", add("MatMul", add("Mul", h, cont), "weights"), x))
        return add("Tanh", add("Add", add("MatMul", h, "out"), "out_bias")), [h]

    outputs, states = _scan(layer, _inputs(layer), {"weights": hidden.T, "out": out.T, "out_bias": out_bias}, step, states=1,
                            width=hidden.shape[1])
    return [outputs, *states]


def _has_static(layer: Layer, states: int) -> bool:
    return len(layer.bottom) > 2 + states * layer.param.recurrent_param.expose_hidden


def _inputs(layer: Layer) -> str:
    """What the inputs add before the recurrent part, at all steps at once: (T, N, gates)."""
    states = 2 if layer.param.type == "LSTM" else 1
    weights, bias = layer.blobs[:2]
    x = layer.bottom[0]
    if len(layer.shapes[0]) != 3:
        x = layer.add("Reshape", x, [0, 0, weights.shape[1]])
    y = layer.add("Add", layer.add("MatMul", x, weights.T), bias)
    if _has_static(layer, states):
        flat = layer.add("Flatten", layer.bottom[2], axis=1)
        y = layer.add("Add", y, layer.add("MatMul", flat, layer.blobs[2].T))
    return y


def _scan(layer: Layer, x: str, constants: dict[str, np.ndarray], step: Callable, states: int,
          width: int) -> tuple[str, list[str]]:
    """Run `step` over time. Returns its outputs, (T, N, width), and the last states, (1, N, width), if they are exposed."""
    exposed = layer.param.recurrent_param.expose_hidden
    names = {name: layer.graph.constant(values, f"{layer.param.name}:{name}") for name, values in constants.items()}
    cont = layer.add("Unsqueeze", layer.bottom[1], [2])
    if exposed:
        first = [layer.add("Squeeze", value, [0]) for value in layer.bottom[-states:]]
    else:
        streams = layer.add("Slice", layer.add("Shape", x), [1], [2])
        zeros = layer.add("Expand", np.float32(0), layer.add("Concat", streams, [width], axis=0))
        first = [zeros] * states

    nodes = []

    def add(op: str, *inputs: str, outputs: int = 1, **attributes: object) -> str | list[str]:
        tops = [f"{layer.param.name}:step{len(nodes)}.{number}" for number in range(outputs)]
        nodes.append(helper.make_node(op, [names.get(value, value) for value in inputs], tops, **attributes))
        return tops if outputs > 1 else tops[0]

    def typed(names: list[str], gates: int | None = None) -> list:
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, gates or width]) for name in names]

    begins = [f"{layer.param.name}:state{number}" for number in range(states)]
    x_step, cont_step = f"{layer.param.name}:x", f"{layer.param.name}:cont"
    output, ends = step(add, x_step, cont_step, *begins)
    # A value may leave the body once only.
    ends, output = [add("Identity", end) for end in ends], add("Identity", output)
    body = helper.make_graph(
        nodes, f"{layer.param.name}:step", [*typed(begins), *typed([x_step], layer.blobs[0].shape[0]), *typed([cont_step], 1)],
        [*typed(ends), *typed([output])])
    *last, outputs = layer.add_many("Scan", *first, x, cont, outputs=states + 1, body=body, num_scan_inputs=2)
    return outputs, [layer.add("Unsqueeze", value, [0]) for value in last] if exposed else []
