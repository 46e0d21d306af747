"""A net whose weights are more than one ONNX file can hold: they lie in a file of their own, and ONNX Runtime reads both."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from solvers.export import writing
from solvers.nets.rehearsal import available_memory

INPUTS, OUTPUTS = 4096, 128_000
MAKE = f"""
import sys
import numpy as np
from solvers.export import source
from solvers.nets import weights
net = weights.build(source.of_files(*map(__import__("pathlib").Path, sys.argv[1:])).net_param)
matrix, bias = (blob.data for blob in net.params["large"])
matrix[::1000] = np.random.default_rng(0).normal(size=({OUTPUTS // 1000}, {INPUTS}))
bias[...] = np.arange({OUTPUTS})
net.save(sys.argv[2])
"""


@pytest.mark.slow
@pytest.mark.skipif((available_memory() or 0) < 14 << 30, reason="it takes 14 GB of memory")
def test_weights_of_more_than_2_gb(tmp_path):
    """Of a caffemodel that is as large as protobuf reads: 2 GB less a little."""
    files = tmp_path / "deploy.prototxt", tmp_path / "net.caffemodel"
    files[0].write_text(f'input: "x" input_shape {{ dim: 1 dim: {INPUTS} }} layer {{ name: "large" type: "InnerProduct" '
                        f'bottom: "x" top: "y" inner_product_param {{ num_output: {OUTPUTS} }} }}')
    subprocess.run([sys.executable, "-c", MAKE, *files], check=True)
    assert writing.LIMIT < files[1].stat().st_size < 2 << 30
    subprocess.run([sys.executable, "-m", "solvers.export", *files, "-o", tmp_path / "net.onnx"], check=True)
    files[1].unlink()
    [data] = tmp_path.glob("net.onnx.*.data")
    assert data.stat().st_size > writing.LIMIT and (tmp_path / "net.onnx").stat().st_size < 1 << 20
    check(tmp_path / "net.onnx")


def check(file: Path) -> None:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).normal(size=(2, INPUTS)).astype(np.float32)
    [found] = session.run(None, {"x": x})
    matrix = np.random.default_rng(0).normal(size=(OUTPUTS // 1000, INPUTS)).astype(np.float32)
    np.testing.assert_allclose(found[:, ::1000], x @ matrix.T + np.arange(0, OUTPUTS, 1000), rtol=1e-4)
    np.testing.assert_array_equal(found[:, 1::1000], np.arange(1, OUTPUTS, 1000)[None].repeat(2, axis=0))
