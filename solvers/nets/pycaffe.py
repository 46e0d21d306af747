"""Caffe itself: imported without its log, and told to compute on the CPU or on GPUs.

Import ``caffe`` from here: if it is missing, the error says how to build it. solvers/__init__.py sets the environment
variables that Caffe reads when it is loaded.
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
    """The content of build.json, which the build writes beside Caffe; an empty dict without that file."""
    about = Path(caffe.__file__).parent / "build.json"
    return json.loads(about.read_text()) if about.is_file() else {}


def has_cuda() -> bool:
    """Whether this Caffe was built with CUDA."""
    return _build().get("cuda") is True


def use_devices(gpus: list[int], rank: int = 0) -> None:
    """Let this process compute on the GPU `gpus[rank]`, as one of `len(gpus)` solvers; on the CPU if `gpus` is empty."""
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
    """Why this Caffe, or its convolutions on this processor, is slower than it could be, in words; "" if it is not."""
    if json.loads(_build().get("options", "{}")).get("CMAKE_BUILD_TYPE") == "Debug":
        return "this Caffe was built for gdb (CAFFE_BUILD=debug), many times slower; make setup goes back to the usual one"
    return caffe._caffe.why_slow()


def count_weights(net: caffe.Net) -> int:
    """The number of values in all parameters of a net."""
    return sum(blob.count for blobs in net.params.values() for blob in blobs)


def seed_layers(seed: int, iteration: int, rank: int = 0) -> None:
    """Seed the random numbers that layers draw in a step (Dropout), from seed and step alone: a resume repeats them."""
    sequence = np.random.SeedSequence([seed, iteration, *([rank] if rank else [])])
    caffe.set_random_seed(int(sequence.generate_state(1)[0]))


@contextmanager
def last_words(text: str) -> Iterator[None]:
    """While the context is open: if Caffe ends the process, it prints its reason, then `text`, and exits with code 2.

    Without this, Caffe prints a stack trace and aborts. After a crash such as SIGSEGV, `text` is printed too, and the process
    then ends by that signal. Contexts must not be nested.
    """
    caffe._caffe.set_last_words(text)
    try:
        yield
    finally:
        caffe._caffe.set_last_words("")
