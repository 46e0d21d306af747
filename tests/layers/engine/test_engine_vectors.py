"""Which registers the engine's kernels use: the widest that the processor has and that oneDNN's limit allows."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import ctypes, sys
import caffe
engine = ctypes.CDLL(caffe._caffe.__file__)
has_vectors = engine._ZN5caffe6engine10HasVectorsEi  # bool caffe::engine::HasVectors(int)
has_vectors.restype = ctypes.c_bool
print([lanes for lanes in (8, 16) if has_vectors(lanes)])
"""
FLAGS = Path("/proc/cpuinfo").read_text().split()


def registers(**environment: str) -> str:
    """How many floats the registers that the engine uses have."""
    free = {name: value for name, value in os.environ.items() if not name.endswith("DNN_MAX_CPU_ISA")}
    return subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True,
                          env=free | {"GLOG_minloglevel": "2"} | environment).stdout.strip()


@pytest.mark.skipif("avx512bw" not in FLAGS, reason="this processor has no AVX-512")
def test_widest_registers():
    assert registers() == "[8, 16]"


@pytest.mark.skipif("avx2" not in FLAGS, reason="this processor has no AVX2")
def test_limit_of_onednn_holds_for_our_kernels():
    assert registers(ONEDNN_MAX_CPU_ISA="AVX2") == "[8]"
