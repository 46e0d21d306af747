"""Files that are there whole or not at all, and folders in which no link leads elsewhere.

A folder is opened once, and what is in it is reached through that handle. A stranger's folder may hold links that are named
like our own files: none is followed, neither for reading nor for writing.
"""

import errno
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from base.errors import DataError

UNFINISHED = re.compile(r"\..+\.[0-9a-f]{8}\.part")  # what `atomic_writer` writes, until it is whole
MAX_BYTES = 4 << 30  # of any file that is read whole
MAX_TEXT = 64 << 20  # of one that is text, unless its reader says otherwise: a file with holes may have any size


def real(path: Path | str) -> Path:
    """Where a path leads, all links followed; a link that leads to itself, at which Path.resolve gives up, as it is."""
    return Path(os.path.realpath(path))


@contextmanager
def opened(folder: Path, flags: int = os.O_RDONLY) -> Iterator[int]:
    """A handle of a folder, for the ``dir_fd`` of Python's functions; with O_PATH one that needs no right to list it."""
    handle = os.open(folder, flags | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield handle
    finally:
        os.close(handle)


@contextmanager
def opened_in(folder: Path, *inner: str, flags: int = os.O_RDONLY) -> Iterator[int]:
    """The same of a folder below another, on no way that is a link."""
    with ExitStack() as handles:
        place = handles.enter_context(opened(folder, flags))
        for part in inner:
            place = os.open(part, flags | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place)
            handles.callback(os.close, place)
        yield place


def open_in(folder: Path, name: str | Path, flags: int = os.O_RDONLY) -> int:
    """Open a regular file below a folder; no part of `name` may be a link.

    Raises
    ------
    OSError
        If there is no such file, a part of the name is a link, or it is no regular file; a pipe would wait for ever.
    """
    *inner, last = Path(name).parts
    if Path(name).is_absolute() or ".." in (*inner, last):
        raise OSError(f"{name} leads out of the folder {folder}")
    with opened_in(folder, *inner, flags=os.O_PATH) as place:
        try:
            handle = os.open(last, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666, dir_fd=place)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise OSError("it is a link, which is not followed") from error
            raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError("it is not a regular file")
    return handle


def read(path: Path, most: int = MAX_TEXT, folder: Path | None = None) -> bytes:
    """The content of a regular file in `folder`, by default the one that its name says; see `open_in` for errors.

    Raises
    ------
    OSError
        Also if it has more than `most` bytes.
    """
    folder = path.parent if folder is None else folder
    with open(open_in(folder, path.relative_to(folder)), "rb") as file:
        if (size := os.fstat(file.fileno()).st_size) > most:
            raise OSError(f"it has {size} bytes; at most {most} are read")
        return file.read(size)  # not `most`: so much memory would be taken at once


def publish(new: Path, path: Path) -> None:
    """Rename a file once its content is on the disk, so that whoever sees `path` sees all of it, after a power cut too.

    Both names are of one file system.
    """
    with opened(new.parent) as source, opened(path.parent) as folder, open(open_in(new.parent, new.name), "rb") as file:
        _publish(source, folder, file, new.name, path.name)


def _publish(source: int, folder: int, file: BinaryIO, new: str, name: str) -> None:
    with suppress(FileNotFoundError):
        if stat.S_IFMT(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode) not in (stat.S_IFREG, stat.S_IFLNK):
            raise OSError("it is there, and is not a regular file")  # root could replace /dev/null
    os.fsync(file.fileno())
    os.replace(new, name, src_dir_fd=source, dst_dir_fd=folder)
    os.fsync(folder)


@contextmanager
def atomic_writer(path: Path) -> Iterator[BinaryIO]:
    """A file open for writing bytes, which takes the place of `path` when the block ends well and vanishes when it does not.

    Raises
    ------
    DataError
        If the file cannot be written there; `path` is then as it was.
    """
    path = Path(path)
    new = f".{path.name}.{secrets.token_hex(4)}.part"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with opened(path.parent) as folder:
            handle = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=folder)
            try:
                with open(handle, "w+b") as file:
                    fcntl.flock(file, fcntl.LOCK_EX)  # it is not unfinished as long as somebody writes it
                    yield file
                    file.flush()
                    _publish(folder, folder, file, new, path.name)
            except BaseException:
                with suppress(FileNotFoundError):
                    os.unlink(new, dir_fd=folder)
                raise
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file (text as UTF-8) that is never seen half written; see `atomic_writer` for errors."""
    with atomic_writer(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes left half written in a folder: files of our own pattern that nobody writes any more."""
    with opened(folder) as place:
        for name in filter(UNFINISHED.fullmatch, os.listdir(place)):
            with suppress(OSError):  # a link, or somebody writes it
                handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=place)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(name, dir_fd=place)
                finally:
                    os.close(handle)
