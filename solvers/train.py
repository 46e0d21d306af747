"""Train a setting as the released experiments did.

    python -m solvers.train prototxt/res44_usw --noise 0.4            # -> runs/res44_usw/noise_0.4/seed_123
    python -m solvers.train prototxt/res44_usw --noise 0.4 --resume   # go on where it stopped
    python -m solvers.train prototxt/res44_usw --noise 0.4 --beta 8   # -> runs/res44_usw_beta_8/noise_0.4/seed_123
    python -m solvers.train prototxt/res44_usw --max-iter 20          # a smoke run
    python -m solvers.train my/folder                                 # any solver.prototxt, and the net that it names
    python -m solvers.train --released CCE_sumW 0.4                   # a released run as it was; --list-released shows all
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np

from base import files
from base.commands import command
from base.errors import InputError, reports_errors
from base.terminal import say
from data_toolkit import prepare
from data_toolkit.dataset import Dataset
from data_toolkit.noise import LabelNoise
from solvers.evaluation import test_nets
from solvers.nets import inputs, pycaffe, setting, threads, user_layers
from solvers.nets.built_net import BuiltNet
from solvers.nets.labels import check_labels
from solvers.nets.permissions import Permissions
from solvers.nets.pycaffe import caffe, last_words, why_slow
from solvers.runs import dynamics
from solvers.runs.checkpoints import Checkpoints
from solvers.runs.folder import RunFolder, removed_if_refused
from solvers.runs.training_set import NOISE_SEED
from solvers.training import gpus, options, released, testing
from solvers.training.divergence import LossCheck
from solvers.training.plan import from_environment, plan_of
from solvers.training.steps import Record, steps


@reports_errors()
def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit code: 0; 2 after an error; 130, 143 or 138 after SIGINT, SIGTERM or SIGUSR1;
    141 if what reads its output has ended."""
    argv = sys.argv[1:] if argv is None else argv
    args = options.parse(argv, __doc__)
    if args.list_released:
        say(released.table())
        return 0
    try:
        stopped_by = train(args, argv)
    except BrokenPipeError:
        raise
    except OSError as error:  # e.g. the disk is full
        raise InputError(f"{error}; the run goes on with --resume from its newest checkpoint") from error
    return 128 + stopped_by if stopped_by else 0


def train(args: argparse.Namespace, argv: list[str]) -> int | None:
    """Train as the arguments say; return the signal that stopped it early, if one did.

    Raises
    ------
    InputError
        If an input is wrong.
    """
    confine(args)
    computing = threads.use(args.threads)
    devices = gpus.choose(args.gpu)
    ranks = len(devices) or 1
    if name := options.of_loss(args)["weighting"]:
        os.environ["CAFFE_WEIGHTING"] = name  # for the user's own Python layers
    plan = plan_of(args, devices)
    pycaffe.use_devices(devices)
    folder, seed, stop = plan.folder, plan.solver.random_seed, plan.solver.max_iter

    new = folder.make()
    advice = f"{folder} keeps its newest checkpoint; once the cause is gone, go on with --resume"
    with folder.lock(args.wait), last_words(advice), user_layers.blamed(plan.setting.net_param):
        start = folder.starting_point(args.resume)
        if start >= stop:
            plan.run(args.layers, ranks, computing, None).check_same()
            folder.checkpoints.prune(start)  # the process may have been killed before it did so
            say(f"{folder}: at iteration {start} of {stop}: nothing to do")
            return None
        with removed_if_refused([] if start else new):
            data = plan.training_set.prepare(args.data) if plan.fed_blobs else None
            plan.allowed.confine(write=[folder.path], emptied=[args.runs], gpus=bool(devices), limited=False)
            run = plan.run(args.layers, ranks, computing, data)
            if start:
                run.check_resumable()
                if not args.inexact_resume:
                    inputs.check_repeatable(plan.net_param)
            run.write()

            caffe.set_random_seed(seed)
            np.random.seed(seed)
            solver = run.make_solver()
            train_net = BuiltNet.of(solver.net, plan.net_param)
            if data:
                check_labels(train_net, data.labels)
            folder.checkpoints.check_space(solver)
            if start:
                folder.checkpoints.restore(solver, start)
            tester = testing.tester_of(solver, folder.path, args.data, args.test_interval, plan.setting.solver)
            test_is_due = testing.is_due(tester, folder.path, start)
            if start and not plan.fed_blobs:
                done = start // tester.interval - test_is_due if tester else 0
                tests = [(net, count * done) for net, count in tester.reading] if tester else []
                inputs.fast_forward(solver.net, tests, seed, start, plan.solver.iter_size)
            batches = inputs.fill(solver.net, plan.fed_blobs, data, seed, start, ranks=ranks)
        where = f"from iteration {start}" if start else "nothing to resume, a new run" if args.resume else "a new run"
        say(setting.describe_net(plan.setting))
        say(f"{folder}: {where}")
        if not devices and (reason := why_slow()):
            say(f"note: {reason}")
        if not devices:
            threads.note_if_busy()
        observer = observer_of(train_net, data, args.dynamics_interval, folder, start) if plan.fed_blobs else None
        check_loss = LossCheck(train_net, folder)
        with gpus.OtherRanks(devices, gpus.Task(run, plan.fed_blobs, plan.training_set, args.data, start)) as others:
            others.join(solver)
            with Record(run, solver, observer, tester, ranks) as record:
                if test_is_due:
                    record.test(start)
                stopped_by = steps(run, solver, batches, check_loss, record, others)
                if stopped_by:
                    resume = [*argv, *from_environment(args, plan.changed), *([] if args.resume else ["--resume"])]
                    record.say(f"{stopped_by.name}: stopped after iteration {solver.iter} of {stop}, which is saved; "
                               f"go on with\n  {command('solvers.train', resume)}")
    if not stopped_by:
        say(f"iteration {stop} of {stop}: done; {how_to_measure(folder.path, plan.allowed, args)}")
    return stopped_by


