"""The figure of learning dynamics."""

from pathlib import Path

import figures
import numpy as np

from solvers import plot_dynamics
from solvers.dynamics import FILE, Dynamics
from solvers.logs import CsvLog, read_log


def write(folder, noisy):
    folder.mkdir()
    log = CsvLog(folder / FILE, 0, Dynamics, 10)
    for iteration in range(10, 500, 10):
        log.write(Dynamics(iteration, 256 - noisy, noisy, 0.3, 0.1 if noisy else float("nan"), 0.4, 0.6))
    log.close()
    return str(folder)


def test_means_count_what_is_there():
    values = np.array([[1.0, np.nan], [3, 4], [5, np.nan], [7, np.nan], [9, 2]])
    found = plot_dynamics.means(values, 2)
    np.testing.assert_array_equal(found, [[2, 4], [6, np.nan], [9, 2]])


def test_it_draws_runs_with_and_without_noise(tmp_path, capsys):
    output = tmp_path / "x.png"
    runs = [write(tmp_path / "a", 100), write(tmp_path / "b", 0)]
    assert plot_dynamics.main([*runs, "--output", str(output)]) == 0
    assert capsys.readouterr().out == f"{output}\n"
    figure = plot_dynamics.draw({run: read_log(Path(run) / FILE, Dynamics) for run in runs})
    p, share = map(figures.lines, figure.axes)
    means = [55.0, 155, 255, 355, 450]  # of ten rows each, the last of nine
    for run, noisy in zip(runs, ([0.1] * 5, [np.nan] * 5), strict=True):
        for drawn, values in (p[f"{run}, clean"], [0.3] * 5), (p[f"{run}, noisy"], noisy), (share[run], [0.6] * 5):
            np.testing.assert_allclose(drawn, (means, values))
    assert share["share of noisy examples"] == ([0, 1], [0, 0])
    figures.assert_shows(output, figure)


def test_a_run_without_dynamics(tmp_path, capsys):
    assert plot_dynamics.main([str(tmp_path), "--output", str(tmp_path / "x.png")]) == 2
    assert "has no dynamics.csv with a row" in capsys.readouterr().err
    (tmp_path / FILE).write_text("iteration,loss\n1,2\n")
    assert plot_dynamics.main([str(tmp_path), "--output", str(tmp_path / "x.png")]) == 2
    assert list(tmp_path.glob("*.png")) == []
