"""Write an ONNX file whole or not at all, with its weights in a second file where one cannot hold them."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx

from base import files, writing
from base.errors import InputError

BESIDE = r"\.[0-9a-f]{16}\.data"  # what follows the name of the ONNX file in that of its weights
LIMIT = (2 << 30) - (64 << 20)  # protobuf reads no message of 2 GiB; nodes need some room, too


def check_place(path: Path, *inputs: Path) -> None:
    """Raise InputError unless a file can be written there that is none of the inputs."""
    if path.is_dir() or not path.name:
        raise InputError(f"-o {path}: give the name of a file, such as {path / 'net.onnx'}")
    if path.suffix != ".onnx":  # it might be a file of the run that is exported
        raise InputError(f"-o {path}: give a name that ends in .onnx, such as {path.with_suffix('.onnx')}")
    if files.real(path) in [files.real(given) for given in inputs]:
        raise InputError(f"-o {path} is what is to be exported: give another name")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise InputError(f"cannot write {path}: there is no folder {path.parent}")
    if not os.access(folder, os.W_OK):
        raise InputError(f"cannot write {path}: the folder {path.parent} may not be written to")


def weights_name(path: Path, weights_sha256: str) -> str:
    """The name of the file beside `path` with the weights. Other weights get another name, or replacing both files would
    leave, in between, weights that belong to another graph."""
    return f"{path.name}.{weights_sha256[:16]}.data"  # matches BESIDE


def needs_two_files(model: onnx.ModelProto) -> bool:
    """Whether its weights are too large for one file; true of a model that was written so, too."""
    return any(constant.data_location == onnx.TensorProto.EXTERNAL for constant in model.graph.initializer) or (
        sum(len(constant.raw_data) for constant in model.graph.initializer) > LIMIT)


@contextmanager
def written(model: onnx.ModelProto, path: Path, weights_sha256: str) -> Iterator[Path]:
    """The model in a temporary folder beside `path`; it takes its place when the block ends well, and else vanishes.

    Raises
    ------
    InputError
        If it cannot be written, or is no valid ONNX: a file that was there stays as it was.
    """
    try:
        folder = Path(tempfile.mkdtemp(dir=writing.scratch_folder(path), prefix=f".{path.name}."))
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error
    try:
        new, beside = folder / path.name, weights_name(path, weights_sha256)
        external = needs_two_files(model)
        if external:
            (folder / beside).touch()  # ONNX itself would let nobody else read it
        onnx.save_model(model, new, save_as_external_data=external, location=beside)
        _check(new)
        yield new
        if external:
            writing.put(folder / beside, path.with_name(beside))
        writing.put(new, path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check(file: Path) -> None:
    try:
        onnx.checker.check_model(file, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise InputError(f"the net does not become valid ONNX: {error}") from error
