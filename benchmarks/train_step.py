"""One training step (forward, backward, update): this Caffe, upstream's Caffe, PyTorch, in turns on the same batches.

    python benchmarks/train_step.py                                   # ResNet-44, batch 256, all processors
    python benchmarks/train_step.py --depth 20 --batch 64 --threads 1
    python benchmarks/train_step.py --torch /path/to/python           # an interpreter that can import torch

Each one runs in its own process, which sleeps while the others take their step. Printed: the median step and the middle
half of the steps, images a second, peak memory of the process, how many times as long as ours each takes (the median of
the ratios of neighbouring steps, and their middle half), and the fraction of the processor's matrix product speed
(float32, measured in turns with the steps) that the net's multiplications and additions amount to.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
OURS, STOCK, TORCH = "Caffe, ours", "Caffe, stock", "PyTorch, channels_last"


def batch_of(step: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (size, 3, 32, 32) and labels (size,) of a step."""
    random = np.random.default_rng(step)
    return random.normal(0, 60, (size, 3, 32, 32)).astype(np.float32), random.integers(0, 100, size)


def caffe_worker(depth: int, batch: int, threads: int):
    """A function that takes a step and returns its loss."""
    import caffe
    from caffe.proto import caffe_pb2

    from prototxt import generate

    net = generate.resnet(depth, 100, batch, f"resnet{depth}")
    scores = net.layer[-1].bottom[0]
    net.layer.pop()
    net.input.append("label")
    net.input_dim.extend([batch, 1, 1, 1])
    net.layer.add(name="loss", type="SoftmaxWithLoss", bottom=[scores, "label"], top=["loss"])
    with tempfile.TemporaryDirectory() as folder:
        solver = caffe_pb2.SolverParameter(net=f"{folder}/net.prototxt", base_lr=0.1, lr_policy="fixed", momentum=0.9,
                                           weight_decay=5e-4, random_seed=1)
        Path(solver.net).write_text(generate.to_text(net))
        Path(folder, "solver.prototxt").write_text(str(solver))
        solver = caffe.SGDSolver(f"{folder}/solver.prototxt")

    def step(images: np.ndarray, labels: np.ndarray) -> float:
        solver.net.blobs["data"].data[...] = images
        solver.net.blobs["label"].data[...] = labels.reshape(-1, 1, 1, 1)
        solver.step(1)
        return float(solver.net.blobs["loss"].data)

    return step


def torch_worker(depth: int, batch: int, threads: int):
    """The same net in PyTorch's eager mode, in its own channels-last layout."""
    import torch
    from torch import nn

    torch.set_num_threads(threads)

    def convolution(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2), nn.BatchNorm2d(outputs))

    class Block(nn.Module):
        def __init__(self, inputs: int, outputs: int):
            super().__init__()
            stride = 1 if inputs == outputs else 2
            self.shortcut = nn.Identity() if stride == 1 else convolution(inputs, outputs, 1, stride)
            self.first, self.second = convolution(inputs, outputs, 3, stride), convolution(outputs, outputs, 3, 1)

        def forward(self, x):
            residual = self.second(torch.relu_(self.first(x)))
            return torch.relu_(residual.add_(self.shortcut(x)))

    blocks, inputs = [], 16
    for channels in 16, 32, 64:
        for _ in range((depth - 2) // 6):
            blocks.append(Block(inputs, channels))
            inputs = channels
    net = nn.Sequential(convolution(3, 16, 3, 1), nn.ReLU(inplace=True), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                        nn.Linear(64, 100)).to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)

    def step(images: np.ndarray, labels: np.ndarray) -> float:
        x = torch.from_numpy(images).to(memory_format=torch.channels_last)
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(net(x), torch.from_numpy(labels))
        loss.backward()
        optimiser.step()
        return float(loss.detach())

    return step


def work(name: str, depth: int, batch: int, threads: int) -> None:
    """Take a step for each number on standard input; answer with seconds, loss and peak memory."""
    take_step = (torch_worker if name == TORCH else caffe_worker)(depth, batch, threads)
    print("ready", flush=True)
    for line in sys.stdin:
        images, labels = batch_of(int(line), batch)
        start = time.perf_counter()
        loss = take_step(images, labels)
        seconds = time.perf_counter() - start
        # Not ru_maxrss: a child inherits the peak of the process that started it.
        peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
        print(json.dumps({"seconds": seconds, "loss": loss, "peak": int(peak) / 1e6}), flush=True)


