"""The 48 released runs and the paper's Table 1 (arXiv 1905.11233), from published/."""

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean

FOLDER = Path(__file__).resolve().parents[2] / "published"
DM_DEFAULTS = {"res44_usw": (6.0, 0.5), "res44_imae": (6.0, 1.0), "res44_uniform": (0.0, 1.0)}  # setting: beta, lambda
GCE_Q = 0.7  # of every released GCE run

# The parent folder tells lambda; the "_lambda1" in the names of the run folders is a leftover.
LAMBDAS = {
    "CIFAR100_ResNet44_V03_ExpCCE_lambda0": 0.0,
    "CIFAR100_ResNet44_V03_lambda0_5": 0.5,
    "CIFAR100_ResNet44_V03_lambda1": 1.0,
}
RUN_FOLDER = re.compile(r"train_(?P<setting>Res44_(?:USW_Beta(?P<beta>\d+)_lambda1|(?P<loss>\w+)))_(?P<noise>[0-9]\.[0-9]+)")


@dataclass(frozen=True)
class Curve:
    """Test accuracy of a run's checkpoints.

    Attributes
    ----------
    iterations : list of int
        Solver steps done at each checkpoint, ascending.
    accuracies : list of float
        Fraction of the test images classified correctly, 0 to 1.
    """

    iterations: list[int]
    accuracies: list[float]

    @property
    def best(self) -> float:
        return max(self.accuracies)

    @property
    def final(self) -> float:
        return self.accuracies[-1]

    @property
    def mean_last_five(self) -> float:
        """Of fewer where there are fewer."""
        return fmean(self.accuracies[-5:])

    def at(self, iterations: Iterable[int]) -> "Curve":
        """The part of the curve at those of `iterations` that it has."""
        wanted = set(iterations)
        kept = [point for point in zip(self.iterations, self.accuracies, strict=True) if point[0] in wanted]
        return Curve([iteration for iteration, _ in kept], [accuracy for _, accuracy in kept])


@dataclass(frozen=True)
class PublishedRun(Curve):
    """A released run: ResNet-44 on CIFAR-100, symmetric label noise, 30,000 steps, a checkpoint every 1,000.

    Attributes
    ----------
    exp_folder, run_folder : str
        What the authors called its folders.
    setting : str
        The folder of prototxt/ that trains with this loss, given `beta` and `lam`.
    noise : float
        Rate of the label noise, 0 to 1.
    beta, lam : float or None
        DM's beta and lambda; None for the other losses.
    table1 : float
        What Table 1 of the paper says of this loss and noise, 0 to 1: the best of the 30 accuracies, rounded to 0.001
        (three of the 48 differ: published/README.md).
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
def load_runs() -> tuple[PublishedRun, ...]:
    """All 48, in the order of accuracy_curves.csv."""
    points: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for row in _rows("accuracy_curves.csv"):
        point = int(row["iter"]), float(row["test_accuracy"])
        points.setdefault((row["exp_folder"], row["run_folder"]), []).append(point)
    table1 = _table1()
    runs = []
    for folders, curve in points.items():
        iterations, accuracies = map(list, zip(*curve, strict=True))
        experiment = _read_folders(*folders)
        runs.append(PublishedRun(iterations, accuracies, *folders, *experiment, table1[_key(*experiment)]))
    return tuple(runs)


def find(setting: str, noise: float, beta: float | None = None, lam: float | None = None) -> PublishedRun | None:
    """The released run of just this experiment, or None.

    `beta` and `lam` default to the setting's own and mean nothing to the losses other than DM. For DM, they decide and
    not the setting's name: res44_usw with lambda 1 is res44_imae, and with beta 0 every lambda is the same.
    """
    wanted = _key(setting, noise, beta, lam)
    return next((run for run in load_runs() if _key(run.setting, run.noise, run.beta, run.lam) == wanted), None)


def setting_name(name: str, folder: Path) -> str:
    """`name`, after that of the parent folder in a tree of the released package: there it tells lambda."""
    return f"{folder.parent.name}/{name}" if folder.parent.name in LAMBDAS else name


def is_released(setting: str) -> bool:
    """Whether the net and solver of a setting, by its name in config.json, are those of the released runs."""
    return setting.partition("/")[0] in LAMBDAS or setting in {run.setting for run in load_runs()}


def match(config: dict) -> PublishedRun | None:
    """The released run to hold against a run of ours, or None.

    DM was released with one beta for each lambda and noise: that run it is, even where its beta is not the run's own.

    Parameters
    ----------
    config : dict
        A run's config.json: "setting", and where they apply "noise", "noise_type", "beta", "lambda", "q", "weighting".
    """
    setting, noise, beta, lam = (config.get(key) for key in ("setting", "noise", "beta", "lambda"))
    if not is_released(setting) or noise is None:
        return None  # a net of the user's own
    if noise > 0 and config.get("noise_type") not in (None, "symmetric"):
        return None
    if config.get("q") not in (None, GCE_Q):
        return None
    if weighting := config.get("weighting"):  # which may have been chosen for the run, against its setting
        setting = "res44_usw" if weighting == "DM" else f"res44_{weighting.lower()}"
    elif "/" in setting:  # of the released package itself
        setting = "res44_cce" if beta is None else "res44_usw"
    exact = find(setting, noise, beta, lam)
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
    """What tells one experiment from another."""
    if setting not in DM_DEFAULTS:
        return setting, noise
    own_beta, own_lambda = DM_DEFAULTS[setting]
    beta = own_beta if beta is None else beta
    lam = own_lambda if lam is None else lam
    return "DM", noise, beta, lam if beta else None


def _rows(name: str) -> list[dict[str, str]]:
    with open(FOLDER / name, newline="") as file:
        return list(csv.DictReader(file))
