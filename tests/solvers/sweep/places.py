"""A place where whole sweeps take seconds: small nets, small data, and the real commands in separate processes."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import tiny

from data_toolkit import prepare
from data_toolkit.noise import LabelNoise

ROOT = Path(__file__).resolve().parents[3]
NOISE = LabelNoise("symmetric", 0.0, 123)


class Place:
    """A sweep file with a folder of runs and one of data, and methods for the commands that users run."""

    def __init__(self, folder: Path, file: Path, data: Path):
        self.folder, self.file, self.runs, self.data = folder, file, folder / "runs", data

    def command(self, *options: object) -> list[str]:
        arguments = (self.file, "--runs", self.runs, "--data", self.data, *options)
        return [sys.executable, "-m", "solvers.sweep", *map(str, arguments)]

    def start(self, *options: object, **environment: str) -> subprocess.Popen:
        return subprocess.Popen(self.command(*options), cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                env=self.environment() | environment)

    def run(self, *options: object, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(self.command(*options), cwd=ROOT, text=True, capture_output=True, timeout=3600,
                              env=self.environment() | environment)

    @staticmethod
    def environment() -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name != "CAFFE_WEIGHTING"}
        return kept | {"PYTHONUNBUFFERED": "1", "OMP_WAIT_POLICY": "passive"}

    def accuracies(self) -> dict[str, str]:
        """The content of accuracy.txt of each run."""
        return {str(file.parent.relative_to(self.runs)): file.read_text() for file in sorted(self.runs.rglob("accuracy.txt"))}


class SmallPlace(Place):
    """A place with small data, and the settings one and two."""

    def __init__(self, folder: Path):
        super().__init__(folder, folder / "sweep.toml", folder / "data")
        self.data.mkdir(parents=True)
        source = SimpleNamespace(path=Path("small.tar.gz"), md5="0" * 32)
        files = prepare.paths(self.data, NOISE)
        prepare.save_confusion(files.confusion, tiny.dataset())
        prepare.save(tiny.dataset(), files.train_fast, files.train_mat, source)
        prepare.save(tiny.dataset(images=100), files.test_fast, files.test_mat, source)
        for name in "one", "two":
            tiny.write_setting(folder / name, loss=tiny.USW if name == "one" else tiny.CCE,
                               solver=tiny.SOLVER + "snapshot: 5")
        self.write("max_iter = 12\n[[runs]]\nsetting = [{one}, {two}]\n")

    def write(self, text: str) -> None:
        """Write the sweep file; {one} and {two} in it stand for the settings."""
        self.file.write_text(text.format(**{name: f"'{self.folder / name}'" for name in ("one", "two", "three")}))
