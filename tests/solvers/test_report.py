"""The report's page without a browser: its content, and what it must not contain."""

import csv
import io
import json
import os
import re
import subprocess
import sys

import measured_runs
import numpy as np
import pytest
from report_pages import data_in

from layers.weighting import Weighting
from solvers import report
from solvers.reporting import released_runs, report_data, results, run_folders, tables
from solvers.runs.dynamics import DYNAMICS_FILE
from solvers.runs.logs import Step, read_last


@pytest.fixture
def write_run(tmp_path):
    """A function that writes a run folder below tmp_path/runs."""
    def write(name="run", points=((1000, 0.1), (2000, 0.2)), **config):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        about = {"setting": "res44_cce", "noise": 0.4, "noise_type": "symmetric", "seed": 123} | config
        (folder / "config.json").write_text(json.dumps(about))
        measured_runs.write_accuracy(folder, *zip(*points, strict=True))
        return folder
    return write


def page_of(tmp_path, capsys, *options):
    assert report.main([str(tmp_path / "runs"), "-o", str(tmp_path / "report.html"), *options]) == 0
    return (tmp_path / "report.html").read_text(encoding="utf-8"), capsys.readouterr()


def test_tables_have_a_row_a_family_unless_two_betas_meet(tmp_path):
    folders = measured_runs.write(tmp_path, seeds=1)
    shown = [results.read(folder) for folder in folders]
    noises, rows = tables.tabulate(shown)
    assert noises == ["0.0", "0.2", "0.4", "0.6"]
    assert len(rows) == 12 and all(len(cell) == 1 for row in rows for cell in row.cells.values())
    other = released_runs.find_released("res44_usw", 0.0, beta=6)
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(measured_runs.config_of(other) | {"beta": 3}))
    measured_runs.write_accuracy(folder, [1000], [0.1])
    _, rows = tables.tabulate([*shown, results.read(folder)])
    split = [row.name for row in rows if "lambda 0.5" in row.name]
    assert split == ["DM, lambda 0.5, beta 3", "DM, lambda 0.5, beta 6", "DM, lambda 0.5, beta 8"]


def test_csv_and_latex_say_what_the_table_says(tmp_path):
    noises, rows = tables.tabulate([results.read(folder) for folder in measured_runs.write(tmp_path, seeds=2)])
    lines = list(csv.DictReader(io.StringIO(tables.as_csv(noises, rows))))
    assert len(lines) == 3 * 48
    by_name = {row.name: row for row in rows}
    for line in lines:
        name = line["weighting"] if line["weighting"] in by_name else line["weighting"].rpartition(", beta ")[0]
        found = tables.cell(by_name[name], line["noise"], line["measure"])
        assert [line["ours"], line["deviation"], line["published"], line["difference"], line["seeds"]] == [
            found["ours"], found["deviation"], found["released"], found["difference"], "2"]
        latex = tables.as_latex(noises, rows, line["measure"])
        beta = f"; $\\beta$ {found['beta']}" if found["beta"] else ""
        assert f"{line['ours']} $\\pm$ {line['deviation']} ({line['published']}{beta})" in latex


def test_latex_is_escaped(write_run):
    write = write_run(setting="a_b\\c{%&}$#~^")
    latex = tables.as_latex(*tables.tabulate([results.read(write)]), "best")
    assert r"a\_b\textbackslash{}c\{\%\&\}\$\#\textasciitilde{}\textasciicircum{}" in latex


HOSTILE = ("</script><script>document.title = 'run'</script><img src=x onerror=\"document.title = 'run'\">&amp; {{ 7 * 7 }} "
           "\u2028 \ud800")


def test_texts_of_run_folders_stay_texts(tmp_path, write_run, capsys):
    write_run(name="<b onclick=x>", setting=HOSTILE, noise_type=HOSTILE, remark=HOSTILE, versions={HOSTILE: HOSTILE})
    write_run(name="<b>broken").joinpath("accuracy.txt").write_text(HOSTILE.encode("utf-8", "replace").decode())
    page, _ = page_of(tmp_path, capsys, "--title", HOSTILE.encode("utf-8", "replace").decode())
    without = re.sub(r"<script type=\"module\">.*?</script>", "", page, flags=re.DOTALL)
    assert "<script>" not in without and "<img" not in without and "<b " not in without and "<b>broken" not in without
    assert "49" not in re.search(r"<h1>(.*?)</h1>", page)[1]
    assert data_in(page)["runs"][0]["name"].startswith("</script><script>document.title")


