"""A net runs no code, reads no file and writes none that its user has not allowed."""

import math
import re
import shutil
from pathlib import Path

import h5py
import pytest
import tiny
from google.protobuf import text_format

from base.errors import InputError
from layers.table import OWN
from solvers.nets.data_layers import PATH_FIELDS
from solvers.nets.permissions import Permissions
from solvers.nets.pycaffe import caffe

pb = caffe.proto.caffe_pb2

CODE = 'layer { name: "own" type: "Python" top: "x" python_param { module: "os" layer: "system" } %s }\n'


@pytest.mark.parametrize("phase", ["", "include { phase: TEST }"])
def test_a_net_runs_no_code_unasked(setting, run, capsys, phase):
    source = setting(net=tiny.INPUT + tiny.BODY + tiny.CCE + CODE % phase)
    assert run(source) == 2
    assert "would run code of the module 'os': give --allow-module os if you trust the net" in capsys.readouterr().err


def test_nor_does_a_test_net(setting, run, capsys):
    source = setting(solver=tiny.SOLVER + 'test_net: "other.prototxt" test_iter: 1 test_interval: 1\n')
    (source / "other.prototxt").write_text(tiny.TEST + CODE % "")
    assert run(source) == 2
    assert "--allow-module os" in capsys.readouterr().err


