"""Sweep files: each combination is a run, globs name what they match, and errors name file and key."""

import itertools
import os
import textwrap
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from base.errors import InputError
from solvers.nets import losses
from solvers.reporting.released_runs import load_runs
from solvers.sweep import planned, runs_file
from solvers.training import options

SWEEPS = Path(__file__).resolve().parents[3] / "sweeps"


@pytest.fixture
def read(tmp_path):
    """A function that reads a sweep file of this content."""
    def read(text: str) -> list[runs_file.Entry]:
        file = tmp_path / "sweep.toml"
        file.write_text(text)
        return runs_file.read(file)
    return read


VALUES = {
    "noise": st.floats(0, 1), "seed": st.integers(0, 2**32 - 1), "beta": st.floats(-100, 100), "lambda": st.floats(0, 100),
    "q": st.floats(0, 10), "max_iter": st.integers(1, 2**31 - 1), "noise_type": st.sampled_from(["symmetric", "pair_flip"]),
    "layers": st.sampled_from(["native", "python"]), "setting": st.sampled_from(["prototxt/res44_usw", "my/net"]),
}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(VALUES)), st.data(), max_size=4), st.data(), st.booleans())
def test_each_combination_is_one_run(read, keys, data, in_common):
    grid = {key: data.draw(st.lists(VALUES[key], min_size=1, max_size=3, unique=True)) for key in {**keys, "setting": None}}
    lines = {key: f"{key} = {values!r}" for key, values in grid.items()}
    common = [lines.pop(key) for key in list(lines)[::2]] if in_common else []
    entries = read("\n".join([*common, "[[runs]]", *lines.values()]))
    found = [options.parse(entry.arguments, "") for entry in entries]
    told = [tuple(str(getattr(args, key)) if key == "setting" else getattr(args, key) for key in grid) for args in found]
    assert sorted(told) == sorted(itertools.product(*grid.values()))


def test_the_grid_comes_before_what_is_said_for_all(read):
    [entry] = read('seed = 1\nnoise = 0.2\n[[runs]]\nsetting = "x"\nseed = 2')
    args = options.parse(entry.arguments, "")
    assert (args.seed, args.noise) == (2, 0.2)


def test_a_list_of_what_a_run_may_have_several_of_is_no_grid(read):
    [entry] = read('[[runs]]\nsetting = "x"\nallow_path = ["a", "b"]')
    assert options.parse(entry.arguments, "").allow_path == [Path("a"), Path("b")]


def test_the_example_in_the_guide(read, tmp_path):
    text = (SWEEPS.parent / "docs/sweeps.md").read_text().split("## Sweep files", 1)[1].split("The keys are", 1)[0]
    runs = planned.plan(read(textwrap.dedent(text)), tmp_path / "runs", tmp_path / "data")
    assert len(runs) == 11 * 2 * 2 + 2 + 3 and {run.plan.solver.max_iter for run in runs} == {20}


def test_the_order_of_parameters_makes_no_other_run(read, tmp_path):
    for values in '["lambda=1,beta=2", "beta=2,lambda=1"]', '["lambda=1.0,beta=2", "lambda=1,beta=2.0"]':
        with pytest.raises(InputError, match="res44_usw_beta_2_lambda_1/noise_0.0/seed_123 is there twice"):
            planned.plan(read(f'[[runs]]\nsetting = "prototxt/res44_usw"\nset = {values}'), tmp_path, tmp_path)


def test_two_files_of_the_same_name_make_the_same_run(read, tmp_path):
    files = [tmp_path / folder / "own.npz" for folder in "ab"]
    for file in files:
        file.parent.mkdir()
        file.touch()
    with pytest.raises(InputError, match=f"data_own/seed_123 is there twice.*from {files[0]}.: rename {files[1]}, since"):
        planned.plan(read(f'[[runs]]\nsetting = "prototxt/res44_usw"\ntrain_data = {[str(file) for file in files]}'),
                     tmp_path / "runs", tmp_path)


def test_an_option_without_a_value_is_true_or_false(read):
    found = [options.parse(entry.arguments, "") for entry in read(
        '[[runs]]\nsetting = "x"\nunconfined = true\ninexact_resume = [true, false]')]
    assert [(args.unconfined, args.inexact_resume) for args in found] == [(True, True), (True, False)]


@pytest.mark.parametrize(("pattern", "fits"), [
    ("*", lambda run: True),
    ("* 0.4", lambda run: run.noise == 0.4),
    ("cce *", lambda run: run.setting == "res44_cce"),
    ("res44_gce* 0.[26]", lambda run: run.setting in ("res44_gce", "res44_gce_dn") and run.noise in (0.2, 0.6)),
    ("lambda0_5/USW_Beta08* 0.4", lambda run: (run.lam, run.beta, run.noise) == (0.5, 8, 0.4)),
    ("train_Res44_MAE_0.0", lambda run: (run.setting, run.noise) == ("res44_mae", 0)),
    ("CCE-DN 0.4", lambda run: (run.setting, run.noise) == ("res44_cce_dn", 0.4)),
])
def test_released_runs_by_name_and_glob(read, pattern, fits):
    entries = read(f'[[runs]]\nreleased = "{pattern}"')
    told = [planned_run.plan for planned_run in planned.plan(entries, Path("runs"), Path("data"))]
    found = [(losses.in_use(plan.setting.net_param), plan.setting.name, plan.training_set.rate) for plan in told]
    expected = [run for run in load_runs() if fits(run)]
    assert len(found) == len(expected)
    for run in expected:
        assert any(name == run.setting and rate == run.noise and run.beta in (None, values["beta"])
                   and run.lam in (None, values["lambda"]) for values, name, rate in found)


