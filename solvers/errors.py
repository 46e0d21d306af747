"""How the commands of this folder fail: one line that says what was wrong, where, and what to do; exit code 2."""

import argparse
import re
import sys
from typing import NoReturn


class SolverError(ValueError):
    """Input that a command cannot work with. Its text is the whole message."""


class CommandLine(argparse.ArgumentParser):
    """An argument parser whose errors are one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}\n")


def failed(error: Exception) -> int:
    """Print an error as one line on stderr, with the caret under a formula if it has one, and return the exit code."""
    text, *caret = re.split(r"(\n    .*\n +\^$)", str(error))
    print("error:", " ".join(text.split()) + "".join(caret), file=sys.stderr)
    return 2
