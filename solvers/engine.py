"""Caffe itself: imported quietly, and told to compute on the CPU or on a GPU.

Import ``caffe`` from here: glog reads its level once, when the library is loaded.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

os.environ.setdefault("GLOG_minloglevel", "2")  # errors only; 0 shows all that Caffe says

try:
    import caffe
except ImportError as missing:
    raise ImportError(f"cannot import caffe ({missing}): run `make setup` and use .venv/bin/python") from missing


def has_cuda() -> bool:
    """Whether this Caffe was built with CUDA. The build says so in build.json; without that file: no."""
    about = Path(caffe.__file__).parent / "build.json"
    return about.is_file() and json.loads(about.read_text()).get("cuda") is True


def why_slow() -> str:
    """Why convolutions on this processor are slower than the CPU engine can make them, in words; "" where they are not."""
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

    After a crash it is said, too, and the signal goes its way. Must not be nested.
    """
    caffe._caffe.set_last_words(text)
    try:
        yield
    finally:
        caffe._caffe.set_last_words("")
