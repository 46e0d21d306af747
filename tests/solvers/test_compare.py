"""The comparison with the released runs: its numbers, its notes, its errors."""

import json
import os
import subprocess
import sys
from pathlib import Path

import figures
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.commands import command
from solvers import compare
from solvers.reporting import accuracy, curves, released_runs, results, tables

ROOT = Path(__file__).resolve().parents[2]
CCE = {"setting": "res44_cce", "noise": 0.4, "noise_type": "symmetric", "seed": 123}
CCE |= dict.fromkeys(["beta", "lambda", "q", "weighting"])


@pytest.fixture
def write_run(tmp_path):
    def write(points, config=CCE, name="run"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config))
        text = "".join(f"iter: {iteration}, accuracy: {accuracy:.4f}\n" for iteration, accuracy in points)
        (folder / "accuracy.txt").write_text(text)
        return folder

    return write


def compared(run):
    """Rows and notes of the printed table."""
    result = results.read(run)
    return compare.rows(result), list(result.notes)


def points(released, shift=0.0):
    return [(i, a + shift) for i, a in zip(released.iterations, released.accuracies, strict=True)]


def test_finished_run(write_run):
    released = released_runs.find_released("res44_cce", 0.4)
    run = write_run(points(released, shift=0.01))
    rows, notes = compared(run)
    assert notes == []
    assert rows == [
        [str(run), "30,000", "best", "54.15", "53.15", "+1.00", "53.2", "+0.95"],
        ["", "", "final", "51.81", "50.81", "+1.00", "", ""],
        ["", "", "mean of last five", "52.28", "51.28", "+1.00", "", ""],
    ]


@pytest.mark.parametrize("released", released_runs.load_runs(), ids=lambda run: f"{run.name} {run.noise}")
def test_a_released_run_equals_itself(write_run, released):
    config = {"setting": released.setting, "noise": released.noise, "beta": released.beta, "lambda": released.lam}
    rows, notes = compared(write_run(points(released), config))
    assert notes == [] and [row[5] for row in rows] == ["+0.00"] * 3


def test_unfinished_run_is_held_against_the_same_iterations(write_run):
    released = released_runs.find_released("res44_cce", 0.4)
    run = write_run(points(released)[:7])
    rows, notes = compared(run)
    seven = released.accuracies[:7]
    assert [row[4] for row in rows] == [f"{100 * v:.2f}" for v in (max(seven), seven[-1], sum(seven[2:]) / 5)]
    assert rows[0][6:] == ["53.2", "-"]
    assert len(notes) == 1
    assert "at 7,000 of 30,000 steps; compared at 7 of the released run's 30 checkpoints" in notes[0]


def test_checkpoints_between_the_released_ones_are_left_out(write_run):
    released = released_runs.find_released("res44_cce", 0.4)
    rows, notes = compared(write_run([*points(released)[:2], (2345, 0.9)]))
    assert rows[0][1] == "2,345" and [row[5] for row in rows] == ["+0.00"] * 3 and len(notes) == 1


def test_no_checkpoint_in_common(write_run):
    rows, notes = compared(write_run([(20, 0.0112)]))
    assert [row[3:6] for row in rows] == [["1.12", "-", "-"]] * 3
    assert "at 20 of 30,000 steps; compared at 0 of" in notes[0]


def test_nothing_released(write_run):
    rows, notes = compared(write_run([(1000, 0.5)], {"setting": "my_net", "noise": None}))
    assert [row[4:] for row in rows] == [["-", "-", "", ""]] * 3
    assert "no released run has its loss" in notes[0]


def test_another_beta_than_the_released_is_said(write_run):
    released = released_runs.find_released("res44_usw", 0.4, beta=8)
    config = CCE | {"setting": "res44_usw", "beta": 6, "lambda": 0.5}
    rows, notes = compared(write_run(points(released), config))
    assert len(notes) == 1 and "beta 8 was released" in notes[0] and rows[0][5:] == ["+0.00", "61.0", "+0.00"]


def test_columns_line_up(write_run, capsys):
    released = released_runs.find_released("res44_cce", 0.4)
    runs = [write_run(points(released)[:n], name=f"{'run' * n}") for n in (1, 4, 30)]
    assert compare.main([str(run) for run in runs]) == 0
    table, notes = capsys.readouterr().out.split("\n\n")
    header, *rows = table.splitlines()
    assert len(rows) == 9 and len(notes.splitlines()) == 2
    for column in ("ours", "released"):
        end = header.index(column) + len(column)
        assert all(row[end - 3] == "." and row[end : end + 2] == "  " for row in rows)
    for row in rows:
        assert row[header.index("test accuracy") :].startswith(("best ", "final ", "mean of last five "))


