"""Training runs: their files, that they repeat bit by bit, and that stopping and resuming changes nothing."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import tiny
from skimage.io import imsave

from base.commands import command
from data_toolkit import prepare
from data_toolkit.batches import BatchFeeder
from data_toolkit.noise import LabelNoise
from solvers import evaluate, train
from solvers.nets.pycaffe import caffe
from solvers.nets.setting import read_net
from solvers.runs.checkpoints import Checkpoints
from solvers.runs.logs import read_log
from solvers.runs.training_set import TrainingSet
from solvers.training import options

pb = caffe.proto.caffe_pb2
ROOT = Path(__file__).resolve().parents[2]


def weights(folder: Path, iteration: int) -> list[bytes]:
    """Weights, BatchNorm statistics and momentum of a checkpoint, as bytes."""
    checkpoints = Checkpoints(folder)
    model = pb.NetParameter.FromString(checkpoints.model(iteration).read_bytes())
    state = pb.SolverState.FromString(checkpoints.state(iteration).read_bytes())
    blobs = [blob for layer in model.layer for blob in layer.blobs] + list(state.history)
    return [np.float32(blob.data).tobytes() for blob in blobs]


def losses(folder: Path) -> list[tuple]:
    return [step[:3] for step in read_log(folder / "log.csv")]


def checkpoint_files(folder: Path) -> set[str]:
    return {file.name for file in (folder / "checkpoints1").iterdir()}


def test_a_run_folder(setting, run, folder):
    source = setting()
    before = {file: file.read_bytes() for file in source.iterdir()}
    (source / "test.prototxt").write_text(tiny.TEST)
    assert run(source, "--max-iter", 9) == 0

    rows = read_log(folder / "log.csv")
    assert [row.iteration for row in rows] == list(range(1, 10))
    assert [row.lr for row in rows] == [0.1] * 6 + [0.01] * 3
    assert rows[-1].loss < rows[0].loss
    assert np.all(np.diff([row.seconds for row in rows]) >= 0)
    assert checkpoint_files(folder) == {
        f"checkpoints_iter_9.{suffix}" for suffix in ("caffemodel", "solverstate", "json")}
    assert list((folder / "tensorboard").glob("events.out.tfevents.*"))
    assert read_net(folder / "test.prototxt") == read_net(source / "test.prototxt")
    config = json.loads((folder / "config.json").read_text())
    expected = {"setting": "tiny", "noise": 0, "noise_type": "symmetric", "seed": 123, "beta": 6, "lambda": 0.5,
                "q": None, "weighting": None, "layers": "native", "max_iter": 9}
    assert config.items() >= expected.items()
    assert {file: file.read_bytes() for file in before} == before


def test_the_driver_is_caffe_stepped_by_hand(setting, run, folder):
    """As the released loop does: seed, make the solver, set the two blobs, step."""
    run(setting(), "--max-iter", 3)
    caffe.set_random_seed(123)
    solver = caffe.get_solver(str(folder / "solver.prototxt"))
    with BatchFeeder(tiny.dataset(), seed=123, classes_per_batch=2) as feeder:
        for logged, batch in zip(losses(folder), feeder, strict=False):
            solver.net.blobs["data"].data[...] = batch.data
            solver.net.blobs["label"].data[...] = batch.labels
            solver.step(1)
            assert np.float32(logged[1]) == solver.net.blobs["loss"].data
    assert weights(folder, 3)[0] == solver.net.params["conv"][0].data.tobytes()


def test_an_edited_copy_of_a_setting_trains_its_own_net(setting, run, tmp_path, monkeypatch, capsys):
    copy = shutil.copytree(setting(), tmp_path / "mine")
    net = copy / "train.prototxt"
    net.write_text(net.read_text().replace("num_output: 8", "num_output: 9"))
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "train.prototxt").write_text('name: "stray"')
    monkeypatch.chdir(tmp_path / "here")
    assert run(copy, "--max-iter", 1) == 0
    assert f"net: {net}\n" in capsys.readouterr().out
    assert "num_output: 9" in (tmp_path / "runs/mine/noise_0.0/seed_123/train.prototxt").read_text()


def test_the_same_seed_repeats_bit_by_bit_and_another_does_not(setting, run, folder):
    source = setting()
    for name, more in (("a", []), ("b", []), ("c", ["--seed", 7])):
        run(source, "--max-iter", 20, *more)
        (folder.parent / f"seed_{7 if more else 123}").rename(folder.parent / name)
    a, b, c = (folder.parent / name for name in "abc")
    assert weights(a, 20) == weights(b, 20)
    assert losses(a) == losses(b)
    assert weights(a, 20) != weights(c, 20)


DROPOUT = 'layer { name: "drop" type: "Dropout" bottom: "pool" top: "pool" }\n'


@pytest.mark.parametrize("net", [None, (tiny.INPUT + tiny.BODY + tiny.EXTRACT + tiny.USW).replace(
    'layer { name: "scores"', DROPOUT + 'layer { name: "scores"')], ids=["batchnorm", "dropout"])
def test_resumed_equals_uninterrupted(setting, run, folder, tmp_path, net):
    """Also across a drop of the learning rate, in a moved folder, and from an unscheduled checkpoint."""
    source = setting(net=net, solver=tiny.SOLVER + "snapshot: 5")
    run(source, "--max-iter", 12)
    whole = folder.rename(tmp_path / "whole")
    run(source, "--max-iter", 3)
    (tmp_path / "runs").rename(tmp_path / "moved")
    run(source, "--max-iter", 8, "--resume", "--runs", tmp_path / "moved")
    assert run(source, "--max-iter", 12, "--resume", "--runs", tmp_path / "moved") == 0
    resumed = tmp_path / "moved" / folder.relative_to(tmp_path / "runs")
    assert weights(resumed, 12) == weights(whole, 12)
    assert losses(resumed) == losses(whole)
    assert checkpoint_files(resumed) == checkpoint_files(whole)


def test_rows_after_the_checkpoint_are_written_again(setting, run, folder):
    """As after a crash: the log is ahead of the newest checkpoint, and its last line is incomplete."""
    source = setting()
    run(source, "--max-iter", 4)
    with open(folder / "log.csv", "a") as log:
        log.write("5,9,9,9\n6,9.")
    run(source, "--max-iter", 6, "--resume")
    assert [row.iteration for row in read_log(folder / "log.csv")] == [1, 2, 3, 4, 5, 6]
    assert all(row.loss != 9 for row in read_log(folder / "log.csv"))


@pytest.mark.parametrize(("missing", "network"), [(None, False), ("train_mat", True), ("test_fast", True), ("archive", False)])
def test_connections_are_allowed_where_something_has_to_be_downloaded(setting, tmp_path, monkeypatch, missing, network):
    """Otherwise the process, which the kernel confines, could not download what is missing."""
    monkeypatch.delenv("CIFAR100_SOURCE", raising=False)
    said = []
    monkeypatch.setattr("solvers.nets.permissions.Permissions.confine", lambda *_, **options: said.append(options["network"]))
    made = prepare.paths(tmp_path, LabelNoise("symmetric", 0.4, 123))
    there = {name: path for name, path in made._asdict().items() if name != missing} if missing != "archive" else {
        "archive": tmp_path / prepare.ARCHIVE}
    for path in there.values():
        path.touch()
    train.confine(options.parse([str(setting()), "--data", str(tmp_path), "--noise", "0.4"], ""))
    assert said == [network]


def test_own_data_have_no_label_noise(setting, run, folder):
    source = setting(net=tiny.hdf5_net("list.txt"))
    tiny.write_hdf5_list(source)
    assert run(source, "--max-iter", 1) == 0
    about = json.loads((folder / "config.json").read_text())
    assert (about["noise"], about["noise_type"]) == (None, None)
    (folder / "config.json").write_text(json.dumps(about | {"noise": 0.0, "noise_type": "symmetric"}))  # as of before
    assert run(source, "--max-iter", 2, "--resume") == 0


def test_a_run_is_not_overwritten(setting, run, folder, capsys):
    source = setting()
    run(source, "--max-iter", 2)
    assert run(source, "--max-iter", 2) == 2
    assert "reached iteration 2: give --resume" in capsys.readouterr().err
    assert run(source, "--max-iter", 2, "--resume") == 0
    assert "at iteration 2 of 2: nothing to do" in capsys.readouterr().out
    Checkpoints(folder).state(2).unlink()
    assert run(source, "--max-iter", 3, "--resume") == 2
    assert "has weights but no whole .solverstate to go on from" in capsys.readouterr().err


def test_accuracies_do_not_get_among_those_of_another_run(setting, run, folder, capsys):
    """After the checkpoints were removed to save space, and in results/, which has none."""
    source = setting()
    run(source, "--max-iter", 2)
    shutil.rmtree(folder / "checkpoints1")
    (folder / "accuracy.txt").write_text("iter: 2, accuracy: 0.5000\n")
    before = {file: file.read_bytes() for file in folder.glob("*.*") if file.is_file()}
    for more in [], ["--resume"]:
        assert run(source, "--max-iter", 3, *more) == 2
        assert "holds the accuracies of a run whose checkpoints are gone" in capsys.readouterr().err
    assert {file: file.read_bytes() for file in before} == before


def test_a_finished_run_of_another_solver_is_not_taken_for_this_one(setting, run, capsys):
    source = setting()
    assert run(source, "--max-iter", 2) == 0
    solver = source / "solver.prototxt"
    solver.write_text(solver.read_text().replace("base_lr: 0.1", "base_lr: 0.2"))
    assert run(source, "--max-iter", 2, "--resume") == 2
    assert "'- base_lr: 0.1', '+ base_lr: 0.2'" in capsys.readouterr().err


def test_another_engine_on_resume_is_said(setting, run, capsys, monkeypatch):
    source = setting()
    assert run(source, "--max-iter", 2) == 0
    monkeypatch.setenv("CAFFE_ENGINE", "stock")
    assert run(source, "--max-iter", 3, "--resume") == 0
    assert "has computed with CAFFE_ENGINE: ours, now with CAFFE_ENGINE: stock: sums are rounded" in capsys.readouterr().err


def test_a_name_that_no_folder_can_have(setting, run, capsys):
    long = setting("x" * 255)
    assert run(long, "--max-iter", 1, "--beta", 7) == 2
    error = capsys.readouterr().err
    assert "cannot make the run folder" in error and "File name too long" in error and "--resume" not in error


def test_resume_with_nothing_to_resume_is_a_new_run(setting, run, capsys):
    assert run(setting(), "--max-iter", 1, "--resume") == 0
    assert "nothing to resume, a new run" in capsys.readouterr().out


@pytest.mark.parametrize(("file", "then", "now"), [
    ("train.prototxt", "num_output: 8", "num_output: 9"),
    ("solver.prototxt", "momentum: 0.9", "momentum: 0.5"),
])
def test_resume_with_another_net_or_solver_is_refused(setting, run, file, then, now, capsys):
    source = setting()
    run(source, "--max-iter", 1)
    (source / file).write_text((source / file).read_text().replace(then, now))
    assert run(source, "--max-iter", 2, "--resume") == 2
    assert f"its {file} differs (- then, + now): '- {then}', '+ {now}'" in capsys.readouterr().err


def test_resume_with_other_data_is_refused(setting, run, monkeypatch, capsys):
    source = setting()
    run(source, "--max-iter", 1)
    monkeypatch.setattr(TrainingSet, "prepare", lambda labels, folder: tiny.dataset(images=160))
    assert run(source, "--max-iter", 2, "--resume") == 2
    assert "its data_sha256 is" in capsys.readouterr().err


def test_overrides_get_a_folder_of_their_own(setting, run, tmp_path):
    run(setting(), "--max-iter", 1, "--beta", 8, "--lambda", 0.5, "--noise", 0.4)
    run(setting("weighted", loss=tiny.WEIGHTED), "--max-iter", 1, "--weighting", "GCE_DN", "--seed", 5)
    runs = {str(file.parent.relative_to(tmp_path / "runs")) for file in tmp_path.rglob("config.json")}
    assert runs == {"tiny_beta_8/noise_0.4/seed_123", "weighted_weighting_GCE_DN/noise_0.0/seed_5"}


def test_native_and_python_layers_train_alike(setting, run, folder, tmp_path):
    source = setting()
    run(source, "--max-iter", 5)
    run(source, "--max-iter", 5, "--layers", "python")
    python = tmp_path / "runs" / "tiny_layers_python" / "noise_0.0" / "seed_123"
    np.testing.assert_allclose(losses(folder), losses(python), rtol=1e-4)


@pytest.fixture
def hdf5_setting(setting, tmp_path, monkeypatch):
    """A setting whose net reads HDF5 files in its folder, named relative to the working directory."""
    monkeypatch.chdir(tmp_path)
    folder = setting(net=tiny.hdf5_net("tiny/list.txt"))
    tiny.write_hdf5(folder / "images.h5")
    (folder / "list.txt").write_text("tiny/images.h5\n")
    return folder


def test_a_net_with_its_own_data_layer_and_a_stock_loss(hdf5_setting, run, folder):
    assert run(hdf5_setting, "--max-iter", 20) == 0
    rows = read_log(folder / "log.csv")
    assert rows[-1].loss < rows[0].loss
    assert json.loads((folder / "config.json").read_text())["data_sha256"] is None


def test_the_data_of_a_net_are_found_from_its_folder(hdf5_setting, run, folder, tmp_path, monkeypatch):
    """From another working directory, with absolute paths in the list."""
    (hdf5_setting / "list.txt").write_text(f"{hdf5_setting / 'images.h5'}\n")
    net = hdf5_setting / "train.prototxt"
    net.write_text(net.read_text().replace("tiny/list.txt", "list.txt"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert run(hdf5_setting, "--max-iter", 2) == 0
    assert len(read_log(folder / "log.csv")) == 2


@pytest.mark.skipif("ImageData" not in caffe.layer_type_list(),
                    reason="this Caffe was built without OpenCV: CAFFE_OPENCV=1 make test runs it")
def test_a_net_that_reads_image_files(setting, run, folder, tmp_path, capsys):
    data = tiny.dataset(images=40)
    for i, image in enumerate(data.images):
        imsave(tmp_path / f"{i}.png", image)
    images = "".join(f"{tmp_path / f'{i}.png'} {label}\n" for i, label in enumerate(data.labels))
    (tmp_path / "images.txt").write_text(images)
    layer = f"""layer {{ name: "images" type: "ImageData" top: "data" top: "label"
      image_data_param {{ source: "{tmp_path / 'images.txt'}" batch_size: 8 }} }}\n"""
    source = setting(net=layer + tiny.BODY + tiny.CCE)
    assert run(source, "--max-iter", 2, "--allow-path", tmp_path) == 0
    (tmp_path / "images.txt").write_text(images.replace(" 9\n", " 10\n"))
    assert run(source, "--seed", 1, "--allow-path", tmp_path) == 2
    assert "images.txt has the label 10" in capsys.readouterr().err


def measured_as_train_says(out: str) -> int:
    """Run the command that a finished training prints; return its exit code."""
    said = out.splitlines()[-1]
    assert f"next: {command('solvers.evaluate')} " in said, said
    return evaluate.main(shlex.split(said.partition("solvers.evaluate ")[2]))


def test_a_finished_training_says_how_to_measure_it(setting, run, tmp_path, monkeypatch, capsys):
    """The command has the options without which evaluate would refuse, or look for the data elsewhere."""
    looked = []
    monkeypatch.setattr("data_toolkit.dataset.load_test", lambda data: looked.append(data) or tiny.dataset(images=20))
    (tmp_path / "copying_layers.py").write_text("""import caffe
