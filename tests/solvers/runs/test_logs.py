"""log.csv, TensorBoard's events, and what is printed where there is no terminal."""

import struct
from typing import NamedTuple

import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from base.errors import InputError
from solvers.runs.logs import CsvLog, Progress, Step, TensorBoard, read_log


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
    with pytest.raises(InputError, match="log.csv does not hold the iterations 1 to 3"):
        CsvLog(file, 3)


class Rare(NamedTuple):
    iteration: int
    share: float

    TAGS = {"share": "share"}
    FORMATS = {"share": ".3g"}


def test_rows_every_few_steps(tmp_path):
    """A checkpoint between two rows keeps the rows before it."""
    file = tmp_path / "rare.csv"
    for start, iterations in (0, [5, 10, 15]), (12, [15, 20]), (20, []):
        log = CsvLog(file, start, Rare, interval=5)
        for iteration in iterations:
            log.write(Rare(iteration, float("nan") if iteration == 5 else 1 / 3))
        log.close()
    assert file.read_text() == "iteration,share\n5,nan\n10,0.333\n15,0.333\n20,0.333\n"
    with pytest.raises(InputError, match=r"rare.csv does not hold the iterations 10, 20, \.\.\. to 20 of the checkpoint"):
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


def events(folder):
    """The events in a TensorBoard folder, in the order in which TensorBoard reads them."""
    for file in sorted(folder.iterdir()):
        content = file.read_bytes()
        while content:
            length = struct.unpack_from("Q", content)[0]
            assert len(content) >= length + 16  # length, its CRC, the event and its CRC
            yield Event.FromString(content[12: 12 + length])
            content = content[length + 16:]


def test_tensorboard_supersedes_what_came_after_the_checkpoint(tmp_path):
    for start, iterations in (0, [1, 2, 3]), (2, [3, 4]):
        board = TensorBoard(tmp_path / "board", start)
        for iteration in iterations:
            board.write(Step(iteration, 1 / iteration, 0.1, iteration))
        board.close()
    expected = []
    for iteration in (1, 2, 3, "restart", 3, 4):
        expected += [("restart", 3)] if iteration == "restart" else [
            ("loss", iteration, pytest.approx(1 / iteration)), ("learning_rate", iteration, pytest.approx(0.1))]
    found = []
    for event in events(tmp_path / "board"):
        if event.session_log.status == SessionLog.START:
            found.append(("restart", event.step))
        found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
    assert found == expected


def test_tensorboard_on_a_full_disk_is_an_error_at_once(tmp_path, monkeypatch):
    """SummaryWriter's thread ended there, and the writer then waited for it for ever."""
    board = TensorBoard(tmp_path / "board", 0)
    monkeypatch.setattr(board._file, "_writer", open("/dev/full", "wb"))
    with pytest.raises(OSError, match="No space left"):
        board.write(Step(1, 1.0, 0.1, 1))
    with pytest.raises(OSError, match="No space left"):
        board.close()
