"""The bytes of a compressed file, read once from start to end, and checked."""

import gzip
import lzma
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a .gz, .xz or uncompressed file, told apart by their first bytes.

    What the block leaves unread is read after it: .gz keeps its checksum at the end.

    Raises
    ------
    OSError, EOFError, lzma.LZMAError
        If the file cannot be read, is truncated, or has bytes that fail a checksum.
    """
    with open(path, "rb") as file:
        start = file.read(6)
    with _decompressor(path, start) as stream:
        yield stream
        while stream.read(1 << 20):
            pass


def _decompressor(path: Path, start: bytes) -> AbstractContextManager[BinaryIO]:
    if start.startswith(b"\x1f\x8b"):
        return gzip.open(path)
    if start == b"\xfd7zXZ\x00":
        return _xz(path) if shutil.which("xz") else lzma.open(path)
    return open(path, "rb")


@contextmanager
def _xz(path: Path) -> Iterator[BinaryIO]:
    """The program xz decodes with all cores, where Python's lzma has one (10 s of its time for CIFAR-100)."""
    with open(path, "rb") as file, subprocess.Popen(
            ["xz", "--decompress", "--stdout", "--threads=0"],
            stdin=file, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pipesize=1 << 20) as xz:
        try:
            yield xz.stdout
        except BaseException:
            xz.kill()
            raise
        complaint = xz.stderr.read().decode(errors="replace").strip()
    if xz.returncode:
        raise lzma.LZMAError(complaint or f"xz ended with {xz.returncode}")
