"""Measure the cost of a run: make a few of its steps in a separate process, and take their time and memory.

    python -m solvers.sweep.probe FOLDER STEPS     # the process: FOLDER has the run's solver.prototxt
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from base import confinement
from base.errors import InputError
from solvers.nets import rehearsal, threads
from solvers.nets.phases import net_params_of
from solvers.nets.pycaffe import caffe, count_weights
from solvers.nets.setting import Setting
from solvers.nets.solver_param import for_caffe
from solvers.runs.folder import RunFolder
from solvers.runs.run import Run

pb = caffe.proto.caffe_pb2

STEPS = 2
DATA = 400 << 20  # bytes of CIFAR-100 and of the batches prepared ahead, which a run has and the probe does not


class Cost(NamedTuple):
    """The cost of a run.

    Attributes
    ----------
    weights : int
        The number of parameters of the net.
    images : int
        Images in a batch.
    seconds : float or None
        Seconds per step; None if no step was made.
    memory : int
        Memory in bytes.
    """

    weights: int
    images: int
    seconds: float | None
    memory: int


def environment(threads: int | None) -> dict[str, str]:
    """The environment for a process with a number of threads; with None, this process's environment unchanged."""
    if threads is None:
        return dict(os.environ)
    return os.environ | {f"{library}_NUM_THREADS": str(threads) for library in ("OMP", "OPENBLAS")}


def measure(setting: Setting, solver: pb.SolverParameter, threads: int | None, steps: int = STEPS) -> Cost:
    """The cost of a run on this machine's CPU.

    Parameters
    ----------
    setting : Setting
    solver : caffe_pb2.SolverParameter
        From `solver_param.resolved`.
    threads : int or None
    steps : int
        Steps to time, after a first one that allocates memory. With 0, no step is made, and `memory` is that of the nets only.

    Raises
    ------
    InputError
        If the nets cannot be made, or do not fit into memory.
    """
    net_params = net_params_of(setting.net_param, solver, setting.shared_net)
    rehearsal.rehearse(setting.folder, net_params, for_caffe(setting, solver))
    bare = pb.SolverParameter()
    bare.CopyFrom(solver)
    bare.ClearField("weights")  # Caffe would read them
    with tempfile.TemporaryDirectory() as folder:
        Run(RunFolder(Path(folder)), setting, bare, {}).write()
        done = subprocess.run([sys.executable, "-m", __name__, folder, str(steps)], env=environment(threads),
                              capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"]
        raise InputError(f"{setting.folder} cannot make a step: {said[-1]}")
    cost = Cost(**json.loads(done.stdout.splitlines()[-1]))
    return cost._replace(images=cost.images * solver.iter_size)


def main(folder: str, steps: str) -> None:
    """The main function of the separate process: print the cost as JSON."""
    confinement.confine(None)  # Caffe runs a net here that is not trusted: it must not write files or start programs
    threads.use(None)
    solver = caffe.get_solver(str(Path(folder) / "solver.prototxt"))
    seconds = None
    if int(steps):
        solver.step(1)
        start = time.perf_counter()
        solver.step(int(steps))
        seconds = (time.perf_counter() - start) / int(steps)
    images = next(iter(solver.net.blobs.values())).data.shape[0]
    memory = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss + DATA
    print(json.dumps(Cost(count_weights(solver.net), images, seconds, memory)._asdict()))


if __name__ == "__main__":
    main(*sys.argv[1:])
