"""The image, on an engine that has built it (`docker compose build train`): owners, signals, exit codes, resuming.

Every test runs the services of compose.yaml on a project folder of its own, with ResNet-44 on CIFAR-100. They take a few
minutes on two cores, hence the mark.
"""

import json
import os
import pty
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "caffe-example-weighting"
RUN = Path("runs/res44_usw/noise_0.0/seed_123")
STEPS = ("prototxt/res44_usw", "--max-iter")
CALLER = 1234  # an owner of checkouts that nothing in the image knows

pytestmark = pytest.mark.slow
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a checkout that is somebody else's")


def docker(*command: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run(["docker", *command], **{"capture_output": True, "text": True, "timeout": 300} | options)


@pytest.fixture(scope="module")
def image() -> dict:
    """What the Docker engine reports about the image."""
    try:
        found = docker("image", "inspect", IMAGE)
    except FileNotFoundError:
        pytest.skip("no docker here")
    if found.returncode:
        pytest.skip(f"no Docker engine that has the image {IMAGE}: {found.stderr.strip()}")
    return json.loads(found.stdout)[0]


class Project:
    """A folder with the mounts of compose.yaml and the files that a checkout has there."""

    def __init__(self, folder: Path, source: Path, owner: int):
        self.folder, self.owner = folder, owner
        self.name = f"test-{uuid.uuid4().hex[:8]}"
        self.environment = os.environ | {"CIFAR100_SOURCE": str(source)}
        for name in ("prototxt", "sweeps"):
            shutil.copytree(ROOT / name, folder / name)
        for name in ("data", "runs"):
            (folder / name).mkdir()
        self.chown(owner)

    def chown(self, owner: int) -> None:
        for path in (self.folder, *self.folder.rglob("*")):
            os.chown(path, owner, owner)

    def command(self, service: str, *arguments: object, options: tuple[str, ...] = ("-T",)) -> list[str]:
        return ["docker", "compose", "-f", str(ROOT / "compose.yaml"), "--project-directory", str(self.folder),
                "-p", self.name, "run", "--rm", "--name", self.name, *options, service, *map(str, arguments)]

    def run(self, service: str, *arguments: object, options: tuple[str, ...] = ("-T",)) -> subprocess.CompletedProcess:
        return subprocess.run(self.command(service, *arguments, options=options), capture_output=True, text=True,
                              timeout=300, env=self.environment)

    def start(self, *arguments: object, **streams) -> subprocess.Popen:
        """Start a training; return when it has made two steps."""
        options = () if streams else ("-T",)
        process = subprocess.Popen(self.command("train", *arguments, options=options), env=self.environment,
                                   **streams or {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True})
        before, deadline = self.rows(), time.monotonic() + 120
        while self.rows() < before + 2 and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.1)
        assert process.poll() is None, "it ended before it had made two steps"
        return process

    def rows(self) -> int:
        log = self.folder / RUN / "log.csv"
        return max(0, len(log.read_text().splitlines()) - 1) if log.exists() else 0

    def saved(self) -> int:
        """The iteration of the newest checkpoint."""
        return max(int(p.stem.rpartition("_")[2]) for p in (self.folder / RUN).glob("checkpoints1/*.solverstate"))

    def remove(self) -> None:
        docker("rm", "-f", self.name)
        docker("compose", "-f", str(ROOT / "compose.yaml"), "--project-directory", str(self.folder), "-p", self.name, "down")


@pytest.fixture
def project(image, shared, tmp_path):
    """A new project. If the tests run as root, it belongs to another user."""
    owner = CALLER if os.geteuid() == 0 else os.getuid()
    project = Project(tmp_path / "checkout", shared / "data" / "cifar-100-binary.tar.xz", owner)
    yield project
    project.remove()


@pytest.fixture(scope="module")
def prepared(image, shared, tmp_path_factory):
    """A project with prepared data; its runs are removed before each test."""
    project = Project(tmp_path_factory.mktemp("prepared") / "checkout", shared / "data" / "cifar-100-binary.tar.xz",
                      CALLER if os.geteuid() == 0 else os.getuid())
    done = project.run("prepare")
    assert done.returncode == 0, done.stdout + done.stderr
    yield project
    project.remove()


@pytest.fixture
def trainer(prepared):
    shutil.rmtree(prepared.folder / "runs" / "res44_usw", ignore_errors=True)
    yield prepared
    docker("rm", "-f", prepared.name)


def test_is_small_and_runs_as_nobody_special(image):
    assert image["Size"] < 700e6
    assert image["Config"]["User"] == "1000"


def test_has_neither_compilers_nor_tests(image):
    listed = docker("run", "--rm", IMAGE, "sh", "-c", "command -v gcc g++ cc c++ cmake nvcc pip pytest; ls")
    assert listed.stdout.split() == ["LICENSE", "README.md", "base", "data", "data_toolkit", "docker", "layers", "prototxt",
                                     "published", "runs", "solvers", "sweeps"]


