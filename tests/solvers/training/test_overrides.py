"""Another depth, batch, learning rate and checkpoint interval from the command line."""

import json

import pytest
import tiny

from base.errors import InputError
from prototxt import generate
from solvers import evaluate
from solvers.nets import setting as settings
from solvers.nets.setting import SETTINGS, read_net
from solvers.reporting import released_runs
from solvers.runs.checkpoints import Checkpoints
from solvers.runs.logs import read_log
from solvers.training import options, overrides

INPUT_LAYERS = """layer { name: "d" type: "Input" top: "data" input_param { shape { dim: 16 dim: 3 dim: 32 dim: 32 } } }
layer { name: "l" type: "Input" top: "label" input_param { shape { dim: 16 } } }
"""


def changed(*arguments: object) -> settings.Setting:
    args = options.parse([str(argument) for argument in arguments], "")
    setting = settings.load(args.setting)
    overrides.apply(setting, args)
    return setting


@pytest.mark.parametrize("name", sorted(path.name for path in SETTINGS.glob("res44_*")))
@pytest.mark.parametrize("depth", [8, 20, 110])
def test_another_depth_is_what_the_generator_writes(name, depth):
    found = changed(SETTINGS / name, "--depth", depth)
    assert found.net_param == generate.train_net(generate.LOSSES[name], depth)
    assert (found.name, found.test_net_param) == (f"{name}_depth_{depth}", None)


def test_the_same_value_is_no_change():
    found = changed(SETTINGS / "res44_usw", "--depth", 44, "--batch", 256, "--lr", 0.1)
    assert (found.name, found.net_param) == ("res44_usw", generate.train_net(generate.LOSSES["res44_usw"]))
    assert found.test_net_param == read_net(SETTINGS / "res44_usw" / "test.prototxt")


def test_each_is_in_the_name_and_none_is_held_against_a_released_run():
    found = changed(SETTINGS / "res44_usw", "--lr", 0.05, "--batch", 128, "--depth", 20)
    assert found.name == "res44_usw_depth_20_batch_128_lr_0.05"
    assert (found.solver.base_lr, list(found.net_param.input_dim)) == (pytest.approx(0.05), [128, 3, 32, 32, 128, 1, 1, 1])
    about = {"noise": 0.4, "beta": 6.0, "lambda": 0.5}
    assert released_runs.match({"setting": "res44_usw", **about}) and not released_runs.match({"setting": found.name, **about})


@pytest.mark.parametrize("inputs", [tiny.INPUT, INPUT_LAYERS], ids=["fields", "layers"])
def test_another_batch_trains(setting, run, tmp_path, inputs):
    assert run(setting(net=inputs + tiny.BODY + tiny.CCE), "--max-iter", 2, "--batch", 24, "--beta", "1") == 2  # CCE has none
    assert run(tmp_path / "tiny", "--max-iter", 2, "--batch", 24) == 0
    folder = tmp_path / "runs" / "tiny_batch_24" / "noise_0.0" / "seed_123"
    assert json.loads((folder / "config.json").read_text())["setting"] == "tiny_batch_24"
    net = settings.read_net(folder / "train.prototxt")
    shapes = [list(shape.dim) for layer in net.layer for shape in layer.input_param.shape]
    assert shapes in ([], [[24, 3, 32, 32], [24]]) and list(net.input_dim) in ([], [24, 3, 32, 32, 24, 1, 1, 1])


def test_another_learning_rate_beside_another_beta(setting, run, tmp_path):
    assert run(setting(), "--max-iter", 7, "--lr", 0.02, "--beta", 2) == 0
    folder = tmp_path / "runs" / "tiny_lr_0.02_beta_2" / "noise_0.0" / "seed_123"
    assert [row.lr for row in read_log(folder / "log.csv")] == pytest.approx([0.02] * 6 + [0.002])


def test_a_smaller_net_is_trained_and_measured(run, tmp_path, monkeypatch):
    monkeypatch.setattr("data_toolkit.dataset.load_test", lambda data: tiny.dataset())
    assert run(SETTINGS / "res44_usw", "--max-iter", 2, "--depth", 8, "--batch", 16) == 0
    folder = tmp_path / "runs" / "res44_usw_depth_8_batch_16" / "noise_0.0" / "seed_123"
    assert evaluate.evaluate(folder, None).iterations == [2]


def test_checkpoints_as_often_as_asked(setting, run, folder, capsys):
    source = setting()
    assert run(source, "--max-iter", 5, "--snapshot", 2) == 0
    assert Checkpoints(folder).models() == [2, 4, 5]
    assert run(source, "--max-iter", 6, "--resume") == 2  # which would remove what is on the schedule
    assert "its snapshot is 2, now 1000" in capsys.readouterr().err
    assert run(source, "--max-iter", 7, "--snapshot", 2, "--resume") == 0
    assert Checkpoints(folder).models() == [2, 4, 6, 7]


@pytest.mark.parametrize(("arguments", "message"), [
    (["--depth", 20], "--depth 20: this net is no ResNet as prototxt/generate.py writes them"),
    (["--batch", 20], "--batch 20: a batch is 8 images of each of some classes: give a multiple of 8"),
    (["--batch", 88], "batch of 88 images is not 8 images of each of 1 to 10 classes: give --batch 80"),
    (["--lr", 0], "argument --lr: 0 is not above 0"),
    (["--snapshot", 0], "argument --snapshot: '0' is not a whole number from 1"),
])
def test_impossible_values(setting, run, tmp_path, capsys, arguments, message):
    try:
        assert run(setting(), *arguments) == 2
    except SystemExit as ended:
        assert ended.code == 2
    assert message in capsys.readouterr().err and not (tmp_path / "runs").exists()


@pytest.mark.parametrize("depth", [1, 9, 43, 45])
def test_depths_that_no_resnet_has(depth):
    with pytest.raises(InputError, match=f"--depth {depth}: a CIFAR ResNet has 6n"):
        changed(SETTINGS / "res44_cce", "--depth", depth)


def test_the_batch_of_a_net_with_its_own_data(setting):
    with pytest.raises(InputError, match="--batch 32: this net reads its own data; its batch is the batch_size"):
        changed(setting(net=tiny.hdf5_net("list.txt")), "--batch", 32)
