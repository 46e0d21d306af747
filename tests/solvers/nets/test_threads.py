"""How many threads compute, how they wait for each other, and the note if other processes use the processors."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from solvers.nets import threads

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def as_before():
    number = threads.count()
    yield
    threads.use(number)


def python(code: str, **environment: str) -> subprocess.CompletedProcess:
    """Run code in a separate process that inherits no settings of threads and logging, but gets these variables."""
    inherited = {name: value for name, value in os.environ.items()
                 if not name.startswith(("OMP_", "GOMP_", "OPENBLAS_", "GLOG_"))}
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=inherited | environment, text=True, capture_output=True,
                          check=True)


@pytest.mark.parametrize(("given", "spins"), [({}, "'10000'"), ({"OMP_WAIT_POLICY": "active"}, "'30000000000'"),
                                              ({"GOMP_SPINCOUNT": "70"}, "'70'")], ids=["default", "policy", "count"])
def test_threads_that_wait_soon_sleep_unless_told_otherwise(given, spins):
    """libgomp itself reports its settings when it is loaded."""
    said = python("import solvers.train", OMP_DISPLAY_ENV="verbose", **given).stderr
    if "GOMP_SPINCOUNT" not in said:
        pytest.skip("this OpenMP is not GNU's")
    assert f"GOMP_SPINCOUNT = {spins}" in said


@pytest.mark.parametrize("module", ["train", "evaluate", "nets.losses", "training.overrides"])
def test_what_caffe_reads_is_set_whichever_module_loads_it(module):
    """Otherwise Caffe would log each net, and its threads would spin for the default time."""
    said = python(f"import os, solvers.{module}, caffe; caffe.Net('prototxt/test_nets/resnet44.prototxt', caffe.TEST);"
                  "print(os.environ['GOMP_SPINCOUNT'])")
    assert said.stdout == "10000\n" and "Creating Layer" not in said.stderr


def test_as_many_threads_compute_as_were_asked_for(setting):
    """The system counts the threads after a forward pass of a layer that uses all of them."""
    net = setting() / "train.prototxt"
    net.write_text(net.read_text().replace("stride: 4", "stride: 1 pad: 1").replace("num_output: 8", "num_output: 16"))
    code = ("import os; from solvers.nets import threads; from solvers.nets.pycaffe import caffe; threads.use(%d);"
            f"caffe.Net({str(net)!r}, caffe.TRAIN).forward(); print(len(os.listdir('/proc/self/task')))")
    few, many = (int(python(code % number, OMP_NUM_THREADS="2", OPENBLAS_NUM_THREADS="1").stdout) for number in (1, 4))
    assert many >= few + 3


@pytest.mark.parametrize(("given", "number"), [("3", 3), ("", None), ("0", None), ("many", None)])
def test_without_a_number_they_are_as_many_as_the_environment_says(given, number):
    said = python("from solvers.nets import threads; print(threads.use(None))", OMP_NUM_THREADS=given).stdout
    assert int(said) == (number or len(os.sched_getaffinity(0)))


def test_the_number_is_in_config_and_resuming_with_another_warns(setting, run, folder, capsys):
    source = setting()
    assert run(source, "--max-iter", 1, "--threads", 2) == 0
    assert json.loads((folder / "config.json").read_text())["threads"] == threads.count() == 2
    assert run(source, "--max-iter", 2, "--threads", 2, "--resume") == 0
    assert "warning" not in capsys.readouterr().err
    assert run(source, "--max-iter", 3, "--threads", 1, "--resume") == 0
    warned = capsys.readouterr().err
    assert "has computed with 2 thread(s), now with 1" in warned and "--threads 2 keeps them" in warned
    assert json.loads((folder / "config.json").read_text())["threads"] == 1


@pytest.mark.parametrize("number", ["0", "-1", "1.5", "many", "100000"])
def test_impossible_numbers(setting, run, capsys, number):
    with pytest.raises(SystemExit) as ended:
        run(setting(), "--threads", number)
    assert ended.value.code == 2
    assert f"argument --threads: {number!r} is not a whole number from 1 to 1024" in capsys.readouterr().err


def test_other_processes_are_seen():
    code = ("import subprocess, sys, time; from solvers.nets import threads\n"
            "busy = subprocess.Popen([sys.executable, '-c', 'while True: pass']); time.sleep(1.5)\n"
            "print(threads.busy_with_others()); busy.kill()")
    assert float(python(code).stdout) > 0.3


def test_ones_own_work_is_not_others(monkeypatch):
    monkeypatch.setattr(threads, "_BEGAN", threads._Used(100, 5000, 1))
    monkeypatch.setattr(threads, "_used", lambda: threads._Used(110, 5018, 7))
    assert threads.busy_with_others() == pytest.approx(1.2)
    monkeypatch.setattr(threads, "_used", lambda: None)  # a system that does not tell
    assert threads.busy_with_others() == 0


@pytest.mark.parametrize(("busy", "processors", "computing", "advice"), [
    (0.0, 2, 2, None), (0.4, 2, 2, None), (1.0, 2, 1, None), (1.0, 4, 3, None),
    (1.0, 2, 2, "--threads 1"), (2.0, 2, 2, "--threads 1"), (5.2, 16, 16, "--threads 11"), (2.0, 2, 1, ""),
])
def test_a_busy_machine(busy, processors, computing, advice):
    said = threads.why_slow(busy, processors, computing)
    assert bool(said) == (advice is not None)
    assert ("--threads" in said) == bool(advice) and (advice or "") in said


def test_a_run_says_so_once(setting, run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(threads, "busy_with_others", lambda: 1000.0)
    assert run(setting(), "--max-iter", 2) == 0
    assert capsys.readouterr().err.count("note: other processes keep 1000.0 of ") == 1
