"""A setting: a folder with a solver file and the net that it names. Both are read and never changed."""

import dataclasses
from pathlib import Path

import numpy as np
from google.protobuf import text_format

from base import files, isolation
from base.did_you_mean import most_similar
from base.errors import InputError
from base.terminal import shown
from solvers.nets import data_layers, prototext
from solvers.nets.admission import check_types
from solvers.nets.phases import inputs_of
from solvers.nets.pycaffe import caffe

pb = caffe.proto.caffe_pb2

SETTINGS = Path(__file__).resolve().parents[2] / "prototxt"  # the settings of this repository
# The fields in which a solver may name its train net. It must use exactly one.
NET_FIELDS = ("net", "train_net", "net_param", "train_net_param")
MOST_TEST_NETS = 100


@dataclasses.dataclass
class Setting:
    """What a solver file describes.

    Attributes
    ----------
    name : str
        The folder's name, followed by the solver file's name unless that is solver.prototxt.
    folder : Path
    solver : caffe_pb2.SolverParameter
        Without its train net, which is in `net_param`. Its ``weights`` are paths of existing files; all its test nets are in
        ``test_net_param``.
    net_param : caffe_pb2.NetParameter
        The train net.
    net_file : Path
        The file that contains the net: the one that the solver names, or the solver file itself.
    shared_net : bool
        Whether the solver's test nets are built from it too (the solver has ``net`` and not ``train_net``).
    test_net_param : caffe_pb2.NetParameter or None
        The net of the folder's test.prototxt, from images to probabilities; None without that file, and if it reads more or
        other inputs: then it is a test net of Caffe's.
    """

    name: str
    folder: Path
    solver: pb.SolverParameter
    net_param: pb.NetParameter
    net_file: Path
    shared_net: bool
    test_net_param: pb.NetParameter | None


def load(path: Path) -> Setting:
    """Read a setting, given by its folder or by its solver file.

    Raises
    ------
    InputError
        If there is no such folder, solver or net, or one of them does not parse.
    """
    file = find_solver(path)
    folder = files.real(file).parent
    solver = prototext.read(file, pb.SolverParameter())
    named = [field for field in NET_FIELDS if solver.HasField(field)]
    if len(named) != 1:
        raise InputError(f"{file}: a solver names its train net once, e.g. net: \"train.prototxt\"; "
                         f"this one has {' and '.join(named) or 'none'}")
    [field] = named
    if field.endswith("_param"):
        net_file = files.real(file)
        net_param = upgraded(getattr(solver, field), file)
    else:
        net_file = Path(find_file(getattr(solver, field), folder, file))
        net_param = read_net(net_file)
    solver.ClearField(field)
    put_test_nets_in(solver, file)
    for own in (net_param, *solver.test_net_param):
        for layer in own.layer:
            data_layers.locate(layer, folder)
    solver.weights[:] = [",".join(find_file(name.strip(), folder, file) for name in names.split(","))
                         for names in solver.weights]
    name = folder.name if file.name == "solver.prototxt" else f"{folder.name}_{file.stem}"
    if shown(folder) != str(folder) or "\n" in str(folder) or shown(name) != name:
        raise InputError(f"{str(folder)!r} has characters that are not UTF-8 or control the terminal: rename it")
    test_file = folder / "test.prototxt"
    test_net_param = read_net(test_file) if test_file.is_file() else None
    return Setting(name, folder, solver, net_param, net_file, not field.startswith("train"),
                   test_net_param if test_net_param and inputs_of(test_net_param) == ["data"] else None)


def describe_net(setting: Setting) -> str:
    """A line that names the file of the setting's net, relative to the working directory if it lies below that."""
    file, beside = setting.net_file, setting.folder / "train.prototxt"
    near = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
    unused = f"; the solver names this one, not the {beside.name} beside it" if file.parent != setting.folder else ""
    return f"net: {near}{unused if beside.is_file() else ''}"


