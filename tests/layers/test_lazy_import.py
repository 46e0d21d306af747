"""The formulas must work without Caffe."""

import subprocess
import sys

CODE = """
import sys
sys.modules["caffe"] = None  # any import of it now fails
import layers.weighting, layers.softmax_loss
print(layers.weighting.Weighting("MSE").mode())
try:
    layers.UnifiedWeightLoss
except ImportError:
    print("needs caffe")
"""


def test_weighting_needs_no_caffe():
    result = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert result.stdout.split("\n")[1] == "needs caffe", result.stderr
    assert float(result.stdout.split("\n")[0]) == 1 / 3
