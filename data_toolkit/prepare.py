"""Make the data sets of the experiments from CIFAR-100.

    python data_toolkit/prepare.py                                     # clean labels; downloads the official archive
    python data_toolkit/prepare.py --noise 0.4                         # -> data/TrainImageDataCell0.4.mat, a fast form
    python data_toolkit/prepare.py --source cifar-100-python.tar.gz    # or CIFAR100_SOURCE in the environment
"""

import argparse
import hashlib
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

if not __package__:  # run as a script: then Python looks for modules in this folder, and not in the one above
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np

from data_toolkit import archives, dataset, download, matfile
from data_toolkit import noise as label_noise
from data_toolkit.dataset import Dataset
from data_toolkit.errors import DataError

URL = "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz"
MD5 = "03b5dce01913d631647c71ecec9e9cb8"


class PreparedPaths(NamedTuple):
    """Where the training and the test set are, as MATLAB files and in the fast form."""

    train_mat: Path
    test_mat: Path
    train_fast: Path
    test_fast: Path


def paths(output: Path, noise: float, noise_type: str, seed: int) -> PreparedPaths:
    """Where `prepare` puts what it makes. The .mat files have the released names, which do not tell the seed."""
    output = Path(output)
    return PreparedPaths(output / f"TrainImageDataCell{dataset.rate_name(noise)}.mat",
                         output / "TestImageDataCell.mat",
                         dataset.train_path(output, noise, noise_type, seed),
                         dataset.test_path(output))


def is_done(fast: Path, mat: Path, source: archives.Source | None) -> bool:
    """Whether both files of a set are there, whole, with the same labels, and from this source (if one is given)."""
    try:
        prepared, about = dataset.load(fast)
        return (mat.stat().st_size == about["mat_bytes"]
                and (source is None or about["source_md5"] == source.md5)
                and np.array_equal(matfile.read_labels(mat), prepared.labels))
    except (DataError, OSError, KeyError):
        return False


def check_writable(output: Path) -> None:
    """Raise DataError unless files can be made in the folder, which is made if need be."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=output).close()
    except OSError as error:
        raise DataError(f"cannot write to {output}: {error.strerror or error}") from error


def get_source(output: Path) -> archives.Source:
    """The official binary archive, downloaded to `output` unless it is there."""
    archive = output / URL.rpartition("/")[2]
    download.fetch(URL, MD5, archive)
    return archives.find(archive)


def save(data: Dataset, fast: Path, mat: Path, source: archives.Source) -> None:
    """Write a set in both forms; the fast one last, since it tells that both are there."""
    matfile.write(mat, data.images, data.labels)
    dataset.save(fast, data, {"source": source.path.name, "source_md5": source.md5, "mat_bytes": mat.stat().st_size})
    counts = np.bincount(data.labels, minlength=data.num_classes)
    print(f"{len(data.labels)} images in {len(counts)} classes of {counts.min()} to {counts.max()} images; "
          f"label noise {data.noise_rate:.4f}")
    for path in mat, fast:
        with open(path, "rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        print(f"  {path}  {path.stat().st_size / 1e6:.1f} MB  sha256 {sha256}", flush=True)


def prepare(noise: float = 0.0, noise_type: str = "symmetric", seed: int = 123, source: str | Path | None = None,
            output: str | Path = "data") -> PreparedPaths:
    """Make a training set with label noise, and the test set; do nothing if they are there and whole.

    Parameters
    ----------
    noise : float
        Rate of label noise, 0 to 1.
    noise_type : str
        One of ``noise.NOISE_TYPES``.
    seed : int
        Of the label noise.
    source : path, optional
        An archive of CIFAR-100 or its unpacked folder; else the environment variable CIFAR100_SOURCE names it; else the
        official archive is downloaded to `output`.
    output : path
        Folder; made if need be.

    Returns
    -------
    PreparedPaths

    Raises
    ------
    DataError
        If an argument is not possible, the source cannot be had or used, or `output` cannot be written.
    """
    started = time.perf_counter()
    label_noise.check(noise_type, noise, seed)
    noise, output = abs(noise), Path(output)  # abs: -0.0 is 0.0
    prepared = paths(output, noise, noise_type, seed)
    given = source or os.environ.get("CIFAR100_SOURCE")
    found = archives.find(Path(given)) if given else None
    train_done = is_done(prepared.train_fast, prepared.train_mat, found)
    test_done = is_done(prepared.test_fast, prepared.test_mat, found)
    if train_done and test_done:
        print(f"already there: {', '.join(map(str, prepared))}")
        return prepared

    check_writable(output)
    found = found or get_source(output)
    print(f"{found.path}: {found.description}, md5 {found.md5}", flush=True)
    if not found.is_official:
        print(f"warning: {found.path} has an unknown checksum; its images and labels are taken as they are",
              file=sys.stderr)
    train, test = archives.read(found)
    if not train_done:
        labels = label_noise.inject(train.true_labels, noise, noise_type, seed)
        noisy = Dataset(train.images, labels, train.true_labels, train.coarse_labels)
        save(noisy, prepared.train_fast, prepared.train_mat, found)
    if not test_done:
        save(test, prepared.test_fast, prepared.test_mat, found)
    print(f"prepared in {time.perf_counter() - started:.1f} s")
    return prepared


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--noise", type=float, default=0.0, metavar="R", help="rate of label noise (0.0)")
    parser.add_argument("--noise-type", default="symmetric", metavar="TYPE",
                        help=f"{', '.join(label_noise.NOISE_TYPES)} (the default is symmetric)")
    parser.add_argument("--seed", type=int, default=123, help="of the label noise (123)")
    parser.add_argument("--source", type=Path, metavar="PATH",
                        help="an archive of CIFAR-100 or its unpacked folder (CIFAR100_SOURCE, or a download)")
    parser.add_argument("--output", type=Path, default=Path("data"), metavar="DIR", help="where the files go (data)")
    args = parser.parse_args(argv)
    try:
        prepare(**vars(args))
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
