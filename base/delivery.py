"""Let a confined process write single files without the permission to write in their folders.

To replace a file whole, a process must write in its folder, which may be the root of a project with code in it. Somebody's net
that has taken over the process could then change that code. So before it confines itself, the process starts a deliverer: a
process that is not confined, but does one thing only. It moves a file with a name agreed on before from a hidden folder to its
place. The confined process writes in hidden folders alone.
"""

import atexit
import os
import re
import secrets
import shutil
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from base.errors import InputError
from base.files import publish

_DONE = b"done"
_LONGEST = 4096  # bytes of a request or an answer; no path is longer


class _Places(NamedTuple):
    """What was agreed on: the hidden folder of each file, and what may follow in the names of files that go beside it."""

    hidden: dict[Path, Path]
    beside: str

    def hidden_folder(self, path: Path) -> Path | None:
        """The hidden folder for a file; None if the file was not agreed on."""
        return next((folder for file, folder in self.hidden.items() if file.parent == path.absolute().parent
                     and re.fullmatch(f"{re.escape(file.name)}({self.beside})?", path.name)), None)

    def remove(self) -> None:
        for folder in self.hidden.values():
            shutil.rmtree(folder, ignore_errors=True)


class _Deliverer(NamedTuple):
    """The deliverer as the confined process knows it: its process number, and the pipes to it."""

    places: _Places
    process: int
    requests: int
    answers: int


_deliverer: _Deliverer | None = None


def start(paths: Iterable[Path], beside: str = "") -> list[Path]:
    """Make a hidden folder beside each file of `paths`, and start the deliverer. To be called once, before the confinement.

    Parameters
    ----------
    paths : iterable of Path
    beside : str
        A regular expression. Files whose names are that of a file in `paths` and then text that matches are delivered, too.

    Returns
    -------
    list of Path
        The hidden folders, in which the confined process must be allowed to write. The deliverer removes them when this
        process ends, however it ends.

    Raises
    ------
    InputError
        If a folder cannot be made.
    """
    global _deliverer
    end()
    places = _Places({}, beside)
    try:
        for path in dict.fromkeys(map(Path.absolute, paths)):
            folder = path.parent / f".{path.name}.{secrets.token_hex(4)}.part"
            path.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700)
            places.hidden[path] = folder
    except OSError as error:
        places.remove()
        raise InputError(f"cannot write {path}: {error.strerror}") from error
    if places.hidden:
        (asked, requests), (answers, answer) = os.pipe(), os.pipe()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # the deliverer ends with this process
        process = os.fork()
        if not process:
            os.close(requests), os.close(answers)
            try:
                _serve(asked, answer, places)
            finally:
                os._exit(0)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(asked), os.close(answer)
        _deliverer = _Deliverer(places, process, requests, answers)
    return list(places.hidden.values())


def hidden_folder(path: Path) -> Path | None:
    """Where to write a file that the deliverer is to move to `path`; None if there is no deliverer for it."""
    return _deliverer.places.hidden_folder(path) if _deliverer else None


def deliver(path: Path) -> None:
    """Have the file of this name in its `hidden_folder` moved to `path`; where it has none, do nothing.

    Raises
    ------
    OSError
        If that fails.
    """
    if not hidden_folder(path):
        return
    os.write(_deliverer.requests, os.fsencode(path.absolute()))
    answer = os.read(_deliverer.answers, _LONGEST)
    if answer != _DONE:
        raise OSError(answer.decode(errors="replace") or "the process that moves it has ended")


def end() -> None:
    """End the deliverer, if there is one, and wait until it has removed the hidden folders."""
    global _deliverer
    if _deliverer:
        os.close(_deliverer.requests), os.close(_deliverer.answers)
        os.waitpid(_deliverer.process, 0)
        _deliverer = None


atexit.register(end)


def _serve(asked: int, answer: int, places: _Places) -> None:
    """Move the files whose paths are sent, until the other process ends."""
    try:
        while request := os.read(asked, _LONGEST):
            try:
                path = Path(os.fsdecode(request))
                if not (folder := places.hidden_folder(path)):
                    raise OSError("this file was not agreed on")
                publish(folder / path.name, path)
                os.write(answer, _DONE)
            except OSError as error:
                os.write(answer, (error.strerror or str(error)).encode(errors="replace")[:_LONGEST])
    finally:
        places.remove()
