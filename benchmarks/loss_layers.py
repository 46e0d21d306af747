"""Time the loss layers alone, forward and backward on 256 examples of 100 classes: compiled, in Python, and upstream's.

    python benchmarks/loss_layers.py

Prints the median and the middle half of the passes in microseconds, on one processor. ``Caffe's SoftmaxWithLoss`` is
measured with the engine's softmax in it and with upstream's.
"""

import argparse
import os
import tempfile
import time

os.environ.setdefault("GLOG_minloglevel", "2")
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import caffe  # noqa: E402
import numpy as np  # noqa: E402
from turns import quartiles, row, table  # noqa: E402

BATCH, CLASSES, PASSES = 256, 100, 400
FORMULA = "pow(p, 0.3) * exp(-2 * p)"
NATIVE = {
    **{f"WeightedSoftmaxWithLoss, {name}": f'type: "WeightedSoftmaxWithLoss" loss_param {{ weighting: {name} }}'
       for name in ("CCE", "MAE", "MSE", "GCE", "GCE_DN", "DM")},
    "UnifiedWeightLoss": 'type: "UnifiedWeightLoss" loss_param { lamda_p: 0.5 scale: 6 }',
    **{f"{name}, {FORMULA}": f'type: "WeightedSoftmaxWithLoss" loss_param {{ weighting: {name} formula: "{FORMULA}" }}'
       for name in ("CUSTOM", "CUSTOM_DN")},
}
PYTHON = {
    "UnifiedWeightLoss in Python": """type: "Python" loss_weight: 1 python_param { module: "layers" layer: "UnifiedWeightLoss"
        param_str: '{"lambda": 0.5, "beta": 6}' }""",
    "WeightedSoftmaxWithLoss, GCE_DN, in Python": """type: "Python" loss_weight: 1 python_param { module: "layers"
        layer: "WeightedSoftmaxWithLoss" param_str: '{"weighting": "GCE_DN"}' }""",
    f"CUSTOM_DN, {FORMULA}, in Python": f"""type: "Python" loss_weight: 1 python_param {{ module: "layers"
        layer: "WeightedSoftmaxWithLoss" param_str: '{{"weighting": "CUSTOM_DN", "formula": "{FORMULA}"}}' }}""",
}


def make_net(loss: str, bottoms: int) -> caffe.Net:
    """A net with one loss layer. Its scores come from a layer with a parameter, so that Caffe computes only their gradient."""
    shapes = {"scores": f"dim: {BATCH} dim: {CLASSES}", "label": f"dim: {BATCH}", "p": f"dim: {BATCH}"}
    text = " ".join(
        f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {shape} }} }} }}'
        for name, shape in list(shapes.items())[:bottoms])
    text += ' layer { name: "bias" type: "Bias" bottom: "scores" top: "scores" }'
    names = " ".join(f'bottom: "{name}" propagate_down: {str(name == "scores").lower()}' for name in list(shapes)[:bottoms])
    with tempfile.NamedTemporaryFile("w", suffix=".prototxt") as file:
        file.write(f'{text} layer {{ name: "loss" {names} top: "loss" {loss} }}')
        file.flush()
        net = caffe.Net(file.name, caffe.TRAIN)
    random = np.random.default_rng(0)
    net.blobs["scores"].data[...] = random.normal(size=(BATCH, CLASSES))
    net.blobs["label"].data[...] = random.integers(0, CLASSES, BATCH)
    return net


def measure(net: caffe.Net) -> np.ndarray:
    """Seconds of each of the loss layer's PASSES forward and backward passes."""
    index = list(net._layer_names).index("loss")
    times = []
    for _ in range(PASSES):
        start = time.perf_counter()
        net._forward(index, index)
        net._backward(index, index)
        times.append(time.perf_counter() - start)
    return np.array(times)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    nets = {name: make_net(loss, 3) for name, loss in (NATIVE | PYTHON).items()}
    for engine in "onednn", "stock":
        os.environ["CAFFE_ENGINE"] = engine
        nets[f"Caffe's SoftmaxWithLoss, engine {engine}"] = make_net('type: "SoftmaxWithLoss"', 2)
    table(["layer", "forward + backward, us"])
    for name, net in nets.items():
        row([name, quartiles(measure(net), 1e6)])


if __name__ == "__main__":
    main()
