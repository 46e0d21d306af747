"""Compute the results of runs: test accuracies beside those of the released runs, for single runs and over seeds.

solvers.compare prints these numbers and solvers.report shows them; both take them from here.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from layers.table import BY_NAME, OWN
from solvers.reporting import released_runs
from solvers.reporting.accuracy import Curve, read_accuracy
from solvers.reporting.released_runs import ReleasedRun
from solvers.runs import config

MEASURES = {"best": "best", "final": "final", "mean of last five": "mean_last_five"}


@dataclass(frozen=True)
class Measure:
    """An accuracy of a run beside that of its released run, both as fractions of 1.

    Attributes
    ----------
    name : str
        One of MEASURES.
    ours : float
    released : float or None
        None if there is no released run, or no checkpoint that both have.
    table1 : float or None
        The result in Table 1 of the paper, which gives only the best accuracy.
    complete : bool
        Whether the run has all checkpoints of the released run, which Table 1 is computed from.
    """

    name: str
    ours: float
    released: float | None = None
    table1: float | None = None
    complete: bool = False

    @property
    def difference(self) -> float | None:
        """Ours minus the released, as a fraction of 1; None without a released accuracy."""
        return None if self.released is None else self.ours - self.released

    @property
    def table1_difference(self) -> float | None:
        """Ours minus Table 1, as a fraction of 1; None unless the run has all checkpoints."""
        return self.ours - self.table1 if self.table1 is not None and self.complete else None


@dataclass(frozen=True)
class Result:
    """A run and its released run, both taken at the checkpoints that both have.

    Attributes
    ----------
    run : Path
    config : dict
    curve : Curve
        All that was measured.
    released : ReleasedRun or None
    measures : tuple of Measure
        In the order of MEASURES.
    notes : tuple of str
        Remarks for the reader of the numbers.
    """

    run: Path
    config: dict
    curve: Curve
    released: ReleasedRun | None
    measures: tuple[Measure, ...]
    notes: tuple[str, ...]

    @property
    def steps(self) -> int:
        """The step of the last measured checkpoint."""
        return self.curve.iterations[-1]

    @property
    def is_complete(self) -> bool:
        """Whether it has all the checkpoints of its released run, if it has one."""
        return self.released is None or self.measures[0].complete

    @property
    def loss(self) -> str:
        """The paper's name of the loss, with its parameters. If the net is not the released one, the setting comes first."""
        return self.family + (f", beta {self.beta:g}" if self.beta else "")

    @property
    def family(self) -> str:
        """The name of the loss without DM's beta: a row of Table 1 has another beta for each noise rate."""
        setting, weighting, lam = (self.config.get(key) for key in ("setting", "weighting", "lambda"))
        beta, original = self._dm_beta, released_runs.is_released(setting)
        if beta is not None:
            name = "DM, beta 0" if not beta else "DM" if lam is None else f"DM, lambda {lam:g}"
        elif weighting:
            name = weighting.replace("_", "-") + "".join(self._parameters(weighting))
        elif original:
            name = "CCE" if "/" in setting else released_runs.name_of(setting)
        else:
            return setting
        return name if original else f"{setting}: {name}"

    @property
    def beta(self) -> float | None:
        """DM's beta; None for other losses, and for beta 0, which is a family of its own."""
        return self._dm_beta or None

    @property
    def _dm_beta(self) -> float | None:
        """The config's beta if it is DM's: other weightings have a parameter of this name, too."""
        return self.config.get("beta") if self.config.get("weighting") in (None, "DM") else None

    def _parameters(self, weighting: str) -> Iterator[str]:
        """What to add to a weighting's name: parameters that differ from their defaults, and formulas."""
        for parameter in BY_NAME[weighting].parameters if weighting in BY_NAME else ():
            if (value := self.config.get(parameter.name)) not in (None, parameter.default):
                yield f", {parameter.name} {value:g}"
        yield from (f", {key} {self.config[key]}" for key in OWN if self.config.get(key))

    @property
    def noise(self) -> str:
        """The label noise: its type, unless symmetric, and its rate; or the file with the labels, with its folder's name."""
        rate, kind, file = (self.config.get(key) for key in ("noise", "noise_type", "train_data"))
        if file:
            return str(Path(*Path(file).parts[-2:]))
        if rate is None:
            return "own data"
        return f"{float(rate)}" if kind in (None, "symmetric") or not rate else f"{kind} {float(rate)}"

    @property
    def seed(self) -> int | None:
        return self.config.get("seed")


@dataclass(frozen=True)
class Summary:
    """A measure over the runs of an experiment that differ only in their seeds: fractions of 1.

    Attributes
    ----------
    ours, released, difference : float or None
        Means over the runs. Each run is compared with the released one at the checkpoints that both have.
    deviation : float or None
        The sample standard deviation of `ours`; None if there is only one run.
    """

    ours: float
    deviation: float | None
    released: float | None
    difference: float | None


def read(run: Path) -> Result:
    """The results in a run folder.

    Raises
    ------
    InputError
        If its accuracy.txt or its config.json is missing or malformed.
    """
    about = config.read(run)
    whole = ours = read_accuracy(run / "accuracy.txt")
    released = released_runs.match(about)
    theirs, complete, notes = Curve([], []), False, []
    if released is None:
        notes.append(f"{run}: no released run has its loss, parameters and label noise")
    else:
        theirs = released.at(ours.iterations)
        complete = theirs.iterations == released.iterations
        if released.beta not in (None, about.get("beta")):
            notes.append(f"{run}: for its lambda and noise beta {released.beta:g} was released; compared with that run")
        if not complete:
            last, count = released.iterations[-1], len(released.iterations)
            notes.append(
                f"{run}: at {ours.iterations[-1]:,} of {last:,} steps; compared at {len(theirs.iterations)} of the released "
                f"run's {count} checkpoints; Table 1 is the best of them all"
            )
    if theirs.iterations:
        ours = ours.at(theirs.iterations)
    measures = tuple(
        Measure(name, getattr(ours, attribute), getattr(theirs, attribute) if theirs.iterations else None,
                released.table1 if released and name == "best" else None, complete)
        for name, attribute in MEASURES.items())
    return Result(run, about, whole, released, measures, tuple(notes))


def summarise(results: Iterable[Result], measure: str) -> Summary:
    """Summarise one measure over runs that differ in their seeds."""
    measures = [found for result in results for found in result.measures if found.name == measure]
    ours, released, differences = ([value for value in values if value is not None] for values in zip(
        *((found.ours, found.released, found.difference) for found in measures), strict=True))
    return Summary(fmean(ours), stdev(ours) if len(ours) > 1 else None, fmean(released) if released else None,
                   fmean(differences) if differences else None)


def percent(fraction: float | None, digits: int = 2) -> str:
    """A fraction in %; "-" for None."""
    return "-" if fraction is None else f"{100 * fraction:.{digits}f}"


def points(difference: float | None) -> str:
    """A difference of two fractions in percentage points, with its sign; "-" for None."""
    return "-" if difference is None else f"{100 * difference:+z.2f}"
