"""Read CIFAR-100 in any of its three official forms, from an archive or from its unpacked folder."""

import gzip
import hashlib
import io
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from base import isolation
from base.errors import InputError
from data_toolkit import decompress, matlab5, unpickle
from data_toolkit.dataset import Dataset

COUNTS = {"train": 50_000, "test": 10_000}
PARTS = ("images", "labels", "coarse_labels")
PIXELS = 3 * 32 * 32
RECORD = 2 + PIXELS  # bytes: superclass, class, then the red, green and blue planes row by row
MAX_BYTES = 400_000_000  # of a file in a form without a fixed size; the largest official one has 155 MB
OFFICIAL_MD5 = {
    "03b5dce01913d631647c71ecec9e9cb8": "cifar-100-binary.tar.gz",
    "eb9058c3a382ffc7106e4002c42a8d85": "cifar-100-python.tar.gz",
    "6a4bfa1dcd5c9453dda6bb54194911f4": "cifar-100-matlab.tar.gz",
}


def _dataset(split: str, planes: NDArray, labels: NDArray, coarse_labels: NDArray) -> Dataset:
    """Make a `Dataset` from the arrays that a reader has found: check them, and put the channels last."""
    count = COUNTS[split]
    if planes.shape != (count, PIXELS) or planes.dtype != np.uint8:
        raise InputError(f"the {split} images are {planes.dtype} {planes.shape} instead of uint8 ({count}, {PIXELS})")
    for name, values, limit in ("fine", labels, 100), ("coarse", coarse_labels, 20):
        if values.shape != (count,) or values.dtype.kind not in "iu" or values.min() < 0 or values.max() >= limit:
            raise InputError(f"the {split} set's {name} labels are not {count} numbers from 0 to {limit - 1}")
    images = np.ascontiguousarray(planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    labels = labels.astype(np.int64)
    return Dataset(images, labels, labels, coarse_labels.astype(np.int64))


def _read_binary(content: BinaryIO, split: str) -> Dataset:
    size = COUNTS[split] * RECORD
    raw = content.read(size + 1)
    if len(raw) != size:
        raise InputError(f"the {split} set has {'over ' * (len(raw) > size)}{min(len(raw), size)} bytes "
                         f"instead of {size}")
    records = np.frombuffer(raw, np.uint8).reshape(-1, RECORD)
    return _dataset(split, records[:, 2:], records[:, 1], records[:, 0])


def _read_python(content: BinaryIO, split: str) -> Dataset:
    return _from_arrays(unpickle.load(content), split)


def _read_matlab(content: BinaryIO, split: str) -> Dataset:
    try:
        arrays = matlab5.variables(io.BytesIO(content.read(MAX_BYTES)), ["data", "fine_labels", "coarse_labels"])
    except Exception as error:  # SciPy may raise anything if the file is damaged
        raise InputError(f"the {split} set is not a whole MATLAB v5 file: it is damaged: {error}") from error
    return _from_arrays(arrays, split)


def _from_arrays(arrays: dict, split: str) -> Dataset:
    missing = [name for name in ("data", "fine_labels", "coarse_labels") if name not in arrays]
    if missing:
        raise InputError(f"the {split} set has no {' or '.join(missing)}")
    try:
        labels = [np.asarray(arrays[name]).ravel() for name in ("fine_labels", "coarse_labels")]
    except ValueError as error:
        raise InputError(f"the {split} set's labels are not numbers: {error}") from error
    return _dataset(split, np.asarray(arrays["data"]), *labels)


# file name -> (split, reader)
FILES: dict[str, tuple[str, Callable[[BinaryIO, str], Dataset]]] = {
    split + suffix: (split, reader)
    for split in COUNTS
    for suffix, reader in ((".bin", _read_binary), ("", _read_python), (".mat", _read_matlab))
}


@dataclass(frozen=True)
class Source:
    """An archive of CIFAR-100, or its unpacked folder.

    Attributes
    ----------
    path : Path
    md5 : str
        The MD5 of the archive; of a folder, that of its files one after the other.
    """

    path: Path
    md5: str

    @property
    def description(self) -> str:
        """What the source is, according to its checksum."""
        if self.is_official:
            return f"the official {OFFICIAL_MD5[self.md5]}"
        return "a folder" if self.path.is_dir() else "an unofficial archive"

    @property
    def is_official(self) -> bool:
        """Whether the checksum is that of an official archive."""
        return self.md5 in OFFICIAL_MD5


def md5_of(*paths: Path) -> str:
    """The MD5 of files, one after the other, in hexadecimal."""
    digest = hashlib.md5(usedforsecurity=False)
    for path in paths:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _files_in(folder: Path) -> list[Path]:
    """CIFAR-100's train and test file in a folder, or in the subfolder to which its archive unpacks."""
    for place in folder, *sorted(folder.glob("cifar-100-*")):
        for suffix in ".bin", "", ".mat":
            files = [place / (split + suffix) for split in COUNTS]
            if all(file.is_file() for file in files):
                return files
    raise InputError("has no CIFAR-100 in it: neither train.bin and test.bin, nor train and test, nor train.mat and "
                     "test.mat")


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Put the name of the file before the text of an error."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: --source or CIFAR100_SOURCE names an archive of CIFAR-100 or its "
                         "folder") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


