"""Choose the images of a step's batch: balanced over the (noisy) labels, as in the released training loop."""

import numpy as np
from numpy.typing import NDArray

from base.errors import InputError

CLASS_STREAM, IMAGE_STREAM = 0, 1  # independent random streams of one seed


class ClassBalancedSampler:
    """Batches of `classes_per_batch` classes with `images_per_class` distinct images each.

    A random permutation of the classes is cut into as many complete batches as possible; after the last of them, a new
    permutation is drawn. Steps 1 and 2 use the same classes, as in the released loop. A batch depends on labels, seed and step
    alone, so that an exact resume needs no saved random state. (MATLAB's ``randperm(n, k)`` cannot be reproduced; these
    batches equal the released ones in distribution.)

    Parameters
    ----------
    labels : (N,) int64
        The labels to balance: the noisy ones.
    seed : int
    classes_per_batch, images_per_class : int

    Raises
    ------
    InputError
        If the labels hold fewer than `classes_per_batch` classes.
    """

    def __init__(self, labels: NDArray[np.int64], seed: int, classes_per_batch: int = 32, images_per_class: int = 8):
        self.classes, counts = np.unique(labels, return_counts=True)
        if len(self.classes) < classes_per_batch:
            raise InputError(f"the labels hold {len(self.classes)} classes, but a batch takes {classes_per_batch}, "
                             f"{images_per_class} images of each: give --batch {len(self.classes) * images_per_class} or less")
        self.members = np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])
        self.seed = seed
        self.classes_per_batch = classes_per_batch
        self.images_per_class = images_per_class

    def chosen_classes(self, step: int) -> NDArray[np.intp]:
        """The classes of a step (from 1), as positions in `self.classes`: (classes_per_batch,)."""
        batches = len(self.classes) // self.classes_per_batch
        permutation, batch = divmod(max(step - 2, 0), batches)
        order = np.random.default_rng([self.seed, CLASS_STREAM, permutation]).permutation(len(self.classes))
        return order[batch * self.classes_per_batch :][: self.classes_per_batch]

    def indices(self, step: int) -> NDArray[np.int64]:
        """The indices of a step's images, grouped by class: (classes_per_batch * images_per_class,).

        A class with fewer than `images_per_class` images repeats some: a permutation of so many numbers, modulo its size.
        """
        rng = np.random.default_rng([self.seed, IMAGE_STREAM, step])
        groups = []
        for position in self.chosen_classes(step):
            members = self.members[position]
            size = max(len(members), self.images_per_class)
            groups.append(members[rng.permutation(size)[: self.images_per_class] % len(members)])
        return np.concatenate(groups)
