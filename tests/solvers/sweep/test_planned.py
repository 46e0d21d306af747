"""What a sweep computes before it starts: disk space, cores, memory, time, and the options for Slurm."""

import argparse
import io
import os
import re
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from base.errors import InputError
from solvers.reporting.released_runs import load_runs
from solvers.sweep import __main__ as command
from solvers.sweep import follow, planned, runs_file, sbatch, slurm_options, work
from solvers.sweep.probe import Cost
from solvers.sweep.progress import Pace, Progress, duration, last_accuracy, pace, time_to_come

ROOT = Path(__file__).resolve().parents[3]
SMOKE = ROOT / "sweeps/smoke.toml"
COST = Cost(weights=672_273, images=256, seconds=0.5, memory=1 << 30)


@pytest.fixture
def smoke(tmp_path):
    """The planned runs of smoke.toml, none of them done."""
    return planned.plan(runs_file.read(SMOKE), tmp_path / "runs", tmp_path / "data")


def test_runs_with_the_same_net_but_for_the_loss_cost_the_same(tmp_path):
    file = tmp_path / "sweep.toml"
    file.write_text('[[runs]]\nreleased = "*"\n')
    assert len({run.shape for run in planned.plan(runs_file.read(file), tmp_path, tmp_path)}) == 1
    assert len(load_runs()) == 48


def test_no_room(smoke, tmp_path, monkeypatch):
    weights = {smoke[0].shape: COST.weights}
    needed = planned.bytes_needed(smoke, weights, tmp_path / "runs")
    written = 2 * (2 * 4 * COST.weights)  # weights and momentum, once
    assert written < needed < 5 * written
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=needed - 1))
    said = r"2 runs are going to write (\d+\.\d MB) of checkpoints and logs, and \1 are free: make room"
    with pytest.raises(InputError, match=said):
        planned.bytes_needed(smoke, weights, tmp_path / "runs")


def arguments(**given: object) -> argparse.Namespace:
    return argparse.Namespace(**{"jobs": None, "threads": None, "scheduler": None, "slurm": None} | given)


@given(st.integers(1, 64), st.integers(1, 60), st.integers(0, 1 << 37), st.integers(0, 8), st.none() | st.integers(1, 16),
       st.none() | st.integers(1, 16))
def test_cores_and_memory_are_shared_out(cores, count, memory, gpus, jobs, threads):
    runs = [SimpleNamespace()] * count
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "CPU_COUNT", cores)
        patch.setattr("solvers.nets.rehearsal.available_memory", lambda: memory)
        at_once, each = command.share(runs, {"": COST}, arguments(jobs=jobs, threads=threads), ["0"] * gpus)
    assert 1 <= at_once <= count and each >= 1
    if jobs:
        assert at_once == min(jobs, count)
    else:
        assert at_once == 1 or at_once * COST.memory <= memory
        if gpus:
            assert at_once <= gpus
        else:
            assert at_once == 1 or at_once * each <= cores
    if threads:
        assert each == threads
    elif at_once <= cores:
        assert cores - at_once < at_once * each <= cores  # no core is left over that would give each one more


def test_a_run_keeps_its_threads_when_others_are_done(tmp_path, monkeypatch, capsys):
    """And its cost is measured with them: the number of threads changes how sums are rounded."""
    measured = []
    monkeypatch.setattr(command, "CPU_COUNT", 16)
    monkeypatch.setattr("solvers.nets.rehearsal.available_memory", lambda: 1 << 40)
    monkeypatch.setattr("solvers.sweep.probe.measure",
                        lambda setting, solver, threads, steps: measured.append(threads) or COST)
    for done in 0, 1:
        monkeypatch.setattr(planned.PlannedRun, "done", lambda run, done=done: run.name < "res44_usw" and bool(done))
        assert command.main([str(SMOKE), "--dry-run", "--runs", str(tmp_path), "--data", str(tmp_path)]) == 0
        last = capsys.readouterr().out.splitlines()[-1]
        assert last.startswith(f"2 runs: {done} done, {2 - done} to do") and f"{2 - done} at once on 8 threads each" in last
    assert measured == [8, 8]


