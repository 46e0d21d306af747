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
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

import numpy as np

from base import files
from base.commands import command
from base.errors import DataError
from base.terminal import say
from data_toolkit import dataset, prepare
from data_toolkit.dataset import Dataset
from solvers.errors import SolverError, failed
from solvers.evaluation import test_nets
from solvers.nets import admission, inputs, losses, pycaffe, setting, threads, user_layers
from solvers.nets.permissions import Permissions
from solvers.nets.phases import nets_of, train_state
from solvers.nets.pycaffe import caffe, last_words, seed_layers, why_slow
from solvers.nets.rehearsal import check_labels
from solvers.reporting import published
from solvers.runs import dynamics, run
from solvers.runs.checkpoints import Checkpoints
from solvers.runs.dynamics import Dynamics
from solvers.runs.logs import CsvLog, Progress, Step, TensorBoard
from solvers.training import divergence, gpus, options, overrides, released, testing
from solvers.training.interrupt import Interrupt
from solvers.training.training_set import NOISE_SEED, TrainingSet

pb = caffe.proto.caffe_pb2

CHECKPOINT_INTERVAL = 1000


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit code: 0; 2 after an error; 130, 143 or 138 after SIGINT, SIGTERM or SIGUSR1."""
    argv = sys.argv[1:] if argv is None else argv
    args = options.parse(argv, __doc__)
    try:
        if args.list_released:
            say(released.table())
            return 0
        stopped_by = train(args, argv)
    except (SolverError, DataError, MemoryError) as error:
        return failed(error)
    except OSError as error:  # the disk is full, or gone
        return failed(SolverError(f"{error}; the run goes on with --resume from its newest checkpoint"))
    except KeyboardInterrupt:
        return 130
    return 128 + stopped_by if stopped_by else 0


def train(args: argparse.Namespace, argv: list[str]) -> int | None:
    """Train as the arguments say; return the signal that stopped it early, if one did.

    Raises
    ------
    SolverError, base.errors.DataError
        If an input is wrong.
    """
    confine(args)
    computing = threads.use(args.threads)
    devices = gpus.choose(args.gpu)
    if name := options.of_loss(args)["weighting"]:
        os.environ["CAFFE_WEIGHTING"] = name  # for Python layers of the user's own
    labels, chosen, changed, solver_param, allowed, fed, folder = plan(args, devices)
    pycaffe.use_devices(devices)
    seed = solver_param.random_seed
    state = train_state(chosen.net, solver_param)

    new = run.make(folder)
    advice = f"{folder} keeps its newest checkpoint; once the cause is gone, go on with --resume"
    with run.lock(folder, args.wait), last_words(advice), user_layers.blamed(chosen.net):
        interval = chosen.solver.snapshot or CHECKPOINT_INTERVAL
        checkpoints = Checkpoints(folder, interval)
        start = starting_point(checkpoints, args.resume)
        if start >= solver_param.max_iter:
            checkpoints.prune(start)  # a kill may have come before
            say(f"{folder}: at iteration {start} of {solver_param.max_iter}: nothing to do")
            return None
        with run.removed_if_refused(new):
            data = load_data(args.data, labels) if fed else None
            allowed.confine(write=[folder], emptied=[args.runs], gpus=bool(devices))
            this = run.Run(folder, chosen, solver_param, {
                "setting": chosen.name, **labels.config, "seed": seed, **losses.in_use(chosen.net), "layers": args.layers,
                "gpus": len(devices) or 1, "threads": computing, "max_iter": solver_param.max_iter, "snapshot": interval,
                "data_sha256": data and data.fingerprint})
            if start:
                this.check_resumable()
                if not args.inexact_resume:
                    inputs.check_repeatable(chosen.net, state)
            this.write()

            caffe.set_random_seed(seed)
            np.random.seed(seed)
            solver = this.make_solver()
            if data:
                check_labels(solver.net, nets_of(chosen.net, solver_param, chosen.shared_net)[0], data.labels)
            checkpoints.check_space(solver)
            if start:
                checkpoints.restore(solver, start)
            tester = testing.tester_of(solver, folder, args.data, args.test_interval, chosen.solver)
            if start and not fed:
                tests = [(net, count * (start // tester.interval)) for net, count in tester.reading] if tester else []
                inputs.fast_forward(solver.net, tests, seed, start, solver_param.iter_size)
            batches = inputs.fill(solver.net, fed, data, seed, start, ranks=len(devices) or 1)
        where = f"from iteration {start}" if start else "nothing to resume, a new run" if args.resume else "a new run"
        say(setting.describe_net(chosen))
        say(f"{folder}: {where}")
        if not devices and (reason := why_slow()):
            say(f"note: {reason}")
        if not devices:
            threads.note_if_busy()
        go_on = command("solvers.train", [*argv, *from_environment(args, changed), *([] if args.resume else ["--resume"])])
        observer = dynamics.observer(solver.net, chosen.net, state, data, args.dynamics_interval) if fed else None
        if observer and data.matched and not dynamics.is_whole(folder, start, observer.interval):
            say(f"note: {folder / dynamics.FILE} lacks steps whose true labels were unknown: it stays as it is")
            observer = None
        check_loss = divergence.check_of(solver.net, chosen.net, state, checkpoints)
        with gpus.Others(devices, gpus.Task(folder, this.make_solver, fed, labels, args.data, seed, start)) as others:
            others.join(solver)
            stopped_by = steps(solver, solver_param, batches, check_loss, observer, tester, others, checkpoints, go_on)
    if not stopped_by:
        say(f"iteration {solver_param.max_iter} of {solver_param.max_iter}: done; {how_to_measure(folder, allowed, args)}")
    return stopped_by


def how_to_measure(folder: Path, allowed: Permissions, args: argparse.Namespace) -> str:
    """The command that measures a finished run, with those of train's options that it needs too; or why none can.

    Parameters
    ----------
    folder : Path
        Of the run.
    allowed : Permissions
        What the net might use while it was trained; evaluate would by itself allow less.
    args : argparse.Namespace
    """
    try:
        nets = [net.param for net in test_nets.read(folder)]
    except SolverError as error:
        return f"its weights are in {Checkpoints(folder).folder} (solvers.evaluate cannot measure them: {error})"
    options = ["--data", str(args.data)] if args.data != Path("data") else []
    for module in sorted({layer.python_param.module for net in nets for layer in net.layer} & set(args.allow_module)):
        options += ["--allow-module", module]
    for path in allowed.folders_read(nets):
        if not any(path.is_relative_to(always) for always in (files.real(folder), files.real(args.data))):
            options += ["--allow-path", str(path)]
    return "next: " + command("solvers.evaluate", [folder, *options])


class Plan(NamedTuple):
    """What the arguments of a run mean.

    Attributes
    ----------
    labels : TrainingSet
    setting : Setting
        With the options about losses in its net.
    changed : dict
        Those of these options that differ from the setting's files.
    solver : caffe_pb2.SolverParameter
        From `run.resolve_solver`.
    allowed : Permissions
        What the net may use.
    fed : tuple of str
        From `inputs.fed_blobs`.
    folder : Path
        Of the run.
    """

    labels: TrainingSet
    setting: setting.Setting
    changed: dict
    solver: pb.SolverParameter
    allowed: Permissions
    fed: tuple[str, ...]
    folder: Path


def plan(args: argparse.Namespace, devices: list[int], rehearse: bool = True) -> Plan:
    """Read and check what a run is to be made from; nothing is written. `rehearse`: see `admission.admit`.

    Raises
    ------
    SolverError, base.errors.DataError
        If an input is wrong.
    """
    if args.released:
        released.choose(args)
    labels = TrainingSet.from_options(args)
    chosen = setting.load(args.setting)
    chosen.name = published.setting_name(chosen.name, chosen.folder)
    overrides.apply(chosen, args)
    changed = change_losses(chosen.net, args)
    solver = run.resolve_solver(chosen.solver, args.seed, args.max_iter, devices)
    allowed = Permissions.from_options(args, chosen.folder, args.runs, args.data)
    fed = check(chosen, solver, labels, allowed, devices, rehearse)
    folder = run.folder_of(args.runs, chosen.name, changed, labels.name, solver.random_seed)
    return Plan(labels, chosen, changed, solver, allowed, fed, folder)


def from_environment(args: argparse.Namespace, changed: dict) -> list[str]:
    """The option that says what this run took from CAFFE_WEIGHTING, if it did."""
    return ["--weighting", changed["weighting"]] if "weighting" in changed and not options.of_loss(args)["weighting"] else []


def change_losses(net: pb.NetParameter, args: argparse.Namespace) -> dict:
    """Put the options about losses into `net`; return those that change what its file says."""
    changed = losses.override(net, options.of_loss(args))
    if args.layers == "python":
        losses.to_python(net)
        changed["layers"] = args.layers
    return changed


def check(chosen: setting.Setting, solver: pb.SolverParameter, labels: TrainingSet, allowed: Permissions,
          devices: list[int], rehearse: bool) -> tuple[str, ...]:
    """Admit the nets of a setting and its solver; return the blobs that the driver is to fill."""
    nets = nets_of(chosen.net, solver, chosen.shared_net)
    fed = inputs.fed_blobs(nets[0], nets[0].state)
    if not fed and (labels.rate or labels.file):
        raise SolverError(f"{labels.name}: this net reads its own data, which the driver does not change; leave out "
                          "--noise and --train-data")
    if fed and solver.iter_size > 1:
        raise SolverError(f"the solver's iter_size is {solver.iter_size}, but the driver feeds one batch a step")
    admission.admit(chosen.folder, [*nets, *([chosen.test_net] if chosen.test_net else ())], allowed,
                    run.for_caffe(chosen, solver), solver.weights, devices, rehearse)
    return fed


def confine(args: argparse.Namespace) -> None:
    """Confine this process to what the arguments name, before it opens any of it; more is taken once the run folder is known.

    CIFAR-100 may have to be downloaded: only then are connections open, and only till then.
    """
    if args.released:
        released.choose(args)
    setting_folder = args.setting if args.setting.is_dir() else args.setting.parent
    given = [Path(path) for path in (args.train_data, args.noise_matrix, os.environ.get("CIFAR100_SOURCE")) if path]
    prepared = dataset.train_name(args.noise_type or "symmetric", args.noise or 0.0, NOISE_SEED)
    download = not given and not any((args.data / name).is_file() for name in (prepare.ARCHIVE, prepared))
    Permissions.from_options(args).confine([setting_folder, *given], [args.runs, args.data], gpus=bool(args.gpu),
                                           network=download)


def starting_point(checkpoints: Checkpoints, resume: bool) -> int:
    """The steps already done; raise SolverError where a run must not be overwritten, or cannot go on."""
    folder, models = checkpoints.folder.parent, checkpoints.models()
    if models and not resume:
        raise SolverError(f"{folder} holds a run that has reached iteration {models[-1]}: give --resume to go on with "
                          "it, or remove it to start again")
    newest = checkpoints.newest()
    if models and newest is None:
        raise SolverError(f"{checkpoints.folder} has weights but no whole .solverstate to go on from: remove {folder} to "
                          "start again")
    return newest or 0


def load_data(folder: Path, labels: TrainingSet) -> Dataset:
    """The training images with their labels, prepared first if they are missing."""
    return labels.prepare(folder)


def steps(solver: caffe.SGDSolver, param: pb.SolverParameter, batches: Iterator[np.ndarray | None],
          check_loss: Callable[[int, np.ndarray | None], float], observer: dynamics.Observer | None,
          tester: testing.Tester | None, others: gpus.Others, checkpoints: Checkpoints, go_on: str) -> int | None:
    """Step the solver to its max_iter, with logs and checkpoints.

    Parameters
    ----------
    solver : caffe.SGDSolver
        At the iteration to start from.
    param : caffe_pb2.SolverParameter
        What it was made from.
    batches : generator
        Each ``next()`` fills the net's inputs and says with which images.
    check_loss : function
        From `divergence.check_of`.
    observer : dynamics.Observer or None
    tester : testing.Tester or None
    others : gpus.Others
        The processes of other GPUs, which step along.
    checkpoints : Checkpoints
    go_on : str
        The command to resume with, for whoever stops it.

    Returns
    -------
    int or None
        The signal that stopped it early.
    """
    net, start, stop, folder = solver.net, solver.iter, param.max_iter, checkpoints.folder.parent
    images = [*next(iter(net.blobs.values())).data.shape, 1][0] * param.iter_size * (len(others.gpus) or 1)
    with ExitStack() as stack:
        stack.enter_context(closing(batches))
        log = stack.enter_context(closing(CsvLog(folder / "log.csv", start)))
        logs = [log]
        if observer:
            logs.append(observed := CsvLog(folder / dynamics.FILE, start, Dynamics, observer.interval))
            stack.enter_context(closing(observed))
        if tester:
            logs.append(tested := CsvLog(folder / testing.FILE, start, tester.kind, interval=None))
            stack.enter_context(closing(tested))
        board = stack.enter_context(closing(TensorBoard(folder / "tensorboard", start)))
        progress = stack.enter_context(closing(Progress(start, stop, images)))
        interrupt = stack.enter_context(Interrupt())
        began = time.perf_counter() - (log.last.seconds if start else 0)
        for iteration in range(start + 1, stop + 1):
            fed = next(batches)
            lr = solver.lr
            seed_layers(param.random_seed, iteration)
            others.step()
            solver.step(1)
            loss = check_loss(iteration, fed)
            for follower in (log, board, progress):
                follower.write(Step(iteration, loss, lr, time.perf_counter() - began))
            if observer and iteration % observer.interval == 0:
                row = observer(iteration, fed)
                for follower in (observed, board):
                    follower.write(row)
            if tester and not interrupt.signal and (iteration % tester.interval == 0 or iteration == stop):
                row = tester(iteration)
                for follower in (tested, board):
                    follower.write(row)
                progress.say(f"iteration {iteration}/{stop}: {testing.describe(row)}")
            if iteration % checkpoints.interval == 0 or iteration == stop or interrupt.signal:
                for written in logs:
                    written.sync()
                checkpoints.save(solver)
            if interrupt.signal and iteration < stop:
                progress.say(f"{interrupt.signal.name}: stopped after iteration {iteration} of {stop}, which is saved; "
                             f"go on with\n  {go_on}")
                return interrupt.signal
    return None


if __name__ == "__main__":
    sys.exit(main())
