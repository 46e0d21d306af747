"""Attacks that once succeeded: code was run, files were read or destroyed, memory exhausted, results wrong, processes hung.

Each is a file from a stranger. What is expected is one line and exit code 2, or a result that is right.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import tiny
from google.protobuf import text_format

from base import confinement
from base.errors import InputError
from solvers import evaluate
from solvers.evaluation.measurements import Measurements
from solvers.nets import data_layers
from solvers.nets.permissions import Permissions
from solvers.nets.pycaffe import caffe
from solvers.runs.checkpoints import Checkpoints

pb = caffe.proto.caffe_pb2
NET = tiny.INPUT + tiny.BODY + tiny.CCE
TEST_NET = tiny.SOLVER + 'test_net: "other.prototxt" test_iter: 1 test_interval: 1\n'
LSTM = """layer { name: "x" type: "Reshape" bottom: "pool" top: "x" reshape_param { shape { dim: 4 dim: 4 dim: 8 } } }
layer { name: "cont" type: "DummyData" top: "cont" dummy_data_param { shape { dim: 4 dim: 4 }
  data_filler { type: "constant" value: 1 } } }
layer { name: "lstm" type: "LSTM" bottom: "x" bottom: "cont" top: "lstm"
  recurrent_param { num_output: 8 weight_filler { type: "xavier" } } }
