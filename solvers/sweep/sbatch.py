"""A sweep as a job array of Slurm, for clusters on which no scheduler process may run beside the jobs."""

import math
import shlex
import sys
from pathlib import Path

from solvers.sweep import follow
from solvers.sweep.planned import PlannedRun
from solvers.sweep.slurm_options import SlurmOptions


def script(options: SlurmOptions, runs: list[PlannedRun], jobs: int, threads: int, memory: int, gpus: tuple[str, ...],
           data: Path) -> str:
    """The text of the script for sbatch.

    Parameters
    ----------
    options : SlurmOptions
    runs : list of PlannedRun
        Each becomes an element of the array.
    jobs : int
        The largest number of jobs at once.
    threads, memory : int
        Cores and bytes of memory of a job; mem in the options has precedence.
    gpus : tuple of str
        Each job computes on the first of these devices; on the CPU if there is none.
    data : Path
        Folder of the data.
    """
    directives = {"job-name": "sweep", "array": f"0-{len(runs) - 1}%{jobs}", "ntasks": "1",
                  "cpus-per-task": str(threads), "mem": f"{math.ceil(memory / 2**20)}M", "output": "sweep-%A_%a.out",
                  "open-mode": "append", "requeue": None}
    directives |= {"time" if name == "walltime" else name: value for name, value in options.directives.items()}
    # Slurm signals the job's steps and not this shell: they save, and the shell puts the job into the queue again.
    directives["signal"] = f"TERM@{options.margin}"
    header = "\n".join(f"#SBATCH --{name}" + (f"={value}" if value else "") for name, value in directives.items())
    gpu = ["--gpu", gpus[0]] if gpus else []
    cases = "\n".join(
        f"{number}) run {shlex.join(follow.evaluate_arguments(run, data))} -- {shlex.join([*run.arguments, *gpu])} ;;"
        for number, run in enumerate(runs))
    return f"""#!/bin/bash
{header}
# {len(runs)} runs of solvers.sweep, one each. Submit it with sbatch; afterwards the sweep's command shows what is missing.
# Prepare the data first (data_toolkit/prepare.py); otherwise each of the first jobs does it.
cd {shlex.quote(str(Path.cwd()))} || exit
export OMP_NUM_THREADS={threads} OPENBLAS_NUM_THREADS={threads}
step() {{
    srun {shlex.quote(sys.executable)} -m "$@"
    local code=$?
    if [ $code = 143 ]; then exec scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID"; fi
    if [ $code != 0 ]; then exit $code; fi
}}
run() {{  # ARGUMENTS OF EVALUATE... -- ARGUMENTS OF TRAIN...
    local evaluate=()
    while [ "$1" != -- ]; do evaluate+=("$1"); shift; done
    step solvers.train "${{@:2}}" --resume --wait
    step solvers.evaluate "${{evaluate[@]}}"
}}
case $SLURM_ARRAY_TASK_ID in
{cases}
esac"""
