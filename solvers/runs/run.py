"""The folder of a run: where it lies, what it was made from, and whether it may be resumed.

    runs/<setting>/noise_<rate>/seed_<seed>/       (noise_<type>_<rate> if not symmetric; data_<file> for --train-data)
        config.json  train.prototxt  solver.prototxt  test.prototxt    what it trains, as Caffe reads it
        log.csv  dynamics.csv  test.csv  tensorboard/  checkpoints1/   train.py
        accuracy.txt  accuracy_curve.png                               evaluate.py
"""

import dataclasses
import difflib
import fcntl
import hashlib
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote

from base import files
from base.files import write_atomically
from base.terminal import one_line, say
from layers.table import OWN
from solvers.errors import SolverError
from solvers.nets import prototext, weights
from solvers.nets.pycaffe import caffe
from solvers.nets.setting import Setting, put_test_nets_in
from solvers.runs import config
from solvers.runs.checkpoints import FOLDER, Checkpoints

pb = caffe.proto.caffe_pb2

# What must be the same for a run to go on; net and solver are compared by content.
SAME = ("setting", "noise", "noise_type", "seed", "gpus", "snapshot", "data_sha256")


def folder_of(runs: Path, setting: str, changed: dict, labels: str, seed: int) -> Path:
    """The folder of a run; what `changed` in the setting becomes part of the setting's name: res44_usw_beta_8.

    A formula's characters that no file name should have are written as in addresses: %2F for /.
    """
    changes = "".join(f"_{name}_{value:g}" if isinstance(value, float) else f"_{name}_{value}" if name not in OWN else
                      f"_{name}_{_file_name(value)}" for name, value in changed.items())
    return runs / (setting + changes) / labels / f"seed_{seed}"


def _file_name(formula: str) -> str:
    """A formula without its spaces as a part of a file's name; of a long one the beginning and a checksum."""
    name = quote(formula.replace(" ", ""), safe="()*+,")
    return name if len(name) <= 120 else f"{name[:100]}_{_sha256(name)[:16]}"


def make(folder: Path) -> list[Path]:
    """Make a run's folder; return it and the folders above it, as far as they are new. SolverError if it cannot be written."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SolverError(f"cannot make the run folder {folder}: {error.strerror}") from error
    if not os.access(folder / FOLDER, os.W_OK):
        raise SolverError(f"cannot write the run folder {folder}")
    return new


@contextmanager
def removed_if_refused(new: list[Path]) -> Iterator[None]:
    """Where the block fails, remove the run's folder again, and those above it that are empty; only those in `new`."""
    try:
        yield
    except BaseException:
        if new:
            shutil.rmtree(new[0], ignore_errors=True)
        for parent in new[1:]:
            try:
                parent.rmdir()
            except OSError:  # another run came into it
                break
        raise


@contextmanager
def lock(folder: Path, wait: bool = False) -> Iterator[None]:
    """Keep other processes from training in a run's folder. The dead hold no lock.

    Where another process has it, wait for that one's end, or raise SolverError.
    """
    file = files.open_in(folder, ".lock", os.O_RDWR | os.O_CREAT)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = os.read(file, 100).decode(errors="replace").strip()
            if not wait:
                raise SolverError(
                    f"{folder}: another process ({other}) trains there: wait for its end, or stop it") from None
            say(f"{folder}: waiting for the end of another process ({other}) that trains there")
            fcntl.flock(file, fcntl.LOCK_EX)
        files.remove_unfinished(folder)  # a killed process was writing it
        os.ftruncate(file, 0)
        os.write(file, f"{os.getpid()} on {platform.node()}".encode())
        yield
    finally:
        os.close(file)


