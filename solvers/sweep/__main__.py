"""Train and evaluate many runs: those of a sweep file, such as the 48 released ones.

    python -m solvers.sweep sweeps/table1.toml --dry-run     # which runs, how many are done, the time left
    python -m solvers.sweep sweeps/table1.toml               # do what is missing; run it again to go on
    python -m solvers.sweep sweeps/table1.toml --scheduler tcp://192.0.2.7:8786
    python -m solvers.sweep sweeps/table1.toml --slurm partition=long,walltime=1-00:00:00

A sweep keeps no state of its own: it reads from the run folders what is done, and the same command does what is missing.
After Ctrl-C the runs save a checkpoint and end. See docs/sweeps.md.
"""

import argparse
import contextlib
import io
import re
import sys
from collections.abc import Callable
from pathlib import Path

from base.commands import command
from base.errors import CommandLine, InputError, failed, reports_errors
from base.terminal import say
from data_toolkit import prepare
from solvers.evaluation.inference import MOST_PROCESSES
from solvers.nets import rehearsal
from solvers.training import gpus, options

try:
    from dask.system import CPU_COUNT
    from rich.filesize import decimal

    from solvers.sweep import clusters, follow, planned, probe, runs_file, sbatch, slurm_options
    from solvers.sweep.clusters import Workers
    from solvers.sweep.planned import PlannedRun
    from solvers.sweep.probe import Cost
    from solvers.sweep.progress import Progress, duration, time_to_come
    from solvers.sweep.work import Task
except ModuleNotFoundError as missing:
    sys.exit(failed(InputError(f"a sweep needs the packages of the extra `sweep` ({missing}): make setup installs them")))

THREADS = 2  # threads of a run, if there are enough cores: ResNet-44 is 1.9 times as fast on two as on one
# Memory in bytes of a worker, of solvers.evaluate, and of each process that it starts; measured with ResNet-44.
WORKER_MEMORY, EVALUATION, EVALUATION_PROCESS = 300 << 20, 200 << 20, 350 << 20


