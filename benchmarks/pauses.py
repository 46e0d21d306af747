"""Compare passes after a pause with passes in a row, with threads that have a processor each, and with free ones.

    python benchmarks/pauses.py --nets resnet44 cifar10_full --batch 1 4

A server computes a small batch now and then, and its threads sleep in between. "Placed" threads are the engine's default (see
layers/engine/thread_places.hpp), which OMP_PROC_BIND=false turns off. The competitors, each in its own process, alternate.
Prints the median and the middle half of the times of a pass.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import zoo_nets
from turns import OURS, Worker, command_line, quartiles, row, serve, table

from solvers.nets import prototext
from solvers.nets.pycaffe import caffe

PLACES = {"placed": {}, "free": {"OMP_PROC_BIND": "false"}}
IN_A_ROW = 20


def forward(net_file: str, passes: int):
    """A function that makes so many passes."""
    net = caffe.Net(net_file, caffe.TEST)
    zoo_nets.randomise(net)
    images = np.random.default_rng(0).normal(0, zoo_nets.PIXELS, net.blobs["data"].data.shape)

    def compute() -> None:
        for _ in range(passes):
            net.blobs["data"].data[...] = images
            net.forward()

    return compute


def main() -> None:
    names = [zoo_nets.RESNET, *zoo_nets.NETS]
    parser = command_line(__doc__)
    parser.add_argument("--nets", nargs="+", choices=names,
                        default=[zoo_nets.RESNET, "cifar10_full", "mobilenet_v2", "squeezenet"])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4], help="images at once (default 1 and 4)")
    parser.add_argument("--turns", type=int, default=30, help="of each competitor (default %(default)s)")
    parser.add_argument("--file", help="of a worker's net")
    parser.add_argument("--passes", type=int, help="of a worker's turn")
    arguments = parser.parse_args()
    [threads] = arguments.threads
    if arguments.worker:
        compute = forward(arguments.file, arguments.passes)
        return serve(lambda number: (), compute)

    table(["net", "batch", "threads", "", "after a pause, ms", "in a row, ms"])
    for name in arguments.nets:
        for batch in arguments.batch:
            with tempfile.NamedTemporaryFile("w", suffix=".prototxt") as file:
                Path(file.name).write_text(prototext.text(zoo_nets.make(name, batch)))
                workers = {(place, passes): Worker(OURS, sys.executable, __file__, threads, "--file", file.name, "--passes",
                                                   str(passes), **environment)
                           for place, environment in PLACES.items() for passes in (1, IN_A_ROW)}
                for number in range(arguments.turns + 1):
                    for worker in workers.values():
                        worker.step(number)
            for place in PLACES:
                row([name, batch, threads, place, *(quartiles(workers[place, passes].seconds, 1e3 / passes, 1)
                                                    for passes in (1, IN_A_ROW))])
            for worker in workers.values():
                worker.stop()


if __name__ == "__main__":
    main()
