"""The options of Slurm's jobs, as --slurm takes them."""

import re
from typing import NamedTuple

from base.did_you_mean import did_you_mean
from base.errors import InputError


class SlurmOptions(NamedTuple):
    """The options given with --slurm.

    Attributes
    ----------
    walltime : int
        The time limit of a job in seconds.
    directives : dict
        All options, walltime included, by the names of sbatch's options.
    """

    walltime: int
    directives: dict[str, str]

    @property
    def margin(self) -> int:
        """How many seconds before the limit a run must save and end: enough for a step, a checkpoint and Slurm itself."""
        return min(300, self.walltime // 4)


# Common options of sbatch, for suggestions after a typing mistake. Other options are passed on as well.
COMMON = ("partition", "walltime", "account", "qos", "mem", "gres", "gpus", "constraint", "exclude", "nodelist", "reservation")
OURS = ("array", "cpus-per-task", "job-name", "ntasks", "output", "error", "requeue", "signal", "time", "wrap")


def parse(text: str) -> SlurmOptions:
    """Read ``partition=long,walltime=1-00:00:00,gres=gpu:1``.

    Raises
    ------
    InputError
        If the text is not of this form, has no walltime, or contains an option that the sweep sets itself.
    """
    found: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not (re.fullmatch(r"[a-z][a-z-]*", name) and equals and re.fullmatch(r"[\w.:/+@&|*\[\]-]+", value)):
            raise InputError(f"--slurm {text}: {part!r} is not of the form partition=long{did_you_mean(name, COMMON)}")
        if name in OURS:
            raise InputError(f"--slurm {text}: {name} is set by the sweep" + ("; give walltime=" if name == "time" else ""))
        if name in found:
            raise InputError(f"--slurm {text}: {name} is there twice")
        found[name] = value
    if "walltime" not in found:
        raise InputError(f"--slurm {text}: give the time limit of a job too, e.g. walltime=1-00:00:00")
    return SlurmOptions(seconds(found["walltime"]), found)


def seconds(walltime: str) -> int:
    """Seconds of a time limit in one of Slurm's forms: minutes, MM:SS, HH:MM:SS, D-HH, D-HH:MM, D-HH:MM:SS."""
    form = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", walltime)
    if not form:
        raise InputError(f"--slurm: walltime={walltime} is not a time limit such as 08:00:00 or 1-00:00:00")
    days, first, second, third = (int(part or 0) for part in form.groups())
    whole = form[1] is not None or form[4] is not None  # hours come first, otherwise minutes
    hours, minutes, rest = (first, second, third) if whole else (0, first, second)
    total = ((24 * days + hours) * 60 + minutes) * 60 + rest
    if total < 60:
        raise InputError(f"--slurm: walltime={walltime} is less than a minute")
    return total
