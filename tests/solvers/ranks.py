"""A second rank on the CPU, where there is neither GPU nor NCCL: all of `gpus.train_along` but these two.

Run as a script, it trains the tiny setting on two ranks, of which the second does what RANK_1 in the environment says.
"""

import os
import sys
import time
from pathlib import Path

import tiny

from solvers import gpus, inputs, rehearsal, train
from solvers.engine import caffe


def train_along(devices, rank, uid, task, connection):
    """As gpus.train_along; notes the images of its batches in the run folder."""
    if os.environ.get("RANK_1") == "dies":
        os._exit(7)
    caffe.set_mode_cpu()
    solver = caffe.get_solver(str(task.run / "solver.prototxt"))
    batches = inputs.fill(solver.net, task.blobs, tiny.dataset(), task.seed, task.start, rank, len(devices))

    def noted():
        for indices in batches:
            with open(task.run / f"rank_{rank}.txt", "a") as file:
                print(*indices, file=file)
            yield indices

    gpus.follow(solver, noted(), connection, task.seed, rank)


def join(solver, uid):
    """Wait at each step for the second rank, as the exchange of gradients does."""
    runs, start = Path(sys.argv[sys.argv.index("--runs") + 1]), solver.iter

    def wait():
        while not any(len(file.read_text().splitlines()) > solver.iter - start for file in runs.rglob("rank_1.txt")):
            time.sleep(0.01)

    solver.add_callback(lambda: None, wait)


def on_two_ranks(arguments: list[str]) -> int:
    gpus.choose, gpus.prepare = lambda text: [0, 1], lambda devices, rank=0: caffe.set_mode_cpu()
    rehearse = rehearsal.rehearse
    rehearsal.rehearse = lambda chosen, solver, devices: rehearse(chosen, solver)
    gpus.new_uid, gpus.join = lambda: b"", join
    gpus.Others.__init__.__defaults__ = (train_along,)
    train.load_data = lambda folder, labels: tiny.dataset()
    return train.main([*arguments, "--gpu", "0,1"])


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    import ranks  # the spawned process finds its function by this name

    sys.exit(ranks.on_two_ranks(sys.argv[1:]))
