"""Summaries over seeds, and the names of losses and noise."""

import json
import statistics

import measured_runs
import numpy as np
import pytest

from solvers.reporting import released_runs, results
from solvers.reporting.results import Result


def result(**config: object) -> Result:
    return Result(None, {"setting": "res44_usw", "noise": 0.4, "noise_type": "symmetric"} | config, None, None, (), ())


@pytest.mark.parametrize(("config", "name"), [
    ({"beta": 8.0, "lambda": 0.5}, "DM, lambda 0.5, beta 8"),
    ({"beta": 0.0, "lambda": 0.5}, "DM, beta 0"),
    ({"setting": "res44_gce", "weighting": "GCE", "q": 0.7}, "GCE"),
    ({"setting": "res44_gce", "weighting": "GCE_DN", "q": 0.5}, "GCE-DN, q 0.5"),
    ({"setting": "res44_cce"}, "CCE"),
    ({"setting": "CIFAR100_ResNet44_V03_lambda1/Res44_CCE"}, "CCE"),
    ({"setting": "my_net"}, "my_net"),
    ({"setting": "my_net", "beta": 2, "lambda": 1}, "my_net: DM, lambda 1, beta 2"),
])
def test_losses_are_named_as_in_the_paper(config, name):
    assert result(**config).loss == name


@pytest.mark.parametrize("released", released_runs.load_runs(), ids=lambda run: f"{run.name} {run.noise}")
def test_a_released_loss_has_its_published_name(released):
    assert result(**measured_runs.config_of(released)).loss == released.name


@pytest.mark.parametrize(("config", "name"), [
    ({}, "0.4"), ({"noise": 0, "noise_type": None}, "0.0"), ({"noise_type": "pair_flip"}, "pair_flip 0.4"),
    ({"train_data": "/x/a/b.mat"}, "a/b.mat"), ({"train_data": "/b.mat"}, "/b.mat"), ({"noise": None}, "own data"),
])
def test_noise_is_named(config, name):
    assert result(**config).noise == name


def test_a_summary_is_over_what_each_run_has(tmp_path):
    """A finished and an unfinished run are each compared with the published run at their own checkpoints."""
    released = released_runs.find_released("res44_cce", 0.4)
    found = []
    for seed, last in (1, 30), (2, 12):
        folder = tmp_path / str(seed)
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(measured_runs.config_of(released, seed)))
        measured_runs.write_accuracy(folder, released.iterations[:last], np.array(released.accuracies[:last]) + 0.01 * seed)
        found.append(results.read(folder))
    assert [one.is_complete for one in found] == [True, False]
    summary = results.summarise(found, "final")
    theirs = [released.accuracies[29], released.accuracies[11]]
    assert summary.released == pytest.approx(np.mean(theirs))
    assert summary.difference == pytest.approx(0.015)
    assert summary.deviation == pytest.approx(statistics.stdev([theirs[0] + 0.01, theirs[1] + 0.02]))
    assert results.summarise(found[:1], "final").deviation is None
