"""Mistakes over which Caffe would abort are found before, and named."""

import pytest
import tiny
from google.protobuf import text_format

from base.errors import InputError
from solvers.nets import admission
from solvers.nets.phases import layers_in
from solvers.nets.pycaffe import caffe

pb = caffe.proto.caffe_pb2
TRAIN = pb.NetState(phase=pb.TRAIN)
NET = tiny.INPUT + tiny.BODY + tiny.EXTRACT + tiny.USW


def check(net: str) -> None:
    admission.check_net(text_format.Parse(net, pb.NetParameter()), TRAIN)


def test_a_sound_net():
    check(NET)


@pytest.mark.parametrize(("old", "new", "message"), [
    ('type: "ReLU"', 'type: "Relu"', "layer 'relu' has the unknown type 'Relu'; the nearest known types are ReLU,"),
    ('type: "ReLU"', 'type: "Gaussian"', "layer 'relu' has the unknown type 'Gaussian'"),
    ('bottom: "pool"', 'bottom: "pol"',
     "layer 'scores' reads the blob 'pol', which no layer before it makes; did you mean \"pool\""),
    ('top: "probs"', 'top: "pool"', "layer 'probs' makes the blob 'pool', which another layer made before"),
    ('bottom: "prob_groundtruth"', "", r"layer 'loss' \(UnifiedWeightLoss\) needs 3 bottoms.*has 2"),
    ("propagate_down: true", "", "layer 'loss' has 3 bottoms but 2 propagate_down"),
])
def test_broken_nets(old, new, message):
    with pytest.raises(InputError, match=message):
        check(NET.replace(old, new))


@pytest.mark.skipif("ImageData" in caffe.layer_type_list(), reason="this Caffe has OpenCV")
def test_image_data_without_opencv_says_how_to_get_it():
    with pytest.raises(InputError, match=r"layer 'relu' \(ImageData\) needs a Caffe with OpenCV: CAFFE_OPENCV=1 make"):
        check(NET.replace('type: "ReLU"', 'type: "ImageData"'))


@pytest.mark.parametrize(("solver", "message"), [
    ('lr_policy: "fixed" type: "ADAM"', "type is 'ADAM'.*did you mean \"Adam\""),
    ('lr_policy: "multi-step"', "lr_policy is 'multi-step'.*did you mean \"multistep\""),
    ("", "lr_policy is ''"),
    ('lr_policy: "multistep" stepvalue: 5 stepvalue: 5', r"stepvalues must increase; they are \[5, 5\]"),
])
def test_broken_solvers(solver, message):
    with pytest.raises(InputError, match=message):
        admission.check_solver(text_format.Parse(solver, pb.SolverParameter()))


def test_a_data_layer_whose_file_is_missing():
    with pytest.raises(InputError, match=r"layer 'd' \(HDF5Data\) reads list.txt, which does not exist"):
        check('layer { name: "d" type: "HDF5Data" top: "x" hdf5_data_param { source: "list.txt" batch_size: 1 } }')


def test_a_list_that_names_a_missing_file(tmp_path):
    (tmp_path / "list.txt").write_text(f"{tmp_path}/list.txt\nnone.h5\n")
    layer = 'layer { name: "d" type: "HDF5Data" top: "x" hdf5_data_param { source: "%s/list.txt" batch_size: 1 } }'
    with pytest.raises(InputError, match="list.txt, which names none.h5: that does not exist, seen from the working dir"):
        check(layer % tmp_path)


@pytest.mark.parametrize(("rules", "state", "active"), [
    ("", "phase: TRAIN", True),
    ("include { phase: TEST }", "phase: TRAIN", False),
    ("exclude { phase: TEST }", "phase: TRAIN", True),
    ('include { phase: TEST } include { stage: "a" }', 'phase: TRAIN stage: "a"', True),
    ('include { not_stage: "a" }', 'phase: TRAIN stage: "a"', False),
    ("include { min_level: 1 }", "phase: TRAIN", False),
    ("exclude { max_level: 1 }", "phase: TRAIN level: 2", True),
])
def test_include_and_exclude_rules_are_those_of_caffe(rules, state, active, tmp_path):
    net = f'input: "x" input_dim: 1 input_dim: 1 input_dim: 1 input_dim: 1 state {{ {state} }} layer {{ name: "l" ' \
          f'type: "ReLU" bottom: "x" top: "y" {rules} }}'
    param = text_format.Parse(net, pb.NetParameter())
    assert [layer.name for layer in layers_in(param)] == ["l"] * active
    (tmp_path / "net.prototxt").write_text(net)
    built = caffe.Net(str(tmp_path / "net.prototxt"), param.state.phase, level=param.state.level,
                      stages=list(param.state.stage))
    assert ("y" in built.blobs) == active
