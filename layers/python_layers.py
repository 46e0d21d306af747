"""The loss layers as pycaffe layers. softmax_loss.py computes the losses.

    layer {
      name: "loss"  type: "Python"  bottom: "InnerProduct1"  bottom: "label"  bottom: "prob_groundtruth"  top: "loss"
      loss_weight: 1  propagate_down: true  propagate_down: false  propagate_down: false
      python_param { module: "layers"  layer: "UnifiedWeightLoss"  param_str: '{"lambda": 0.5, "beta": 6}' }
    }

loss_weight is required: without it, Caffe does not count a Python layer as a loss and trains nothing. Bottoms, tops and
rules are those of the C++ layers with the same names. Where those end the process, these raise a ValueError.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import caffe
import numpy as np

from layers import param_str
from layers.softmax_loss import SoftmaxLoss, check_label_count, class_indices, outer_classes_inner
from layers.table import OWN, PARAMETERS, WEIGHTINGS
from layers.weighting import parameters_of, row_of, weighting_with


class _Layer(caffe.Layer):
    """Common to all three layers: parameters, one label per position, errors that begin with the layer's type."""

    BOTTOMS: tuple[str, ...]
    PARAMETERS: tuple[str, ...]

    def setup(self, bottom, top):
        with self._errors():
            if len(bottom) != len(self.BOTTOMS):
                raise ValueError(f"takes {len(self.BOTTOMS)} bottoms ({', '.join(self.BOTTOMS)}), not {len(bottom)}")
            if len(top) not in (1, 2):
                raise ValueError(f"has 1 or 2 tops, not {len(top)}")
            self.parameters = param_str.read(self.param_str, self.PARAMETERS)
            self.axis = self.parameters.get("axis", 1)
            self.ignore_label = self.parameters.get("ignore_label")

    def reshape(self, bottom, top):
        with self._errors():
            check_label_count(bottom[1].data, bottom[0].data.shape, self.axis)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            raise ValueError(f"{type(self).__name__}: {error}") from error


class _Loss(_Layer):
    """Bottoms: scores, labels, prob_groundtruth (not read). Tops: the value V and, optionally, the softmax probabilities."""

    BOTTOMS = ("scores", "label", "prob_groundtruth")

    def setup(self, bottom, top):
        super().setup(bottom, top)
        with self._errors():
            self.weighting = weighting_with(self.weighting_name(), self.parameters)

    def weighting_name(self) -> str:
        raise NotImplementedError

    def reshape(self, bottom, top):
        super().reshape(bottom, top)
        top[0].reshape()
        if len(top) > 1:
            top[1].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        with self._errors():
            self.loss = SoftmaxLoss(bottom[0].data, bottom[1].data, self.weighting, self.ignore_label, self.axis)
        top[0].data[...] = self.loss.value
        if len(top) > 1:
            top[1].data[...] = self.loss.probabilities

    def backward(self, top, propagate_down, bottom):
        with self._errors():
            for name, wanted in zip(self.BOTTOMS[1:], propagate_down[1:], strict=True):
                if wanted:
                    raise ValueError(f"has no gradient for its bottom {name}: say propagate_down: true, false, false "
                                     "and leave out force_backward, which would ask a Python layer for all three")
        if propagate_down[0]:
            bottom[0].diff[...] = self.loss.gradient(loss_weight=top[0].diff)


class UnifiedWeightLoss(_Loss):
    """Derivative manipulation (arXiv 1905.11233): an example's emphasis is exp(beta * p^lambda * (1 - p))."""

    PARAMETERS = (*parameters_of(row_of("DM")), "ignore_label", "axis")

    def weighting_name(self) -> str:
        return "DM"


class WeightedSoftmaxWithLoss(_Loss):
    """Any weighting of table.py. param_str names it, or else the environment variable CAFFE_WEIGHTING; there is no default."""

    PARAMETERS = ("weighting", *PARAMETERS, *OWN, "ignore_label", "axis")

    def weighting_name(self) -> str:
        name = self.parameters.get("weighting", os.environ.get("CAFFE_WEIGHTING"))
        if not name:
            raise ValueError('no weighting: give one in param_str, as in {"weighting": "GCE"}, or in the environment '
                             f"variable CAFFE_WEIGHTING (one of {', '.join(WEIGHTINGS)})")
        return name


class ExtractProb(_Layer):
    """Bottoms: probabilities, labels. Tops: p, the label's probability, and, optionally, the largest probability.

    p is 0 where the label is the ignore_label and not one of the classes.
    """

    BOTTOMS = ("probs", "label")
    PARAMETERS = ("ignore_label", "axis")

    def reshape(self, bottom, top):
        super().reshape(bottom, top)
        shape = list(bottom[0].data.shape)
        shape[self.axis] = 1
        for i in range(len(top)):  # pycaffe's vectors of blobs are not iterable
            top[i].reshape(*shape)

    def forward(self, bottom, top):
        probabilities = bottom[0].data
        sizes = outer_classes_inner(probabilities.shape, self.axis)
        ignore_label = None if self.ignore_label in range(sizes[1]) else self.ignore_label
        with self._errors():
            indices, valid = class_indices(bottom[1].data, probabilities.shape, self.axis, ignore_label)
        p = np.take_along_axis(probabilities.reshape(sizes), indices, axis=1)
        top[0].data[...] = np.where(valid, p, 0).reshape(top[0].data.shape)
        if len(top) > 1:
            top[1].data[...] = probabilities.max(self.axis, keepdims=True)

    def backward(self, top, propagate_down, bottom):
        with self._errors():
            if any(propagate_down):
                raise ValueError("has no gradient: say propagate_down: false, false and leave out force_backward")
