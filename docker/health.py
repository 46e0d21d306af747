"""Check that the runs on this machine make progress: the health check of the Docker image.

    python docker/health.py     # runs/res44_usw/noise_0.4/seed_123/log.csv: iteration 1200, 1 s ago

A run is a process that has its log.csv open. Exit code 1 if one of them has written no row for `STALLED` seconds; a
container that trains nothing, or is still preparing its data, is healthy.
"""

import sys
import time
from pathlib import Path

STALLED = 600.0  # a step takes seconds, a test of 10,000 images (a solver's test_interval) a minute at most


def open_logs(proc: Path = Path("/proc")) -> set[Path]:
    """The log.csv files that processes of this user have open."""
    logs = set()
    for process in proc.glob("[0-9]*"):
        try:
            logs.update(path for fd in (process / "fd").iterdir() if (path := fd.readlink()).name == "log.csv")
        except OSError:  # the process has ended, or belongs to another user
            continue
    return logs


def last_iteration(log: Path) -> str:
    """The iteration in the last complete row; "0" if there is only the header."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4096))
        rows = file.read().decode().split("\n")[:-1]
    last = rows[-1].partition(",")[0] if rows else ""
    return last if last.isdigit() else "0"


def main(proc: Path = Path("/proc"), now: float | None = None) -> int:
    """Print a line for each run; return the exit code."""
    now = time.time() if now is None else now
    ages = {log: now - log.stat().st_mtime for log in sorted(open_logs(proc)) if log.exists()}
    for log, age in ages.items():
        print(f"{log}: iteration {last_iteration(log)}, {age:.0f} s ago")
    if not ages:
        print("no run is training")
    return int(any(age > STALLED for age in ages.values()))


if __name__ == "__main__":
    sys.exit(main())
