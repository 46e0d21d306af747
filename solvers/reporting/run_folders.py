"""Find the run folders that solvers.compare and solvers.report are called with, by folder or glob, and read their results."""

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from base.did_you_mean import did_you_mean_beside
from base.errors import InputError
from solvers.reporting import results
from solvers.reporting.results import Result
from solvers.runs import config


def expanded(named: Iterable[str]) -> list[Path]:
    """The folders that arguments name. Globs are expanded here for callers without a shell.

    Parameters
    ----------
    named : iterable of str
        Folders, or globs of folders.

    Raises
    ------
    InputError
        If one of the folders is not there, or a glob matches none.
    """
    return [folder for name in named for folder in _folders(str(name))]


def folders_below(tops: Iterable[Path]) -> Iterator[Path]:
    """The run folders in and below folders, each once."""
    seen = set()
    for top in tops:
        for path, folders_in, files in os.walk(top):
            folders_in.sort()
            if config.FILE in files:
                folders_in.clear()  # a run folder contains no other runs
                if (real := os.path.realpath(path)) not in seen:
                    seen.add(real)
                    yield Path(path)


def _folders(name: str) -> list[Path]:
    """The folder with that name, or the folders that match it as a glob."""
    path = Path(name)
    if path.is_dir():
        return [path]
    if glob.has_magic(name):
        # Of pathlib where ** is in it: that follows no links, of which two that lead to their own folder have no end.
        anchor = Path(path.anchor)
        try:
            matches = map(str, anchor.glob(str(path.relative_to(anchor)))) if "**" in name else glob.glob(name)
            found = [Path(match) for match in sorted(matches) if os.path.isdir(match)]
        except ValueError as error:  # older Pythons want ** to be a whole part of the path
            raise InputError(f"{name}: {error}") from error
        if found:
            return found
        raise InputError(f"{name}: no folder matches")
    if path.exists():
        raise InputError(f"{path}: this is no folder; name the folder of a run")
    raise InputError(f"{path}: no such folder{did_you_mean_beside(path)}")


def read(runs: Iterable[Path]) -> tuple[list[Result], list[InputError]]:
    """The results of runs, and the errors of those that have none."""
    shown, refused = [], []
    for run in runs:
        try:
            shown.append(results.read(run))
        except InputError as error:
            refused.append(error)
    return shown, refused


def distinct(found: Iterable[Result]) -> tuple[list[Result], list[str]]:
    """For each loss, noise and seed the run with the most steps, and a remark on each other run."""
    kept, remarks = {}, []
    for result in found:
        key = (result.loss, result.noise, result.seed)
        other = kept.get(key)
        if other is None or result.steps > other.steps:
            kept[key] = result
        if other is not None:
            shown, left = kept[key], other if kept[key] is result else result
            remarks.append(f"{left.run} ({left.steps:,} steps): the same loss, noise and seed as {shown.run} "
                           f"({shown.steps:,} steps)")
    return list(kept.values()), remarks