class Worker:
    """A process that waits for its turn."""

    def __init__(self, name: str, python: str, arguments: argparse.Namespace):
        self.name, self.answers = name, []
        environment = os.environ | {
            "CAFFE_ENGINE": "stock" if name == STOCK else "onednn", "GLOG_minloglevel": "2", "PYTHONPATH": (
                f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"),
            **{f"{library}_NUM_THREADS": str(arguments.threads) for library in ("OMP", "OPENBLAS", "MKL")}}
        self.process = subprocess.Popen(
            [python, __file__, "--worker", name, "--depth", str(arguments.depth), "--batch", str(arguments.batch),
             "--threads", str(arguments.threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        if self.process.stdout.readline().strip() != "ready":
            raise SystemExit(f"error: the process for {name!r} did not start, see above")

    def step(self, number: int) -> None:
        self.process.stdin.write(f"{number}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"error: the process for {self.name!r} ended early, see above")
        self.answers.append(json.loads(answer))

    def values(self, key: str) -> np.ndarray:
        """One number for each step but the first, which allocates and chooses kernels."""
        return np.array([answer[key] for answer in self.answers[1:]])


def multiply_adds(depth: int) -> float:
    """Of one image's forward pass: convolutions and the last matrix product."""
    blocks = (depth - 2) // 6
    total = 32 * 32 * 9 * 3 * 16 + 64 * 100
    for channels, side in (16, 32), (32, 16), (64, 8):
        narrower = channels if channels == 16 else channels // 2
        total += side * side * channels * (9 * narrower + 9 * channels * (2 * blocks - 1))
        total += side * side * channels * narrower * (channels > 16)  # the projection
    return total


def matrix_product_speed(threads: int) -> float:
    """Float operations a second of a large matrix product, in a process of its own that has these threads."""
    code = ("import numpy as np, time\na = np.ones((2048, 2048), np.float32); b = a.copy(); a @ b\n"
            "times = []\nfor _ in range(8):\n    t = time.perf_counter()\n    a @ b\n"
            "    times.append(time.perf_counter() - t)\n"
            "print(2 * 2048**3 / min(times))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          env=os.environ | {"OPENBLAS_NUM_THREADS": str(threads)})
    return float(done.stdout)


def quartiles(values: np.ndarray, scale: float = 1, digits: int = 0) -> str:
    low, median, high = np.percentile(values * scale, [25, 50, 75])
    return f"{median:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depth", type=int, default=44, help="6 n + 2: 20, 32, 44, 56, 110 (default %(default)s)")
    parser.add_argument("--batch", type=int, default=256, help="images a step (default %(default)s)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="default: all, %(default)s")
    parser.add_argument("--steps", type=int, default=8, help="timed steps (default %(default)s)")
    parser.add_argument("--stock-steps", type=int, default=2, help="how many of them stock Caffe takes; 0: none")
    parser.add_argument("--torch", default=sys.executable, help="the interpreter that has PyTorch (default: this one)")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if (arguments.depth - 2) % 6:
        parser.error(f"--depth {arguments.depth} is not 6 n + 2: 20, 32, 44, 56 and 110 are")
    if arguments.worker:
        return work(arguments.worker, arguments.depth, arguments.batch, arguments.threads)

    workers = [Worker(OURS, sys.executable, arguments)]
    if subprocess.run([arguments.torch, "-c", "import torch"], capture_output=True).returncode == 0:
        workers.append(Worker(TORCH, arguments.torch, arguments))
    else:
        print(f"PyTorch: skipped, {arguments.torch} has none (pip install torch, or --torch PYTHON)")
    if arguments.stock_steps:
        workers.append(Worker(STOCK, sys.executable, arguments))
    speeds = []
    for number in range(arguments.steps + 1):
        for worker in workers:
            if worker.name != STOCK or number <= arguments.stock_steps:
                worker.step(number)
        speeds.append(matrix_product_speed(arguments.threads))

    speed = max(speeds)
    flops = 3 * 2 * multiply_adds(arguments.depth) * arguments.batch
    ours = workers[0].values("seconds")
    print(f"ResNet-{arguments.depth}, batch {arguments.batch}, {arguments.threads} threads; matrix product "
          f"{speed / 1e9:.0f} GFLOP/s, which makes {1e3 * flops / speed:.0f} ms a step the bound")
    print("| | step, ms | images/s | peak memory, GB | times ours | of the bound | first loss |")
    print("|---|---|---|---|---|---|---|")
    for worker in workers:
        seconds = worker.values("seconds")
        ratios = seconds / ours[: len(seconds)]
        print(f"| {worker.name} | {quartiles(seconds, 1e3)} | {arguments.batch / np.median(seconds):.0f} "
              f"| {worker.answers[-1]['peak']:.2f} | {quartiles(ratios, digits=2)} "
              f"| {flops / speed / np.median(seconds):.2f} | {worker.answers[0]['loss']:.4f} |")
        worker.process.stdin.close()
        worker.process.wait()


if __name__ == "__main__":
    main()
