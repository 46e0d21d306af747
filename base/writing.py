"""Write files so that they are never seen half written. A confined process has some of them delivered: see delivery.py."""

import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from base import delivery
from base.errors import InputError
from base.files import opened, publish, publish_in

UNFINISHED = re.compile(r"\..+\.[0-9a-f]{8}\.part")  # names of the files that `atomic_writer` has not finished


def scratch_folder(path: Path) -> Path:
    """The folder for what is going to be the file `path`: its own, or the hidden one from which it is delivered."""
    return delivery.hidden_folder(path) or path.absolute().parent


def put(new: Path, path: Path) -> None:
    """Put a finished file from the `scratch_folder` of `path`, or from below it, in its place."""
    publish(new, scratch_folder(path) / path.name)
    delivery.deliver(path)


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
        scratch = scratch_folder(path)
        scratch.mkdir(parents=True, exist_ok=True)
        with opened(scratch) as folder:
            handle = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=folder)
            try:
                with open(handle, "w+b") as file:
                    fcntl.flock(file, fcntl.LOCK_EX)  # `remove_unfinished` leaves locked files alone
                    yield file
                    file.flush()
                    publish_in(folder, folder, file, new, path.name)
            except BaseException:
                with suppress(FileNotFoundError):
                    os.unlink(new, dir_fd=folder)
                raise
        delivery.deliver(path)
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
