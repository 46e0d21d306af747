"""Upstream's layers in double precision: what two nets in single precision are both rounded from."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

PHASES = {"TRAIN": 0, "TEST": 1}


def build(folder: Path) -> ctypes.CDLL:
    """Compile double_net.cpp against the Caffe that this Python has; the test skips without a compiler."""
    caffe = pytest.importorskip("caffe")
    if not shutil.which("c++"):
        pytest.skip("no compiler here")
    prefix, here = Path(caffe.__file__).resolve().parents[2], Path(__file__).parent
    library = folder / "double_net.so"
    subprocess.run(["c++", "-std=c++17", "-O1", "-w", "-shared", "-fPIC", "-DCPU_ONLY", f"-I{prefix}/include",
                    here / "double_net.cpp", f"-L{prefix}/lib", "-lcaffe", f"-Wl,-rpath,{prefix}/lib", "-o", library],
                   check=True)
    loaded = ctypes.CDLL(str(library))
    loaded.net_new.restype = ctypes.c_void_p
    loaded.net_values.restype = ctypes.POINTER(ctypes.c_double)
    return loaded


class DoubleNet:
    """A net of doubles with the parameters of a net of floats."""

    def __init__(self, library: ctypes.CDLL, file: Path, like, phase: str = "TRAIN"):
        self.library, self.like = library, like
        self.net = ctypes.c_void_p(library.net_new(str(file).encode(), PHASES[phase]))
        for name, blobs in like.params.items():
            for index, blob in enumerate(blobs):
                self.parameter(name, index)[...] = blob.data

    def values(self, name: str, index: int, diff: bool, shape: tuple[int, ...]) -> np.ndarray:
        count = ctypes.c_int()
        pointer = self.library.net_values(self.net, name.encode(), index, diff, ctypes.byref(count))
        assert count.value == np.prod(shape, dtype=int)
        return np.ctypeslib.as_array(pointer, (count.value,)).reshape(shape)

    def blob(self, name: str, diff: bool = False) -> np.ndarray:
        return self.values(name, -1, diff, tuple(self.like.blobs[name].shape))

    def parameter(self, name: str, index: int, diff: bool = False) -> np.ndarray:
        return self.values(name, index, diff, tuple(self.like.params[name][index].shape))

    def forward(self) -> None:
        self.library.net_forward(self.net)

    def backward(self) -> None:
        self.library.net_backward(self.net)

    def delete(self) -> None:
        self.library.net_delete(self.net)
