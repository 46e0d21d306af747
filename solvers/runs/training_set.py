"""The training set of a run: CIFAR-100 with label noise, or the images and labels of a file."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from base import files
from base.errors import InputError
from base.terminal import say
from data_toolkit import dataset, prepare, true_labels
from data_toolkit.dataset import Dataset
from data_toolkit.noise import LabelNoise, name_of

# The noisy labels have a fixed seed, since they are part of the data. --seed is for weights and batches only.
NOISE_SEED = 123


@dataclass(frozen=True)
class TrainingSet:
    """The choice of a training set.

    Attributes
    ----------
    noise_type : str or None
        As `LabelNoise.type`; None for a file.
    rate : float or None
        The rate of the noise, 0 to 1. For a file, the rate that the user gives with --noise.
    file : Path or None
        The file of --train-data.
    noise : LabelNoise or None
        The noise from which `prepare` makes the set. None for a file, and from `from_config`: an evaluation never makes it.
    """

    noise_type: str | None
    rate: float | None
    file: Path | None = None
    noise: LabelNoise | None = None

    @classmethod
    def from_options(cls, args: argparse.Namespace) -> "TrainingSet":
        """The training set that --noise, --noise-type, --noise-matrix and --train-data describe.

        Raises
        ------
        InputError
            If two options exclude each other, or the file does not exist.
        InputError
            If the noise rate or the matrix is invalid.
        """
        exclusive = [f"--{name.replace('_', '-')}" for name in ("noise_type", "noise_matrix", "train_data")
                     if getattr(args, name) is not None]
        if len(exclusive) > 1:
            raise InputError(f"{' and '.join(exclusive)} exclude each other: each says what the labels are")
        if args.noise_matrix and args.noise is not None:
            raise InputError(f"--noise {args.noise} and --noise-matrix exclude each other: the matrix tells the rate")
        if args.train_data:
            if not args.train_data.is_file():
                raise InputError(f"--train-data {args.train_data} does not exist")
            return cls(None, args.noise, files.real(args.train_data))
        noise = (LabelNoise.from_matrix(args.noise_matrix, NOISE_SEED) if args.noise_matrix
                 else LabelNoise(args.noise_type or "symmetric", args.noise or 0.0, NOISE_SEED))
        return cls(noise.type, noise.rate, None, noise)

    @classmethod
    def from_config(cls, config: dict) -> "TrainingSet | None":
        """The training set in a run's config.json; None if the run's net read its own data."""
        file, noise_type, rate = (config.get(name) for name in ("train_data", "noise_type", "noise"))
        if file:
            return cls(None, rate, Path(file))
        return None if noise_type is None or rate is None else cls(noise_type, rate)

    @property
    def config(self) -> dict:
        """The fields of config.json that describe the set."""
        return {"noise": self.rate, "noise_type": self.noise_type, "train_data": self.file and str(self.file)}

    @property
    def name(self) -> str:
        """Its part of a run's path: noise_0.4, noise_asymmetric_0.4, data_<name of the file>."""
        return f"data_{self.file.stem}" if self.file else f"noise_{name_of(self.noise_type, self.rate)}"

    def prepare(self, folder: Path) -> Dataset:
        """Read the set from the data folder, made first if it is missing. For a file, print if its true labels are known."""
        if self.file:
            data, said = self._read_file(folder)
            say(said)
            return data
        return prepare.prepare_and_load(self.noise, output=folder)[1] if self.noise else self.load(folder)

    def load(self, folder: Path) -> Dataset:
        """Read the set from the data folder, or from its file.

        Raises
        ------
        InputError
            If it is missing or damaged.
        """
        if self.file:
            return self._read_file(folder)[0]
        return dataset.load(Path(folder) / dataset.train_name(self.noise_type, self.rate, NOISE_SEED))[0]

    def _read_file(self, folder: Path) -> tuple[Dataset, str]:
        """The file's data, with the true labels if they are known, and a line that says where these come from."""
        data = dataset.load_file(self.file)
        if data.true_labels is None:
            return true_labels.find_true_labels(data, folder)
        return data, f"true labels of {len(data.labels)} images, from {self.file}: label noise {data.noise_rate:.4f}"
