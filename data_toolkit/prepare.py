"""Make the training and test sets of the experiments from CIFAR-100.

    python data_toolkit/prepare.py                                     # clean labels; downloads the official archive
    python data_toolkit/prepare.py --noise 0.4                         # -> data/TrainImageDataCell0.4.mat, a fast form
    python data_toolkit/prepare.py --noise 0.4 --noise-type asymmetric # or asymmetric_sl, pair_flip
    python data_toolkit/prepare.py --noise-matrix T.csv                # 100 x 100: row, true class; column, label
    python data_toolkit/prepare.py --source cifar-100-python.tar.gz    # or CIFAR100_SOURCE in the environment
    python data_toolkit/prepare.py --verify TrainImageDataCell0.4.mat  # which noise is in it
"""

import argparse
import hashlib
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

if not __package__:  # run as a script: Python then looks for modules in this folder instead of the one above
    sys.path[0] = str(Path(__file__).resolve().parents[1])
if __name__ == "__main__":
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # threads that it starts now would stay unconfined

import numpy as np

from base import confinement, writing
from base.errors import CommandLine, InputError, reports_errors
from base.terminal import say
from base.writing import atomic_writer
from data_toolkit import archives, dataset, matfile, verify
from data_toolkit.dataset import Dataset
from data_toolkit.noise import NOISE_TYPES, LabelNoise, confusion

URL = "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz"
ARCHIVE = URL.rpartition("/")[2]
SHA256 = "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec"


class PreparedPaths(NamedTuple):
    """The paths of training and test set, as MATLAB files and in the fast form, and of the counts of labels by true class."""

    train_mat: Path
    test_mat: Path
    confusion: Path
    train_fast: Path
    test_fast: Path


# The prefixes of .mat files, by noise type: the released names; our own for types that were not released.
PREFIXES = {"symmetric": "", "asymmetric": "Asymmetric", "asymmetric_sl": "SLAsymmetric", "pair_flip": "PairFlip"}


def paths(output: Path, noise: LabelNoise) -> PreparedPaths:
    """The paths of the files that `prepare` makes. The .mat files have the released names, which do not contain the seed."""
    output = Path(output)
    train_fast = dataset.train_path(output, noise)
    prefix = PREFIXES.get(noise.type, noise.type.capitalize())
    return PreparedPaths(output / f"{prefix}TrainImageDataCell{noise.rate}.mat",
                         output / "TestImageDataCell.mat",
                         train_fast.with_name(f"{train_fast.stem}_confusion.csv"),
                         train_fast,
                         dataset.test_path(output))


def load_done(fast: Path, mat: Path, source: archives.Source | None) -> Dataset | None:
    """Read a set that was made before. None if one of its files is missing or damaged, if their labels differ, or if the set
    was made from another source than the given one.
    """
    try:
        prepared, about = dataset.load(fast)
        done = (mat.stat().st_size == about["mat_bytes"]
                and (source is None or about["source_md5"] == source.md5)
                and np.array_equal(matfile.read_labels(mat), prepared.labels))
        return prepared if done else None
    except (InputError, OSError, KeyError):
        return None


def check_writable(output: Path) -> None:
    """Raise InputError unless files can be written in the folder. Makes the folder if it is missing."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=output).close()
    except OSError as error:
        raise InputError(f"cannot write to {output}: {error.strerror or error}") from error


def given_source(source: str | Path | None) -> archives.Source | None:
    """The source that `source` or else CIFAR100_SOURCE names; None if neither is given."""
    given = source or os.environ.get("CIFAR100_SOURCE")
    return archives.find_archive(Path(given)) if given else None


def downloaded_source(output: Path) -> archives.Source | None:
    """The official binary archive, if an earlier call downloaded it to `output`."""
    archive = output / ARCHIVE
    return archives.find_archive(archive) if archive.is_file() else None


def get_source(output: Path) -> archives.Source:
    """The official binary archive in `output`, downloaded if it is missing."""
    from data_toolkit import download  # with what speaks HTTP, which takes a fifth of a second

    archive = output / ARCHIVE
    download.fetch(URL, SHA256, archive)
    return archives.find_archive(archive)


def read(source: archives.Source) -> tuple[Dataset, Dataset]:
    """Read a source's training and test set. Prints what the source is, with a warning if its checksum is unknown."""
    say(f"{source.path}: {source.description}, md5 {source.md5}")
    if not source.is_official:
        say(f"warning: {source.path} has an unknown checksum; its images and labels are taken as they are",
            file=sys.stderr)
    return archives.read(source)