def observer_of(train_net: BuiltNet, data: Dataset, interval: int, folder: RunFolder, start: int) -> dynamics.Observer | None:
    """The observer of the learning dynamics; None if they cannot be measured, or if dynamics.csv lacks earlier steps."""
    observer = dynamics.observer(train_net, data, interval)
    then = dynamics.interval_of(folder.path, start)
    if observer and then not in (None, interval):
        raise InputError(f"cannot resume {folder}: its {dynamics.DYNAMICS_FILE} has a row every {then} steps, now every "
                         f"{interval}: give --dynamics-interval {then}")
    if observer and data.matched and not dynamics.is_whole(folder.path, start, observer.interval):
        file = folder.path / dynamics.DYNAMICS_FILE
        say(f"note: {file} is not continued: it lacks steps at which the true labels were unknown")
        return None
    return observer


def how_to_measure(folder: Path, allowed: Permissions, args: argparse.Namespace) -> str:
    """The command that measures a finished run, with the options of training that it needs too; or why no command can.

    Parameters
    ----------
    folder : Path
        The run folder.
    allowed : Permissions
        What the net was allowed in training. Without options, solvers.evaluate allows only its defaults.
    args : argparse.Namespace
    """
    try:
        nets = [net.param for net in test_nets.read(folder)]
    except InputError as error:
        return f"its weights are in {Checkpoints(folder).folder} (solvers.evaluate cannot measure them: {error})"
    options = ["--data", str(args.data)] if args.data != Path("data") else []
    for module in sorted({layer.python_param.module for net in nets for layer in net.layer} & set(args.allow_module)):
        options += ["--allow-module", module]
    for path in allowed.folders_read(nets):
        if not any(path.is_relative_to(always) for always in (files.real(folder), files.real(args.data))):
            options += ["--allow-path", str(path)]
    return "next: " + command("solvers.evaluate", [folder, *options])


def confine(args: argparse.Namespace) -> None:
    """Confine this process to the files that the arguments name, before it opens one. A second call narrows this later.

    Network connections are allowed only while CIFAR-100 has to be downloaded.
    """
    if args.released:
        released.choose(args)
    setting_folder = args.setting if args.setting.is_dir() else args.setting.parent
    given = [Path(path) for path in (args.train_data, args.noise_matrix, os.environ.get("CIFAR100_SOURCE")) if path]
    prepared = prepare.paths(args.data, LabelNoise(args.noise_type or "symmetric", args.noise or 0.0, NOISE_SEED))
    download = not given and not (args.data / prepare.ARCHIVE).is_file() and not all(path.is_file() for path in prepared)
    Permissions.from_options(args).confine([setting_folder, *given], [args.runs, args.data], gpus=bool(args.gpu),
                                           network=download, limited=False)


if __name__ == "__main__":
    sys.exit(main())