layer { name: "same" type: "Reshape" bottom: "lstm" top: "same" reshape_param { shape { dim: 16 dim: 8 } } }
"""


def refused(code: int, capfd, said: str = "") -> str:
    """The one line with which a command ended."""
    error = capfd.readouterr().err
    assert code == 2 and re.fullmatch(r"error: [^\n]+\n", error) and error[:-1].isprintable(), error
    assert re.search(said, error), error
    return error


@pytest.fixture
def confined(tmp_path):
    """A function that trains a setting in a separate process; returns exit code and stderr."""
    def train(source: Path, *options: object, **environment: str) -> tuple[int, str]:
        done = subprocess.run(tiny.command(source, tmp_path / "runs", *options), capture_output=True, text=True, timeout=120,
                              env=os.environ | environment)
        return done.returncode, done.stderr
    return train


@pytest.fixture
def trained(setting, run, folder, monkeypatch):
    """A run of 10 steps with checkpoints at 5 and 10."""
    monkeypatch.setattr("data_toolkit.dataset.load_test", lambda data: tiny.dataset(images=20))
    assert run(setting(), "--max-iter", 10, "--snapshot", 5) == 0
    return folder


# Two parsers


@pytest.mark.parametrize("kind", ["Py\" #\r\"x\"\n \"thon", "HDF5\" #\r\"x\"\n \"Output", "Py\" #\x0b\r\n\"thon"])
def test_two_parsers_of_one_net(setting, run, tmp_path, capfd, kind):
    """In a test net, a carriage return in a comment once made Caffe read another layer type than the checks did."""
    source = setting(solver=TEST_NET)
    layer = (f'layer {{ name: "own" type: "{kind}" bottom: "data" bottom: "data" '
             f'hdf5_output_param {{ file_name: "{tmp_path}/o" }} }}')
    (source / "other.prototxt").write_bytes((tiny.TEST + layer).encode())
    refused(run(source, "--max-iter", 1), capfd)
    assert not (tmp_path / "o").exists()


def test_what_caffe_reads_is_what_was_checked(setting, run, folder, monkeypatch):
    """Caffe opens no file of the user: nets, test nets and solvers come from memory."""
    opened = []
    make, net = caffe.get_solver, caffe.Net
    monkeypatch.setattr(caffe, "get_solver", lambda file: opened.append(file) or make(file))
    monkeypatch.setattr(caffe, "Net", lambda file, *given, **options: opened.append(file) or net(file, *given, **options))
    source = setting(solver=TEST_NET)
    (source / "other.prototxt").write_text(tiny.tested_hdf5_net(tiny_list(source)))
    assert run(source, "--max-iter", 1) == 0
    assert opened and all(re.fullmatch(r"/proc/self/fd/\d+", file) for file in opened)


def tiny_list(folder: Path) -> Path:
    """A folder with an HDF5 file and a list that names it."""
    tiny.write_hdf5_list(folder)
    return folder / "list.txt"


# Numbers and shapes that Caffe believed


@pytest.mark.parametrize(("layer", "said"), [
    ('type: "InnerProduct" inner_product_param { num_output: 4 } blobs { shape { dim: 1 } data: 1 }', "brings weights along"),
    ('type: "Embed" embed_param { num_output: 4 input_dim: 4 } blobs { shape { dim: 1 } data: 1 }', "brings weights along"),
    ('type: "BatchNorm" blobs { } blobs { } blobs { }', "brings weights along"),
    ('type: "Tile" tile_param { tiles: 536870913 }', "tiles is 536870913"),
    ('type: "Tile" tile_param { tiles: 16777216 }', "too many tiles|INT_MAX"),
    ('type: "Convolution" convolution_param { num_output: 1 kernel_size: 2 dilation: 2147483648 }', "dilation is 2147483648"),
    ('type: "Convolution" convolution_param { num_output: 1 kernel_size: 300 dilation: 16777216 }', "are too large"),
    ('type: "Convolution" convolution_param { num_output: 1 kernel_h: 1 kernel_w: 1 stride_h: 0 stride_w: 1 }', "nonzero"),
    ('type: "Deconvolution" convolution_param { num_output: 1 kernel_size: 1 stride: 16777216 }', "are too large|INT_MAX"),
    ('type: "Pooling" pooling_param { kernel_size: 2 stride_h: 0 stride_w: 1 }', "nonzero"),
    ('type: "Crop" bottom: "data" crop_param { axis: 0 offset: 4294967295 }', "offset is 4294967295"),
], ids=lambda value: value[:40])
def test_numbers_that_caffe_would_count_wrong_with(setting, run, capfd, layer, said):
    source = setting(net=NET + f'layer {{ name: "own" bottom: "data" top: "own" {layer} }}')
    refused(run(source, "--max-iter", 1), capfd, said)


@pytest.mark.parametrize("shapes", ["input_dim: 16 input_dim: 3 input_dim: 32 input_dim: 32",
                                    "input_shape { dim: 16 dim: 3 dim: 32 dim: 32 }"])
def test_more_inputs_than_shapes(setting, run, capfd, shapes):
    """Caffe read the second input's shape beyond the end of the first one's."""
    assert run(setting(net=f'input: "data" input: "label" {shapes} {tiny.BODY}{tiny.CCE}'), "--max-iter", 1) == 2
    assert "each input needs an input_shape or four input_dim" in capfd.readouterr().err


def test_an_hdf5_file_of_more_rows_than_can_be_counted(setting, run, capfd):
    source = setting(net=tiny.hdf5_net("list.txt"))
    with h5py.File(source / "images.h5", "w") as file:
        file.create_dataset("data", ((1 << 32) + 32, 3, 32, 32), "f4", chunks=(1, 3, 32, 32))
        file.create_dataset("label", ((1 << 32) + 32,), "f4", chunks=(1 << 20,))
    (source / "list.txt").write_text(f"{source / 'images.h5'}\n")
    refused(run(source, "--max-iter", 1), capfd, "is too large|rows|memory|blob size")


def test_a_second_hdf5_file_of_another_shape(setting, confined):
    """Found when the file is read: one line that says what to do, and no crash."""
    source = setting(net=tiny.hdf5_net("list.txt"))
    tiny_list(source)
    with h5py.File(source / "small.h5", "w") as file:
        file["data"], file["label"] = np.zeros((20, 3, 8, 8), np.float32), np.zeros(20, np.float32)
    (source / "list.txt").write_text(f"{source / 'images.h5'}\n{source / 'small.h5'}\n")
    code, said = confined(source, "--max-iter", 100)
    assert code == 2 and "rows of another shape than the file before it" in said


def test_records_that_change_their_shape(setting, confined):
    source = setting(net=tiny.lmdb_net("db"))
    records = [tiny.datum()] * 16 * 6 + [tiny.datum(height=16, data=bytes(3 * 16 * 32))] * 16
    tiny.write_lmdb(source / "db", records)
    code, said = confined(source, "--max-iter", 100)
    assert code == 2 and "has read data of another shape than its first" in said


def test_records_that_change_their_shape_in_a_test_net(setting, confined):
    """Which the rehearsal has read one batch of: ten batches later."""
    test = tiny.lmdb_net("db").replace("TRAIN", "TEST").splitlines()[0]
    accuracy = 'layer { name: "a" type: "Accuracy" bottom: "scores" bottom: "label" top: "a" include { phase: TEST } }'
    source = setting(net=test + "\n" + tiny.hdf5_net("list.txt") + accuracy,
                     solver=tiny.SOLVER + "test_iter: 9 test_interval: 1")
    tiny_list(source)
    records = [tiny.datum()] * 16 * 6 + [tiny.datum(height=16, data=bytes(3 * 16 * 32))] * 16
    tiny.write_lmdb(source / "db", records)
    code, said = confined(source, "--max-iter", 2)
    assert code == 2 and "has read data of another shape than its first" in said


# Files elsewhere


@pytest.mark.parametrize("name", ["solver.prototxt", "train.prototxt"])
def test_links_in_a_setting(setting, run, folder, tmp_path, capfd, name):
    source = setting()
    shutil.move(source / name, tmp_path / "precious")
    (source / name).symlink_to(tmp_path / "precious")
    before = (tmp_path / "precious").read_text()
    refused(run(source, "--max-iter", 1), capfd, "it is a link, which is not followed")
    assert (tmp_path / "precious").read_text() == before and not folder.exists()


@pytest.mark.parametrize("name", ["log.csv", "dynamics.csv", "config.json", "train.prototxt", ".lock", "test.csv",
                                  "checkpoints1", "tensorboard"])
def test_links_named_like_our_files(trained, run, setting, tmp_path, capfd, name):
    """In a run folder that is resumed: the files that the links point to do not change, even if the run fails."""
    place = trained / name
    precious = tmp_path / "precious"
    if place.is_dir():
        shutil.move(place, precious)
    else:
        precious.write_text(place.read_text() if place.exists() else "x")
    place.unlink(missing_ok=True)
    place.symlink_to(precious)
    (precious / ".hidden" if precious.is_dir() else tmp_path / ".hidden").write_text("x")
    before = contents(precious)
    run(tmp_path / "tiny", "--max-iter", 20, "--snapshot", 5, "--resume")
    assert contents(precious) == before
    assert "Traceback" not in capfd.readouterr().err


def contents(path: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in [path, *path.rglob("*")] if file.is_file()}


def test_ones_own_hidden_files_stay(trained, run, tmp_path):
    for file in trained / ".notes.txt", trained / "checkpoints1" / ".keep", trained / ".a.0123456.part":
        file.write_text("mine")
    (trained / ".log.csv.01234567.part").write_text("of a killed process")
    assert run(tmp_path / "tiny", "--max-iter", 20, "--snapshot", 5, "--resume") == 0
    assert (trained / ".notes.txt").exists() and (trained / "checkpoints1" / ".keep").exists()
    assert (trained / ".a.0123456.part").exists() and not (trained / ".log.csv.01234567.part").exists()


def test_a_checkpoint_under_a_huge_number(trained, run, tmp_path, capfd):
    for suffix in "caffemodel", "solverstate":
        shutil.copy(trained / f"checkpoints1/checkpoints_iter_10.{suffix}",
                    trained / f"checkpoints1/checkpoints_iter_900000000.{suffix}")
    assert run(tmp_path / "tiny", "--max-iter", 12, "--snapshot", 5, "--resume") == 0
    assert "is of another iteration than its name says" in capfd.readouterr().err
    assert {5, 10, 12} <= set(Checkpoints(trained).models())


@pytest.mark.parametrize("name", ["checkpoints_iter_" + "9" * 5000, "checkpoints_iter_\u0663", "checkpoints_iter_-1",
                                  "checkpoints_iter_05", "checkpoints_iter_1e3"])
def test_odd_names_of_checkpoints(trained, run, tmp_path, name):
    if len(name) < 200:
        (trained / "checkpoints1" / f"{name}.caffemodel").write_bytes(b"x")
        (trained / "checkpoints1" / f"{name}.solverstate").write_bytes(b"x")
    assert Checkpoints(trained).models() == [5, 10]
    assert run(tmp_path / "tiny", "--max-iter", 12, "--snapshot", 5, "--resume") == 0


@pytest.mark.parametrize("text", ["images.h5\0/etc/passwd", "images.h5\x0b/etc/passwd", "images.h5\x85/etc/passwd",
                                  "images.h5\u2028/etc/passwd", "images.h5\x1c/etc/passwd", "\ufeffimages.h5", b"\xff.h5"])
def test_names_in_lists_that_are_read_in_two_ways(setting, run, capfd, text):
    source = setting(net=tiny.hdf5_net("list.txt"))
    (source / "list.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    refused(run(source, "--max-iter", 1), capfd, "list.txt")


@pytest.mark.parametrize("odd", ["\x01", "\u2028"])
def test_a_list_of_one_long_line_is_read_in_time_that_grows_with_its_length(tmp_path, odd):
    """And no more of it is shown than what is around the character that is wrong."""
    (tmp_path / "list").write_text(3_000_000 * "x" + odd + 3_000_000 * "y")
    began = time.monotonic()
    with pytest.raises(InputError, match="has (control characters|spaces that Caffe)") as error:
        data_layers.lines(str(tmp_path / "list"))
    assert time.monotonic() - began < 5 and len(str(error.value)) < 400


def test_a_list_that_may_not_be_read_is_not(tmp_path):
    """A sweep plans runs in a process that the kernel does not confine: what it may not read must not be in its error."""
    (tmp_path / "secret").write_text("the secret\n")
    net = text_format.Parse(tiny.hdf5_net(str(tmp_path / "secret")), caffe.proto.caffe_pb2.NetParameter())
    with pytest.raises(InputError, match=f"would read {tmp_path}/secret, which is in none of the folders") as error:
        Permissions().check_paths([net])
    assert "the secret" not in str(error.value) and f"{os.getcwd()}/the" not in str(error.value)


@pytest.mark.parametrize("field", ['source: "a\\000b"', 'mean_file: "a\\000/etc/passwd"', 'mean_file: "x\\033[31m"'])
def test_names_in_nets_with_control_characters(setting, run, capfd, field):
    parameter = "data_param" if "source" in field else "transform_param"
    net = NET + f'layer {{ name: "own" type: "Data" top: "own" {parameter} {{ {field} }} }}'
    refused(run(setting(net=net), "--max-iter", 1), capfd, "has control characters")


# Results that are wrong without a word


def test_altered_weights_under_an_unchanged_manifest(trained, capfd):
    model = Checkpoints(trained).model(10)
    content = bytearray(model.read_bytes())
    content[-20] ^= 1
    model.write_bytes(content)
    refused(evaluate.main([str(trained)]), capfd, "its SHA-256 differs")


def rewrite(run: Path, change, iteration: int = 10, state: bool = False) -> None:
    """Change a file of a checkpoint and remove its manifest, as an attacker would."""
    file = Checkpoints(run).state(iteration) if state else Checkpoints(run).model(iteration)
    message = (pb.SolverState if state else pb.NetParameter).FromString(file.read_bytes())
    change(message)
    file.write_bytes(message.SerializeToString())
    Checkpoints(run).manifest(iteration).unlink()


def no_numbers(model: pb.NetParameter) -> None:
    for layer in model.layer:
        for blob in layer.blobs:
            blob.data[:] = [np.nan] * len(blob.data)


@pytest.mark.parametrize(("change", "said"), [
    (lambda model: model.ClearField("layer"), "has no weights for the layers conv"),
    (no_numbers, "are not all finite"),
    (lambda model: next(layer for layer in model.layer if layer.blobs).blobs[0].data.append(1), "have the shapes"),
], ids=["empty", "NaN", "one more"])
def test_weights_that_are_none(trained, run, tmp_path, capfd, change, said):
    rewrite(trained, change)
    refused(evaluate.main([str(trained)]), capfd, said) if (trained / "config.json").exists() else None
    refused(run(tmp_path / "tiny", "--max-iter", 12, "--snapshot", 5, "--resume"), capfd, said)


@pytest.mark.parametrize(("change", "said"), [
    (lambda state: state.history[0].shape.dim.insert(0, 7), "history have the shapes"),
    (lambda state: state.history.pop(), "history have the shapes"),
    (lambda state: state.ClearField("history"), "history have the shapes"),
    (lambda state: setattr(state, "current_step", -5), "step -5"),
])
def test_states_of_another_solver(trained, run, tmp_path, capfd, change, said):
    rewrite(trained, change, state=True)
    refused(run(tmp_path / "tiny", "--max-iter", 12, "--snapshot", 5, "--resume"), capfd, said)


def test_a_state_whose_iteration_is_not_its_names(trained, run, tmp_path, capfd):
    rewrite(trained, lambda state: setattr(state, "iter", 7), state=True)
    assert run(tmp_path / "tiny", "--max-iter", 12, "--snapshot", 5, "--resume") == 0
    said = capfd.readouterr()
    assert "another iteration than its name says" in said.err and "from iteration 5" in said.out


def test_weights_of_another_net_to_begin_with(setting, run, capfd):
    source = setting(solver=tiny.SOLVER + 'weights: "w.caffemodel"\n')
    net = pb.NetParameter(layer=[{"name": "other", "blobs": [{"shape": {"dim": [1]}, "data": [1.0]}]}])
    (source / "w.caffemodel").write_bytes(net.SerializeToString())
    refused(run(source, "--max-iter", 1), capfd, "has none of the net's layers")


@pytest.mark.parametrize(("field", "said"), [
    ("iter_size: -3", "iter_size is -3"), ("random_seed: 4294967296", "random_seed is 4294967296"),
    ("base_lr: nan", "base_lr is nan"), ("average_loss: 0", "average_loss is 0"), ("test_iter: 0", r"test_iter is \[0\]"),
    ('regularization_type: "L3"', "regularization_type is 'L3'"), ("max_iter: -5", "max_iter"),
])
def test_numbers_of_a_solver(setting, run, capfd, field, said):
    solver = re.sub(field.split(":")[0] + r": \S+", "", tiny.SOLVER) + field
    refused(run(setting(solver=solver)), capfd, said)


@pytest.mark.parametrize("labels", [np.full(20, 3.5), np.full(20, 1 + 2j), np.full(20, np.nan), np.array(["a"] * 20),
                                    np.full(20, -1)])
def test_labels_that_are_none(setting, capfd, tmp_path, labels):
    from solvers import train
    np.savez(tmp_path / "x.npz", images=tiny.dataset(20).images, labels=labels)
    code = train.main([str(setting()), "--runs", str(tmp_path / "runs"), "--train-data", str(tmp_path / "x.npz")])
    refused(code, capfd, "labels")


def test_no_images_are_no_data(setting, capfd, tmp_path):
    from solvers import train
    np.savez(tmp_path / "x.npz", images=np.zeros((0, 32, 32, 3), np.uint8), labels=np.zeros(0, int))
    code = train.main([str(setting()), "--runs", str(tmp_path / "runs"), "--train-data", str(tmp_path / "x.npz")])
    refused(code, capfd, r"images are uint8 \(0, 32, 32, 3\)")


@pytest.mark.parametrize("reader", ["HDF5", *(pytest.param(reader, marks=pytest.mark.slow)
                                              for reader in ("shuffled HDF5", "LMDB", "two batches a step"))])
def test_a_run_that_reads_its_own_data_resumes_bit_by_bit(setting, run, folder, tmp_path, reader):
    if reader == "LMDB":
        net = tiny.lmdb_net("db").replace("data_param {", "transform_param { mirror: true } data_param {", 1)
    else:
        shuffle = "shuffle: true " if "shuffled" in reader else ""
        net = tiny.hdf5_net("list.txt").replace("batch_size", shuffle + "batch_size")
    source = setting(net=net, solver=tiny.SOLVER + ("iter_size: 2\n" if "two" in reader else ""))
    tiny.write_lmdb(source / "db", [tiny.datum(label=n % 10, data=bytes([n]) * 3072) for n in range(50)])
    tiny_list(source)
    commands = [["--max-iter", 9], ["--max-iter", 4], ["--max-iter", 9, "--resume"]]
    for runs, command in zip((tmp_path / "whole", *[tmp_path / "runs"] * 2), commands, strict=True):
        done = subprocess.run(tiny.command(source, runs, *command), capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
    place = Path("tiny/noise_0.0/seed_123/checkpoints1/checkpoints_iter_9.caffemodel")
    models = [pb.NetParameter.FromString((tmp_path / runs / place).read_bytes()) for runs in ("whole", "runs")]
    assert models[0].layer == models[1].layer


def test_a_net_with_a_memory_resumes_only_when_asked_to(setting, run, capfd):
    body = tiny.BODY.replace('layer { name: "scores"', LSTM + 'layer { name: "scores"')
    body = body.replace('"InnerProduct" bottom: "pool"', '"InnerProduct" bottom: "same"')
    source = setting(net=tiny.INPUT + body + tiny.CCE)
    assert run(source, "--max-iter", 2) == 0
    refused(run(source, "--max-iter", 3, "--resume"), capfd, "layer 'lstm' .LSTM. may keep .* --inexact-resume")
    assert run(source, "--max-iter", 3, "--resume", "--inexact-resume") == 0


# Hangs and memory


def test_a_data_layer_that_would_wait_for_ever(setting, run, capfd):
    net = tiny.lmdb_net("db").replace("batch_size: 16", "batch_size: 16 prefetch: 0")
    source = setting(net=net)
    tiny.write_lmdb(source / "db", [tiny.datum()])
    refused(run(source, "--max-iter", 1), capfd, "prefetch: 0")


@pytest.mark.parametrize("name", ["train.prototxt", "solver.prototxt", "list.txt", "images.h5", "test.prototxt"])
def test_pipes_are_not_waited_for(setting, run, capfd, name):
    source = setting(net=tiny.hdf5_net("list.txt"))
    tiny_list(source)
    (source / name).unlink(missing_ok=True)
    os.mkfifo(source / name)
    code = run(source, "--max-iter", 1)
    assert code == 0 if name == "test.prototxt" else refused(code, capfd)


def test_the_rehearsal_dies_with_its_parent(setting, tmp_path):
    """The parent is killed while it waits for the rehearsal."""
    source = setting(net=tiny.python_layer_net("sleeper"))
    (tmp_path / "sleeper.py").write_text(tiny.PYTHON_LAYER.replace(
        "setup(self, bottom, top): pass", "setup(self, bottom, top): __import__('time').sleep(60)"))
    process = subprocess.Popen(tiny.command(source, tmp_path / "runs", "--allow-module", "sleeper"), start_new_session=True,
                               env=os.environ | {"PYTHONPATH": str(tmp_path)}, stdout=subprocess.DEVNULL)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while not (child := children.read_text().split()):
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for _ in range(100):
        if not Path(f"/proc/{child[0]}").exists():
            break
        time.sleep(0.05)
    else:
        pytest.fail("it goes on")


def test_many_large_blobs_need_memory(setting, run, capfd, monkeypatch):
    from solvers.nets import rehearsal
    monkeypatch.setattr(rehearsal, "available_memory", lambda: 1 << 30)
    layers = "".join(f'layer {{ name: "t{n}" type: "Tile" bottom: "data" top: "t{n}" tile_param {{ tiles: 400 }} }}\n'
                     for n in range(60))  # 75 MB each
    refused(run(setting(net=NET + layers), "--max-iter", 1), capfd, "the net needs at least [0-9]+ MB")


# Tracebacks


@pytest.mark.parametrize(("net", "said"), [
    ("", "no layers"),
    ('name: "empty"', "no layers"),
    ('layer { name: "x" type: "DummyData" top: "x" dummy_data_param { shape { } } }', "no loss"),
    ("layer " + "{ # }}}\n layer " * 400, ":1:|nested"),
    ('a { b { # "}}}' + "\n c { " * 2000, "no field|nested"),
    (NET.replace('name: "relu"', 'name: "\\033[2Jrelu"'), "has control characters"),
], ids=["nothing", "no layer", "scalar", "nested", "nested in comments", "escape sequences"])
def test_odd_nets(setting, run, capfd, net, said):
    refused(run(setting(net=net), "--max-iter", 1), capfd, said)


@pytest.mark.parametrize("text", ["[" * 100_000, "{}", "[]", '{"files": 3}', "\0", "9" * 10_000,
                                  '{"files": {"checkpoints_iter_10.caffemodel": []}}'], ids=range(7))
def test_odd_manifests(trained, run, tmp_path, capfd, text):
    Checkpoints(trained).manifest(10).write_text(text)
    refused(evaluate.main([str(trained)]), capfd, "damaged")
    assert run(tmp_path / "tiny", "--max-iter", 12, "--snapshot", 5, "--resume") == 0


@pytest.mark.parametrize("points", ["x", [], 3, ["w"], ["w", {"accuracy": "x"}], ["w", {"accuracy": [[1]]}],
                                    ["w", {"\x1b[2Jaccuracy": 0.5}], ["w", {"accuracy": [0.1]}], ["w", {"accuracy": 1.5}],
                                    ["w", {"accuracy": float("nan")}]])
def test_odd_measurements(trained, capfd, points):
    """Such checkpoints are measured again."""
    assert evaluate.main([str(trained)]) == 0
    file = trained / "accuracy.json"
    content = json.loads(file.read_text())
    if points not in ("x", []):
        points = dict.fromkeys(content["points"], points)
    file.write_text(json.dumps(content | {"points": points, "points_sha256": Measurements._sum(points)}))
    assert evaluate.main([str(trained)]) == 0
    assert "\x1b" not in capfd.readouterr().out
    assert evaluate.main([str(trained)]) == 0
    file.write_text("[" * 100_000)
    assert evaluate.main([str(trained)]) == 0


def test_weights_that_unpack_to_all_memory(trained):
    """An empty layer has three bytes in the file and hundreds in memory. Only training has no limit."""
    checkpoints = Checkpoints(trained)
    checkpoints.manifest(10).unlink()
    with open(checkpoints.model(10), "ab") as file:
        file.write(b"\xa2\x06\0" * 2_000_000)
    program = ("import sys; from solvers.nets import rehearsal; rehearsal.available_memory = lambda: 300 << 20\n"
               "from solvers.export.__main__ import main; sys.exit(main())")
    done = subprocess.run([sys.executable, "-c", program, trained, "-o", trained / "net.onnx"], capture_output=True, text=True,
                          env=os.environ | {"OPENBLAS_NUM_THREADS": "1"})
    assert done.returncode == 2 and re.fullmatch("error: .*(damaged|too little memory).*\n", done.stderr), done.stderr


@pytest.mark.parametrize("test_net", [
    'layer { name: "x" type: "DummyData" top: "data" dummy_data_param { shape { dim: 4 } } }', 'input: "data" input_dim: 1',
    'input: "data" input_dim: 1 input_dim: 3 input_dim: 32 input_dim: 32 layer { name: "s" type: "Silence" bottom: "data" }',
    tiny.TEST + 'layer { name: "m" type: "Reduction" bottom: "probs" top: "m" }'.replace("probs", "scores")])
def test_nets_that_tell_no_probabilities(trained, capfd, test_net):
    (trained / "test.prototxt").write_text(test_net.replace('top: "probs"', 'top: "other"'))
    error = capfd.readouterr() and evaluate.main([str(trained)])
    assert error in (0, 2) and "Traceback" not in capfd.readouterr().err


def test_more_threads_than_can_be_had(setting, confined):
    assert confined(setting(), "--max-iter", 1, OMP_NUM_THREADS="100000") == (
        2, "error: OMP_NUM_THREADS=100000: the number must be from 1 to 1024\n")


def test_paths_that_are_not_utf_8(setting, tmp_path):
    source = os.fsencode(tmp_path) + b"/\xff"
    os.rename(setting(), source)
    command = list(map(os.fsencode, tiny.command(tmp_path, tmp_path / "runs", "--max-iter", 1)))
    command[2] = source
    done = subprocess.run(command, capture_output=True)
    assert done.returncode == 2 and done.stderr.count(b"\n") == 1 and b"UTF-8" in done.stderr


# What the kernel refuses, from inside a net


SPY = """import ctypes, os, socket, subprocess
import caffe
def tried(*attempts):
    return [name for name, attempt in attempts if not isinstance(attempt(), OSError)]
