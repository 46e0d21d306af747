"""What a run tells while it trains: CSV rows and TensorBoard points, and how far it is on the terminal."""

import csv
import io
import math
import os
import platform
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar, get_type_hints

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import RecordWriter
from tensorboardX.summary import scalar
from tqdm import tqdm

from base import files
from base.files import write_atomically
from base.terminal import say, shown
from solvers.errors import SolverError

Row = TypeVar("Row", bound=NamedTuple)
TAIL = 1000  # bytes, in which the last row is found
MAX_BYTES = 512 << 20  # of a file: about ten million rows
LARGEST = 1 << 53  # of the whole numbers in it


class Step(NamedTuple):
    """One step: number (from 1), loss of its batch, learning rate, seconds spent on training until its end."""

    iteration: int
    loss: float
    lr: float
    seconds: float

    TAGS = {"loss": "loss", "lr": "learning_rate"}
    FORMATS = {"loss": ".9g", "lr": ".7g", "seconds": ".3f"}  # 9 digits tell any two float32 apart


class CsvLog(Generic[Row]):
    """A CSV file of one row every few steps, cut back to the checkpoint on resume, so without gaps or doubles.

    Parameters
    ----------
    file : Path
    start : int
        Steps already done; later rows are dropped.
    kind : type
        A NamedTuple like `Step`: first the iteration; FORMATS says how its other numbers are written.
    interval : int or None
        Steps from one row to the next; None if any steps may have one.

    Attributes
    ----------
    last : kind or None
        The last row kept.

    Raises
    ------
    SolverError
        If rows up to `start` are missing.
    """

    def __init__(self, file: Path, start: int, kind: type[Row] = Step, interval: int | None = 1):
        rows = [row for row in read_log(file, kind) if row.iteration <= start]
        expected = range(interval, start + 1, interval) if interval else [row.iteration for row in rows]
        if len(rows) != len(expected) or any(row.iteration != step for row, step in zip(rows, expected, strict=True)):
            every = f" to {start}" if interval == 1 else f", {2 * interval}, ... to {expected[-1]}"
            raise SolverError(f"{file} does not hold the iterations {interval}{every} of the checkpoint to resume from")
        write_atomically(file, _lines([kind._fields, *map(_text, rows)]))
        self.last = rows[-1] if rows else None
        self._file = open(files.open_in(file.parent, file.name, os.O_WRONLY | os.O_APPEND), "a", encoding="utf-8", newline="")

    def write(self, row: Row) -> None:
        self._file.write(_lines([_text(row)]))
        self._file.flush()

    def sync(self) -> None:
        """Put the rows on the disk: before a checkpoint, which relies on them."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def read_log(file: Path, kind: type[Row] = Step) -> list[Row]:
    """The complete rows of a CSV file of such a kind; none if there is no such file.

    Raises
    ------
    SolverError
        If one of them is damaged.
    """
    if not file.is_file():
        return []
    try:
        with open(files.open_in(file.parent, file.name), encoding="utf-8", newline="") as opened:
            if (size := os.fstat(opened.fileno()).st_size) > MAX_BYTES:
                raise ValueError(f"it has {size} bytes; at most {MAX_BYTES} are read")
            found, make = [], _maker(kind)
            for row in csv.DictReader(line for line in opened if line.endswith("\n")):  # the last one may be torn
                found.append(make([row[name] for name in kind._fields], found[-1][0] if found else 0))
            return found
    except (ValueError, KeyError, TypeError, OSError, csv.Error) as error:
        raise SolverError(f"{file} is damaged: {error}; without it, the run can only start again") from error


def read_last(file: Path, kind: type[Row] = Step) -> Row | None:
    """The last complete row of such a file, without reading what is before it; None if there is none.

    Raises
    ------
    SolverError
        If it is damaged.
    """
    try:
        with open(files.open_in(file.parent, file.name), "rb") as opened:
            end = opened.seek(0, os.SEEK_END)
            opened.seek(max(0, end - TAIL))
            *lines, _torn = opened.read().decode("utf-8", "replace").split("\n")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SolverError(f"cannot read {file}: {error}") from error
    if not lines or end <= TAIL and len(lines) < 2:  # nothing, or only the names of the columns
        return None
    try:
        return _maker(kind)(lines[-1].split(","), 0)
    except ValueError as error:
        raise SolverError(f"{file} is damaged: its last row is {lines[-1]!r:.100}") from error


def _maker(kind: type[Row]) -> Callable[[list[str], int], Row]:
    """A function that makes a row of values, after the row of an earlier step; it raises ValueError if they are none."""
    types = list(get_type_hints(kind).values())

    def make(values: list[str], before: int) -> Row:
        row = kind(*(one(value) for one, value in zip(types, values, strict=True)))
        if not before < row[0] or any(isinstance(value, int) and not 0 <= value < LARGEST for value in row):
            raise ValueError(f"after step {before} comes the row {','.join(values)!r:.100}")
        return row
    return make


def _text(row: Row) -> tuple[str, ...]:
    return tuple(format(value, row.FORMATS.get(name, "")) for name, value in row._asdict().items())


def _lines(rows: list[tuple]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


class TensorBoard:
    """What the rows' TAGS name as TensorBoard events; on resume, those after `start` are superseded.

    Written by the caller's thread: tensorboardX's own SummaryWriter has another, and waits for ever once the disk is full.
    """

    FLUSH_SECONDS = 120

    def __init__(self, folder: Path, start: int):
        if not start:
            shutil.rmtree(folder, ignore_errors=True)
        try:
            folder.mkdir(exist_ok=True)
            with files.opened_in(folder.parent, folder.name):  # it is no link
                pass
        except OSError as error:
            raise SolverError(f"cannot write into {folder}: {error.strerror}") from error
        self._file = RecordWriter(str(folder / f"events.out.tfevents.{time.time():.6f}.{platform.node()}"))
        self._flushed = -math.inf
        self._add(file_version="brain.Event:2")
        if start:
            self._add(step=start + 1, session_log=SessionLog(status=SessionLog.START))

    def write(self, row: Row) -> None:
        for name, tag in row.TAGS.items():
            value = getattr(row, name)
            if not math.isnan(value):
                self._add(step=row.iteration, summary=scalar(tag, value))
        if time.monotonic() - self._flushed > self.FLUSH_SECONDS:
            self._file.flush()
            self._flushed = time.monotonic()

    def close(self) -> None:
        self._file.close()

    def _add(self, **fields: object) -> None:
        self._file.write(Event(wall_time=time.time(), **fields).SerializeToString())


class Progress:
    """Iteration, loss, learning rate, images a second, time left: a bar on a terminal, else a line every 10 seconds.

    Parameters
    ----------
    start, stop : int
        Steps already done, and the last step.
    images : int
        Images a step.
    """

    SECONDS = 10

    def __init__(self, start: int, stop: int, images: int):
        self.stop, self.images = stop, images
        self._recent = deque([time.perf_counter()], maxlen=21)  # ends of the last 20 steps
        self._printed = float("-inf")
        self._bar = tqdm(initial=start, total=stop, unit="step", bar_format="{n}/{total} |{bar}| {desc}",
                         dynamic_ncols=True) if sys.stderr.isatty() else None

    def write(self, step: Step) -> None:
        now = time.perf_counter()
        self._recent.append(now)
        pace = (now - self._recent[0]) / (len(self._recent) - 1)
        left = timedelta(seconds=round(pace * (self.stop - step.iteration)))
        text = f"loss {step.loss:.4f}, lr {step.lr:.4g}, {self.images / pace:.1f} images/s, {left} left"
        if self._bar is not None:
            self._bar.set_description_str(text, refresh=False)
            self._bar.update()
        elif step.iteration == self.stop or now - self._printed >= self.SECONDS:
            self._printed = now
            say(f"iteration {step.iteration}/{self.stop}: {text}")

    def say(self, text: str) -> None:
        """Print a line that does not tear the bar."""
        tqdm.write(shown(text)) if self._bar is not None else say(text)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
