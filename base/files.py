"""Write files so that they are never seen half written, and open files without following symbolic links.

A folder that somebody else made may contain links with the names of our files. Such a link is followed neither to read nor
to write. To rule out changes in between, a folder is opened once, and its files are opened relative to that handle.
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

from base.errors import InputError

UNFINISHED = re.compile(r"\..+\.[0-9a-f]{8}\.part")  # names of the files that `atomic_writer` has not finished
MAX_BYTES = 4 << 30  # the largest file that is read as a whole
MAX_TEXT = 64 << 20  # the largest text file, unless its reader sets another limit: a sparse file may have any size


def real(path: Path | str) -> Path:
    """The path with all links followed. A link to itself, for which Path.resolve raises an error, is returned unchanged."""
    return Path(os.path.realpath(path))


@contextmanager
def opened(folder: Path, flags: int = os.O_RDONLY) -> Iterator[int]:
    """A handle of a folder for the ``dir_fd`` of Python's functions. With O_PATH, no permission to list it is needed."""
    handle = os.open(folder, flags | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield handle
    finally:
        os.close(handle)


@contextmanager
def opened_in(folder: Path, *inner: str, flags: int = os.O_RDONLY) -> Iterator[int]:
    """As `opened`, for a folder `inner` below `folder`; an error if one of the inner folders is a link."""
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
        If there is no such file, a part of the name is a link, or it is no regular file: reading a pipe could wait for ever.
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
    """The content of a regular file. `folder`, by default its own, is the one below which no part of the path may be a link.

    Raises
    ------
    OSError
        As `open_in`, and if the file has more than `most` bytes.
    """
    folder = path.parent if folder is None else folder
    with open(open_in(folder, path.relative_to(folder)), "rb") as file:
        if (size := os.fstat(file.fileno()).st_size) > most:
            raise OSError(f"it has {size} bytes; at most {most} are read")
        return file.read(size)  # not `most`: Python would allocate that much at once


def publish(new: Path, path: Path) -> None:
    """Rename a file after its content is on the disk: `path` is complete whenever it exists, even after a power cut.

    Both paths must be on one file system.
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
    """A file open for writing bytes. It replaces `path` when the block ends; if the block raises, it is deleted.

    Raises
    ------
    InputError
        If the file cannot be written; `path` is then unchanged.
    """
    path = Path(path)
    new = f".{path.name}.{secrets.token_hex(4)}.part"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with opened(path.parent) as folder:
            handle = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=folder)
            try:
                with open(handle, "w+b") as file:
                    fcntl.flock(file, fcntl.LOCK_EX)  # `remove_unfinished` leaves locked files alone
                    yield file
                    file.flush()
                    _publish(folder, folder, file, new, path.name)
            except BaseException:
                with suppress(FileNotFoundError):
                    os.unlink(new, dir_fd=folder)
                raise
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file (text as UTF-8) that is never seen half written; see `atomic_writer` for errors."""
    with atomic_writer(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def remove_unfinished(folder: Path) -> None:
    """Remove the unfinished files of killed processes: those with names like UNFINISHED that no process has locked."""
    with opened(folder) as place:
        for name in filter(UNFINISHED.fullmatch, os.listdir(place)):
            with suppress(OSError):  # it is a link, or another process is writing it
                handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=place)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(name, dir_fd=place)
                finally:
                    os.close(handle)
