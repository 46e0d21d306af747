"""Suggest the right word in an error message."""

import difflib
from collections.abc import Iterable

MOST = 100  # characters; the search takes the square of them, and a name in a net may have millions


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``'; did you mean "beta"?'``, or ``''`` if no known word is similar. Case is ignored."""
    names = {name.lower(): name for name in known if len(word) <= MOST >= len(name)}
    near = difflib.get_close_matches(word.lower(), names, n=1) if names else []
    return f'; did you mean "{names[near[0]]}"?' if near else ""
