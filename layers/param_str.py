"""Read a Python layer's parameters from the JSON in its python_param.param_str."""

import json
import math
from collections.abc import Iterable
from typing import Any

from base.did_you_mean import did_you_mean
from layers.table import OWN, PARAMETERS, ROWS

KINDS = {"weighting": str} | dict.fromkeys(PARAMETERS, float) | dict.fromkeys(OWN, str) | {"ignore_label": int, "axis": int}
NAMES = {str: "a string", float: "a finite number", int: "a whole number"}
# Other names of the parameters, in loss_param and in the papers, with the right name: for error messages.
OTHER_NAMES = {other: parameter.name for row in ROWS for parameter in row.parameters
               for other in (parameter.field, *parameter.aliases) if other}


def read(param_str: str, keys: Iterable[str]) -> dict[str, Any]:
    """The parameters in a param_str, by name; an empty dict for an empty text.

    Parameters
    ----------
    param_str : str
        A JSON object, e.g. ``{"lambda": 0.5, "beta": 6}``.
    keys : iterable of str
        The names that the layer knows, all of them in KINDS.

    Raises
    ------
    ValueError
        If the text is not a JSON object, has an unknown or repeated key, or a value of a wrong type.
    """
    try:
        parameters = json.loads(param_str or "{}", object_pairs_hook=_without_repeats)
    except RecursionError as error:
        raise ValueError("param_str is nested too deeply") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"param_str is not JSON ({error}): {param_str}") from error
    if not isinstance(parameters, dict):
        raise ValueError(f"param_str must be a JSON object such as {{}}, not {param_str}")
    for key, value in parameters.items():
        if key not in keys:
            known = ", ".join(f'"{name}"' for name in keys)
            other = OTHER_NAMES.get(key)
            hint = f'; did you mean "{other}"?' if other in keys else did_you_mean(key, keys)
            raise ValueError(f'param_str has an unknown key "{key}"{hint} (known: {known})')
        if not _is(value, KINDS[key]):
            raise ValueError(f'param_str: "{key}" must be {NAMES[KINDS[key]]}, not {json.dumps(value)}')
    return parameters


def _is(value: Any, kind: type) -> bool:
    if isinstance(value, bool):  # in Python, a bool is an int
        return False
    if kind is not float or not isinstance(value, (int, float)):
        return isinstance(value, kind)
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number of hundreds of digits
        return False


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    parameters = dict(pairs)
    if len(parameters) < len(pairs):
        raise ValueError("param_str has a key twice: " + ", ".join(f'"{key}"' for key, _ in pairs))
    return parameters
