"""The files that Caffe's data layers read: the source that a net names, and the files that this source lists."""

import os
import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import AnyStr

from google.protobuf.message import Message

from base import files
from base.errors import InputError
from solvers.nets.pycaffe import caffe

pb = caffe.proto.caffe_pb2

LMDB = "data.mdb"
PARAMETERS = {"Data": "data_param", "HDF5Data": "hdf5_data_param", "ImageData": "image_data_param",
              "WindowData": "window_data_param"}
MAX_LIST = 1 << 30  # bytes; ten million names
PATH_FIELDS = ("source", "mean_file", "meanfile", "root_folder")  # the names of Caffe's fields that hold paths


def locate(layer: pb.LayerParameter, folder: Path) -> None:
    """Make the layer's paths relative to the setting's `folder` absolute, where a file is there.

    Caffe itself looks only in the working directory; all other paths stay relative to it. The names inside a list of files
    stay relative to it too, except those of ImageData and WindowData without a root_folder: if the first listed file lies in
    `folder`, root_folder becomes `folder`.
    """
    for message, name in _fields(layer):
        path = getattr(message, name)
        if not os.path.isabs(path) and (folder / path).exists():
            setattr(message, name, os.path.join(folder, path))  # keeps the slash at the end of a root_folder
    if layer.type in ("ImageData", "WindowData"):
        parameter = getattr(layer, PARAMETERS[layer.type])
        first = next(listed(layer), "")
        if first and not parameter.root_folder and not os.path.isabs(first) and (folder / first).exists():
            parameter.root_folder = os.path.join(folder, "")


def paths(layer: pb.LayerParameter) -> Iterator[str]:
    """All paths in a layer and in the messages inside it."""
    return (getattr(message, name) for message, name in _fields(layer))


def _fields(message: Message) -> Iterator[tuple[Message, str]]:
    """The fields that hold a path, with their messages: of `message` and of the messages inside it."""
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for inner in value if isinstance(value, Iterable) else [value]:
                yield from _fields(inner)
        elif field.name in PATH_FIELDS and value:
            yield message, field.name


def source(layer: pb.LayerParameter) -> str:
    """The file or folder that a data layer reads; "" for other layers."""
    return getattr(layer, PARAMETERS[layer.type]).source if layer.type in PARAMETERS else ""


def listed(layer: pb.LayerParameter) -> Iterator[str]:
    """The files that the source of a data layer lists, or the data file of its LMDB; none for other layers."""
    match layer.type:
        case "Data":
            yield os.path.join(source(layer), LMDB)
        case "HDF5Data":
            yield from (name for line in lines(source(layer)) for name in line.split())
        case "ImageData":  # NAME LABEL
            root = layer.image_data_param.root_folder
            yield from (root + line.rpartition(" ")[0] for line in lines(source(layer)) if line.strip())
        case "WindowData":  # "# NUMBER NAME"
            root, words = layer.window_data_param.root_folder, " ".join(lines(source(layer))).split()
            yield from (root + name for mark, name in zip(words, words[2:], strict=False) if mark == "#")


def lines(file: str) -> list[str]:
    """The lines of a list of files, split where Caffe splits them.

    Raises
    ------
    InputError
        If the file is too large, or has control characters: Caffe and Python would end lines and names at different ones.
    """
    if not os.path.isfile(file):
        return []
    try:
        content = files.read(Path(os.path.realpath(file)), MAX_LIST)
    except PermissionError as error:
        raise InputError(f"cannot read {file}: {error.strerror}; give --allow-path {shlex.quote(file)} if you trust the "
                         "net") from error
    except OSError as error:
        raise InputError(f"cannot read {file}: {error}") from error
    content = content.replace(b"\r\n", b"\n")
    if found := re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", content):
        raise InputError(f"{file} has control characters: {_near(content, found)!r}")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8 text: {error}") from error
    if found := re.search(r"[\x80-\xa0\u1680\u2000-\u200f\u2028-\u202f\u205f\u3000\ufeff]", text):
        raise InputError(f"{file} has spaces that Caffe does not take for spaces: {_near(text, found)!r}")
    return text.split("\n")


def _near(content: AnyStr, found: re.Match[AnyStr]) -> AnyStr:
    """What is found, and what is around it."""
    return content[max(0, found.start() - 40):found.end() + 40]


def check(layer: pb.LayerParameter) -> None:
    """Check that the source of a layer, and the files that it lists, exist and are regular files: a pipe may never end.

    Raises
    ------
    InputError
        If not. The message names the layer and the file.
    """
    where, read = f"layer '{layer.name}' ({layer.type})", source(layer)
    if read and not os.path.exists(read):
        raise InputError(f"{where} reads {read}, which does not exist, neither in the setting's folder nor in the working "
                         f"directory ({Path.cwd()})")
    if layer.type in PARAMETERS and not read:
        raise InputError(f"{where} has no source")
    if odd := next((path for path in paths(layer) if os.path.exists(path) and not (
            os.path.isfile(path) or os.path.isdir(path))), None):
        raise InputError(f"{where} reads {odd}, which is neither a file nor a folder")
    for name in listed(layer):
        if not os.path.isfile(name):
            what = "is no file" if os.path.exists(name) else "does not exist"
            raise InputError(f"{where} reads {read}, which names {name}: that {what}, seen from the working directory "
                             f"({Path.cwd()}); an absolute path is found from everywhere")
