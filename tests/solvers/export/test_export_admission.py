"""Strangers' prototxts and caffemodels are written as ONNX or refused in one line, and nothing else is written."""

import os
from pathlib import Path

import pytest
import tiny
from against_runtime import parsed

from solvers.export import admission, source
from solvers.export.__main__ import main
from solvers.nets import weights
from solvers.nets.pycaffe import caffe

pb = caffe.proto.caffe_pb2

DEPLOY = tiny.TEST.replace("input_dim: 16", "input_dim: 1")


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with a net and its weights."""
    (tmp_path / "deploy.prototxt").write_text(DEPLOY)
    weights.build(parsed(DEPLOY)).save(str(tmp_path / "net.caffemodel"))
    return tmp_path


def export(folder: Path, capsys) -> str:
    """Export what the folder has; what is said of why it cannot be. Nothing is written then, and the process lives."""
    before = sorted(os.listdir(folder))
    assert main([str(folder / "deploy.prototxt"), str(folder / "net.caffemodel"), "-o", str(folder / "net.onnx")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith("error: ")
    assert sorted(os.listdir(folder)) == before
    return said


@pytest.mark.parametrize(("layer", "said"), [
    ('type: "Python" top: "x" python_param { module: "os" layer: "system" }', "(Python) would run code of the module 'os'"),
    ('type: "HDF5Output" bottom: "data" bottom: "data" hdf5_output_param { file_name: "leak.h5" }', "would write 'leak.h5'"),
    ('type: "HDF5Data" top: "x" hdf5_data_param { source: "/etc/passwd" batch_size: 1 }', "(HDF5Data) "),
    ('type: "Accuracy" bottom: "probs" bottom: "data" top: "x"', "(Accuracy) cannot be written as ONNX; give a deploy net"),
])
@pytest.mark.parametrize("phase", ["TEST", "TRAIN"])
def test_hostile_layers(folder, capsys, layer, said, phase):
    """Of any phase: a layer that only trains is no reason to trust the net."""
    (folder / "deploy.prototxt").write_text(DEPLOY + f'layer {{ name: "own" {layer} include {{ phase: {phase} }} }}')
    if phase == "TEST" or "Accuracy" not in layer:
        error = export(folder, capsys)
        assert said in error or phase == "TEST" and "cannot be written as ONNX" in error


@pytest.mark.parametrize(("old", "new", "said"), [
    ('type: "ReLU"', 'type: "Relu"', "layer 'relu' has the unknown type 'Relu'"),
    ('bottom: "pool"', 'bottom: "pol"', "layer 'scores' reads the blob 'pol'"),
    ("kernel_size: 3", "kernel_size: 300", "Caffe refuses"),
    ("num_output: 8", "num_output: 2000000000", "layer 'conv': num_output is 2000000000; at most"),
    ("num_output: 8", "num_output: 9", "the weights of layer 'conv' have the shapes"),
    ('"conv" type: "Convolution"', '"conv" type: "Convolution" blobs { data: 1 }', "brings weights along"),
    ("layer {", "layer (", "deploy.prototxt:4: "),
    ('name: "scores"', 'name: "other"', "has no weights for the layers other"),
])
def test_hostile_nets(folder, capsys, old, new, said):
    assert old in DEPLOY
    (folder / "deploy.prototxt").write_text(DEPLOY.replace(old, new, 1))
    assert said in export(folder, capsys)


@pytest.mark.parametrize(("content", "said"), [
    (b"", "has no weights for the layers"),
    (b"\xff" * 100, "is damaged"),
    (None, "No such file"),
])
def test_hostile_weights(folder, capsys, content, said):
    if content is None:
        (folder / "net.caffemodel").unlink()
    else:
        (folder / "net.caffemodel").write_bytes(content)
    assert said in export(folder, capsys)


def test_two_layers_with_weights_and_one_name(folder, capsys):
    second = 'layer { name: "scores" type: "InnerProduct" bottom: "scores" top: "y" inner_product_param { num_output: 10 } }'
    (folder / "deploy.prototxt").write_text(DEPLOY + second)
    assert "'scores'" in export(folder, capsys)


def test_what_changes_with_the_batch(folder):
    given = source.of_files(folder / "deploy.prototxt", folder / "net.caffemodel")
    shapes = admission.admit(given.net_param, given.model, given.name)
    assert shapes["data"] == (None, 3, 32, 32)
    assert shapes["scores"] == (None, 10)