@contextmanager
def _as_archive() -> Iterator[None]:
    """Turn errors of decompression into an InputError about the archive."""
    try:
        yield
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
        raise InputError(f"is not a whole archive: {error}") from error
    except MemoryError as error:
        raise InputError("is not CIFAR-100: it needs too much memory") from error


def find_archive(path: Path) -> Source:
    """Find out what a source is by its name and checksum, without reading its images.

    Raises
    ------
    InputError
        If it does not exist, cannot be read, is a folder without CIFAR-100, or has an official archive's name but another
        checksum.
    """
    path = Path(path)
    with _naming(path):
        if path.is_dir():
            return Source(path, md5_of(*_files_in(path)))
        if path.exists() and not path.is_file():
            raise InputError("is neither a file nor a folder")
        source = Source(path, md5_of(path))
        if path.name in OFFICIAL_MD5.values() and not source.is_official:
            raise InputError(f"has the MD5 {source.md5}, which is not that of the official archive of this name: get it "
                             "again, or rename the file if it is meant to be another one")
        return source


def _read_folder(path: Path) -> dict[str, Dataset]:
    splits = {}
    for file in _files_in(path):
        split, read = FILES[file.name]
        with open(file, "rb") as content:
            splits[split] = read(content, split)
    return splits


def _read_archive(path: Path) -> dict[str, Dataset]:
    """Read an archive's sets. Nothing is unpacked to disk, so paths in the archive cannot overwrite files."""
    splits = {}
    # Read as a stream to the end: only then has the decompression verified its checksum.
    with decompress.opened(path) as stream, tarfile.open(fileobj=stream, mode="r|", bufsize=1 << 20) as archive:
        for member in archive:
            split, read = FILES.get(PurePosixPath(member.name).name, (None, None))
            if split is None or member.isdir():
                continue
            if not member.isreg():
                raise InputError(f"{member.name} in it is not a regular file")
            if member.size > MAX_BYTES:
                raise InputError(f"{member.name} in it has {member.size} bytes; no file of CIFAR-100 is so large")
            if split in splits:
                raise InputError(f"{member.name} in it is a second {split} set")
            splits[split] = read(archive.extractfile(member), split)
    if len(splits) == len(COUNTS):
        return splits
    missing = " or ".join(split for split in COUNTS if split not in splits)
    raise InputError(f"has no {missing} set of CIFAR-100 in it")


def read(source: Source) -> tuple[Dataset, Dataset]:
    """Read the training and the test set, in the source's order, in a separate process.

    Raises
    ------
    InputError
        If the source is damaged, truncated, or not CIFAR-100.
    """
    def parts() -> dict[str, NDArray]:
        with _as_archive():
            splits = _read_folder(source.path) if source.path.is_dir() else _read_archive(source.path)
        return {f"{split} {name}": getattr(data, name) for split, data in splits.items() for name in PARTS}

    with _naming(source.path):
        found = isolation.arrays(parts, [source.path])
    train, test = ([found[f"{split} {name}"] for name in PARTS] for split in COUNTS)
    return tuple(Dataset(images, labels, labels, coarse_labels) for images, labels, coarse_labels in (train, test))