def find_solver(path: Path) -> Path:
    """The solver file: `path` itself, or solver.prototxt or the only solver in the folder `path`."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise InputError(f"there is no folder {path}{_nearest_folder(path)}")
    if (path / "solver.prototxt").is_file():
        return path / "solver.prototxt"
    found = sorted(path.glob("*solver*.prototxt"))
    if len(found) != 1:
        names = ", ".join(p.name for p in found)
        raise InputError(f"{path} has several solvers ({names}): name one of these files" if found else
                         f"{path} has no solver.prototxt")
    return found[0]


def _nearest_folder(path: Path) -> str:
    """A suggestion for a missing folder: the most similar name beside `path` or among our settings; "" if there is none."""
    folder = SETTINGS.relative_to(Path.cwd()) if SETTINGS.is_relative_to(Path.cwd()) else SETTINGS
    places = {p.name: folder / p.name for p in SETTINGS.glob("res*")}
    if path.parent.is_dir():
        places |= {p.name: p.name for p in path.parent.iterdir()}
    near = most_similar(path.name, places)
    return "" if near is None else f'; did you mean "{places[near]}"?'


def find_file(name: str, folder: Path, named_in: Path) -> str:
    """The path of a file that a solver names: in the solver's folder, else in the working directory, where Caffe looks.

    The solver's folder comes first because the working directory may contain an unrelated file of the same name.
    """
    for place in (folder / name, Path(name)):
        if place.is_file():
            return str(files.real(place.parent) / place.name)
    above = next((f"; it is there as seen from {place}: start the command there" for place in folder.parents
                  if (place / name).is_file()), "")
    raise InputError(f"{named_in} names {name}, which is neither in the solver's own folder ({folder}) nor in the "
                     f"working directory ({Path.cwd()}){above}")


def read_net(file: Path) -> pb.NetParameter:
    """Read a net.

    A net for another version of Caffe may have layer types, and fields for them, that ours does not know. The error then
    names the unknown layer type, although the parser finds the unknown field first.

    Raises
    ------
    InputError
        If the file cannot be read or parsed, or has an unknown layer type.
    """
    try:
        return upgraded(prototext.read(file, pb.NetParameter()), file)
    except InputError:
        try:
            param = text_format.Parse(prototext.read_text(file), pb.NetParameter(), allow_unknown_field=True)
        except (ValueError, RecursionError, text_format.ParseError):
            param = pb.NetParameter()
        check_types(layer for layer in param.layer if layer.type)
        raise


def upgraded(param: pb.NetParameter, file: Path) -> pb.NetParameter:
    """A net in Caffe's format before 2014 (with `layers`), converted to today's by Caffe's own code; other nets unchanged."""
    if not param.layers:
        return param
    try:
        [new] = isolation.arrays(lambda: {"net": np.frombuffer(caffe._caffe.upgrade_net(param.SerializeToString()), np.uint8)}
                                 ).values()
        return pb.NetParameter.FromString(new.tobytes())
    except InputError as error:
        raise InputError(f"{file} has `layers` of an old Caffe, which cannot be upgraded: write them as `layer`") from error


def put_test_nets_in(solver: pb.SolverParameter, file: Path) -> None:
    """Read the test nets that a solver file names and append them to those in its test_net_param, as Caffe orders them."""
    if (number := len(solver.test_net) + len(solver.test_net_param)) > MOST_TEST_NETS:
        raise InputError(f"{file} has {number} test nets; at most {MOST_TEST_NETS} are taken")
    net_params = [upgraded(param, file) for param in solver.test_net_param]
    found = [Path(find_file(name, files.real(file).parent, file)) for name in solver.test_net]
    if sum(net.stat().st_size for net in found if net.is_file()) > prototext.MAX_BYTES:
        raise InputError(f"the test nets of {file} have more than {prototext.MAX_BYTES:,} bytes together")
    net_params += map(read_net, found)
    for field in "test_net", "test_net_param":
        solver.ClearField(field)
    solver.test_net_param.extend(net_params)
