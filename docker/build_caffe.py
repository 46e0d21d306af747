"""Build Caffe with our layers, once for each set of inputs, and put it on this interpreter's path.

    .venv/bin/python docker/build_caffe.py              # what `make setup` and the Dockerfile run
    .venv/bin/python docker/build_caffe.py --gtests     # also compile and run upstream's and our C++ tests
    CAFFE_SOURCE=DIR .venv/bin/python docker/build_caffe.py     # build another checkout of upstream Caffe
    CAFFE_CUDA=1 .venv/bin/python docker/build_caffe.py         # for GPUs, see cuda_toolkit.py
    CAFFE_BUILD=debug .venv/bin/python docker/build_caffe.py    # for gdb: not optimised, with debugging symbols

The source is pinned in caffe-source.txt; patches/ are applied to it, and layers/native/ and layers/engine/ (the CPU engine)
are added. The result is installed into $CAFFE_CACHE/caffe-<hash of all inputs>. It is compiled in a work tree beside that, in
which only changed files are replaced: after an edit of a layer, the build takes a minute, and an interrupted build continues.
"""

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
from pathlib import Path

import cuda_toolkit
import numpy
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(1, str(ROOT))  # .venv does not have this path before the first build
from layers import generated_code  # noqa: E402

DOCKER = ROOT / "docker"
NATIVE_LAYERS = ROOT / "layers" / "native"
ENGINE = ROOT / "layers" / "engine"
CPP_TESTS = ROOT / "tests" / "layers"
SCRIPTS = ("classify.py", "detect.py", "draw_net.py")  # scripts of upstream's python/ that get launchers in .venv/bin
BUILD_TYPES = {"release": "Release", "debug": "Debug"}  # CAFFE_BUILD -> CMAKE_BUILD_TYPE
CMAKE_OPTIONS = {
    "CMAKE_BUILD_TYPE": "Release",
    # No warnings: they come from upstream's code and Boost.
    "CMAKE_CXX_FLAGS": "-w -DBOOST_BIND_GLOBAL_PLACEHOLDERS -DBOOST_ALLOW_DEPRECATED_HEADERS",
    "CMAKE_POLICY_VERSION_MINIMUM": "3.5",  # without it, CMake 4 refuses the 2.8.7 that upstream requires
    "CPU_ONLY": "ON",
    "USE_OPENCV": "ON" if os.environ.get("CAFFE_OPENCV") else "OFF",  # for ImageData layers and encoded images
    "USE_LEVELDB": "OFF",
    "BLAS": "Open",
    "USE_OPENMP": "ON",
    "USE_ONEDNN": "ON",
    "BUILD_docs": "OFF",
    "python_version": "3",
}


class BuildError(Exception):
    """Raised if the build cannot go on. The message says why and what to do."""


def cache_dir() -> Path:
    """The folder for downloads, work trees and finished builds: $CAFFE_CACHE, or one below ~/.cache."""
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "caffe-example-weighting"
    return Path(os.environ.get("CAFFE_CACHE", default)).absolute()


def cmake_options() -> dict[str, str]:
    """CMake's options: CAFFE_BUILD selects the build type, CAFFE_CUDA a build for GPUs (see cuda_toolkit.py)."""
    build = os.environ.get("CAFFE_BUILD") or "release"
    if build not in BUILD_TYPES:
        raise BuildError(f"CAFFE_BUILD={build} is unknown: give one of {', '.join(BUILD_TYPES)}")
    return CMAKE_OPTIONS | {"CMAKE_BUILD_TYPE": BUILD_TYPES[build]} | (
        cuda_toolkit.find_toolkit(cache_dir()).cmake_options() if cuda_toolkit.wanted() else {})


def output_of(*command: str) -> str:
    """The output of `command`; "no NAME" if there is no such command."""
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout
    except FileNotFoundError:
        return f"no {command[0]}"


def toolchain() -> dict[str, str]:
    """Everything outside the checkout on which the result of the compiler depends."""
    packages = (DOCKER / "apt-build.txt").read_text().splitlines()
    names = " ".join(line for line in packages if not line.startswith("#")).split()
    return {
        "machine": platform.machine(),
        "python": f"{sysconfig.get_config_var('SOABI')} {sys.base_prefix}",
        "numpy": numpy.__version__,
        "compiler": output_of("c++", "--version"),
        "packages": output_of("dpkg-query", "-W", *names),
        "options": json.dumps(cmake_options()),
    } | ({"cuda_toolkit": cuda_toolkit.find_toolkit(cache_dir()).version} if cuda_toolkit.wanted() else {})


