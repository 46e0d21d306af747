"""Time the measurement of a ResNet-44 checkpoint on 10,000 test images, with one process per core and with one process.

    python benchmarks/evaluation.py --rounds 5

The two alternate: a process with one thread for each core, and one process with a thread for each core. The time includes
enlarging and cropping the images.
"""

import atexit
import sys
import tempfile
from pathlib import Path

import numpy as np
from caffe.proto import caffe_pb2 as pb
from turns import Worker, command_line, quartiles, row, serve, table

from data_toolkit.dataset import Dataset
from prototxt import generate

IMAGES = 10_000
ONE, MANY = "one process", "a process a core"


def measure(name: str):
    """A function that measures a checkpoint."""
    from solvers.evaluation.inference import PART, Predictor, probabilities
    from solvers.nets import weights

    random = np.random.default_rng(0)
    images = Dataset(random.integers(0, 256, (IMAGES, 32, 32, 3), np.uint8), np.arange(IMAGES) % 100)
    net = pb.NetParameter.FromString(generate.resnet(44, 100, 64, "resnet44").SerializeToString())
    built = weights.build(net)
    if name == MANY:
        folder = tempfile.TemporaryDirectory()
        atexit.register(folder.cleanup)
        model = Path(folder.name) / "random.caffemodel"
        built.save(str(model))
        predict = Predictor(net, {"test": images}).__enter__()
        return lambda: predict(model, "test")
    return lambda: np.concatenate([probabilities(built, images, start) for start in range(0, IMAGES, PART)])


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="timed checkpoints (default %(default)s)")
    arguments = parser.parse_args()
    if arguments.worker:
        return serve(lambda number: (), measure(arguments.worker))
    table(["cores", "", "seconds a checkpoint", "30 checkpoints, minutes", f"times {MANY}"])
    for threads in arguments.threads:
        workers = [Worker(name, sys.executable, __file__, threads) for name in (MANY, ONE)]
        for number in range(arguments.rounds + 1):
            for worker in workers:
                worker.step(number)
        for worker in workers:
            row([threads, worker.name, quartiles(worker.seconds, digits=2), f"{np.median(worker.seconds) / 2:.1f}",
                 quartiles(worker.seconds / workers[0].seconds, digits=2)])
            worker.stop()


if __name__ == "__main__":
    main()
