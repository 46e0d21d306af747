"""Find the CUDA toolkit for a build: Python packages pinned in cuda13.lock, or a toolkit installed on the machine.

    CAFFE_CUDA=1                 CUDA 13, cuDNN 9 and NCCL 2 from Python packages, installed once into the cache (3 GB)
    CAFFE_CUDA=/usr/local/cuda   that toolkit, 12 or 13; with cuDNN and NCCL if they are in it or in /usr
    CAFFE_CUDA_ARCHS=86          only this GPU (others in ARCHITECTURES), which takes a fraction of the time
"""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

DOCKER = Path(__file__).resolve().parent
LOCK = DOCKER / "cuda13.lock"
# Turing, Ampere (two), Ada, Hopper. On newer GPUs, the driver compiles Hopper's PTX when it is loaded.
ARCHITECTURES = "75-real;80-real;86-real;89-real;90"


class ToolkitError(Exception):
    """Raised if there is no toolkit as CAFFE_CUDA asks for. The message says why and what to do."""


@dataclass(frozen=True)
class Toolkit:
    """A CUDA toolkit.

    Attributes
    ----------
    root : Path
        The folder that contains bin/nvcc.
    cudnn, nccl : Path or None
        The folders that contain their include/ and lib/; None to build without them.
    """

    root: Path
    cudnn: Path | None
    nccl: Path | None

    @property
    def version(self) -> str:
        said = subprocess.run([self.root / "bin/nvcc", "--version"], capture_output=True, text=True).stdout
        return said.strip().splitlines()[-1]

    def cmake_options(self) -> dict[str, str]:
        archs = os.environ.get("CAFFE_CUDA_ARCHS", ARCHITECTURES)
        if not re.fullmatch(r"\d+(-real|-virtual)?(;\d+(-real|-virtual)?)*", archs):
            raise ToolkitError(f"CAFFE_CUDA_ARCHS={archs} is not a list of compute capabilities such as 86 or 75;86")
        return {"CPU_ONLY": "OFF", "CMAKE_CUDA_COMPILER": str(self.root / "bin/nvcc"), "CUDAToolkit_ROOT": str(self.root),
                "CMAKE_CUDA_ARCHITECTURES": archs, "CMAKE_CUDA_FLAGS": "-w", "CMAKE_CUDA_RUNTIME_LIBRARY": "Shared",
                "CMAKE_INSTALL_RPATH_USE_LINK_PATH": "ON",
                "USE_CUDNN": "ON" if self.cudnn else "OFF", "USE_NCCL": "ON" if self.nccl else "OFF"} | (
                    {"CUDNN_ROOT": str(self.cudnn)} if self.cudnn else {}) | (
                    {"NCCL_INCLUDE_DIR": str(self.nccl / "include"), "NCCL_LIBRARIES": str(_library(self.nccl, "nccl"))}
                    if self.nccl else {})


def wanted() -> bool:
    """Whether this build is for GPUs."""
    return os.environ.get("CAFFE_CUDA", "0") not in ("", "0")


def find_toolkit(cache: Path) -> Toolkit:
    """The toolkit that CAFFE_CUDA asks for. CAFFE_CUDA=1 installs it if it is missing.

    Raises
    ------
    ToolkitError
        If it does not exist or cannot be installed.
    """
    asked = os.environ["CAFFE_CUDA"]
    if asked == "1":
        return _installed(cache)
    root = Path(asked)
    if not (root / "bin/nvcc").is_file():
        raise ToolkitError(f"CAFFE_CUDA={asked} has no bin/nvcc: name a CUDA toolkit of version 12 or 13, or give 1 to "
                           "have one installed")
    return Toolkit(root, _find_library(root, "cudnn"), _find_library(root, "nccl"))


def _find_library(root: Path, name: str) -> Path | None:
    found = next((place for place in (root, Path("/usr")) if (place / f"include/{name}.h").is_file()
                  and _library(place, name)), None)
    if found is None:
        print(f"CUDA: no {name} in {root} or /usr: building without it", flush=True)
    return found


def _library(root: Path, name: str) -> Path | None:
    folders = ("lib", "lib64", "lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu")
    return next((file for folder in folders if (file := root / folder / f"lib{name}.so").exists()), None)


def _installed(cache: Path) -> Toolkit:
    folder = cache / f"cuda-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]}"
    if not folder.exists():
        print(f"Installing CUDA, cuDNN and NCCL into {folder} (3 GB)", flush=True)
        with tempfile.TemporaryDirectory(dir=cache) as temporary:
            target = Path(temporary) / "packages"
            command = [str(DOCKER / "uv.sh"), "pip", "install", "-q", "--no-deps", "--require-hashes", "--target",
                       str(target), "-r", str(LOCK)]
            if subprocess.run(command).returncode != 0:
                raise ToolkitError("CUDA's packages could not be installed, see above; CAFFE_CUDA=/usr/local/cuda takes "
                                   "a toolkit that is already there")
            for library in target.glob("nvidia/*/lib/lib*.so.*"):  # the packages lack the links without version numbers
                plain = library.with_name(library.name.partition(".so.")[0] + ".so")
                plain.symlink_to(library.name)
            (target / "nvidia/cu13/lib64").symlink_to("lib")
            for tool in target.glob("nvidia/cu13/bin/*"):
                tool.is_file() and tool.chmod(0o755)
            (target / "nvidia/cu13/nvvm/bin/cicc").chmod(0o755)
            shutil.move(target / "nvidia", folder)
    return Toolkit(folder / "cu13", folder / "cudnn", folder / "nccl")
