"""Parameters for every weighting, for tests that run over all of them."""

import numpy as np

from layers.table import BY_NAME, CUSTOM, DN, OWN
from layers.weighting import Weighting

FORMULAS = ({"formula": "pow(p, 0.3) * exp(-2 * p)"}, {"emphasis": "p < 0.2 ? p : max(0.1, 1 - log1p(p))"})
DM = {"lambda": 0.5, "beta": 6.0}  # as released, with a mode of its own


def given(name: str) -> dict:
    """The parameters that a weighting needs, by the names of param_str: DM's released ones, defaults for the others."""
    row = BY_NAME[name]
    return FORMULAS[0] if row.name == CUSTOM else DM if row.name == "DM" else {}


def drawn(name: str, random: np.random.Generator) -> dict:
    """Random parameters from their whole ranges; from the least value to 6 above it where a range has no upper end."""
    row = BY_NAME[name]
    if row.name == CUSTOM:
        return FORMULAS[random.integers(2)]
    while True:
        found = {}
        for parameter in row.parameters:
            least = -4 if parameter.least is None else parameter.least
            most = least + 6 if parameter.most is None else parameter.most
            value = least + (most - least) * random.uniform(0.02, 0.98)
            found[parameter.name] = float(round(value)) if parameter.whole else value
        try:
            weighting(name, found)
            return found
        except ValueError:  # what two parameters together cannot be: FORWARD's rate depends on its number of classes
            continue


def weighting(name: str, parameters: dict | None = None) -> Weighting:
    """The weighting of parameters by the names of param_str."""
    parameters = given(name) if parameters is None else parameters
    return Weighting(name, **parameters)


def twin(name: str) -> bool:
    return name.endswith(DN)


__all__ = ["DM", "FORMULAS", "OWN", "drawn", "given", "twin", "weighting"]