@dataclasses.dataclass
class Run:
    """A run: its folder and all that it is made from.

    Attributes
    ----------
    folder : Path
    setting : Setting
        With its overrides.
    solver : caffe_pb2.SolverParameter
        From `resolve_solver`.
    config : dict
        What config.json is to hold, but for fingerprints and versions of code.
    """

    folder: Path
    setting: Setting
    solver: pb.SolverParameter
    config: dict

    @property
    def solver_file(self) -> Path:
        return self.folder / "solver.prototxt"

    def check_resumable(self) -> None:
        """Raise SolverError, with the difference, if the run in the folder was made from something else.

        Another number of threads only rounds differently: that is a warning on stderr.
        """
        try:
            before = config.read(self.folder)
        except SolverError as error:
            raise SolverError(f"cannot resume {self.folder}: {error}") from error
        for name in SAME:
            now = self.config[name]
            then = before.get(name, {"gpus": 1, "snapshot": now}.get(name))  # runs of before did not say these
            if then != now:
                advice = f": give --snapshot {then}" if name == "snapshot" else ""
                raise SolverError(f"cannot resume {self.folder}: its {name} is {then}, now {now}{advice}")
        then = prototext.read(self.folder / "train.prototxt", pb.NetParameter())
        self._same("train.prototxt", then, self.setting.net)
        then = prototext.read(self.solver_file, pb.SolverParameter())
        put_test_nets_in(then, self.solver_file)  # runs of before named them
        self._same("solver.prototxt", _lasting(then), _lasting(self.solver))
        then, now = before.get("threads"), self.config["threads"]
        if then not in (None, now) and self.solver.solver_mode == pb.SolverParameter.CPU:
            say(one_line(f"warning: {self.folder} has computed with {then} thread(s), now with {now}: sums are rounded "
                         "differently, so it will not end with the bits of a run without this change; "
                         f"--threads {then} keeps them"), file=sys.stderr)

    def _same(self, name: str, then: pb.NetParameter, now: pb.NetParameter) -> None:
        lines = difflib.unified_diff(*(prototext.text(m).splitlines() for m in (then, now)), n=0, lineterm="")
        changed = [line for line in list(lines)[2:] if not line.startswith("@@")]
        if changed:
            shown = ", ".join(f"'{line[0]} {line[1:].strip()}'" for line in changed[:4])
            more = f" and {len(changed) - 4} more lines" if len(changed) > 4 else ""
            raise SolverError(f"cannot resume {self.folder}: its {name} differs (- then, + now): {shown}{more}")

    def write(self) -> None:
        """Write into the folder what the run is made from."""
        solver = self.for_caffe()
        for field in "net_param", "train_net_param":
            if solver.HasField(field):
                solver.ClearField(field)
                setattr(solver, field.removesuffix("_param"), str(self.folder / "train.prototxt"))
        solver.weights[:] = self.solver.weights
        net, solver = prototext.text(self.setting.net), prototext.text(solver)
        about = self.config | {
            "net_sha256": _sha256(net),
            "solver_sha256": _sha256(prototext.text(_lasting(self.solver))),
            "versions": {"python": platform.python_version(), "caffe": caffe.__version__}
            | {name: version(name) for name in ("numpy", "protobuf")},
        }
        write_atomically(self.folder / "train.prototxt", net)
        write_atomically(self.solver_file, solver)
        if self.setting.test_net is not None:
            write_atomically(self.folder / "test.prototxt", prototext.text(self.setting.test_net))
        write_atomically(self.folder / config.FILE, json.dumps(about, indent=2) + "\n")


    def for_caffe(self) -> pb.SolverParameter:
        """The solver with its net in it; the driver tests, loads weights and names checkpoints, not Caffe."""
        return for_caffe(self.setting, self.solver, Checkpoints(self.folder).snapshot_prefix())

    def make_solver(self) -> caffe.SGDSolver:
        """The solver as Caffe makes it, with the weights that its file names; see `weights` for errors."""
        solver = weights.make_solver(self.for_caffe())
        for names in self.solver.weights:
            weights.begin_with(solver.net, names)
        return solver


def for_caffe(setting: Setting, solver: pb.SolverParameter, snapshot_prefix: str = "") -> pb.SolverParameter:
    """See `Run.for_caffe`."""
    whole = pb.SolverParameter()
    whole.CopyFrom(solver)
    getattr(whole, "net_param" if setting.shared_net else "train_net_param").CopyFrom(setting.net)
    if whole.test_interval:  # see testing.py
        whole.test_interval, whole.test_initialization = 2**31 - 1, False
    whole.ClearField("weights")
    whole.snapshot_prefix = snapshot_prefix
    return whole


def resolve_solver(given: pb.SolverParameter, seed: int | None, max_iter: int | None,
                   gpus: list[int]) -> pb.SolverParameter:
    """A solver as the driver runs it: seed, last step and device filled in, snapshots left to the driver.

    The seed is here because Caffe takes the file's over the driver's; max_iter because lr_policy poly divides by it.
    """
    solver = pb.SolverParameter()
    solver.CopyFrom(given)
    for field in ("snapshot", "snapshot_format", "snapshot_prefix", "device_id"):
        solver.ClearField(field)
    if seed is not None or given.random_seed < 0:
        solver.random_seed = 123 if seed is None else seed
    solver.max_iter = max_iter or given.max_iter or 30000
    solver.solver_mode = pb.SolverParameter.GPU if gpus else pb.SolverParameter.CPU
    if gpus:
        solver.device_id = gpus[0]
    return solver


def _lasting(solver: pb.SolverParameter) -> pb.SolverParameter:
    """The part of a solver that stays the same on resume: a run may be moved, prolonged, or go to another device."""
    lasting = pb.SolverParameter()
    lasting.CopyFrom(solver)
    fields = ["net", "train_net", "snapshot_prefix", "solver_mode", "device_id", "test_interval", "test_initialization"]
    for field in fields + ([] if solver.lr_policy == "poly" else ["max_iter"]):
        lasting.ClearField(field)
    return lasting


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
