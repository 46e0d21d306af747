from pathlib import Path

import pytest
import tiny

from solvers import train
from solvers.nets import threads
from solvers.nets.permissions import Permissions
from solvers.runs.training_set import TrainingSet


@pytest.fixture
def setting(tmp_path):
    """A function that writes a setting folder and returns it."""
    return lambda name="tiny", **parts: tiny.write_setting(tmp_path / name, **parts)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A function that trains on the small data set and returns the exit code; the runs go to tmp_path/runs."""
    monkeypatch.setattr(TrainingSet, "prepare", lambda labels, folder: tiny.dataset())
    monkeypatch.setenv("CAFFE_WEIGHTING", "")  # so that what --weighting sets is undone

    def run(setting: Path, *options: object) -> int:
        return train.main([str(setting), "--runs", str(tmp_path / "runs"), *map(str, options)])

    return run


@pytest.fixture
def folder(tmp_path):
    """The run folder of the setting "tiny"."""
    return tmp_path / "runs" / "tiny" / "noise_0.0" / "seed_123"


@pytest.fixture(autouse=True)
def as_if_idle(monkeypatch):
    """Whether other processes have the machine is not told: a note of that on stderr would come as it likes."""
    monkeypatch.setattr(threads, "_used", lambda: None)


@pytest.fixture(autouse=True)
def threads_as_before():
    """Afterwards as many threads compute as before the test."""
    number = threads.count()
    yield
    threads.use(number)


@pytest.fixture(autouse=True, scope="module")  # before what a module's own fixtures call
def unconfined():
    """Commands that are called in this process leave it as it is; those in a process of their own are confined."""
    def confine(*_, **__):  # of the same name, by which a process that is started finds the real one
        pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Permissions, "confine", confine)
        yield
