"""What is printed: names from files and folders are anybody's, and a terminal obeys some characters."""

import sys
import unicodedata
from typing import TextIO

MOST = 4000  # characters of an error: a name in a net may have millions


def shown(text: object) -> str:
    """Text whose lines hold nothing that a terminal would obey or cannot show; such characters are written as escapes."""
    return "".join(letter if letter.isprintable() or letter == "\n" or unicodedata.category(letter) == "Zs"  # kinds of spaces
                   else ascii(letter)[1:-1] for letter in str(text))


def one_line(text: str) -> str:
    """The same in one line, and of a very long one the beginning and the end."""
    text = " ".join(text.split())
    return shown(text if len(text) <= MOST else f"{text[:MOST // 2]} ... {text[-MOST // 2:]}")


def say(*lines: object, file: TextIO | None = None) -> None:
    """Print lines as `shown`, at once; all that commands print goes through here, and Ruff sees to it."""
    print(*map(shown, lines), sep="\n", file=file or sys.stdout, flush=True)  # noqa: T201
