"""Failures, retries and wrongly set up workers, with a client whose answers the test chooses."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.errors import InputError
from solvers.sweep import clusters, follow, work
from solvers.sweep.clusters import Workers
from solvers.sweep.work import Ended


class Client:
    """A client that answers each task at once, with the next of its prepared answers."""

    status = "running"

    def __init__(self, answers: dict[str, list]):
        self.answers = {name: iter(answer) for name, answer in answers.items()}
        self.submitted: list[str] = []

    def submit(self, function, task, **options):
        self.submitted.append(task)
        answer = next(self.answers[task])
        error = answer if isinstance(answer, Exception) else None
        return Future(status="error" if error else "finished", key=options["key"], result=lambda: answer,
                      exception=lambda: error, done=lambda: True, cancel=lambda: None)

    def subscribe_topic(self, name, handler):
        pass

    def processing(self):
        return {}

    def run(self, function, *arguments, **options):
        pass


class Future(SimpleNamespace):
    __hash__ = object.__hash__


class Run:
    """A run whose saved steps are the numbers in `steps`, one for each look."""

    def __init__(self, name: str, steps=()):
        self.name, self.steps, self.folder, self.at = name, iter(steps), Path("runs") / name, 0

    def saved(self) -> int:
        self.at = next(self.steps, self.at)
        return self.at


def bring_to_an_end(client: Client, runs: list[Run], retries: int) -> follow.Follower:
    quiet = SimpleNamespace(**{name: lambda *arguments: None for name in (
        "started", "done", "waits", "again", "failed", "stopping", "show")})
    follower = follow.Follower(Workers(client), lambda run, sweep: run.name, retries, quiet)
    follow_on = follow.TICK
    follow.TICK = 0
    try:
        follower.follow(runs)
    finally:
        follow.TICK = follow_on
    return follower


@given(st.lists(st.integers(0, 5), min_size=1, max_size=4), st.integers(0, 3))
def test_a_run_is_tried_again_as_often_as_was_said(failures, retries):
    """Each run fails a given number of times, and then succeeds, unless it was given up before."""
    runs = [Run(str(number)) for number in range(len(failures))]
    client = Client({run.name: [Ended(1, "no luck")] * count + [Ended(0)] for run, count in zip(runs, failures, strict=True)})
    follower = bring_to_an_end(client, runs, retries)
    for run, count in zip(runs, failures, strict=True):
        assert client.submitted.count(run.name) == min(count, retries) + 1
    assert {failure.run.name for failure in follower.failures} == {
        run.name for run, count in zip(runs, failures, strict=True) if count > retries}
    assert all(failure.words == "no luck" for failure in follower.failures)


def test_a_run_that_gets_on_is_tried_on():
    client = Client({"a": [Ended(-9, "killed")] * 6 + [Ended(0)]})
    assert not bring_to_an_end(client, [Run("a", [0, 10, 20, 30, 40, 50, 60])], retries=1).failures


def test_who_was_stopped_has_not_failed():
    client = Client({"a": [Ended(143, stopped=True)] * 5 + [Ended(0)]})
    assert not bring_to_an_end(client, [Run("a")], retries=0).failures


def test_a_worker_that_fails_is_no_end_of_the_run():
    client = Client({"a": [RuntimeError("KilledWorker"), Ended(0)]})
    assert not bring_to_an_end(client, [Run("a")], retries=1).failures


@pytest.mark.parametrize(("answer", "message"), [
    (Ended(2, "the worker on a2 does not see /x", misplaced=True), "the worker on a2 does not see /x"),
    (ImportError("No module named 'solvers'"), "a worker cannot import this project"),
])
def test_a_worker_in_the_wrong_place_ends_the_sweep(answer, message):
    with pytest.raises(InputError, match=message):
        bring_to_an_end(Client({"a": [answer]}), [Run("a")], retries=5)


def test_a_scheduler_that_is_gone():
    client = Client({"a": [Ended(0)]})
    client.status = "closed"
    with pytest.raises(InputError, match="the scheduler is gone"):
        bring_to_an_end(client, [Run("a")], retries=5)


def test_where_a_worker_is(tmp_path):
    runs = tmp_path / "runs"
    runs.mkdir()
    mark = follow.mark(runs)
    assert follow.mark(runs) == mark
    task = work.Task("s", "r", str(work.ROOT), str(tmp_path), str(runs), str(runs / "r"), mark, (), (), 1, ())
    assert work.misplaced(task) == ""
    assert f"runs the checkout {work.ROOT}, the sweep /other" in work.misplaced(task._replace(root="/other"))
    assert "does not see /nowhere (No such file or directory)" in work.misplaced(task._replace(runs="/nowhere"))
    assert f"sees another {runs}" in work.misplaced(task._replace(mark="something else"))
    assert "does not see the working directory" in work.misplaced(task._replace(cwd=str(tmp_path / "x")))


def test_no_scheduler(monkeypatch):
    monkeypatch.setattr(clusters, "CONNECT_SECONDS", 0.5)
    with pytest.raises(InputError, match="--scheduler tcp://127.0.0.1:9: no scheduler answers there"), \
            clusters.existing("tcp://127.0.0.1:9"):
        pass


@pytest.mark.parametrize("address", ["foo", "tcp://127.0.0.1", "http://127.0.0.1:8786", "tcp://:8786", "tcp://a b:1"])
def test_what_is_no_address_of_a_scheduler(address):
    with pytest.raises(InputError, match=f"--scheduler {address}: this is not an address of the form tcp://HOST:8786"), \
            clusters.existing(address):
        pass
