"""What a net may do beside computing: run Python code, and read files. Nets come from strangers, so it is little."""

import argparse
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

import h5py
from google.protobuf.message import Message

from data_toolkit import hdf5, isolation
from data_toolkit.errors import DataError
from solvers import data_layers
from solvers.engine import caffe
from solvers.errors import SolverError

pb = caffe.proto.caffe_pb2

OURS = "layers"
READ = ("source", "mean_file", "meanfile", "root_folder")  # what Caffe's fields with paths are called


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

    def check(self, net: pb.NetParameter) -> None:
        """Check all layers of a net, of any phase.

        Raises
        ------
        SolverError
            For a layer that would run other code, write a file, or read one elsewhere; it names the option that allows it.
        """
        _real_folder.cache_clear()  # links may have changed
        for layer in net.layer:
            where = f"layer '{layer.name}' ({layer.type})"
            module = layer.python_param.module
            if layer.type == "Python" and module not in (OURS, *self.modules):
                raise SolverError(f"{where} would run code of the module {module!r}: give --allow-module {module} if you "
                                  "trust the net")
            if layer.type == "HDF5Output":
                raise SolverError(f"{where} would write {layer.hdf5_output_param.file_name!r}: remove it; a run writes only "
                                  "into its own folder")
            for path in _paths(layer):
                self._check_path(path, where)
            for path in data_layers.listed(layer):
                self._check_path(path, where)
                if layer.type == "HDF5Data":
                    _check_hdf5(path, layer.top, where)

    def check_weights(self, solver: pb.SolverParameter) -> None:
        """Raise SolverError if a solver begins with weights from elsewhere."""
        for names in solver.weights:
            for path in names.split(","):
                self._check_path(path, "the solver")

    def folders_read(self, nets: Iterable[pb.NetParameter]) -> list[Path]:
        """Those of `folders` that layers of these nets read in."""
        paths = [_real_path(path) for net in nets for layer in net.layer
                 for path in (*_paths(layer), *data_layers.listed(layer))]
        return [folder for folder in self.folders if any(path.is_relative_to(folder) for path in paths)]

    def _check_path(self, path: str, where: str) -> None:
        real = _real_path(path)
        if not any(real.is_relative_to(folder) for folder in self.folders):
            raise SolverError(f"{where} would read {path}, which is in none of the folders of setting, runs and data: give "
                              f"--allow-path {path} if you trust the net")


NOTHING = Permissions()


def _paths(message: Message) -> Iterator[str]:
    """All paths in a layer, however deep."""
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for inner in value if isinstance(value, Iterable) else [value]:
                yield from _paths(inner)
        elif field.name in READ and value:
            yield value


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
