"""Print text safely: names in files and folders may contain characters that a terminal executes."""

import os
import sys
import unicodedata
from typing import TextIO

MOST = 4000  # the most characters of an error: a name in a net may have millions


def shown(text: object) -> str:
    """The text with escapes in place of characters that control a terminal or cannot be shown; line ends and spaces stay."""
    return "".join(letter if letter.isprintable() or letter == "\n" or unicodedata.category(letter) == "Zs"  # kinds of spaces
                   else ascii(letter)[1:-1] for letter in str(text))


def one_line(text: str) -> str:
    """As `shown`, in one line. A text of more than MOST characters is shortened to its beginning and its end."""
    text = " ".join(text.split())
    return shown(text if len(text) <= MOST else f"{text[:MOST // 2]} ... {text[-MOST // 2:]}")


def say(*lines: object, file: TextIO | None = None) -> None:
    """Print lines as `shown`, without buffering. All commands print with this function: Ruff refuses `print`."""
    print(*map(shown, lines), sep="\n", file=file or sys.stdout, flush=True)  # noqa: T201


def discard_output() -> None:
    """Send all further output nowhere, after a BrokenPipeError: its reader has ended, as head does."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python prints an error at its end, too
