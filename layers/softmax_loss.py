"""Compute a loss over a batch: from scores and labels, the reported value and the gradient with respect to the scores."""

import math

import numpy as np

from layers.weighting import Weighting


def softmax(scores: np.ndarray, axis: int = 1) -> np.ndarray:
    """Softmax probabilities along an axis, in the shape and dtype of the scores."""
    probabilities = scores - scores.max(axis, keepdims=True)
    np.exp(probabilities, out=probabilities)
    probabilities /= probabilities.sum(axis, keepdims=True)
    return probabilities


def outer_classes_inner(shape: tuple[int, ...], axis: int) -> tuple[int, int, int]:
    """(outer, classes, inner): the sizes before, along and after the class axis. A negative axis counts from the end.

    Raises
    ------
    ValueError
        If there is no such axis.
    """
    dimensions = len(shape)
    if not -dimensions <= axis < dimensions:
        raise ValueError(f"no axis {axis} in a blob of shape {shape}: it can be {-dimensions} to {dimensions - 1}")
    axis %= dimensions
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1:])


def check_label_count(labels: np.ndarray, shape: tuple[int, ...], axis: int) -> None:
    """Raise a ValueError unless there is one label for each position of a blob with this shape."""
    outer, _, inner = outer_classes_inner(shape, axis)
    if labels.size != outer * inner:
        raise ValueError(f"a blob of shape {shape} with its classes on axis {axis} needs {outer * inner} labels, "
                         f"one a position, but the labels have shape {labels.shape}")


def class_indices(labels: np.ndarray, shape: tuple[int, ...], axis: int, ignore_label: int | None
                  ) -> tuple[np.ndarray, np.ndarray]:
    """Labels as indices for take_along_axis on an (outer, classes, inner) array.

    Parameters
    ----------
    labels : array of outer * inner whole numbers of any type
    shape : the shape of the scores
    axis : the class axis
    ignore_label : the label of positions to leave out; it may be outside 0..classes-1

    Returns
    -------
    indices : intp array, (outer, 1, inner); 0 where the label is ignored
    valid : bool array, (outer, 1, inner); False where the label is ignored

    Raises
    ------
    ValueError
        If there is not one label per position, or a label is neither ignored nor in 0..classes-1.
    """
    check_label_count(labels, shape, axis)
    outer, classes, inner = outer_classes_inner(shape, axis)
    given = np.trunc(labels.reshape(outer, 1, inner))  # still floating point: as an integer, NaN would look like a label
    valid = np.not_equal(given, ignore_label) if ignore_label is not None else np.ones_like(given, dtype=bool)
    wrong = valid & ~((given >= 0) & (given < classes))
    if wrong.any():
        example, _, position = np.argwhere(wrong)[0]
        where = f"example {example}" + (f", position {position}" if inner > 1 else "")
        raise ValueError(f"label {given[example, 0, position]:g} of {where} is outside 0..{classes - 1}, the classes "
                         f"of the scores, and not ignore_label ({ignore_label})")
    return np.where(valid, given, 0).astype(np.intp), valid


class SoftmaxLoss:
    """One forward pass of a loss over a batch. It keeps what `gradient` needs.

    Parameters
    ----------
    scores : float array with the classes on `axis`, e.g. (N, C) or (N, C, H, W)
    labels : one whole number per position, e.g. (N,) or (N, 1, H, W)
    weighting : the weighting of the loss
    ignore_label : positions with this label have gradient 0 and are not counted
    axis : the class axis

    Attributes
    ----------
    value : float, the reported value V
    normaliser : float, S
    probabilities : softmax of the scores, in their shape and dtype

    Raises
    ------
    ValueError
        If the labels do not fit the scores.
    """

    def __init__(self, scores: np.ndarray, labels: np.ndarray, weighting: Weighting, ignore_label: int | None = None,
                 axis: int = 1) -> None:
        self.weighting = weighting
        self._indices, self._valid = class_indices(labels, scores.shape, axis, ignore_label)
        self.probabilities = softmax(scores, axis)
        self._rows = self.probabilities.reshape(outer_classes_inner(scores.shape, axis))
        self._p = np.take_along_axis(self._rows, self._indices, axis=1)
        p = self._p[self._valid]
        self.normaliser, self.value = weighting.normaliser_and_value(p)

    def gradient(self, loss_weight: float = 1.0) -> np.ndarray:
        """The gradient of the scores, in their shape and dtype: loss_weight / S * c(p) * (P - onehot(label))."""
        scale = float(loss_weight) / self.normaliser * self.weighting.multiplier(self._p)
        gradient = self._rows * scale
        # Subtract 1 before scaling: for p near 1, the difference of two scaled numbers would lose its digits.
        np.put_along_axis(gradient, self._indices, (self._p - 1) * scale, axis=1)
        np.copyto(gradient, 0, where=~self._valid)  # where a label is ignored, even if scores there are not finite
        return gradient.reshape(self.probabilities.shape)
