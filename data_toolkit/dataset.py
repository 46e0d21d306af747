"""A labelled image set in memory, and its fast form on disk: an uncompressed .npz file that loads in under a second."""

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from base import isolation
from base.commands import command
from base.errors import InputError
from base.writing import atomic_writer
from data_toolkit import matfile
from data_toolkit.noise import NOISE_TYPES, LabelNoise

MAX_BYTES = 4 << 30  # a million images. A small compressed file may declare any size.

ARRAYS = ["images", "labels", "true_labels", "coarse_labels"]
NEEDED = ("the arrays needed are images, uint8 (N, 32, 32, 3), and labels, whole numbers from 0 on (N,); true_labels (N,) may "
          "be there too")


@dataclass(frozen=True)
class Dataset:
    """N images with labels.

    Attributes
    ----------
    images : (N, 32, 32, 3) uint8
        Height x width x RGB.
    labels : (N,) int64
        The labels that the net learns, with noise.
    true_labels : (N,) int64 or None
        The true labels; None if unknown.
    coarse_labels : (N,) int64 or None
        The superclasses of the true labels; None if the source does not have them.
    matched : bool
        Whether the true labels were found by comparing the images with CIFAR-100's (true_labels.py). The fingerprint then
        leaves them out, since a later call may not find them.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    true_labels: NDArray[np.int64] | None = None
    coarse_labels: NDArray[np.int64] | None = None
    matched: bool = False

    def __post_init__(self):
        if self.images.dtype != np.uint8 or self.images.shape[1:] != (32, 32, 3) or not len(self.images):
            raise InputError(f"images are {self.images.dtype} {self.images.shape}; uint8 (N, 32, 32, 3) is needed, N from 1")
        for name in "labels", "true_labels", "coarse_labels":
            values = getattr(self, name)
            if values is not None and (values.shape != (len(self.images),) or values.min(initial=0) < 0):
                raise InputError(f"{name} of shape {values.shape} from {values.min(initial=0)} on; "
                                 f"one of 0, 1, ... is needed for each of the {len(self.images)} images")

    @property
    def num_classes(self) -> int:
        """The largest label plus 1."""
        return max(int(labels.max()) for labels in (self.labels, self.true_labels) if labels is not None) + 1

    @property
    def noise_rate(self) -> float:
        """The fraction of labels that differ from the true ones, which must be known."""
        return float(np.mean(self.labels != self.true_labels))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the data. On resume it must equal that with which the run began."""
        sha = hashlib.sha256()
        for array in self.images, self.labels, None if self.matched else self.true_labels:
            if array is not None:
                sha.update(np.ascontiguousarray(array).data)
        return sha.hexdigest()


def train_name(noise_type: str, rate: float, seed: int) -> str:
    """The file name of a training set's fast form."""
    return f"cifar100_train_{noise_type}_{rate}_seed_{seed}.npz"


def train_path(folder: Path, noise: LabelNoise) -> Path:
    """The path of a training set's fast form."""
    return Path(folder) / train_name(noise.type, noise.rate, noise.seed)


def test_path(folder: Path) -> Path:
    """The path of the test set's fast form."""
    return Path(folder) / "cifar100_test.npz"


def save(path: Path, dataset: Dataset, about: dict) -> None:
    """Write the fast form; a failure leaves no part of it. `about` is a JSON object, e.g. on where the data come from."""
    arrays = {name: value for name, value in vars(dataset).items() if isinstance(value, np.ndarray)}
    with atomic_writer(path) as file:
        np.savez(file, about=np.array(json.dumps(about)), **arrays)


def load(path: Path) -> tuple[Dataset, dict]:
    """Read the fast form: the data set, and the `about` with which it was saved.

    Raises
    ------
    InputError
        If the file is missing, damaged or not of this kind.
    """
    try:
        arrays = _read(path, [*ARRAYS, "about"])
        about = json.loads(str(arrays.pop("about")))
        return Dataset(arrays.pop("images"), **{name: whole_numbers(name, values) for name, values in arrays.items()}), about
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: run `{_prepare(path)}` first") from None
    except Exception as error:  # NumPy parses the heads of damaged arrays as Python text, and may raise anything
        raise InputError(f"{path} is damaged ({error}): delete it and run `{_prepare(path)}`") from error


