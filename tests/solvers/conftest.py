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
    """The tests do not see whether other processes use the machine: otherwise a note could appear on stderr at any time."""
    monkeypatch.setattr(threads, "_used", lambda: None)


@pytest.fixture(autouse=True)
def threads_as_before():
    """After the test, restore the number of threads."""
    number = threads.count()
    yield
    threads.use(number)


@pytest.fixture(autouse=True, scope="module")  # before what a module's own fixtures call
def unconfined():
    """Commands called in the process of the tests must not confine it; separate processes are confined."""
    def confine(*_, **__):  # this name: a new process unpickles it as the real one
        pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Permissions, "confine", confine)
        patch.setattr(Permissions, "deliver", lambda *_, **__: [])
        yield
