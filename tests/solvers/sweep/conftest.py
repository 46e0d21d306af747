"""Places where whole sweeps run."""

import time

import pytest
from places import ROOT, Place, SmallPlace

from data_toolkit import prepare
from data_toolkit.noise import LabelNoise


@pytest.fixture
def place(tmp_path):
    return SmallPlace(tmp_path / "place")


@pytest.fixture(scope="session")
def smoke(shared, tmp_path_factory):
    """sweeps/smoke.toml, completed on CIFAR-100 without disturbance in `seconds`, each run on one thread."""
    folder = tmp_path_factory.mktemp("smoke")
    place = Place(folder, ROOT / "sweeps/smoke.toml", folder / "data")
    prepare.prepare(LabelNoise("symmetric", 0.4, 123), shared / "data/cifar-100-binary.tar.xz", place.data)
    began = time.monotonic()
    done = place.run("--threads", 1)
    assert done.returncode == 0, done.stderr
    place.seconds = time.monotonic() - began
    return place