def error_of(attempt):
    try:
        return attempt()
    except OSError as error:
        return error
class Same(caffe.Layer):
    def setup(self, bottom, top): pass
    def reshape(self, bottom, top): top[0].reshape(*bottom[0].data.shape)
    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data
        secret, outside = os.environ["SECRET"], os.environ["OUTSIDE"]
        done = tried(("read", lambda: error_of(lambda: open(secret).read())),
                     ("write", lambda: error_of(lambda: open(outside, "w"))),
                     ("socket", lambda: error_of(lambda: socket.socket())),
                     ("program", lambda: error_of(lambda: subprocess.run(["/bin/true"]))))
        if ctypes.CDLL(None).fopen(secret.encode(), b"r"):
            done.append("read in C")
        raise ValueError("spied: " + ", ".join(done) + ";")
    def backward(self, top, propagate_down, bottom): pass
"""


@pytest.mark.skipif(not confinement.abi(), reason="this kernel has no Landlock")
@pytest.mark.parametrize("unconfined", [False, True])
def test_what_a_python_layer_can_do_while_it_trains(setting, confined, tmp_path, unconfined):
    """It can do nothing forbidden. With --unconfined it can do all, which shows that the test can fail."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules/spy.py").write_text(SPY)
    (tmp_path / "secret").write_text("x")
    source = setting(net=tiny.python_layer_net("spy"))
    code, said = confined(source, "--max-iter", 1, "--allow-module", "spy", *["--unconfined"] * unconfined,
                          PYTHONPATH=str(tmp_path / "modules"), SECRET=str(tmp_path / "secret"), OUTSIDE=str(tmp_path / "out"))
    assert code == 2
    found = re.search("spied: (.*?);", said)[1]
    assert found == ("read, write, socket, program, read in C" if unconfined else "")
    assert (tmp_path / "out").exists() == unconfined


