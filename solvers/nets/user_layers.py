"""A user's own Python layers: import them before Caffe does, and report their errors with file and line."""

import importlib
import shlex
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from base.did_you_mean import did_you_mean
from base.errors import InputError
from solvers.nets.pycaffe import caffe

pb = caffe.proto.caffe_pb2


def check(param: pb.NetParameter, folder: Path) -> None:
    """Import the modules of a net's Python layers, which must be allowed, so that errors are reported in one line.

    Parameters
    ----------
    param : caffe_pb2.NetParameter
    folder : Path
        The setting's folder. If a missing module lies there, the error suggests it for PYTHONPATH.

    Raises
    ------
    InputError
        If a module is not found, raises an error, or does not have the layer's class.
    """
    for layer in param.layer:
        if layer.type == "Python":
            where = f"layer '{layer.name}' (Python)"
            name, kind = layer.python_param.module, layer.python_param.layer
            module = _imported(name, folder, where)
            if not hasattr(module, kind):
                raise InputError(f"{where}: {module.__file__} has no {kind!r}{did_you_mean(kind, dir(module))}")


def _imported(name: str, folder: Path, where: str) -> object:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.partition(".")[0]:  # the module exists, but one that it imports does not
            raise InputError(f"{where}: {name} needs the module {error.name!r}, which is not installed: "
                             f"{_line(error)}") from error
        beside = folder if list(folder.glob(f"{error.name}.py")) or (folder / error.name).is_dir() else Path("FOLDER")
        raise InputError(f"{where}: Python finds no module {error.name!r}: write the folder that contains it "
                         f"before the command, PYTHONPATH={shlex.quote(str(beside))}") from error
    except Exception as error:
        raise InputError(f"{where}: the module {name} raises {_what(error)}: {_line(error)}") from error


@contextmanager
def blamed(param: pb.NetParameter | None = None) -> Iterator[None]:
    """While the context is open, an exception in a Python layer becomes an InputError with layer, method, file and line."""
    try:
        yield
    except Exception as error:
        calls = [frame for frame, _ in traceback.walk_tb(error.__traceback__)
                 if isinstance(frame.f_locals.get("self"), caffe.Layer)]
        if not calls:
            raise
        layer = calls[0].f_locals["self"]
        this = type(layer).__module__, type(layer).__name__, getattr(layer, "param_str", "")
        layers = [(other.name, other.python_param) for other in (param.layer if param else ())]
        names = [f"'{name}'" for name, python in layers if (python.module, python.layer, python.param_str) == this]
        raise InputError(f"layer {' or '.join(names)}{' ' * bool(names)}(Python, {'.'.join(this[:2])}): its "
                         f"{calls[0].f_code.co_name} raises {_what(error)}: {_line(error)}") from error


def _what(error: Exception) -> str:
    said = error.msg if isinstance(error, SyntaxError) else str(error)
    return type(error).__name__ + (f" ({said})" if said else "")


def _line(error: Exception) -> str:
    """Where the user's code raised an error: the innermost line that is neither Python's nor of an installed package."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    places = traceback.extract_tb(error.__traceback__)
    installed = tuple(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))
    own = [place for place in places if not place.filename.startswith((*installed, "<frozen"))]
    place = (own or places)[-1]
    return f"{place.filename}:{place.lineno}: {place.line}"
