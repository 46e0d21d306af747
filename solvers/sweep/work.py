"""What a worker does: train a run in a process of its own, then evaluate it. It needs neither Caffe nor memory for that."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from dask.system import CPU_COUNT
from distributed import Worker, WorkerPlugin, get_worker

from base import files

ROOT = Path(__file__).resolve().parents[2]
MARK = ".sweep"  # in the folder of all runs; who reads the same text in it sees the same folder
OUTPUT = "output.log"  # in a run's folder: what its processes print
STARTED = "started"
TAIL = 1 << 20  # bytes of OUTPUT, in which the last words are found


class Task(NamedTuple):
    """A run as its worker gets it.

    Attributes
    ----------
    sweep : str
        Tells the tasks of one command from those of others.
    run : str
        Its name.
    root, cwd, runs, folder : str
        Checkout, working directory, folder of all runs and of this one: absolute, and the same on all machines.
    mark : str
        What the file MARK in `runs` says.
    train, evaluate : tuple of str
        Arguments of these commands.
    threads : int or None
        That it computes on; None for all that the worker has.
    gpus : tuple of str
        Of which the worker takes the one of its number.
    """

    sweep: str
    run: str
    root: str
    cwd: str
    runs: str
    folder: str
    mark: str
    train: tuple[str, ...]
    evaluate: tuple[str, ...]
    threads: int | None
    gpus: tuple[str, ...]


class Ended(NamedTuple):
    """How a task ended.

    Attributes
    ----------
    code : int
        0 if the run is trained and evaluated.
    words : str
        The last that was printed, otherwise.
    stopped : bool
        Whether somebody stopped it, so that it says nothing about the run.
    misplaced : bool
        Whether this worker cannot do any run of the sweep.
    """

    code: int
    words: str = ""
    stopped: bool = False
    misplaced: bool = False


class Children:
    """The processes that tasks of this worker wait for, and the sweeps that are to end."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.processes: dict[subprocess.Popen, str] = {}
        self.ending: set[str] = set()

    def run(self, sweep: str, command: Iterable[str], output: Path, cwd: str, environment: dict[str, str]) -> int | None:
        """Run a command to its end; return its exit code, or None if the sweep ends and it was not started."""
        leash = [sys.executable, "-m", "solvers.sweep.leash", str(os.getpid()), *command]
        with open(files.open_in(output.parent, output.name, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab") as file:
            with self.lock:
                if sweep in self.ending:
                    return None
                # A session of its own: Ctrl-C on the terminal, or Slurm, shall reach it once only, through this process.
                process = subprocess.Popen(leash, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                                           start_new_session=True)
                self.processes[process] = sweep
            try:
                return process.wait()
            finally:
                with self.lock:
                    del self.processes[process]

    def stop(self, sweep: str | None = None) -> None:
        """Let the processes of a sweep, or all, save and end, and start no more of its tasks."""
        with self.lock:
            for process, its_sweep in self.processes.items():
                if sweep in (its_sweep, None) and its_sweep not in self.ending:
                    process.send_signal(signal.SIGTERM)  # solvers.sweep.leash passes it on
            self.ending |= set(self.processes.values()) if sweep is None else {sweep}


children = Children()


class StopChildren(WorkerPlugin):
    """When a worker ends in peace (its lifetime is over, or its scheduler is gone), its processes save first."""

    name = "solvers.sweep"

    async def teardown(self, worker: Worker) -> None:
        children.stop()
        while children.processes:
            await asyncio.sleep(0.1)


def stop(sweep: str) -> None:
    """Called on each worker to end a sweep."""
    children.stop(sweep)


def work(task: Task) -> Ended:
    """Train and evaluate a run. Waits for the run's lock: a process whose worker was killed takes a moment to save."""
    if where := misplaced(task):
        return Ended(2, where, misplaced=True)
    worker = get_worker()
    worker.log_event(task.sweep, {"action": STARTED, "run": task.run, "host": socket.gethostname()})
    threads = task.threads or max(1, CPU_COUNT // worker.state.nthreads)
    environment = os.environ | {f"{library}_NUM_THREADS": str(threads) for library in ("OMP", "OPENBLAS")}
    Path(task.folder).mkdir(parents=True, exist_ok=True)
    output = Path(task.folder, OUTPUT)
    gpu = ("--gpu", task.gpus[number(worker.name) % len(task.gpus)]) if task.gpus else ()
    begin = output.stat().st_size if output.exists() else 0
    for module, arguments in ("train", (*task.train, "--resume", "--wait", *gpu)), ("evaluate", task.evaluate):
        code = children.run(task.sweep, [sys.executable, "-m", f"solvers.{module}", *arguments], output, task.cwd, environment)
        if code is None or task.sweep in children.ending and code:
            return Ended(code or 143, stopped=True)
        if code:
            return Ended(code, last_words(output, begin, module, code))
    return Ended(0)


def misplaced(task: Task) -> str:
    """Why this worker cannot do the runs of a sweep; "" if it can."""
    here = f"the worker on {socket.gethostname()}"
    if str(ROOT) != task.root:
        return f"{here} runs the checkout {ROOT}, the sweep {task.root}: start it with {task.root}/.venv/bin/dask"
    try:
        mark = files.read(Path(task.runs, MARK)).decode()
    except OSError as error:
        return f"{here} does not see {task.runs} ({error.strerror}): runs need a file system that all workers share"
    if mark != task.mark:
        return f"{here} sees another {task.runs} than this machine: runs need a file system that all workers share"
    return "" if Path(task.cwd).is_dir() else f"{here} does not see the working directory {task.cwd}"


def number(name: object) -> int:
    """The number of a worker; those of a LocalCluster are called 0, 1, ..."""
    return int(name) if str(name).isdecimal() else 0


def last_words(output: Path, begin: int, module: str, code: int) -> str:
    """What a process printed last, after `begin` bytes of the file, and how it ended."""
    with open(files.open_in(output.parent, output.name), "rb") as file:
        file.seek(max(begin, os.fstat(file.fileno()).st_size - TAIL))
        lines = file.read().decode(errors="replace").replace("\r", "\n").strip().splitlines()
    ended = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return f"{lines[-1].strip() if lines else 'nothing printed'} (solvers.{module}, {ended})"
