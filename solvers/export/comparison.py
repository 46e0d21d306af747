"""Compare Caffe and ONNX Runtime on the same inputs, and find the first blob that differs."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import skimage.data
from numpy.typing import NDArray
from skimage import io, transform

from base.errors import InputError
from data_toolkit import dataset, images
from solvers.export import layer_types
from solvers.export.admission import BATCHES, with_batch
from solvers.export.build import blobs_in_order
from solvers.export.graph import Shape, value_info
from solvers.export.preprocessing import IMAGES, Preprocessing
from solvers.nets import threads, weights
from solvers.nets.phases import inputs_of, layers_in
from solvers.nets.pycaffe import caffe

pb = caffe.proto.caffe_pb2

TOLERANCE = 1e-4
PASSING = "Concat", "Crop", "Dropout", "Flatten", "Reshape", "Slice", "Split", "Tile"  # layers that compute no values
PHOTOS = "astronaut.png", "coffee.png", "chelsea.png", "rocket.jpg"  # in scikit-image's package


class Parted(Exception):
    """Caffe and ONNX Runtime differ. Its text says where."""


def runtime() -> ModuleType | None:
    """ONNX Runtime; None where it is not installed."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # it would write into the home folder and open connections
    try:
        import onnxruntime
    except ImportError:
        return None
    return onnxruntime


@dataclass
class Case:
    """Inputs, what Caffe makes of them, and what ONNX Runtime is given.

    Attributes
    ----------
    name : str
        "random" or "real".
    caffe, onnx : dict of str to numpy.ndarray
        By input: of the net, and of the graph, which are the same but for preprocessing.
    """

    name: str
    caffe: dict[str, NDArray[np.float32]]
    onnx: dict[str, NDArray]

    @property
    def batch(self) -> int:
        return next(iter(self.caffe.values())).shape[0]


@dataclass(frozen=True)
class Difference:
    """How far a blob of ONNX Runtime's is from Caffe's.

    Attributes
    ----------
    largest : float
        The largest difference of two numbers.
    relative : float
        That, relative to the largest number of the blob in Caffe. Of layers that decide: the fraction of numbers that differ.
    """

    blob: str
    case: Case
    largest: float
    relative: float

    def __str__(self) -> str:
        return f"{self.largest:.1e} ({self.relative:.1e} relative)"


def cases(param: pb.NetParameter, shapes: dict[str, Shape], mean: Sequence[float] | None, preprocessing: Preprocessing | None,
          data: Path | None) -> list[Case]:
    """Random inputs and, where the first input takes images, real ones: CIFAR-100's if they are in `data`, else photos.

    The two have other sizes of the batch, where it may change.
    """
    layers = list(layers_in(param))
    inputs = inputs_of(param)
    large, small = ({name: tuple(batch if size is None else size for size in shapes[name]) for name in inputs}
                    for batch in reversed(BATCHES))
    random = np.random.default_rng(0)
    made = [Case("random", *_fed({name: _random(random, shape, name, layers) for name, shape in large.items()}, inputs[0],
                                 random.integers(0, 256, _pixels(large[inputs[0]]), np.uint8) if preprocessing else None,
                                 preprocessing))]
    shape = small[inputs[0]]
    if len(shape) == 4 and shape[1] in (1, 3):
        pixels = _photos(shape, data)
        fed = {name: _random(random, other, name, layers) for name, other in small.items()}
        centre = np.float32(np.reshape(mean if mean is not None else [128] * shape[1], (-1, 1, 1)))
        fed[inputs[0]] = np.ascontiguousarray(images.planes_of(pixels)[:, ::-1] - centre)
        made.append(Case("real", *_fed(fed, inputs[0], pixels if preprocessing else None, preprocessing)))
    return made


def _pixels(shape: Sequence[int]) -> tuple[int, ...]:
    return shape[0], *shape[2:], shape[1]


def _fed(feeds: dict[str, NDArray], first: str, pixels: NDArray[np.uint8] | None,
         preprocessing: Preprocessing | None) -> tuple[dict, dict]:
    """What Caffe and what ONNX Runtime are fed."""
    if pixels is None:
        return feeds, feeds
    return feeds | {first: preprocessing(pixels)}, {IMAGES: pixels} | {
        name: values for name, values in feeds.items() if name != first}


