"""The data of a report besides accuracies: learning dynamics, emphasis, and the details of each run."""

import json
import math
from datetime import timedelta
from pathlib import Path

import numpy as np

from base.errors import InputError
from layers.table import OWN, PARAMETERS
from layers.weighting import Weighting, weighting_with
from solvers.nets import losses, prototext
from solvers.nets.pycaffe import caffe
from solvers.nets.setting import SETTINGS
from solvers.reporting import curves, released_runs
from solvers.reporting.results import Result
from solvers.reporting.tables import Row
from solvers.runs.dynamics import DYNAMICS_FILE, Dynamics, means
from solvers.runs.logs import Step, read_last, read_log

pb = caffe.proto.caffe_pb2

DYNAMICS_POINTS = 60  # the most points in a run's curve
EMPHASIS_AT = np.linspace(0, 1, 101)


def data_of(noises: list[str], rows: list[Row], dynamics: dict[Path, dict | None]) -> dict:
    """The data of all charts, for JSON. Runs refer to their row and column of the table, and to their seed, by number."""
    runs, released, emphasis = [], {}, {}
    seeds = list(dict.fromkeys(str(result.seed) for row in rows for results in row.cells.values() for result in results))
    seeds.sort(key=lambda seed: (len(seed), seed))
    for number, row in enumerate(rows):
        for column, noise in enumerate(noises):
            for result in row.cells[noise]:
                place = {"row": number, "noise": column}
                runs.append(place | {
                    "seed": seeds.index(str(result.seed)),
                    "name": f"{result.loss}, noise {result.noise}, seed {result.seed}", "iterations": result.curve.iterations,
                    "accuracies": _percents(result.curve.accuracies), "drops": drops_of(result),
                    "dynamics": dynamics[result.run]})
                if result.released:
                    name = f"published: {result.released.name}, noise {result.released.noise}"
                    released[number, column, name] = place | {
                        "name": name, "iterations": result.released.iterations,
                        "accuracies": _percents(result.released.accuracies)}
                if weighting := weighting_of(result):
                    density = weighting.density(EMPHASIS_AT)
                    if np.isfinite(density).all():
                        emphasis[number, result.loss] = {
                            "row": number, "name": result.loss, "density": [float(f"{value:.4g}") for value in density]}
    return {"rows": [row.name for row in rows], "noises": noises, "seeds": seeds, "runs": runs,
            "released": list(released.values()), "emphasis": list(emphasis.values())}


def _percents(accuracies: list[float]) -> list[float]:
    return [round(100 * accuracy, 2) for accuracy in accuracies]


def weighting_of(result: Result) -> Weighting | None:
    """The weighting of a run's loss; None if it is unknown."""
    about = result.config
    given = {name: about[name] for name in (*PARAMETERS, *OWN) if about.get(name) is not None}
    try:
        if about.get("weighting") or about.get("beta") is not None:
            return weighting_with(about.get("weighting") or "DM", given)
        if result.family == "CCE":
            return Weighting("CCE")
        param = prototext.read(result.run / "train.prototxt", pb.NetParameter())
        loss = next(filter(losses.is_softmax_loss, param.layer), None)
        return loss and losses.weighting_of(loss)
    except ValueError:  # InputError among them
        return None


def drops_of(result: Result) -> list[int]:
    """The iterations at which the learning rate drops. They come from the run's solver, or from its setting without one."""
    last = result.released.iterations[-1] if result.released else result.steps
    setting = result.config["setting"]
    for folder in (result.run, *([SETTINGS / setting] if released_runs.is_released(setting) else [])):
        if (folder / "solver.prototxt").is_file():
            try:
                return curves.learning_rate_drops(prototext.read(folder / "solver.prototxt", pb.SolverParameter()), last)
            except InputError:
                break
    return []


def read_dynamics(result: Result) -> dict[str, object] | None:
    """A run's learning dynamics, averaged to DYNAMICS_POINTS points, and the fraction of noisy labels; None without any."""
    try:
        values = np.array(read_log(result.run / DYNAMICS_FILE, Dynamics), float)
    except (InputError, OverflowError):
        return None
    examples = values[:, 1:3].sum() if len(values) else 0
    if not 0 < examples < math.inf:
        return None
    reduced = means(values, -(-len(values) // DYNAMICS_POINTS))
    columns = dict(zip(Dynamics._fields, reduced.T, strict=True))
    numbers = {name: [float(f"{value:.4g}") if 0 <= value < 1.01 else None for value in columns[name]]
               for name in ("clean_p", "noisy_p", "clean_share", "noisy_share")}
    return {"iterations": [round(value) for value in columns["iteration"]], **numbers,
            "noisy": float(f"{values[:, 2].sum() / examples:.4g}")}


def particulars(result: Result, dynamics: dict | None) -> list[tuple[str, str]]:
    """The details of a run for the page, as pairs of name and text."""
    about = dict(result.config)
    versions = about.pop("versions", None)
    found = [("folder", str(result.run)), ("label noise", _noise_facts(about, dynamics)), ("steps", f"{result.steps:,}")]
    if time := _time(result):
        found.append(("time", time))
    if isinstance(versions, dict):
        found.append(("versions", ", ".join(f"{name} {version}" for name, version in versions.items())))
    found += [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in about.items()]
    return [(_short(name), _short(value)) for name, value in found]


def _noise_facts(about: dict, dynamics: dict | None) -> str:
    rate, kind, file = (about.get(name) for name in ("noise", "noise_type", "train_data"))
    facts = [f"labels of {file}"] if file else []
    if rate is not None:
        facts.append(f"{kind or 'unknown type'}, rate {rate:g}")
    if dynamics:
        facts.append(f"{dynamics['noisy']:.4f} of the labels in its batches were wrong")
    return "; ".join(facts) or "unknown: its net read its own data"


def _time(result: Result) -> str | None:
    """How long the training took: from its log, or from "seconds" in config.json."""
    try:
        last = read_last(result.run / "log.csv", Step)
    except InputError:
        return None
    seconds, steps = (last.seconds, last.iteration) if last else (result.config.get("seconds"), result.steps)
    if not isinstance(seconds, int | float) or not 0 < seconds < 1e9 or not steps:
        return None
    return f"{timedelta(seconds=round(seconds))} for {steps:,} steps, {seconds / steps:.3f} s each"


def _short(text: str) -> str:
    return text if len(text) <= 500 else text[:500] + "…"
