"""Caffe itself: imported quietly, and told to compute on the CPU or on GPUs.

Import ``caffe`` from here, for what is said where it is missing. solvers/__init__.py has set the environment that it reads.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

try:
    import caffe
except ImportError as missing:
    raise ImportError(f"cannot import caffe ({missing}): run `make setup` and use .venv/bin/python") from missing


def _build() -> dict:
    """What the build says of itself in build.json; nothing without that file."""
    about = Path(caffe.__file__).parent / "build.json"
    return json.loads(about.read_text()) if about.is_file() else {}


def has_cuda() -> bool:
    """Whether this Caffe was built with CUDA."""
    return _build().get("cuda") is True


def use_devices(gpus: list[int], rank: int = 0) -> None:
    """Tell Caffe which GPU this process computes on, and which of how many it is; without any, the CPU."""
    if not gpus:
        caffe.set_mode_cpu()
        return
    caffe.set_device(gpus[rank])
    caffe.set_mode_gpu()
    if len(gpus) > 1:
        caffe.set_solver_count(len(gpus))
        caffe.set_solver_rank(rank)
        caffe.set_multiprocess(True)


def why_slow() -> str:
    """Why this Caffe, or its convolutions on this processor, are slower than they can be, in words; "" where they are not."""
    if json.loads(_build().get("options", "{}")).get("CMAKE_BUILD_TYPE") == "Debug":
        return "this Caffe was built for gdb (CAFFE_BUILD=debug), many times slower; make setup goes back to the usual one"
    return caffe._caffe.why_slow()


def count_weights(net: caffe.Net) -> int:
    """How many numbers the parameters of a net are."""
    return sum(blob.count for blobs in net.params.values() for blob in blobs)


def seed_layers(seed: int, iteration: int, rank: int = 0) -> None:
    """Seed what layers draw in a step (Dropout): from seed and step alone, as the batch, so that a resumed run repeats it."""
    sequence = np.random.SeedSequence([seed, iteration, *([rank] if rank else [])])
    caffe.set_random_seed(int(sequence.generate_state(1)[0]))


@contextmanager
def last_words(text: str) -> Iterator[None]:
    """Within, where Caffe ends the process, `text` follows its reason in place of a stack trace; the exit code is then 2.

    After a crash, such as SIGSEGV, `text` is printed too, and the process then ends by that signal. Must not be nested.
    """
    caffe._caffe.set_last_words(text)
    try:
        yield
    finally:
        caffe._caffe.set_last_words("")
