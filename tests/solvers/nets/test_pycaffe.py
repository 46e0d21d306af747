"""What the CPU engine reports about the processor."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from solvers import evaluate, train
from solvers.nets import pycaffe
from solvers.nets.pycaffe import why_slow


def test_a_processor_with_avx2_has_the_fast_convolutions():
    cpu = Path("/proc/cpuinfo")
    if not cpu.is_file() or "flags" not in cpu.read_text():
        pytest.skip("/proc/cpuinfo does not list what this processor can do")
    flags = cpu.read_text().split("flags", 1)[1].split("\n", 1)[0].split()
    assert (why_slow() == "") == {"avx2", "fma"}.issubset(flags)


def test_the_stock_engine_is_as_slow_as_was_asked_for():
    code = "from solvers.nets.pycaffe import why_slow; print(repr(why_slow()))"
    stock = os.environ | {"CAFFE_ENGINE": "stock"}
    done = subprocess.run([sys.executable, "-c", code], env=stock, capture_output=True, text=True)
    assert done.stdout == "''\n", done.stderr


def test_a_run_says_once_why_it_is_slow(setting, run, monkeypatch, capfd):
    monkeypatch.setattr(train, "why_slow", lambda: "no vectors here")
    assert run(setting(), "--max-iter", 3) == 0
    assert capfd.readouterr().out.count("note: no vectors here\n") == 1


def test_a_build_for_gdb_says_that_it_is_slow(tmp_path, monkeypatch, capsys):
    """.venv has such a build until the next `make`. evaluate prints this before it finds that there is nothing to measure."""
    for kind, slow in ("Release", False), ("Debug", True):
        (tmp_path / "build.json").write_text(json.dumps({"options": json.dumps({"CMAKE_BUILD_TYPE": kind})}))
        monkeypatch.setattr(pycaffe.caffe, "__file__", str(tmp_path / "__init__.py"))
        assert ("make setup goes back to the usual one" in why_slow()) == slow
    assert evaluate.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("note: this Caffe was built for gdb (CAFFE_BUILD=debug)")
