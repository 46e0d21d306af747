"""Compare test accuracies after the same short training with our engine and upstream's: ResNet-20, batch 64, CIFAR-100, CCE.

    python benchmarks/trained_accuracy.py --seeds 123 1 2 3 4 --stock-seeds 123

Trains with solvers.train and measures with solvers.evaluate, in separate processes, one after the other. Two runs with one
seed differ after a few steps because of rounding (docs/performance.md), so compare the distributions over seeds.
BatchNorm's moving averages keep 0.95 of the past here instead of 0.999, which would need thousands of steps.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from caffe.proto import caffe_pb2 as pb
from turns import OURS, STOCK, row, table

from prototxt import generate

ROOT = Path(__file__).resolve().parents[1]


def write_setting(folder: Path, steps: int) -> Path:
    """ResNet-20 with SoftmaxWithLoss, and a learning rate that drops after three quarters of the steps."""
    test = generate.resnet(20, 100, 64, "resnet20")
    for layer in test.layer:
        if layer.type == "BatchNorm":
            layer.batch_norm_param.moving_average_fraction = 0.95
    train = pb.NetParameter()
    train.CopyFrom(test)
    train.input.append("label")
    train.input_dim.extend([64, 1, 1, 1])
    scores = train.layer.pop().bottom[0]
    train.layer.add(name="loss", type="SoftmaxWithLoss", bottom=[scores, "label"], top=["loss"])
    folder.mkdir()
    (folder / "train.prototxt").write_text(generate.to_text(train))
    (folder / "test.prototxt").write_text(generate.to_text(test))
    (folder / "solver.prototxt").write_text(
        f'net: "train.prototxt" base_lr: 0.1 lr_policy: "multistep" gamma: 0.1 stepvalue: {steps * 3 // 4}\n'
        "momentum: 0.9 weight_decay: 0.0005\n")
    return folder


def accuracy(setting: Path, runs: Path, seed: int, steps: int, engine: str) -> float:
    """Train and measure one run: the fraction of the test images classified correctly."""
    def call(*command: object, **environment: str) -> str:
        return subprocess.run([sys.executable, "-m", *map(str, command)], cwd=ROOT, env=os.environ | environment,
                              check=True, stdout=subprocess.PIPE, text=True).stdout

    call("solvers.train", setting, "--seed", seed, "--max-iter", steps, "--runs", runs, CAFFE_ENGINE=engine)
    said = call("solvers.evaluate", runs / setting.name / "noise_0.0" / f"seed_{seed}")
    return float(said.splitlines()[-1].rpartition(" ")[2])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=600, help="default %(default)s")
    parser.add_argument("--seeds", type=int, nargs="+", default=[123, 1, 2, 3, 4], help="of our runs")
    parser.add_argument("--stock-seeds", type=int, nargs="*", default=[123], help="of stock Caffe's, 12 times as long each")
    arguments = parser.parse_args()
    table(["", "seeds", "test accuracies, %", "mean", "standard deviation"])
    with tempfile.TemporaryDirectory() as folder:
        setting = write_setting(Path(folder, "resnet20"), arguments.steps)
        for name, engine, seeds in (OURS, "onednn", arguments.seeds), (STOCK, "stock", arguments.stock_seeds):
            values = [100 * accuracy(setting, Path(folder, engine), seed, arguments.steps, engine) for seed in seeds]
            if values:
                row([name, " ".join(map(str, seeds)), " ".join(f"{value:.2f}" for value in values),
                     f"{np.mean(values):.2f}", f"{np.std(values, ddof=1):.2f}" if len(values) > 1 else ""])


if __name__ == "__main__":
    main()