def test_what_is_allowed_runs(setting, run, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_layers.py").write_text(tiny.PYTHON_LAYER)
    assert run(setting(net=tiny.python_layer_net("my_layers")), "--max-iter", 1, "--allow-module", "my_layers") == 0


def test_a_net_writes_no_files_of_its_own(setting, run, tmp_path, capsys):
    layer = ('layer { name: "leak" type: "HDF5Output" bottom: "data" bottom: "label" hdf5_output_param { file_name: "%s" } }'
             % (tmp_path / "leak.h5"))
    assert run(setting(net=tiny.INPUT + tiny.BODY + tiny.CCE + layer)) == 2
    assert "would write" in capsys.readouterr().err and not (tmp_path / "leak.h5").exists()


def test_an_old_net_writes_none_either(setting, run, tmp_path, capsys):
    layer = f'layers {{ name: "leak" type: HDF5_OUTPUT hdf5_output_param {{ file_name: "{tmp_path / "l.h5"}" }} }}'
    assert run(setting(net=tiny.INPUT + layer)) == 2
    assert "layer 'leak' (HDF5Output) would write" in capsys.readouterr().err


def test_every_path_that_a_layer_can_have_is_known():
    def strings(message, seen):
        for field in message.fields:
            if field.message_type and field.message_type.full_name not in seen:
                yield from strings(field.message_type, seen | {field.message_type.full_name})
            elif field.type == field.TYPE_STRING:
                yield field.name
    innocent = {"name", "type", "bottom", "top", "stage", "not_stage", "debug_info", "module", "layer", "param_str",
                "crop_mode", *OWN, "file_name"}  # OWN: formulas; the last is HDF5Output's
    assert set(strings(pb.LayerParameter.DESCRIPTOR, set())) - innocent - set(PATH_FIELDS) == set()


@pytest.fixture
def data(tmp_path):
    """A separate folder with HDF5 data and a list of their files; returns the folder."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    tiny.write_hdf5_list(folder)
    return folder


def test_data_are_read_where_it_is_allowed(setting, run, data, tmp_path, capsys):
    source = setting(net=tiny.hdf5_net(data / "list.txt"))
    assert run(source, "--max-iter", 1) == 2
    error = capsys.readouterr().err
    both = data / "list.txt", data / "images.h5"
    assert (f"layer 'images' (HDF5Data) would read {both[0]}, which is in none of the folders of setting, runs and data: give "
            f"--allow-path {both[0]} if") in error  # what it lists is not read
    assert run(source, "--max-iter", 1, "--allow-path", both[0]) == 2
    assert (f"would read {both[1]}, which is in none of the folders of setting, runs and data: give --allow-path {both[1]} if"
            in capsys.readouterr().err)
    assert run(source, "--max-iter", 1, "--allow-path", both[0], "--allow-path", both[1]) == 0
    shutil.rmtree(tmp_path / "runs")
    assert run(source, "--max-iter", 1, "--allow-path", data) == 0


@pytest.mark.parametrize("way", ["..", "link", "linked folder"])
def test_no_way_leads_out_of_a_folder(setting, run, data, tmp_path, capsys, way):
    source = setting()
    if way == "..":
        path = source / ".." / "elsewhere" / "list.txt"
    elif way == "link":
        path = source / "list.txt"
        path.symlink_to(data / "list.txt")
    else:
        (source / "here").symlink_to(data)
        path = source / "here" / "list.txt"
    (source / "train.prototxt").write_text(tiny.hdf5_net(path))
    assert run(source) == 2
    assert f"would read {path}" in capsys.readouterr().err


@pytest.mark.parametrize("lie", ["external", "link"])
def test_an_hdf5_file_is_read_alone(setting, run, data, tmp_path, capsys, lie):
    (tmp_path / "secret").write_bytes(bytes(200 * 4))
    with h5py.File(data / "images.h5", "r+") as file:
        del file["label"]
        if lie == "external":
            file.create_dataset("label", (200,), "f4", external=[(str(tmp_path / "secret"), 0, h5py.h5f.UNLIMITED)])
        else:
            file["label"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "label")
    assert run(setting(net=tiny.hdf5_net(data / "list.txt")), "--allow-path", data) == 2
    assert f"reads {data / 'images.h5'}: label is " in capsys.readouterr().err


@pytest.mark.parametrize("layer", [
    'type: "InfogainLoss" infogain_loss_param { source: "/etc/passwd" }',
    'type: "Data" data_param { source: "/etc" }',
    'type: "DummyData" transform_param { mean_file: "/etc/passwd" }',
    'type: "ImageData" image_data_param { source: "list.txt" root_folder: "/etc/" }',
    'type: "ImageData" image_data_param { source: "list.txt" }',
    'type: "WindowData" window_data_param { source: "windows.txt" }',
])
def test_whatever_layer_reads(tmp_path, monkeypatch, layer):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.txt").write_text("a b.png 3\n/etc/passwd 4\n")
    (tmp_path / "windows.txt").write_text("# 0\n/etc/passwd\n3\n8\n8\n0\n")
    net = text_format.Parse(f'layer {{ name: "x" {layer} }}', pb.NetParameter())
    with pytest.raises(InputError, match=r"layer 'x' \(\w+\) would read /etc"):
        Permissions(folders=(tmp_path,)).check_paths([net])
    Permissions(folders=(Path("/"),)).check_paths([net])


def test_all_that_is_refused_is_named_at_once(tmp_path):
    """The error names who would read the files; for many files in one folder it names the folder."""
    (tmp_path / "list.txt").write_text("".join(f"/etc/a/{number}.png 3\n" for number in range(9)) + "/etc/b/c.png 4\n")
    layers = (f'layer {{ name: "x" type: "ImageData" image_data_param {{ source: "{tmp_path}/list.txt" }} }}',
              'layer { name: "y" type: "Data" data_param { source: "/etc" } transform_param { mean_file: "/bin/m" } }')
    nets = [text_format.Parse(layer, pb.NetParameter()) for layer in layers]
    with pytest.raises(InputError) as error:
        Permissions(folders=(tmp_path,)).check_paths(nets, weights=["/bin/a,/bin/b"])
    said = str(error.value)
    assert said.startswith("layer 'x' (ImageData) would read /etc/a and /etc/b/c.png, layer 'y' (Data) would read ")
    named = re.findall(r"--allow-path (\S+)", said)
    assert sorted(named) == ["/bin/a", "/bin/b", "/bin/m", "/etc", "/etc/a", "/etc/b/c.png"]
    folders = tuple(Path(path).resolve() for path in (*named, tmp_path))
    Permissions(folders=folders).check_paths(nets, weights=["/bin/a,/bin/b"])


def test_weights_from_elsewhere(setting, run, tmp_path, capsys):
    weights = pb.NetParameter(layer=[{"name": "scores", "blobs": [{"shape": {"dim": shape}, "data": [0.5] * math.prod(shape)}
                                                                  for shape in ([10, 8], [10])]}])
    (tmp_path / "elsewhere.caffemodel").write_bytes(weights.SerializeToString())
    source = setting(solver=tiny.SOLVER + f'weights: "{tmp_path / "elsewhere.caffemodel"}"\n')
    assert run(source) == 2
    assert f"the solver would read {tmp_path}/elsewhere.caffemodel, which is in none of" in capsys.readouterr().err
    assert run(source, "--allow-path", tmp_path, "--max-iter", 1) == 0


def test_a_link_that_has_changed(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "theirs").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    net = text_format.Parse(f'layer {{ type: "Data" data_param {{ source: "{tmp_path}/link/db" }} }}', pb.NetParameter())
    allowed = Permissions(folders=(tmp_path / "mine",))
    allowed.check_paths([net])
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to(tmp_path / "theirs")
    with pytest.raises(InputError, match="would read"):
        allowed.check_paths([net])
