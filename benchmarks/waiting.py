"""Compare how threads may wait for each other: a training step (ResNet-44, batch 256), with all cores idle or one busy.

    python benchmarks/waiting.py --turns 10

OpenMP's threads synchronise about a thousand times in a step. A thread that comes first spins for a while, then sleeps. By
default, libgomp spins for some milliseconds; meanwhile the core is not free for the thread that it waits for. Each setting
makes its step twice in each turn: alone, and while another process keeps one core busy; the other settings sleep. Prints the
median and the middle half of the steps, images per second, and the time relative to the default's (the median of the ratios
of neighbouring steps).
"""

import signal
import subprocess
import sys

import numpy as np
from train_step import batch_of, caffe_step
from turns import OURS, STOCK, Worker, command_line, quartiles, row, serve, table

DEFAULT = "spinning, libgomp's default"
# The environment variables with which libgomp is loaded. Its default is a spin count of 300,000.
WAYS = {
    DEFAULT: {},
    **{f"GOMP_SPINCOUNT={count}": {"GOMP_SPINCOUNT": str(count)} for count in (100_000, 30_000, 10_000, 3_000)},
    "OMP_WAIT_POLICY=passive": {"OMP_WAIT_POLICY": "passive"},
}


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--depth", type=int, default=44, help="6 n + 2 (default 44)")
    parser.add_argument("--batch", type=int, default=256, help="images a step (default 256)")
    parser.add_argument("--turns", type=int, default=10, help="timed steps of each way (default %(default)s)")
    parser.add_argument("--stock", action="store_true", help="upstream's engine, whose convolutions are OpenBLAS's")
    arguments = parser.parse_args()
    [threads] = arguments.threads
    if arguments.worker:
        return serve(lambda number: batch_of(number, arguments.batch), caffe_step(arguments.depth, arguments.batch))

    options = ("--depth", str(arguments.depth), "--batch", str(arguments.batch))
    engine = STOCK if arguments.stock else OURS
    workers = {way: Worker(engine, sys.executable, __file__, threads, *options, **given) for way, given in WAYS.items()}
    workers["one thread"] = Worker(engine, sys.executable, __file__, 1, *options)
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    seconds = {"idle": [], "one core busy": []}
    try:
        for number in range(arguments.turns + 1):  # the first allocates
            for state, act in zip(seconds, (signal.SIGSTOP, signal.SIGCONT), strict=True):
                busy.send_signal(act)
                for worker in workers.values():
                    worker.step(number)
                seconds[state].append([worker.answers[-1]["seconds"] for worker in workers.values()])
    finally:
        busy.kill()
        for worker in workers.values():
            worker.stop()
    table(["machine", "threads", "waiting", "step, ms", "images/s", "times the default"])
    for state, rows in seconds.items():
        values = dict(zip(workers, np.array(rows[1:]).T, strict=True))
        for way, steps in values.items():
            row([state, 1 if way == "one thread" else threads, way, quartiles(steps, 1e3),
                 f"{arguments.batch / np.median(steps):.0f}", quartiles(steps / values[DEFAULT], digits=2)])


if __name__ == "__main__":
    main()
