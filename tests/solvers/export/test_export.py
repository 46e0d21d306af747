"""The command: what it writes of a run and of anybody's net, and that a file is left only if it computes the same."""

import json
import os
import re
import subprocess
import sys
from hashlib import sha256

import h5py
import numpy as np
import onnx
import onnxruntime
import pytest
import tiny
from against_runtime import parsed
from google.protobuf import text_format

from base import confinement
from data_toolkit import dataset
from solvers.export import __main__ as command
from solvers.export import comparison, layer_types, writing
from solvers.export.__main__ import main
from solvers.nets import weights
from solvers.nets.pycaffe import caffe

pb = caffe.proto.caffe_pb2

DEPLOY = tiny.TEST.replace("input_dim: 16", "input_dim: 1")


@pytest.fixture
def files(tmp_path):
    """A function that writes a net and weights of it; with the place of the export they are the command's arguments."""
    def write(net: str = DEPLOY, of: str | None = None) -> list[str]:
        (tmp_path / "deploy.prototxt").write_text(net)
        made = weights.build(parsed(of or net))
        for layer in parsed(of or net).layer:
            if layer.type == "BatchNorm":
                made.params[layer.name][1].data[...] = 1
                made.params[layer.name][2].data[...] = 1
        made.save(str(tmp_path / "net.caffemodel"))
        return [str(tmp_path / name) for name in ("deploy.prototxt", "net.caffemodel")] + ["-o", str(tmp_path / "net.onnx")]
    return write


def facts(file) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load(file).metadata_props}


