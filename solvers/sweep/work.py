"""The work of a worker: train a run in a separate process, then evaluate it. The worker itself does not load Caffe."""

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
MARK = ".sweep"  # a file in the folder of all runs: a machine that reads the same text in it sees the same folder
OUTPUT = "output.log"  # a file in a run's folder: the output of its processes
STARTED = "started"
TAIL = 1 << 20  # bytes at the end of OUTPUT in which the last line is searched


class Task(NamedTuple):
    """The data that a worker gets to do a run.

    Attributes
    ----------
    sweep : str
        The name of the sweep: unique for each call of the command.
    run : str
        The name of the run.
    root, cwd, runs, folder : str
        Checkout, working directory, folder of all runs and folder of this run: absolute, and the same on all machines.
    mark : str
        The text of the file MARK in `runs`.
    train, evaluate : tuple of str
        The arguments of these commands.
    threads : int or None
        The threads of the run; None for all that the worker has.
    gpus : tuple of str
        Devices; the worker takes the one at its own number.
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
        Otherwise the last line that was printed.
    stopped : bool
        Whether the task was stopped from outside, which is no failure of the run.
    misplaced : bool
        Whether this worker cannot do any run of the sweep.
    """

    code: int
    words: str = ""
    stopped: bool = False
    misplaced: bool = False


class Children:
    """The processes that this worker's tasks have started, and the sweeps that were told to end."""

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
                # In a new session: a signal of the terminal or of Slurm must reach it only once, through this process.
                process = subprocess.Popen(leash, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                                           start_new_session=True)
                self.processes[process] = sweep
            try:
                return process.wait()
            finally:
                with self.lock:
                    del self.processes[process]

    def stop(self, sweep: str | None = None) -> None:
        """Tell the processes of a sweep, or of all sweeps, to save and end, and start no further tasks of it."""
        with self.lock:
            for process, its_sweep in self.processes.items():
                if sweep in (its_sweep, None) and its_sweep not in self.ending:
                    process.send_signal(signal.SIGTERM)  # solvers.sweep.leash passes it on
            self.ending |= set(self.processes.values()) if sweep is None else {sweep}


children = Children()


class StopChildren(WorkerPlugin):
    """Lets the processes of a worker save when the worker ends regularly: at the end of its lifetime, or of its scheduler."""

    name = "solvers.sweep"

    async def teardown(self, worker: Worker) -> None:
        children.stop()
        while children.processes:
            await asyncio.sleep(0.1)


def stop(sweep: str) -> None:
    """Tell this worker to end a sweep. Called on each worker."""
    children.stop(sweep)


def work(task: Task) -> Ended:
    """Train and evaluate a run. Waits for its lock: if its former worker was killed, its old process may still be saving."""
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
    """The number of a worker, from its name. The workers of a LocalCluster are named 0, 1, ..."""
    return int(name) if str(name).isdecimal() else 0


def last_words(output: Path, begin: int, module: str, code: int) -> str:
    """The last line that a process printed, after byte `begin` of its output file, and how it ended."""
    with open(files.open_in(output.parent, output.name), "rb") as file:
        file.seek(max(begin, os.fstat(file.fileno()).st_size - TAIL))
        lines = file.read().decode(errors="replace").replace("\r", "\n").strip().splitlines()
    ended = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return f"{lines[-1].strip() if lines else 'nothing printed'} (solvers.{module}, {ended})"
