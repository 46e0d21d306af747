"""The copy of a run's results: what the report and compare read from it equals the run's, and whole or nothing is written."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import measured_runs
import pytest
import tiny

from base import machine
from base.errors import InputError
from solvers import evaluate, keep
from solvers.export import __main__ as export
from solvers.reporting import report_data, results
from solvers.runs.dynamics import DYNAMICS_FILE, Dynamics
from solvers.runs.logs import read_log


@pytest.fixture
def measured(tmp_path):
    """A whole run of a released setting, with a row of dynamics.csv every ten steps."""
    run = measured_runs.write(tmp_path / "runs", seeds=1)[0]
    measured_runs.write_dynamics(run, 0.4, rows=3000, interval=10)
    return run


@pytest.fixture
def trained(setting, run, folder, monkeypatch):
    """A measured run with checkpoints at 4, 8 and 10."""
    monkeypatch.setattr("data_toolkit.dataset.load_test", lambda data: tiny.dataset(images=150))
    run(setting(solver=tiny.SOLVER + "snapshot: 4"), "--max-iter", 10)
    evaluate.main([str(folder)])
    return folder


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_copy_gives_the_same_results(measured, tmp_path, capsys):
    (measured / "accuracy_curve.png").write_bytes(b"a figure")
    before = files_of(measured)
    assert keep.main([str(measured), "--to", str(tmp_path / "results")]) == 0
    copy = tmp_path / "results" / measured.relative_to(tmp_path / "runs")
    assert capsys.readouterr().out == f"{copy}: the results of 30,000 steps\n"
    assert set(files_of(copy)) == {"config.json", "accuracy.txt", "accuracy_curve.png", DYNAMICS_FILE}
    ours, kept = results.read(measured), results.read(copy)
    assert kept.measures == ours.measures and kept.curve == ours.curve
    assert kept.config == ours.config | {"seconds": 13000}
    rows = read_log(measured / DYNAMICS_FILE, Dynamics)
    assert str(read_log(copy / DYNAMICS_FILE, Dynamics)) == str(rows[9::10])  # as text: NaN differs from itself
    time = {name: text for name, text in report_data.particulars(kept, None) if name == "time"}
    assert time == {"time": "3:36:40 for 30,000 steps, 0.433 s each"}
    assert files_of(measured) == before


def test_the_copy_with_weights_is_exported_and_measured(trained, tmp_path, capsys):
    assert keep.main([str(trained), "--to", str(tmp_path / "results"), "--weights"]) == 0
    copy = tmp_path / "results" / "tiny" / "noise_0.0" / "seed_123"
    assert [name for name in files_of(copy) if name.endswith(".caffemodel")] == ["checkpoints1/checkpoints_iter_10.caffemodel"]
    assert json.loads((copy / "config.json").read_text())["machine"] == machine.describe()
    text = (copy / "accuracy.txt").read_text()
    assert evaluate.main([str(copy)]) == 0  # the other checkpoints' lines stay
    assert (copy / "accuracy.txt").read_text() == text == (trained / "accuracy.txt").read_text()
    assert export.main([str(copy), "-o", str(tmp_path / "net.onnx"), "--data", str(tmp_path)]) == 0


def test_damaged_weights_are_not_copied(trained, tmp_path):
    model = trained / "checkpoints1" / "checkpoints_iter_10.caffemodel"
    model.write_bytes(model.read_bytes()[:-1])
    with pytest.raises(InputError, match="iter_10"):
        keep.keep(trained, tmp_path / "copy", weights=True)
    for file in model.parent.iterdir():
        file.unlink()
    with pytest.raises(InputError, match="has no weights: leave out --weights"):
        keep.keep(trained, tmp_path / "copy", weights=True)
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("file, content, said", [
    ("accuracy.txt", None, "accuracy.txt"), ("config.json", "{", "not JSON"), (DYNAMICS_FILE, "iteration\n1\n", "is damaged"),
    ("log.csv", "iteration,loss,lr,seconds\n1,x,1,1\n", "is damaged")])
def test_nothing_is_written_of_a_damaged_run(measured, tmp_path, capsys, file, content, said):
    (measured / file).unlink() if content is None else (measured / file).write_text(content)
    assert keep.main([str(measured), "--to", str(tmp_path / "results")]) == 2
    error = capsys.readouterr().err
    assert said in error and str(measured) in error and error.count("\n") == 1
    assert not list((tmp_path / "results").rglob("*.*"))


def test_a_run_is_not_copied_onto_itself(measured, tmp_path, capsys):
    before = files_of(measured)
    assert keep.main([str(measured), "--to", str(tmp_path / "runs")]) == 2
    assert "already" in capsys.readouterr().err
    assert files_of(measured) == before


def test_nothing_of_an_earlier_copy_is_left(trained, tmp_path):
    options = ["--to", str(tmp_path / "results")]
    assert keep.main([str(trained), *options, "--weights"]) == 0
    (trained / DYNAMICS_FILE).unlink(missing_ok=True)
    assert keep.main([str(trained), *options]) == 0
    copy = tmp_path / "results" / "tiny" / "noise_0.0" / "seed_123"
    assert set(files_of(copy)) == {"accuracy.txt", "accuracy_curve.png", "config.json"}


def test_runs_of_both_released_trees_have_copies_of_their_own(measured, tmp_path, capsys):
    runs = []
    for tree in "CIFAR100_ResNet44_V03_lambda0_5", "CIFAR100_ResNet44_V03_lambda1":
        runs.append(tmp_path / "trees" / tree / "Res44_USW_Beta08_lambda1/noise_0.4/seed_123")
        shutil.copytree(measured, runs[-1])
        about = json.loads((runs[-1] / "config.json").read_text()) | {"setting": f"{tree}/Res44_USW_Beta08_lambda1"}
        (runs[-1] / "config.json").write_text(json.dumps(about))
    assert keep.main([*map(str, runs), "--to", str(tmp_path / "results")]) == 0
    assert all((tmp_path / "results" / run.relative_to(tmp_path / "trees") / "accuracy.txt").exists() for run in runs)
    shutil.copytree(measured, tmp_path / "elsewhere" / measured.relative_to(tmp_path / "runs"))
    capsys.readouterr()
    other = tmp_path / "elsewhere" / measured.relative_to(tmp_path / "runs")
    assert keep.main([str(measured), str(other), "--to", str(tmp_path / "new")]) == 2
    assert f"{measured} and {other} would both be copied to" in capsys.readouterr().err
    assert not list((tmp_path / "new").rglob("*"))


def test_where_a_copy_cannot_be(measured, tmp_path, capsys, monkeypatch):
    shutil.copytree(measured, tmp_path / "elsewhere" / measured.relative_to(tmp_path / "runs"))
    other = tmp_path / "elsewhere" / measured.relative_to(tmp_path / "runs")
    assert keep.main([str(other), "--to", str(tmp_path / "runs")]) == 2
    assert f"{measured} is a run itself: name another folder with --to" in capsys.readouterr().err
    monkeypatch.setattr("base.files.real", lambda path: Path("/run"))
    assert keep.main([str(measured), "--to", str(tmp_path / "new")]) == 2
    assert "its folders are not runs/SETTING/NOISE/SEED" in capsys.readouterr().err


def test_a_link_in_the_run_gives_nothing_away(measured, tmp_path):
    """A run from people who are not trusted may contain a link to one's own secrets."""
    (tmp_path / "secret").write_text("secret")
    (measured / "accuracy_curve.png").symlink_to(tmp_path / "secret")
    with pytest.raises(InputError, match=r"accuracy_curve\.png: it is a link"):
        keep.keep(measured, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_the_confined_command(measured, tmp_path):
    done = subprocess.run([sys.executable, "-m", "solvers.keep", measured, "--to", tmp_path / "results"], capture_output=True,
                          text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert list((tmp_path / "results").rglob("accuracy.txt"))