def test_a_run(run, setting, folder, tmp_path, capsys, monkeypatch):
    assert run(setting(), "--max-iter", 4, "--snapshot", 2) == 0
    capsys.readouterr()
    out = tmp_path / "net.onnx"
    assert main([str(folder), "-o", str(out), "--data", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^probs: random inputs, batch 4: largest difference \d.*e-\d+ \(.* relative\)$", printed, re.MULTILINE)
    assert re.search(r"^probs: real inputs, batch 2: ", printed, re.MULTILINE)
    assert f"{out}: checkpoint 4, 0.0 MB, ONNX opset 17, data (batch x 3 x 32 x 32) -> probs (batch x 10)" in printed
    about = facts(out)
    model = folder / "checkpoints1" / "checkpoints_iter_4.caffemodel"
    assert about["iteration"] == "4"
    assert about["weights_sha256"] == sha256(model.read_bytes()).hexdigest()
    assert json.loads(about["training_config"])["seed"] == 123
    assert json.loads(about["input_mean"]) == [125.3, 123.0, 113.9]
    assert about["input_channel_order"] == "BGR"

    assert main([str(folder), "-o", str(out), "--iteration", "2"]) == 0
    assert facts(out)["iteration"] == "2"
    assert main([str(folder), "-o", str(out), "--iteration", "3"]) == 2
    assert "--iteration 3: the checkpoints are 2, 4; or say best or last" in capsys.readouterr().err
    assert main([str(folder), "-o", str(out), "--iteration", "best"]) == 2
    assert re.search(rf"no accuracy.txt; run .*-m solvers.evaluate {folder} first", capsys.readouterr().err)
    (folder / "accuracy.txt").write_text("iter: 2, accuracy: 0.9000\niter: 4, accuracy: 0.8000\n")
    assert main([str(folder), "-o", str(out), "--iteration", "best"]) == 0
    assert facts(out)["iteration"] == "2"


def test_a_run_that_takes_images(run, setting, folder, tmp_path, capsys):
    """The test images, if they are there, are what it is compared on."""
    assert run(setting(), "--max-iter", 2) == 0
    images = tiny.dataset()
    dataset.save(dataset.test_path(tmp_path / "data"), images, {})
    out = tmp_path / "net.onnx"
    assert main([str(folder), "-o", str(out), "--preprocessing", "--data", str(tmp_path / "data")]) == 0
    assert "images (batch x 32 x 32 x 3) -> probs (batch x 10)" in capsys.readouterr().out
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    [probabilities] = session.run(None, {"images": images.images[:7]})
    assert probabilities.shape == (7, 10)
    assert facts(out)["input_channel_order"].startswith("RGB, uint8")


def test_anybodys_net(files, tmp_path, capsys):
    (tmp_path / "names").write_text("\n".join("abcdefghij"), "utf-8-sig")  # with the mark that Windows puts before text
    assert main([*files(), "--classes", str(tmp_path / "names"), "--mean", "1,2,3", "--preprocessing", "--fold"]) == 0
    about = facts(tmp_path / "net.onnx")
    assert json.loads(about["classes"]) == list("abcdefghij")
    assert json.loads(about["input_mean"]) == [1, 2, 3]
    assert "images (batch x 32 x 32 x 3)" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deploy.prototxt", "names", "net.caffemodel", "net.onnx"]


def wrong_relu(layer):
    return layer.add("Add", *layer.bottom, np.float32(1e-2))


def test_a_file_that_differs_is_not_left(files, tmp_path, capsys, monkeypatch):
    """The first blob that parts is named. Here the conversion of ReLU is wrong."""
    arguments = files(DEPLOY.replace('"ReLU" bottom: "conv" top: "conv"', '"ReLU" bottom: "conv" top: "positive"')
                      .replace('"Pooling" bottom: "conv"', '"Pooling" bottom: "positive"'))
    (tmp_path / "net.onnx").write_text("of before")
    monkeypatch.setitem(layer_types.CONVERTERS, "ReLU", wrong_relu)
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert re.fullmatch(r"error: Caffe and ONNX Runtime differ by more than 0.0001 on random inputs: 'probs' by .*; the first "
                        r"blob is 'positive', by .*; .*net.onnx is not written \(--keep writes it\)\n", captured.err)
    assert (tmp_path / "net.onnx").read_text() == "of before"
    assert len(list(tmp_path.iterdir())) == 3

    assert main([*arguments, "--keep"]) == 1
    assert "warning: Caffe and ONNX Runtime differ" in capsys.readouterr().err
    onnx.checker.check_model(tmp_path / "net.onnx")


def test_without_onnx_runtime(files, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(comparison, "runtime", lambda: None)
    assert main(files()) == 0
    assert "note: ONNX Runtime is not installed, so the file is not compared" in capsys.readouterr().out
    onnx.checker.check_model(tmp_path / "net.onnx")


def test_weights_in_a_file_of_their_own(files, tmp_path, monkeypatch, capsys):
    """Above 2 GB. Other weights get another file, so that no graph is ever beside weights that are not its own."""
    monkeypatch.setattr(writing, "LIMIT", 100)
    assert main(files(DEPLOY.replace("num_output: 10", "num_output: 100"))) == 0
    [data] = tmp_path.glob("*.data")
    assert f"net.onnx: 0.0 MB and 0.0 MB in {data}, ONNX" in capsys.readouterr().out
    assert data.stat().st_mode == (tmp_path / "net.onnx").stat().st_mode
    assert data.name == f"net.onnx.{facts(tmp_path / 'net.onnx')['weights_sha256'][:16]}.data"
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    assert session.run(None, {"data": np.zeros((3, 3, 32, 32), np.float32)})[0].shape == (3, 100)
    assert main(files(DEPLOY.replace("num_output: 10", "num_output: 101"))) == 0
    assert len(list(tmp_path.glob("*.data"))) == 2


def test_a_net_for_one_batch_alone(files, capsys):
    net = 'input: "x" input_shape { dim: 3 dim: 4 }\n' \
          'layer { name: "r" type: "Reshape" bottom: "x" top: "y" reshape_param { shape { dim: 6 dim: 2 } } }'
    assert main(files(net)) == 0
    assert "x (3 x 4) -> y (6 x 2)" in capsys.readouterr().out


@pytest.mark.parametrize("version", ["V0", "V1"])
def test_formats_of_before_2014(tmp_path, capsys, version):
    """Prototxt and caffemodel of one layer, as Caffe wrote them then."""
    values = np.arange(12, dtype=np.float32)
    if version == "V1":
        layer = pb.V1LayerParameter(name="ip", type="INNER_PRODUCT", bottom=["data"], top=["ip"])
        layer.inner_product_param.num_output = 3
    else:
        layer = pb.V1LayerParameter(bottom=["data"], top=["ip"])
        layer.layer.name, layer.layer.type, layer.layer.num_output = "ip", "innerproduct", 3
    net = pb.NetParameter(name="old", input=["data"], input_dim=[2, 4, 1, 1], layers=[layer])
    (tmp_path / "deploy.prototxt").write_text(text_format.MessageToString(net))
    holder = net.layers[0] if version == "V1" else net.layers[0].layer
    holder.blobs.add(num=1, channels=1, height=3, width=4, data=values)
    holder.blobs.add(num=1, channels=1, height=1, width=3, data=[10, 20, 30])
    (tmp_path / "net.caffemodel").write_bytes(net.SerializeToString())
    assert main([str(tmp_path / "deploy.prototxt"), str(tmp_path / "net.caffemodel"), "-o", str(tmp_path / "net.onnx")]) == 0
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    [found] = session.run(None, {"data": np.ones((1, 4, 1, 1), np.float32)})
    np.testing.assert_array_equal(found, [[10 + 0 + 1 + 2 + 3, 20 + 4 + 5 + 6 + 7, 30 + 8 + 9 + 10 + 11]])


@pytest.mark.parametrize(("options", "said"), [
    (["--mean", "1,2"], "error: argument --mean: expected blue, green and red, such as 104,117,123, or one number, found '1"),
    (["--mean", "1,2,nan"], "error: argument --mean: expected"),
    (["--iteration", "3"], "error: --iteration is for a run"),
    (["--preprocessing"], "error: --preprocessing: the net's files do not tell its mean; give --mean"),
    (["--preprocessing", "--mean", "1"], "error: --preprocessing: the net's input 'data' has the shape batch x 3 x 32 x 32, "),
    (["--classes", "nowhere"], "error: --classes: cannot read nowhere: No such file"),
    (["-o", "."], "error: -o .: give the name of a file, such as net.onnx"),
    (["-o", "nowhere/net.onnx"], "error: cannot write nowhere/net.onnx: there is no folder nowhere"),
])
def test_options_that_do_not_fit(files, tmp_path, capsys, options, said):
    arguments = files()
    before = sorted(os.listdir(tmp_path))
    try:
        assert main(arguments + options) == 2
    except SystemExit as ended:
        assert ended.code == 2
    error = capsys.readouterr().err
    assert error.startswith(said)
    assert error.count("\n") == 1
    assert sorted(os.listdir(tmp_path)) == before


def test_files_in_the_folder_above(files, tmp_path, monkeypatch):
    net, weights_file, *_ = files()
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert main(["../deploy.prototxt", "../net.caffemodel", "-o", "net.onnx"]) == 0


def test_what_is_no_file_is_not_replaced(files, tmp_path, capsys):
    """As root could do with a device."""
    os.mkfifo(tmp_path / "pipe.onnx")
    assert main([*files()[:2], "-o", str(tmp_path / "pipe.onnx")]) == 2
    assert "is not a regular file" in capsys.readouterr().err and (tmp_path / "pipe.onnx").is_fifo()


def test_a_blob_called_as_the_graphs_own_input(files, capsys):
    net = 'input: "x" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 } layer { name: "a" type: "ReLU" bottom: "x" top: "images" }'
    assert main(files(net)) == 0
    assert main([*files(net), "--preprocessing", "--mean", "1,2,3"]) == 2
    assert "the net has a blob 'images'" in capsys.readouterr().err


def test_a_file_called_as_the_one_with_all_blobs(files, tmp_path, monkeypatch):
    """With --keep, what is left is the net, not what was written to find the first blob that differs."""
    monkeypatch.setitem(layer_types.CONVERTERS, "ReLU", wrong_relu)
    assert main([*files()[:2], "-o", str(tmp_path / "all_blobs.onnx"), "--keep"]) == 1
    assert [output.name for output in onnx.load(tmp_path / "all_blobs.onnx").graph.output] == ["probs"]


def test_classes_that_are_a_pipe_or_a_device(files, tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")
    for file in tmp_path / "pipe", "/dev/zero":
        assert main([*files(), "--classes", str(file)]) == 2
        assert "not a regular file" in capsys.readouterr().err


def test_what_is_exported_is_not_overwritten(files, tmp_path, capsys):
    arguments = files()
    content = (tmp_path / "net.caffemodel").read_bytes()
    assert main([*arguments[:2], "-o", arguments[1]]) == 2
    assert "net.caffemodel: give a name that ends in .onnx, such as" in capsys.readouterr().err
    os.rename(arguments[1], tmp_path / "net.onnx")
    assert main([arguments[0], str(tmp_path / "net.onnx"), "-o", str(tmp_path / "net.onnx")]) == 2
    assert "net.onnx is what is to be exported: give another name" in capsys.readouterr().err
    assert (tmp_path / "net.onnx").read_bytes() == content


def test_the_names_of_classes_are_as_many_as_the_scores(files, tmp_path, capsys):
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    assert main([*files(), "--classes", str(tmp_path / "classes.txt")]) == 2
    assert "--classes: it has 2 lines, but the net's outputs have 10 numbers an image" in capsys.readouterr().err


def test_a_mean_of_other_channels(files, capsys):
    grey = DEPLOY.replace("dim: 3", "dim: 1", 1)
    assert grey != DEPLOY
    assert main([*files(grey), "--mean", "1,2,3"]) == 2
    assert "--mean: it has 3 numbers, but the net's first input has 1 channels" in capsys.readouterr().err
    assert main([*files(grey), "--mean", "120"]) == 0


def test_words_that_a_reshape_passes_on(files):
    assert main(files('input: "words" input_shape { dim: 2 dim: 3 } '
                      'layer { name: "r" type: "Reshape" bottom: "words" top: "r" reshape_param { shape { dim: 6 } } } '
                      'layer { name: "e" type: "Embed" bottom: "r" top: "e" embed_param { num_output: 2 input_dim: 5 } }'
                      )) == 0


def test_weights_in_a_folder_behind_a_link(files, tmp_path):
    arguments = files()
    (tmp_path / "real").mkdir()
    for file in arguments[:2]:
        os.rename(file, tmp_path / "real" / os.path.basename(file))
    (tmp_path / "link").symlink_to("real")
    assert main([*(str(tmp_path / "link" / os.path.basename(file)) for file in arguments[:2]), *arguments[2:]]) == 0


def test_weights_in_hdf5(files, tmp_path, capsys):
    arguments = files()
    with h5py.File(arguments[1], "w") as file:
        file["data"] = np.zeros(3)
    assert main(arguments) == 2
    assert "net.caffemodel is in HDF5, which is not read here" in capsys.readouterr().err


@pytest.mark.parametrize(("net", "said"), [
    ('layer { name: "p" type: "Parameter" top: "p" parameter_param { shape { dim: 2 } } }', "the net has no inputs"),
    ('input: "x" input_shape { dim: 2 }', "the net has no outputs"),
    ('input: "x" input_shape { } layer { name: "a" type: "AbsVal" bottom: "x" top: "y" }', "input 'x' has no dimensions"),
    ('input: "x" input_shape { dim: 2 } layer { name: "a" type: "AbsVal" bottom: "x" top: "" }', "does not become valid ONNX"),
])
def test_odd_nets(files, capsys, net, said):
    assert main(files(net)) == 2
    assert said in capsys.readouterr().err


def test_what_onnx_runtime_cannot_run(files, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(layer_types.CONVERTERS, "ReLU", lambda layer: layer.add("Reshape", *layer.bottom, [7, -1]))
    assert main(files()) == 1
    assert capsys.readouterr().err.startswith("error: ONNX Runtime does not compute the net: ")
    assert not (tmp_path / "net.onnx").exists()


def test_names_do_not_steer_the_terminal(files, capsys):
    net = 'input: "x" input_shape { dim: 2 dim: 2 } layer { name: "a" type: "AbsVal" bottom: "x" top: "\\033[2J" }'
    assert main(files(net)) == 2
    assert "layer 'a': top has control characters: '\\x1b[2J'" in capsys.readouterr().err


@pytest.mark.skipif(not confinement.abi(), reason="this kernel has no Landlock")
@pytest.mark.parametrize("of", ["a net", "a run"])
def test_it_is_confined(files, tmp_path, of, run, setting, folder):
    """The command needs no more than its net, its weights and the folder of -o, and can do no more."""
    if of == "a run":
        assert run(setting(), "--max-iter", 2) == 0
    given = files(DEPLOY)[:2] if of == "a net" else [folder]
    if of == "a net":  # with a run's checkpoint
        content = (tmp_path / "net.caffemodel").read_bytes()
        (tmp_path / "net.json").write_text(json.dumps({"files": {"net.caffemodel": {
            "bytes": len(content), "sha256": sha256(content).hexdigest()}}}))
    (tmp_path / "out").mkdir()
    (tmp_path / "secret").write_text("secret")
    attempts = f"""
import socket, subprocess, sys
from solvers.export import __main__ as command
do = command.build
def build(*arguments):
    for attempt in (lambda: open({str(tmp_path / "secret")!r}), lambda: open({str(tmp_path / "evil")!r}, "w"),
                    lambda: socket.socket(), lambda: subprocess.run(["/bin/true"])):
        try:
            attempt()
        except PermissionError:
            continue
        raise SystemExit("not confined")
    return do(*arguments)
command.build = build
sys.exit(command.main(sys.argv[1:]))
"""
    done = subprocess.run([sys.executable, "-c", attempts, *given, "-o", tmp_path / "out" / "net.onnx"],
                          capture_output=True, text=True, env=os.environ | {"OPENBLAS_NUM_THREADS": "1"})
    assert (done.returncode, done.stderr) == (0, "")
    assert os.listdir(tmp_path / "out") == ["net.onnx"]


def test_no_such_run(tmp_path, capsys):
    (tmp_path / "seed_1").mkdir()
    assert main([str(tmp_path / "seed_2"), "-o", str(tmp_path / "net.onnx")]) == 2
    assert re.fullmatch(r'error: there is no folder .*seed_2; did you mean "seed_1"\?; for a net of your own give both, '
                        r"deploy.prototxt and weights.caffemodel\n", capsys.readouterr().err)
    assert main([str(tmp_path / "seed_1"), "-o", str(tmp_path / "net.onnx")]) == 2
    assert "is no run folder" in capsys.readouterr().err


def test_ctrl_c_leaves_nothing(files, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt
    arguments = files()
    monkeypatch.setattr(command, "compare", interrupted)
    assert main(arguments) == 130
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deploy.prototxt", "net.caffemodel"]
