"""Find the rate, type and seed of the label noise in a training set by comparing it with clean CIFAR-100."""

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from base.errors import InputError
from data_toolkit.dataset import Dataset
from data_toolkit.noise import NOISE_TYPES, NUM_CLASSES, LabelNoise, superclasses

SEEDS = (123, *range(100))  # the seeds to try; 123 is the released one


def describe(labelled: Dataset, clean: Dataset) -> str:
    """Describe the noise in the labels of `labelled`, in up to three lines.

    Parameters
    ----------
    labelled : Dataset
        Images in any order.
    clean : Dataset
        The training set that it was made from, with true labels and coarse labels.

    Raises
    ------
    InputError
        If `labelled` contains an image that `clean` does not, or a label that is no class of CIFAR-100.
    """
    if len(outside := labelled.labels[labelled.labels >= NUM_CLASSES]):
        raise InputError(f"{len(outside)} labels are outside 0 to {NUM_CLASSES - 1}, the first of them {outside[0]}"
                         + ("; count classes from 0" if outside[0] == NUM_CLASSES else ""))
    positions, sure = positions_in(labelled, clean)
    true, coarse = clean.true_labels[positions], clean.coarse_labels[positions]
    wrong = labelled.labels != true
    said = [f"{len(true)} images, {np.count_nonzero(wrong)} labels changed: label noise {wrong.mean():.4f}"]
    if not wrong.any():
        return said[0] + "; the labels are the true ones"
    kind = kind_of(labelled.labels[sure], true[sure], coarse[sure])
    said.append(f"type: {kind}" if kind else "type: none of " + ", ".join(NOISE_TYPES) + " explains it (a matrix might)")
    if kind:
        found = find_seed(labelled.labels, true, coarse, kind)
        said.append(f"rate {found.rate} with seed {found.seed} gives exactly these labels" if found else
                    f"rate about {rate_of(wrong, kind):.3f}; none of the seeds 0 to {max(SEEDS)} gives these labels in this "
                    "order")
    return "\n  ".join(said)


def positions_in(labelled: Dataset, clean: Dataset) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """The index in `clean` of each image of `labelled`, (N,) int, and whether it is certain, (N,) bool.

    It is uncertain only for images that `clean` contains more than once, if the two sets differ in their order. Of such
    copies, one with the image's label is taken first.
    """
    if np.array_equal(labelled.images, clean.images):
        return np.arange(len(clean.images)), np.ones(len(clean.images), bool)
    where = defaultdict(list)
    for i, image in enumerate(clean.images):
        where[image.tobytes()].append(i)
    alone = {image for image, equal in where.items() if len(equal) == 1}
    positions, sure = np.empty(len(labelled.images), np.intp), np.empty(len(labelled.images), bool)
    for i, (image, label) in enumerate(zip(labelled.images, labelled.labels, strict=True)):
        equal = where.get(image.tobytes())
        if not equal:
            raise InputError(f"image {i + 1} is not in CIFAR-100's training set, or is there more often than in it")
        of_label = [k for k in equal if clean.true_labels[k] == label]
        positions[i], sure[i] = (of_label or equal)[0], image.tobytes() in alone
        equal.remove(positions[i])
    return positions, sure


def kind_of(labels: NDArray[np.int64], true: NDArray[np.int64], coarse: NDArray[np.int64]) -> str | None:
    """The most specific noise type that is consistent with the changed labels; None if there is none."""
    wrong = labels != true
    if (labels[wrong] == (true[wrong] + 1) % NUM_CLASSES).all():
        return "pair_flip"
    superclass = np.full(NUM_CLASSES, -1)
    superclass[true] = coarse
    if (superclass[labels] == coarse).all():
        groups = superclasses(true, coarse)
        taking_part = [np.isin(group, true[wrong]).sum() for group in groups]
        return "asymmetric_sl" if max(taking_part) <= 2 else "asymmetric"
    # Symmetric noise chooses all other classes equally often: a chi-squared test with 98 degrees of freedom.
    steps = np.bincount((labels - true)[wrong] % NUM_CLASSES, minlength=NUM_CLASSES)[1:]
    expected = wrong.sum() / len(steps)
    chi_squared = ((steps - expected) ** 2 / expected).sum()
    return "symmetric" if chi_squared < 98 + 6 * np.sqrt(2 * 98) else None


def rate_of(wrong: NDArray[np.bool_], kind: str) -> float:
    """The maximum likelihood estimate of the rate, from the fraction of wrong labels."""
    return min(1.0, float(wrong.mean()) / (0.4 if kind == "asymmetric_sl" else 1))


def find_seed(labels: NDArray[np.int64], true: NDArray[np.int64], coarse: NDArray[np.int64], kind: str) -> LabelNoise | None:
    """The noise that gives exactly these labels, among the SEEDS and rates of two digits; None if there is none."""
    wrong = labels != true
    error = np.sqrt(0.25 / len(true))  # upper bound of the standard deviation of the fraction
    near = [r for r in (i / 100 for i in range(101)) if abs(r - rate_of(wrong, kind)) < 5 * error + 1e-9]
    near.sort(key=lambda r: (round(r * 100) % 10 != 0, abs(r - rate_of(wrong, kind))))
    for seed in SEEDS:
        for rate in near:
            noise = LabelNoise(kind, rate, seed)
            if np.array_equal(noise.inject(true, coarse), labels):
                return noise
    return None
