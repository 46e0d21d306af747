"""Bad input of solvers.train: one line on stderr, exit code 2, and no files."""

import shutil

import pytest
import tiny

from solvers.runs.training_set import TrainingSet


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path):
    """No file exists of a run that was refused."""
    yield
    assert not (tmp_path / "runs").is_dir()


def fails(run, capsys, *arguments: object) -> str:
    """Run solvers.train, which must fail; return its one error line."""
    capsys.readouterr()
    try:
        code = run(*arguments)
    except SystemExit as exit:  # of argparse
        code = exit.code
    error = capsys.readouterr().err
    assert code == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize(("options", "message"), [
    (["--noise", "1.5"], "argument --noise: 1.5 is not a rate from 0 to 1"),
    (["--beta", "abc"], "argument --beta: 'abc' is not a number"),
    (["--beta", "nan"], "argument --beta: 'nan' is not a number"),
    (["--lambda", "-1"], "argument --lambda: -1 is not a finite number >= 0"),
    (["--max-iter", "0"], "argument --max-iter: '0' is not a whole number from 1"),
    (["--seed", "-1"], "argument --seed: '-1' is not a whole number from 0"),
    (["--weighting", "gce-dn"],
     'argument --weighting: unknown weighting \'gce-dn\'; did you mean "GCE_DN"? (one of CCE, CCE_DN, MAE,'),
    (["--layers", "phyton"], "argument --layers: invalid choice"),
    (["--weighting", "GCE"], "--weighting GCE: no layer of this net takes it"),
    (["--gpu", "0"], "--gpu 0: this Caffe was built for the CPU only"),
    (["--gpu", "first"], "--gpu first: give device numbers such as 0 or 0,1, or all"),
])
def test_options(setting, run, capsys, options, message):
    assert message in fails(run, capsys, setting(), *options)


def test_missing_folder(setting, run, capsys):
    assert "there is no folder" in fails(run, capsys, setting() / "nowhere")


def test_unknown_layer_type(setting, run, capsys):
    broken = setting(net=tiny.INPUT + tiny.BODY.replace("ReLU", "RELU") + tiny.CCE)
    assert "layer 'relu' has the unknown type 'RELU'; the nearest known types are ReLU," in fails(run, capsys, broken)


def test_no_weighting(setting, run, capsys):
    assert "layer 'loss' (WeightedSoftmaxWithLoss) has no weighting" in fails(run, capsys, setting(loss=tiny.WEIGHTED))


def test_label_outside_the_outputs(setting, run, capsys, monkeypatch):
    data = tiny.dataset()
    data.labels[17] = 100
    monkeypatch.setattr(TrainingSet, "prepare", lambda labels, folder: data)
    hundred = tiny.BODY.replace("num_output: 10", "num_output: 100")
    assert "the training data has the label 100, but layer 'loss' scores 100 classes, 0 to 99" in fails(
        run, capsys, setting(net=tiny.INPUT + hundred + tiny.CCE))


@pytest.mark.parametrize(("old", "new", "message"), [
    ("input_dim: 16", "input_dim: 12", "batch of 12 images is not 8 images of each of 1 to 10 classes: give --batch 16"),
    ("input_dim: 16", "input_dim: 88", "batch of 88 images is not 8 images of each of 1 to 10 classes: give --batch 80"),
    ("input_dim: 32 input_dim: 32", "input_dim: 28 input_dim: 28", "holds images of 3x28x28; CIFAR-100's are 3x32x32"),
    ('input: "label"', 'input: "target"', "the net has the input 'target'; the driver fills only 'data' and 'label'"),
])
def test_inputs_that_do_not_fit(setting, run, capsys, old, new, message):
    net = tiny.INPUT.replace(old, new) + tiny.BODY + (tiny.CCE if "label" in new or "target" not in new else "")
    assert message in fails(run, capsys, setting(net=net))


def test_more_classes_a_batch_than_there_are(setting, run, capsys, monkeypatch):
    data = tiny.dataset()
    data.labels[:] = 9
    monkeypatch.setattr(TrainingSet, "prepare", lambda labels, folder: data)
    assert "the labels hold 1 classes, but a batch takes 2" in fails(run, capsys, setting())


def test_a_folder_that_was_there_before_stays(setting, run, capsys, folder, tmp_path):
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    wrong = setting(net=tiny.INPUT.replace("input_dim: 16", "input_dim: 12") + tiny.BODY + tiny.CCE)
    fails(run, capsys, wrong)
    assert (folder / "notes.txt").read_text() == "mine"
    shutil.rmtree(tmp_path / "runs")


def test_iter_size(setting, run, capsys):
    assert "iter_size is 2" in fails(run, capsys, setting(solver=tiny.SOLVER + "iter_size: 2"))


def test_unwritable_output(setting, run, capsys, tmp_path):
    (tmp_path / "runs").write_text("a file where the folder should be")
    assert f"cannot make the run folder {tmp_path / 'runs'}" in fails(run, capsys, setting())
