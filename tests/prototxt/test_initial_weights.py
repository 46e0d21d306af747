"""A seed gives equal initial weights with the engine and with upstream's layers, distributed as the msra filler defines."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from prototxt import generate

SETTING = Path(generate.__file__).parent / "res44_usw"
CODE = """
import sys
import caffe, numpy as np
caffe.set_random_seed(int(sys.argv[2]))  # as the released driver: before the solver is made
net = caffe.Net(sys.argv[1], caffe.TRAIN)
np.savez(sys.argv[3], **{f"{name} {i}": blob.data for name, blobs in net.params.items() for i, blob in enumerate(blobs)})
"""


def weights(folder: Path, engine: str, seed: int = 123) -> dict[str, np.ndarray]:
    file = folder / f"{engine}_{seed}.npz"
    subprocess.run([sys.executable, "-c", CODE, SETTING / "train.prototxt", str(seed), file], check=True,
                   env=os.environ | {"CAFFE_ENGINE": engine, "GLOG_minloglevel": "2"})
    return dict(np.load(file))


def test_equal_to_upstreams_bit_by_bit(tmp_path):
    ours, stock, other = weights(tmp_path, "onednn"), weights(tmp_path, "stock"), weights(tmp_path, "onednn", 124)
    assert ours.keys() == stock.keys() and len(ours) == 45 * 2 + 45 * 3 + 45 * 2 + 2
    for name, values in stock.items():
        assert values.tobytes() == ours[name].tobytes(), name
    assert not np.array_equal(ours["Convolution1 0"], other["Convolution1 0"])


def test_msra(tmp_path):
    """Normal with variance 2 / fan-in (arXiv 1502.01852, equation 10); biases 0."""
    for name, values in weights(tmp_path, "onednn").items():
        layer, index = name.split()
        if not layer.startswith(("Convolution", "InnerProduct")):
            continue
        if index == "1":
            assert not values.any()
            continue
        standard = values.ravel().astype(float) / np.sqrt(2 / (values.size / len(values)))
        assert abs(standard.mean()) < 5 / np.sqrt(values.size), name
        assert abs(standard.var() - 1) < 5 * np.sqrt(2 / values.size), name
