"""The same net by upstream's layers ("stock") and by the CPU engine's ("onednn"), in one process."""

import os
from contextlib import contextmanager
from pathlib import Path

import caffe
import numpy as np

STOCK, OURS = "stock", "onednn"


@contextmanager
def engine(name: str):
    """Nets and solvers made in this block have `name`'s layers; a solver's update looks at the time of the step."""
    before = os.environ.get("CAFFE_ENGINE")
    os.environ["CAFFE_ENGINE"] = name
    try:
        yield
    finally:
        del os.environ["CAFFE_ENGINE"]
        if before is not None:
            os.environ["CAFFE_ENGINE"] = before


def make_net(name: str, file: Path, phase: str = "TRAIN"):
    import caffe

    with engine(name):
        return caffe.Net(str(file), getattr(caffe, phase))


def inputs(**shapes: tuple[int, ...]) -> str:
    """The prototxt of an input blob for each name; with force_backward, so that gradients reach them."""
    layers = (f"layer {{ name: '{name}' type: 'Input' top: '{name}' input_param {{ shape {{ "
              + " ".join(f"dim: {size}" for size in shape) + " } } }\n" for name, shape in shapes.items())
    return "force_backward: true\n" + "".join(layers)


def layer(kind: str, name: str, bottoms: str, tops: str, rest: str = "") -> str:
    """The prototxt of a layer; bottoms and tops are names between blanks."""
    blobs = [f"bottom: '{blob}'" for blob in bottoms.split()] + [f"top: '{blob}'" for blob in tops.split()]
    return f"layer {{ name: '{name}' type: '{kind}' {' '.join(blobs)} {rest} }}\n"


def convolution(name: str, bottom: str, top: str, outputs: int, kernel: int = 3, pad: int = 1, more: str = "") -> str:
    return layer("Convolution", name, bottom, top, f"convolution_param {{ num_output: {outputs} kernel_size: {kernel} "
                 f"pad: {pad} weight_filler {{ type: 'msra' }} bias_filler {{ type: 'gaussian' std: 0.1 }} {more} }}")


def normalised(name: str, top: str) -> str:
    """BatchNorm, Scale and ReLU in place."""
    return (layer("BatchNorm", f"{name}_bn", top, top) + layer("Scale", f"{name}_scale", top, top,
            "scale_param { bias_term: true filler { type: 'gaussian' mean: 1 std: 0.2 } "
            "bias_filler { type: 'gaussian' std: 0.2 } }") + layer("ReLU", f"{name}_relu", top, top))


class Twins:
    """A net twice, with the same parameters and inputs."""

    def __init__(self, text: str, folder: Path, phase: str = "TRAIN", seed: int = 0):
        file = folder / "net.prototxt"
        file.write_text(text)
        self.random = np.random.default_rng(seed)
        self.stock, self.ours = make_net(STOCK, file, phase), make_net(OURS, file, phase)
        for name, blobs in self.stock.params.items():
            for index, blob in enumerate(blobs):
                self.ours.params[name][index].data[...] = blob.data
        self.fill(*self.stock.inputs)

    def fill(self, *names: str, diff: bool = False) -> None:
        """The same random values into both."""
        for name in names:
            values = self.random.normal(size=self.stock.blobs[name].shape)
            for net in (self.stock, self.ours):
                blob = net.blobs[name]
                (blob.diff if diff else blob.data)[...] = values

    def pass_both_ways(self, add: bool = False) -> None:
        """Forward, then backward from random gradients of the outputs; `add`: to the gradients that parameters have."""
        for net in (self.stock, self.ours):
            caffe.set_random_seed(1)  # of Dropout's mask
            net.forward()
            if not add:
                net.clear_param_diffs()
        self.fill(*self.stock.outputs, diff=True)
        for net in (self.stock, self.ours):
            net.backward()

    def set_images(self, images: int) -> None:
        """Other sizes of all inputs that have as many images as `data`."""
        before = self.stock.blobs["data"].shape[0]
        for net in (self.stock, self.ours):
            for name in net.inputs:
                shape = list(net.blobs[name].shape)
                if shape[:1] == [before]:
                    net.blobs[name].reshape(images, *shape[1:])
            net.reshape()

    def check_passes(self, tolerance: float = 1e-4, more: int = 2) -> None:
        """Passes of other values, with gradients that add up, of `more` times as many images, and of as many as before again.

        With one image, upstream's Scale overwrites its gradients instead of adding to them, so nothing adds up there.
        """
        images = self.stock.blobs["data"].shape[0]
        for factor, add in (1, False), (1, images > 1), (more, False), (1, images > 1):
            self.set_images(factor * images)
            self.fill("data")
            self.pass_both_ways(add)
            self.check(tolerance, passes=1 + add)

    def check(self, tolerance: float = 1e-4, blobs: bool = True, passes: int = 1) -> None:
        """Everything that pycaffe shows of the two is equal. `passes`: how many have added up the gradients of parameters."""
        if blobs:
            for name in self.stock.blobs:
                check(self.ours.blobs[name].data, self.stock.blobs[name].data, tolerance, f"data of {name}")
                check(self.ours.blobs[name].diff, self.stock.blobs[name].diff, tolerance, f"diff of {name}")
        for name, stock in self.stock.params.items():
            for index, blob in enumerate(stock):
                ours = self.ours.params[name][index]
                check(ours.data, blob.data, tolerance, f"parameter {index} of {name}")
                check(ours.diff, blob.diff, tolerance, passes=passes, what=f"gradient of parameter {index} of {name}")


def check(ours: np.ndarray, stock: np.ndarray, tolerance: float, what: str, passes: int = 1) -> None:
    """The difference is at most `tolerance` of the norm; what is zero but for the rounding of `passes` may be any such zero.

    Where stock is no number, as the average of no values, ours is none, either. But not all are none.
    """
    assert ours.shape == stock.shape, what
    missing = np.isnan(stock)
    assert (np.isnan(ours) == missing).all() and not missing.all(), what
    ours, stock = (np.where(missing, 0, np.float64(values)) for values in (ours, stock))
    difference, norm = np.linalg.norm(ours - stock), np.linalg.norm(stock)
    assert difference <= tolerance * norm + passes * 1e-5 * np.sqrt(stock.size), f"{what}: {difference:g} of {norm:g}"
