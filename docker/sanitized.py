"""Run the CPU engine and our layers under the address and undefined-behaviour sanitisers: what `make test-sanitized` runs.

    .venv/bin/python docker/sanitized.py                                  # with the hostile inputs of `make test`
    FUZZ_CASES=20000 .venv/bin/python docker/sanitized.py -m slow         # with so many: options of pytest

Compiles all of Caffe with both sanitisers (a work tree of its own), runs the C++ tests of tests/layers/, trains the small
net of tests/layers/sanitized/ for two steps with the `caffe` tool, and gives our commands the hostile inputs of tests/fuzz/.
The first finding ends it, with a stack trace.

The thread sanitiser is not used: GCC's OpenMP library is not instrumented, so that the sanitiser sees no barriers and reports
every parallel loop. Clang's library is instrumented, but the engine's kernels need GCC.
"""

import os
import subprocess
import sys
from pathlib import Path

import build_caffe
from build_caffe import CPP_TESTS, ROOT

# Not vptr: destructors would clear what Boost.Python reads after them.
OPTIONS = {
    "CMAKE_CXX_FLAGS": build_caffe.CMAKE_OPTIONS["CMAKE_CXX_FLAGS"]
    + " -fsanitize=address,undefined -fno-sanitize=vptr -fno-sanitize-recover=all -fno-omit-frame-pointer -g1",
    "CMAKE_BUILD_TYPE": "",
    "BUILD_only_tests": ",".join(path.stem.removeprefix("test_") for path in sorted(CPP_TESTS.rglob("test_*.cpp"))),
}
# Leaks are not searched: Boost and glog keep memory until the process ends. Allocations may fail: a test asks for more memory
# than there is, and expects the same error as without the sanitisers.
ENVIRONMENT = {"ASAN_OPTIONS": "detect_leaks=0:strict_string_checks=1:allocator_may_return_null=1:abort_on_error=1",
               "UBSAN_OPTIONS": "print_stacktrace=1:abort_on_error=1"}


def python_environment(prefix: Path) -> dict[str, str]:
    """What lets Python import the Caffe in `prefix`: the sanitisers' libraries must be the first that are loaded."""
    libraries = [subprocess.run(["c++", f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip()
                 for name in ("libasan.so", "libubsan.so", "libstdc++.so")]  # the last for exceptions
    return {"LD_PRELOAD": " ".join(libraries), "PYTHONPATH": str(prefix / "python")}


def main() -> int:
    cache = build_caffe.cache_dir()
    prefix = cache / "sanitized"
    try:
        with build_caffe.locked(cache):
            build = build_caffe.compile_caffe(cache, prefix, ["test.testbin", "all"], OPTIONS)
            build_caffe.copy_products(build, prefix)
    except (build_caffe.BuildError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    fuzz = [sys.executable, "-m", "pytest", "-q", "tests/fuzz", *(sys.argv[1:] or ["-m", "not slow"])]
    steps = {
        "our C++ tests": ([build / "test/test.testbin", "--gtest_filter=-*GPU*"], {}),
        "two training steps": ([build / "tools/caffe", "train", "--solver=tests/layers/sanitized/solver.prototxt"], {}),
        "hostile inputs": (fuzz, python_environment(prefix)),
    }
    for what, (command, more) in steps.items():
        print(f"Under the sanitisers: {what}", flush=True)
        done = subprocess.run(command, cwd=ROOT, env=os.environ | ENVIRONMENT | more)
        if done.returncode != 0:
            print(f"error: {what} ended with {done.returncode}, see above", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
