"""Describe the machine: the speed of a run depends on it, and the way in which its sums are rounded."""

import os
import platform
from pathlib import Path

VECTORS = {"avx512f": "AVX-512", "avx2": "AVX2"}  # instruction sets, by their names in /proc/cpuinfo; the widest first


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))


def describe(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor, its widest vectors, and how many processors this process may use: "AMD EPYC, AVX2, 2 processors".

    Processors without a name in /proc/cpuinfo, as those of ARM, are described by their architecture: "aarch64".
    """
    facts = {}
    for line in cpuinfo.read_text().splitlines() if cpuinfo.is_file() else ():
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    flags = facts.get("flags", "").split()
    widest = [name for flag, name in VECTORS.items() if flag in flags][:1]
    count = processors()
    return ", ".join([facts.get("model name") or platform.machine(), *widest, f"{count} processor{'s' * (count > 1)}"])
