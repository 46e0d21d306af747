"""The project's commands as a user can paste them: outside .venv, and outside the container that a command runs in."""

import os
import shlex
import sys
from collections.abc import Iterable

# What a command reads from the environment and has no option for; it may have been set for that one command alone.
ENVIRONMENT = ("CAFFE_ENGINE", "OMP_NUM_THREADS", "PYTHONPATH")
# Set in compose.yaml: how its services are run, and which of them trains.
COMPOSE_RUN, COMPOSE_TRAIN = "PRINTED_COMPOSE_RUN", "PRINTED_COMPOSE_TRAIN"


def command(module: str, arguments: Iterable[object] = ()) -> str:
    """A command line that works where this process was started.

    Parameters
    ----------
    module : str
        Such as ``solvers.train``.
    arguments : iterable
        Not yet quoted.
    """
    settings = [f"{name}={shlex.quote(os.environ[name])}" for name in ENVIRONMENT if name in os.environ]
    if compose := os.environ.get(COMPOSE_RUN):
        service = module.rpartition(".")[2]
        if service == "train":
            service = os.environ.get(COMPOSE_TRAIN) or service
        words = [compose, *(f"-e {setting}" for setting in settings), service]
    else:
        words = [*settings, shlex.quote(interpreter()), "-m", module]
    return " ".join([*words, *(shlex.quote(str(argument)) for argument in arguments)])


def interpreter() -> str:
    """The path of this Python, as short as it is from the working directory."""
    near = os.path.relpath(sys.executable)
    return sys.executable if near.startswith("..") else near
