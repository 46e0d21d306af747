"""Workers in jobs of Slurm, one in each, through dask-jobqueue."""

import asyncio
import logging
import math
import re
import shutil
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dask
from dask_jobqueue import SLURMCluster
from dask_jobqueue.slurm import SLURMJob
from distributed.core import Status
from distributed.security import Security

from base.did_you_mean import did_you_mean
from base.errors import InputError
from solvers.sweep import slurm_options, tls
from solvers.sweep.clusters import CONFIG, HERE, Workers, connect
from solvers.sweep.slurm_options import SlurmOptions

AGAIN = 60.0  # seconds until a job that sbatch has refused is submitted again


@contextmanager
def workers(options: SlurmOptions, jobs: int, threads: int, memory: int, logs: Path) -> Iterator[Workers]:
    """Workers in jobs. A job close to its time limit lets its run save, ends, and is replaced.

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
    if not shutil.which("sbatch"):
        raise InputError("--slurm: there is no sbatch on this machine: run this where jobs are submitted")
    given = dict(options.directives)
    known = {"queue": given.pop("partition", None), "account": given.pop("account", None), "walltime": given.pop("walltime"),
             "job_mem": given.pop("mem", f"{math.ceil(memory / 2**20)}M")}
    submissions = Submissions(options)
    # Anybody who can connect to a scheduler can run code as its user, and a cluster has many users. Therefore scheduler and
    # workers use TLS with keys made for this sweep only.
    logs.mkdir(parents=True, exist_ok=True)
    with dask.config.set(CONFIG), SLURMCluster(
            cores=1, processes=1, memory="1GB", job_cpu=threads, job_name="sweep", log_directory=str(logs),
            job_extra_directives=[f"--{name}={value}" for name, value in given.items()],
            worker_extra_args=["--memory-limit", "0", "--dashboard-address", HERE,
                               "--lifetime", f"{options.walltime - options.margin}s",
                               "--preload", tls.__name__, "--preload-nanny", tls.__name__],
            security=Security.temporary(), shared_temp_directory=str(logs), scheduler_options={"dashboard_address": HERE},
            silence_logs=logging.CRITICAL, job_cls=submissions.job_class(), **known) as cluster, connect(cluster) as client:
        cluster.adapt(minimum_jobs=0, maximum_jobs=jobs, interval="5s")
        try:
            yield Workers(client, submissions.news)
        finally:
            submissions.ended = True


class Submissions:
    """Submits jobs, and again those that sbatch refuses; dask-jobqueue itself would wait for these for ever.

    Parameters
    ----------
    options : SlurmOptions

    Attributes
    ----------
    ended : bool
        Whether the sweep ends, so that no more jobs are submitted.
    """

    def __init__(self, options: SlurmOptions):
        self.options, self.ended = options, False
        self._accepted, self._refusal, self._told = False, "", ""

    def news(self) -> str:
        """What sbatch said when it refused a job, once. Raises InputError if it has not accepted any."""
        refusal = self._refusal
        if refusal and not self._accepted:
            raise InputError(f"--slurm: sbatch refuses the jobs: {refusal}{self._hint()}")
        if refusal == self._told:
            return ""
        self._told = refusal
        return f"sbatch refuses a job, which is submitted again every {AGAIN:.0f} s: {refusal}" if refusal else ""

    def _hint(self) -> str:
        hints = (did_you_mean(name, slurm_options.COMMON) for name in self.options.directives
                 if name not in slurm_options.COMMON)
        return next(filter(None, hints), "")

    async def until_accepted(self, submit: Callable[[str], Awaitable[str]], script: str) -> str:
        """Submit the script in this file until sbatch accepts it; return what sbatch answered.

        Raises
        ------
        RuntimeError
            If the sweep has ended before.
        """
        while not self.ended:
            try:
                answer = await submit(script)
            except (RuntimeError, OSError) as error:  # RuntimeError: sbatch ended with an exit code other than 0
                self._refusal = _words_of(error)
            else:
                self._accepted, self._refusal = True, ""
                return answer
            for _ in range(round(AGAIN)):
                if not self.ended:
                    await asyncio.sleep(1)
        raise RuntimeError("the sweep has ended")

    def job_class(self) -> type[SLURMJob]:
        """The class of jobs for dask-jobqueue."""
        submissions = self

        class Job(SLURMJob):
            async def _submit_job(self, script_filename: str) -> str:
                try:
                    return await submissions.until_accepted(super()._submit_job, script_filename)
                except RuntimeError:
                    self.status = Status.failed  # else the cluster does not close
                    raise

        return Job


def _words_of(error: Exception) -> str:
    """What sbatch printed on stderr, in one line without its name; or the error itself."""
    printed = re.search(r"stderr:\n(.*)", str(error), re.DOTALL)
    lines = [line.removeprefix("sbatch: ").removeprefix("error: ") for line in (printed[1] if printed else "").split("\n")]
    return "; ".join(filter(None, map(str.strip, lines))) or str(error)
