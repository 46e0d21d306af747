"""The figure of learning dynamics."""

from pathlib import Path

import figures
import numpy as np
import pytest

from solvers import plot_dynamics
from solvers.runs import dynamics
from solvers.runs.dynamics import DYNAMICS_FILE, Dynamics
from solvers.runs.logs import CsvLog, read_log


def write(folder, noisy, steps=2100):
    folder.mkdir()
    log = CsvLog(folder / DYNAMICS_FILE, 0, Dynamics, 10)
    for iteration in range(10, steps, 10):
        log.write(Dynamics(iteration, 256 - noisy, noisy, 0.3, 0.1 if noisy else float("nan"), 0.4, 0.6))
    log.close()
    return str(folder)


def test_means_count_what_is_there():
    values = np.array([[1.0, np.nan], [3, 4], [5, np.nan], [7, np.nan], [9, 2]])
    found = dynamics.means(values, 2)
    np.testing.assert_array_equal(found, [[2, 4], [6, np.nan], [9, 2]])


def test_it_draws_runs_with_and_without_noise(tmp_path, capsys):
    output = tmp_path / "x.png"
    runs = [write(tmp_path / "a", 100), write(tmp_path / "b", 0)]
    assert plot_dynamics.main([*runs, "--output", str(output)]) == 0
    assert capsys.readouterr().out == f"{output}\n"
    figure = plot_dynamics.draw({run: read_log(Path(run) / DYNAMICS_FILE, Dynamics) for run in runs})
    p, share = map(figures.lines, figure.axes)
    means = [*np.arange(55.0, 2000, 100), 2050]  # of ten rows each, the last of nine
    shares = [line.get_data() for line in figure.axes[1].lines[::2]]  # unnamed: their colours are those of p
    for run, noisy, drawn_share in zip(runs, (0.1, np.nan), shares, strict=True):
        for drawn, value in (p[f"{run}, clean"], 0.3), (p[f"{run}, noisy"], noisy), (drawn_share, 0.6):
            np.testing.assert_allclose(drawn, (means, [value] * 21))
    assert share["share of noisy examples"] == ([0, 1], [0, 0])
    figures.assert_shows(output, figure)


@pytest.mark.parametrize("rows", [1, 2, 7, 40])
def test_a_short_run_is_seen(tmp_path, rows):
    """Each curve has as many points as there are rows, at most 20. Few points are marked, since one point makes no line."""
    write(tmp_path / "a", 100, steps=10 * rows + 1)
    figure = plot_dynamics.draw({"a": read_log(tmp_path / "a" / DYNAMICS_FILE, Dynamics)})
    curves = [*figure.axes[0].lines, figure.axes[1].lines[0]]
    assert len(curves) == 3
    for curve in curves:
        assert len(curve.get_xdata()) >= min(rows, 20)
        assert curve.get_marker() == "." or len(curve.get_xdata()) > 20


def test_runs_by_a_glob_and_by_a_folder_above(tmp_path, capsys, monkeypatch):
    drawn = []
    monkeypatch.setattr(plot_dynamics, "draw", lambda rows: drawn.append(sorted(rows)) or plot_dynamics.Figure())
    (tmp_path / "runs").mkdir()
    runs = [write(tmp_path / "runs" / name, 100) for name in "ab"]
    for run in runs:
        (Path(run) / "config.json").write_text("{}")
    for named in str(tmp_path / "r*/*"), str(tmp_path / "runs"), str(tmp_path):
        assert plot_dynamics.main([named, "--output", str(tmp_path / "x.png")]) == 0
    assert drawn == [runs] * 3
    assert plot_dynamics.main([str(tmp_path / "nowhere"), "--output", str(tmp_path / "x.png")]) == 2
    assert "nowhere: no such folder" in capsys.readouterr().err


def test_a_run_without_dynamics(tmp_path, capsys):
    assert plot_dynamics.main([str(tmp_path), "--output", str(tmp_path / "x.png")]) == 2
    assert "has no dynamics.csv with a row" in capsys.readouterr().err
    (tmp_path / DYNAMICS_FILE).write_text("iteration,loss\n1,2\n")
    assert plot_dynamics.main([str(tmp_path), "--output", str(tmp_path / "x.png")]) == 2
    assert list(tmp_path.glob("*.png")) == []
