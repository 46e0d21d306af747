"""What a run's config.json says; it may be damaged, or a stranger's."""

import json
from pathlib import Path

from base import files
from layers.table import OWN, PARAMETERS
from solvers.errors import SolverError

FILE = "config.json"
MAX_BYTES = 1 << 20
DEEPEST = 5  # lists and objects in each other; ours are 2
LARGEST = 1e12  # of the numbers: JSON has any size, and Python's has infinity and NaN too
# The fields that others read. All but the first may be missing or null.
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
    SolverError
        If the run's folder has no config.json, or one that is no JSON, or has a field of another type, or a number that is
        not below LARGEST.
    """
    file = run / FILE
    try:
        config = json.loads(files.read(file, MAX_BYTES))
    except FileNotFoundError:
        raise SolverError(f"{run}: no {FILE}, so not a run folder of solvers.train") from None
    except (OSError, ValueError, RecursionError) as error:
        raise SolverError(f"{file}: not JSON: {error}") from None
    if not _is_flat(config, DEEPEST):
        raise SolverError(f"{file}: its values are nested deeper than a run's are")
    for name, (kind, example) in FIELDS.items():
        value = config.get(name) if isinstance(config, dict) else None
        fits = isinstance(value, kind) and (kind is str or abs(value) < LARGEST)  # NaN is not
        if not (fits or value is None and name != "setting"):
            raise SolverError(f'{file}: expected "{name}": {example}, found {repr(value):.100}')
    return config


def _is_flat(value: object, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return not inner or levels > 0 and all(_is_flat(item, levels - 1) for item in inner)
