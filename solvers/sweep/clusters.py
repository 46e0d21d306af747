"""Where the runs of a sweep are made: on this machine, by workers of a dask scheduler, or in jobs of Slurm."""

import logging
import math
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import dask
from distributed import Client, LocalCluster

from base.did_you_mean import did_you_mean
from base.errors import InputError
from solvers.sweep import work

CONNECT_SECONDS = 10
HERE = "127.0.0.1:0"  # address of dask's status pages: this machine only
CONFIG = {
    "distributed.scheduler.allowed-failures": 1_000_000,  # a run is not to blame if its worker's machine goes away
    "distributed.scheduler.worker-saturation": 1.0,  # give a run to a worker only when the worker is free
    "distributed.scheduler.unknown-task-duration": "1d",  # long, so that dask starts a job for each waiting run
}


class SlurmOptions(NamedTuple):
    """The options given with --slurm.

    Attributes
    ----------
    walltime : int
        The time limit of a job in seconds.
    directives : dict
        All options, walltime included, by the names of sbatch's options.
    """

    walltime: int
    directives: dict[str, str]

    @property
    def margin(self) -> int:
        """How many seconds before the limit a run must save and end: enough for a step, a checkpoint and Slurm itself."""
        return min(300, self.walltime // 4)


# Common options of sbatch, for suggestions after a typing mistake. Other options are passed on as well.
SBATCH = ("partition", "walltime", "account", "qos", "mem", "gres", "gpus", "constraint", "exclude", "nodelist", "reservation")
OURS = ("array", "cpus-per-task", "job-name", "ntasks", "output", "error", "requeue", "signal", "time", "wrap")


def slurm_options(text: str) -> SlurmOptions:
    """Read ``partition=long,walltime=1-00:00:00,gres=gpu:1``.

    Raises
    ------
    InputError
        If the text is not of this form, has no walltime, or contains an option that the sweep sets itself.
    """
    found: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not (re.fullmatch(r"[a-z][a-z-]*", name) and equals and re.fullmatch(r"[\w.:/+@&|*\[\]-]+", value)):
            raise InputError(f"--slurm {text}: {part!r} is not of the form partition=long{did_you_mean(name, SBATCH)}")
        if name in OURS:
            raise InputError(f"--slurm {text}: {name} is set by the sweep" + ("; give walltime=" if name == "time" else ""))
        if name in found:
            raise InputError(f"--slurm {text}: {name} is there twice")
        found[name] = value
    if "walltime" not in found:
        raise InputError(f"--slurm {text}: give the time limit of a job too, e.g. walltime=1-00:00:00")
    return SlurmOptions(seconds(found["walltime"]), found)


def seconds(walltime: str) -> int:
    """Seconds of a time limit in one of Slurm's forms: minutes, MM:SS, HH:MM:SS, D-HH, D-HH:MM, D-HH:MM:SS."""
    form = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", walltime)
    if not form:
        raise InputError(f"--slurm: walltime={walltime} is not a time limit such as 08:00:00 or 1-00:00:00")
    days, first, second, third = (int(part or 0) for part in form.groups())
    whole = form[1] is not None or form[4] is not None  # hours come first, otherwise minutes
    hours, minutes, rest = (first, second, third) if whole else (0, first, second)
    total = ((24 * days + hours) * 60 + minutes) * 60 + rest
    if total < 60:
        raise InputError(f"--slurm: walltime={walltime} is less than a minute")
    return total


@contextmanager
def local(jobs: int) -> Iterator[Client]:
    """Workers as threads of this process. Each run is a separate process anyway, so this needs neither ports nor memory."""
    with dask.config.set(CONFIG), LocalCluster(
            n_workers=jobs, threads_per_worker=1, processes=False, dashboard_address=HERE, worker_dashboard_address=HERE,
            memory_limit=0, silence_logs=logging.CRITICAL) as cluster, _client(cluster) as client:
        yield client


@contextmanager
def existing(address: str) -> Iterator[Client]:
    """The workers of a scheduler that somebody started: `dask scheduler`, `dask worker ADDRESS`."""
    try:
        client = _client(address, timeout=CONNECT_SECONDS)
    except (OSError, TimeoutError, ValueError) as error:
        raise InputError(f"--scheduler {address}: no scheduler answers there within {CONNECT_SECONDS} s ({error}): start one "
                         "with .venv/bin/dask scheduler, and workers with .venv/bin/dask worker") from error
    with client:
        yield client


@contextmanager
def slurm(options: SlurmOptions, jobs: int, threads: int, memory: int, logs: Path) -> Iterator[Client]:
    """Workers in jobs of Slurm, one in each. A job close to its time limit lets its run save, ends, and is replaced.

    Parameters
    ----------
    options : SlurmOptions
    jobs : int
        The largest number of jobs at once.
    threads : int
        The cores of a job.
    memory : int
        The memory of a job in bytes, unless the options contain mem.
    logs : Path
        The folder for the output of the jobs themselves.
    """
    from dask_jobqueue import SLURMCluster  # imported only here: it takes as long as the rest of dask
    from distributed.security import Security

    if not shutil.which("sbatch"):
        raise InputError("--slurm: there is no sbatch on this machine: run this where jobs are submitted")
    given = dict(options.directives)
    known = {"queue": given.pop("partition", None), "account": given.pop("account", None), "walltime": given.pop("walltime"),
             "job_mem": given.pop("mem", f"{math.ceil(memory / 2**20)}M")}
    # Anybody who can connect to a scheduler can run code as its user, and a cluster has many users. Therefore scheduler and
    # workers use TLS with keys made for this sweep only.
    logs.mkdir(parents=True, exist_ok=True)
    with dask.config.set(CONFIG), SLURMCluster(
            cores=1, processes=1, memory="1GB", job_cpu=threads, job_name="sweep", log_directory=str(logs),
            job_extra_directives=[f"--{name}={value}" for name, value in given.items()],
            worker_extra_args=["--memory-limit", "0", "--dashboard-address", HERE,
                               "--lifetime", f"{options.walltime - options.margin}s"],
            security=Security.temporary(), shared_temp_directory=str(logs), scheduler_options={"dashboard_address": HERE},
            silence_logs=logging.CRITICAL, **known) as cluster, _client(cluster) as client:
        cluster.adapt(minimum_jobs=0, maximum_jobs=jobs, interval="5s")
        yield client


def _client(where: object, **options: object) -> Client:
    for name in "distributed", "tornado":  # our own code reports failed connections
        logging.getLogger(name).setLevel(logging.CRITICAL)
    client = Client(where, set_as_default=False, **options)
    client.register_plugin(work.StopChildren())
    return client
