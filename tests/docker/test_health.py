"""The image's health check: whose logs it finds, and when a run counts as stalled."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "docker" / "health.py"


@pytest.fixture
def health():
    spec = importlib.util.spec_from_file_location("health", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(tmp_path):
    """A run's log, and a process that has it open."""
    log = tmp_path / "runs" / "log.csv"
    log.parent.mkdir()
    log.write_text("iteration,loss,lr,seconds\n1,5.3,0.1,1.0\n2,5.2,0.1,2.0\n3,5.")
    fds = tmp_path / "proc" / "17" / "fd"
    fds.mkdir(parents=True)
    (fds / "3").symlink_to(log)
    (fds / "4").symlink_to(log.with_name("dynamics.csv"))
    return tmp_path / "proc", log


@pytest.mark.parametrize(("age", "code"), [(5, 0), (599, 0), (601, 1)])
def test_a_run_without_new_rows_is_unhealthy(health, run, capsys, age, code):
    proc, log = run
    os.utime(log, (1000, 1000))
    assert health.main(proc, now=1000 + age) == code
    assert capsys.readouterr().out == f"{log}: iteration 2, {age} s ago\n"


def test_a_run_in_its_first_step(health, run, capsys):
    proc, log = run
    log.write_text("iteration,loss,lr,seconds\n")
    assert health.main(proc) == 0
    assert "iteration 0, 0 s ago" in capsys.readouterr().out


def test_nothing_that_trains_is_healthy(health, tmp_path, capsys):
    (tmp_path / "17").mkdir()  # a process whose files are not ours to see
    assert health.main(tmp_path) == 0
    assert capsys.readouterr().out == "no run is training\n"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc here")
def test_finds_the_log_that_a_process_has_open(tmp_path):
    with (tmp_path / "log.csv").open("w") as log:
        log.write("iteration\n41\n")
        log.flush()
        done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True)
    assert f"{tmp_path}/log.csv: iteration 41, 0 s ago\n" in done.stdout
