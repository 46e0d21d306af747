"""The 48 released runs, each with its result in Table 1 of the paper (arXiv 1905.11233): the data of published/."""

import csv
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from solvers.reporting.accuracy import Curve

FOLDER = Path(__file__).resolve().parents[2] / "published"
DM_DEFAULTS = {"res44_usw": (6.0, 0.5), "res44_imae": (6.0, 1.0), "res44_uniform": (0.0, 1.0)}  # setting: beta, lambda
GCE_Q = 0.7  # of every released GCE run

# Lambda is in the name of the parent folder. The "_lambda1" in the names of the run folders has no meaning.
LAMBDAS = {
    "CIFAR100_ResNet44_V03_ExpCCE_lambda0": 0.0,
    "CIFAR100_ResNet44_V03_lambda0_5": 0.5,
    "CIFAR100_ResNet44_V03_lambda1": 1.0,
}
RUN_FOLDER = re.compile(r"train_(?P<setting>Res44_(?:USW_Beta(?P<beta>\d+)_lambda1|(?P<loss>\w+)))_(?P<noise>[0-9]\.[0-9]+)")


@dataclass(frozen=True)
class ReleasedRun(Curve):
    """A released run: ResNet-44 on CIFAR-100, symmetric label noise, 30,000 steps, a checkpoint every 1,000.

    Attributes
    ----------
    exp_folder, run_folder : str
        The names of its folders in the authors' release.
    setting : str
        The folder of prototxt/ with this loss; `beta` and `lam` may differ from the setting's own.
    noise : float
        Rate of the label noise, 0 to 1.
    beta, lam : float or None
        DM's beta and lambda; None for the other losses.
    table1 : float
        The result in Table 1 of the paper for this loss and noise, 0 to 1. It is the best of the 30 accuracies, rounded to
        0.001, except in three of the 48 runs (published/README.md).
    """

    exp_folder: str
    run_folder: str
    setting: str
    noise: float
    beta: float | None
    lam: float | None
    table1: float

    @property
    def name(self) -> str:
        """The loss as the paper calls it: "CCE-DN" or "DM, lambda 0.5, beta 8"."""
        if self.beta is None:
            return name_of(self.setting)
        return f"DM, lambda {self.lam:g}, beta {self.beta:g}" if self.beta else "DM, beta 0"


def name_of(setting: str) -> str:
    """The loss of a setting other than DM's as the paper calls it: "CCE-DN" of res44_cce_dn."""
    return setting.removeprefix("res44_").upper().replace("_", "-")


@cache
def load_runs() -> tuple[ReleasedRun, ...]:
    """All 48 released runs, in the order of accuracy_curves.csv."""
    points: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for row in _rows("accuracy_curves.csv"):
        point = int(row["iter"]), float(row["test_accuracy"])
        points.setdefault((row["exp_folder"], row["run_folder"]), []).append(point)
    table1 = _table1()
    runs = []
    for folders, curve in points.items():
        iterations, accuracies = map(list, zip(*curve, strict=True))
        experiment = _read_folders(*folders)
        runs.append(ReleasedRun(iterations, accuracies, *folders, *experiment, table1[_key(*experiment)]))
    return tuple(runs)


def find_released(setting: str, noise: float, beta: float | None = None, lam: float | None = None) -> ReleasedRun | None:
    """The released run with exactly this setting, noise, beta and lambda; None if there is none.

    `beta` and `lam` default to the setting's own; losses other than DM ignore them. A DM experiment is determined by them and
    not by the setting's name: res44_usw with lambda 1 is res44_imae. With beta 0, all lambdas are the same experiment.
    """
    wanted = _key(setting, noise, beta, lam)
    return next((run for run in load_runs() if _key(run.setting, run.noise, run.beta, run.lam) == wanted), None)


def setting_name(name: str, folder: Path) -> str:
    """The name of a setting; in a tree of the released package with the parent folder's name before it, which has lambda."""
    return f"{folder.parent.name}/{name}" if folder.parent.name in LAMBDAS else name


def is_released(setting: str) -> bool:
    """Whether a setting, given by its name in config.json, has the net and the solver of the released runs."""
    return setting.partition("/")[0] in LAMBDAS or setting in {run.setting for run in load_runs()}


def match(config: dict) -> ReleasedRun | None:
    """The released run to compare one of our runs with, or None.

    DM was released with one beta for each lambda and noise. A DM run with another beta is compared with that run.

    Parameters
    ----------
    config : dict
        The content of a run's config.json: "setting", and where they apply "noise", "noise_type", "beta", "lambda", "q",
        "weighting".
    """
    setting, noise, beta, lam = (config.get(key) for key in ("setting", "noise", "beta", "lambda"))
    if not is_released(setting) or noise is None:
        return None  # a net of the user's own
    if noise > 0 and config.get("noise_type") not in (None, "symmetric"):
        return None
    if config.get("q") not in (None, GCE_Q):
        return None
    if weighting := config.get("weighting"):  # it may have been changed by --weighting
        setting = "res44_usw" if weighting == "DM" else f"res44_{weighting.lower()}"
    elif "/" in setting:  # of the released package itself
        setting = "res44_cce" if beta is None else "res44_usw"
    exact = find_released(setting, noise, beta, lam)
    if exact or setting not in DM_DEFAULTS:
        return exact
    lam = DM_DEFAULTS[setting][1] if lam is None else lam
    return next((run for run in load_runs() if run.beta and (run.noise, run.lam) == (noise, lam)), None)


def _read_folders(exp_folder: str, run_folder: str) -> tuple[str, float, float | None, float | None]:
    """The setting, noise, beta and lambda of a released run from its folders' names."""
    found = RUN_FOLDER.fullmatch(run_folder)
    noise = float(found["noise"])
    if found["loss"]:
        return "res44_" + found["loss"].replace("sumW", "DN").lower(), noise, None, None
    beta, lam = float(found["beta"]), LAMBDAS[exp_folder]
    return "res44_uniform" if beta == 0 else "res44_imae" if lam == 1 else "res44_usw", noise, beta, lam


def _table1() -> dict[tuple, float]:
    """Table 1's results under clean and symmetrically noisy labels, by experiment."""
    values = {}
    for row in _rows("results.csv"):
        if (row["paper"], row["table"]) == ("DM-CVPR21sub", "Table1") and row["noise_type"] != "asymmetric":
            setting = "res44_usw" if row["method"] == "DM" else "res44_" + row["method"].replace("-", "_").lower()
            beta, lam = (float(row[key]) if row[key] not in ("", "any") else None for key in ("beta", "lambda"))
            values[_key(setting, float(row["noise_rate"]), beta, lam)] = float(row["value"]) / 100
    return values


def _key(setting: str, noise: float, beta: float | None, lam: float | None) -> tuple:
    """A key that is equal for equal experiments, and only for these."""
    if setting not in DM_DEFAULTS:
        return setting, noise
    own_beta, own_lambda = DM_DEFAULTS[setting]
    beta = own_beta if beta is None else beta
    lam = own_lambda if lam is None else lam
    return "DM", noise, beta, lam if beta else None


def _rows(name: str) -> list[dict[str, str]]:
    with open(FOLDER / name, newline="") as file:
        return list(csv.DictReader(file))
