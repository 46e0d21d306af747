"""Train a setting, measure its checkpoints, compare it with the published runs: train.py, evaluate.py, compare.py."""

import os
import sys

# Caffe's logging and GNU's OpenMP read the environment when they are loaded: this package sets it before a module loads them.
os.environ.setdefault("GLOG_minloglevel", "2")  # errors only; 0 shows Caffe's whole log
# A thread that waits for another spins for a fraction of a millisecond, then sleeps. By default it spins for milliseconds. If
# another process uses a core, spinning threads take time from the thread that they wait for (benchmarks/waiting.py).
if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
    os.environ["GOMP_SPINCOUNT"] = "10000"
# OpenBLAS starts its threads when it is loaded. Threads that exist before a process is confined stay unconfined (see
# base/confinement.py). So a command begins with one thread, and threads.use() sets the right number afterwards.
BLAS_THREADS = os.environ.get("OPENBLAS_NUM_THREADS")
CONFINED = ("train", "evaluate", "compare", "report", "keep", "plot_dynamics", "export", "sweep.probe")
if {f"solvers.{name}" for name in CONFINED} & set(sys.orig_argv[:4]):
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
