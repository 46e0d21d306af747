"""How the commands of this folder fail: one line that says what was wrong, where, and what to do; exit code 2."""

import argparse
import difflib
import sys
from collections.abc import Iterable
from typing import NoReturn


class SolverError(ValueError):
    """Input that a command cannot work with. Its text is the whole message."""


class CommandLine(argparse.ArgumentParser):
    """An argument parser whose errors are one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}\n")


def failed(error: Exception) -> int:
    """Print an error as one line on stderr and return the exit code."""
    print("error:", " ".join(str(error).split()), file=sys.stderr)
    return 2


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean X?"`` with the known words nearest to `word`, or ``""`` where none is near."""
    # Compared in lower case: relu is meant to be ReLU.
    spelled = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), spelled, n=2)
    return f"; did you mean {' or '.join(spelled[name] for name in near)}?" if near else ""