@pytest.mark.skipif(not confinement.abi(), reason="this kernel has no Landlock")
def test_what_caffe_can_do_while_it_trains(setting, tmp_path):
    """Caffe's own C++ readers and writers of files, in a process confined like one that trains."""
    (tmp_path / "secret.prototxt").write_text(tiny.TEST)
    (tmp_path / "mine").mkdir()
    code = f"""
import sys
from solvers.nets.permissions import Permissions
from solvers.nets.pycaffe import caffe
Permissions().confine(write=[{str(tmp_path / 'mine')!r} and __import__('pathlib').Path({str(tmp_path / 'mine')!r})])
caffe.set_mode_cpu()
from solvers.nets import prototext
with prototext.in_memory(caffe.proto.caffe_pb2.NetParameter(input=["data"], input_shape=[dict(dim=[1])])) as file:
    net = caffe.Net(file, caffe.TEST)
net.save({str(tmp_path / 'mine/inside')!r})
print("saved", flush=True)
{{attempt}}
"""
    attempts = f"caffe.Net({str(tmp_path / 'secret.prototxt')!r}, caffe.TEST)", f"net.save({str(tmp_path / 'outside')!r})"
    for attempt in attempts:
        done = subprocess.run([sys.executable, "-c", code.format(attempt=attempt)], capture_output=True, text=True)
        assert done.stdout == "saved\n" and done.returncode and not (tmp_path / "outside").exists(), done.stderr
        assert not (tmp_path / "outside").exists()


EXPORTING = """
import argparse, sys
from pathlib import Path
from solvers.export.__main__ import confine
folder = Path(sys.argv[1])
net, weights = folder / "net.prototxt", folder / "net.caffemodel"
confine(argparse.Namespace(net=net, weights=weights, output=folder / "net.onnx", runs=Path("runs"), data=Path("data"),
                           classes=None, unconfined=False))
assert net.read_text() == "theirs"
for name in "code.py", "new.py", ".git/hooks/post-checkout", "net.prototxt", "net.onnx":
    try:
        open(folder / name, "a")
    except PermissionError:
        print("refused")
"""


@pytest.mark.skipif(not confinement.abi(), reason="this kernel has no Landlock")
def test_an_export_into_a_project_leaves_its_code_alone(tmp_path):
    """-o net.onnx in the root of a checkout is no permission to write there, whatever a net makes Caffe do."""
    (tmp_path / ".git/hooks").mkdir(parents=True)
    for name in "net.prototxt", "net.caffemodel", "code.py":
        (tmp_path / name).write_text("theirs")
    done = subprocess.run([sys.executable, "-c", EXPORTING, tmp_path], capture_output=True, text=True)
    assert done.stdout.split() == ["refused"] * 5, done.stderr