def test_the_policy_names_the_scripts_and_forbids_all_else(tmp_path, write_run, capsys):
    write_run()
    page, _ = page_of(tmp_path, capsys)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'" and "connect-src" not in rules and "unsafe" not in rules["script-src"]
    scripts = re.findall(r'<script type="module">(.*?)</script>', page, re.DOTALL)
    assert rules["script-src"].split() == [f"'{report._csp_hash(script)}'" for script in scripts] and len(scripts) == 2
    assert not re.search(r"""(src|href)=["']?(?!#|https://arxiv\.org/abs/)[\w/:]""", re.sub(
        r"<script.*?</script>", "", page, flags=re.DOTALL))


def test_of_the_same_experiment_the_one_that_went_farthest(tmp_path, write_run, capsys):
    short, long = write_run("a"), write_run("b", points=[(1000, 0.1), (3000, 0.3)])
    page, said = page_of(tmp_path, capsys)
    assert said.out == f"{tmp_path / 'report.html'}: 1 run\n"
    assert said.err == (f"not shown: {short} (2,000 steps): the same loss, noise and seed as {long} (3,000 steps)\n")
    assert [run["accuracies"] for run in data_in(page)["runs"]] == [[10, 30]]
    assert "1 folder is not shown" in page


def test_a_run_is_found_once_and_what_lies_in_it_is_its_own(tmp_path, write_run):
    run = write_run()
    (run / "inner").mkdir()
    (run / "inner" / "config.json").write_text("{}")
    (tmp_path / "link").symlink_to(tmp_path / "runs")
    assert list(run_folders.folders_below([tmp_path / "runs", run, tmp_path / "link"])) == [run]


def test_damaged_parts_leave_the_rest(tmp_path, write_run, capsys):
    run, broken = write_run("a"), write_run("b", seed=5)
    (run / DYNAMICS_FILE).write_text("iteration,loss\n1,2\n")
    (run / "log.csv").write_text("iteration,loss,lr,seconds\n1,nonsense\n")
    (run / "solver.prototxt").write_text("lr_policy: 7")
    (broken / "config.json").write_text("{")
    page, said = page_of(tmp_path, capsys)
    assert "not shown: " in said.err and "not JSON" in said.err
    [shown] = data_in(page)["runs"]
    assert shown["dynamics"] is None and shown["drops"] == []


