"""log.csv, and what is printed where there is no terminal."""

from typing import NamedTuple

import pytest

from solvers.errors import SolverError
from solvers.logs import CsvLog, Progress, Step, read_log


def write(file, start, iterations):
    log = CsvLog(file, start)
    for iteration in iterations:
        log.write(Step(iteration, 1 / iteration, 0.1, iteration))
    log.close()
    return log


def test_columns(tmp_path):
    write(tmp_path / "log.csv", 0, [1, 2, 3])
    assert (tmp_path / "log.csv").read_text() == (
        "iteration,loss,lr,seconds\n1,1,0.1,1.000\n2,0.5,0.1,2.000\n3,0.333333333,0.1,3.000\n")


def test_cut_back_to_the_checkpoint(tmp_path):
    file = tmp_path / "log.csv"
    write(file, 0, [1, 2, 3, 4])
    log = write(file, 2, [3])
    assert log.last.seconds == 2
    assert [row.iteration for row in read_log(file)] == [1, 2, 3]
    write(file, 0, [1])
    assert [row.iteration for row in read_log(file)] == [1]


def test_a_gap_is_an_error(tmp_path):
    file = tmp_path / "log.csv"
    write(file, 0, [1, 2])
    with pytest.raises(SolverError, match="log.csv does not hold the iterations 1 to 3"):
        CsvLog(file, 3)


class Rare(NamedTuple):
    iteration: int
    share: float

    TAGS = {"share": "share"}
    FORMATS = {"share": ".3g"}


def test_rows_every_few_steps(tmp_path):
    """A checkpoint between two of them keeps those before it."""
    file = tmp_path / "rare.csv"
    for start, iterations in (0, [5, 10, 15]), (12, [15, 20]), (20, []):
        log = CsvLog(file, start, Rare, interval=5)
        for iteration in iterations:
            log.write(Rare(iteration, float("nan") if iteration == 5 else 1 / 3))
        log.close()
    assert file.read_text() == "iteration,share\n5,nan\n10,0.333\n15,0.333\n20,0.333\n"
    with pytest.raises(SolverError, match=r"rare.csv does not hold the iterations 10, 20, \.\.\. to 20 of the checkpoint"):
        CsvLog(file, 25, Rare, interval=10)


def test_lines_without_a_terminal(capsys, monkeypatch):
    now = iter(range(0, 1000, 4))  # 4 seconds a step
    monkeypatch.setattr("time.perf_counter", lambda: next(now))
    progress = Progress(start=0, stop=9, images=256)
    for iteration in range(1, 10):
        progress.write(Step(iteration, 4.6052, 0.1, 0))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [f"iteration {n}/9" for n in (1, 4, 7, 9)]
    assert lines[0] == "iteration 1/9: loss 4.6052, lr 0.1, 64.0 images/s, 0:00:32 left"
