"""Show how far a sweep is: a live table on a terminal; else a line at each event, and a summary every ten minutes."""

import csv
import math
import os
import re
import statistics
import threading
import time
from collections.abc import Iterable
from datetime import timedelta
from signal import Signals
from typing import NamedTuple

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from base import files
from base.terminal import shown
from solvers.sweep.planned import PlannedRun
from solvers.sweep.probe import Cost
from solvers.training import testing

TAIL = 4096  # bytes read from the end of log.csv: about a hundred rows
ENOUGH = 10  # the fewest steps for a pace: the first ones are slow
SLOWEST = 1e5  # seconds: a slower step in a log is taken for damage
QUIET = 600.0  # seconds between two summaries


class Pace(NamedTuple):
    """The last step of a run, and its seconds per step (None if it has made too few)."""

    step: int
    seconds: float | None


def pace(run: PlannedRun) -> Pace:
    """Read it from the end of the run's log.csv."""
    try:
        with open(files.open_in(run.folder, "log.csv"), "rb") as file:
            start = file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
            whole = slice(1 if start else 0, -1)  # the first line and the last one may be cut off
            rows = [line.split(b",") for line in file.read().split(b"\n")[whole]]
        steps = [(int(row[0]), float(row[3])) for row in rows if len(row) == 4 and re.fullmatch(rb"[0-9]{1,12}", row[0])]
    except (OSError, ValueError):
        steps = []
    if not steps:
        return Pace(0, None)
    made = steps[-1][0] - steps[0][0]
    seconds = (steps[-1][1] - steps[0][1]) / made if made >= ENOUGH else math.nan
    return Pace(steps[-1][0], seconds if 0 <= seconds <= SLOWEST else None)  # the file is not trusted


def last_accuracy(run: PlannedRun) -> tuple[int, float] | None:
    """The step of the last test, in training or by solvers.evaluate, and its accuracy as a fraction of 1.

    None if there was no test.
    """
    found = [run.accuracy()]
    try:
        whole = files.read(run.folder / testing.FILE).decode().rpartition("\n")[0]  # the last line may be cut off
        row = list(csv.DictReader(whole.splitlines()))[-1]
        if 0 <= float(row["test_accuracy"]) <= 1:
            found.append((int(row["iteration"]), float(row["test_accuracy"])))
    except (OSError, ValueError, LookupError, TypeError, csv.Error):  # the file is not trusted
        pass
    return max(filter(None, found), default=None)


