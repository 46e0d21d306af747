"""The description of the machine."""

import os
import platform

import pytest

from base import machine

COUNT = len(os.sched_getaffinity(0))


@pytest.mark.parametrize("flags, vectors", [("sse4_2 avx avx2", ["AVX2"]), ("avx2 avx512f", ["AVX-512"]), ("sse2", [])])
def test_processor_and_widest_vectors(tmp_path, flags, vectors):
    one = "processor\t: {}\nmodel name\t: AMD EPYC 7B13 64-Core\nflags\t\t: {}\n\n"
    (tmp_path / "cpuinfo").write_text(one.format(0, flags) + one.format(1, flags))
    assert machine.describe(tmp_path / "cpuinfo").split(", ")[:-1] == ["AMD EPYC 7B13 64-Core", *vectors]


@pytest.mark.parametrize("content", ["processor\t: 0\nFeatures\t: fp asimd\n", None])
def test_a_processor_without_a_name(tmp_path, content):
    if content:
        (tmp_path / "cpuinfo").write_text(content)
    assert machine.describe(tmp_path / "cpuinfo").split(", ")[:-1] == [platform.machine()]


def test_this_machine():
    assert machine.describe().endswith(", 1 processor" if COUNT == 1 else f", {COUNT} processors")
