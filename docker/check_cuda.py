"""Check a CUDA build of Caffe without a GPU, by inspecting its libraries.

    CAFFE_CUDA=1 .venv/bin/python docker/check_cuda.py          # what `make cuda` runs last

It checks that the libraries contain device code for every architecture of the build; that every layer and solver with a .cu
file has its GPU functions for float and double; that no library or symbol is missing when they are loaded; and that the
weighted losses use no atomic operations, so that their sums repeat bit by bit. Exit code 0 if all checks pass, else 1 with a
line for each failure.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import build_caffe
import cuda_toolkit

GPU_FUNCTIONS = ("Forward_gpu", "Backward_gpu")
OURS = ("WeightedSoftmaxForward", "WeightedSoftmaxBackward", "SumParts", "SumAll", "ExtractProbForward")
NO_BACKWARD_GPU = re.compile(r"INSTANTIATE_LAYER_GPU_FORWARD\((\w+)\)")
ATOMIC = re.compile(r"^\s*(?:@\S+\s+)?((?:atom|red)\.[\w.:]+)", re.MULTILINE)
BOTH = re.compile(r"INSTANTIATE_LAYER_GPU_FUNCS\((\w+)\)")


def output_of(*command: object) -> str:
    return subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout


def expected_symbols(source: Path) -> set[str]:
    """The GPU functions that the compiled tree's .cu files instantiate, by their mangled names."""
    text = "".join(path.read_text() for path in sorted((source / "src/caffe/layers").glob("*.cu")))
    forward_only = set(NO_BACKWARD_GPU.findall(text))
    return {f"caffe::{layer}<{kind}>::{function}" for layer in forward_only | set(BOTH.findall(text))
            for kind in ("float", "double")
            for function in (GPU_FUNCTIONS[:1] if layer in forward_only else GPU_FUNCTIONS)}


def wanted_architectures(options: dict[str, str]) -> tuple[set[str], set[str]]:
    """The architectures that must have machine code, and those that must have PTX."""
    parts = [part.partition("-") for part in options["CMAKE_CUDA_ARCHITECTURES"].split(";")]
    return ({f"sm_{number}" for number, _, kind in parts if kind != "virtual"},
            {f"sm_{number}" for number, _, kind in parts if kind != "real"})


def main() -> int:
    cache = build_caffe.cache_dir()
    toolkit = cuda_toolkit.find_toolkit(cache)
    prefix = cache / f"caffe-{build_caffe.inputs_digest()}"
    work = cache / f"work-{build_caffe.digest(build_caffe.json.dumps(build_caffe.toolchain()))}"
    library = prefix / "lib/libcaffe.so"
    if not library.exists():
        print(f"error: {library} does not exist: CAFFE_CUDA=1 make setup builds it", file=sys.stderr)
        return 2
    wrong = []

    cuobjdump = toolkit.root / "bin/cuobjdump"
    elf, ptx = output_of(cuobjdump, "--list-elf", library), output_of(cuobjdump, "--list-ptx", library)
    machine, virtual = wanted_architectures(build_caffe.cmake_options())
    found, found_ptx = set(re.findall(r"sm_\d+", elf)), set(re.findall(r"sm_\d+", ptx))
    wrong += [f"no machine code for {name}" for name in machine - found]
    wrong += [f"no PTX of {name}" for name in virtual - found_ptx]

    defined = output_of("nm", "-DC", "--defined-only", library)
    missing = [name for name in sorted(expected_symbols(work / "src")) if f" {name}(" not in defined]
    wrong += [f"no {name}" for name in missing]

    environment = os.environ | {"LD_BIND_NOW": "1"}
    for file in (library, next((prefix / "python/caffe").glob("_caffe*.so"))):
        said = subprocess.run(["ldd", "-r", str(file)], capture_output=True, text=True, env=environment).stdout
        # Undefined symbols of Python are expected: the interpreter provides them.
        wrong += [f"{file.name}: {line.strip()}" for line in said.splitlines()
                  if "not found" in line or "undefined symbol" in line and not re.search(r"symbol: _?Py", line)]

    kernels = dict.fromkeys(OURS, 0)
    for kernel in output_of(cuobjdump, "--dump-ptx", library).split(".entry ")[1:]:
        name, _, body = kernel.partition("(")
        ours = next((ours for ours in OURS if ours in name), None)
        if ours:
            kernels[ours] += 1
            wrong += [f"{name} uses {found}" for found in sorted(set(ATOMIC.findall(body)))]
    wrong += [f"no kernel {name}" for name, count in kernels.items() if not count]

    for line in wrong:
        print(f"wrong: {line}")
    if not wrong:
        print(f"{library}\n  CUDA {toolkit.version}; machine code for {', '.join(sorted(found))}; PTX of "
              f"{', '.join(sorted(found_ptx))}\n  {len(expected_symbols(work / 'src'))} GPU functions of layers, none "
              f"missing; {sum(kernels.values())} kernels of our layers, none with atomics")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
