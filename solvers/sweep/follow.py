"""Give the runs of a sweep to workers, and wait for each to end: note it as done, try it again, or give it up."""

import fcntl
import re
import shlex
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from distributed import Future

from base import files
from base.errors import InputError
from base.writing import write_atomically
from solvers.sweep import work
from solvers.sweep.clusters import Workers
from solvers.sweep.planned import PlannedRun
from solvers.sweep.progress import Progress
from solvers.training.interrupt import Interrupt

TICK = 0.5  # seconds between two looks at the runs
STOP_AGAIN = 5.0  # seconds until workers are told to stop once more: one may have joined in the meantime


class Failure(NamedTuple):
    """A run that was given up, and the last line that it printed."""

    run: PlannedRun
    words: str


def mark(runs: Path) -> str:
    """The text that identifies this folder of runs, from its file `work.MARK`, which is made if it is missing."""
    file = runs / work.MARK
    with files.opened(runs) as folder:
        fcntl.flock(folder, fcntl.LOCK_EX)  # of two sweeps that begin at a time, one makes it
        if not file.is_file():
            write_atomically(file, uuid.uuid4().hex)
    try:
        text = files.read(file).decode(errors="replace")
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror or error}") from error
    if not re.fullmatch("[0-9a-f]{32}", text):
        raise InputError(f"{file} is damaged: remove it, and the sweep makes it anew")
    return text


class Follower:
    """Follows the runs of one sweep.

    Parameters
    ----------
    workers : Workers
    make_task : function
        Makes the task of a run, given the name of this sweep.
    retries : int
        How often a run is tried again after a failure. The count starts anew if the run has saved new steps since.
    progress : Progress
    """

    def __init__(self, workers: Workers, make_task: Callable[[PlannedRun, str], work.Task], retries: int,
                 progress: Progress):
        self.client, self.news = workers
        self.make_task, self.retries, self.progress = make_task, retries, progress
        self.name = f"sweep-{uuid.uuid4().hex[:12]}"
        self.futures: dict[Future, PlannedRun] = {}
        self.tries: dict[str, int] = {}
        self.saved: dict[str, int] = {}
        self.failures: list[Failure] = []
        self.submitted = 0

    def follow(self, runs: list[PlannedRun]) -> tuple[list[Failure], int | None]:
        """Wait until all runs have ended; return those that failed, and the signal that stopped the sweep, if one did.

        Raises
        ------
        InputError
            If the connection to the scheduler is lost, no worker will come, or one is set up so that it cannot do any run.
        """
        self.client.subscribe_topic(self.name, self._heard)
        with Interrupt() as interrupt:
            try:
                for run in runs:
                    self.saved[run.name], self.tries[run.name] = run.saved(), 0
                    self._submit(run)
                while self.futures and not interrupt.signal:
                    self._look()
                    self.progress.show()
                    time.sleep(TICK)
            finally:
                self._stop(interrupt)
        return self.failures, interrupt.signal

    def _submit(self, run: PlannedRun) -> None:
        self.submitted += 1
        future = self.client.submit(work.work, self.make_task(run, self.name), pure=False, retries=0,
                                    key=f"{run.name} {self.name} {self.submitted}", priority=-self.submitted)
        self.futures[future] = run

    def _look(self) -> None:
        """Handle the runs that have ended since the last look."""
        if news := self.news():
            self.progress.say(news)
        if self.client.status != "running":
            raise InputError("the scheduler is gone, and its workers with it: their runs save and end; the same command goes "
                             "on with them")
        for future in [future for future in self.futures if future.done()]:
            run = self.futures.pop(future)
            ended = self._ended(future)
            if ended.misplaced:
                raise InputError(ended.words)
            if ended.code == 0:
                self.progress.done(run)
            elif ended.stopped:
                self.progress.waits(run)
                self._submit(run)
            else:
                self._failed(run, ended.words)

    def _ended(self, future: Future) -> work.Ended:
        if future.status == "finished":
            return future.result()
        error = future.exception() if future.status == "error" else "the scheduler has forgotten it"
        if isinstance(error, ImportError):
            return work.Ended(2, f"a worker cannot import this project ({error}): start it with {work.ROOT}/.venv/bin/dask "
                              "worker", misplaced=True)
        return work.Ended(1, f"the worker failed: {error}")

    def _failed(self, run: PlannedRun, words: str) -> None:
        saved = run.saved()
        self.tries[run.name] = 1 if saved > self.saved[run.name] else self.tries[run.name] + 1
        self.saved[run.name] = saved
        if self.tries[run.name] > self.retries:
            self.failures.append(Failure(run, words))
            self.progress.failed(run, words)
        else:
            self.progress.again(run, words, self.tries[run.name], self.retries)
            self._submit(run)

    def _heard(self, event: tuple) -> None:
        """Note that a worker has begun with a run. Called by dask in another thread."""
        _, message = event
        if message["action"] == work.STARTED:
            self.progress.started(message["run"], message["host"])

    def _stop(self, interrupt: Interrupt) -> None:
        """Let the runs in progress save and end, and cancel the others."""
        if self.futures and self.client.status == "running":
            self.progress.stopping(interrupt.signal)
        told = float("-inf")
        while self.futures and self.client.status == "running":
            if time.monotonic() - told >= STOP_AGAIN:
                told = time.monotonic()
                # Runs that no worker has begun would otherwise wait for a free one.
                taken = {key for keys in self.client.processing().values() for key in keys}
                for future in [future for future in self.futures if future.key not in taken]:
                    future.cancel()
                    del self.futures[future]
                self.client.run(work.stop, self.name, on_error="ignore")
            for future in [future for future in self.futures if future.done()]:
                del self.futures[future]
            time.sleep(TICK / 5)


def task_of(run: PlannedRun, sweep: str, mark: str, runs: Path, data: Path, threads: int | None,
            gpus: tuple[str, ...]) -> work.Task:
    """The task that a worker gets for a run."""
    return work.Task(sweep, run.name, str(work.ROOT), str(Path.cwd()), str(runs.resolve()), str(run.folder.resolve()), mark,
                     tuple(run.arguments), tuple(evaluate_arguments(run, data)), threads, gpus)


def evaluate_arguments(run: PlannedRun, data: Path) -> list[str]:
    """The arguments of solvers.evaluate for a run. Its net gets the same permissions as in training."""
    pairs = zip(run.arguments, run.arguments[1:], strict=False)
    allowed = [text for pair in pairs if pair[0] in ("--allow-module", "--allow-path") for text in pair]
    if not run.plan.fed_blobs:  # it may read data in the folder of its setting
        allowed += ["--allow-path", str(run.plan.setting.folder)]
    if run.plan.allowed.unconfined:
        allowed.append("--unconfined")
    return [str(run.folder), "--data", str(data), *allowed]


def report(failures: list[Failure], runs: int, retries: int) -> str:
    """The message about runs that failed."""
    often = f", each {retries + 1} times in a row" if retries else ""
    lines = [f"{len(failures)} of {runs} runs failed{often}:"]
    for run, words in failures:
        lines += [f"  {run.name}: {words}", f"    {shlex.quote(str(run.folder / work.OUTPUT))}"]
    return "\n".join(lines)
