"""Commands that are printed work when they are pasted into a shell, in any working directory."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from base import commands
from base.commands import command

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    """Without any of the environment variables that change the printed commands."""
    for name in (*commands.ENVIRONMENT, commands.COMPOSE_RUN, commands.COMPOSE_TRAIN):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("place", [ROOT, ROOT / "solvers", Path("/")])
def test_pasted_into_a_shell_outside_venv(place, monkeypatch):
    """The shell has neither .venv on its path nor any of our environment variables."""
    monkeypatch.chdir(place)
    done = subprocess.run(["env", "-i", "PATH=/usr/bin:/bin", "sh", "-c", command("data_toolkit.prepare", ["--help"])],
                          capture_output=True, text=True)
    assert done.returncode == 0 and "--noise-matrix" in done.stdout, done.stderr


def test_short_where_the_interpreter_is_near(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "executable", str(ROOT / ".venv/bin/python"))
    assert command("solvers.train", ["a b"]) == ".venv/bin/python -m solvers.train 'a b'"
    monkeypatch.chdir("/")
    monkeypatch.setattr(sys, "executable", "/opt/my python/bin/python")
    assert shlex.split(command("m"))[0] in ("/opt/my python/bin/python", "opt/my python/bin/python")


def test_variables_that_were_set_for_one_command_alone(monkeypatch):
    """They are printed as assignments, quoted so that the shell keeps any value."""
    monkeypatch.setenv("PYTHONPATH", "/my 'layers'")
    monkeypatch.setenv("CAFFE_ENGINE", "stock")
    code = "import os; print(os.environ['CAFFE_ENGINE'], os.environ['PYTHONPATH'])"
    text = command("m", []).replace("-m m", f"-c {shlex.quote(code)}")
    done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
    assert done.stdout == "stock /my 'layers'\n", done.stderr


def test_in_a_container_of_compose(monkeypatch):
    monkeypatch.setenv(commands.COMPOSE_RUN, "docker compose run")
    assert command("solvers.evaluate", ["runs/a b"]) == "docker compose run evaluate 'runs/a b'"
    assert command("data_toolkit.prepare") == "docker compose run prepare"
    monkeypatch.setenv("CAFFE_ENGINE", "stock")
    assert command("solvers.train") == "docker compose run -e CAFFE_ENGINE=stock train"
    monkeypatch.setenv(commands.COMPOSE_RUN, "docker compose --profile gpu run")
    monkeypatch.setenv(commands.COMPOSE_TRAIN, "train-gpu")
    assert command("solvers.train") == "docker compose --profile gpu run -e CAFFE_ENGINE=stock train-gpu"
    assert command("solvers.sweep") == "docker compose --profile gpu run -e CAFFE_ENGINE=stock sweep"


def test_compose_sets_them_and_has_a_service_for_each_command():
    compose = ROOT / "compose.yaml"
    if not compose.is_file():
        pytest.skip("not in the image")
    text = compose.read_text()
    assert re.findall(rf"{commands.COMPOSE_RUN}: (docker compose.*? run)\b", text) == [
        "docker compose run", "docker compose --profile gpu run"]
    assert re.findall(rf"{commands.COMPOSE_TRAIN}: (\S+)", text) == ["train-gpu"]
    services = set(re.findall(r"^  ([a-z-]+):$", text.partition("\nservices:")[2], re.MULTILINE))
    printed = {module.rpartition(".")[2] for file in ROOT.glob("[dlps]*/**/*.py")
               for module in re.findall(r"command\(['\"]([\w.]+)", file.read_text())}
    assert {"train", "evaluate", "compare", "sweep", "prepare"} <= printed <= services, (printed, services)
