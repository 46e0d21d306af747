"""What the documents say about the runs in results/ is what the runs say."""

import json
from pathlib import Path

import pytest
from report_pages import data_in

from solvers.reporting import report_data, results, tables
from solvers.reporting.results import percent, points
from solvers.runs.checkpoints import Checkpoints

ROOT = Path(__file__).resolve().parents[2]
RUNS = sorted(file.parent for file in ROOT.glob("results/*/*/*/accuracy.txt"))


@pytest.mark.parametrize("run", RUNS, ids=lambda run: str(run.relative_to(ROOT)))
def test_a_run_is_whole_and_the_documents_have_its_numbers(run):
    result = results.read(run)
    assert result.is_complete and result.steps == result.config["max_iter"] == 30000
    assert result.config["machine"] and result.config["seconds"]
    cells = (f"{percent(found.ours)} ({percent(found.released)}; {points(found.difference)})" for found in result.measures)
    row = " | ".join(cells)
    for document in "README.md", "docs/fidelity.md":
        assert row in (ROOT / document).read_text(encoding="utf-8")


def test_the_page_shows_all_runs():
    shown = [results.read(run) for run in RUNS]
    noises, rows = tables.tabulate(shown)
    expected = report_data.data_of(noises, rows, {result.run: report_data.read_dynamics(result) for result in shown})
    page = (ROOT / "docs/results.html").read_text(encoding="utf-8")
    data = data_in(page)
    assert len(expected["runs"]) == len(RUNS)
    for part in "runs", "released":
        assert data[part] == json.loads(json.dumps(expected[part]))


def test_the_weights_are_undamaged():
    with_weights = [run for run in RUNS if Checkpoints(run).models()]
    assert with_weights
    for run in with_weights:
        checkpoints = Checkpoints(run)
        assert checkpoints.models() == [30000]
        assert not checkpoints.damage(checkpoints.model(30000))
