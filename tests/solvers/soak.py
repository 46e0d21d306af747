"""Train a small net for hours and kill it: memory, files and log must stay in order. Too long to be a pytest test.

    python tests/solvers/soak.py --minutes 120      # make soak

The first quarter of the time, the run is killed (SIGKILL) at random moments and resumed. Then it goes on undisturbed while
its memory and open files are measured, until SIGTERM. Prints what it measured; exit code 1 if memory grows by more than
1 %, files are left open, or the log has gaps or doubles.
"""

import argparse
import csv
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import tiny

RUN = Path("runs/tiny/noise_0.0/seed_123")
WARM_UP = 60  # seconds until what is allocated once has been


def start(folder: Path) -> subprocess.Popen:
    command = tiny.command(folder / "tiny", folder / "runs", "--max-iter", 2_000_000_000, "--resume")
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def memory(pid: int) -> int:
    """The resident memory in bytes that a process shares with no other."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def kill_and_resume(folder: Path, seconds: float) -> int:
    """Kill and resume the run again and again for this time; return the number of kills."""
    end, kills, chance = time.monotonic() + seconds, 0, random.Random(0)
    while time.monotonic() < end:
        process = start(folder)
        time.sleep(chance.uniform(2, 20))
        assert process.poll() is None, f"it ended with code {process.returncode}"
        process.kill()
        process.wait()
        kills += 1
    return kills


def watch(process: subprocess.Popen, seconds: float) -> list[tuple[int, int]]:
    """Measure memory and open files each second."""
    samples, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        assert process.poll() is None, f"it ended with code {process.returncode}"
        samples.append((memory(process.pid), files(process.pid)))
        time.sleep(1)
    return samples


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=120)
    seconds = 60 * parser.parse_args().minutes
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tiny.write_setting(folder / "tiny")
        kills = kill_and_resume(folder, seconds / 4)
        process = start(folder)
        time.sleep(WARM_UP)
        samples = watch(process, seconds * 3 / 4 - WARM_UP)
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=60)
        with open(folder / RUN / "log.csv", newline="") as file:
            iterations = [int(row["iteration"]) for row in csv.DictReader(file)]
    tenth = len(samples) // 10
    before, after = (statistics.median(sample[0] for sample in part) for part in (samples[:tenth], samples[-tenth:]))
    growth = after / before - 1
    print(f"{kills} kills; {iterations[-1]} steps; exit code {code} after SIGTERM")
    print(f"memory {before / 1e6:.1f} MB, at the end {after / 1e6:.1f} MB ({growth:+.2%}); "
          f"open files {samples[0][1]}, at the end {samples[-1][1]}")
    whole = iterations == list(range(1, iterations[-1] + 1))
    print("the log is whole" if whole else "THE LOG HAS GAPS OR DOUBLES")
    return int(not whole or code != 143 or growth > 0.01 or samples[-1][1] > samples[0][1])


if __name__ == "__main__":
    sys.exit(main())
