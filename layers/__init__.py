"""The losses: their formulas, and the pycaffe layers that compute them.

``layers.weighting`` evaluates the formulas and needs only NumPy. The pycaffe layers, which a prototxt names as
``python_param { module: "layers" layer: "UnifiedWeightLoss" }``, import Caffe; they are imported at their first use.
"""

from typing import Any

from base.did_you_mean import did_you_mean

PYTHON_LAYERS = ("UnifiedWeightLoss", "WeightedSoftmaxWithLoss", "ExtractProb")


def __getattr__(name: str) -> Any:
    if name in PYTHON_LAYERS:
        from layers import python_layers

        return getattr(python_layers, name)
    raise AttributeError(f"module 'layers' has no layer {name!r}{did_you_mean(name, PYTHON_LAYERS)} "
                         f"(it has {', '.join(PYTHON_LAYERS)})")