def _prepare(path: Path) -> str:
    """The command that makes the file of a fast form."""
    found = re.fullmatch(train_name("(.+)", "(.+)", r"(\d+)"), Path(path).name)
    options = [] if Path(path).parent == Path("data") else ["--output", Path(path).parent]
    if found and found[1] in NOISE_TYPES:
        options += ["--noise-type", found[1], "--noise", found[2], "--seed", found[3]]
    elif found:
        options += ["--noise-matrix", "FILE"]
    return command("data_toolkit.prepare", options)


def _read(path: Path, names: list[str]) -> dict[str, NDArray]:
    """The arrays with the given names in an .npz file. If the file is damaged, NumPy may raise any exception."""
    if Path(path).exists() and not Path(path).is_file():  # reading a pipe may never end
        raise InputError("it is not a file")
    with np.load(path, allow_pickle=False) as arrays:
        size = sum(member.file_size for member in arrays.zip.infolist())
        if size > MAX_BYTES:
            raise InputError(f"it would unpack to {size} bytes; at most {MAX_BYTES} are read")
        return {name: arrays[name] for name in names if name in arrays.files}


def load_npz(path: Path) -> Dataset:
    """A training set of a user's own: the arrays `images`, `labels` and, where they are known, `true_labels`.

    It is read in a process of its own, as the other forms of data that may be a stranger's. The labels may be of any numeric
    type, as long as all are whole numbers from 0 on. Other arrays are ignored.

    Raises
    ------
    InputError
        If the file cannot be read, an array is missing or has another shape or type.
    """
    try:
        arrays = isolation.arrays(lambda: _read(path, ARRAYS), [path])
    except InputError as error:
        raise InputError(f"{path} cannot be read as an .npz file ({error}); {NEEDED}") from error
    try:
        if missing := [name for name in ("images", "labels") if name not in arrays]:
            raise InputError(f"it has no array {' and no array '.join(missing)}")
        images = arrays.pop("images")
        return Dataset(images, **{name: whole_numbers(name, values) for name, values in arrays.items()})
    except InputError as error:
        raise InputError(f"{path}: {error}; {NEEDED}") from error


def whole_numbers(name: str, values: NDArray) -> NDArray[np.int64]:
    """Labels as (N,) int64, from an array of any numeric type with at most one dimension longer than 1; else InputError."""
    if values.dtype.kind not in "iuf" or values.size != max(values.shape, default=0):
        raise InputError(f"{name} are {values.dtype} {values.shape}")
    with np.errstate(invalid="ignore"):  # the comparison below finds NaN and infinity
        labels = values.ravel().astype(np.int64)
    if not np.array_equal(labels, values.ravel()):
        raise InputError(f"{name} are not all whole numbers")
    return labels


def load_train(folder: Path, noise: LabelNoise) -> Dataset:
    """The prepared training set with label noise; see `load` for errors."""
    return load(train_path(folder, noise))[0]


def load_test(folder: Path) -> Dataset:
    """The prepared test set; see `load` for errors."""
    return load(test_path(folder))[0]


test_path.__test__ = False  # not one of pytest's


def load_file(path: Path) -> Dataset:
    """Read a training set: an .npz file, ours or a user's, or a MATLAB file like the released ``*ImageDataCell*.mat``."""
    if not Path(path).is_file():  # reading a pipe may never end
        raise InputError(f"{path} {'is not a file' if Path(path).exists() else 'does not exist'}")
    if Path(path).suffix == ".npz":
        return load_npz(path)
    images, labels = matfile.read(path)
    return Dataset(images, labels, matfile.read_true_labels(path))
