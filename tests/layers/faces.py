"""Nets with our layers in either of two implementations: "native", compiled into Caffe, and "python"."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

FACES = ("native", "python")
# DM's fields of loss_param, which are not called as in param_str.
FIELDS = {"lambda": "lamda_p", "beta": "scale"}
LOSS_BOTTOMS = ("scores", "label", "prob_groundtruth")


def layer(face: str, kind: str, bottoms: tuple[str, ...], tops: tuple[str, ...], parameters: dict,
          rest: str = "") -> str:
    """The prototxt of a layer named like its type. Parameters as in param_str; those that are None are left out."""
    given = {key: value for key, value in parameters.items() if value is not None}
    if face == "native":
        axis = given.pop("axis", 1)
        dm = FIELDS if given.get("weighting", "DM") == "DM" else {}
        fields = " ".join(f"{dm.get(key, key)}: {_text(key, value)}" for key, value in given.items())
        what = f"type: '{kind}' loss_param {{ {fields} }} softmax_param {{ axis: {axis} }}"
    else:
        what = f"type: 'Python' python_param {{ module: 'layers' layer: '{kind}' param_str: '{json.dumps(given)}' }}"
    blobs = " ".join([f"bottom: '{name}'" for name in bottoms] + [f"top: '{name}'" for name in tops])
    return f"layer {{ name: '{kind}' {what} {blobs} {rest} }}\n"


def _text(key: str, value: object) -> str:
    """A field's value in a prototxt."""
    return json.dumps(value) if isinstance(value, str) and key != "weighting" else str(value)


def inputs(**shapes: tuple[int, ...]) -> str:
    """The prototxt of an input blob for each name."""
    return "".join(f"layer {{ name: '{name}' type: 'Input' top: '{name}' input_param {{ shape {{ "
                   + " ".join(f"dim: {size}" for size in shape) + " } } }\n" for name, shape in shapes.items())


def loss(face: str, kind: str, parameters: dict, loss_weight: float = 1, tops: tuple[str, ...] = ("loss",),
         bottoms: tuple[str, ...] = LOSS_BOTTOMS, propagate_down: tuple[bool, ...] = (True, False, False)) -> str:
    """The prototxt of a loss layer as the released nets have it."""
    weights = [loss_weight] + [0] * (len(tops) - 1)
    rest = [f"loss_weight: {weight}" for weight in weights]
    rest += [f"propagate_down: {str(wanted).lower()}" for wanted in propagate_down]
    return layer(face, kind, bottoms, tops, parameters, " ".join(rest))


def net(file: Path, prototxt: str):
    """The net of a prototxt, which pycaffe reads only from a file."""
    import caffe
    file.write_text(prototxt)
    return caffe.Net(str(file), caffe.TRAIN)


def run_apart(file: Path, prototxt: str, label: float = 0) -> subprocess.CompletedProcess:
    """Run both passes in a separate process, for nets that make Caffe abort. Every label is `label`."""
    file.write_text(prototxt)
    code = ("import sys, caffe; net = caffe.Net(sys.argv[1], caffe.TRAIN); "
            "net.blobs['label'].data[...] = float(sys.argv[2]); net.forward(); net.backward()")
    return subprocess.run([sys.executable, "-c", code, str(file), str(label)], capture_output=True, text=True)


def scores_and_labels(scores: tuple[int, ...] = (1, 2), labels: tuple[int, ...] = (1,)) -> str:
    """The prototxt of a loss's bottoms. Caffe computes gradients only behind layers with weights, so scores = input + 0."""
    return (inputs(input=scores, label=labels, prob_groundtruth=labels)
            + "layer { name: 'zero' type: 'Bias' bottom: 'input' top: 'scores' bias_param { axis: 0 num_axes: 0 } }\n")


def run(net, scores: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """Value and gradient of a net of scores_and_labels and a loss; the blobs take the arrays' shapes."""
    for name, array in (("input", scores), ("label", labels)):
        net.blobs[name].reshape(*array.shape)
        net.blobs[name].data[...] = array
    net.forward()
    net.backward()
    return float(net.blobs["loss"].data), net.blobs["scores"].diff.copy()
