"""From uint8 images to a net's input, inside the graph: the recipe of our runs, or a mean subtracted."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from base.errors import InputError
from data_toolkit import batches, images
from data_toolkit.dataset import Dataset
from solvers.export.graph import Graph, Shape

IMAGES = "images"  # the input's name
CHANNELS_REVERSED = [2, 1, 0]


class Preprocessing(Protocol):
    """A way from uint8 images, batch x height x width x RGB, to a net's input."""

    def add(self, graph: Graph, shape: Shape, blob: str) -> str:
        """Add the input IMAGES and the nodes that make the blob, which has the shape, of it; return the blob's value."""

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The same, computed by NumPy."""


class MeanSubtraction:
    """Images of the net's own size as BGR less a mean.

    Parameters
    ----------
    mean : tuple of float
        Of blue, green, red; or of grey.
    """

    def __init__(self, mean: tuple[float, ...]):
        self.mean = np.array(mean, np.float32).reshape(-1, 1, 1)

    def add(self, graph: Graph, shape: Shape, blob: str) -> str:
        if len(shape) != 4 or shape[1] != len(self.mean):
            raise InputError(f"--preprocessing: the net's input '{blob}' has the shape {shown(shape)}, but the mean has "
                             f"{len(self.mean)} channels")
        add = _adder(graph)
        planes = _planes(add, graph.input(IMAGES, (shape[0], *shape[2:], shape[1]), TensorProto.UINT8), len(self.mean))
        return add("Sub", planes, self.mean)

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.ascontiguousarray(images.planes_of(pixels)[:, ::-1] - self.mean)


class Recipe:
    """The images of CIFAR-100 as solvers.evaluate shows them to a net: see data_toolkit.images, whose arithmetic it is.

    White margins are cut, what is left is enlarged to 36 x 36, bicubic, and the crop of 32 x 32 at (1, 1) is taken as BGR
    less the means. The matrices that enlarge an image follow from its margins, so they are computed in the graph.
    """

    mean = images.MEANS

    def add(self, graph: Graph, shape: Shape, blob: str) -> str:
        if shape != (shape[0], 3, images.SIZE, images.SIZE):
            raise InputError(f"--preprocessing: the recipe makes 3 x 32 x 32, but the net's input '{blob}' has the shape "
                             f"{shown(shape)}")
        add = _adder(graph)
        pixels = graph.input(IMAGES, (shape[0], images.SIZE, images.SIZE, 3), TensorProto.UINT8)
        # Grey below 249.5, in whole numbers, which float32 holds exactly.
        luma = np.round(images.LUMA * 10_000).astype(np.float32)[:, None]
        grey = add("Squeeze", add("MatMul", add("Cast", pixels, to=TensorProto.FLOAT), luma), [3])
        dark = add("Cast", add("Less", grey, np.float32((images.WHITE - 0.5) * 10_000)), to=TensorProto.FLOAT)
        boxes = [_kept(add, add("ReduceMax", dark, axes=[axis], keepdims=0)) for axis in (2, 1)]
        longest = add("Max", *(add("Sub", stop, start) for start, stop in boxes))
        (rows, row_exists), (columns, column_exists) = (_interpolation(add, start, stop, longest) for start, stop in boxes)
        planes = add("MatMul", add("Unsqueeze", rows, [1]), _planes(add, pixels, 3))
        planes = add("MatMul", planes, add("Unsqueeze", add("Transpose", columns, perm=[0, 2, 1]), [1]))
        exists = add("And", add("Unsqueeze", row_exists, [1, 3]), add("Unsqueeze", column_exists, [1, 2]))
        return add("Sub", add("Where", exists, planes, np.float32(255)), self.mean[:, None, None])

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        given = Dataset(images=pixels, labels=np.zeros(len(pixels), np.int64))
        return np.concatenate([data for data, _ in batches.test_batches(given)])


def shown(shape: Shape) -> str:
    """A shape for people."""
    return " x ".join("batch" if size is None else str(size) for size in shape)


Add = Callable[..., str]


def _adder(graph: Graph) -> Add:
    """A function that adds a node with one output; inputs that are no names become constants, integers as int64."""
    def add(op: str, *inputs: object, **attributes: object) -> str:
        named = [value if isinstance(value, str) else graph.constant(
            np.asarray(value, None if isinstance(value, np.ndarray | np.generic) else np.int64), f"{IMAGES}:constant")
            for value in inputs]
        return graph.node(op, named, IMAGES, **attributes)[0]
    return add


def _planes(add: Add, pixels: str, channels: int) -> str:
    """(N, H, W, RGB) uint8 -> (N, BGR, H, W) float32."""
    planes = add("Transpose", add("Cast", pixels, to=TensorProto.FLOAT), perm=[0, 3, 1, 2])
    return add("Gather", planes, CHANNELS_REVERSED, axis=1) if channels == 3 else planes


def _kept(add: Add, has_dark: str) -> tuple[str, str]:
    """Where the lines begin and end, each (N, 1), that images.content_box keeps; `has_dark`, (N, 32), has 1 for dark lines.

    Of an image without dark lines they are all.
    """
    first = add("ArgMax", has_dark, axis=1)
    last = add("ArgMax", has_dark, axis=1, select_last_index=1)
    start = add("Max", add("Sub", first, [images.MARGIN]), [0])
    return start, add("Min", add("Add", last, [images.MARGIN + 2]), [images.SIZE])


def _interpolation(add: Add, start: str, stop: str, longest: str) -> tuple[str, str]:
    """The matrices (N, 32, 32) that make the crop's lines of an image's; and which lines, (N, 32), are not padding."""
    length = add("Sub", stop, start)
    enlarged = add("Div", add("Add", add("Mul", length, [images.ENLARGED]), add("Sub", longest, [1])), longest)  # rounded up
    before = add("Div", add("Sub", [images.ENLARGED], enlarged), [2])
    line = add("Sub", np.arange(batches.TEST_OFFSET, batches.TEST_OFFSET + images.SIZE)[None], before)
    exists = add("And", add("GreaterOrEqual", line, [0]), add("Less", line, enlarged))
    inside = add("Min", add("Max", line, [0]), add("Sub", enlarged, [1]))  # so that padding has weights too, if useless ones
    centre = add("Add", _float(add, inside), np.float32(0.5))
    centre = add("Div", add("Mul", centre, _float(add, longest)), np.float32(images.ENLARGED))
    centre = add("Unsqueeze", add("Sub", centre, np.float32(0.5)), [2])
    source = add("Unsqueeze", add("Sub", np.arange(images.SIZE)[None], start), [1])  # counted from the first line kept
    size = add("Unsqueeze", length, [2])
    mirrored = add("Sub", [-1], source), add("Sub", add("Sub", add("Mul", size, [2]), [1]), source)
    weight = add("Sum", *(_cubic(add, add("Sub", centre, _float(add, place))) for place in (source, *mirrored)))
    kept = add("And", add("GreaterOrEqual", source, [0]), add("Less", source, size))
    weight = add("Where", kept, weight, np.float32(0))
    return add("Div", weight, add("ReduceSum", weight, [2])), exists


def _cubic(add: Add, x: str) -> str:
    """images.cubic."""
    x = add("Abs", x)
    near = add("Add", add("Mul", add("Mul", add("Sub", add("Mul", x, np.float32(1.5)), np.float32(2.5)), x), x), np.float32(1))
    far = add("Add", add("Mul", x, np.float32(-0.5)), np.float32(2.5))
    far = add("Add", add("Mul", add("Sub", add("Mul", far, x), np.float32(4)), x), np.float32(2))
    outer = add("Where", add("LessOrEqual", x, np.float32(2)), far, np.float32(0))
    return add("Where", add("LessOrEqual", x, np.float32(1)), near, outer)


def _float(add: Add, value: str) -> str:
    return add("Cast", value, to=TensorProto.FLOAT)
