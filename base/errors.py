"""The error of wrong input, and how commands report errors: one line that says what is wrong and what to do; exit code 2."""

import argparse
import functools
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from base.did_you_mean import did_you_mean
from base.terminal import discard_output, one_line, say, shown

CARET = re.compile(r"(\n    .*\n +\^$)")  # a formula, and below it a caret at the mistake


class InputError(ValueError):
    """Raised for an option, a file, a net or data that cannot be used. Its text says what is wrong, where, and what to do."""


class CommandLine(argparse.ArgumentParser):
    """An argument parser whose errors are one line, without the usage. It refuses arguments with control characters."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {_with_caret(message)}\n")

    def parse_args(self, args: Sequence[str] | None = None, namespace: None = None) -> argparse.Namespace:
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            options = [option for action in self._actions for option in action.option_strings]
            self.error(f"unrecognized arguments: {' '.join(unknown)}{did_you_mean(unknown[0].partition('=')[0], options)}")
        for value in vars(found).values():
            for text in map(str, value if isinstance(value, list) else [value]):
                if isinstance(value, (str, Path, list)) and not "".join(text.split()).isprintable():
                    self.error(f"{text!r} has characters that are not UTF-8 or control the terminal")
        return found


def reports_errors(interrupted: str = "") -> Callable:
    """Decorate a command's main function: it returns 2 after an error that `failed` prints, 130 after Ctrl-C, and
    141 if what reads its output has ended.

    Parameters
    ----------
    interrupted : str
        What to print after Ctrl-C.
    """
    def decorated(main: Callable[[list[str] | None], int]) -> Callable[[list[str] | None], int]:
        @functools.wraps(main)
        def reporting(argv: list[str] | None = None) -> int:
            try:
                return main(argv)
            except BrokenPipeError:
                discard_output()
                return 128 + signal.SIGPIPE
            except (InputError, OSError, MemoryError) as error:
                return failed(error)
            except KeyboardInterrupt:
                if interrupted:
                    say(interrupted, file=sys.stderr)
                return 130
        return reporting
    return decorated


def failed(error: Exception) -> int:
    """Print an error as one line on stderr, with the caret under a formula if it has one, and return the exit code."""
    say(f"error: {_with_caret(str(error) or 'there is too little memory')}", file=sys.stderr)
    return 2


def _with_caret(message: str) -> str:
    """A message in one line; if it contains a formula with a caret, these two lines follow below it."""
    text, *rest = CARET.split(message)
    return one_line(text) + "".join(f"\n{shown(line)}" for line in "".join(rest).split("\n")[1:])
