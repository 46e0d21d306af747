"""Fixtures for all tests: the folder of shared material, if this checkout has one."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

from base import commands

# In the image, these variables would change the commands that are printed.
os.environ.pop(commands.COMPOSE_RUN, None)
# Without it, no test reads all of CIFAR-100 by the way.
os.environ.pop("CIFAR100_SOURCE", None)

# No deadline: on a shared machine, the time of an example depends on other processes.
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with golden vectors, published numbers and CIFAR-100. Without it, the test is skipped."""
    folder = Path(os.environ.get("SHARED_DIR", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no shared material at {folder}; SHARED_DIR may name it")
    return folder
