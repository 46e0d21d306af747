"""The true labels of a training set that does not tell them: those of the same images in CIFAR-100."""

import dataclasses
from pathlib import Path

from base.commands import command
from base.errors import DataError
from data_toolkit import archives, dataset, prepare, verify
from data_toolkit.dataset import Dataset


def find_true_labels(labelled: Dataset, folder: Path) -> tuple[Dataset, str]:
    """Look its images up in CIFAR-100, as `prepare.py --verify` does. Nothing is downloaded for it.

    CIFAR-100 has a few images twice, some of them under two labels. In another order than CIFAR-100's, such a one is taken
    for the one whose label it has, if there is one.

    Parameters
    ----------
    labelled : Dataset
        Images in any order, all of CIFAR-100 or some; its true labels are not known.
    folder : Path
        Where prepared data are. CIFAR-100 is read from a training set there, else from what CIFAR100_SOURCE names, else from
        an archive that was downloaded there.

    Returns
    -------
    Dataset
        With its true labels; as it was if they cannot be found.
    str
        What was found, or why not, as a line for the user.
    """
    try:
        clean, where = _cifar100(Path(folder))
        positions, _ = verify.positions_in(labelled, clean)
    except DataError as error:
        return labelled, f"note: the true labels are not known, so there will be no dynamics.csv: {error}"
    found = dataclasses.replace(labelled, true_labels=clean.true_labels[positions], matched=True)
    return found, f"true labels of {len(positions)} images, from {where}: label noise {found.noise_rate:.4f}"


def _cifar100(folder: Path) -> tuple[Dataset, Path]:
    """CIFAR-100's training set, with or without label noise, and where it was read; the fast form takes the least time."""
    for path in sorted(folder.glob(dataset.train_name("*", "*", "*"))):
        try:
            return dataset.load(path)[0], path
        except DataError:  # whoever wants this very file is told so
            continue
    source = prepare.given_source(None) or prepare.downloaded_source(folder)
    if source is None:
        options = [] if folder == Path("data") else ["--output", folder]
        raise DataError(f"there is no CIFAR-100 in {folder} to find the images in; "
                        f"if they are CIFAR-100's, run `{command('data_toolkit.prepare', options)}` first")
    return archives.read(source)[0], source.path
