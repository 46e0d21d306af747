"""Read a compressed file once, from start to end, and verify its checksum."""

import gzip
import lzma
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a .gz, .xz or uncompressed file. Its first bytes determine which of them it is.

    When the block ends, the rest of the file is read too: .gz has its checksum at the end.

    Raises
    ------
    OSError, EOFError, lzma.LZMAError
        If the file cannot be read, is truncated, or has bytes that fail a checksum.
    """
    with open(path, "rb") as file:
        start = file.read(6)
        file.seek(0)
        reader = gzip.open if start.startswith(b"\x1f\x8b") else lzma.open if start == b"\xfd7zXZ\x00" else None
        with reader(file) if reader else file as stream:
            yield stream
            while stream.read(1 << 20):
                pass
