"""Run a setting, measure its checkpoints, set it against the published runs: train.py, evaluate.py, compare.py."""

import os
import sys

# Caffe's logging and GNU's OpenMP read the environment once, when they are loaded: hence here, before any module can do it.
os.environ.setdefault("GLOG_minloglevel", "2")  # errors only; 0 shows all that Caffe says
# Threads that wait for each other spin for a fraction of a millisecond, then sleep. By default they spin for milliseconds, and
# where another process has a core, they keep the other from the very thread that they wait for (benchmarks/waiting.py).
if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
    os.environ["GOMP_SPINCOUNT"] = "10000"
# OpenBLAS starts its threads when it is loaded, and threads that are there before a process is confined stay free (see
# base/confinement.py). So a command begins with one; threads.use() gives Caffe's as many as it would have had.
BLAS_THREADS = os.environ.get("OPENBLAS_NUM_THREADS")
CONFINED = ("train", "evaluate", "compare", "report", "plot_dynamics", "export", "sweep.probe")
if {f"solvers.{name}" for name in CONFINED} & set(sys.orig_argv[:4]):
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