def test_globs_may_overlap(read):
    assert len(read('[[runs]]\nreleased = ["CCE 0.4", "CCE *", "* 0.4"]')) == 4 + 12 - 1


def test_a_glob_of_settings_names_the_folders_with_solvers(read):
    found = {entry.arguments[0] for entry in read('[[runs]]\nsetting = "prototxt/*"')}
    assert {f"prototxt/{run.setting}" for run in load_runs()} == found


@pytest.mark.parametrize(("name", "runs"), [("table1", 48), ("smoke", 2), ("seeds", 10)])
def test_the_sweeps_that_come_with_it(name, runs):
    entries = runs_file.read(SWEEPS / f"{name}.toml")
    assert len(planned.plan(entries, Path("runs"), Path("data"))) == runs


@pytest.mark.parametrize(("text", "message"), [
    ("", "it names no runs: write [[runs]]"),
    ("runs = 3", "it names no runs"),
    ("[[runs]", "is not TOML"),
    ('[[runs]]\nnoise = 0.4', "[[runs]] 1: it has neither setting nor released"),
    ('[[runs]]\nsetting = "x"\nbta = 8', "[[runs]] 1: there is no option 'bta'; did you mean \"beta\"? (one of setting, "),
    ('[[runs]]\nsetting = "x"\nnoise-type = "symmetric"', 'there is no option \'noise-type\'; did you mean "noise_type"?'),
    ('sed = 1\n[[runs]]\nsetting = "x"', "sweep.toml: there is no option 'sed'; did you mean \"seed\"?"),
    ('[[runs]]\nsetting = "x"\n[[runs]]\nsetting = "x"\nnoise = 1.5', "[[runs]] 2: noise: 1.5 is not a rate from 0 to 1"),
    ('[[runs]]\nsetting = "x"\nnoise = true', "noise: expected text, a number or a list of them, found True"),
    ('[[runs]]\nsetting = "x"\nunconfined = 1', "unconfined: expected true or false, found 1"),
    ('[[runs]]\nsetting = "x"\nseed = []', "seed is an empty list, which makes no run"),
    ('[[runs]]\nsetting = "x"\nnoise_type = "asymetric"', 'noise_type: invalid choice: \'asymetric\''),
    ('[[runs]]\nsetting = "x"\nnoise_type = "asymetric"', 'did you mean "asymmetric"?'),
    ('[[runs]]\nsetting = "x"\nweighting = "GCEE"', 'weighting: unknown weighting \'GCEE\'; did you mean "GCE"?'),
    ('[[runs]]\nsetting = "x"\nresume = 1', "resume does not belong in a sweep file"),
    ('[[runs]]\nreleased = "CCX 0.4"', "released CCX: no released run has this name; did you mean"),
    ('[[runs]]\nreleased = "CXE* 0.4"', "released: no released run matches 'CXE* 0.4'; did you mean"),
    ('[[runs]]\nreleased = "CCE 0.4"\nnoise = 0.2', "released says what the run is: leave out noise 0.2"),
    ('[[runs]]\nreleased = "CCE"', "released CCE: give the noise too"),
    ('[[runs]]\nsetting = "x"\nseed = 0x' + "f" * 5000, "seed: Exceeds the limit"),
    ('[[runs]]\nsetting = "x"\nseed = [' + "1, " * 200 + "]\nnoise = [" + "0.1, " * 200 + "]", "it makes 40000 runs; at most"),
    ('[[runs]]\nsetting = "a\\u001bb"', "control the terminal"),
    ('[[runs]]\nsetting = "x"\nx = ' + "[" * 100_000, "is not TOML"),
    ('[[runs]]\nsetting = "prototxt/nothing*"', "setting: no folder with a solver matches 'prototxt/nothing*'"),
])
def test_bad_files(read, text, message):
    with pytest.raises(InputError) as error:
        read(text)
    assert message in str(error.value) and "sweep.toml" in str(error.value)


def test_pipes_and_devices_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for file in tmp_path / "pipe", Path("/dev/zero"):
        with pytest.raises(InputError, match="cannot read .*not a regular file"):
            runs_file.read(file)


def test_no_such_file(tmp_path):
    (tmp_path / "table1.toml").touch()
    with pytest.raises(InputError, match='there is no sweep file .*; did you mean "table1.toml"?'):
        runs_file.read(tmp_path / "tabel1.toml")


@pytest.mark.parametrize(("text", "message"), [
    ('[[runs]]\nsetting = "prototxt/res44_usv"', 'runs]] 1: there is no folder prototxt/res44_usv; did you mean "res44_usw"?'),
    ('[[runs]]\nsetting = "prototxt/res44_usw"\nweighting = "GCE"', "no layer of this net takes it"),
    ('[[runs]]\nsetting = "prototxt/res44_usw"\nseed = [1, 1]', "the run res44_usw/noise_0.0/seed_1 is there twice"),
    ('[[runs]]\nreleased = "CCE 0.4"\n[[runs]]\nsetting = "prototxt/res44_cce"\nnoise = 0.4',
     "[[runs]] 2: the run res44_cce/noise_0.4/seed_123 is there twice; the first time in"),
    ('[[runs]]\nsetting = "prototxt/res44_usw"\nbatch = 12', "[[runs]] 1: --batch 12: a batch is 8 images of each of"),
])
def test_bad_runs(read, text, message):
    with pytest.raises(InputError) as error:
        planned.plan(read(text), Path("runs"), Path("data"))
    assert message in str(error.value)
