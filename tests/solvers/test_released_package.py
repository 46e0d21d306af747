"""A folder laid out like the released package can be trained and evaluated, and no byte of it changes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from data_toolkit.dataset import Dataset
from layers.table import ROWS
from prototxt import generate
from solvers import evaluate, train
from solvers.evaluation.source import find_source
from solvers.runs.checkpoints import Checkpoints
from solvers.runs.training_set import TrainingSet

PROTOTXT = Path(generate.__file__).parent
SOLVER = """net: "../{folder}/train.prototxt"
base_lr: 0.1
lr_policy: "multistep"
gamma: 0.1
stepvalue: 15000
stepvalue: 22000
momentum: 0.9
weight_decay: 0.0005
"""
DM = Path("CIFAR100_ResNet44_V03_lambda0_5", "Res44_USW_Beta06_lambda1")
CCE = Path("CIFAR100_ResNet44_V03_lambda1", "Res44_CCE")
GCE_DN = Path("CIFAR100_ResNet44_V03_lambda1", "Res44_GCE_sumW")
# folder: the net of ours that it has, and what the released one had not: a weighting in the file
FOLDERS = {DM: "res44_usw", CCE: "res44_cce", GCE_DN: "res44_gce_dn"}


def dataset(images: int = 800) -> Dataset:
    random = np.random.default_rng(0)
    labels = np.arange(images) % 100
    return Dataset(random.integers(0, 256, (images, 32, 32, 3), np.uint8), labels, labels)


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("package")
    for folder, setting in FOLDERS.items():
        (root / folder).mkdir(parents=True)
        net = (PROTOTXT / setting / "train.prototxt").read_text()
        if "weighting:" in net:  # the release had one Caffe a loss instead
            lines = net.splitlines(keepends=True)
            net = "".join(line for line in lines if "loss_param" not in line)
        (root / folder / "train.prototxt").write_text(net)
        (root / folder / "solver.prototxt").write_text(SOLVER.format(folder=folder.name))
        (root / folder.parent / f"train_{folder.name}_0.0").mkdir()
        deploy = root / folder.parent / "deploy_prototxts"
        deploy.mkdir(exist_ok=True)
        shutil.copy(PROTOTXT / setting / "test.prototxt", deploy / "ResNet_44.prototxt")
    return root


def content(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def run(package, tmp_path, monkeypatch):
    """Train one step of a folder of the package; return the run folder."""
    monkeypatch.setattr(TrainingSet, "prepare", lambda labels, folder: dataset())
    monkeypatch.setenv("CAFFE_WEIGHTING", "")
    before = content(package)

    def run(folder: Path, *options: str) -> Path:
        assert train.main([str(package / folder), "--max-iter", "1", "--runs", str(tmp_path), *options]) == 0
        return next(tmp_path.rglob("config.json")).parent

    yield run
    assert content(package) == before


def released_folders(folder: Path) -> tuple:
    found = find_source(folder, Path("runs")).released
    return found and (found.exp_folder, found.run_folder)


def test_unified_weight_loss(run, tmp_path, monkeypatch):
    folder = run(DM)
    assert folder == tmp_path / DM / "noise_0.0" / "seed_123"  # the parent tells lambda, so it is in the path
    config = json.loads((folder / "config.json").read_text())
    assert (config["beta"], config["lambda"]) == (6, 0.5)
    assert released_folders(folder) == (DM.parts[0], f"train_{DM.name}_0.0")
    monkeypatch.setattr("data_toolkit.dataset.load_test", lambda data: dataset(100))
    evaluate.evaluate(folder, None)
    assert (folder / "accuracy.txt").read_text().startswith("iter: 1, accuracy: ")


def test_stock_softmax_with_loss(run):
    assert released_folders(run(CCE)) == (CCE.parts[0], "train_Res44_CCE_0.0")


@pytest.mark.parametrize("weighting", [name for row in ROWS if row.released for name in row.names])
def test_weighted_softmax_with_loss(run, weighting):
    folder = run(GCE_DN, "--weighting", weighting)
    assert f"_weighting_{weighting}/" in str(folder)
    if weighting != "DM":  # beta and lambda 1 were not released
        assert released_folders(folder)[1] == f"train_Res44_{weighting.replace('DN', 'sumW')}_0.0"


def test_released_checkpoints_are_evaluated_in_place(run, package, tmp_path, monkeypatch):
    """As if the authors' caffemodels were in their run folder. Their accuracy.txt does not change."""
    trained = run(DM)
    copy = tmp_path / "copy" / DM.parent
    shutil.copytree(package / DM.parent, copy)
    released = copy / f"train_{DM.name}_0.0"
    (released / "checkpoints1").mkdir()
    shutil.copy(Checkpoints(trained).model(1), Checkpoints(released).model(1000))
    (released / "accuracy.txt").write_text("theirs")
    before = content(copy)
    monkeypatch.setattr("data_toolkit.dataset.load_test", lambda data: dataset(100))
    assert evaluate.main([str(released), "--runs", str(tmp_path / "runs")]) == 0
    output = tmp_path / "runs" / DM / "noise_0.0" / "released"
    assert (output / "accuracy.txt").read_text().startswith("iter: 1000, accuracy: ")
    assert content(copy) == before


@pytest.mark.parametrize(("kind", "fields", "near"), [
    ("Gaussian", "gaussian_param { sigma: 1 }", ()),
    ("Normalization", "", ("BatchNorm",)),
    ("BatchPool", "batch_pool_param { size: 8 }", ("BatchNorm", "BatchReindex", "Pooling")),
])
def test_layer_types_of_other_caffes_are_named(package, tmp_path, capsys, kind, fields, near):
    folder = tmp_path / "sibling"
    shutil.copytree(package / DM, folder)
    net = folder / "train.prototxt"
    net.write_text(f'{net.read_text()}\nlayer {{ name: "odd" type: "{kind}" bottom: "probs" top: "odd" {fields} }}\n')
    (folder / "solver.prototxt").write_text(SOLVER.format(folder=folder.name))
    assert train.main([str(folder), "--runs", str(tmp_path / "runs")]) == 2
    error = capsys.readouterr().err
    assert f"layer 'odd' has the unknown type '{kind}'; the nearest known types are " in error
    assert all(name in error for name in near), error


def test_a_field_that_nobody_knows_is_still_reported_as_one(package, tmp_path, capsys):
    folder = tmp_path / "typo"
    shutil.copytree(package / DM, folder)
    net = folder / "train.prototxt"
    net.write_text(net.read_text().replace("lamda_p", "lambda_p"))
    (folder / "solver.prototxt").write_text(SOLVER.format(folder=folder.name))
    assert train.main([str(folder), "--runs", str(tmp_path / "runs")]) == 2
    assert 'has no field named "lambda_p"' in capsys.readouterr().err
