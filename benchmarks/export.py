"""Export the nets of the zoo and our ResNet-44, with random weights, to ONNX: size, time to write and compare, speed.

    python benchmarks/export.py --nets googlenet resnet44

This Caffe, ONNX Runtime and OpenCV's dnn alternate, each in its own process, with a batch of 4.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import zoo_nets
from turns import OURS, RUNTIME, Worker, command_line, quartiles, row, serve, table

from solvers.export import source
from solvers.nets import prototext, weights
from solvers.nets.pycaffe import caffe

BATCH = 4
OPENCV = "OpenCV"
FILES = "deploy.prototxt", "net.caffemodel", "net.onnx"


def save_weights(net_file: Path, model: Path) -> tuple[int, ...]:
    """Save random weights of a net; return the shape of its images."""
    made = weights.build(source.of_files(net_file, model).net_param)
    zoo_nets.randomise(made)
    made.save(str(model))
    return made.blobs["data"].data.shape


def export(net_file: Path, model: Path, onnx_file: Path) -> str:
    """Export a net; return what the command printed."""
    done = subprocess.run([sys.executable, "-m", "solvers.export", str(net_file), str(model), "-o", str(onnx_file)],
                          capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{net_file}: {done.stderr}")
    return done.stdout


def worst(output: str) -> str:
    """The largest relative difference that the export printed."""
    return max((line.rpartition("(")[2].split()[0] for line in output.splitlines() if "largest difference" in line), key=float)


def runtime(onnx_file: Path, threads: int) -> Callable[[np.ndarray], object]:
    """A function of images that computes the net's output by ONNX Runtime."""
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(onnx_file), options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"data": images})


def computed_by(name: str, folder: Path, threads: int) -> Callable[[np.ndarray], object]:
    """A function of images that computes the net's output."""
    if name == OURS:
        net = caffe.Net(str(folder / FILES[0]), caffe.TEST, weights=str(folder / FILES[1]))

        def compute(images: np.ndarray) -> object:
            net.blobs["data"].data[...] = images
            return net.forward()
    elif name == RUNTIME:
        return runtime(folder / FILES[2], threads)
    else:
        import cv2
        cv2.setNumThreads(threads)
        net = cv2.dnn.readNetFromONNX(str(folder / FILES[2]))

        def compute(images: np.ndarray) -> object:
            net.setInput(images)
            return net.forward()
    return compute


def main() -> None:
    names = [*zoo_nets.NETS, zoo_nets.RESNET]
    parser = command_line(__doc__)
    parser.add_argument("--nets", nargs="+", choices=names, default=names)
    parser.add_argument("--rounds", type=int, default=5, help="timed passes (default %(default)s)")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)  # with --side, for a worker
    parser.add_argument("--side", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    threads = arguments.threads[0]
    if arguments.worker:
        compute = computed_by(arguments.worker, arguments.folder, threads)
        shape = BATCH, 3, arguments.side, arguments.side
        return serve(lambda number: (np.random.default_rng(number).normal(0, 60, shape).astype(np.float32),), compute)

    table(["net", "caffemodel, MB", "ONNX, MB", "export, s", "worst difference, relative", *(
        f"{name}, ms an image" for name in (OURS, RUNTIME, OPENCV))])
    for name in arguments.nets:
        with tempfile.TemporaryDirectory() as temporary:
            files = [Path(temporary, file) for file in FILES]
            files[0].write_text(prototext.text(zoo_nets.make(name, BATCH)))
            side = save_weights(*files[:2])[-1]
            start = time.perf_counter()
            said = export(*files)
            seconds = time.perf_counter() - start
            workers = [Worker(who, sys.executable, __file__, threads, "--folder", temporary, "--side", str(side))
                       for who in (OURS, RUNTIME, OPENCV)]
            for number in range(arguments.rounds + 1):
                for worker in workers:
                    worker.step(number)
            row([name, *(f"{file.stat().st_size / 1e6:.1f}" for file in files[1:]), f"{seconds:.1f}", worst(said),
                 *(quartiles(worker.seconds, 1e3 / BATCH, 1) for worker in workers)])
            for worker in workers:
                worker.stop()


if __name__ == "__main__":
    main()
