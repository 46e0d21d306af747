"""Label noise: the paper's symmetric and asymmetric forms (arXiv 1905.11233, section 5.1), pair flip, any transition matrix.

Random numbers come from a Mersenne Twister, in the order in which the released MATLAB code drew them: MATLAB's ``rand`` with
the same seed gives the same numbers, and ``randperm(n)`` the same order, since it sorts n of them. How the original turned a
number into a class is unknown, so our noisy labels equal the released ones in distribution, not one by one.
"""

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from base import files
from base.did_you_mean import did_you_mean
from base.errors import InputError

Labels = NDArray[np.int64]  # (N,): classes from 0 to 99; coarse labels: superclasses from 0 to 19
NUM_CLASSES = 100


def symmetric(labels: Labels, rate: float, random: np.random.RandomState) -> Labels:
    """Each label is replaced, with probability `rate`, by one of the other 99 classes, all equally likely.

    The order of draws is that of the released loop: one number for each image in file order, and directly after it a second
    one if the label is replaced.
    """
    draw = random.random_sample
    noisy = labels.copy()
    for i, label in enumerate(labels.tolist()):
        if draw() < rate:
            other = int(draw() * (NUM_CLASSES - 1))
            noisy[i] = other + (other >= label)
    return noisy


def asymmetric(labels: Labels, rate: float, random: np.random.RandomState, coarse_labels: Labels) -> Labels:
    """Each label is replaced, with probability `rate`, by another class of its superclass: the released second version.

    One number is drawn for each image in file order, and a second one if the label is replaced.
    """
    siblings = {c: [other for other in group if other != c]
                for group in superclasses(labels, coarse_labels) for c in group.tolist()}
    draw = random.random_sample
    noisy = labels.copy()
    for i, label in enumerate(labels.tolist()):
        if draw() < rate:
            others = siblings[label]
            noisy[i] = others[int(draw() * len(others))]
    return noisy


def asymmetric_sl(labels: Labels, rate: float, random: np.random.RandomState, coarse_labels: Labels) -> Labels:
    """In each superclass, two classes swap the labels of floor(`rate` x size) images each: the released "SL" version.

    With 5 classes in a superclass, 0.4 x `rate` of all labels change. The images are shuffled first; then two classes of
    each superclass are drawn.
    """
    order = np.argsort(random.random_sample(len(labels)), kind="stable")
    noisy = labels.copy()
    for group in superclasses(labels, coarse_labels):
        pair = group[np.argsort(random.random_sample(len(group)), kind="stable")[:2]]
        for own, other in (pair, pair[::-1]):
            members = order[labels[order] == own]
            noisy[members[: int(rate * len(members) + 1e-9)]] = other  # 1e-9: 0.29 * 100 is 28.999...
    return noisy


def pair_flip(labels: Labels, rate: float, random: np.random.RandomState) -> Labels:
    """Each label is replaced, with probability `rate`, by the next class; 99 by 0 (arXiv 1804.06872, Figure 2a)."""
    flipped = random.random_sample(len(labels)) < rate
    return np.where(flipped, (labels + 1) % NUM_CLASSES, labels)


def by_matrix(labels: Labels, matrix: NDArray[np.float64], random: np.random.RandomState) -> Labels:
    """Each label is drawn from the row of its true class in `matrix`, (100, 100), with one number per image in file order."""
    cumulated = np.cumsum(matrix, axis=1)
    cumulated /= cumulated[:, -1:]
    return (random.random_sample(len(labels))[:, np.newaxis] >= cumulated[labels]).sum(axis=1)


NOISE_TYPES: dict[str, Callable[..., Labels]] = {
    f.__name__: f for f in (symmetric, asymmetric, asymmetric_sl, pair_flip)}
NEED_SUPERCLASSES = ("asymmetric", "asymmetric_sl")


def superclasses(labels: Labels, coarse_labels: Labels) -> list[Labels]:
    """The classes of each superclass, both ascending.

    Raises
    ------
    InputError
        If a class is in two superclasses, or alone in one.
    """
    coarse, classes = np.divmod(np.unique(coarse_labels * NUM_CLASSES + labels), NUM_CLASSES)
    if len(np.unique(classes)) != len(classes):
        raise InputError("a class has images in two superclasses, so these labels do not tell its siblings")
    groups = np.split(classes, np.flatnonzero(np.diff(coarse)) + 1)
    if alone := [int(group[0]) for group in groups if len(group) < 2]:
        raise InputError(f"class {alone[0]} is alone in its superclass: asymmetric noise has no other label for it")
    return groups