def digest(*parts: bytes | str) -> str:
    """A short SHA-256 over `parts`, each preceded by its length."""
    sha = hashlib.sha256()
    for part in parts:
        part = part.encode() if isinstance(part, str) else part
        sha.update(b"%d:" % len(part) + part)
    return sha.hexdigest()[:16]


def files_below(folder: Path) -> list[Path]:
    """The regular files below `folder` in a fixed order, without version control and build products."""
    skip = {".git", "build", "__pycache__"}
    return sorted(p for p in folder.rglob("*") if p.is_file() and not skip.intersection(p.relative_to(folder).parts))


def digest_of_files(folder: Path) -> str:
    return digest(*(part for p in files_below(folder) for part in (str(p.relative_to(folder)), p.read_bytes())))


def source_pin() -> tuple[str, str]:
    """`(requirement, sha256)` of the pinned source distribution."""
    line = next(line for line in (DOCKER / "caffe-source.txt").read_text().splitlines() if not line.startswith("#"))
    requirement, sha256 = line.split(" --hash=sha256:")
    return requirement, sha256.strip()


def inputs_digest() -> str:
    """The key of a build: equal inputs give the same Caffe."""
    other = os.environ.get("CAFFE_SOURCE")
    if other and not (Path(other) / "CMakeLists.txt").is_file():
        raise BuildError(f"CAFFE_SOURCE={other} is not a checkout of Caffe: it has no CMakeLists.txt")
    return digest(
        json.dumps(toolchain()),
        digest_of_files(Path(other)) if other else "".join(source_pin()),
        digest_of_files(DOCKER / "patches"),
        digest_of_files(DOCKER / "additions"),
        digest_of_files(NATIVE_LAYERS),
        digest_of_files(ENGINE),
        generated_code.proto(),
        generated_code.header(),
        Path(__file__).read_bytes(),
    )