@reports_errors()
def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit code: 0; 1 if runs failed; 2 after an error; 130, 143 or 138 after a signal."""
    argv = sys.argv[1:] if argv is None else argv
    args = parse(argv)
    return sweep(args, argv)


def parse(argv: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = CommandLine(prog="python -m solvers.sweep", description=__doc__,
                         formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="the sweep file, e.g. sweeps/smoke.toml")
    parser.add_argument("--dry-run", action="store_true", help="print the runs, how many are done, and the time left")
    parser.add_argument("--jobs", type=options.steps, metavar="N",
                        help="runs at once (default: as many as cores, memory or --gpu allow; with --slurm all)")
    parser.add_argument("--threads", type=options.steps, metavar="N",
                        help="threads of each run (default: the cores, divided by the runs at once)")
    parser.add_argument("--gpu", metavar="IDS", help="GPUs, one for each run at once: 0, or 0,1, or all (default: the CPU)")
    parser.add_argument("--retries", type=lambda text: options.whole(text, 0, 1000), default=2, metavar="N",
                        help="how often a run that failed is tried again (default 2)")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--scheduler", metavar="ADDRESS",
                       help="a dask scheduler, e.g. tcp://192.0.2.7:8786: its workers make the runs, on a shared file system")
    where.add_argument("--slurm", metavar="OPTIONS",
                       help="make the runs in jobs of Slurm, e.g. partition=long,walltime=1-00:00:00,gres=gpu:1")
    parser.add_argument("--sbatch", action="store_true", help="with --slurm: print a job array for sbatch, and submit nothing")
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="folder of all runs (default runs)")
    parser.add_argument("--data", type=Path, default=Path("data"), metavar="DIR",
                        help="folder of the data (default data); made from CIFAR100_SOURCE or a download if missing")
    args = parser.parse_args(argv)
    for name in "scheduler", "slurm":
        if getattr(args, name) == "":
            parser.error(f"--{name}: it is empty; leave it out to make the runs on this machine")
    if args.jobs and args.scheduler:
        parser.error("--jobs: with --scheduler, the workers say how many runs they make at once (dask worker --nthreads)")
    if args.gpu and (args.scheduler or args.slurm) and not re.fullmatch("[0-9]+", args.gpu):
        parser.error(f"--gpu {args.gpu}: a worker computes on one GPU: with --scheduler and --slurm give its number, e.g. 0 "
                     "for the first one that the worker sees (CUDA_VISIBLE_DEVICES)")
    if args.sbatch and not args.slurm:
        parser.error("--sbatch needs the options of the jobs, e.g. --slurm partition=long,walltime=1-00:00:00")
    return args


def sweep(args: argparse.Namespace, argv: list[str]) -> int:
    """Carry out the sweep that the arguments describe; return the exit code."""
    slurm = slurm_options.parse(args.slurm) if args.slurm else None
    runs = planned.plan(runs_file.read(args.file), args.runs, args.data)
    missing = [run for run in runs if not run.done()]
    if args.gpu and (args.scheduler or slurm):  # GPUs of other machines: this one may have none
        devices = [args.gpu]
    else:
        devices = list(map(str, gpus.choose(args.gpu)))
    _, threads = share(runs, {}, args, devices)  # the memory of a run is not known yet
    costs = measure(missing, threads, steps=0 if devices or args.scheduler else probe.STEPS)
    jobs, threads = share(runs, costs, args, devices)
    needed = planned.bytes_needed(missing, {shape: cost.weights for shape, cost in costs.items()}, args.runs)
    if args.dry_run:
        say(listing(runs, costs, jobs, threads, needed))
        return 0
    if not missing:
        say(f"nothing to do: {finished(args.runs)}")
        return 0
    if args.sbatch:
        say(sbatch.script(slurm, missing, jobs, threads, memory_of_job(costs, threads), tuple(devices), args.data))
        return 0
    if args.scheduler:
        where = clusters.existing(args.scheduler)
    elif slurm:
        from solvers.sweep import slurm_jobs  # imported only here: dask-jobqueue takes as long as the rest of dask

        where = slurm_jobs.workers(slurm, jobs, threads, memory_of_job(costs, threads), args.runs.resolve() / "slurm")
    else:
        where = clusters.local(jobs)
    with where as workers:
        for run in missing:
            run.plan.folder.make()
        prepare_data(missing, args.data)
        mark = follow.mark(args.runs)

        def task(run: PlannedRun, sweep: str) -> Task:
            return follow.task_of(run, sweep, mark, args.runs, args.data, threads, tuple(devices))

        code = carry_out(workers, Progress(runs, costs, jobs), missing, task, args.retries, command("solvers.sweep", argv))
    if not code:
        say(finished(args.runs))
    return code


def finished(runs: Path) -> str:
    """The message when all runs are done."""
    return f"all runs are done; next: {command('solvers.compare', [runs])}"


def measure(runs: list[PlannedRun], threads: int | None, steps: int) -> dict[str, Cost]:
    """The cost of the runs, by `PlannedRun.shape`. If a net cannot be run, the error names the place in the sweep file."""
    costs: dict[str, Cost] = {}
    for run in runs:
        if run.shape not in costs:
            try:
                costs[run.shape] = probe.measure(run.plan.setting, run.plan.solver, threads, steps)
            except InputError as error:
                raise InputError(f"{run.where}: {error}") from error
    return costs


def share(runs: list[PlannedRun], costs: dict[str, Cost], args: argparse.Namespace,
          devices: list[str]) -> tuple[int, int | None]:
    """How many runs are made at once, and the threads of each. With --scheduler, its workers decide: 0 runs, --threads.

    On this machine: a run for each GPU, or one for each THREADS cores, fewer if memory is short. They share all cores. `runs`
    are all of the sweep, those that are done as well: a run that goes on, when others are done, keeps its number of threads.
    """
    if args.scheduler:
        return 0, args.threads
    if args.slurm:
        return args.jobs or len(runs), args.threads or THREADS
    jobs = max(1, min(args.jobs or len(devices) or CPU_COUNT // (args.threads or THREADS), len(runs)))

    def threads(jobs: int) -> int:
        return args.threads or max(1, CPU_COUNT // jobs)

    memory = rehearsal.available_memory()
    while not args.jobs and memory is not None and jobs > 1 and jobs * memory_of_run(costs, threads(jobs)) > memory:
        jobs -= 1
    return jobs, threads(jobs)


def memory_of_run(costs: dict[str, Cost], threads: int) -> int:
    """The most memory, in bytes, that a run takes in training or in evaluation."""
    evaluation = EVALUATION + min(threads, MOST_PROCESSES) * EVALUATION_PROCESS
    return max([evaluation, *(cost.memory for cost in costs.values())])


def memory_of_job(costs: dict[str, Cost], threads: int) -> int:
    """The memory, in bytes, that a job of Slurm asks for: 1.25 times that of a run, and that of its worker."""
    return memory_of_run(costs, threads) * 5 // 4 + WORKER_MEMORY


def listing(runs: list[PlannedRun], costs: dict[str, Cost], jobs: int, threads: int | None, needed: int) -> str:
    """The text that --dry-run prints."""
    width = max(len(run.name) for run in runs)
    lines, missing = [], []
    for run in runs:
        done, measured = run.done(), run.accuracy()
        state = "done" if done else f"{run.saved():,} of {run.steps:,} steps" if run.saved() else "to do"
        lines.append(f"{run.name:{width}}  {state}" + (f", test accuracy {100 * measured[1]:.2f} %" if measured else ""))
        missing += [] if done else [run]
    to_come = time_to_come(missing, costs, jobs)
    steps = sum(run.steps_to_come() for run in missing)
    jobs = min(jobs, len(missing) or 1)
    lines.append(f"{len(runs)} runs: {len(runs) - len(missing)} done, {len(missing)} to do: {steps:,} steps, "
                 + (f"{duration(to_come)} with {jobs} at once" if jobs and to_come is not None else "time not known yet")
                 + (f" on {threads} threads each" if threads else "") + f", {decimal(needed)} to write")
    return "\n".join(lines)


def prepare_data(runs: list[PlannedRun], folder: Path) -> None:
    """Make the training sets of the missing runs here, once: otherwise several runs would make the same set at a time."""
    sets = [run.plan.training_set for run in runs if run.plan.fed_blobs]
    for noise in {training_set.name: training_set.noise for training_set in sets if training_set.noise}.values():
        with contextlib.redirect_stdout(io.StringIO()) as said:
            prepare.prepare(noise, output=folder)
        if not said.getvalue().startswith("already there"):
            say(said.getvalue().rstrip())


def carry_out(workers: Workers, progress: Progress, missing: list[PlannedRun],
              task: Callable[[PlannedRun, str], Task], retries: int, go_on: str) -> int:
    """Let workers do the missing runs; return the exit code.

    Parameters
    ----------
    workers : Workers
    progress : Progress
    missing : list of PlannedRun
    task : function
        Makes a worker's task from a run and the name of this sweep.
    retries : int
        How often a run that failed is tried again.
    go_on : str
        The command that continues the sweep, printed if the user stops it.
    """
    workers_now = sum(workers.client.nthreads().values())
    if not workers_now:
        say("no workers yet; waiting for them")
    progress.jobs = progress.jobs or workers_now
    with progress:
        failures, stopped_by = follow.Follower(workers, task, retries, progress).follow(missing)
    if failures:
        say(follow.report(failures, len(missing), retries), file=sys.stderr)
    if stopped_by:
        say(f"{stopped_by.name}: stopped; all steps so far are saved; go on with\n  {go_on}")
        return 128 + stopped_by
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