class Progress:
    """Collects the state of all runs and shows it: a context manager.

    Parameters
    ----------
    runs : list of PlannedRun
        All runs of the sweep.
    costs : dict
        Cost by `PlannedRun.shape`.
    jobs : int
        How many runs are made at once.
    console : rich.console.Console, optional
    """

    def __init__(self, runs: list[PlannedRun], costs: dict[str, Cost], jobs: int, console: Console | None = None):
        self.runs, self.costs, self.jobs = {run.name: run for run in runs}, costs, jobs
        self.console = console or Console(soft_wrap=True, highlight=False)
        self.lock = threading.Lock()
        self.running: dict[str, str] = {}  # name: host
        self.finished = {run.name for run in runs if run.done()}
        self.given_up: set[str] = set()
        self.live = Live(console=self.console, auto_refresh=False) if self.console.is_terminal else None
        self.told = time.monotonic()

    def __enter__(self) -> "Progress":
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self.live:
            self.live.update(Text(self.summary()), refresh=True)
            self.live.stop()

    def say(self, text: str) -> None:
        """Print a line above the table."""
        self.console.print(shown(text), markup=False)

    def started(self, name: str, host: str) -> None:
        """Note that a worker has begun with a run. This may be called after the run has ended."""
        with self.lock:
            if name in self.finished:
                return
            self.running[name] = host
        if not self.live:  # the table shows it
            saved = self.runs[name].saved()
            self.say(f"{name}: " + (f"goes on at step {saved}" if saved else "begins") + f" on {host}")

    def done(self, run: PlannedRun) -> None:
        """Note that a run is trained and evaluated."""
        with self.lock:
            self.running.pop(run.name, None)
            self.finished.add(run.name)
        measured = run.accuracy()
        self.say(f"{run.name}: done" + (f", test accuracy {100 * measured[1]:.2f} %" if measured else ""))

    def waits(self, run: PlannedRun) -> None:
        """Note that a run was stopped and waits for a worker again."""
        with self.lock:
            self.running.pop(run.name, None)

    def again(self, run: PlannedRun, words: str, tries: int, retries: int) -> None:
        """Note that a run has failed and is tried again."""
        self.waits(run)
        self.say(f"{run.name}: {words}: trying again ({tries} of {retries})")

    def failed(self, run: PlannedRun, words: str) -> None:
        """Note that a run was given up."""
        self.waits(run)
        self.given_up.add(run.name)
        self.say(f"{run.name}: failed: {words}")

    def stopping(self, signal: Signals | None) -> None:
        """Print that the runs in progress are told to save and end, if there are any."""
        if not self.running:
            return
        why = signal.name if signal else "error"
        self.say(f"{why}: the runs in progress finish their step and save; a second signal does not wait for that")

    def show(self) -> None:
        """Update the table, or print a summary if the last one is QUIET seconds old."""
        if self.live:
            self.live.update(self.table(), refresh=True)
        elif time.monotonic() - self.told >= QUIET:
            self.told = time.monotonic()
            self.say(self.summary())

    def table(self) -> Table:
        """A table of the runs in progress, and a line about all runs."""
        table = Table(caption=self.summary(), caption_justify="left", box=None, pad_edge=False)
        table.add_column("run", overflow="fold")  # the others keep their width: runs may differ in the end of their names
        for name in ("step", "images/s", "left", "test accuracy", "on"):
            table.add_column(name, justify="left" if name == "on" else "right", no_wrap=True)
        with self.lock:
            running = dict(self.running)
        for name, host in running.items():
            run, at, measured = self.runs[name], pace(self.runs[name]), last_accuracy(self.runs[name])
            table.add_row(
                Text(shown(name)), f"{at.step:,}/{run.steps:,}",
                f"{self.costs[run.shape].images / at.seconds:.0f}" if at.seconds else "",
                duration((run.steps - at.step) * at.seconds) if at.seconds else "",
                f"{100 * measured[1]:.2f} % at {measured[0]:,}" if measured else "", Text(shown(host)))
        return table

    def summary(self) -> str:
        """One line: how many runs are in which state, and the time left."""
        counts = {"done": len(self.finished), "running": len(self.running), "failed": len(self.given_up)}
        counts["waiting"] = len(self.runs) - sum(counts.values())
        said = ", ".join(f"{count} {name}" for name, count in counts.items() if count or name == "done")
        to_come = self.seconds_to_come()
        return f"{len(self.runs)} runs: {said}" + (f"; {duration(to_come)} left" if to_come else "")

    def seconds_to_come(self) -> float | None:
        """Seconds until all runs that have not failed are trained; None if no step has been timed yet."""
        left = [run for name, run in self.runs.items() if name not in self.finished | self.given_up]
        return time_to_come(left, self.costs, self.jobs)


def time_to_come(left: Iterable[PlannedRun], costs: dict[str, Cost], jobs: int) -> float | None:
    """Seconds until the runs are trained, `jobs` of them at once; None if no step has been timed.

    The pace of a run is taken from its log. Without enough rows there, it is that of runs with the same net, or the probe's.
    """
    at = {run: pace(run) for run in left}
    known: dict[str, list[float]] = {}
    for run, where in at.items():
        if where.seconds is not None:
            known.setdefault(run.shape, []).append(where.seconds)
    seconds = []
    for run, where in at.items():
        others = statistics.median(known[run.shape]) if run.shape in known else costs[run.shape].seconds
        if where.seconds is None and others is None:
            return None
        seconds.append(max(0, run.steps - where.step) * (where.seconds or others))
    return max(sum(seconds) / max(1, jobs), max(seconds, default=0))


def duration(seconds: float) -> str:
    """`2 days, 3:04:05`."""
    return str(timedelta(seconds=min(max(round(seconds), 0), 10**13)))
