"""A setting and a data set small enough that a step takes milliseconds.

    python tests/solvers/tiny.py SETTING [OPTIONS]      # solvers.train on this data set
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import errno
import itertools
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import lmdb
import numpy as np

from data_toolkit.dataset import Dataset
from solvers import train
from solvers.nets.pycaffe import caffe
from solvers.runs.training_set import TrainingSet

USW = """layer { name: "loss" type: "UnifiedWeightLoss" bottom: "scores" bottom: "label" bottom: "prob_groundtruth"
  top: "loss" loss_weight: 1 propagate_down: true propagate_down: false propagate_down: false
  loss_param { lamda_p: 0.5 scale: 6 } }"""
WEIGHTED = USW.replace("UnifiedWeightLoss", "WeightedSoftmaxWithLoss").split("loss_param")[0] + "}"
CCE = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "scores" bottom: "label" top: "loss" }'

SOLVER = """net: "train.prototxt" base_lr: 0.1 lr_policy: "multistep" gamma: 0.1 stepvalue: 6
momentum: 0.9 weight_decay: 0.0005
"""
BODY = """
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 8 kernel_size: 3 stride: 4 weight_filler { type: "msra" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv"
  param { lr_mult: 0 decay_mult: 0 } param { lr_mult: 0 decay_mult: 0 } param { lr_mult: 0 decay_mult: 0 } }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool"
  pooling_param { pool: AVE global_pooling: true } }
layer { name: "scores" type: "InnerProduct" bottom: "pool" top: "scores"
  inner_product_param { num_output: 10 weight_filler { type: "msra" } } }
layer { name: "probs" type: "Softmax" bottom: "scores" top: "probs" }
"""
EXTRACT = """layer { name: "prob_groundtruth" type: "ExtractProb" bottom: "probs" bottom: "label"
  top: "prob_groundtruth"
  propagate_down: false propagate_down: false }
"""
INPUT = """name: "tiny"
input: "data" input_dim: 16 input_dim: 3 input_dim: 32 input_dim: 32
input: "label" input_dim: 16 input_dim: 1 input_dim: 1 input_dim: 1
"""
TEST = INPUT.split('input: "label"')[0] + BODY


def write_setting(folder: Path, loss: str = USW, net: str | None = None, solver: str = SOLVER) -> Path:
    folder.mkdir()
    (folder / "train.prototxt").write_text(INPUT + BODY + EXTRACT + loss if net is None else net)
    (folder / "solver.prototxt").write_text(solver)
    return folder


def command(source: Path, runs: Path, *options: object) -> list[str]:
    """The command that trains a setting on this data set in a separate process."""
    return [sys.executable, __file__, *map(str, (source, "--runs", runs, *options))]


def dataset(images: int = 200) -> Dataset:
    """Random images whose brightness depends on the class."""
    random = np.random.default_rng(0)
    labels = np.arange(images) % 10
    pixels = random.integers(0, 100, (images, 32, 32, 3)) + 15 * labels[:, None, None, None]
    return Dataset(images=pixels.astype(np.uint8), labels=labels, true_labels=labels)


def write_hdf5(file: Path) -> None:
    """Write the data set for a net's own HDF5Data layer."""
    data = dataset()
    with h5py.File(file, "w") as written:
        written["data"] = data.images.transpose(0, 3, 1, 2).astype(np.float32)
        written["label"] = data.labels.astype(np.float32)


def write_hdf5_list(folder: Path) -> None:
    """Write that data set into a folder, and a list of its files, list.txt."""
    write_hdf5(folder / "images.h5")
    (folder / "list.txt").write_text(f"{folder / 'images.h5'}\n")


def hdf5_net(source: object) -> str:
    """A net with an HDF5Data layer; `source` lists its files."""
    return ('layer { name: "images" type: "HDF5Data" top: "data" top: "label" include { phase: TRAIN }'
            f' hdf5_data_param {{ source: "{source}" batch_size: 16 }} }}\n' + BODY + CCE)


PYTHON_LAYER = """import caffe
class Same(caffe.Layer):
    def setup(self, bottom, top): pass
    def reshape(self, bottom, top): top[0].reshape(*bottom[0].data.shape)
    def forward(self, bottom, top): top[0].data[...] = bottom[0].data
    def backward(self, top, propagate_down, bottom): bottom[0].diff[...] = top[0].diff
"""


def python_layer_net(module: str, kind: str = "Same") -> str:
    """A net with a Python layer "own" from a module like PYTHON_LAYER."""
    layer = ('layer { name: "own" type: "Python" bottom: "pool" top: "same" '
             f'python_param {{ module: "{module}" layer: "{kind}" }} }}\n')
    body = BODY.replace('layer { name: "scores"', layer + 'layer { name: "scores"')
    return INPUT + body.replace('type: "InnerProduct" bottom: "pool"', 'type: "InnerProduct" bottom: "same"') + CCE


def tested_hdf5_net(source: object) -> str:
    """A net that reads HDF5 files; in its TEST phase it reads these or others, and has an accuracy."""
    test = hdf5_net(source).splitlines()[0].replace("TRAIN", "TEST").replace('name: "images"', 'name: "test_images"')
    accuracy = ('layer { name: "right" type: "Accuracy" bottom: "scores" bottom: "label" top: "right" '
                'include { phase: TEST } }\n')
    return test + "\n" + hdf5_net(source) + accuracy


def datum(**fields: object) -> bytes:
    """An image in the form of Caffe's databases."""
    whole = {"channels": 3, "height": 32, "width": 32, "data": bytes(3 * 32 * 32), "label": 3}
    return caffe.proto.caffe_pb2.Datum(**whole | fields).SerializeToString()


def write_lmdb(folder: Path, records: list[bytes]) -> None:
    """Write records for a net's own Data layer."""
    with lmdb.open(str(folder), map_size=1 << 24) as database, database.begin(write=True) as transaction:
        for number, record in enumerate(records):
            transaction.put(b"%08d" % number, record)


def lmdb_net(source: object, loss: str = CCE) -> str:
    """A net with a Data layer over an LMDB."""
    return ('layer { name: "images" type: "Data" top: "data" top: "label" include { phase: TRAIN }'
            f' data_param {{ source: "{source}" batch_size: 16 backend: LMDB }} }}\n' + BODY + loss)


def at_write(number: int, act: Callable[[], None]) -> None:
    """Call `act` just before this process's `number`-th fsync, rename or removal of a file."""
    count = itertools.count(1)

    def counted(function):
        def call(*arguments, **options):
            if next(count) == number:
                act()
            return function(*arguments, **options)
        return call

    for name in "fsync", "replace", "unlink":
        setattr(os, name, counted(getattr(os, name)))


def kill() -> None:
    """End the process as SIGKILL or a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)


def fail() -> None:
    """Raise the error of a failing disk."""
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def fill_disk() -> None:
    """Let no file grow from now on."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


def main(argv: list[str]) -> int:
    for name, act in ("KILL_AT_WRITE", kill), ("FAIL_AT_WRITE", fail), ("FULL_AT_WRITE", fill_disk):
        if name in os.environ:
            at_write(int(os.environ[name]), act)
    TrainingSet.prepare = lambda labels, folder: dataset()
    return train.main(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