class Copy(caffe.Layer):
    def setup(self, bottom, top): pass
    def reshape(self, bottom, top): top[0].reshape(*bottom[0].data.shape)
    def forward(self, bottom, top): top[0].data[...] = bottom[0].data
    def backward(self, top, propagate_down, bottom): bottom[0].diff[...] = top[0].diff
""")
    monkeypatch.syspath_prepend(tmp_path)
    own = """layer { name: "copy" type: "Python" bottom: "data" top: "copy"
      python_param { module: "copying_layers" layer: "Copy" } }\n"""
    body = tiny.BODY.replace('bottom: "data"', 'bottom: "copy"')
    data = tmp_path / "the data"
    assert run(setting(net=tiny.INPUT + own + body + tiny.CCE), "--max-iter", 2, "--data", data,
               "--allow-module", "copying_layers", "--allow-module", "unused") == 0
    out = capsys.readouterr().out
    assert "unused" not in out
    assert measured_as_train_says(out) == 0
    assert looked == [data]


@pytest.mark.parametrize("test_net", [None, "with data of its own", "fed"])
def test_train_and_evaluate_agree_on_nets_with_their_own_data(hdf5_setting, run, folder, monkeypatch, capsys, test_net):
    monkeypatch.setattr("data_toolkit.dataset.load_test", lambda data: tiny.dataset(images=20))
    nets = {"with data of its own": tiny.hdf5_net("tiny/list.txt").replace(" include { phase: TRAIN }", ""), "fed": tiny.TEST}
    if test_net:
        (hdf5_setting / "test.prototxt").write_text(nets[test_net])
    assert run(hdf5_setting, "--max-iter", 2) == 0
    out = capsys.readouterr().out
    if test_net == "fed":
        assert measured_as_train_says(out) == 0
        return
    assert "next: " not in out
    assert evaluate.main([str(folder), "--allow-path", str(hdf5_setting)]) == 2
    refusal = capsys.readouterr().err.strip().removeprefix("error: ")
    assert "the net reads its own data" in refusal
    assert out.splitlines()[-1] == (f"iteration 2 of 2: done; its weights are in {folder / 'checkpoints1'} "
                                    f"(solvers.evaluate cannot measure them: {refusal})")


def test_noise_cannot_reach_a_net_with_its_own_data(hdf5_setting, run, capsys):
    assert run(hdf5_setting, "--noise", 0.4) == 2
    assert "noise_0.4: this net reads its own data" in capsys.readouterr().err


@pytest.mark.parametrize("label", [10, -1, float("nan")])
def test_a_wrong_label_in_hdf5_data(hdf5_setting, run, capsys, label):
    with h5py.File("tiny/images.h5", "r+") as file:
        file["label"][7] = label
    assert run(hdf5_setting) == 2
    assert f"images.h5 has the label {label}, but layer 'loss' scores 10 classes, 0 to 9" in capsys.readouterr().err


def test_input_layers_are_fed_as_the_legacy_fields_are(setting, run, folder, tmp_path):
    layers = """layer { name: "d" type: "Input" top: "data" input_param { shape { dim: 16 dim: 3 dim: 32 dim: 32 } } }
    layer { name: "l" type: "Input" top: "label" input_param { shape { dim: 16 } } }
    """
    assert run(setting(net=layers + tiny.BODY + tiny.CCE), "--max-iter", 3) == 0
    folder.rename(tmp_path / "input_layers")
    (tmp_path / "tiny").rename(tmp_path / "before")
    run(setting(net=tiny.INPUT + tiny.BODY + tiny.CCE), "--max-iter", 3)
    assert losses(folder) == losses(tmp_path / "input_layers")


def train_in_a_process(*arguments: object) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, Path(tiny.__file__), *map(str, arguments)], cwd=ROOT, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"})


def test_the_command_to_go_on_needs_no_environment(setting, run, monkeypatch, capsys):
    """The training stops after one step, as if a signal had come."""
    monkeypatch.setenv("CAFFE_WEIGHTING", "MAE")
    stopped = SimpleNamespace(signal=signal.SIGTERM)
    monkeypatch.setattr("solvers.training.steps.Interrupt", lambda: nullcontext(stopped))
    assert run(setting(loss=tiny.WEIGHTED), "--max-iter", 3) == 143
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.endswith(" --max-iter 3 --weighting MAE --resume")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_says_how_to_go_on(setting, tmp_path, folder, number, code):
    source, runs = setting(), tmp_path / "runs"
    process = train_in_a_process(source, "--runs", runs, "--max-iter", 1000000)
    while "iteration" not in (line := process.stdout.readline()):
        assert line, process.stderr.read()
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    stopped = Checkpoints(folder).newest()
    assert f"{number.name}: stopped after iteration {stopped} of 1000000, which is saved; go on with" in out
    assert len(read_log(folder / "log.csv")) == stopped

    go_on = shlex.split(out.splitlines()[-1])
    *_, python, _, module = go_on[:go_on.index(str(source))]
    assert module == "solvers.train" and os.path.samefile(ROOT / python, sys.executable)
    again = train_in_a_process(source, *go_on[go_on.index(str(source)) + 1:], "--max-iter", stopped + 1)
    out, err = again.communicate(timeout=60)
    assert again.returncode == 0, err
    assert f"from iteration {stopped}" in out


def test_a_reader_that_ends_saves(setting, tmp_path, folder):
    """As `train ... | head` does, and a `tee` that is killed."""
    code = ("import runpy; from solvers.runs.logs import Progress; Progress.SECONDS = 0\n"
            f"runpy.run_path({tiny.__file__!r}, run_name='__main__')")
    process = subprocess.Popen([sys.executable, "-c", code, setting(), "--runs", tmp_path / "runs", "--max-iter", "1000000"],
                               cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while "iteration 9/" not in (line := process.stdout.readline()):
        assert line, process.stderr.read()
    process.stdout.close()
    assert process.wait(timeout=60) == 141 and not process.stderr.read()
    assert Checkpoints(folder).newest() == len(read_log(folder / "log.csv")) >= 9


def test_a_second_signal_does_not_wait_for_the_step():
    code = "import numpy as np; from solvers.training.interrupt import Interrupt; a = np.ones((6000, 6000))\n" \
           "with Interrupt(): print('ready', flush=True); a @ a @ a"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, text=True, stdout=subprocess.PIPE)
    process.stdout.readline()
    for _ in range(2):
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            pass
    assert process.wait(timeout=1) == -signal.SIGTERM
