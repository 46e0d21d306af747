"""Compare the time to prepare a training batch with the time of a training step.

    python benchmarks/batch_feeding.py data/cifar100_train_symmetric_0.0_seed_123.npz --step-seconds 1.1

Prints the median over 50 batches of 256 and the middle half of the times, on one thread: in wall-clock time and in processor
time, which depends less on other work on the machine.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from data_toolkit import dataset
from data_toolkit.batches import BatchMaker


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train_set", type=Path, help="a fast form that data_toolkit/prepare.py wrote")
    parser.add_argument("--step-seconds", type=float, default=1.1, help="how long a step takes (default %(default)s)")
    arguments = parser.parse_args()

    start = time.perf_counter()
    data = dataset.load(arguments.train_set)[0]
    loaded = time.perf_counter()
    make = BatchMaker(data, seed=123)
    ready = time.perf_counter()
    times = []
    for step in range(1, 51):
        before = time.perf_counter(), time.thread_time()
        make(step)
        times.append(np.subtract((time.perf_counter(), time.thread_time()), before))
    print(f"load {loaded - start:.2f} s, find and cut white margins {ready - loaded:.2f} s, once")
    print(f"{'batch of 256':14}{'median':>8}{'middle half':>16}   of a step of {arguments.step_seconds:g} s")
    for name, (low, median, high) in zip(("clock", "processor"), np.percentile(times, [25, 50, 75], axis=0).T, strict=True):
        print(f"{name:14}{1e3 * median:5.1f} ms{1e3 * low:6.1f} to {1e3 * high:4.1f} ms{median / arguments.step_seconds:8.1%}")


if __name__ == "__main__":
    main()