def _random(random: np.random.Generator, shape: Sequence[int], name: str,
            layers: list[pb.LayerParameter]) -> NDArray[np.float32]:
    """Numbers such as the readers of an input take: words, marks of beginnings, places in a batch, pixels less a mean."""
    passed = {name}  # the input, and what layers that compute nothing make of it
    for layer in layers:
        if passed.intersection(layer.bottom):
            if layer.type in PASSING:
                passed.update(layer.top)
            if layer.type == "Embed":
                return np.asarray(random.integers(0, layer.embed_param.input_dim, shape), np.float32)
            if layer.type == "BatchReindex" and layer.bottom[1] in passed:
                return np.zeros(shape, np.float32)
            if layer.type in ("LSTM", "RNN") and layer.bottom[1] in passed:
                return np.asarray(random.random(shape) < 0.7, np.float32)
    pixels = len(shape) == 4 and shape[1] in (1, 3)
    return np.asarray(random.normal(0, 60 if pixels else 1, shape), np.float32)


def _photos(shape: Sequence[int], data: Path | None) -> NDArray[np.uint8]:
    """Images of a shape (N, 1 or 3, H, W), as N x H x W x channels, RGB."""
    number, channels, height, width = shape
    if data is not None and (channels, height, width) == (3, images.SIZE, images.SIZE):
        try:
            return dataset.load_test(data).images[:number]
        except InputError:
            pass
    folder = os.path.dirname(skimage.data.__file__)
    photos = (transform.resize(io.imread(os.path.join(folder, name)), (height, width), anti_aliasing=True) for name in PHOTOS)
    pixels = np.stack([np.round(255 * photo).astype(np.uint8) for photo in photos])
    if channels == 1:
        pixels = pixels[..., 1:2]
    return np.resize(pixels, (number, height, width, channels))


def caffe_blobs(param: pb.NetParameter, model: Path, case: Case) -> dict[str, NDArray[np.float32]]:
    """All blobs after a forward pass; what is missing of the outputs is none of the net's."""
    made = weights.build(with_batch(param, case.batch))
    weights.load(made, model)
    for name, values in case.caffe.items():
        made.blobs[name].data[...] = values
    made.forward()
    return {name: blob.data.copy() for name, blob in made.blobs.items()}


def outputs_of(file: Path, case: Case) -> dict[str, NDArray]:
    """What ONNX Runtime computes of a case, by output. Raises Parted if it cannot."""
    options = runtime().SessionOptions()
    options.log_severity_level = 4  # what is wrong comes as an exception, too
    options.intra_op_num_threads = threads.count()
    try:
        session = runtime().InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, case.onnx), strict=True))
    except Exception as error:  # its own have no class in common
        raise Parted(f"ONNX Runtime does not compute the net: {error}") from error


def differences(file: Path, case: Case, expected: dict[str, NDArray], deciding: Sequence[str] = ()) -> Iterator[Difference]:
    """Of every output of a file, from what Caffe has; `deciding` are the blobs of layers that decide."""
    for blob, values in outputs_of(file, case).items():
        yield difference(blob, case, expected[blob], values, blob in deciding)


def difference(blob: str, case: Case, ours: NDArray, theirs: NDArray, decides: bool) -> Difference:
    if ours.shape != theirs.shape:
        return Difference(blob, case, np.inf, np.inf)
    ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
    with np.errstate(invalid="ignore"):
        apart = np.atleast_1d(np.abs(ours - theirs))
    apart[(ours == theirs) | np.isnan(ours) & np.isnan(theirs)] = 0  # infinite ones, too
    apart[np.isnan(apart)] = np.inf
    largest = float(apart.max(initial=0))
    if decides:
        return Difference(blob, case, largest, float(np.mean(apart > 0)))
    finite = np.abs(ours[np.isfinite(ours)])
    scale = float(finite.max(initial=0))
    return Difference(blob, case, largest, largest / scale if scale and largest else largest)


def first_apart(param: pb.NetParameter, shapes: dict[str, Shape], file: Path, case: Case,
                expected: dict[str, NDArray]) -> Difference | None:
    """The first blob, in the order of the layers, that is further apart than TOLERANCE; None if there is none but outputs.

    Writes a file beside `file`, whose weights it may share.
    """
    model = onnx.load(file, load_external_data=False)
    made = {value for node in model.graph.node for value in node.output}
    order = [blob for blob in blobs_in_order(list(layers_in(param))) if blob in made]
    del model.graph.output[:]
    model.graph.output.extend(value_info(blob, shapes[blob]) for blob in order)
    beside = file.with_name(f"{file.name[:100]}.all_blobs")
    onnx.save_model(model, beside)
    found = outputs_of(beside, case)
    apart = (difference(blob, case, expected[blob], found[blob], False) for blob in order)
    return next((one for one in apart if not one.relative <= TOLERANCE), None)


def deciding(param: pb.NetParameter) -> list[str]:
    """The blobs of layers that decide."""
    return [top for layer in layers_in(param) if layer.type in layer_types.DECISIONS for top in layer.top]
