"""Jobs that sbatch accepts and refuses, with an sbatch that runs the script or says no. test_slurm.py uses a real one."""

import os
import shutil
import subprocess
import time

import pytest

from base.errors import InputError
from solvers.sweep import slurm_jobs, slurm_options

WORDS = "Batch job submission failed: Invalid partition name specified"
REFUSE = f'echo "sbatch: error: {WORDS}" >&2; exit 1\n'
ACCEPT = 'setsid bash -c "$(cat "$1")" >/dev/null 2>&1 & echo "Submitted batch job $$"\n'  # the script is removed soon


@pytest.fixture
def sbatch(tmp_path, monkeypatch):
    """Makes an sbatch of a script's text."""
    programs = tmp_path / "programs"
    programs.mkdir()

    def make(text: str) -> None:
        for name, script in {"sbatch": text, "scancel": ""}.items():
            (programs / name).write_text(f"#!/bin/bash\n{script}")
            (programs / name).chmod(0o755)

    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return make


def workers(tmp_path, options: str):
    return slurm_jobs.workers(slurm_options.parse(options), 2, 1, 1 << 28, tmp_path / "logs")


def test_a_job_that_is_refused_is_submitted_again(tmp_path, sbatch, monkeypatch):
    """Of three submissions, the second is refused: two tasks that wait for each other end nevertheless, in a job each."""
    monkeypatch.setattr(slurm_jobs, "AGAIN", 3)
    sbatch(f"if ! mkdir {tmp_path}/first 2>&- && mkdir {tmp_path}/second 2>&-; then sleep 1; {REFUSE}fi\n{ACCEPT}")
    wait = f"echo >> {tmp_path}/begun; until [ $(wc -l < {tmp_path}/begun) = 2 ]; do sleep 0.1; done"
    told = []
    with workers(tmp_path, "walltime=10,partition=long") as (client, news):
        tasks = [client.submit(subprocess.call, ["bash", "-c", wait], key=f"task {number}") for number in range(2)]
        while not all(task.done() for task in tasks):
            told.append(news())
            time.sleep(0.05)
        assert [task.result() for task in tasks] == [0, 0]
    assert list(filter(None, told)) == [f"sbatch refuses a job, which is submitted again every 3 s: {WORDS}"]


@pytest.mark.parametrize(("options", "hint"), [("walltime=10,partition=lnog", ""), ("walltime=10,partion=long", "partition")])
def test_no_job_is_accepted(place, sbatch, options, hint):
    sbatch(REFUSE)
    done = place.run("--slurm", options, "--threads", 1)
    assert done.returncode == 2
    hint = f'; did you mean "{hint}"?' if hint else ""
    assert done.stderr == f"error: --slurm: sbatch refuses the jobs: {WORDS}{hint}\n"


def test_no_sbatch(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(InputError, match="there is no sbatch on this machine"), workers(tmp_path, "walltime=10"):
        pass