def fetch_source(cache: Path) -> Path:
    """The path of the pinned archive. pip downloads it unless it is in the cache; its SHA-256 is always checked."""
    requirement, sha256 = source_pin()
    archive = cache / "downloads" / (requirement.replace("==", "-") + ".tar.gz")
    if not archive.exists():
        print(f"Downloading {requirement}", flush=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            command = [sys.executable, "-m", "pip", "-q", "download", "--no-deps", "--no-binary=:all:",
                       "--no-build-isolation", "--require-hashes", "-d", folder,
                       "-r", str(DOCKER / "caffe-source.txt")]
            if subprocess.run(command, stdout=sys.stderr).returncode != 0:
                raise BuildError(f"pip could not download {requirement}, see above; without a package index, "
                                 "set CAFFE_SOURCE to a checkout of upstream Caffe")
            archive.parent.mkdir(exist_ok=True)
            os.replace(next(Path(folder).glob("*.tar.gz")), archive)
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != sha256:
        raise BuildError(f"{archive} has the SHA-256 {found}, not {sha256}: delete it and run this again")
    return archive


def assemble(cache: Path, tree: Path) -> None:
    """Assemble the source to compile in `tree`: upstream, an empty examples/ that it lacks, our patches, layers and tests."""
    if other := os.environ.get("CAFFE_SOURCE"):
        for path in files_below(Path(other)):
            target = tree / path.relative_to(other)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
    else:
        with tarfile.open(fetch_source(cache)) as archive:
            # The archive's SHA-256 was just checked, so it is trusted; Python 3.14 requires the filter to be named.
            archive.extractall(tree.parent, **({"filter": "tar"} if hasattr(tarfile, "tar_filter") else {}))
        next(tree.parent.glob("brocolli-caffe-*")).rename(tree)
    shutil.rmtree(tree / "python/caffe/proto", ignore_errors=True)  # an old caffe_pb2.py, which Python would import
    (tree / "examples").mkdir(exist_ok=True)
    (tree / "examples" / "CMakeLists.txt").write_text("")
    for patch in sorted((DOCKER / "patches").glob("*.patch")):
        done = subprocess.run(["patch", "-p1", "--batch", "--forward", "-d", str(tree), "-i", str(patch)],
                              capture_output=True, text=True)
        if done.returncode != 0:
            raise BuildError(f"{patch.relative_to(ROOT)} does not apply to this source:\n{done.stdout}")
    shutil.copytree(DOCKER / "additions", tree, dirs_exist_ok=True)
    write_weightings(tree)
    for folder, headers, sources in ((NATIVE_LAYERS, "include/caffe/layers", "src/caffe/native"),
                                     (ENGINE, "include/caffe/engine", "src/caffe/engine")):
        places = {".hpp": headers, ".cuh": headers, ".cpp": sources, ".cu": sources}
        for path in files_below(folder):
            if path.suffix in places:
                (tree / places[path.suffix]).mkdir(exist_ok=True)
                shutil.copy(path, tree / places[path.suffix])
    for path in CPP_TESTS.rglob("test_*.cpp"):
        shutil.copy(path, tree / "src/caffe/test")


def write_weightings(tree: Path) -> None:
    """Write the code that is generated from layers/table.py: the C++ code of its rows, and their fields in caffe.proto."""
    (tree / "include/caffe/layers/weighting_rows.hpp").write_text(generated_code.header())
    proto = tree / "src/caffe/proto/caffe.proto"
    if proto.exists():
        proto.write_text(proto.read_text().replace("  // layers/table.py\n", generated_code.proto()))


def bring_up_to_date(work: Path, new: Path) -> None:
    """Make the source tree `work` equal to `new`. Files that did not change keep their times, so that Ninja skips them."""
    wanted = {path.relative_to(new) for path in files_below(new)}
    for path in files_below(work):
        name = path.relative_to(work)
        if name not in wanted:
            path.unlink()
    for name in sorted(wanted):
        source, target = new / name, work / name
        if target.is_file() and target.read_bytes() == source.read_bytes():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.touch()


def run(command: list[str], work: Path) -> None:
    """Run one step of the build: its output goes to build.log in `work`, its progress to the terminal.

    Raises
    ------
    BuildError
        If the step fails, with the lines of the log that say why.
    """
    log = work / "build.log"
    said = []
    on_terminal = sys.stderr.isatty()
    told = time.monotonic()
    with (log.open("a") as file,
          tqdm(desc="Compiling", unit=" files", disable=not on_terminal, leave=False) as bar,
          subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace") as process):
        for line in process.stdout:
            file.write(line)
            said.append(line)
            step = re.match(r"\[(\d+)/(\d+)\]", line)  # Ninja's progress: [done/all]
            if step and on_terminal:
                bar.total = int(step[2])
                bar.update(int(step[1]) - bar.n)
            elif step and time.monotonic() > told + 30:
                told = time.monotonic()
                print(f"Compiling: file {step[1]} of {step[2]}", flush=True)
    if process.returncode != 0:
        errors = [line for line in said if re.search(r"error|FAILED", line, re.IGNORECASE)] or said
        raise BuildError(f"`{' '.join(command[:3])} ...` failed; its whole output is in {log}, with these errors:\n"
                         + "".join(errors[:30]).rstrip())


def no_boost_python() -> str:
    """The error if there is no Boost.Python for this interpreter: systems have it for one or two versions of Python only."""
    names = " ".join(map(str, Path("/usr").glob("l*/**/libboost_python3*.so")))
    versions = [f"3.{minor}" for minor in sorted(set(re.findall(r"libboost_python3(\d+)\.so", names)), key=int)]
    mine = f"{sys.base_prefix}/bin/python{sys.version_info[0]}.{sys.version_info[1]}"
    if not versions:
        return (f"there is no Boost.Python for {mine}: install libboost-python-dev (Debian, Ubuntu) or boost-python3-devel "
                "(Fedora)")
    return (f"Boost.Python is here for Python {' and '.join(versions)}, not for {mine}: choose another interpreter: "
            f"rm -rf .venv; PYTHON=python{versions[-1]} make setup")


def compile_caffe(cache: Path, prefix: Path, targets: list[str], other_options: dict[str, str] | None = None) -> Path:
    """Compile `targets` for installation into `prefix` and return the build folder.

    `other_options` override `cmake_options()`; a build with them has a separate work tree.
    """
    work = cache / f"work-{digest(json.dumps(toolchain()), *(other_options or {}).values())}"
    work.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        tree = Path(folder) / "caffe"
        assemble(cache, tree)
        bring_up_to_date(work / "src", tree)
    bring_up_to_date(work / "numpy", Path(numpy.get_include()))
    options = cmake_options() | (other_options or {}) | {
        "CMAKE_INSTALL_PREFIX": str(prefix), "PYTHON_EXECUTABLE": sys.executable,
        "CMAKE_PROJECT_INCLUDE": str(work / "src/cmake/faster_build.cmake")}
    build = work / "build"
    (work / "build.log").write_text("")
    configure = ["cmake", "-S", str(work / "src"), "-B", str(build), "-G", "Ninja", "-Wno-dev", "--log-level=WARNING"]
    run(configure + [f"-D{name}={value}" for name, value in options.items()], work)
    if " lib/_caffe.so:" not in (build / "build.ninja").read_text():
        raise BuildError(no_boost_python())
    run(["cmake", "--build", str(build), "--target", *targets], work)
    return build


def install(cache: Path, prefix: Path) -> None:
    """Build and install into `prefix`, which appears only when it is complete."""
    print(f"Building Caffe into {prefix} (2 to 3 minutes on two cores the first time)", flush=True)
    start = time.monotonic()
    build = compile_caffe(cache, prefix, ["all"])
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        staged = Path(folder) / prefix.name
        copy_products(build, staged)
        staged.rename(prefix)
    print(f"Built Caffe in {(time.monotonic() - start) / 60:.1f} minutes", flush=True)


def copy_products(build: Path, folder: Path) -> None:
    """Copy what was compiled in `build` to `folder`, and pycaffe's Python code with a description of the build."""
    subprocess.run(["cmake", "--install", str(build), "--prefix", str(folder)], check=True, stdout=subprocess.DEVNULL,
                   env=os.environ | {"CMAKE_INSTALL_MODE": "COPY"})
    # Upstream's pycaffe tests, and the folders that they look for two levels up.
    for name in ("python/caffe/test", "models", "examples"):
        shutil.copytree(build.parent / "src" / name, folder / name, dirs_exist_ok=True)
    about = toolchain() | {"source": os.environ.get("CAFFE_SOURCE", source_pin()[0]), "cuda": cuda_toolkit.wanted()}
    (folder / "python/caffe/build.json").write_text(json.dumps(about, indent=2) + "\n")


def put_on_path(prefix: Path) -> None:
    """Let this interpreter import caffe and our packages without environment variables, and link Caffe's tools beside it."""
    site = Path(sysconfig.get_path("purelib"))
    lines = f"{prefix / 'python'}\n{ROOT}\n"
    pth = site / "caffe.pth"
    if not pth.exists() or pth.read_text() != lines:
        pth.write_text(lines)
    for tool in (prefix / "bin").iterdir():
        link = Path(sys.prefix) / "bin" / tool.name
        if not link.is_symlink() or os.readlink(link) != str(tool):
            link.unlink(missing_ok=True)
            link.symlink_to(tool)
    # These scripts find their models relative to themselves, and their first lines name another interpreter.
    for name in SCRIPTS:
        launcher = Path(sys.prefix) / "bin" / name
        text = f'#!/bin/sh\nexec "$(dirname "$0")/python" {shlex.quote(str(prefix / "python" / name))} "$@"\n'
        if not launcher.exists() or launcher.read_text() != text:
            launcher.write_text(text)
            launcher.chmod(0o755)


def run_gtests(cache: Path, prefix: Path) -> int:
    """Compile and run all C++ tests; without a GPU, only those that need none. Returns the exit status."""
    with locked(cache):
        build = compile_caffe(cache, prefix, ["test.testbin"])
    tests = build / "test" / "test.testbin"
    gpu = cuda_toolkit.wanted() and Path("/dev/nvidia0").exists()
    if not gpu:
        print("Tests on a GPU are left out: there is none, or CAFFE_CUDA is not set", flush=True)
    return subprocess.run([str(tests), *([] if gpu else ["--gtest_filter=-*GPU*"])], cwd=build.parent / "src").returncode


@contextlib.contextmanager
def locked(cache: Path):
    """Lock the cache for one build. A second process waits, and then finds the result of the first one."""
    with open(cache / "build.lock", "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Waiting for another build of Caffe to end", flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gtests", action="store_true", help="also compile and run the C++ tests")
    arguments = parser.parse_args()
    if sys.prefix == sys.base_prefix:
        parser.error("run this with .venv/bin/python or that of another virtual environment, which gets the .pth file")
    try:
        cache = cache_dir()
        cache.mkdir(parents=True, exist_ok=True)
        prefix = cache / f"caffe-{inputs_digest()}"
        if not prefix.exists():
            with locked(cache):
                if not prefix.exists():
                    install(cache, prefix)
        put_on_path(prefix)
        if arguments.gtests:
            return run_gtests(cache, prefix)
    except (BuildError, cuda_toolkit.ToolkitError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted; run it again to go on.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
