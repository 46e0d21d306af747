"""Train a setting as the released experiments did.

    python -m solvers.train prototxt/res44_usw --noise 0.4            # -> runs/res44_usw/noise_0.4/seed_123
    python -m solvers.train prototxt/res44_usw --noise 0.4 --resume   # go on where it stopped
    python -m solvers.train prototxt/res44_usw --noise 0.4 --beta 8   # -> runs/res44_usw_beta_8/noise_0.4/seed_123
    python -m solvers.train prototxt/res44_usw --max-iter 20          # a smoke run
    python -m solvers.train my/folder                                 # any solver.prototxt, and the net that it names
"""

import argparse
import os
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np

from data_toolkit import dataset, prepare
from data_toolkit.errors import DataError
from solvers import engine, inputs, losses, options, run, setting, validate
from solvers.checkpoints import Checkpoints
from solvers.engine import caffe
from solvers.errors import SolverError, failed
from solvers.interrupt import Interrupt
from solvers.logs import CsvLog, Progress, Step, TensorBoard
from solvers.phases import train_state

pb = caffe.proto.caffe_pb2

# The noisy labels are part of the data, like the images: --seed is about weights and batches.
NOISE_TYPE, NOISE_SEED = "symmetric", 123
CHECKPOINT_INTERVAL = 1000


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit code: 0, 2 after bad input, 130 or 143 after SIGINT or SIGTERM."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        stopped_by = train(options.parse(argv, __doc__), argv)
    except (SolverError, DataError) as error:
        return failed(error)
    except KeyboardInterrupt:
        return 130
    return 128 + stopped_by if stopped_by else 0


def train(args: argparse.Namespace, argv: list[str]) -> int | None:
    """Train as the arguments say; return the signal that stopped it early, if one did.

    Raises
    ------
    SolverError, data_toolkit.errors.DataError
        If an input is wrong.
    """
    engine.use(args.gpu)
    chosen = setting.load(args.setting)
    changed = change_losses(chosen.net, args)
    solver_param = run.resolve_solver(chosen.solver, args.seed, args.max_iter, args.gpu)
    seed = solver_param.random_seed
    fed = check(chosen.net, solver_param, args.noise)

    folder = run.folder_of(args.runs, chosen.name, changed, args.noise, seed)
    checkpoints = Checkpoints(folder, chosen.solver.snapshot or CHECKPOINT_INTERVAL)
    start = checkpoints.newest() or 0
    if start and not args.resume:
        raise SolverError(f"{folder} holds a run that has reached iteration {start}: give --resume to go on with it, "
                          "or remove it to start again")
    data = load_data(args.data, args.noise) if fed else None
    this = run.Run(folder, chosen, solver_param, {
        "setting": chosen.name, "noise": args.noise, "noise_type": NOISE_TYPE, "seed": seed,
        **losses.in_use(chosen.net), "layers": args.layers, "max_iter": solver_param.max_iter,
        "data_sha256": data and data.fingerprint})
    if start:
        this.check_resumable()
    this.write()

    caffe.set_random_seed(seed)
    np.random.seed(seed)
    try:
        solver = caffe.get_solver(str(this.solver_file))
    except SystemError as error:
        raise SolverError("a Python layer of the net cannot be made; see above") from error
    inputs.check_labels(solver.net, chosen.net, train_state(chosen.net, solver_param), data and data.labels)
    if start:
        checkpoints.restore(solver, start)
    where = f"from iteration {start}" if start else "nothing to resume, a new run" if args.resume else "a new run"
    print(f"{folder}: {where}", flush=True)
    go_on = "python -m solvers.train " + shlex.join(argv if args.resume else [*argv, "--resume"])
    batches = inputs.fill(solver.net, fed, data, seed, start)
    return step_to(solver_param.max_iter, solver, batches, seed, checkpoints, go_on)


