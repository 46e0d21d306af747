"""The training loop: in each iteration a batch, a step, its logs, and at times a test and a checkpoint."""

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Self

import numpy as np

from solvers.nets.pycaffe import caffe, seed_layers
from solvers.runs import dynamics
from solvers.runs.logs import CsvLog, Progress, Step, TensorBoard
from solvers.runs.run import Run
from solvers.training import gpus, testing
from solvers.training.divergence import LossCheck
from solvers.training.interrupt import Interrupt


class Record:
    """Writes log.csv, dynamics.csv, test.csv, TensorBoard events and lines on the terminal. A context manager.

    Parameters
    ----------
    run : Run
    solver : caffe.SGDSolver
        At the iteration to start from.
    observer : dynamics.Observer or None
    tester : testing.Tester or None
    ranks : int
        The number of solvers that train together, each with a batch of its own.
    """

    def __init__(self, run: Run, solver: caffe.SGDSolver, observer: dynamics.Observer | None, tester: testing.Tester | None,
                 ranks: int = 1):
        self.observer, self.tester, self.stop = observer, tester, run.solver.max_iter
        folder, start = run.folder.path, solver.iter
        images = [*next(iter(solver.net.blobs.values())).data.shape, 1][0] * run.solver.iter_size * ranks
        with ExitStack() as opened:
            def open_log(*what: object, **options: object) -> CsvLog:
                return opened.enter_context(closing(CsvLog(*what, **options)))

            self.log = open_log(folder / "log.csv", start)
            self.observed = observer and open_log(folder / dynamics.DYNAMICS_FILE, start, dynamics.Dynamics, observer.interval)
            self.tested = tester and open_log(folder / testing.FILE, start, tester.kind, interval=None)
            self.board = opened.enter_context(closing(TensorBoard(folder / "tensorboard", start)))
            self.progress = opened.enter_context(closing(Progress(start, self.stop, images)))
            self._opened = opened.pop_all()
        self._began = time.perf_counter() - (self.log.last.seconds if start else 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._opened.close()

    def step(self, iteration: int, loss: float, lr: float) -> None:
        """Write the row of a step."""
        step = Step(iteration, loss, lr, time.perf_counter() - self._began)
        for follower in (self.log, self.board, self.progress):
            follower.write(step)

    def observe(self, iteration: int, indices: np.ndarray | None) -> None:
        """Measure and write the learning dynamics, if their interval is over. For `indices` see `dynamics.Observer`."""
        if self.observer and iteration % self.observer.interval == 0:
            row = self.observer(iteration, indices)
            self.observed.write(row)
            self.board.write(row)

    def test(self, iteration: int) -> None:
        """Test the net and write the results, if the test interval is over or this is the last step."""
        if self.tester and (iteration % self.tester.interval == 0 or iteration == self.stop):
            row = self.tester(iteration)
            self.tested.write(row)
            self.board.write(row)
            self.say(f"iteration {iteration}/{self.stop}: {testing.describe(row)}")

    def say(self, text: str) -> None:
        """Print a line."""
        self.progress.say(text)

    def sync(self) -> None:
        """Write the rows to the disk. Called before each checkpoint, since a resume needs all rows up to it."""
        for log in filter(None, (self.log, self.observed, self.tested)):
            log.sync()


def steps(run: Run, solver: caffe.SGDSolver, batches: Iterator[np.ndarray | None], check_loss: LossCheck, record: Record,
          others: gpus.OtherRanks) -> signal.Signals | None:
    """Step the solver to its max_iter, with logs and checkpoints.

    Parameters
    ----------
    run : Run
    solver : caffe.SGDSolver
        At the iteration to start from.
    batches : generator
        From `inputs.fill`: each ``next()`` fills the net's inputs and returns the indices of the images.
    check_loss : LossCheck
    record : Record
    others : gpus.OtherRanks
        The processes of the other GPUs, which make each step too.

    Returns
    -------
    signal.Signals or None
        The signal that stopped it early; SIGPIPE if the reader of its output has ended.
    """
    stop, checkpoints = run.solver.max_iter, run.folder.checkpoints
    with closing(batches), Interrupt() as interrupt:
        for iteration in range(solver.iter + 1, stop + 1):
            indices = next(batches)
            lr = solver.lr
            seed_layers(run.solver.random_seed, iteration)
            others.step()
            solver.step(1)
            record.step(iteration, check_loss(iteration, indices), lr)
            record.observe(iteration, indices)
            if record.progress.unread:
                interrupt.signal = interrupt.signal or signal.SIGPIPE
            if not interrupt.signal or iteration == stop:  # else the resumed run makes the test
                record.test(iteration)
            if iteration % checkpoints.interval == 0 or iteration == stop or interrupt.signal:
                record.sync()
                checkpoints.save(solver)
            if interrupt.signal and iteration < stop:
                return interrupt.signal
    return None
