"""Time training steps and inference of the nets in zoo_nets.py: this Caffe, upstream's, PyTorch and ONNX Runtime, alternating.

    python benchmarks/zoo.py --torch /path/to/python              # all nets, training and inference at their batches
    python benchmarks/zoo.py --nets vgg16 resnet50 --tasks inference --batch 1

A training step is forward, backward and update (SGD with momentum and weight decay); inference is a forward pass, PyTorch's in
eval mode under no_grad, ONNX Runtime's of the exported net, if it is installed. Each competitor runs in its own process, which
sleeps while the others work. Prints the median and the middle half of the times, images per second, the process's peak memory,
and the time relative to ours (the median and the middle half of the ratios of neighbouring passes); then that ratio for the
processor time of all threads, which depends less on others. Upstream's Caffe makes only `--stock-steps` of the passes.
"""

import importlib.util
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from turns import OURS, RUNTIME, STOCK, TORCH, Worker, command_line, interpreters, quartiles, row, serve, table

from base import machine

TRAINING, INFERENCE = "training", "inference"
CLASSES = 10  # of all nets
BATCHES = {"alexnet": 32, "squeezenet": 16, "googlenet": 16, "resnet50": 16, "densenet121": 8, "mobilenet_v2": 16, "vgg16": 8,
           "cifar10_full": 100}


