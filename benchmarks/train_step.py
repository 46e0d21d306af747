"""Time a training step (forward, backward, update) of this Caffe, upstream's Caffe and PyTorch, alternating, on equal batches.

    python benchmarks/train_step.py                                   # ResNet-44, batch 256, all processors
    python benchmarks/train_step.py --depth 20 44 110 --batch 64 128 256 --threads 1 2
    python benchmarks/train_step.py --torch /path/to/python           # an interpreter that can import torch

Each runs in its own process, which sleeps while the others make their step. Prints the median and the middle half of the
steps, images per second, peak memory of the process, and the time relative to ours (the median and the middle half of the
ratios of neighbouring steps). The last column is the net's multiply-adds per second, counted as for direct convolutions, as
a fraction of the processor's speed in float32 matrix products, which is measured between the steps.
"""

import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from turns import OURS, STOCK, TORCH, Worker, command_line, interpreters, matrix_product_speed, quartiles, row, serve, table

AUTOCAST = "PyTorch, bfloat16 autocast"


def batch_of(step: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The images, (size, 3, 32, 32), and labels, (size,), of a step."""
    random = np.random.default_rng(step)
    return random.normal(0, 60, (size, 3, 32, 32)).astype(np.float32), random.integers(0, 100, size)


def caffe_step(depth: int, batch: int) -> Callable:
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


def torch_step(depth: int, threads: int, autocast: bool) -> Callable:
    """As `caffe_step`, in PyTorch's eager mode; `autocast`: with matrix products and convolutions in bfloat16."""
    import torch
    from torch_resnet import resnet

    torch.set_num_threads(threads)
    net = resnet(depth)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)

    def step(images: np.ndarray, labels: np.ndarray) -> float:
        x = torch.from_numpy(images).to(memory_format=torch.channels_last)
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = torch.nn.functional.cross_entropy(net(x), torch.from_numpy(labels))
        loss.backward()
        optimiser.step()
        return float(loss.detach())

    return step


def multiply_adds(depth: int) -> float:
    """The number of multiply-adds in the forward pass of an image: convolutions and the last matrix product."""
    blocks = (depth - 2) // 6
    total = 32 * 32 * 9 * 3 * 16 + 64 * 100
    for channels, side in (16, 32), (32, 16), (64, 8):
        narrower = channels if channels == 16 else channels // 2
        total += side * side * channels * (9 * narrower + 9 * channels * (2 * blocks - 1))
        total += side * side * channels * narrower * (channels > 16)  # the projection
    return total


def measure(pythons: dict[str, str], depth: int, batch: int, threads: int, steps: int, stock_steps: int) -> None:
    """Print the rows of one net, batch and number of threads."""
    workers = [Worker(name, python, __file__, threads, "--depth", str(depth), "--batch", str(batch))
               for name, python in pythons.items() if name != STOCK or stock_steps]
    speeds = []
    for number in range(steps + 1):
        for worker in workers:
            if worker.name != STOCK or number <= stock_steps:
                worker.step(number)
        speeds.append(matrix_product_speed(threads))
    flops = 3 * 2 * multiply_adds(depth) * batch
    ours = workers[0].seconds
    for worker in workers:
        seconds = worker.seconds
        row([f"ResNet-{depth}", batch, threads, worker.name, quartiles(seconds, 1e3), f"{batch / np.median(seconds):.0f}",
             f"{worker.peak:.2f}", quartiles(seconds / ours[: len(seconds)], digits=2),
             f"{flops / max(speeds) / np.median(seconds):.2f}"])
        worker.stop()


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--depth", type=int, nargs="+", default=[44], help="6 n + 2: 20, 32, 44, 56, 110 (default 44)")
    parser.add_argument("--batch", type=int, nargs="+", default=[256], help="images a step (default 256)")
    parser.add_argument("--steps", type=int, default=8, help="timed steps (default %(default)s)")
    parser.add_argument("--stock-steps", type=int, default=2, help="how many of them stock Caffe takes; 0: none")
    parser.add_argument("--autocast", action="store_true", help="PyTorch's bfloat16 autocast, too")
    arguments = parser.parse_args()
    if wrong := [depth for depth in arguments.depth if (depth - 2) % 6]:
        parser.error(f"--depth {wrong[0]} is not 6 n + 2: 20, 32, 44, 56 and 110 are")
    combinations = list(itertools.product(arguments.depth, arguments.batch, arguments.threads))
    if arguments.worker:
        (depth, batch, threads), = combinations
        if arguments.worker in (TORCH, AUTOCAST):
            step = torch_step(depth, threads, autocast=arguments.worker == AUTOCAST)
        else:
            step = caffe_step(depth, batch)
        return serve(lambda number: batch_of(number, batch), step)

    pythons = interpreters(arguments.torch)
    if arguments.autocast and TORCH in pythons:
        pythons[AUTOCAST] = pythons[TORCH]
    table(["net", "batch", "threads", "", "step, ms", "images/s", "peak memory, GB", f"times {OURS}", "to direct"])
    for depth, batch, threads in combinations:
        measure(pythons, depth, batch, threads, arguments.steps, arguments.stock_steps)


if __name__ == "__main__":
    main()