def test_nothing_to_show(tmp_path, write_run, capsys):
    output = tmp_path / "report.html"
    (write_run() / "accuracy.txt").unlink()
    for folder, said in (tmp_path / "runs", "no measured run in "), (tmp_path / "nowhere", "no such folder"):
        assert report.main([str(folder), "-o", str(output)]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1 and said in error
    assert not output.exists()


def test_without_the_extra_packages(tmp_path, write_run, capsys, monkeypatch):
    write_run()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert report.main([str(tmp_path / "runs"), "-o", str(tmp_path / "x.html")]) == 2
    assert "the extra `report`" in capsys.readouterr().err


def test_particulars(write_run):
    run = write_run(noise_type="pair_flip", versions={"caffe": "1.0.0"}, machine="two cores")
    measured_runs.write_dynamics(run, 0.25)
    (run / "log.csv").write_text("iteration,loss,lr,seconds\n1,5,0.1,0.5\n2000,1.2,0.001,7322.4\n2001,1.")
    result = results.read(run)
    found = dict(report_data.particulars(result, report_data.read_dynamics(result)))
    assert found["label noise"] == "pair_flip, rate 0.4; 0.2500 of the labels in its batches were wrong"
    assert found["time"] == "2:02:02 for 2,000 steps, 3.661 s each"
    assert found["versions"] == "caffe 1.0.0" and found["machine"] == "two cores" and found["folder"] == str(run)
    (run / "log.csv").unlink()
    (run / "config.json").write_text(json.dumps(result.config | {"seconds": 3600}))
    assert dict(report_data.particulars(results.read(run), None))["time"] == "1:00:00 for 2,000 steps, 1.800 s each"


def test_dynamics_are_means_of_parts(write_run):
    run = write_run()
    measured_runs.write_dynamics(run, 0.4)
    found = report_data.read_dynamics(results.read(run))
    values = np.genfromtxt(run / DYNAMICS_FILE, delimiter=",", names=True)
    assert len(found["iterations"]) == report_data.DYNAMICS_POINTS
    np.testing.assert_allclose(found["clean_p"], values["clean_p"].reshape(60, 5).mean(axis=1), rtol=1e-3)
    np.testing.assert_allclose(found["noisy_share"], values["noisy_share"].reshape(60, 5).mean(axis=1), rtol=1e-3)
    assert found["noisy"] == pytest.approx(102 / 256, abs=1e-4)


@pytest.mark.parametrize("released", released_runs.load_runs(), ids=lambda run: f"{run.name} {run.noise}")
def test_every_released_loss_has_its_emphasis_and_drops(tmp_path, write_run, released):
    result = results.read(write_run(**measured_runs.config_of(released)))
    found = report_data.weighting_of(result)
    if released.beta is None:
        assert found == Weighting(released.setting.removeprefix("res44_").upper())
    else:
        assert found == Weighting("DM", beta=released.beta, lam=released.lam)
    assert report_data.drops_of(result) == [15000, 22000]


def test_the_emphasis_of_a_net_of_ones_own(write_run):
    run = write_run(setting="my_net")
    assert report_data.weighting_of(results.read(run)) is None
    (run / "train.prototxt").write_text('layer { name: "loss" type: "SoftmaxWithLoss" bottom: "s" bottom: "label" top: "l" }')
    assert report_data.weighting_of(results.read(run)) == Weighting("CCE")
    run = write_run("other", setting="my_net", weighting="MEA")
    assert report_data.weighting_of(results.read(run)) is None


@pytest.mark.parametrize(("text", "row"), [
    ("", None), ("iteration,loss,lr,seconds\n", None), ("iteration,loss,lr,seconds\n1,2,0.1,0.5\n2,1", Step(1, 2, 0.1, 0.5)),
    ("iteration,loss,lr,seconds\n" + "".join(f"{i},2,0.1,{i}\n" for i in range(1, 999)), Step(998, 2, 0.1, 998)),
])
def test_the_last_row_of_a_log(tmp_path, text, row):
    (tmp_path / "log.csv").write_text(text)
    assert read_last(tmp_path / "log.csv") == row
    assert read_last(tmp_path / "none.csv") is None


def test_as_a_command(tmp_path, write_run):
    write_run()
    done = subprocess.run([sys.executable, "-m", "solvers.report", "runs", "-o", "x.html"], cwd=tmp_path, text=True,
                          env=os.environ | {"PYTHONPATH": str(report.PAGE.parents[2])}, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "x.html: 1 run\n", "")


@pytest.mark.parametrize("row", ["10,1,1,inf,-inf,nan,1e308", f"10,{10**400},0,0.5,0.5,0.5,0.5", "10,0,0,0.5,0.5,0.5,0.5",
                                 "10,-5,5,0.5,0.5,0.5,0.5"])
def test_dynamics_beyond_all_bounds(tmp_path, write_run, capsys, row):
    run = write_run(seconds=10**400)
    (run / DYNAMICS_FILE).write_text("iteration,clean,noisy,clean_p,noisy_p,clean_share,noisy_share\n" + row + "\n")
    assert len(data_in(page_of(tmp_path, capsys)[0])["runs"]) == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400])
def test_a_number_in_a_config_that_is_none(tmp_path, write_run, capsys, value):
    write_run("good")
    write_run("bad", seed=1, beta=value, **{"lambda": 1})
    _, said = page_of(tmp_path, capsys)
    assert said.err.startswith("not shown: ") and said.err.count("\n") == 1 and 'expected "beta": a number' in said.err


def test_a_setting_names_no_file_elsewhere(tmp_path, write_run):
    (tmp_path / "solver.prototxt").write_text('lr_policy: "step" stepsize: 500')
    run = write_run(setting=str(tmp_path))
    assert report_data.drops_of(results.read(run)) == []
    (tmp_path / "solver.prototxt").rename(run / "solver.prototxt")
    assert report_data.drops_of(results.read(run)) == [500, 1000, 1500, 2000]
