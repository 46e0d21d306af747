"""The toolkit that CAFFE_CUDA selects, and the errors that the check of a CUDA build can find."""

import json
import sys
from pathlib import Path

import pytest

DOCKER = Path(__file__).resolve().parents[2] / "docker"
sys.path.insert(0, str(DOCKER))

import cuda_toolkit  # noqa: E402
from check_cuda import ATOMIC, expected_symbols, wanted_architectures  # noqa: E402
from cuda_toolkit import ToolkitError  # noqa: E402


@pytest.fixture
def toolkit(tmp_path, monkeypatch):
    """A folder that looks like a toolkit with NCCL and without cuDNN."""
    for name in ("bin/nvcc", "include/nccl.h", "lib64/libnccl.so"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("#!/bin/sh\necho CUDA 12.9\n")
    (tmp_path / "bin/nvcc").chmod(0o755)
    monkeypatch.setenv("CAFFE_CUDA", str(tmp_path))
    monkeypatch.delenv("CAFFE_CUDA_ARCHS", raising=False)
    return tmp_path


@pytest.mark.parametrize(("value", "expected"), [(None, False), ("", False), ("0", False), ("1", True), ("/usr", True)])
def test_wanted(monkeypatch, value, expected):
    monkeypatch.delenv("CAFFE_CUDA", raising=False)
    if value is not None:
        monkeypatch.setenv("CAFFE_CUDA", value)
    assert cuda_toolkit.wanted() == expected


def test_a_toolkit_of_the_machine(toolkit, tmp_path, capsys):
    found = cuda_toolkit.find_toolkit(tmp_path / "cache")
    assert found.root == toolkit and found.nccl == toolkit and found.version == "CUDA 12.9"
    options = found.cmake_options()
    assert (options["CPU_ONLY"], options["USE_NCCL"]) == ("OFF", "ON")
    assert options["NCCL_LIBRARIES"] == str(toolkit / "lib64/libnccl.so")
    assert json.dumps(options)
    if found.cudnn is None:
        assert options["USE_CUDNN"] == "OFF" and "no cudnn in" in capsys.readouterr().out


def test_no_toolkit(monkeypatch, tmp_path):
    monkeypatch.setenv("CAFFE_CUDA", str(tmp_path))
    with pytest.raises(ToolkitError, match="has no bin/nvcc: name a CUDA toolkit of version 12 or 13, or give 1"):
        cuda_toolkit.find_toolkit(tmp_path)


@pytest.mark.parametrize("archs", ["turing", "86,", "8.6", "86;"])
def test_no_architectures(toolkit, monkeypatch, archs):
    monkeypatch.setenv("CAFFE_CUDA_ARCHS", archs)
    with pytest.raises(ToolkitError, match="is not a list of compute capabilities such as 86"):
        cuda_toolkit.find_toolkit(toolkit).cmake_options()


def test_architectures_of_the_options():
    options = {"CMAKE_CUDA_ARCHITECTURES": cuda_toolkit.ARCHITECTURES}
    assert wanted_architectures(options) == ({"sm_75", "sm_80", "sm_86", "sm_89", "sm_90"}, {"sm_90"})


def test_expected_symbols(tmp_path):
    layers = tmp_path / "src/caffe/layers"
    layers.mkdir(parents=True)
    (layers / "a.cu").write_text("INSTANTIATE_LAYER_GPU_FUNCS(ALayer);")
    (layers / "b.cu").write_text("INSTANTIATE_LAYER_GPU_FORWARD(BLayer);")
    assert expected_symbols(tmp_path) == {
        "caffe::ALayer<float>::Forward_gpu", "caffe::ALayer<float>::Backward_gpu", "caffe::ALayer<double>::Forward_gpu",
        "caffe::ALayer<double>::Backward_gpu", "caffe::BLayer<float>::Forward_gpu", "caffe::BLayer<double>::Forward_gpu"}


@pytest.mark.parametrize(("line", "found"), [
    ("\tatom.global.add.f32 %f3, [%rd12], %f2;", True), ("@%p1 red.global.add.f64 [%rd1], %fd1;", True),
    ("\tadd.f32 %f1, %f2, %f3;", False), ("\tmov.u32 %reduced, 1;", False), ("\tshfl.sync.bfly.b32 %r1, %r2;", False)])
def test_atomics_are_found(line, found):
    assert bool(ATOMIC.search(f"{{\n{line}\n}}")) == found
