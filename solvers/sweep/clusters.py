"""Where the runs of a sweep are made: on this machine, or by the workers of a dask scheduler (in jobs: slurm_jobs.py)."""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import dask
from distributed import Client, LocalCluster

from base.errors import InputError
from solvers.sweep import tls, work  # noqa: F401 (tls: its import mends TLS)

CONNECT_SECONDS = 10
HERE = "127.0.0.1:0"  # address of dask's status pages: this machine only
CONFIG = {
    "distributed.scheduler.allowed-failures": 1_000_000,  # a run is not to blame if its worker's machine goes away
    "distributed.scheduler.worker-saturation": 1.0,  # give a run to a worker only when the worker is free
    "distributed.scheduler.unknown-task-duration": "1d",  # long, so that dask starts a job for each waiting run
}


class Workers(NamedTuple):
    """The connection to the workers.

    Attributes
    ----------
    client : distributed.Client
    news : function
        Returns what the user should know about workers that do not come, in a line, once; "" if there is nothing new. Raises
        InputError if none will come.
    """

    client: Client
    news: Callable[[], str] = lambda: ""


@contextmanager
def local(jobs: int) -> Iterator[Workers]:
    """Workers as threads of this process. Each run is a separate process anyway, so this needs neither ports nor memory."""
    with dask.config.set(CONFIG), LocalCluster(
            n_workers=jobs, threads_per_worker=1, processes=False, dashboard_address=HERE, worker_dashboard_address=HERE,
            memory_limit=0, silence_logs=logging.CRITICAL) as cluster, connect(cluster) as client:
        yield Workers(client)


@contextmanager
def existing(address: str) -> Iterator[Workers]:
    """The workers of a scheduler that somebody started: `dask scheduler`, `dask worker ADDRESS`."""
    if not re.fullmatch(r"(tcp|tls)://([\w.-]+|\[[\w:.%]+\]):[0-9]{1,5}", address):
        raise InputError(f"--scheduler {address}: this is not an address of the form tcp://HOST:8786; dask scheduler prints "
                         "its own when it starts")
    try:
        client = connect(address, timeout=CONNECT_SECONDS)
    except (OSError, TimeoutError, ValueError) as error:
        raise InputError(f"--scheduler {address}: no scheduler answers there within {CONNECT_SECONDS} s ({error}): start one "
                         "with .venv/bin/dask scheduler, and workers with .venv/bin/dask worker") from error
    with client:
        yield Workers(client)


def connect(where: object, **options: object) -> Client:
    """A client of a dask cluster, or of the scheduler at an address."""
    for name in "distributed", "tornado":  # our own code reports failed connections
        logging.getLogger(name).setLevel(logging.CRITICAL)
    client = Client(where, set_as_default=False, **options)
    client.register_plugin(work.StopChildren())
    return client
