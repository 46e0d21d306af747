"""Suggest the right word in an error message."""

import difflib
import os
from collections.abc import Iterable
from pathlib import Path

MOST = 100  # characters: the time of the search grows with the square, and a name in a net may have millions of them


def most_similar(word: str, known: Iterable[str]) -> str | None:
    """The known word that is most similar to `word`; None if none is similar. Case is ignored."""
    names = {name.lower(): name for name in known if len(word) <= MOST >= len(name)}
    near = difflib.get_close_matches(word.lower(), names, n=1) if names else []
    return names[near[0]] if near else None


def did_you_mean_beside(path: Path) -> str:
    """`did_you_mean` for a file or folder that is not there, of the names in its folder."""
    return did_you_mean(path.name, os.listdir(path.parent) if path.parent.is_dir() else [])


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``'; did you mean "beta"?'``, or ``''`` if no known word is similar. Case is ignored."""
    near = most_similar(word, known)
    return "" if near is None else f'; did you mean "{near}"?'
