"""The entrypoint: the user as whom a command runs; its exit code and arguments are passed on."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "docker" / "entrypoint.sh"
WHO = ["sh", "-c", "echo $(id -u):$(id -g)"]
as_root = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root may become somebody else")


@pytest.fixture
def app(tmp_path):
    """A function that lays out /app with folders of the given owners, and runs the entrypoint there."""
    def run(*command: str, **owners: int) -> subprocess.CompletedProcess:
        for name in ("docker", "data", "runs", "prototxt"):
            (tmp_path / name).mkdir(exist_ok=True)
            if name in owners:
                os.chown(tmp_path / name, owners[name], owners[name])
        shutil.copy(SCRIPT, tmp_path / "docker")
        return subprocess.run([tmp_path / "docker" / "entrypoint.sh", *command], capture_output=True, text=True)
    return run


def test_arguments_and_exit_code_pass_through(app):
    done = app("sh", "-c", 'printf "%s|" "$@"; exit 7', "sh", "a b", "", "*")
    assert (done.stdout, done.returncode) == ("a b||*|", 7), done.stderr


@as_root
def test_runs_as_the_owner_of_the_runs(app):
    assert app(*WHO, data=1234, runs=1234, prototxt=1234).stdout == "1234:1234\n"


@as_root
def test_folders_that_docker_made_get_the_owner_of_the_checkout(app, tmp_path):
    assert app(*WHO, data=0, runs=0, prototxt=1234).stdout == "1234:1234\n"
    assert {(tmp_path / name).stat().st_uid for name in ("data", "runs")} == {1234}


@as_root
def test_folders_of_others_are_left_alone(app, tmp_path):
    assert app(*WHO, data=77, runs=1234, prototxt=55).stdout == "1234:1234\n"
    assert [(tmp_path / name).stat().st_uid for name in ("data", "runs", "prototxt")] == [77, 1234, 55]


@as_root
def test_a_checkout_of_root_runs_as_root(app):
    assert app(*WHO, data=0, runs=0, prototxt=0).stdout == "0:0\n"


@as_root
def test_a_command_that_is_not_there_is_said(app):
    done = app("no-such-command", data=1234, runs=1234)
    assert done.returncode == 127 and "no-such-command" in done.stderr
