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
from solvers.errors import SolverError
from solvers.sweep import work

CONNECT_SECONDS = 10
HERE = "127.0.0.1:0"  # dask's status pages: for this machine alone
CONFIG = {
    "distributed.scheduler.allowed-failures": 1_000_000,  # workers that die say nothing about the run: machines come and go
    "distributed.scheduler.worker-saturation": 1.0,  # a run is given to a worker when that is free, not before
    "distributed.scheduler.unknown-task-duration": "1d",  # so that each waiting run is worth a job of its own
}


class SlurmOptions(NamedTuple):
    """What --slurm says.

    Attributes
    ----------
    walltime : int
        Seconds.
    directives : dict
        All of it, by the names of sbatch's options.
    """

    walltime: int
    directives: dict[str, str]

    @property
    def margin(self) -> int:
        """Seconds before the limit at which a run saves and ends: a step, a checkpoint, and Slurm's own minute."""
        return min(300, self.walltime // 4)


# Those of sbatch's options that people are likely to give, for suggestions; others are passed on as well.
SBATCH = ("partition", "walltime", "account", "qos", "mem", "gres", "gpus", "constraint", "exclude", "nodelist", "reservation")
OURS = ("array", "cpus-per-task", "job-name", "ntasks", "output", "error", "requeue", "signal", "time", "wrap")


def slurm_options(text: str) -> SlurmOptions:
    """Read ``partition=long,walltime=1-00:00:00,gres=gpu:1``.

    Raises
    ------
    SolverError
        If it is not of this form, has no walltime, or sets what the sweep sets.
    """
    found: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not (re.fullmatch(r"[a-z][a-z-]*", name) and equals and re.fullmatch(r"[\w.:/+@&|*\[\]-]+", value)):
            raise SolverError(f"--slurm {text}: {part!r} is not of the form partition=long{did_you_mean(name, SBATCH)}")
        if name in OURS:
            raise SolverError(f"--slurm {text}: {name} is the sweep's to say" + ("; give walltime=" if name == "time" else ""))
        if name in found:
            raise SolverError(f"--slurm {text}: {name} is there twice")
        found[name] = value
    if "walltime" not in found:
        raise SolverError(f"--slurm {text}: give the time limit of a job too, e.g. walltime=1-00:00:00")
    return SlurmOptions(seconds(found["walltime"]), found)


def seconds(walltime: str) -> int:
    """Seconds of a time limit in one of Slurm's forms: minutes, MM:SS, HH:MM:SS, D-HH, D-HH:MM, D-HH:MM:SS."""
    form = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", walltime)
    if not form:
        raise SolverError(f"--slurm: walltime={walltime} is not a time limit such as 08:00:00 or 1-00:00:00")
    days, first, second, third = (int(part or 0) for part in form.groups())
    whole = form[1] is not None or form[4] is not None  # else minutes come first
    hours, minutes, rest = (first, second, third) if whole else (0, first, second)
    total = ((24 * days + hours) * 60 + minutes) * 60 + rest
    if total < 60:
        raise SolverError(f"--slurm: walltime={walltime} is less than a minute")
    return total


@contextmanager
def local(jobs: int) -> Iterator[Client]:
    """Workers in this process: a run is a process of its own anyway, so they need neither ports nor memory."""
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
        raise SolverError(f"--scheduler {address}: no scheduler answers there within {CONNECT_SECONDS} s ({error}): start one "
                          "with .venv/bin/dask scheduler, and workers with .venv/bin/dask worker") from error
    with client:
        yield client


@contextmanager
def slurm(options: SlurmOptions, jobs: int, threads: int, memory: int, logs: Path) -> Iterator[Client]:
    """Workers in Slurm's jobs, one each; a job that nears its time limit ends in peace, and another takes its place.

    Parameters
    ----------
    options : SlurmOptions
    jobs : int
        At most so many at once.
    threads : int
        Cores of a job.
    memory : int
        Bytes of a job, unless the options say mem.
    logs : Path
        Folder for what the jobs themselves print.
    """
    from dask_jobqueue import SLURMCluster  # only here: it takes as long to import as the rest of dask
    from distributed.security import Security

    if not shutil.which("sbatch"):
        raise SolverError("--slurm: there is no sbatch on this machine: run this where jobs are submitted")
    given = dict(options.directives)
    known = {"queue": given.pop("partition", None), "account": given.pop("account", None), "walltime": given.pop("walltime"),
             "job_mem": given.pop("mem", f"{math.ceil(memory / 2**20)}M")}
    # Whoever reaches a scheduler runs code as its user, and on a cluster many do: so it takes keys, made for this sweep alone.
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
    for name in "distributed", "tornado":  # what goes wrong with a connection is said by whoever needs it
        logging.getLogger(name).setLevel(logging.CRITICAL)
    client = Client(where, set_as_default=False, **options)
    client.register_plugin(work.StopChildren())
    return client
