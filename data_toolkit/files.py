"""Files that are there whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from data_toolkit.errors import DataError


def publish(new: Path, path: Path) -> None:
    """Rename a file once its content is on the disk, so that whoever sees `path` sees all of it, after a power cut too."""
    with open(new, "rb") as file:
        os.fsync(file.fileno())
    os.replace(new, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, which takes its place when the block ends well and vanishes when it does not.

    Raises
    ------
    DataError
        If the file cannot be written there; `path` is then as it was.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}") from error
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        publish(temporary, path)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_writer(path: Path) -> Iterator[BinaryIO]:
    """`atomic_path`, opened for writing bytes."""
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        yield file


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file (text as UTF-8) that is never seen half written; see `atomic_path` for errors."""
    with atomic_writer(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)
