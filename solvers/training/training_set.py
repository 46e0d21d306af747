"""Which labels a run learns from: CIFAR-100's with label noise, or those of a file."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from base import files
from base.errors import DataError
from base.terminal import say
from data_toolkit import dataset, prepare, true_labels
from data_toolkit.dataset import Dataset
from data_toolkit.noise import LabelNoise
from solvers.errors import SolverError

# The noisy labels are part of the data, like the images: --seed is about weights and batches.
NOISE_SEED = 123


@dataclass(frozen=True)
class TrainingSet:
    """The choice of a training set.

    Attributes
    ----------
    noise_type : str or None
        As `LabelNoise.type`; None for a file.
    rate : float or None
        Of the noise; of a file, what the user says of it.
    file : Path or None
    noise : LabelNoise or None
        What makes it, where it may have to be made.
    """

    noise_type: str | None
    rate: float | None
    file: Path | None = None
    noise: LabelNoise | None = None

    @classmethod
    def from_options(cls, args: argparse.Namespace) -> "TrainingSet":
        """From --noise, --noise-type, --noise-matrix and --train-data.

        Raises
        ------
        SolverError
            If they contradict each other.
        base.errors.DataError
            If one is impossible.
        """
        exclusive = [f"--{name.replace('_', '-')}" for name in ("noise_type", "noise_matrix", "train_data")
                     if getattr(args, name) is not None]
        if len(exclusive) > 1:
            raise SolverError(f"{' and '.join(exclusive)} exclude each other: each says what the labels are")
        if args.noise_matrix and args.noise is not None:
            raise SolverError(f"--noise {args.noise} and --noise-matrix exclude each other: the matrix tells the rate")
        if args.train_data:
            if not args.train_data.is_file():
                raise SolverError(f"--train-data {args.train_data} does not exist")
            return cls(None, args.noise, files.real(args.train_data))
        noise = (LabelNoise.from_matrix(args.noise_matrix, NOISE_SEED) if args.noise_matrix
                 else LabelNoise(args.noise_type or "symmetric", args.noise or 0.0, NOISE_SEED))
        return cls(noise.type, noise.rate, None, noise)

    @classmethod
    def from_config(cls, config: dict) -> "TrainingSet":
        """From a run's config.json."""
        file = config.get("train_data")
        return cls(config.get("noise_type"), config.get("noise"), Path(file) if file else None)

    @property
    def config(self) -> dict:
        return {"noise": self.rate, "noise_type": self.noise_type, "train_data": self.file and str(self.file)}

    @property
    def name(self) -> str:
        """The part of a run's path: noise_0.4, noise_asymmetric_0.4, data_<name of the file>."""
        return f"noise_{self.noise.name}" if self.noise else f"data_{self.file.stem}"

    def prepare(self, folder: Path) -> Dataset:
        """Read it from the folder of the data, made first if it is missing; say whether a file's true labels are known."""
        if self.file:
            data, said = self._read_file(folder)
            say(said)
            return data
        if self.noise:
            prepare.prepare(self.noise, output=folder)
        return self.load(folder)

    def load(self, folder: Path) -> Dataset:
        """Read it from the folder of the data.

        Raises
        ------
        base.errors.DataError
            If it is missing or damaged.
        """
        if self.file:
            return self._read_file(folder)[0]
        if self.rate is None:
            raise DataError("this run's net read its own data, not CIFAR-100")
        return dataset.load(Path(folder) / dataset.train_name(self.noise_type, self.rate, NOISE_SEED))[0]

    def _read_file(self, folder: Path) -> tuple[Dataset, str]:
        """The file's data, with the true labels where they are known, and what to say of those."""
        data = dataset.load_file(self.file)
        if data.true_labels is None:
            return true_labels.find(data, folder)
        return data, f"true labels of {len(data.labels)} images, from {self.file}: label noise {data.noise_rate:.4f}"
