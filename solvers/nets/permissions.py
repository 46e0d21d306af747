"""The files that nets may read and the modules that may run, and how the kernel is told to enforce both."""

import argparse
import os
import shlex
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

from base import confinement, delivery, files, isolation
from base.errors import InputError
from base.terminal import say
from solvers.nets import data_layers, rehearsal
from solvers.nets.pycaffe import caffe

pb = caffe.proto.caffe_pb2

MANY = 4  # more refused files than this in one folder: the error names the folder instead


@dataclass(frozen=True)
class Permissions:
    """What the layers of a net may use.

    Attributes
    ----------
    modules : tuple of str
        Python modules, besides our own layers, from which layers may come.
    folders : tuple of Path
        Files that layers may read, and folders in which they may read everything.
    unconfined : bool
        Whether the process runs without the kernel's confinement.
    """

    modules: tuple[str, ...] = ()
    folders: tuple[Path, ...] = ()
    unconfined: bool = False

    @staticmethod
    def add_options(parser: argparse.ArgumentParser) -> None:
        """Add --allow-module, --allow-path and --unconfined to a command."""
        parser.add_argument("--allow-module", action="append", default=[], metavar="NAME",
                            help="a Python module whose layers may run; only our own may otherwise")
        parser.add_argument("--allow-path", action="append", default=[], type=Path, metavar="PATH",
                            help="what data layers may read besides the folders of setting, runs and data")
        Permissions.add_unconfined(parser)

    @staticmethod
    def add_unconfined(parser: argparse.ArgumentParser) -> None:
        """Add --unconfined to a command."""
        parser.add_argument("--unconfined", action="store_true",
                            help="run without the kernel's confinement, with all your permissions: docs/security.md")

    @classmethod
    def from_options(cls, args: argparse.Namespace, *folders: Path) -> Self:
        """The modules and paths of the options, and `folders`."""
        modules, paths = vars(args).get("allow_module", ()), vars(args).get("allow_path", ())
        return cls(tuple(modules), tuple(files.real(path) for path in (*folders, *paths)), args.unconfined)

    def confine(self, read: Iterable[Path] = (), write: Iterable[Path] = (), emptied: Iterable[Path] = (), gpus: bool = False,
                processes: bool = False, network: bool = False, signals: bool = False, limited: bool = True) -> None:
        """Let the kernel restrict this process to `folders`, the installation and what the parameters allow.

        Where the kernel cannot enforce a part of this, a line on stderr says so.

        Parameters
        ----------
        read, write : iterable of Path
            Further files and folders that may be read; folders that may be written, which are made if they are missing.
        emptied : iterable of Path
            Folders in which empty folders may be removed.
        gpus : bool
            Whether GPUs are used: their device files may then be opened, and network connections between them are allowed.
        processes : bool
            Whether this process will start Python processes of ours. They inherit the confinement.
        network : bool
            Whether network connections may be opened.
        signals : bool
            Whether this process may still signal processes that it started before, to end them.
        limited : bool
            Whether it, and each that it starts, may take no more memory than is available: a file may unpack to any size.

        Raises
        ------
        InputError
            If a folder of `write` cannot be made.
        """
        if self.unconfined:
            return
        write = list(write)
        for folder in write:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(f"cannot make the folder {folder}: {error.strerror}") from error
        imported = [Path(path or ".") for path in sys.path] if self.modules else []
        missing = confinement.confine([*read, *self.folders, *imported, *confinement.installation()],
                                      [*write, *(confinement.gpu_devices() if gpus else ())], emptied,
                                      confinement.interpreter() if processes or gpus else (), network, gpus, signals)
        if limited and (memory := rehearsal.available_memory()) is not None:
            isolation.limit_memory(memory)
        if missing:
            say(f"note: not wholly confined: {missing} (docs/security.md)", file=sys.stderr)

    def deliver(self, *paths: Path | None, beside: str = "") -> list[Path]:
        """The folders for `confine` to let this process write the files `paths`, and no others; see base/delivery.py."""
        return [] if self.unconfined else delivery.start(filter(None, paths), beside)

    def check_paths(self, net_params: Iterable[pb.NetParameter], weights: Iterable[str] = ()) -> None:
        """Raise InputError if layers of any phase, or a solver's `weights`, would read outside the allowed folders.

        The kernel would refuse this too; the error names all files at once, with the options that allow them.
        """
        _real_folder.cache_clear()  # links may have changed
        refused: dict[str, list[str]] = {}  # the paths that each layer, or the solver, would read
        for layer in (layer for param in net_params for layer in param.layer):
            paths = [path for path in data_layers.paths(layer) if not self.allows(path)]
            if not paths:  # else the list itself may not be read
                paths = [path for path in data_layers.listed(layer) if not self.allows(path)]
            if paths:
                refused.setdefault(f"layer '{layer.name}' ({layer.type})", []).extend(paths)
        for path in (path for names in weights for path in names.split(",")):
            if not self.allows(path):
                refused.setdefault("the solver", []).append(path)
        if refused:
            raise InputError(_refusal({who: _few(paths) for who, paths in refused.items()}))

    def folders_read(self, net_params: Iterable[pb.NetParameter]) -> list[Path]:
        """The `folders` that layers of these nets read from."""
        paths = [_real_path(path) for param in net_params for layer in param.layer
                 for path in (*data_layers.paths(layer), *data_layers.listed(layer))]
        return [folder for folder in self.folders if any(path.is_relative_to(folder) for path in paths)]

    def allows(self, path: str | Path) -> bool:
        """Whether layers may read a file or folder."""
        real = _real_path(str(path))
        return any(real.is_relative_to(folder) for folder in self.folders)


NO_PERMISSIONS = Permissions()


def _refusal(refused: dict[str, list[str]]) -> str:
    """The error message about refused paths, given for each layer (or "the solver") that would read them."""
    who = ", ".join(f"{reader} would read {' and '.join(paths)}" for reader, paths in refused.items())
    paths = list(dict.fromkeys(path for paths in refused.values() for path in paths))
    options = " ".join(f"--allow-path {shlex.quote(path)}" for path in paths)
    return (f"{who}, which {'is' if len(paths) == 1 else 'are'} in none of the folders of setting, runs and data: give "
            f"{options} if you trust the net")


def _few(paths: list[str]) -> list[str]:
    """The paths, shortened: a folder in place of more than MANY of its files, and no file beside its listed folder."""
    folders, named = Counter(map(os.path.dirname, paths)), set(paths)
    outer = [(path, os.path.dirname(path)) for path in paths if os.path.dirname(path) not in named]
    return list(dict.fromkeys(folder if folder and folders[folder] > MANY else path for path, folder in outer))


def _real_path(path: str) -> Path:
    """The path with its links resolved. Each folder is resolved only once: a list may name a million images in it."""
    folder, name = os.path.split(os.path.join(os.getcwd(), path))
    inside = _real_folder(folder) / name
    return files.real(inside) if name in ("", "..") or inside.is_symlink() else inside


@lru_cache(maxsize=None)
def _real_folder(path: str) -> Path:
    return files.real(path)
