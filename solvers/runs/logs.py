"""The logs of a run in training: rows of CSV files, TensorBoard points, and progress on the terminal."""

import csv
import io
import math
import os
import platform
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar, get_type_hints

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import RecordWriter
from tensorboardX.summary import scalar
from tqdm import tqdm

from base import files
from base.errors import InputError
from base.terminal import discard_output, say, shown
from base.writing import write_atomically

Row = TypeVar("Row", bound=NamedTuple)
TAIL = 1000  # bytes read from the end of a file to find its last row
MAX_BYTES = 512 << 20  # of a file: about ten million rows
LARGEST = 1 << 53  # the largest whole number in a log


class Step(NamedTuple):
    """A row of log.csv: step (from 1), loss of its batch, learning rate, seconds of training until the step's end."""

    iteration: int
    loss: float
    lr: float
    seconds: float

    TAGS = {"loss": "loss", "lr": "learning_rate"}
    FORMATS = {"loss": ".9g", "lr": ".7g", "seconds": ".3f"}  # 9 digits distinguish all float32 numbers


class CsvLog(Generic[Row]):
    """A CSV file with a row every `interval` steps. On resume, rows after the checkpoint are deleted, so none is there twice.

    Parameters
    ----------
    file : Path
    start : int
        Steps already done; rows of later steps are deleted.
    kind : type
        The type of a row, a NamedTuple like `Step`: its first field is the iteration; FORMATS formats the others.
    interval : int or None
        Steps from one row to the next; None if the rows are not regular.

    Attributes
    ----------
    last : kind or None
        The last row kept.

    Raises
    ------
    InputError
        If rows up to `start` are missing.
    """

    def __init__(self, file: Path, start: int, kind: type[Row] = Step, interval: int | None = 1):
        rows = [row for row in read_log(file, kind) if row.iteration <= start]
        expected = range(interval, start + 1, interval) if interval else [row.iteration for row in rows]
        if len(rows) != len(expected) or any(row.iteration != step for row, step in zip(rows, expected, strict=True)):
            last = expected[-1] if expected else start
            every = f" to {start}" if interval == 1 else f", {2 * interval}, ... to {last}"
            raise InputError(f"{file} does not hold the iterations {interval}{every} of the checkpoint to resume from")
        write_atomically(file, csv_text(kind, rows))
        self.last = rows[-1] if rows else None
        self._file = open(files.open_in(file.parent, file.name, os.O_WRONLY | os.O_APPEND), "a", encoding="utf-8", newline="")

    def write(self, row: Row) -> None:
        """Append a row."""
        self._file.write(_lines([_text(row)]))
        self._file.flush()

    def sync(self) -> None:
        """Write the rows to the disk. Called before each checkpoint, since a resume needs all rows up to it."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def csv_text(kind: type[Row], rows: Iterable[Row]) -> str:
    """A whole log as text: its header, and the rows."""
    return _lines([kind._fields, *map(_text, rows)])


def read_log(file: Path, kind: type[Row] = Step) -> list[Row]:
    """The complete rows of a log, each of the type `kind`; an empty list if the file does not exist.

    Raises
    ------
    InputError
        If a row is damaged.
    """
    if not file.is_file():
        return []
    try:
        with open(files.open_in(file.parent, file.name), encoding="utf-8", newline="") as opened:
            if (size := os.fstat(opened.fileno()).st_size) > MAX_BYTES:
                raise ValueError(f"it has {size} bytes; at most {MAX_BYTES} are read")
            found, make = [], _maker(kind)
            for row in csv.DictReader(line for line in opened if line.endswith("\n")):  # the last line may be incomplete
                found.append(make([row[name] for name in kind._fields], found[-1][0] if found else 0))
            return found
    except (ValueError, KeyError, TypeError, OSError, csv.Error) as error:
        raise InputError(f"{file} is damaged: {error}; without it, the run can only start again") from error


def read_last(file: Path, kind: type[Row] = Step) -> Row | None:
    """The last complete row of a log, found without reading the whole file; None if there is none.

    Raises
    ------
    InputError
        If that row is damaged.
    """
    try:
        with open(files.open_in(file.parent, file.name), "rb") as opened:
            end = opened.seek(0, os.SEEK_END)
            opened.seek(max(0, end - TAIL))
            *lines, _torn = opened.read().decode("utf-8", "replace").split("\n")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"cannot read {file}: {error}") from error
    if not lines or end <= TAIL and len(lines) < 2:  # an empty file, or only the header
        return None
    try:
        return _maker(kind)(lines[-1].split(","), 0)
    except ValueError as error:
        raise InputError(f"{file} is damaged: its last row is {lines[-1]!r:.100}") from error


def _maker(kind: type[Row]) -> Callable[[list[str], int], Row]:
    """A function that makes a row from texts. It raises ValueError if they are no row, or one of an earlier step."""
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
    """TensorBoard events for the fields of rows that TAGS names. On resume, TensorBoard discards events after `start`.

    The caller's thread writes them. SummaryWriter of tensorboardX uses a second thread and hangs when the disk is full.
    """

    FLUSH_SECONDS = 120

    def __init__(self, folder: Path, start: int):
        if not start:
            shutil.rmtree(folder, ignore_errors=True)
        try:
            folder.mkdir(exist_ok=True)
            with files.opened_in(folder.parent, folder.name):  # raises OSError if it is a link
                pass
        except OSError as error:
            raise InputError(f"cannot write into {folder}: {error.strerror}") from error
        self._file = RecordWriter(str(folder / f"events.out.tfevents.{time.time():.6f}.{platform.node()}"))
        self._flushed = -math.inf
        self._add(file_version="brain.Event:2")
        if start:
            self._add(step=start + 1, session_log=SessionLog(status=SessionLog.START))

    def write(self, row: Row) -> None:
        """Add the fields of a row that its TAGS name, as events of its iteration."""
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
    """Prints iteration, loss, learning rate, images/s and time left: a bar on a terminal, else a line every 10 seconds.

    Parameters
    ----------
    start, stop : int
        Steps already done, and the last step.
    images : int
        Images per step.

    Attributes
    ----------
    unread : bool
        Whether the reader of the output has ended, as head does. Nothing more is printed then.
    """

    SECONDS = 10

    def __init__(self, start: int, stop: int, images: int):
        self.stop, self.images, self.unread = stop, images, False
        self._recent = deque([time.perf_counter()], maxlen=21)  # ends of the last 20 steps
        self._printed = float("-inf")
        self._bar = tqdm(initial=start, total=stop, unit="step", bar_format="{n}/{total} |{bar}| {desc}",
                         dynamic_ncols=True) if sys.stderr.isatty() else None

    def write(self, step: Step) -> None:
        """Show a step."""
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
            self.say(f"iteration {step.iteration}/{self.stop}: {text}")

    def say(self, text: str) -> None:
        """Print a line, above the bar if there is one."""
        try:
            tqdm.write(shown(text)) if self._bar is not None else say(text)
        except BrokenPipeError:
            discard_output()
            self.unread = True

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