def change_losses(net: pb.NetParameter, args: argparse.Namespace) -> dict:
    """Put the options about losses into `net`; return those that change what its file says."""
    if args.weighting:
        os.environ["CAFFE_WEIGHTING"] = args.weighting  # for Python layers of the user's own
    changed = losses.override(net, {name: getattr(args, name) for name in ("weighting", "beta", "lambda", "q")})
    if args.layers == "python":
        losses.to_python(net)
        changed["layers"] = args.layers
    return changed


def check(net: pb.NetParameter, solver: pb.SolverParameter, noise: float) -> tuple[str, ...]:
    """Check net and solver before Caffe does; return the blobs that the driver is to fill."""
    state = train_state(net, solver)
    validate.check_solver(solver)
    validate.check_net(net, state)
    fed = inputs.fed_blobs(net, state)
    if not fed and noise:
        raise SolverError(f"--noise {noise}: this net reads its own data, which the driver does not change")
    if fed and solver.iter_size > 1:
        raise SolverError(f"the solver's iter_size is {solver.iter_size}, but the driver feeds one batch a step")
    return fed


def load_data(folder: Path, noise: float) -> dataset.Dataset:
    """The training images with their noisy labels, prepared first if they are missing."""
    prepare.prepare(noise=noise, noise_type=NOISE_TYPE, seed=NOISE_SEED, output=folder,
                    source=os.environ.get("CIFAR100_SOURCE"))
    return dataset.load_train(folder, noise=noise, noise_type=NOISE_TYPE, seed=NOISE_SEED)


def step_to(stop: int, solver: caffe.SGDSolver, batches: Iterator[None], seed: int, checkpoints: Checkpoints,
            go_on: str) -> int | None:
    """Step the solver to iteration `stop`, with logs and checkpoints.

    Parameters
    ----------
    stop : int
    solver : caffe.SGDSolver
        At the iteration to start from.
    batches : generator
        Each ``next()`` fills the net's inputs.
    seed : int
    checkpoints : Checkpoints
    go_on : str
        The command to resume with, for whoever stops it.

    Returns
    -------
    int or None
        The signal that stopped it early.
    """
    net, start, folder = solver.net, solver.iter, checkpoints.folder.parent
    if start >= stop:
        print(f"iteration {start} of {stop}: nothing to do")
        return None
    loss_weights = {name: weight for name, weight in net.blob_loss_weights.items() if weight}
    with ExitStack() as stack:
        stack.enter_context(closing(batches))
        log = stack.enter_context(closing(CsvLog(folder / "log.csv", start)))
        board = stack.enter_context(closing(TensorBoard(folder / "tensorboard", start)))
        progress = stack.enter_context(closing(Progress(start, stop, next(iter(net.blobs.values())).data.shape[0])))
        interrupt = stack.enter_context(Interrupt())
        began = time.perf_counter() - log.seconds
        for iteration in range(start + 1, stop + 1):
            next(batches)
            lr = solver.lr
            # What a layer draws (Dropout) depends on seed and step alone, as the batch does: a resumed run repeats it.
            caffe.set_random_seed(int(np.random.SeedSequence([seed, iteration]).generate_state(1)[0]))
            solver.step(1)
            loss = sum(weight * float(net.blobs[name].data.sum()) for name, weight in loss_weights.items())
            for follower in (log, board, progress):
                follower.write(Step(iteration, loss, lr, time.perf_counter() - began))
            if iteration % checkpoints.interval == 0 or iteration == stop or interrupt.signal:
                log.sync()
                checkpoints.save(solver)
            if interrupt.signal and iteration < stop:
                progress.say(f"{interrupt.signal.name}: stopped after iteration {iteration} of {stop}, which is saved; "
                             f"go on with\n  {go_on}")
                return interrupt.signal
    print(f"iteration {stop} of {stop}: done; next: python -m solvers.evaluate {shlex.quote(str(folder))}")
    return None


if __name__ == "__main__":
    sys.exit(main())