@given(st.dictionaries(st.integers(0, 10**6), st.integers(0, 10**4), min_size=1))
def test_reads_what_evaluate_writes(tmp_path_factory, points):
    path = tmp_path_factory.mktemp("run") / "accuracy.txt"
    written = sorted(points.items())
    path.write_text("".join(f"iter: {iteration}, accuracy: {value / 1e4:.4f}\n" for iteration, value in written))
    assert accuracy.read_accuracy(path) == accuracy.Curve(sorted(points), [value / 1e4 for _, value in written])


LINE = "iter: 1000, accuracy: 0.1234\n"


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "{run}: empty accuracy.txt; run {evaluate} first"),
        (
            LINE + "iter: 2000, accuracy:\n",
            "{run}/accuracy.txt:2: expected e.g. 'iter: 1000, accuracy: 0.1234', found 'iter:",
        ),
        (LINE + "\n", "{run}/accuracy.txt:2: expected"),
        ("iter: 1000, accuracy: nan\n", "{run}/accuracy.txt:1: expected"),
        ("iter: 1000, accuracy: 53.1500\n", "{run}/accuracy.txt:1: expected"),
        ("iter: 1000, accuracy: 1.5000\n", "{run}/accuracy.txt:1: expected"),
        (LINE + LINE, "{run}/accuracy.txt:2: iter 1000 does not come after iter 1000"),
        (LINE + "iter: 20, accuracy: 0.1000\n", "{run}/accuracy.txt:2: iter 20 does not come after iter 1000"),
        ("\xff\x00\n", "{run}/accuracy.txt:1: expected"),
    ],
)
def test_bad_accuracy_file(write_run, capsys, text, message):
    run = write_run([])
    (run / "accuracy.txt").write_bytes(text.encode("latin-1"))
    message = message.format(run=run, evaluate=command("solvers.evaluate", [run]))
    assert one_line_error(capsys, run).startswith("error: " + message)


@pytest.mark.parametrize(
    "text, message",
    [
        ("{", "{run}/config.json: not JSON: "),
        ("3", '{run}/config.json: expected "setting"'),
        ('{"noise": 0.4}', '{run}/config.json: expected "setting"'),
        (
            '{"setting": "res44_cce", "noise": "much"}',
            "{run}/config.json: expected \"noise\": a rate such as 0.4, found 'much'",
        ),
    ],
)
def test_bad_config(write_run, capsys, text, message):
    run = write_run([(1000, 0.1)])
    (run / "config.json").write_text(text)
    assert one_line_error(capsys, run).startswith("error: " + message.format(run=run))


def test_missing_pieces(write_run, capsys, tmp_path):
    missing = tmp_path / "nowhere"
    assert one_line_error(capsys, missing) == f"error: {missing}: no such folder\n"
    run = write_run([(1000, 0.1)])
    typo = run.with_name("rnu")
    assert one_line_error(capsys, typo) == f"error: {typo}: no such folder; did you mean \"run\"?\n"
    (run / "accuracy.txt").unlink()
    assert one_line_error(capsys, run) == (
        f"error: {run}: no accuracy.txt; run {command('solvers.evaluate', [run])} first\n")
    (run / "config.json").unlink()
    assert one_line_error(capsys, run) == (
        f"error: no run folder in {run}: none has a config.json, which solvers.train writes\n")
    assert one_line_error(capsys, tmp_path / "n*") == f"error: {tmp_path}/n*: no folder matches\n"
    assert one_line_error(capsys, tmp_path / "n**").startswith(f"error: {tmp_path}/n**: ")


SEEDS = [points(released_runs.find_released("res44_cce", 0.4), shift) for shift in (0.01, 0.03, 0.02)]


@pytest.fixture
def seeds(write_run):
    """Runs of three seeds, one of them not measured, and one of another noise."""
    runs = [write_run(accuracies, CCE | {"seed": seed}, name=f"seed_{seed}") for seed, accuracies in enumerate(SEEDS)]
    (write_run([], CCE | {"seed": 9}, name="unmeasured") / "accuracy.txt").unlink()
    other = points(released_runs.find_released("res44_cce", 0.2))
    return [*runs, write_run(other, CCE | {"noise": 0.2}, name="other_noise")]


def test_means_and_deviations_over_seeds(seeds):
    """The best accuracies are 53.15 shifted by 1, 3 and 2 points."""
    shown = [results.read(run) for run in seeds]
    found = compare.means(shown)
    assert found[0] == ["CCE, noise 0.4", "3", "best", "55.15", "1.00", "53.15", "+2.00"]
    assert [row[2:] for row in found[1:]] == [["final", "52.81", "1.00", "50.81", "+2.00"],
                                              ["mean of last five", "53.28", "1.00", "51.28", "+2.00"]]
    assert compare.means(shown[2:]) == []  # a single run has none


