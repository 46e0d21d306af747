"""Write and read a run's config.json, which may be damaged or come from people who are not trusted."""

import json
import re
from pathlib import Path

from base import files
from base.errors import InputError
from base.writing import write_atomically
from layers.table import OWN, PARAMETERS

FILE = "config.json"
MAX_BYTES = 1 << 20
# The fields that must be equal for a run to go on. Net and solver are compared by content instead.
SAME_ON_RESUME = ("setting", "noise", "noise_type", "seed", "gpus", "snapshot", "data_sha256")
FINGERPRINTS = ("data_sha256", "net_sha256", "solver_sha256")  # of data, net and solver
DEEPEST = 5  # the most levels of lists and objects inside each other; ours have 2
CONTROL = re.compile(r"[\x00-\x1f\x7f]")  # characters that no name has
LARGEST = 1e12  # limit of the numbers: JSON allows any size, and Python's parser also infinity and NaN
# The fields that other modules use, with type and example. All but the first may be missing or null.
FIELDS = {
    "setting": (str, 'a name such as "res44_usw"'),
    "noise": (float | int, "a rate such as 0.4"),
    "noise_type": (str, 'a type such as "symmetric"'),
    "train_data": (str, "a path"),
    "seed": (int, "a whole number"),
    "weighting": (str, 'a name such as "GCE_DN"'),
} | dict.fromkeys(PARAMETERS, (float | int, "a number")) | dict.fromkeys(OWN, (str, 'a formula such as "pow(p, 0.3)"'))


def read(run: Path) -> dict:
    """The options that a run was made with.

    Raises
    ------
    InputError
        If the folder has no config.json, or the file is not JSON, has a field of a wrong type, or a number that is not finite
        or not below LARGEST.
    """
    file = run / FILE
    try:
        config = json.loads(files.read(file, MAX_BYTES))
    except FileNotFoundError:
        raise missing(run) from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file}: not JSON: {error}") from None
    if not _is_flat(config, DEEPEST):
        raise InputError(f"{file}: its values are nested too deeply for the config.json of a run")
    for name, (kind, example) in FIELDS.items():
        value = config.get(name) if isinstance(config, dict) else None
        fits = isinstance(value, kind) and (
            not CONTROL.search(value) if kind is str else abs(value) < LARGEST)  # False for NaN
        if not (fits or value is None and name != "setting"):
            raise InputError(f'{file}: expected "{name}": {example}, found {repr(value):.100}')
    return config


def missing(run: Path) -> InputError:
    """The error for a folder without a config.json."""
    return InputError(f"{run}: no {FILE}, so not a run folder of solvers.train")


def _is_flat(value: object, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return not inner or levels > 0 and all(_is_flat(item, levels - 1) for item in inner)


def write(run: Path, config: dict) -> None:
    """Write the config.json of a run."""
    write_atomically(run / FILE, json.dumps(config, indent=2) + "\n")


def fingerprints(run: Path) -> dict[str, str | None]:
    """The FINGERPRINTS in a run's config.json, by name; None for each that is missing or cannot be read."""
    try:
        about = read(run)
    except InputError:
        return {}
    return {name: about.get(name) for name in FINGERPRINTS}
