"""Training with a user's own formula, from the command line and from files: run folder, resuming, mistakes."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import tiny

from layers import plot_emphasis
from prototxt import generate
from solvers import evaluate, plot_dynamics, train
from solvers.nets import losses, prototext
from solvers.nets.pycaffe import caffe
from solvers.reporting.results import Result
from solvers.runs.logs import read_log
from solvers.runs.training_set import TrainingSet
from solvers.training import options

pb = caffe.proto.caffe_pb2
DOC = Path(__file__).resolve().parents[2] / "docs/weightings.md"
FORMULA = "pow(p, 0.3) / (1 + p) * exp(-2 * p)"


def weighted(fields: str) -> str:
    """A WeightedSoftmaxWithLoss with these fields in its loss_param."""
    return tiny.WEIGHTED.replace("propagate_down: true", f"loss_param {{ {fields} }} propagate_down: true")


def logged(folder: Path) -> list[float]:
    return [step.loss for step in read_log(folder / "log.csv")]


def test_a_run_is_named_after_its_formula_and_keeps_it(setting, run, tmp_path):
    source = setting(loss=tiny.WEIGHTED)
    assert run(source, "--max-iter", 3, "--weighting", FORMULA) == 0
    folder = tmp_path / "runs/tiny_weighting_CUSTOM_formula_pow(p,0.3)%2F(1+p)*exp(-2*p)/noise_0.0/seed_123"
    config = json.loads((folder / "config.json").read_text())
    assert (config["weighting"], config["formula"], config["q"]) == ("CUSTOM", FORMULA, None)
    net = prototext.read(folder / "train.prototxt", pb.NetParameter())
    assert net.layer[-1].loss_param.formula == FORMULA
    assert Result(folder, config, None, None, (), ()).loss == f"tiny: CUSTOM, formula {FORMULA}"

    assert run(source, "--max-iter", 4, "--formula", FORMULA, "--resume") == 0
    assert [step.iteration for step in read_log(folder / "log.csv")] == [1, 2, 3, 4]
    before = logged(folder)
    assert run(source, "--max-iter", 4, "--weighting", FORMULA, "--layers", "python") == 0
    python = next((tmp_path / "runs").glob("*layers_python")) / "noise_0.0/seed_123"
    np.testing.assert_allclose(logged(python), before, rtol=1e-4)


def test_a_formula_in_the_file_and_another_when_it_is_resumed(setting, run, folder, capsys):
    source = setting(loss=weighted('weighting: CUSTOM_DN emphasis: "1 - p"'))
    assert run(source, "--max-iter", 1) == 0
    file = source / "train.prototxt"
    file.write_text(file.read_text().replace("1 - p", "p + 1"))
    assert run(source, "--max-iter", 2, "--resume") == 2
    error = capsys.readouterr().err
    assert f"cannot resume {folder}: its train.prototxt differs" in error and 'emphasis: "1 - p"' in error
    assert json.loads((folder / "config.json").read_text())["emphasis"] == "1 - p"


def test_a_long_formula_has_a_folder_of_its_own(setting, run, tmp_path):
    source = setting(loss=tiny.WEIGHTED)
    for last in "1", "2":
        run(source, "--max-iter", 1, "--emphasis", "+".join(["p"] * 90) + f"+{last}")
    names = [path.name for path in (tmp_path / "runs").iterdir()]
    assert len(names) == 2 and all(len(name) < 200 for name in names)


def test_the_literatures_weightings_train(setting, run, tmp_path):
    assert run(setting(loss=tiny.WEIGHTED), "--max-iter", 2, "--weighting", "SCE", "--set", "alpha=0.1,beta=1") == 0
    [folder] = (tmp_path / "runs").glob("*/noise_0.0/seed_123")
    assert folder.parents[1].name == "tiny_weighting_SCE_alpha_0.1_beta_1"
    config = json.loads((folder / "config.json").read_text())
    assert (config["weighting"], config["alpha"], config["beta"], config["lambda"]) == ("SCE", 0.1, 1, None)
    assert Result(folder, config, None, None, (), ()).loss == "tiny: SCE, alpha 0.1, beta 1"


@pytest.mark.parametrize(("arguments", "message"), [
    (["--weighting", "pow(p, 0.3"], 'argument --weighting: formula, character 11: expected ")", found the end\n'
                                    "    pow(p, 0.3\n              ^\n"),
    (["--emphasis", "2p"], 'argument --emphasis: formula, character 2: expected an operator, found "p"\n    2p\n     ^\n'),
    (["--formula", "__import__('os')"], "argument --formula: formula, character 1: unknown name \"__import__\""),
    (["--formula", "p", "--emphasis", "p"], "--formula and --emphasis: give one of them; each says what the weighting is"),
    (["--weighting", "p*p", "--emphasis", "p"], "--weighting and --emphasis: give one of them"),
    (["--weighting", "DM", "--beta", "4", "--set", "beta=3"], "--set beta: it is given twice"),
    (["--weighting", "DM", "--set", "beta=3,beta=5"], "argument --set: 'beta=5': beta is given twice"),
    (["--weighting", "DM", "--set", "beta=3", "--set", "beta=3"], "--set beta: it is given twice"),
    (["--weighting", "p - 0.5"], "argument --weighting: CUSTOM formula p - 0.5: c(p) is negative, -0.499, at p = 0.001; it"),
    (["--weighting", "p" * 300 + "+ 1"], "argument --weighting: formula, character 201: longer than 200 characters"),
    (["--weighting", "(" * 100 + "p"], "argument --weighting: formula, character 33: nested too deeply"),
    (["--weighting", "SCE", "--set", "alfa=1"], "'alfa=1': no weighting has a parameter 'alfa'; did you mean \"alpha\"?"),
    (["--weighting", "SCE", "--set", "alpha"], "argument --set: 'alpha': give a number, as in alpha=1"),
    (["--weighting", "SCE", "--set", "alpha=x"], "argument --set: 'x' is not a number"),
    (["--weighting", "SCE", "--set", "alpha=-1"], "layer 'loss' (WeightedSoftmaxWithLoss): alpha is -1.0; it must be"),
    (["--weighting", "FOCAL", "--set", "alpha=1"], "--set alpha=1: no layer of this net takes it (they take gamma)"),
    (["--weighting", "SCE", "--beta", "1"], "--beta 1: no layer of this net takes it"),
    (["--weighting", "CUSTOM"], "(WeightedSoftmaxWithLoss): CUSTOM needs a formula of p or an emphasis, and not both"),
    (["--weighting", "FORWARD", "--set", "rate=0.95,classes=10"], "FORWARD rate 0.95, classes 10: c(p) is negative"),
])
def test_mistakes_on_the_command_line(setting, run, capsys, tmp_path, arguments, message):
    try:
        code = run(setting(loss=tiny.WEIGHTED), *arguments)
    except SystemExit as ended:
        code = ended.code
    error = capsys.readouterr().err
    assert code == 2 and error.startswith("error: ") and message in error
    assert error.count("\n") == (3 if "formula, character" in message else 1)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("classes", "code"), [(100, 2), (10, 0)])
def test_a_weighting_that_must_know_the_number_of_classes(setting, run, capsys, classes, code):
    options = ["--weighting", "FORWARD", "--set", f"classes={classes}"]
    assert run(setting(loss=tiny.WEIGHTED), "--max-iter", 1, *options) == code
    error = capsys.readouterr().err
    assert ("'loss' scores 10 classes, but its weighting has classes: 100; write classes: 10" in error) == (code == 2)


@pytest.mark.parametrize("face", ["native", "python"])
def test_mistakes_in_a_file(setting, run, capsys, tmp_path, face):
    if face == "native":
        loss = weighted('weighting: CUSTOM formula: "pw(p, 1)"')
    else:
        loss = tiny.WEIGHTED.replace('"WeightedSoftmaxWithLoss"', '"Python" python_param { module: "layers" layer: '
                                     '"WeightedSoftmaxWithLoss" '
                                     'param_str: \'{"weighting": "CUSTOM", "formula": "pw(p, 1)"}\' }')
    assert run(setting(loss=loss)) == 2
    assert capsys.readouterr().err == (
        "error: layer 'loss' (WeightedSoftmaxWithLoss): formula, character 1: unknown name \"pw\" (there are p, pow, min, "
        'max, exp, log, log1p, sqrt, abs); did you mean "pow"?\n    pw(p, 1)\n    ^\n')
    assert not (tmp_path / "runs").exists()


def test_a_formula_for_another_weighting_is_an_error(setting, run, capsys):
    assert run(setting(loss=weighted('weighting: MAE formula: "p"'))) == 2
    assert "MAE: a formula or an emphasis is for the weighting CUSTOM, but formula is 'p'" in capsys.readouterr().err


# --- docs/weightings.md ----------------------------------------------------------------------------------------------------


def commands() -> list[list[str]]:
    """The commands in the section "Design a weighting in five minutes"."""
    section = DOC.read_text().partition("## Design a weighting in five minutes")[2].partition("\n## ")[0]
    return [shlex.split(line)[1:] for line in re.findall(r"^    \.venv/bin/(python -m .*)$", section, re.MULTILINE)]


MAINS = {"layers.plot_emphasis": plot_emphasis.main, "solvers.train": train.main, "solvers.evaluate": evaluate.main,
         "solvers.plot_dynamics": plot_dynamics.main, "prototxt.generate": generate.main}


def follow(five_minutes: list[list[str]], more: dict[str, list[str]]) -> None:
    for _, module, *arguments in five_minutes:
        assert MAINS[module]([*arguments, *more.get(module, [])]) == 0, (module, arguments)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch) -> Path:
    """An empty working directory with the settings in it."""
    (tmp_path / "prototxt").symlink_to(DOC.parents[1] / "prototxt")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CAFFE_WEIGHTING", "")
    return tmp_path


def test_five_minutes_as_far_as_they_need_no_data(elsewhere, monkeypatch):
    """Each training makes three steps on a small data set, and what is evaluated is what was trained."""
    five_minutes = commands()
    assert [module for _, module, *_ in five_minutes].count("solvers.train") == 2
    monkeypatch.setattr(TrainingSet, "prepare", lambda labels, folder: tiny.dataset())
    follow([command for command in five_minutes if command[1] != "solvers.evaluate"], {
        "solvers.train": ["--max-iter", "3", "--dynamics-interval", "1"]})
    for _, module, *arguments in five_minutes:
        if module == "solvers.evaluate":
            assert (elsewhere / arguments[0] / "config.json").is_file()
    assert {"mine.png", "emphasis.html", "mine"} < {path.name for path in elsewhere.iterdir()}
    generated = prototext.read(elsewhere / "mine/train.prototxt", pb.NetParameter())
    assert losses.weighting_of(generated.layer[-1]).parameters == {"emphasis": "0.2 + 4 * p * (1 - p)"}


@pytest.mark.slow
def test_five_minutes(elsewhere, shared, monkeypatch, capsys):
    monkeypatch.setenv("CIFAR100_SOURCE", str(shared / "data/cifar-100-binary.tar.xz"))
    follow(commands(), {})
    assert capsys.readouterr().out.count("accuracy") >= 2


def test_every_option_that_the_page_names_is_there():
    for option in set(re.findall(r"`(--[a-z]+)`", DOC.read_text())) - {"--resume"}:
        assert options.parse(["any", option, {"--set": "alpha=1"}.get(option, "1")], "")
