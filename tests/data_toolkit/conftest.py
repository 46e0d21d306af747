"""Real images for the tests of data_toolkit."""

import tarfile

import numpy as np
import pytest

from data_toolkit import prepare
from data_toolkit.dataset import Dataset


@pytest.fixture(scope="session")
def cifar_train(shared) -> Dataset:
    """CIFAR-100's training set, decoded here without the readers that are tested."""
    with tarfile.open(shared / "data" / "cifar-100-binary.tar.xz") as archive:
        raw = archive.extractfile("cifar-100-binary/train.bin").read()
    records = np.frombuffer(raw, np.uint8).reshape(-1, 2 + 3 * 32 * 32)
    images = records[:, 2:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    labels = records[:, 1].astype(np.int64)
    return Dataset(np.ascontiguousarray(images), labels, labels, records[:, 0].astype(np.int64))


@pytest.fixture(autouse=True)
def unconfined(monkeypatch):
    """prepare.main must not confine the process of the tests; processes that it starts are confined."""
    monkeypatch.setattr(prepare, "confine", lambda args: None)
