"""Each of the 48 released runs is one command, and the error for another name lists the right ones."""

import argparse
import re

import pytest

from base.errors import InputError
from solvers import train
from solvers.nets import setting
from solvers.reporting.released_runs import load_runs
from solvers.runs.training_set import TrainingSet
from solvers.training import options, released


@pytest.mark.parametrize("run", load_runs(), ids=lambda run: f"{run.exp_folder[22:]}/{run.run_folder}")
def test_each_run_by_all_its_names(run):
    parents = run.exp_folder, run.exp_folder.rpartition("V03_")[2]
    for parent in parents:
        assert released.run_of(f"{parent}/{run.run_folder}") is run
        assert released.run_of(f"{parent}/{run.run_folder}/") is run
        assert released.run_of(f"{parent}/{released.short_name(run)}", str(run.noise)) is run
    assert released.run_of(released.command_name(run), f"{run.noise:g}") is run
    assert released.run_of(run.name, str(run.noise)) is run
    args = argparse.Namespace(released=[released.command_name(run), str(run.noise)])
    released.choose(args)
    chosen = setting.load(args.setting)
    assert (chosen.name, args.noise, args.beta, vars(args)["lambda"]) == (run.setting, run.noise, run.beta, run.lam)


def test_the_table_has_them_all(capsys):
    assert train.main(["--list-released"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 50
    assert len({line[:34] for line in lines[1:-1]}) == 48
    for line in lines[1:-1]:
        run = released.run_of(*line.split()[:2])
        best, final, last_five, table1 = line.split()[-4:]
        assert (best, final) == (f"{100 * max(run.accuracies):.2f}", f"{100 * run.accuracies[-1]:.2f}")
        assert float(last_five) == pytest.approx(20 * sum(run.accuracies[-5:]), abs=0.006)
        assert float(table1) == pytest.approx(100 * run.table1)


@pytest.mark.parametrize(("words", "message"), [
    (["CCE_sunW", "0.4"], 'no released run has this name; did you mean "cce_sumw"?'),
    (["train_Res44_CCE_0.3"], 'did you mean "train_res44_cce_0.'),
    (["CCE", "0.3"], "it was released with noise 0.0 or 0.2 or 0.4 or 0.6"),
    (["CCE", "much"], "'much' is not a noise rate"),
    (["CCE"], "give the noise too: 0.0 or 0.2 or 0.4 or 0.6"),
    (["train_Res44_CCE_0.4", "0.2"], "the run's noise is 0.4"),
    (["USW_Beta08_lambda1", "0.4"], "say which: lambda0_5/USW_Beta08_lambda1 or lambda1/USW_Beta08_lambda1"),
    (["train_Res44_USW_Beta08_lambda1_0.4"], "2 released runs have this name; say which"),
    (["lambda2/CCE", "0.4"], "no released run lies in a folder lambda2; there are CIFAR100_ResNet44_V03_ExpCCE_lambda0"),
])
def test_what_is_no_released_run(words, message):
    with pytest.raises(InputError, match=re.escape(message)):
        released.run_of(*words)


@pytest.mark.parametrize(("arguments", "message"), [
    (["--released", "CCE", "0.4", "--beta", "8"], "leave out --beta 8"),
    (["prototxt/res44_cce", "--released", "CCE", "0.4"], "leave out setting prototxt/res44_cce"),
    (["--released", "CCE", "0.4", "0.6"], "0.6 is too much"),
    ([], "name a setting"),
])
def test_what_does_not_go_with_it(arguments, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        options.parse(arguments, "")
    assert message in capsys.readouterr().err


def test_it_trains(monkeypatch, tmp_path):
    """Up to the point where the data are read, with the noise of the run."""
    asked = []

    def load(labels, folder):
        asked.append(labels.config)
        assert (tmp_path / "res44_usw_beta_8" / "noise_0.4" / "seed_123").is_dir()
        raise InputError("enough")

    monkeypatch.setattr(TrainingSet, "prepare", load)
    assert train.main(["--released", "lambda0_5/train_Res44_USW_Beta08_lambda1_0.4", "--runs", str(tmp_path)]) == 2
    assert asked == [{"noise": 0.4, "noise_type": "symmetric", "train_data": None}]
    assert list(tmp_path.iterdir()) == []  # it never began
