"""Find the true labels of a training set that does not contain them, by looking its images up in CIFAR-100."""

import dataclasses
from pathlib import Path

from base.commands import command
from base.errors import InputError
from data_toolkit import archives, dataset, prepare, verify
from data_toolkit.dataset import Dataset

MOST_NOISE = 0.95  # a file whose labels differ from CIFAR-100's for more of its images numbers other classes


def find_true_labels(labelled: Dataset, folder: Path) -> tuple[Dataset, str]:
    """Find true labels by looking the images up in CIFAR-100, as `prepare.py --verify` does. Nothing is downloaded.

    CIFAR-100 contains a few images twice, some of them with two labels. If the set is not in CIFAR-100's order, such an image
    is identified with the copy that has its label, if there is one.

    Parameters
    ----------
    labelled : Dataset
        Images of CIFAR-100, all or some, in any order; without true labels.
    folder : Path
        The folder of prepared data. CIFAR-100 is read from a training set in it, else from CIFAR100_SOURCE, else from an
        archive that was downloaded to it.

    Returns
    -------
    Dataset
        `labelled` with its true labels; unchanged if they cannot be found.
    str
        A line for the user: where they were found, or why not.
    """
    try:
        clean, where = _cifar100(Path(folder))
        positions, _ = verify.positions_in(labelled, clean)
    except InputError as error:
        return labelled, f"note: the true labels are not known, so there will be no dynamics.csv: {error}"
    found = dataclasses.replace(labelled, true_labels=clean.true_labels[positions], matched=True)
    if found.noise_rate > MOST_NOISE:
        return labelled, ("note: the true labels are not known, so there will be no dynamics.csv: the images are CIFAR-100's, "
                          f"but the labels are its for {1 - found.noise_rate:.1%} of them only, so they mean something else")
    return found, f"true labels of {len(positions)} images, from {where}: label noise {found.noise_rate:.4f}"


def _cifar100(folder: Path) -> tuple[Dataset, Path]:
    """CIFAR-100's training set, with or without label noise, and its file. The fast form is preferred: it loads fastest."""
    for path in sorted(folder.glob(dataset.train_name("*", "*", "*"))):
        try:
            return dataset.load(path)[0], path
        except InputError:  # a damaged file is reported where it is needed
            continue
    source = prepare.given_source(None) or prepare.downloaded_source(folder)
    if source is None:
        options = [] if folder == Path("data") else ["--output", folder]
        raise InputError(f"there is no CIFAR-100 in {folder} to find the images in; "
                         f"if they are CIFAR-100's, run `{command('data_toolkit.prepare', options)}` first")
    return archives.read(source)[0], source.path
