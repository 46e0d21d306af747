"""Caffe itself: imported quietly, and told to compute on the CPU or on a GPU.

Import ``caffe`` from here: glog reads its level once, when the library is loaded.
"""

import json
import os
from pathlib import Path

from solvers.errors import SolverError

os.environ.setdefault("GLOG_minloglevel", "2")  # errors only; 0 shows all that Caffe says

try:
    import caffe
except ImportError as missing:
    raise ImportError(f"cannot import caffe ({missing}): run `make setup` and use .venv/bin/python") from missing


def has_cuda() -> bool:
    """Whether this Caffe was built with CUDA. The build says so in build.json; without that file: no."""
    about = Path(caffe.__file__).parent / "build.json"
    return about.is_file() and json.loads(about.read_text()).get("cuda") is True


def use(gpu: str | None) -> None:
    """Compute on one GPU, or on the CPU where `gpu` is None.

    Parameters
    ----------
    gpu : str or None
        The value of ``--gpu``: a device number.

    Raises
    ------
    SolverError
        If it is not a device number, names several, or this Caffe knows no GPU (asked all the same, it would abort).
    """
    if gpu is None:
        caffe.set_mode_cpu()
        return
    ids = gpu.split(",")
    if not all(name.strip().isdecimal() for name in ids):
        raise SolverError(f"--gpu {gpu}: not a device number such as 0")
    if not has_cuda():
        raise SolverError(f"--gpu {gpu}: this Caffe was built for the CPU only; leave --gpu out")
    if len(ids) > 1:
        raise SolverError(f"--gpu {gpu}: training on several GPUs is not supported yet; give one device number")
    caffe.set_device(int(gpu))
    caffe.set_mode_gpu()
