"""A place where whole sweeps take seconds: small nets, small data, and the real commands in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny

from data_toolkit import prepare
from data_toolkit.noise import LabelNoise

ROOT = Path(__file__).resolve().parents[3]
NOISE = LabelNoise("symmetric", 0.0, 123)


class Place:
    """A folder with data, settings and a sweep file; `runs` is that of the runs."""

    def __init__(self, folder: Path):
        self.folder, self.runs, self.data = folder, folder / "runs", folder / "data"
        self.data.mkdir(parents=True)
        source = SimpleNamespace(path=Path("small.tar.gz"), md5="0" * 32)
        files = prepare.paths(self.data, NOISE)
        prepare.save_confusion(files.confusion, tiny.dataset())
        prepare.save(tiny.dataset(), files.train_fast, files.train_mat, source)
        prepare.save(tiny.dataset(images=100), files.test_fast, files.test_mat, source)
        for name in "one", "two":
            tiny.write_setting(folder / name, loss=tiny.USW if name == "one" else tiny.CCE,
                               solver=tiny.SOLVER + "snapshot: 5")
        self.file = folder / "sweep.toml"
        self.write("max_iter = 12\n[[runs]]\nsetting = [{one}, {two}]\n")

    def write(self, text: str) -> None:
        """Write the sweep file; {one} and {two} are the settings."""
        self.file.write_text(text.format(**{name: f"'{self.folder / name}'" for name in ("one", "two", "three")}))

    def command(self, *options: object) -> list[str]:
        arguments = (self.file, "--runs", self.runs, "--data", self.data, *options)
        return [sys.executable, "-m", "solvers.sweep", *map(str, arguments)]

    def start(self, *options: object, **environment: str) -> subprocess.Popen:
        return subprocess.Popen(self.command(*options), cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                env=self.environment() | environment)

    def run(self, *options: object, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(self.command(*options), cwd=ROOT, text=True, capture_output=True, timeout=300,
                              env=self.environment() | environment)

    @staticmethod
    def environment() -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in ("CIFAR100_SOURCE", "CAFFE_WEIGHTING")}
        return kept | {"PYTHONUNBUFFERED": "1", "OMP_WAIT_POLICY": "passive"}

    def accuracies(self) -> dict[str, str]:
        """accuracy.txt of each run."""
        return {str(file.parent.relative_to(self.runs)): file.read_text() for file in sorted(self.runs.rglob("accuracy.txt"))}


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path / "place")