def batch_of(number: int, shape: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Images of the shape and their labels."""
    random = np.random.default_rng(number)
    return random.normal(0, 1, shape).astype(np.float32), random.integers(0, CLASSES, shape[0])


def caffe_pass(file: str, task: str) -> Callable:
    """A function of images and labels that makes one pass of the net in the file."""
    import caffe
    from caffe.proto import caffe_pb2

    if task == INFERENCE:
        net = caffe.Net(file, caffe.TEST, weights=str(Path(file).with_suffix(".caffemodel")))
        net.outputs_only = True
        scores = net.outputs[0]

        def infer(images: np.ndarray, labels: np.ndarray) -> None:
            net.blobs["data"].data[...] = images
            net.forward()[scores].sum()

        return infer

    with tempfile.NamedTemporaryFile("w", suffix=".prototxt") as solver_file:
        solver_file.write(str(caffe_pb2.SolverParameter(net=file, base_lr=1e-4, lr_policy="fixed", momentum=0.9,
                                                        weight_decay=5e-4, random_seed=1)))
        solver_file.flush()
        solver = caffe.SGDSolver(solver_file.name)

    def step(images: np.ndarray, labels: np.ndarray) -> None:
        solver.net.blobs["data"].data[...] = images
        solver.net.blobs["label"].data[...] = labels
        solver.step(1)

    return step


def torch_pass(file: str, task: str, threads: int) -> Callable:
    """As `caffe_pass`, in PyTorch's eager mode."""
    import json

    import torch
    from torch_net import TorchNet

    torch.set_num_threads(threads)
    net = TorchNet(json.loads(Path(file).read_text()))
    optimiser = torch.optim.SGD(net.parameters(), lr=1e-4, momentum=0.9, weight_decay=5e-4)

    @torch.no_grad()
    def infer(images: np.ndarray, labels: np.ndarray) -> None:
        net(torch.from_numpy(images).to(memory_format=torch.channels_last)).sum().item()

    def step(images: np.ndarray, labels: np.ndarray) -> None:
        optimiser.zero_grad()
        scores = net(torch.from_numpy(images).to(memory_format=torch.channels_last))
        torch.nn.functional.cross_entropy(scores, torch.from_numpy(labels)).backward()
        optimiser.step()

    net.train(task == TRAINING)
    return step if task == TRAINING else infer


def runtime_pass(file: str, threads: int) -> Callable:
    """As `caffe_pass` for inference, by ONNX Runtime."""
    from export import runtime

    compute = runtime(Path(file), threads)
    return lambda images, labels: compute(images)[0].sum()


def write_net(name: str, batch: int | None, task: str, folder: str, onnx: bool = False) -> tuple[dict[str, Path], list[int]]:
    """Write a net up to its scores, and for training a loss, for each competitor; return the files and the images' shape."""
    from export import export, save_weights
    from google.protobuf import json_format
    from zoo_nets import NETS

    net = NETS[name](batch or BATCHES[name])
    net.layer.pop()  # its Softmax
    # X.json beside X.caffemodel would be taken for its manifest.
    caffe_file, torch_file, model, onnx_file = (
        Path(folder, f"{name}.{suffix}") for suffix in ("prototxt", "torch.json", "caffemodel", "onnx"))
    torch_file.write_text(json_format.MessageToJson(net, preserving_proto_field_name=True))
    shape = list(net.layer[0].input_param.shape[0].dim)
    if task == TRAINING:
        scores = net.layer[-1].top[0]
        net.layer.add(name="label", type="Input", top=["label"]).input_param.shape.add(dim=shape[:1])
        net.layer.add(name="loss", type="SoftmaxWithLoss", bottom=[scores, "label"], top=["loss"])
    caffe_file.write_text(str(net))
    if task == INFERENCE:
        save_weights(caffe_file, model)
        if onnx:
            export(caffe_file, model, onnx_file)
    return {OURS: caffe_file, STOCK: caffe_file, TORCH: torch_file, RUNTIME: onnx_file}, shape


def measure(pythons: dict[str, str], name: str, task: str, batch: int | None, threads: int, steps: int,
            stock_steps: int) -> None:
    """Print the rows of one net and task."""
    pythons = {kind: python for kind, python in pythons.items()
               if (kind != STOCK or stock_steps) and (kind != RUNTIME or task == INFERENCE)}
    with tempfile.TemporaryDirectory() as folder:
        files, shape = write_net(name, batch, task, folder, onnx=RUNTIME in pythons)
        workers = [Worker(kind, python, __file__, threads, "--tasks", task, "--shape", *map(str, shape), "--file",
                          str(files[kind]))
                   for kind, python in pythons.items()]
    for number in range(steps + 1):
        for worker in workers:
            if worker.name != STOCK or number <= stock_steps:
                worker.step(number)
    ours, ours_busy = workers[0].seconds, workers[0].processor_seconds
    for worker in workers:
        seconds, busy = worker.seconds, worker.processor_seconds
        row([name, task, shape[0], threads, worker.name, quartiles(seconds, 1e3, 1 if seconds[0] < 0.1 else 0),
             f"{shape[0] / np.median(seconds):.1f}", f"{worker.peak:.2f}",
             quartiles(seconds / ours[: len(seconds)], digits=2), quartiles(busy / ours_busy[: len(busy)], digits=2)])
        worker.stop()


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--nets", nargs="+", help="names of zoo_nets.py (default: all)")
    parser.add_argument("--tasks", nargs="+", choices=[TRAINING, INFERENCE], default=[TRAINING, INFERENCE])
    parser.add_argument("--batch", type=int, help="images at once (default: the net's)")
    parser.add_argument("--steps", type=int, default=5, help="timed passes (default %(default)s)")
    parser.add_argument("--stock-steps", type=int, default=1, help="how many of them stock Caffe makes; 0: none")
    parser.add_argument("--shape", type=int, nargs="+", help="of a worker's images")
    parser.add_argument("--file", help="of a worker's net")
    arguments = parser.parse_args()
    if arguments.worker:
        (task,), (threads,) = arguments.tasks, arguments.threads
        if arguments.worker == TORCH:
            one_pass = torch_pass(arguments.file, task, threads)
        elif arguments.worker == RUNTIME:
            one_pass = runtime_pass(arguments.file, threads)
        else:
            one_pass = caffe_pass(arguments.file, task)
        return serve(lambda number: batch_of(number, arguments.shape), one_pass)

    if unknown := set(arguments.nets or ()) - set(BATCHES):
        parser.error(f"--nets {min(unknown)} is not one of {', '.join(BATCHES)}")
    pythons = interpreters(arguments.torch)
    if importlib.util.find_spec("onnxruntime"):
        pythons[RUNTIME] = sys.executable
    else:
        print("ONNX Runtime: skipped (pip install onnxruntime)")
    print(f"{machine.describe()}\n")
    table(["net", "task", "batch", "threads", "", "ms", "images/s", "peak memory, GB", f"times {OURS}",
           "processor time, times ours"])
    for name in arguments.nets or BATCHES:
        for task in arguments.tasks:
            for threads in arguments.threads:
                measure(pythons, name, task, arguments.batch, threads, arguments.steps, arguments.stock_steps)


if __name__ == "__main__":
    main()
