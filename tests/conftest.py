"""What every test may use: the folder of shared material, where this checkout has one."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

from base import commands

# In the image, too, commands are printed as they are outside.
os.environ.pop(commands.COMPOSE_RUN, None)

# Machines are shared: how long one example takes says nothing about the code.
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with golden vectors, published numbers and CIFAR-100; the test skips where it is not there."""
    folder = Path(os.environ.get("SHARED_DIR", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no shared material at {folder}; SHARED_DIR may name it")
    return folder
