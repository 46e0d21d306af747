"""The 48 released runs as commands: the names that `solvers.train --released` takes, and the table of --list-released."""

import argparse

from base.did_you_mean import did_you_mean
from base.errors import InputError
from solvers.nets.setting import SETTINGS
from solvers.reporting.released_runs import ReleasedRun, load_runs


def choose(args: argparse.Namespace) -> None:
    """Set the arguments of solvers.train to those of the run that ``args.released`` names."""
    run = run_of(*args.released)
    args.setting, args.noise = SETTINGS / run.setting, run.noise
    args.beta, vars(args)["lambda"] = run.beta, run.lam


def run_of(name: str, noise: str | None = None) -> ReleasedRun:
    """The released run with a given name.

    Parameters
    ----------
    name : str
        Either the run folder, e.g. train_Res44_CCE_sumW_0.4; or, with `noise`, a short name of the folder (CCE_sumW), the
        setting (res44_cce_dn) or the paper's name (CCE-DN). Where several DM runs have the same folder name, the parent folder
        determines lambda: lambda0_5/train_Res44_USW_Beta08_lambda1_0.4.
    noise : str, optional
        The noise rate, as 0.4.

    Raises
    ------
    InputError
        If no run, or more than one, has this name.
    """
    parent, _, base = name.rstrip("/").rpartition("/")
    runs = [run for run in load_runs() if run.exp_folder == parent or run.exp_folder.endswith(f"_{parent}") or not parent]
    if not runs:
        folders = sorted({run.exp_folder for run in load_runs()})
        raise InputError(f"--released {name}: no released run lies in a folder {parent}; there are {', '.join(folders)}")
    named = [run for run in runs if base.lower() in names(run)]
    if not named:
        known = [known for run in runs for known in names(run)]
        raise InputError(f"--released {name}: no released run has this name{did_you_mean(base, known)}; "
                         "--list-released shows all 48")
    found = [run for run in named if base.lower() == run.run_folder.lower() or noise is not None and _is(run.noise, noise)]
    if noise is None and not found:
        raise InputError(f"--released {name}: give the noise too: {_list({str(run.noise) for run in named})}")
    if not found:
        raise InputError(f"--released {name} {noise}: it was released with noise {_list({str(run.noise) for run in named})}")
    if noise is not None and not _is(found[0].noise, noise):
        raise InputError(f"--released {name} {noise}: the run's noise is {found[0].noise}")
    if len(found) > 1:
        raise InputError(f"--released {name}: {len(found)} released runs have this name; say which: "
                         + _list({command_name(run) for run in found}))
    return found[0]


def names(run: ReleasedRun) -> list[str]:
    """The names that --released takes for a run, in lower case."""
    return [text.lower() for text in (run.run_folder, short_name(run), run.setting, run.name)]


def short_name(run: ReleasedRun) -> str:
    """The run folder's name without its common prefix and without the noise: CCE_sumW, USW_Beta08_lambda1."""
    return run.run_folder.removeprefix("train_Res44_").rpartition("_")[0]


def command_name(run: ReleasedRun) -> str:
    """The shortest name that no other run with the same noise has."""
    alone = sum(short_name(other) == short_name(run) and other.noise == run.noise for other in load_runs()) == 1
    return short_name(run) if alone else f"{run.exp_folder.rpartition('V03_')[2]}/{short_name(run)}"


def in_order() -> list[ReleasedRun]:
    """The 48 runs by setting, lambda and noise."""
    return sorted(load_runs(), key=lambda run: (run.setting, run.lam or 0, run.noise))


def table() -> str:
    """The 48 runs with their accuracies in %."""
    lines = [f"{'--released':34}{'loss':26}{'setting':16}{'best':>7}{'final':>7}{'last 5':>8}{'Table 1':>9}"]
    for run in in_order():
        accuracies = (run.best, run.final, run.mean_last_five)
        best, final, last_five = (f"{100 * value:.2f}" for value in accuracies)
        lines.append(f"{command_name(run) + f' {run.noise}':34}{run.name:26}{run.setting:16}{best:>7}{final:>7}"
                     f"{last_five:>8}{100 * run.table1:>9.1f}")
    return "\n".join([*lines, "test accuracy in %: best and last of 30 checkpoints, mean of the last five; Table 1 of "
                              "arXiv 1905.11233"])


def _is(noise: float, text: str) -> bool:
    try:
        return float(text) == noise
    except ValueError:
        raise InputError(f"--released: {text!r} is not a noise rate; 0.0, 0.2, 0.4 and 0.6 are") from None


def _list(names: set[str]) -> str:
    return " or ".join(sorted(names))
