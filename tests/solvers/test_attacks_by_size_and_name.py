"""Strangers' files that are large, long, deep or odd in name: bounded time and memory, one line, and a terminal left alone."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest
import tiny
from test_attacks import refused

from base import files
from base.did_you_mean import did_you_mean
from base.errors import InputError
from base.terminal import MOST, one_line, shown
from data_toolkit import dataset, matfile
from solvers import compare, evaluate, plot_dynamics, train
from solvers.evaluation import inference
from solvers.nets.pycaffe import caffe
from solvers.reporting import curves, released_runs, report_data, results, run_folders
from solvers.reporting.accuracy import Curve
from solvers.runs import config, logs
from solvers.runs.dynamics import Dynamics

pb = caffe.proto.caffe_pb2
NET = tiny.INPUT + tiny.BODY + tiny.CCE
ODD = "\x1b[2J\u202e \udcff$\\frac$"  # escapes, a change of direction, no UTF-8, a formula
ACCURACIES = "iter: 5, accuracy: 0.1000\niter: 10, accuracy: 0.2000\n"


@pytest.fixture
def measured(tmp_path) -> Path:
    """A run folder with all that compare and plot_dynamics read."""
    folder = tmp_path / "runs" / "own" / "noise_0.4" / "seed_1"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"setting": "own", "noise": 0.4, "noise_type": "symmetric", "seed": 1}))
    (folder / "accuracy.txt").write_text(ACCURACIES)
    rows = ["iteration,clean,noisy,clean_p,noisy_p,clean_share,noisy_share", "10,8,8,0.1,0.1,0.5,0.5"]
    (folder / "dynamics.csv").write_text("\n".join([*rows, ""]))
    return folder


# Long and many


@pytest.mark.parametrize("net", [
    'layer {{ name: "a" type: "ReLU" bottom: "{x}" top: "{y}" }}',
    tiny.INPUT + 'layer {{ name: "a" type: "ReLU" bottom: "data" top: "{y}" }} layer {{ type: "ReLU" bottom: "{x}" }}',
    'layer {{ name: "a" type: "{x}" bottom: "data" }}', "layer {{ {x}: 3 }}",
], ids=["blob", "blob made", "type", "field"])
def test_names_of_a_million_letters(setting, run, capfd, net):
    """Looking for the nearest word takes the square of their length."""
    before = time.monotonic()
    error = refused(run(setting(net=net.format(x="x" * 1_000_000, y="y" * 1_000_000)), "--max-iter", 1), capfd)
    assert time.monotonic() - before < 60 and len(error) < MOST + 100


def test_words_that_are_too_long_are_near_nothing():
    assert did_you_mean("beta" * 1_000_000, ["beta" * 1_000_000 + "s"]) == "" and did_you_mean("betta", ["beta"])


def test_layers_that_read_data_are_counted(setting, run, capfd):
    net = "".join(f'layer {{ name: "{number}" type: "HDF5Data" top: "{number}" hdf5_data_param {{ source: "list.txt" }} }}\n'
                  for number in range(101))
    refused(run(setting(net=net), "--max-iter", 1), capfd, "has 101 layers that read data; at most 100")


def test_test_nets_are_counted(setting, run, capfd):
    solver = tiny.SOLVER + 'test_net: "train.prototxt" test_iter: 1 ' * 101 + "test_interval: 1"
    refused(run(setting(solver=solver), "--max-iter", 1), capfd, "has 101 test nets; at most 100")


def test_parameters_of_python_layers_nested_deeply(setting, run, capfd):
    python = f'python_param {{ module: "layers" layer: "ExtractProb" param_str: "{"[" * 100_000}" }}'
    net = NET + f'layer {{ name: "own" type: "Python" {python} }}'
    refused(run(setting(net=net), "--max-iter", 1), capfd, "param_str is nested too deeply")


@pytest.mark.parametrize("name", ["accuracy.txt", "config.json", "dynamics.csv"])
def test_files_that_are_mostly_holes(measured, capfd, tmp_path, name):
    with open(measured / name, "wb") as file:
        file.truncate(3 << 30)
    command = [plot_dynamics.main, "--output"] if name == "dynamics.csv" else [compare.main, "--plot"]
    refused(command[0]([str(measured), command[1], str(tmp_path / "x.png")]), capfd, r"it has 3221225472 bytes; at most \d+")


def test_text_is_read_up_to_a_limit(tmp_path):
    with open(tmp_path / "x", "wb") as file:
        file.truncate(files.MAX_TEXT + 1)
    with pytest.raises(OSError, match="at most"):
        files.read(tmp_path / "x")


def test_iterations_without_end(measured, tmp_path):
    """Neither drops of the learning rate nor checkpoints to compare with are listed up to them."""
    solver = pb.SolverParameter(lr_policy="step", stepsize=1)
    assert len(curves.learning_rate_drops(solver, 10**12)) == curves.MOST_DROPS
    about = json.loads((measured / "config.json").read_text()) | {"setting": "res44_cce"}
    (measured / "config.json").write_text(json.dumps(about))
    (measured / "accuracy.txt").write_text(ACCURACIES + "iter: 999999999999, accuracy: 0.3000\n")
    assert results.read(measured).released
    before = time.monotonic()
    assert compare.main([str(measured), "--plot", str(tmp_path / "x.png")]) == 0 and time.monotonic() - before < 30


def test_a_checkpoint_of_two_billion_steps_asks_for_no_list_of_them(tmp_path):
    with pytest.raises(InputError, match="does not hold the iterations 1 to 2147483647"):
        logs.CsvLog(tmp_path / "log.csv", 2**31 - 1)


def test_a_test_net_is_tried_at_the_batch_it_is_used_at(setting, run, folder, capfd, monkeypatch):
    """At its own, of one image, it needs little memory."""
    assert run(setting(), "--max-iter", 1) == 0
    net = tiny.TEST.replace("input_dim: 16", "input_dim: 1")
    tile = 'layer { name: "t" type: "Tile" bottom: "data" top: "t" tile_param { tiles: 1000 } }'
    (folder / "test.prototxt").write_text(net + tile)
    monkeypatch.setattr("solvers.nets.rehearsal.available_memory", lambda: 400 << 20)
    capfd.readouterr()
    refused(evaluate.main([str(folder)]), capfd, "the net needs at least 7[0-9][0-9] MB of memory")


def test_labels_that_do_not_fit_into_memory(setting, run, capfd, monkeypatch):
    """A small file may declare any number of them; what the rehearsal cannot read, the run must not try."""
    def too_many(*_):
        raise MemoryError
    monkeypatch.setattr("solvers.nets.rehearsal.check_labels", too_many)
    refused(run(setting(), "--max-iter", 1), capfd, "needs more memory than there is")


@pytest.mark.parametrize("declared", [
    'input: "x" input_dim: 1 input_dim: 2 input_dim: 2 input_dim: 2 input: "data" input_dim: 1 input_dim: 3 input_dim: 2 '
    "input_dim: 2", 'input: "data" input_shape { dim: 1 dim: 3 }',
    'layer { name: "i" type: "Input" top: "x" top: "data" input_param { shape { dim: 7 } shape { dim: 1 dim: 3 } } }'])
def test_inputs_of_all_forms_at_that_batch(declared):
    from google.protobuf import text_format
    net = inference.at_batch(text_format.Parse(declared, pb.NetParameter()))
    sizes = [*net.input_dim[4:5], *(shape.dim[0] for shape in net.input_shape),
             *(shape.dim[0] for layer in net.layer for shape in layer.input_param.shape[1:])]
    assert sizes == [inference.BATCH]


# Odd numbers


@pytest.mark.parametrize("row", ["0,8,8,.1,.1,.5,.5", "-10,8,8,.1,.1,.5,.5", "9" * 300 + ",8,8,.1,.1,.5,.5",
                                 "10,8,-8,.1,.1,.5,.5", "10,8,8,.1,.1,.5,.5\n10,8,8,.1,.1,.5,.5"])
def test_steps_that_are_none(measured, capfd, tmp_path, row):
    file = measured / "dynamics.csv"
    file.write_text(file.read_text().split("\n")[0] + f"\n{row}\n")
    refused(plot_dynamics.main([str(measured), "--output", str(tmp_path / "x.png")]), capfd, "damaged: after step")
    assert report_data.read_dynamics(results.read(measured)) is None


def test_the_time_of_a_run_of_no_steps(measured):
    (measured / "log.csv").write_text("iteration,loss,lr,seconds\n0,1,0.1,5\n")
    assert report_data._time(results.read(measured)) is None


def test_probabilities_that_are_none_are_not_drawn(measured, capfd, tmp_path):
    file = measured / "dynamics.csv"
    file.write_text(file.read_text() + "20,0,0,nan,1e308,inf,-inf\n")
    assert plot_dynamics.main([str(measured), "--output", str(tmp_path / "x.png")]) == 0
    assert capfd.readouterr().err == ""
    drawn = report_data.read_dynamics(results.read(measured))
    assert drawn["clean_p"] == [0.1, None] and drawn["noisy_p"] == [0.1, None] and drawn["clean_share"] == [0.5, None]


@pytest.mark.parametrize("value", [{"a": [[[[[1]]]]]}, [[[[[[[]]]]]]]])
def test_a_config_of_many_levels(measured, value):
    (measured / "config.json").write_text(json.dumps({"setting": "own", "x": value}))
    with pytest.raises(InputError, match="nested too deeply"):
        config.read(measured)


# Odd names


def test_what_is_printed_steers_no_terminal(capsys):
    print(shown(ODD + "\t\x85\u2028\nnext"), one_line("x" * 10_000 + "\x1b[2J"))
    said = capsys.readouterr().out
    assert all(line.isprintable() for line in said.split("\n")) and "\nnext" in said and len(said) < MOST + 200


@pytest.mark.parametrize("options", [[], ["--plot", "x.png"]])
def test_folders_with_odd_names(measured, tmp_path, capfd, options, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "runs" / ODD
    place.parent.mkdir(exist_ok=True)
    shutil.move(measured.parent, place)
    (tmp_path / "runs" / "other" / "noise_0").mkdir(parents=True)
    (tmp_path / "runs" / "other" / "noise_0" / "config.json").write_text('{"setting": "\\u001b[2J\\ud800"}')
    assert compare.main(["runs", *options]) == 0
    said = capfd.readouterr()
    assert all(line.isprintable() for line in (said.out + said.err).split("\n")) and "\\x1b[2J" in said.out


def test_pipes_among_prepared_data(tmp_path):
    for path, read in (tmp_path / "x.npz", dataset.load), (tmp_path / "x.mat", matfile.read_labels):
        os.mkfifo(path)
        with pytest.raises(InputError, match="is not a file"):
            read(path)


def test_training_data_of_an_impossible_name(setting, run, folder, capfd, monkeypatch):
    monkeypatch.setattr("data_toolkit.dataset.load_test", lambda data: tiny.dataset(images=20))
    assert run(setting(), "--max-iter", 1) == 0
    about = json.loads((folder / "config.json").read_text())
    capfd.readouterr()
    (folder / "config.json").write_text(json.dumps(about | {"train_data": "a\0/b"}))
    refused(evaluate.main([str(folder), "--train-sets"]), capfd, 'config.json: expected "train_data": a path')
    (folder / "config.json").write_text(json.dumps(about | {"train_data": "ab\ud800"}))
    refused(evaluate.main([str(folder), "--train-sets"]), capfd, "give --allow-path")
    refused(evaluate.main([str(folder), "--train-sets", "--unconfined"]), capfd, "does not exist")


def test_a_setting_behind_a_link_to_an_odd_name(setting, run, tmp_path, capfd):
    os.rename(setting(), tmp_path / ODD)
    (tmp_path / "good").symlink_to(tmp_path / ODD)
    refused(run(tmp_path / "good", "--max-iter", 1), capfd, "are not UTF-8 or control the terminal")


def test_spaces_of_other_scripts_are_letters_like_others(setting, run, tmp_path):
    os.rename(setting(), tmp_path / "\u5b9f\u9a13\u3000one\xa0two")
    assert run(tmp_path / "\u5b9f\u9a13\u3000one\xa0two", "--max-iter", 1) == 0
    assert shown("a\u3000b\xa0c") == "a\u3000b\xa0c"


def test_a_link_to_itself(setting, run, tmp_path, capfd):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    refused(evaluate.main([str(tmp_path / "loop")]), capfd, "is no run folder")
    source = setting(net=tiny.hdf5_net(tmp_path / "loop"))
    refused(run(source, "--max-iter", 1), capfd, "would read|does not exist")


def test_links_to_their_own_folder_below_a_glob(measured, tmp_path, monkeypatch):
    for name in "ab":
        (tmp_path / "runs" / name).symlink_to(".")
    monkeypatch.chdir(tmp_path)
    for glob in "runs/**", f"{tmp_path}/runs/**/seed_*", "runs/*/noise*/seed_1":
        assert [folder.resolve() for folder in run_folders.folders_below(run_folders.expanded([glob]))] == [measured]


@pytest.mark.parametrize("suffix", [".npz", ".mat"])
def test_a_pipe_as_training_data_of_a_run(setting, run, folder, capfd, suffix, monkeypatch):
    monkeypatch.setattr("data_toolkit.dataset.load_test", lambda data: tiny.dataset(images=20))
    assert run(setting(), "--max-iter", 1) == 0
    pipe = folder / f"pipe{suffix}"
    os.mkfifo(pipe)
    about = json.loads((folder / "config.json").read_text()) | {"train_data": str(pipe)}
    (folder / "config.json").write_text(json.dumps(about))
    capfd.readouterr()
    refused(evaluate.main([str(folder), "--train-sets"]), capfd, "is not a file")


def test_released_folders_of_odd_noise(tmp_path, capfd):
    place = tmp_path / "train_Res44_CCE_0.4.4"
    place.mkdir()
    refused(evaluate.main([str(place)]), capfd, "is no run folder")
    assert released_runs.RUN_FOLDER.fullmatch("train_Res44_CCE_0.4") and Curve([], []).at([1]) == Curve([], [])


def test_matrices_from_devices(setting, capfd, tmp_path):
    code = train.main([str(setting()), "--runs", str(tmp_path / "runs"), "--noise-matrix", "/dev/zero"])
    refused(code, capfd, "not a regular file")


def test_rows_of_a_kind_with_texts_in_place_of_numbers(tmp_path):
    (tmp_path / "x").write_text(",".join(Dynamics._fields) + "\n1,x,3,4,5,6,7\n")
    with pytest.raises(InputError, match="is damaged"):
        logs.read_log(tmp_path / "x", Dynamics)