def test_means_are_those_of_the_report(seeds):
    shown = [results.read(run) for run in seeds]
    noises, rows = tables.tabulate(shown)
    lines = [line.split(",") for line in tables.as_csv(noises, rows).splitlines() if line.split(",")[3] == "3"]
    assert sorted(line[2:] for line in lines) == sorted([row[2], "3", *row[3:]] for row in compare.means(shown))


def test_a_seed_that_is_there_twice_counts_once(seeds, write_run):
    copied = write_run(SEEDS[0][:9], CCE | {"seed": 0}, name="copy")
    shown = [results.read(run) for run in (copied, *seeds)]
    assert compare.means(shown) == compare.means(shown[1:])


def test_an_unfinished_run_among_them_is_said(write_run):
    shown = [results.read(write_run(accuracies[:last], CCE | {"seed": last}, name=str(last)))
             for accuracies, last in zip(SEEDS, (30, 12), strict=False)]
    assert compare.means(shown)[0][0] == "CCE, noise 0.4 (1 unfinished)"


def test_folders_and_globs(seeds, tmp_path, monkeypatch, capsys):
    """Each run is shown once, however it is named; runs that are not measured are named."""
    monkeypatch.chdir(tmp_path)
    printed, evaluate = set(), command("solvers.evaluate", ["unmeasured"])
    for named in (["."], ["*"], ["seed_[0-9]", "seed_1", "other_noise", "unmeasured"], ["**"]):
        assert compare.main(named) == 0
        said = capsys.readouterr()
        assert said.err == f"not shown: unmeasured: no accuracy.txt; run {evaluate} first\n"
        printed.add("\n".join(sorted(said.out.splitlines())))
    [text] = printed
    assert text.count("mean of last five") == 5 and "CCE, noise 0.4 " in text


def one_line_error(capsys, run):
    assert compare.main([str(run)]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1
    return printed.err


def test_plot_draws_runs_with_and_without_a_published_one(write_run, tmp_path, capsys):
    released, ours = released_runs.find_released("res44_cce", 0.4), [(1000, 0.1), (2000, 0.2)]
    runs = {"known": write_run(ours, name="known"), "own": write_run(ours[:1], {"setting": "my_net"}, name="own")}
    file = tmp_path / "x.png"
    assert compare.main([*map(str, runs.values()), "--plot", str(file)]) == 0
    expected = curves.draw_together([(str(runs["known"]), accuracy.Curve([1000, 2000], [0.1, 0.2]), released),
                                     (str(runs["own"]), accuracy.Curve([1000], [0.1]), None)])
    assert figures.lines(expected.axes[0]) == {
        str(runs["known"]): ([1000, 2000], [10, 20]), str(runs["own"]): ([1000], [10]),
        "published: CCE, noise 0.4": ([1000, 2000, 3000], [100 * accuracy for accuracy in released.accuracies[:3]])}
    figures.assert_shows(file, expected)
    assert compare.main([str(runs["known"]), "--plot", str(file / "y.png")]) == 2
    assert "cannot write" in capsys.readouterr().err


def test_a_published_curve_reaches_as_far_as_the_longest_run():
    released = released_runs.find_released("res44_cce", 0.4)
    short, long = accuracy.Curve([1000], [0.1]), accuracy.Curve([1000, 9000], [0.1, 0.2])
    for runs in [("a", short, released), ("b", long, released)], [("b", long, released), ("a", short, released)]:
        drawn = figures.lines(curves.draw_together(runs).axes[0])
        assert drawn["published: CCE, noise 0.4"][0] == list(range(1000, 10001, 1000))


@pytest.mark.parametrize(("name", "begins"), [("x.png", b"\x89PNG"), ("x.pdf", b"%PDF"), ("x.svg", b"<?xml")])
def test_a_figure_is_in_the_format_of_its_name(write_run, tmp_path, name, begins):
    run = write_run([(1000, 0.1)])
    assert compare.main([str(run), "--plot", str(tmp_path / name)]) == 0
    assert (tmp_path / name).read_bytes().startswith(begins)


def test_a_figure_of_no_known_format(write_run, tmp_path, capsys):
    assert compare.main([str(write_run([(1000, 0.1)])), "--plot", str(tmp_path / "x.jpg")]) == 2
    assert "x.jpg: a figure's name ends in .png, .pdf, .svg" in capsys.readouterr().err
    assert not (tmp_path / "x.jpg").exists()


def test_as_a_command(write_run, tmp_path):
    run = write_run(points(released_runs.find_released("res44_cce", 0.4)))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "solvers.compare", str(run)]
    done = subprocess.run(command, check=True, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stderr == "" and done.stdout.startswith("run ")
