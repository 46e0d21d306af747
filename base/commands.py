"""Write the project's commands so that a user can paste them into a shell, without .venv activated or outside a container."""

import os
import shlex
import sys
from collections.abc import Iterable

# Environment variables that commands read and have no option for. They may be set only for the current command.
ENVIRONMENT = ("CAFFE_ENGINE", "OMP_NUM_THREADS", "PYTHONPATH")
# Environment variables that compose.yaml sets: the command that runs its services, and the service that trains.
COMPOSE_RUN, COMPOSE_TRAIN = "PRINTED_COMPOSE_RUN", "PRINTED_COMPOSE_TRAIN"


def command(module: str, arguments: Iterable[object] = ()) -> str:
    """A command line that works in the shell from which this process was started.

    Parameters
    ----------
    module : str
        The module to run, such as ``solvers.train``.
    arguments : iterable
        Its arguments, not quoted.
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
    """The path of this Python, relative to the working directory if it lies below that."""
    near = os.path.relpath(sys.executable)
    return sys.executable if near.startswith("..") else near
