"""All that a run is made from: written into its folder, and compared with it when the run is resumed."""

import dataclasses
import difflib
import hashlib
import platform
import sys
from importlib.metadata import version

from base import machine
from base.errors import InputError
from base.terminal import one_line, say
from base.writing import write_atomically
from solvers.nets import prototext, solver_param, weights
from solvers.nets.pycaffe import caffe
from solvers.nets.setting import Setting, put_test_nets_in
from solvers.runs import config
from solvers.runs.folder import RunFolder

pb = caffe.proto.caffe_pb2


@dataclasses.dataclass
class Run:
    """A run: its folder, setting, solver and configuration.

    Attributes
    ----------
    folder : RunFolder
    setting : Setting
        The setting, with the options of the command line applied.
    solver : caffe_pb2.SolverParameter
        From `solver_param.resolved`.
    config : dict
        The content of config.json, except the fingerprints of net and solver, the versions of packages and the machine.
    """

    folder: RunFolder
    setting: Setting
    solver: pb.SolverParameter
    config: dict

    def check_resumable(self) -> None:
        """As `check_same`, with a warning on stderr if the threads or the engine differ: they change how sums are rounded."""
        self.check_same()
        before = config.read(self.folder.path)
        for name, what, advice in (("threads", "{} thread(s)", "--threads {} avoids this"),
                                   ("engine", "CAFFE_ENGINE: {}", "the same environment as before avoids this")):
            then, now = before.get(name), self.config[name]
            if then not in (None, now) and self.solver.solver_mode == pb.SolverParameter.CPU:
                say(one_line(f"warning: {self.folder} has computed with {what.format(then)}, now with {what.format(now)}: "
                             "sums are rounded differently, so the result will not equal that of a run without this change "
                             f"bit by bit; {advice.format(then)}"), file=sys.stderr)

    def check_same(self) -> None:
        """Raise InputError, naming the difference, if the folder's run was made from other data, net, solver or options.

        Data whose fingerprint is not known here count as the same.
        """
        try:
            before = config.read(self.folder.path)
        except InputError as error:
            raise InputError(f"cannot resume {self.folder}: {error}") from error
        for name in config.SAME_ON_RESUME:
            now = self.config[name]
            if name in ("data_sha256", "noise", "noise_type") and now is None:  # own data; older files say noise 0.0
                continue
            then = before.get(name, {"gpus": 1, "snapshot": now}.get(name))  # older config.json files lack these
            if then != now:
                advice = f": give --snapshot {then}" if name == "snapshot" else ""
                raise InputError(f"cannot resume {self.folder}: its {name} is {then}, now {now}{advice}")
        then = prototext.read(self.folder.train_file, pb.NetParameter())
        self._same("train.prototxt", then, self.setting.net_param)
        then = prototext.read(self.folder.solver, pb.SolverParameter())
        put_test_nets_in(then, self.folder.solver)  # older solver files name their test nets by path
        self._same("solver.prototxt", solver_param.lasting(then), solver_param.lasting(self.solver))

    def _same(self, name: str, then: pb.NetParameter, now: pb.NetParameter) -> None:
        lines = difflib.unified_diff(*(prototext.text(m).splitlines() for m in (then, now)), n=0, lineterm="")
        changed = [line for line in list(lines)[2:] if not line.startswith("@@")]
        if changed:
            shown = ", ".join(f"'{line[0]} {line[1:].strip()}'" for line in changed[:4])
            more = f" and {len(changed) - 4} more lines" if len(changed) > 4 else ""
            raise InputError(f"cannot resume {self.folder}: its {name} differs (- then, + now): {shown}{more}")

    def write(self) -> None:
        """Write config.json and the prototxt files into the folder."""
        solver = self.for_caffe()
        for field in "net_param", "train_net_param":
            if solver.HasField(field):
                solver.ClearField(field)
                setattr(solver, field.removesuffix("_param"), str(self.folder.train_file))
        solver.weights[:] = self.solver.weights
        net, solver = prototext.text(self.setting.net_param), prototext.text(solver)
        about = self.config | {
            "net_sha256": _sha256(net),
            "solver_sha256": _sha256(prototext.text(solver_param.lasting(self.solver))),
            "versions": {"python": platform.python_version(), "caffe": caffe.__version__}
            | {name: version(name) for name in ("numpy", "protobuf")},
            "machine": machine.describe(),
        }
        write_atomically(self.folder.train_file, net)
        write_atomically(self.folder.solver, solver)
        if self.setting.test_net_param is not None:
            write_atomically(self.folder.test_file, prototext.text(self.setting.test_net_param))
        config.write(self.folder.path, about)

    def for_caffe(self) -> pb.SolverParameter:
        """See `solver_param.for_caffe`."""
        return solver_param.for_caffe(self.setting, self.solver, self.folder.checkpoints.snapshot_prefix())

    def make_solver(self) -> caffe.SGDSolver:
        """Let Caffe build the solver, and load the ``weights`` that its file names; see `weights` for errors."""
        solver = weights.make_solver(self.for_caffe())
        for names in self.solver.weights:
            weights.begin_with(solver.net, names)
        return solver


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
