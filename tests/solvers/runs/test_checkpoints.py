"""Which checkpoint files are kept, and that none is seen half written."""

import pytest

from base.errors import InputError
from base.writing import write_atomically
from solvers.nets.pycaffe import caffe
from solvers.runs.checkpoints import Checkpoints, read_state


@pytest.fixture
def trained(setting, run, folder):
    """A solver at iteration 0, and a Checkpoints that saves it."""
    run(setting(), "--max-iter", 1)
    solver = caffe.get_solver(str(folder / "solver.prototxt"))
    checkpoints = Checkpoints(folder, interval=4)
    for file in checkpoints.folder.iterdir():
        file.unlink()
    return solver, checkpoints


def step_and_save(solver: caffe.SGDSolver, checkpoints: Checkpoints, *iterations: int) -> None:
    for iteration in iterations:
        while solver.iter < iteration:
            solver.step(1)
        checkpoints.save(solver)


def states(checkpoints: Checkpoints) -> list[int]:
    return checkpoints._iterations("solverstate")


def test_all_weights_on_schedule_and_the_newest_two_states_are_kept(trained):
    solver, checkpoints = trained
    step_and_save(solver, checkpoints, 4, 6, 8, 12)
    assert checkpoints.models() == [4, 8, 12]
    assert states(checkpoints) == [8, 12]
    step_and_save(solver, checkpoints, 13)
    assert checkpoints.models() == [4, 8, 12, 13]  # off schedule, but the newest
    assert checkpoints.newest() == 13


def test_the_state_names_the_weights_where_they_are(trained):
    solver, checkpoints = trained
    step_and_save(solver, checkpoints, 4)
    assert read_state(checkpoints.state(4)).learned_net == str(checkpoints.model(4))


def test_an_unfinished_checkpoint_is_neither_seen_nor_kept(trained):
    solver, checkpoints = trained
    step_and_save(solver, checkpoints, 4)
    checkpoints.state(5).write_bytes(b"the state of weights that were never written")
    half = checkpoints.folder / ".new_iter_6.caffemodel"
    half.touch()
    assert checkpoints.newest() == 4
    checkpoints.restore(solver, 4)
    assert solver.iter == 4
    assert not half.exists()
    step_and_save(solver, checkpoints, 8)
    assert states(checkpoints) == [4, 8]


def test_a_failing_write_leaves_the_old_file(tmp_path, monkeypatch):
    file = tmp_path / "accuracy.txt"
    write_atomically(file, "old")
    monkeypatch.setattr("os.fsync", lambda descriptor: (_ for _ in ()).throw(OSError("no space")))
    with pytest.raises(InputError, match="cannot write .*accuracy.txt: no space"):
        write_atomically(file, "new")
    assert file.read_text() == "old"