@pytest.mark.parametrize("cut", range(40))
def test_pace_wherever_the_tail_of_a_log_begins(smoke, monkeypatch, cut):
    """A row that is cut off, 345 of 12345, is none."""
    smoke[0].folder.mkdir(parents=True)
    rows = [f"{step},5.1,0.1,{0.5 * step:.3f}" for step in range(12300, 12400)]
    (smoke[0].folder / "log.csv").write_text("\n".join(["iteration,loss,lr,seconds", *rows]) + "\n")
    monkeypatch.setattr("solvers.sweep.progress.TAIL", 1000 + cut)
    assert pace(smoke[0]) == Pace(12399, 0.5)


def test_pace_is_read_from_the_end_of_a_log(smoke):
    run = smoke[0]
    assert pace(run) == Pace(0, None)
    run.folder.mkdir(parents=True)
    rows = [f"{step},5.1,0.1,{10 * step if step < 500 else 5000 + 0.5 * (step - 500):.3f}" for step in range(1, 1001)]
    (run.folder / "log.csv").write_text("\n".join(["iteration,loss,lr,seconds", *rows]) + "\n1001,5.")
    assert pace(run) == Pace(1000, 0.5)


@pytest.mark.parametrize(("tests", "measured", "last"), [
    (None, None, None), ("", None, None), ("1000,0.25\n2000,0.5\n30", None, (2000, 0.5)), (None, 0.6, (3000, 0.6)),
    ("1000,0.25\n", 0.6, (3000, 0.6)), ("4000,0.7\n", 0.6, (4000, 0.7)), ("4000\n", None, None), ("x,y\n", None, None),
    ("9" * 5000 + ",0.5\n", None, None)])
def test_the_last_accuracy_is_of_a_test_in_training_or_of_an_evaluation(smoke, tests, measured, last):
    run = smoke[0]
    run.folder.mkdir(parents=True)
    if tests is not None:
        (run.folder / "test.csv").write_text("iteration,test_accuracy,test_loss\n" + tests.replace("\n", ",4\n"))
    if measured:
        (run.folder / "accuracy.txt").write_text(f"iter: 3000, accuracy: {measured:.4f}\n")
    assert last_accuracy(run) == last


@pytest.mark.parametrize("rows", ["1,5,0.1,inf", "1,5,0.1,nan", "1,5,0.1,-1e300", "9" * 5000 + ",5,0.1,1"])
def test_odd_numbers_in_a_log(smoke, rows):
    run = smoke[0]
    run.folder.mkdir(parents=True)
    (run.folder / "log.csv").write_text(f"iteration,loss,lr,seconds\n0,5,0.1,1e300\n{rows}\n99,5,0.1,1e308\n")
    assert pace(run).seconds is None and time_to_come(smoke, {smoke[0].shape: COST}, 1) < 20
    assert duration(1e300)


def test_a_log_that_is_a_pipe_is_not_waited_for(smoke):
    smoke[0].folder.mkdir(parents=True)
    os.mkfifo(smoke[0].folder / "log.csv")
    assert pace(smoke[0]) == Pace(0, None)


