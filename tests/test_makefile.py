"""The help of make, and the arguments that it passes on."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="no make here")


def make(*arguments: str) -> str:
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_help_names_every_target():
    text = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    targets = re.search(r"^\.PHONY: (.*)", text, re.MULTILINE)[1].split()
    said = re.findall(r"^  make (\S+) +(\S.*)", make("help"), re.MULTILINE)
    assert sorted(name for name, _ in said) == sorted(targets)
    assert len(dict(said)) == len({about for _, about in said}) == len(said)


def test_one_file_is_tested_alone():
    [command] = [line for line in make("-n", "test", "ARGS=tests/layers/test_weighting.py").splitlines() if "pytest" in line]
    assert command.endswith('-m "not slow" tests/layers/test_weighting.py')


def test_without_a_file_all_are_tested():
    """pyproject.toml says which tests those are."""
    [command] = [line for line in make("-n", "test", "ARGS=-k weighting").splitlines() if "pytest" in line]
    assert command.endswith('-m "not slow" -k weighting')
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["testpaths"] == ["tests"]


def test_the_interpreter_is_the_users_choice(monkeypatch):
    monkeypatch.setenv("PYTHON", "python3.13")
    assert make("--eval=shown: ; @echo $$PYTHON", "shown").strip() == "python3.13"


@pytest.mark.parametrize(("arguments", "setting"), [
    ("", "prototxt/res44_usw "), ("--max-iter 20", "prototxt/res44_usw "), ("prototxt/res44_cce --noise 0.4", ""),
    ("--released CCE 0.4", ""), ("--max-iter 20 --released CCE 0.4", ""),
])
def test_which_setting_is_trained(arguments, setting):
    commands = make("-n", "train", f"ARGS={arguments}").split("solvers.train")
    assert commands[1].split() == (setting + arguments).split()
