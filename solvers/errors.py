"""How the commands of this folder fail: one line that says what was wrong, where, and what to do; exit code 2."""

import argparse
import sys
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
