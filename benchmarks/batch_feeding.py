"""How long a training batch takes to prepare, against how long a training step takes.

    python benchmarks/batch_feeding.py data/cifar100_train_symmetric_0.0_seed_123.npz --step-seconds 1.1

Prints the median over 50 batches of 256 with the middle half of the spread, on one thread.
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
        before = time.perf_counter()
        make(step)
        times.append(1e3 * (time.perf_counter() - before))
    low, median, high = np.percentile(times, [25, 50, 75])
    print(f"load {loaded - start:.2f} s, find and cut white margins {ready - loaded:.2f} s, once")
    print(f"batch of 256: {median:.1f} ms ({low:.1f} to {high:.1f}), "
          f"{median / 10 / arguments.step_seconds:.1f} % of a step of {arguments.step_seconds:g} s")


if __name__ == "__main__":
    main()