@dataclass(frozen=True)
class LabelNoise:
    """Label noise of a type, rate and seed, which are checked when it is made.

    Parameters
    ----------
    type : str
        symmetric, asymmetric, asymmetric_sl or pair_flip; for a matrix, see `from_matrix`.
    rate : float
        0 to 1; for its meaning see the function of the type.
    seed : int
        0 to 2**32 - 1.

    Raises
    ------
    InputError
        If a parameter is invalid. The message names the valid ones.
    """

    type: str = "symmetric"
    rate: float = 0.0
    seed: int = 123
    matrix: NDArray[np.float64] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self):
        if self.type not in NOISE_TYPES and self.matrix is None:
            raise InputError(f'noise type "{self.type}" is not known{did_you_mean(self.type, NOISE_TYPES)} '
                             f'(there is {", ".join(NOISE_TYPES)})')
        if not 0 <= self.rate <= 1:  # also False for NaN
            raise InputError(f"noise {self.rate} is not a rate: it must be from 0 to 1")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"seed {self.seed} is not possible: it must be from 0 to {2**32 - 1}")
        object.__setattr__(self, "rate", abs(float(self.rate)))  # -0.0 is 0.0

    @classmethod
    def from_matrix(cls, file: Path, seed: int = 123) -> "LabelNoise":
        """Noise by a transition matrix: row i, column j is the probability that the true class i gets the label j.

        The type of the noise contains a checksum of the matrix; its rate is the fraction of labels that the matrix changes if
        all classes are equally frequent.

        Parameters
        ----------
        file : Path
            100 x 100 numbers: a text file, separated by commas or blanks, or a .npy file.
        seed : int

        Raises
        ------
        InputError
            If the file cannot be read, or does not hold such a matrix.
        """
        matrix = read_matrix(file)
        name = f"matrix_{hashlib.sha256(matrix.tobytes()).hexdigest()[:8]}"
        return cls(name, round(1 - float(np.diag(matrix).mean()), 4), seed, matrix)

    @property
    def name(self) -> str:
        """See `name_of`."""
        return name_of(self.type, self.rate)

    def inject(self, labels: Labels, coarse_labels: Labels | None = None) -> Labels:
        """The labels with this noise.

        Parameters
        ----------
        labels, coarse_labels : (N,) int64
            The classes, 0 to 99, and their superclasses, which only the asymmetric types need.

        Returns
        -------
        (N,) int64

        Raises
        ------
        InputError
            If superclasses are needed but not given.
        """
        random = np.random.RandomState(self.seed)
        if self.matrix is not None:
            return by_matrix(labels, self.matrix, random)
        if self.type not in NEED_SUPERCLASSES:
            return NOISE_TYPES[self.type](labels, self.rate, random)
        if coarse_labels is None:
            raise InputError(f"{self.type} noise needs the superclasses of the images (coarse labels), which these data "
                             "do not have")
        return NOISE_TYPES[self.type](labels, self.rate, random, coarse_labels)


def name_of(type: str, rate: float) -> str:
    """The name of a noise in the names of folders and files: 0.4, asymmetric_0.4, matrix_1a2b3c4d_0.25."""
    return f"{rate}" if type == "symmetric" else f"{type}_{rate}"


def read_matrix(file: Path) -> NDArray[np.float64]:
    """A transition matrix; see `LabelNoise.from_matrix`."""
    try:
        content = files.read(files.real(file))
        if Path(file).suffix == ".npy":
            matrix = np.load(io.BytesIO(content), allow_pickle=False)
        else:
            text = content.decode("utf-8-sig").replace(",", " ")
            matrix = np.array([line.split() for line in text.splitlines() if line.strip()], dtype=np.float64)
        matrix = np.asarray(matrix, dtype=np.float64)
    except FileNotFoundError:
        raise InputError(f"{file} does not exist: --noise-matrix names a file of {NUM_CLASSES} x {NUM_CLASSES} "
                         "numbers") from None
    except Exception as error:  # NumPy parses the head of a damaged .npy as Python text, and may raise anything
        raise InputError(f"{file} is not a matrix of numbers: {error}") from error
    if matrix.shape != (NUM_CLASSES, NUM_CLASSES):
        raise InputError(f"{file} holds numbers of shape {matrix.shape}; a transition matrix of CIFAR-100 is "
                         f"({NUM_CLASSES}, {NUM_CLASSES})")
    if wrong := np.argwhere(~((matrix >= 0) & (matrix <= 1))).tolist():
        row, column = wrong[0]
        raise InputError(f"{file}: row {row}, column {column} is {matrix[row, column]}, which is no probability")
    sums = matrix.sum(axis=1)
    if wrong := np.flatnonzero(abs(sums - 1) > 1e-6).tolist():
        raise InputError(f"{file}: row {wrong[0]} sums to {sums[wrong[0]]:.6g} instead of 1"
                         + (f", and so do {len(wrong) - 1} other rows" if len(wrong) > 1 else ""))
    return matrix


def confusion(true_labels: Labels, labels: Labels) -> NDArray[np.int64]:
    """Counts of images by true class (row) and given label (column): (100, 100)."""
    flat = np.bincount(true_labels * NUM_CLASSES + labels, minlength=NUM_CLASSES**2)
    return flat.reshape(NUM_CLASSES, NUM_CLASSES)
