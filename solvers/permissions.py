"""What a net may do beside computing: run Python code, and read files. Nets come from strangers, so it is little."""

import argparse
import os
import shlex
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

import h5py

from data_toolkit import hdf5, isolation
from data_toolkit.errors import DataError
from solvers import data_layers
from solvers.engine import caffe
from solvers.errors import SolverError

pb = caffe.proto.caffe_pb2

OURS = "layers"
MANY = 4  # files of one folder that are asked for one by one


@dataclass(frozen=True)
class Permissions:
    """What the layers of a net may use.

    Attributes
    ----------
    modules : tuple of str
        Python modules, besides our own layers, from which layers may come.
    folders : tuple of Path
        Files and folders below which layers may read.
    """

    modules: tuple[str, ...] = ()
    folders: tuple[Path, ...] = ()

    @staticmethod
    def add_options(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--allow-module", action="append", default=[], metavar="NAME",
                            help="a Python module whose layers may run; only our own may otherwise")
        parser.add_argument("--allow-path", action="append", default=[], type=Path, metavar="PATH",
                            help="what data layers may read besides the folders of setting, runs and data")

    @classmethod
    def from_options(cls, args: argparse.Namespace, *folders: Path) -> Self:
        """The modules and paths of the options, and `folders`."""
        return cls(tuple(args.allow_module), tuple(path.resolve() for path in (*folders, *args.allow_path)))

    def check(self, *nets: pb.NetParameter, weights: Iterable[str] = ()) -> None:
        """Check all layers of nets, of any phase, and the weights that a solver begins with.

        Raises
        ------
        SolverError
            For a layer that would run other code, write a file, or read one elsewhere; it names the options that allow it,
            those of all files at once.
        """
        _real_folder.cache_clear()  # links may have changed
        refused: dict[str, list[str]] = {}  # paths, by who would read them
        for layer in (layer for net in nets for layer in net.layer):
            where = f"layer '{layer.name}' ({layer.type})"
            module = layer.python_param.module
            if layer.type == "Python" and module not in (OURS, *self.modules):
                raise SolverError(f"{where} would run code of the module {module!r}: give --allow-module {module} if you "
                                  "trust the net")
            if layer.type == "HDF5Output":
                raise SolverError(f"{where} would write {layer.hdf5_output_param.file_name!r}: remove it; a run writes only "
                                  "into its own folder")
            for path in (*data_layers.paths(layer), *data_layers.listed(layer)):
                if not self._allows(path):
                    refused.setdefault(where, []).append(path)
            if layer.type == "HDF5Data" and where not in refused:
                for path in data_layers.listed(layer):
                    _check_hdf5(path, layer.top, where)
        for path in (path for names in weights for path in names.split(",")):
            if not self._allows(path):
                refused.setdefault("the solver", []).append(path)
        if refused:
            raise SolverError(_refusal({who: _few(paths) for who, paths in refused.items()}))

    def folders_read(self, nets: Iterable[pb.NetParameter]) -> list[Path]:
        """Those of `folders` that layers of these nets read in."""
        paths = [_real_path(path) for net in nets for layer in net.layer
                 for path in (*data_layers.paths(layer), *data_layers.listed(layer))]
        return [folder for folder in self.folders if any(path.is_relative_to(folder) for path in paths)]

    def _allows(self, path: str) -> bool:
        real = _real_path(path)
        return any(real.is_relative_to(folder) for folder in self.folders)


NOTHING = Permissions()


def _refusal(refused: dict[str, list[str]]) -> str:
    """What is said of paths, by who would read them."""
    who = ", ".join(f"{reader} would read {' and '.join(paths)}" for reader, paths in refused.items())
    paths = list(dict.fromkeys(path for paths in refused.values() for path in paths))
    options = " ".join(f"--allow-path {shlex.quote(path)}" for path in paths)
    return (f"{who}, which {'is' if len(paths) == 1 else 'are'} in none of the folders of setting, runs and data: give "
            f"{options} if you trust the net")


def _few(paths: list[str]) -> list[str]:
    """Paths without those inside others of them (of a database); many of one folder are replaced by the folder."""
    folders, named = Counter(map(os.path.dirname, paths)), set(paths)
    outer = [(path, os.path.dirname(path)) for path in paths if os.path.dirname(path) not in named]
    return list(dict.fromkeys(folder if folder and folders[folder] > MANY else path for path, folder in outer))


def _real_path(path: str) -> Path:
    """Where a path leads, links followed; those of a million images in few folders in reasonable time."""
    folder, name = os.path.split(os.path.join(os.getcwd(), path))
    inside = _real_folder(folder) / name
    return inside.resolve() if name in ("", "..") or inside.is_symlink() else inside


@lru_cache(maxsize=None)
def _real_folder(path: str) -> Path:
    return Path(path).resolve()


def _check_hdf5(path: str, tops: Iterable[str], where: str) -> None:
    """An HDF5 file may say that its content lies in other files."""
    def look() -> dict:
        with h5py.File(path) as file:
            for top in tops:
                hdf5.array(file, top)
        return {}

    try:
        isolation.arrays(look)
    except DataError as error:
        raise SolverError(f"{where} reads {path}: {error}") from error
