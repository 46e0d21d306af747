"""Run competitors in turns: each process sleeps while another makes its step, so that their times can be compared."""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from base import machine

ROOT = Path(__file__).resolve().parents[1]
OURS, STOCK, TORCH, RUNTIME = "Caffe, ours", "Caffe, stock", "PyTorch, channels_last", "ONNX Runtime"
REST = 0.1  # seconds before each turn: the threads of the competitor before may still spin and keep cores busy


class Worker:
    """A process of a competitor, which waits for its turn.

    Parameters
    ----------
    name : str
        OURS, STOCK, TORCH or another.
    python : str
        The interpreter.
    script : str
        A benchmark, which calls `serve` if it is started with ``--worker name`` and `options`.
    threads : int
    options : str
        Further arguments.
    environment : str
        Further environment variables, by name.
    """

    def __init__(self, name: str, python: str, script: str, threads: int, *options: str, **environment: str):
        self.name, self.answers = name, []
        environment = os.environ | environment | {
            "CAFFE_ENGINE": "stock" if name == STOCK else "onednn", "GLOG_minloglevel": "2",
            "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
            **{f"{library}_NUM_THREADS": str(threads) for library in ("OMP", "OPENBLAS", "MKL")}}
        self.process = subprocess.Popen(
            [python, script, "--worker", name, "--threads", str(threads), *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        if self.process.stdout.readline().strip() != "ready":
            raise SystemExit(f"error: the process for {name!r} did not start, see above")

    def step(self, number: int) -> None:
        time.sleep(REST)
        self.process.stdin.write(f"{number}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"error: the process for {self.name!r} ended early, see above")
        self.answers.append(json.loads(answer))

    @property
    def seconds(self) -> np.ndarray:
        """The seconds of each step except the first, which allocates memory and chooses kernels."""
        return np.array([answer["seconds"] for answer in self.answers[1:]])

    @property
    def processor_seconds(self) -> np.ndarray:
        """As `seconds`, but the processor time of all threads."""
        return np.array([answer["processor"] for answer in self.answers[1:]])

    @property
    def peak(self) -> float:
        """Gigabytes."""
        return self.answers[-1]["peak"]

    def stop(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def serve(prepare: Callable, take_step: Callable) -> None:
    """For each number on standard input, make a step, ``take_step(*prepare(number))``, and print its time and the memory."""
    print("ready", flush=True)
    for line in sys.stdin:
        batch = prepare(int(line))
        start, busy = time.perf_counter(), time.process_time()
        take_step(*batch)
        seconds, processor = time.perf_counter() - start, time.process_time() - busy
        # Not ru_maxrss: a process inherits the peak of its parent there.
        peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
        print(json.dumps({"seconds": seconds, "processor": processor, "peak": int(peak) / 1e6}), flush=True)


def command_line(description: str) -> argparse.ArgumentParser:
    """The options of all benchmarks that work in turns. `Worker` uses ``--worker`` to start a process."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    processors = machine.processors()
    parser.add_argument("--threads", type=int, nargs="+", default=[processors], help=f"default: all, {processors}")
    parser.add_argument("--torch", default=sys.executable, help="the interpreter that has PyTorch (default: this one)")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser


def interpreters(torch: str) -> dict[str, str]:
    """The interpreter of each competitor. If `torch` cannot import PyTorch, prints so and leaves it out."""
    if subprocess.run([torch, "-c", "import torch"], capture_output=True).returncode == 0:
        return {OURS: sys.executable, TORCH: torch, STOCK: sys.executable}
    print(f"PyTorch: skipped, {torch} has none (pip install torch, or --torch PYTHON)")
    return {OURS: sys.executable, STOCK: sys.executable}


def matrix_product_speed(threads: int) -> float:
    """The floating-point operations per second of a large matrix product, in a separate process with `threads` threads."""
    code = ("import numpy as np, time\na = np.ones((2048, 2048), np.float32); b = a.copy(); a @ b\n"
            "times = []\nfor _ in range(8):\n    t = time.perf_counter()\n    a @ b\n"
            "    times.append(time.perf_counter() - t)\n"
            "print(2 * 2048**3 / min(times))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          env=os.environ | {"OPENBLAS_NUM_THREADS": str(threads)})
    return float(done.stdout)


def quartiles(values: np.ndarray, scale: float = 1, digits: int = 0) -> str:
    """The median and, in brackets, the middle half (first to third quartile)."""
    low, median, high = np.percentile(values * scale, [25, 50, 75])
    return f"{median:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def table(heads: list[str]) -> None:
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}", flush=True)


def row(cells: list) -> None:
    print(f"| {' | '.join(map(str, cells))} |", flush=True)