def save(data: Dataset, fast: Path, mat: Path, source: archives.Source) -> None:
    """Write a set in both forms. The fast form comes last: if it exists, both do."""
    matfile.write(mat, data.images, data.labels)
    dataset.save(fast, data, {"source": source.path.name, "source_md5": source.md5, "mat_bytes": mat.stat().st_size})
    counts = np.bincount(data.labels, minlength=data.num_classes)
    wrong = np.count_nonzero(data.labels != data.true_labels)
    say(f"{len(data.labels)} images in {len(counts)} classes of {counts.min()} to {counts.max()} images; "
        f"label noise {data.noise_rate:.4f} ({wrong} labels)")
    for path in mat, fast:
        with open(path, "rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        say(f"  {path}  {path.stat().st_size / 1e6:.1f} MB  sha256 {sha256}")


def save_confusion(path: Path, data: Dataset) -> None:
    """Write the counts of images by true class (row) and given label (column) as CSV."""
    counts = confusion(data.true_labels, data.labels)
    with atomic_writer(path) as file:
        np.savetxt(file, counts, fmt="%d", delimiter=",")
    say(f"  {path}  counts of true class (row) and label (column)")


def prepare(noise: LabelNoise, source: str | Path | None = None, output: str | Path = "data") -> PreparedPaths:
    """Make a training set with label noise, and the test set. Sets that exist undamaged are not made again.

    Parameters
    ----------
    noise : LabelNoise
    source : path, optional
        An archive of CIFAR-100 or its unpacked folder. By default that in the environment variable CIFAR100_SOURCE, or else
        the official archive, which is downloaded to `output`.
    output : path
        The folder for the files; made if it is missing.

    Returns
    -------
    PreparedPaths

    Raises
    ------
    InputError
        If the source cannot be downloaded or read, lacks superclasses that the noise needs, or `output` cannot be written.
    """
    return prepare_and_load(noise, source, output)[0]


def prepare_and_load(noise: LabelNoise, source: str | Path | None = None,
                     output: str | Path = "data") -> tuple[PreparedPaths, Dataset]:
    """As `prepare`; also return the training set, so that it need not be read again."""
    started = time.perf_counter()
    output = Path(output)
    prepared = paths(output, noise)
    try:
        found = given_source(source)
    except InputError as error:
        if source or not all(path.is_file() for path in prepared):
            raise
        say(f"note: {error}; what was made before is used", file=sys.stderr)
        found = None
    noisy = load_done(prepared.train_fast, prepared.train_mat, found) if prepared.confusion.is_file() else None
    test_done = load_done(prepared.test_fast, prepared.test_mat, found) is not None
    if noisy and test_done:
        say(f"already there: {', '.join(map(str, prepared))}")
        return prepared, noisy

    check_writable(output)
    writing.remove_unfinished(output)
    found = found or get_source(output)
    train, test = read(found)
    if not noisy:
        labels = noise.inject(train.true_labels, train.coarse_labels)
        noisy = Dataset(train.images, labels, train.true_labels, train.coarse_labels)
        save_confusion(prepared.confusion, noisy)
        save(noisy, prepared.train_fast, prepared.train_mat, found)
    if not test_done:
        save(test, prepared.test_fast, prepared.test_mat, found)
    say(f"prepared in {time.perf_counter() - started:.1f} s")
    return prepared, noisy


def confine(args: argparse.Namespace) -> None:
    """Confine this process to the files that the arguments name. Network connections are allowed only for a download."""
    if args.unconfined:
        return
    source = args.source or os.environ.get("CIFAR100_SOURCE")
    read = [Path(path) for path in (source, args.verify, args.noise_matrix) if path]
    download = not source and not (args.output / ARCHIVE).is_file()
    write = [args.output] if download or not args.verify else []
    for folder in write:
        check_writable(folder)
    missing = confinement.confine([*read, args.output, *confinement.installation()], write, network=download)
    if missing:
        say(f"note: not wholly confined: {missing} (docs/security.md)", file=sys.stderr)


@reports_errors("interrupted: complete files are kept; the same command makes the others")
def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit code: 0, 2 after an error, 130 after Ctrl-C."""
    parser = CommandLine(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    noise = parser.add_argument_group("label noise")
    noise.add_argument("--noise", type=float, metavar="R", help="its rate (0.0)")
    noise.add_argument("--noise-type", metavar="TYPE", help=f"{', '.join(NOISE_TYPES)} (symmetric)")
    noise.add_argument("--noise-matrix", type=Path, metavar="FILE",
                       help="100 x 100 transition probabilities instead, true class by label: text or .npy")
    noise.add_argument("--seed", type=int, default=123, help="(123)")
    parser.add_argument("--source", type=Path, metavar="PATH",
                        help="an archive of CIFAR-100 or its unpacked folder (CIFAR100_SOURCE, or a download)")
    parser.add_argument("--output", type=Path, default=Path("data"), metavar="DIR", help="where the files go (data)")
    parser.add_argument("--verify", type=Path, metavar="FILE",
                        help="tell which label noise a .mat or .npz training set holds, and make nothing")
    parser.add_argument("--unconfined", action="store_true", help="run without the kernel's confinement: docs/security.md")
    args = parser.parse_args(argv)
    if args.noise_matrix and not (args.noise is None and args.noise_type is None):
        parser.error("--noise-matrix says all about the noise: leave out --noise and --noise-type")
    confine(args)
    if args.verify:
        labelled = dataset.load_file(args.verify)
        train, _ = read(given_source(args.source) or get_source(args.output))
        try:
            say(f"{args.verify}: {verify.describe(labelled, train)}")
        except InputError as error:
            raise InputError(f"{args.verify}: {error}") from error
    elif args.noise_matrix:
        prepare(LabelNoise.from_matrix(args.noise_matrix, args.seed), args.source, args.output)
    else:
        prepare(LabelNoise(args.noise_type or "symmetric", args.noise or 0.0, args.seed), args.source, args.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
