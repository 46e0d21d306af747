"""What an exported file says of itself: where it comes from and how its input is made."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import onnx

from base import files
from base.errors import InputError
from data_toolkit import images
from solvers.export.graph import Shape
from solvers.export.source import Source
from solvers.nets.pycaffe import caffe

REPOSITORY = "caffe-example-weighting"
MAX_CLASSES = 1_000_000


def describe(model: onnx.ModelProto, source: Source, mean: Sequence[float] | None, classes: list[str], in_graph: bool) -> None:
    """Write producer and metadata into the model.

    Parameters
    ----------
    model : onnx.ModelProto
    source : Source
    mean : sequence of float or None
        What is subtracted from the channels; None if it is not known.
    classes : list of str
        Their names in the order of the scores; [] if they are not known.
    in_graph : bool
        Whether the graph makes its own input of uint8 images.
    """
    model.producer_name, model.producer_version = f"{REPOSITORY} solvers.export", caffe.__version__
    about = {
        "weights_sha256": hashlib.sha256(source.model.read_bytes()).hexdigest(),
        "weights_file": source.model.name,
        "input_channel_order": "RGB, uint8, batch x height x width x 3: made into the net's input in the graph" if in_graph
        else "BGR" if source.is_run or mean else "as the net was trained; Caffe's own tools give BGR",
    }
    if mean is not None:
        about["input_mean"] = json.dumps([float(f"{value:.6g}") for value in mean])
    if source.is_run:
        about["iteration"] = str(source.iteration)
        about["training_config"] = json.dumps(source.config)
        about["input"] = ("CIFAR-100's images, white margins cut, enlarged to 36 x 36 (bicubic), cropped to 32 x 32 at "
                          "(1, 1), BGR less input_mean, not scaled")
    if classes:
        about["classes"] = json.dumps(classes)
    onnx.helper.set_model_props(model, about)


def mean_of(source: Source, given: Sequence[float] | None) -> Sequence[float] | None:
    """The mean that a net's input is centred by: that of the recipe for runs, else the one given."""
    if source.is_run and given:
        raise InputError("--mean: a run's mean is the recipe's")
    return images.MEANS if source.is_run else given


def check_mean(mean: Sequence[float] | None, first: Shape) -> None:
    """Raise InputError if a mean of several channels does not fit the net's first input, N x channels x height x width."""
    if mean is not None and len(first) == 4 and len(mean) not in (1, first[1]):
        raise InputError(f"--mean: it has {len(mean)} numbers, but the net's first input has {first[1]} channels")


def check_classes(classes: list[str], outputs: list[Shape]) -> None:
    """Raise InputError if classes are named, but no output has a score for each of them."""
    if classes and not any(len(classes) in shape[1:] for shape in outputs):
        raise InputError(f"--classes: it has {len(classes)} lines, but the net's outputs have "
                         f"{' and '.join(' x '.join(map(str, shape[1:])) for shape in outputs)} numbers an image")


def read_classes(file: Path | None) -> list[str]:
    """The lines of a file, one class each; [] without a file."""
    if file is None:
        return []
    try:
        names = files.read(files.real(file)).decode("utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(f"--classes: cannot read {file}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"--classes: {file} is not a text file in UTF-8") from error
    if not names or len(names) > MAX_CLASSES:
        raise InputError(f"--classes: {file} has {len(names)} lines; give one class a line")
    return names
