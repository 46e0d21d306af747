"""Time ResNet-44 on the 10,000 images of a test set, from pixels to predicted classes: this Caffe, upstream's, PyTorch.

    python benchmarks/inference.py --torch /path/to/python --batch 64 256

PyTorch runs in eval mode under no_grad, channels_last. The three alternate, each in its own process; upstream's Caffe
computes only a tenth of the images. The output is that of train_step.py, with times per image.
"""

import tempfile
from collections.abc import Callable

import numpy as np
from turns import OURS, STOCK, TORCH, Worker, command_line, interpreters, quartiles, row, serve, table

IMAGES = 10_000


def count(name: str) -> int:
    """The number of images that a competitor computes."""
    return IMAGES // 10 if name == STOCK else IMAGES


def images(name: str, number: int) -> tuple[np.ndarray]:
    """Random images, (count(name), 3, 32, 32), in the range of pixels minus their mean."""
    return (np.random.default_rng(number).normal(0, 60, (count(name), 3, 32, 32)).astype(np.float32),)


def caffe_predict(batch: int) -> Callable:
    """A function of images that returns their classes."""
    import caffe

    from prototxt import generate

    with tempfile.NamedTemporaryFile("w", suffix=".prototxt") as file:
        file.write(generate.to_text(generate.resnet(44, 100, batch, "resnet44")))
        file.flush()
        net = caffe.Net(file.name, caffe.TEST)
    net.outputs_only = True

    def predict(x: np.ndarray) -> np.ndarray:
        classes = []
        for start in range(0, len(x), batch):
            part = x[start:start + batch]
            net.blobs["data"].reshape(*part.shape)
            net.blobs["data"].data[...] = part
            classes.append(net.forward()["probs"].reshape(len(part), -1).argmax(axis=1))
        return np.concatenate(classes)

    return predict


def torch_predict(batch: int, threads: int) -> Callable:
    """The same in PyTorch's eager mode."""
    import torch
    from torch_resnet import resnet

    torch.set_num_threads(threads)
    net = resnet(44).eval()

    @torch.no_grad()
    def predict(x: np.ndarray) -> np.ndarray:
        parts = torch.from_numpy(x).split(batch)
        return torch.cat([net(part.to(memory_format=torch.channels_last)).argmax(dim=1) for part in parts]).numpy()

    return predict


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--batch", type=int, nargs="+", default=[64], help="images at once (default 64, as evaluate.py)")
    parser.add_argument("--rounds", type=int, default=5, help="timed passes over the images (default %(default)s)")
    arguments = parser.parse_args()
    if arguments.worker:
        batch, threads = arguments.batch[0], arguments.threads[0]
        predict = torch_predict(batch, threads) if arguments.worker == TORCH else caffe_predict(batch)
        return serve(lambda number: images(arguments.worker, number), predict)

    pythons = interpreters(arguments.torch)
    table(["batch", "threads", "", "ms an image", "images/s", "peak memory, GB", f"times {OURS}"])
    for batch in arguments.batch:
        for threads in arguments.threads:
            workers = [Worker(name, python, __file__, threads, "--batch", str(batch)) for name, python in pythons.items()]
            for number in range(arguments.rounds + 1):
                for worker in workers:
                    worker.step(number)
            each = {worker.name: worker.seconds / count(worker.name) for worker in workers}
            for worker in workers:
                seconds = each[worker.name]
                row([batch, threads, worker.name, quartiles(seconds, 1e3, 2), f"{1 / np.median(seconds):.0f}",
                     f"{worker.peak:.2f}", quartiles(seconds / each[OURS], digits=2)])
                worker.stop()


if __name__ == "__main__":
    main()
