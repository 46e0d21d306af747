"""A setting: a folder with a solver and the net that it names, found and read without changing a byte of either."""

import dataclasses
import subprocess
import tempfile
from pathlib import Path

from google.protobuf import text_format

from layers.did_you_mean import did_you_mean
from solvers import data_layers, prototext
from solvers.engine import caffe
from solvers.errors import SolverError
from solvers.published import LAMBDAS
from solvers.validate import check_types

pb = caffe.proto.caffe_pb2

SETTINGS = Path(__file__).resolve().parents[1] / "prototxt"  # those that come with this code
# Where a solver may say its train net; exactly one of them.
NET_FIELDS = ("net", "train_net", "net_param", "train_net_param")


@dataclasses.dataclass
class Setting:
    """What a solver file describes.

    Attributes
    ----------
    name : str
        The folder's name; with the file's, where that is not solver.prototxt. In a tree of the released package the
        parent folder comes before it: there it tells lambda.
    folder : Path
    solver : caffe_pb2.SolverParameter
        Its files are those found; its train net is in `net` instead.
    net : caffe_pb2.NetParameter
    net_file : Path
        Where the net was read: the file that the solver names, or the solver's own.
    shared_net : bool
        Whether the solver's test nets are made from `net` too (Caffe's ``net`` as against ``train_net``).
    test_net : Path or None
        The folder's test.prototxt, from images to probabilities.
    """

    name: str
    folder: Path
    solver: pb.SolverParameter
    net: pb.NetParameter
    net_file: Path
    shared_net: bool
    test_net: Path | None


def load(path: Path) -> Setting:
    """Read the setting in a folder, or of a solver file.

    Raises
    ------
    SolverError
        If there is no such folder, solver or net, or one of them does not parse.
    """
    file = find_solver(path)
    folder = file.resolve().parent
    solver = prototext.read(file, pb.SolverParameter())
    named = [field for field in NET_FIELDS if solver.HasField(field)]
    if len(named) != 1:
        raise SolverError(f"{file}: a solver names its train net once, e.g. net: \"train.prototxt\"; "
                          f"this one has {' and '.join(named) or 'none'}")
    [field] = named
    if field.endswith("_param"):
        net_file = file.resolve()
        net = upgraded(getattr(solver, field), file)
    else:
        net_file = Path(find_file(getattr(solver, field), folder, file)).resolve()
        net = read_net(net_file)
    solver.ClearField(field)
    for own in (net, *solver.test_net_param):
        for layer in own.layer:
            data_layers.locate(layer, folder)
    solver.test_net[:] = [find_file(name, folder, file) for name in solver.test_net]
    solver.weights[:] = [",".join(find_file(name.strip(), folder, file) for name in names.split(","))
                         for names in solver.weights]
    name = folder.name if file.name == "solver.prototxt" else f"{folder.name}_{file.stem}"
    if folder.parent.name in LAMBDAS:
        name = f"{folder.parent.name}/{name}"
    test_net = folder / "test.prototxt"
    return Setting(name, folder, solver, net, net_file, not field.startswith("train"),
                   test_net if test_net.is_file() else None)


def describe_net(setting: Setting) -> str:
    """Which file the net of a setting comes from, seen from the working directory, where it lies below it."""
    file, beside = setting.net_file, setting.folder / "train.prototxt"
    shown = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
    unused = f"; the solver names this one, not the {beside.name} beside it" if file.parent != setting.folder else ""
    return f"net: {shown}{unused if beside.is_file() else ''}"


def find_solver(path: Path) -> Path:
    """The solver file that `path` is, or that lies in the folder `path`."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise SolverError(f"there is no folder {path}{_nearest_folder(path)}")
    if (path / "solver.prototxt").is_file():
        return path / "solver.prototxt"
    found = sorted(path.glob("*solver*.prototxt"))
    if len(found) != 1:
        names = ", ".join(p.name for p in found)
        raise SolverError(f"{path} has several solvers ({names}): name one of these files" if found else
                          f"{path} has no solver.prototxt")
    return found[0]


def _nearest_folder(path: Path) -> str:
    """Which folder beside `path`, or which of our settings, may have been meant; "" if none is near."""
    folder = SETTINGS.relative_to(Path.cwd()) if SETTINGS.is_relative_to(Path.cwd()) else SETTINGS
    ours = did_you_mean(path.name, [p.name for p in SETTINGS.glob("res*")]).replace('"', f'"{folder}/', 1)
    if (SETTINGS / path.name).is_dir():
        return ours
    beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    return did_you_mean(path.name, beside) or ours


def find_file(name: str, folder: Path, named_in: Path) -> str:
    """The path of a file that a solver names: in its own folder, else in the working directory, where Caffe looks.

    The own folder comes first: the working directory may hold a file of the same name that has nothing to do with it.
    """
    for place in (folder / name, Path(name)):
        if place.is_file():
            return str(place)
    above = next((f"; it is there as seen from {place}: start the command there" for place in folder.parents
                  if (place / name).is_file()), "")
    raise SolverError(f"{named_in} names {name}, which is neither in the solver's own folder ({folder}) nor in the "
                      f"working directory ({Path.cwd()}){above}")


def read_net(file: Path) -> pb.NetParameter:
    """Read a net. What another Caffe's layer types bring with them is reported as these types, not as their fields."""
    try:
        return upgraded(prototext.read(file, pb.NetParameter()), file)
    except SolverError:
        try:
            content = file.read_text(encoding="utf-8")
            prototext.check_size(file, content)
            net = text_format.Parse(content, pb.NetParameter(), allow_unknown_field=True)
        except (OSError, SolverError, ValueError, text_format.ParseError):
            net = pb.NetParameter()
        check_types(layer for layer in net.layer if layer.type)
        raise


def upgraded(net: pb.NetParameter, file: Path) -> pb.NetParameter:
    """A net with `layers` of Caffe's formats before 2014 in today's, by Caffe's own tool; others as they are."""
    if not net.layers:
        return net
    with tempfile.TemporaryDirectory() as folder:
        old, new = Path(folder) / "old.prototxt", Path(folder) / "new.prototxt"
        old.write_text(prototext.text(net))
        done = subprocess.run([Path(caffe.__file__).parents[2] / "bin/upgrade_net_proto_text", old, new], capture_output=True)
        if done.returncode < 0 or not new.is_file():
            raise SolverError(f"{file} has `layers` of an old Caffe, which cannot be upgraded: write them as `layer`")
        return prototext.read(new, pb.NetParameter())