def test_stop_saves_and_the_run_goes_on_outside_and_inside(trainer):
    process = trainer.start(*STEPS, 1000)
    about = json.loads(docker("inspect", trainer.name).stdout)[0]
    assert (about["Config"]["StopTimeout"], about["HostConfig"]["Init"]) == (60, True)
    health = docker("exec", trainer.name, *about["Config"]["Healthcheck"]["Test"][1:])
    assert health.returncode == 0 and f"/app/{RUN}/log.csv: iteration " in health.stdout, health

    began = time.monotonic()
    docker("stop", trainer.name)
    seconds = time.monotonic() - began
    output = process.communicate(timeout=30)[0]
    print(f"{seconds:.1f} s from SIGTERM to the end")
    assert process.returncode == 143, output
    assert "SIGTERM: stopped after iteration" in output
    assert seconds < 10
    stopped = trainer.saved()
    assert stopped == trainer.rows()
    assert {p.stat().st_uid for p in (trainer.folder / "runs").rglob("*")} == {trainer.owner}

    outside = subprocess.run(
        [sys.executable, "-m", "solvers.train", *STEPS, str(stopped + 2), "--resume", "--data", trainer.folder / "data",
         "--runs", trainer.folder / "runs"], cwd=ROOT, capture_output=True, text=True)
    assert outside.returncode == 0 and f"from iteration {stopped}\n" in outside.stdout, outside.stderr
    trainer.chown(trainer.owner)
    inside = trainer.run("train", *STEPS, stopped + 4, "--resume")
    assert inside.returncode == 0 and f"from iteration {stopped + 2}\n" in inside.stdout, inside.stderr
    assert trainer.rows() == trainer.saved() == stopped + 4


def test_ctrl_c_saves(trainer):
    terminal, end = pty.openpty()
    process = trainer.start(*STEPS, 1000, stdin=end, stdout=end, stderr=end, start_new_session=True)
    os.write(terminal, b"\x03")
    assert process.wait(timeout=60) == 130
    assert trainer.saved() == trainer.rows() >= 2


def test_runs_are_evaluated_and_compared(trainer):
    done = trainer.run("train", *STEPS, 1)
    assert done.returncode == 0 and f"next: docker compose run evaluate {RUN}\n" in done.stdout, done.stdout + done.stderr
    done = trainer.run("evaluate", RUN, options=("-T", "-e", "HOME=/nonexistent"))
    assert done.returncode == 0 and (trainer.folder / RUN / "accuracy_curve.png").exists(), done.stderr
    done = trainer.run("compare", RUN)
    assert done.returncode == 0 and "Table 1" in done.stdout, done.stdout + done.stderr


def test_a_sweep_does_what_is_missing(trainer):
    (trainer.folder / "sweeps/one.toml").write_text('max_iter = 1\n[[runs]]\nsetting = "prototxt/res44_usw"\n')
    done = trainer.run("sweep", "sweeps/one.toml")
    assert done.returncode == 0 and f"{RUN.relative_to('runs')}: done, test accuracy " in done.stdout, done.stderr
    assert trainer.run("sweep", "sweeps/one.toml").stdout == (
        "nothing to do: all runs are done; next: docker compose run compare runs\n")


def test_an_absolute_path_in_the_container_does_not_bind_the_run(trainer):
    assert trainer.run("train", *STEPS, 1, "--runs", "/app/runs").returncode == 0
    outside = subprocess.run(
        [sys.executable, "-m", "solvers.train", *STEPS, "2", "--resume", "--data", trainer.folder / "data",
         "--runs", trainer.folder / "runs"], cwd=ROOT, capture_output=True, text=True)
    assert outside.returncode == 0 and "from iteration 1\n" in outside.stdout, outside.stderr


@pytest.mark.parametrize(("arguments", "message"), [
    (("prototxt/res44_usv",), "error: "), (("prototxt/res44_usw", "--noise", "2"), "error: ")])
def test_bad_input_is_one_line_and_code_2(project, arguments, message):
    done = project.run("train", *arguments)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(message)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("name", "command"), [
    ("runs", ("train", *STEPS, 1)), ("data", ("train", *STEPS, 1)), ("data", ("prepare",))])
@as_root
def test_an_unwritable_mount_is_one_line_and_code_2(project, name, command):
    (project.folder / name).chmod(0o555)
    done = project.run(*command)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert (done.returncode, len(errors)) == (2, 1), done.stderr
    assert name in errors[0] and "ermission denied" in errors[0]
    assert "Traceback" not in done.stderr


@as_root
def test_missing_folders_are_made_for_the_owner_of_the_checkout(project):
    for name in ("data", "runs"):
        (project.folder / name).rmdir()
    done = project.run("prepare", "--seed", 5)
    assert done.returncode == 0, done.stderr
    assert {(project.folder / name).stat().st_uid for name in ("data", "runs")} == {project.owner}
    assert {p.stat().st_uid for p in (project.folder / "data").iterdir()} == {project.owner}


def test_any_user_can_be_asked_for(project):
    (project.folder / "runs").chmod(0o777)
    done = project.run("train", "--list-released", options=("-T", "--user", "4321:4321"))
    assert done.returncode == 0 and "CCE_sumW" in done.stdout, done.stderr
