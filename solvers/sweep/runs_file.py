"""Read a sweep file: a TOML file with the runs of a sweep.

    max_iter = 20                         # for all runs

    [[runs]]                              # a grid: each combination of its lists is a run
    setting = "prototxt/res44_*"
    noise = [0.0, 0.4]
    seed = [123, 124]

    [[runs]]
    released = ["CCE* 0.4", "GCE 0.4"]    # as --list-released prints them

The keys are the options of solvers.train, with _ for -. See docs/sweeps.md.
"""

import fnmatch
import glob
import itertools
import math
import re
import tomllib
from pathlib import Path
from typing import NamedTuple, NoReturn

from base import files
from base.commands import command
from base.did_you_mean import did_you_mean, did_you_mean_beside
from base.errors import CommandLine, InputError
from solvers.reporting.released_runs import ReleasedRun, load_runs
from solvers.training import options, released

# Options of solvers.train that a sweep file must not contain: they belong to the command line, or to a single process.
NOT_IN_FILES = ("list_released", "resume", "wait", "gpu", "runs", "data")
MAX_BYTES = 1 << 20
MOST = 10_000  # the most runs of a sweep
TOGETHER = ("allow_module", "allow_path")  # one run may have several of these: a list is passed to each run whole


class Entry(NamedTuple):
    """A run of a sweep file: its place in the file, and the arguments of solvers.train."""

    where: str
    arguments: list[str]


class _Parser(CommandLine):
    """A parser that raises InputError for a wrong option."""

    def error(self, message: str) -> NoReturn:
        raise InputError(message)


def read(file: Path) -> list[Entry]:
    """The runs of a sweep file, grid by grid. Within a grid, the setting (or the released run) varies slowest.

    Raises
    ------
    InputError
        If the file cannot be read, is not TOML, or has a key, a type or a value that solvers.train does not take. The message
        names file, grid and key.
    """
    common = _parse(file)
    grids = common.pop("runs", None)
    if not isinstance(grids, list) or not grids or not all(isinstance(grid, dict) for grid in grids):
        raise InputError(f"{file}: it names no runs: write [[runs]], and below it what they are, e.g. "
                         'setting = "prototxt/res44_usw"')
    lists = {key: _values(key, value, str(file)) for key, value in common.items()}
    entries = []
    for number, grid in enumerate(grids, start=1):
        where = f"{file}, [[runs]] {number}"
        entries += _expand(lists | {key: _values(key, value, where) for key, value in grid.items()}, where)
    return entries


def _parse(file: Path) -> dict:
    try:
        return tomllib.loads(files.read(files.real(file), MAX_BYTES).decode())
    except FileNotFoundError:
        raise InputError(f"there is no sweep file {file}{did_you_mean_beside(file)}") from None
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:  # not UTF-8, or not TOML
        raise InputError(f"{file} is not TOML: {error}") from error


def _values(key: str, value: object, where: str) -> list[list[str]]:
    """The values of a key in a grid, each as arguments of solvers.train."""
    known = _known()
    if key in NOT_IN_FILES:
        raise InputError(f"{where}: {key} does not belong in a sweep file: it is about all runs, or about one process")
    if key not in known:
        raise InputError(f"{where}: there is no option {key!r}{did_you_mean(key, known)} (one of {', '.join(known)})")
    values = value if isinstance(value, list) else [value]
    if not values:
        raise InputError(f"{where}: {key} is an empty list, which makes no run")
    option = f"--{key.replace('_', '-')}"
    if known[key] is False:  # an option without a value
        if not all(isinstance(item, bool) for item in values):
            raise InputError(f"{where}: {key}: expected true or false, found {value!r}")
        return [[option] * item for item in values]
    for item in values:
        if isinstance(item, bool) or not isinstance(item, str | int | float):
            raise InputError(f"{where}: {key}: expected text, a number or a list of them, found {item!r}")
    try:
        texts = [str(item) for item in values]
    except ValueError as error:  # a number with more digits than Python converts to text
        raise InputError(f"{where}: {key}: {error}") from error
    if key in TOGETHER:
        return [[argument for text in texts for argument in (option, text)]]
    if key == "setting":
        return [[setting] for text in texts for setting in _settings(text, where)]
    if key == "released":
        found = [(released.command_name(run), str(run.noise)) for text in texts for run in _released(text, where)]
        return [[option, *run] for run in dict.fromkeys(found)]  # globs may overlap
    return [[f"{option}={text}"] if text.startswith("-") else [option, text] for text in texts]  # else -1e-3 is an option


def _settings(pattern: str, where: str) -> list[str]:
    """The settings that a path or a glob names. A path is not checked here: solvers.train does that."""
    if not glob.has_magic(pattern):
        return [pattern]
    found = [path for path in sorted(glob.glob(pattern)) if glob.glob(f"{glob.escape(path)}/*solver*.prototxt")]
    if not found:
        raise InputError(f"{where}: setting: no folder with a solver matches {pattern!r}{did_you_mean_beside(Path(pattern))}")
    return found


def _released(pattern: str, where: str) -> list[ReleasedRun]:
    """The released runs that a name or a glob names, in the order of --list-released."""
    try:
        if not glob.has_magic(pattern):
            name, _, noise = pattern.rpartition(" ")
            return [released.run_of(name, noise) if re.fullmatch(r"[\d.]+", noise) and name else released.run_of(pattern)]
    except InputError as error:
        raise InputError(f"{where}: {_keys(str(error))}") from error
    found = [run for run in released.in_order() if any(fnmatch.fnmatch(name, pattern.lower()) for name in _names(run))]
    if not found:
        raise InputError(f"{where}: released: no released run matches {pattern!r}"
                         f"{did_you_mean(pattern, [name for run in load_runs() for name in _names(run)])}; "
                         f"{command('solvers.train', ['--list-released'])} shows all 48")
    return found


def _names(run: ReleasedRun) -> list[str]:
    """The texts that a glob can match, in lower case: each name that --released takes, followed by the noise."""
    return [f"{name} {run.noise}" for name in (*released.names(run), released.command_name(run).lower())]


def _expand(lists: dict[str, list[list[str]]], where: str) -> list[Entry]:
    """The runs of one grid."""
    if "setting" not in lists and "released" not in lists:
        raise InputError(f"{where}: it has neither setting nor released, so nothing to train")
    subjects = {key: lists[key] for key in ("setting", "released") if key in lists}
    entries = []
    if (runs := math.prod(map(len, (subjects | lists).values()))) > MOST:
        raise InputError(f"{where}: it makes {runs} runs; at most {MOST} are taken")
    for combination in itertools.product(*(subjects | lists).values()):
        arguments = list(itertools.chain(*combination))
        try:
            options.parse(arguments, "", _Parser)
        except InputError as error:
            raise InputError(f"{where}: {_keys(str(error))}") from error
        entries.append(Entry(where, arguments))
    return entries


def _keys(message: str) -> str:
    """An error message with keys in place of options: "argument --noise-type: ..." becomes "noise_type: ..."."""
    names = "|".join(sorted((name.replace("_", "-") for name in _known()), reverse=True))  # noise-type before noise
    message = re.sub(rf"(?:argument )?--({names})\b", lambda found: found[1].replace("-", "_"), message)
    if choice := re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message):
        message += did_you_mean(choice[1], re.findall(r"[\w.]+", choice[2]))
    return message


def _known() -> dict[str, object]:
    """The options of solvers.train that a sweep file may have as keys, with their defaults."""
    return {name: default for name, default in vars(options.parse(["any"], "")).items() if name not in NOT_IN_FILES}
