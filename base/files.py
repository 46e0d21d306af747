"""Open files without following symbolic links, read them whole, and put finished ones in their place.

A folder that somebody else made may contain links with the names of our files. Such a link is followed neither to read nor
to write. To rule out changes in between, a folder is opened once, and its files are opened relative to that handle.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

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
        publish_in(source, folder, file, new.name, path.name)


def publish_in(source: int, folder: int, file: BinaryIO, new: str, name: str) -> None:
    """As `publish`, for the open file `new` in the folder `source`, which becomes `name` in `folder`; both are handles."""
    with suppress(FileNotFoundError):
        if stat.S_IFMT(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode) not in (stat.S_IFREG, stat.S_IFLNK):
            raise OSError("it is there, and is not a regular file")  # root could replace /dev/null
    os.fsync(file.fileno())
    os.replace(new, name, src_dir_fd=source, dst_dir_fd=folder)
    os.fsync(folder)
