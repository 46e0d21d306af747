"""A small CIFAR-100, written in each of the three official forms."""

import io
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
import scipy.io

COUNTS = {"train": 30, "test": 10}  # instead of archives.COUNTS
FOLDERS = {"binary": "cifar-100-binary", "python": "cifar-100-python", "matlab": "cifar-100-matlab"}


def arrays(split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random planes (N, 3072), fine labels and coarse labels; all uint8."""
    rng = np.random.default_rng(COUNTS[split])
    count = COUNTS[split]
    return (rng.integers(0, 256, (count, 3072), np.uint8), rng.integers(0, 100, count, np.uint8),
            rng.integers(0, 20, count, np.uint8))


def binary(split: str) -> bytes:
    planes, fine, coarse = arrays(split)
    return np.column_stack([coarse, fine, planes]).tobytes()


def python(split: str) -> bytes:
    """Pickled by Python 3, as a user may do again; see `python2` for the official form."""
    planes, fine, coarse = arrays(split)
    return pickle.dumps({b"data": planes, b"fine_labels": fine.tolist(), b"coarse_labels": coarse.tolist()}, protocol=2)


def python2(split: str) -> bytes:
    """As Python 2 and its NumPy wrote the official files: the strings in it are bytes, marked as str."""
    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value if len(value) < 256 else b"T" + struct.pack("<i", len(value)) + value

    def integer(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    def numbers(values: np.ndarray) -> bytes:
        return b"](" + b"".join(integer(v) for v in values.tolist()) + b"e"

    planes, fine, coarse = arrays(split)
    dtype = (b"cnumpy\ndtype\n(" + text(b"u1") + integer(0) + integer(1) + b"tR("
             + integer(3) + text(b"|") + b"NNN" + integer(-1) + integer(-1) + integer(0) + b"tb")
    array = (b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(" + integer(0) + b"t" + text(b"b") + b"tR("
             + integer(1) + b"(" + integer(len(planes)) + integer(3072) + b"t" + dtype + b"\x89"
             + text(planes.tobytes()) + b"tb")
    return (b"\x80\x02}(" + text(b"data") + array + text(b"fine_labels") + numbers(fine)
            + text(b"coarse_labels") + numbers(coarse) + b"u.")


def matlab(split: str) -> bytes:
    planes, fine, coarse = arrays(split)
    file = io.BytesIO()
    scipy.io.savemat(file, {"data": planes, "fine_labels": fine[:, None], "coarse_labels": coarse[:, None]},
                     do_compression=True)
    return file.getvalue()


def files(form: str) -> dict[str, bytes]:
    """The contents of a form's files by path, in the order of the official archives."""
    write, suffix = {"binary": (binary, ".bin"), "python": (python, ""), "python2": (python2, ""),
                     "matlab": (matlab, ".mat")}[form]
    folder = FOLDERS[form.rstrip("2")]
    return {f"{folder}/fine_label_names.txt": b"apple\n"} | {
        f"{folder}/{split}{suffix}": write(split) for split in ("test", "train")}


def pack(path: Path, content: dict[str, bytes], compression: str = "gz") -> Path:
    """Make a tar archive."""
    with tarfile.open(path, f"w:{compression}") as archive:
        for name, value in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(value)
            archive.addfile(member, io.BytesIO(value))
    return path
