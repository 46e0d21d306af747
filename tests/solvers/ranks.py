"""Train with two ranks on the CPU, without GPU and NCCL: production code, except for the parts that this file replaces.

Run as a script, it trains the tiny setting on two ranks, of which the second does what RANK_1 in the environment says.
"""

import json
import os
import sys
import time
from pathlib import Path

import tiny

from solvers import train
from solvers.nets import inputs, pycaffe, rehearsal
from solvers.nets.pycaffe import caffe
from solvers.runs.training_set import TrainingSet
from solvers.training import gpus

RUNS = Path(sys.argv[sys.argv.index("--runs") + 1])
fill = inputs.fill


def noted_batches(net, blobs, data, seed, start, rank=0, ranks=1):
    """As inputs.fill, but write the images of each batch into the run folder."""
    for indices in fill(net, blobs, data, seed, start, rank, ranks):
        with open(run_folder() / "rank_1.txt", "a") as file:
            print(*indices, file=file)
        yield indices


def run_folder() -> Path:
    """The only run folder below the folder of runs."""
    [file] = RUNS.rglob("solver.prototxt")
    return file.parent


def wait_for_the_second(solver, uid):
    """Replaces the first rank's join: wait at each step for the second rank, as the exchange of gradients does."""
    batches, start = run_folder() / "rank_1.txt", solver.iter

    def wait():
        while not batches.exists() or len(batches.read_text().splitlines()) <= solver.iter - start:
            time.sleep(0.01)

    solver.add_callback(lambda: None, wait)


def note_beginning(solver, uid):
    """Replaces the second rank's join: record its state before NCCL would give it the weights of the first rank."""
    if os.environ.get("RANK_1") == "dies":
        os._exit(7)
    weights = {name: [blob.data.ravel().tolist() for blob in blobs] for name, blobs in solver.net.params.items()}
    (run_folder() / "rank_1.json").write_text(json.dumps({"iteration": solver.iter, "weights": weights}))


def on_the_cpu(join) -> None:
    """Replace in both processes: GPUs by the CPU, CIFAR-100 by the tiny data set, `join` by one without NCCL."""
    gpus.choose, pycaffe.use_devices = lambda text: [0, 1], lambda devices, rank=0: caffe.set_mode_cpu()
    rehearse = rehearsal.rehearse
    rehearsal.rehearse = lambda name, nets, solver, devices: rehearse(name, nets, solver)
    gpus.new_uid, gpus.join = lambda: b"", join
    TrainingSet.prepare = TrainingSet.load = lambda self, folder: tiny.dataset()


if __name__ == "__main__":
    for old in RUNS.rglob("rank_1.*"):
        old.unlink()
    on_the_cpu(wait_for_the_second)
    sys.exit(train.main([*sys.argv[1:], "--gpu", "0,1"]))
if __name__ == "__mp_main__":  # the spawned process, which imports the script of the first before it begins
    on_the_cpu(note_beginning)
    inputs.fill = noted_batches