def test_a_run_folder_behind_a_link(tmp_path):
    """Nothing is made where it leads."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "runs").mkdir()
    for run in planned.plan(runs_file.read(SMOKE), tmp_path / "runs", tmp_path / "data")[:1]:
        (tmp_path / "runs" / Path(run.name).parts[0]).symlink_to(tmp_path / "outside")
    with pytest.raises(InputError, match="behind a link that leads out of"):
        planned.plan(runs_file.read(SMOKE), tmp_path / "runs", tmp_path / "data")
    assert not list((tmp_path / "outside").iterdir())


@pytest.fixture
def plan_tiny(setting, tmp_path):
    """A function that plans a sweep over one setting with these further keys, and returns its run."""
    def plan(source: Path, keys: str = "") -> planned.PlannedRun:
        (tmp_path / "sweep.toml").write_text(f'[[runs]]\nsetting = "{source}"\nmax_iter = 4\n{keys}')
        [run] = planned.plan(runs_file.read(tmp_path / "sweep.toml"), tmp_path / "runs", tmp_path / "data")
        return run
    return plan


@pytest.fixture
def own_data(setting):
    """A setting with a list of data in its own folder."""
    source = setting()
    tiny.write_hdf5_list(source)
    return source


ACCURACY = ('layer {{ name: "{0}" type: "Accuracy" bottom: "scores" bottom: "label" top: "{0}" include {{ phase: TEST }} '
            'accuracy_param {{ top_k: {1} }} }}\n')


@pytest.mark.parametrize("accuracies", [(), (("five", 5), ("one", 1))], ids=["losses alone", "top 5 before top 1"])
def test_a_run_that_reads_its_settings_data_is_measured_and_done(own_data, plan_tiny, tmp_path, accuracies):
    """Both commands in processes of their own, which the kernel confines."""
    net = tiny.tested_hdf5_net("list.txt").replace('type: "Accuracy"', 'type: "Silence"').replace(' top: "right"', "")
    (own_data / "train.prototxt").write_text(net + "".join(ACCURACY.format(*each) for each in accuracies))
    (own_data / "solver.prototxt").write_text(tiny.SOLVER + "test_iter: 2 test_interval: 100")
    run = plan_tiny(own_data)
    assert not run.done()
    for module, options in ("train", run.arguments), ("evaluate", follow.evaluate_arguments(run, tmp_path / "data")):
        done = subprocess.run([sys.executable, "-m", f"solvers.{module}", *options], capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr
    assert run.done() and (run.accuracy() is not None) == bool(accuracies)
    names = re.findall(r"(\w+):", (run.folder / "accuracy.txt").read_text())
    assert names == ["iter", "accuracy", "five", "loss"] if accuracies else names == ["iter", "loss"]


def test_what_the_run_may_its_evaluation_may(setting, plan_tiny, tmp_path):
    run = plan_tiny(setting(), f'unconfined = true\nallow_path = "{tmp_path}"')
    assert follow.evaluate_arguments(run, tmp_path)[-3:] == ["--allow-path", str(tmp_path), "--unconfined"]


def test_a_run_of_a_setting_that_has_changed(setting, run, plan_tiny):
    """Finished or not: its results are not those of the setting as it is now."""
    source = setting()
    assert run(source, "--max-iter", 4) == 0
    plan_tiny(source)
    solver = source / "solver.prototxt"
    solver.write_text(solver.read_text().replace("base_lr: 0.1", "base_lr: 0.2"))
    with pytest.raises(InputError, match=r"\[\[runs\]\] 1: cannot resume .*'- base_lr: 0.1', '\+ base_lr: 0.2'"):
        plan_tiny(source)


def test_the_table_on_a_narrow_terminal(smoke):
    """Runs can be told apart, and no number is cut."""
    progress = Progress(smoke, {run.shape: COST for run in smoke}, 2, Console(file=io.StringIO(), width=80))
    names = [f"res44_mae_depth_8_batch_64_weighting_SCE_alpha_0.1_beta_1/noise_0.0/seed_{seed}" for seed in (31, 32)]
    progress.runs = dict(zip(names, smoke, strict=True))
    progress.running = dict.fromkeys(names, "host")
    progress.console.print(progress.table())
    said = progress.console.file.getvalue()
    ends = [line.strip() for line in said.splitlines()]  # of the names, which are folded
    assert "1" in ends and "2" in ends and said.count(f"0/{smoke[0].steps:,}") == 2 and "\u2026" not in said


@pytest.mark.parametrize("content", [b"\xff" * 32, b"", b"x"])
def test_a_damaged_mark_of_the_folder(tmp_path, content):
    (tmp_path / work.MARK).write_bytes(content)
    with pytest.raises(InputError, match="is damaged: remove it"):
        follow.mark(tmp_path)
    (tmp_path / work.MARK).unlink()
    assert follow.mark(tmp_path) == follow.mark(tmp_path)
    (tmp_path / work.MARK).rename(tmp_path / "other")
    (tmp_path / work.MARK).symlink_to(tmp_path / "other")
    with pytest.raises(InputError, match=f"cannot read {tmp_path / work.MARK}: it is a link"):
        follow.mark(tmp_path)


def test_sweeps_that_begin_at_a_time_agree_on_the_mark(tmp_path):
    with ProcessPoolExecutor(8, get_context("fork")) as pool:
        for number in range(20):
            folder = tmp_path / str(number)
            folder.mkdir()
            assert len(set(pool.map(follow.mark, [folder] * 8))) == 1


@pytest.mark.parametrize("option", ["--scheduler", "--slurm"])
def test_a_variable_of_the_shell_that_is_not_set(capsys, option):
    with pytest.raises(SystemExit):
        command.parse(["sweep.toml", option, ""])
    assert f"{option}: it is empty" in capsys.readouterr().err


def test_what_runs_print_goes_to_no_link(tmp_path):
    """In a stranger's run folder, output.log may lead to a file of one's own."""
    (tmp_path / "mine").write_text("mine")
    (tmp_path / work.OUTPUT).symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match="link"):
        work.Children().run("sweep", ["true"], tmp_path / work.OUTPUT, str(tmp_path), {})
    assert (tmp_path / "mine").read_text() == "mine"


def test_names_are_no_markup(smoke):
    """Of rich, in the table on a terminal."""
    progress = Progress(smoke, {run.shape: COST for run in smoke}, 1, Console(file=io.StringIO(), width=200))
    progress.runs = {"[/odd]": smoke[0]}
    progress.running = {"[/odd]": "\x1b[2J[/host]"}
    progress.console.print(progress.table())
    said = progress.console.file.getvalue()
    assert "[/odd]" in said and "\x1b" not in said


def test_time_to_come(smoke):
    assert time_to_come(smoke, {smoke[0].shape: COST}, 1) == 2 * 20 * 0.5
    assert time_to_come(smoke, {smoke[0].shape: COST}, 2) == 20 * 0.5
    assert time_to_come(smoke, {smoke[0].shape: COST}, 50) == 20 * 0.5  # a run is not split
    assert time_to_come(smoke, {smoke[0].shape: COST._replace(seconds=None)}, 1) is None
    smoke[0].folder.mkdir(parents=True)
    (smoke[0].folder / "log.csv").write_text("iteration,loss,lr,seconds\n1,5,0.1,2.0\n13,5,0.1,26.0\n")
    assert time_to_come(smoke, {smoke[0].shape: COST}, 1) == (7 + 20) * 2.0  # the other is as fast


@pytest.mark.parametrize(("walltime", "seconds"), [
    ("2", 120), ("90", 5400), ("10:30", 630), ("08:00:00", 28800), ("1-0", 86400), ("1-12:30", 131400),
    ("2-01:02:03", 176523)])
def test_time_limits_in_slurms_forms(walltime, seconds):
    assert slurm_options.parse(f"walltime={walltime}").walltime == seconds


@pytest.mark.parametrize(("text", "message"), [
    ("partition=long", "give the time limit of a job too"),
    ("walltime=soon", "walltime=soon is not a time limit"),
    ("walltime=00:00:30", "less than a minute"),
    ("walltime=1,partition", "'partition' is not of the form partition=long"),
    ("walltime=1,partition=", "is not of the form"),
    ("walltime=1,partition=a b", "is not of the form"),
    ("walltime=1,qos=x\n#SBATCH --wrap=y", "is not of the form"),
    ("time=1", "time is set by the sweep; give walltime="),
    ("walltime=1,walltime=2", "walltime is there twice"),
])
def test_bad_slurm_options(text, message):
    with pytest.raises(InputError) as error:
        slurm_options.parse(text)
    assert message in str(error.value)


def test_the_job_array_trains_evaluates_and_goes_back_into_the_queue(smoke, tmp_path):
    """bash runs the script, with an srun that records its arguments."""
    options = slurm_options.parse("partition=long,walltime=08:00:00,gres=gpu:1")
    script = sbatch.script(options, smoke, 2, 4, 3 << 30, ("0",), tmp_path / "my data")
    assert {"#SBATCH --partition=long", "#SBATCH --time=08:00:00", "#SBATCH --gres=gpu:1", "#SBATCH --array=0-1%2",
            "#SBATCH --cpus-per-task=4", "#SBATCH --mem=3072M", "#SBATCH --signal=TERM@300"} <= set(script.splitlines())
    for name, text in {"srun": 'printf "%s\\n" "$@" ""; [ "$3" != $FAILS ] || exit $CODE',
                       "scontrol": 'printf "%s\\n" "$@"'}.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    for number, run in enumerate(smoke):
        def said(code: int, fails: str = "solvers.train", number=number) -> tuple[list[list[str]], int]:
            done = subprocess.run(["bash", "-c", script], text=True, capture_output=True, env={
                "PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_ARRAY_TASK_ID": str(number), "SLURM_ARRAY_JOB_ID": "7",
                "FAILS": fails, "CODE": str(code)})
            assert not done.stderr
            return [part.split("\n") for part in done.stdout.strip().split("\n\n")], done.returncode

        train, evaluate = said(0)[0]
        assert train[1:] == ["-m", "solvers.train", *run.arguments, "--gpu", "0", "--resume", "--wait"]
        assert evaluate[1:] == ["-m", "solvers.evaluate", str(run.folder), "--data", str(tmp_path / "my data")]
        assert said(143)[0][1] == ["requeue", f"7_{number}"]
        assert said(143, "solvers.evaluate")[0][2] == ["requeue", f"7_{number}"]
        assert len(said(2)[0]) == 1 and said(2)[1] == 2


@pytest.mark.parametrize(("options", "message"), [
    (["--dryrun"], 'unrecognized arguments: --dryrun; did you mean "--dry-run"?'),
    (["--jobs", "0"], "argument --jobs: '0' is not a whole number from 1"),
    (["--retries", "-1"], "argument --retries: '-1' is not a whole number from 0 to 1000"),
    (["--scheduler", "tcp://a:1", "--jobs", "2"], "--jobs: with --scheduler, the workers say"),
    (["--scheduler", "tcp://a:1", "--slurm", "walltime=1"], "argument --slurm: not allowed with argument --scheduler"),
    (["--sbatch"], "--sbatch needs the options of the jobs"),
    (["--slurm", "partition=long"], "give the time limit of a job too"),
    (["--gpu", "0"], "this Caffe was built for the CPU only"),
    (["--scheduler", "tcp://a:1", "--gpu", "all"], "--gpu all: a worker computes on one GPU"),
    (["--slurm", "walltime=1", "--gpu", "0,1"], "--gpu 0,1: a worker computes on one GPU"),
])
def test_bad_options(options, message, capsys, tmp_path):
    try:
        code = command.main([str(SMOKE), "--runs", str(tmp_path), *options])
    except SystemExit as exit:
        code = exit.code
    error = capsys.readouterr().err
    assert code == 2 and error.startswith("error: ") and error.count("\n") == 1 and message in error
    assert not list(tmp_path.iterdir())
