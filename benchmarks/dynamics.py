"""Measure the cost of the learning dynamics: a row of dynamics.csv against a training step (ResNet-44, batch 256).

    python benchmarks/dynamics.py --steps 20

Rows are written as solvers.train does, to CSV and TensorBoard, by default one every ten steps. Steps and rows alternate.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from turns import quartiles, row, table

from data_toolkit.dataset import Dataset
from solvers.nets import setting
from solvers.nets.built_net import BuiltNet
from solvers.nets.phases import net_params_of
from solvers.nets.pycaffe import caffe
from solvers.runs import dynamics
from solvers.runs.dynamics import Dynamics
from solvers.runs.logs import CsvLog, TensorBoard

SETTINGS = Path(__file__).resolve().parents[1] / "prototxt"
INTERVAL = 10


def measure(name: str, steps: int, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of each step, and of each row."""
    chosen = setting.load(SETTINGS / name)
    chosen.solver.net = str(SETTINGS / name / "train.prototxt")
    (folder / "solver.prototxt").write_text(str(chosen.solver))
    solver = caffe.get_solver(str(folder / "solver.prototxt"))
    random = np.random.default_rng(0)
    labels = random.integers(0, 100, (2, 256))
    data = Dataset(np.zeros((256, 32, 32, 3), np.uint8), *labels)
    train_net = BuiltNet.of(solver.net, net_params_of(chosen.net_param, chosen.solver, shared=True)[0])
    observer = dynamics.observer(train_net, data, INTERVAL)
    log, board = CsvLog(folder / "rows.csv", 0, Dynamics, INTERVAL), TensorBoard(folder / "board", 0)
    solver.net.blobs["label"].data[...] = labels[0].reshape(-1, 1, 1, 1)
    seconds = []
    for step in range(1, steps + 2):
        solver.net.blobs["data"].data[...] = random.normal(0, 60, (256, 3, 32, 32))
        start = time.perf_counter()
        solver.step(1)
        stepped = time.perf_counter()
        values = observer(step, np.arange(256))
        for follower in log, board:
            follower.write(values)
        seconds.append((stepped - start, time.perf_counter() - stepped))
    log.close()
    board.close()
    return np.array(seconds[1:]).T  # the first step allocates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20, help="timed steps (default %(default)s)")
    arguments = parser.parse_args()
    table(["setting", "step, ms", "row, ms", f"% of a step, one row every {INTERVAL} steps"])
    for name in "res44_usw", "res44_cce":
        with tempfile.TemporaryDirectory() as folder:
            step, watched = measure(name, arguments.steps, Path(folder))
        row([name, quartiles(step, 1e3), quartiles(watched, 1e3, 2), f"{100 * np.median(watched / step) / INTERVAL:.3f}"])


if __name__ == "__main__":
    main()
