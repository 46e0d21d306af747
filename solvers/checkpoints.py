"""Checkpoints: Caffe's own two files an iteration with a manifest, complete or absent, wherever the run folder is moved.

    checkpoints1/checkpoints_iter_1000.caffemodel     weights and BatchNorm statistics; all those on schedule are kept
    checkpoints1/checkpoints_iter_1000.solverstate    momentum and iteration; the newest two are kept
    checkpoints1/checkpoints_iter_1000.json           sizes and SHA-256 of both, and of what the run is made from

There is no more state: the batch of a step, and what layers draw in it, follow from seed and step alone.
"""

import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError

from data_toolkit.files import publish, write_atomically
from solvers import config
from solvers.engine import caffe, count_weights
from solvers.errors import SolverError

pb = caffe.proto.caffe_pb2

FOLDER = "checkpoints1"
STATES_KEPT = 2
SUFFIXES = (".solverstate", ".caffemodel")
_UNFINISHED = ".new"


class Checkpoints:
    """The checkpoints of one run.

    Parameters
    ----------
    run : Path
        The run folder.
    interval : int
        Iterations between two checkpoints on schedule. Others (made when a run is stopped, or at its end) give way to
        the next checkpoint, so that a resumed run leaves the files of one that was never stopped.
    """

    def __init__(self, run: Path, interval: int = 1000):
        self.folder = run / FOLDER
        self.interval = interval

    def model(self, iteration: int) -> Path:
        return self.folder / f"checkpoints_iter_{iteration}.caffemodel"

    def state(self, iteration: int) -> Path:
        return self.folder / f"checkpoints_iter_{iteration}.solverstate"

    def manifest(self, iteration: int) -> Path:
        return self.folder / f"checkpoints_iter_{iteration}.json"

    def models(self) -> list[int]:
        """The iterations whose weights are here, ascending."""
        return self._iterations("caffemodel")

    def newest(self) -> int | None:
        """The last iteration that training can go on from; says on stderr which later ones are damaged, and how."""
        for iteration in sorted(set(self._iterations("solverstate")) & set(self.models()), reverse=True):
            damage = self.damage(self.state(iteration)) or self.damage(self.model(iteration))
            if not damage:
                return iteration
            print(f"warning: {damage}: taking the checkpoint before it", file=sys.stderr)
        return None

    def damage(self, file: Path) -> str | None:
        """What is wrong with a file of a checkpoint; None if nothing is. Files of before manifests must parse."""
        try:
            content = file.read_bytes()
            manifest = file.with_suffix(".json")
            if manifest.exists():
                expected = json.loads(manifest.read_text())["files"][file.name]
                if len(content) != expected["bytes"]:
                    return f"{file} has {len(content)} bytes instead of {expected['bytes']}"
                if hashlib.sha256(content).hexdigest() != expected["sha256"]:
                    return f"{file} is not what was written: its SHA-256 differs"
            kind = pb.SolverState if file.suffix == ".solverstate" else pb.NetParameter
            kind.FromString(content)
        except (OSError, ValueError, KeyError, TypeError, DecodeError) as error:
            return f"{file} or its manifest is damaged ({error})"
        return None

    def snapshot_prefix(self) -> str:
        """Where Caffe is to write: beside the checkpoints, to be renamed once the files are complete."""
        return str(self.folder / _UNFINISHED)

    def check_space(self, solver: caffe.SGDSolver) -> None:
        """Raise SolverError unless there is room for a checkpoint: Caffe would end the process half way through one."""
        values = count_weights(solver.net)
        needed = 2 * (2 * 4 * values + (1 << 20))  # weights and momentum in float32, and as much again for others
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise SolverError(f"{self.folder}: {free >> 20} MB are free, but a checkpoint needs {needed >> 20}: make room, "
                              "then go on with --resume")

    def save(self, solver: caffe.SGDSolver) -> None:
        """Write the solver's weights and state, then drop what the new checkpoint replaces.

        Raises
        ------
        SolverError
            If there is no room, a weight is not finite, or what is on the disk then is not what was written. The
            checkpoints before stay.
        """
        self.check_space(solver)
        for name, blobs in solver.net.params.items():
            if not all(np.isfinite(blob.data).all() for blob in blobs):
                raise SolverError(f"after iteration {solver.iter} the weights of layer '{name}' are not all finite: this "
                                  "is not saved; lower the learning rate, and go on from the checkpoint before")
        self._remove_unfinished()
        solver.snapshot()
        iteration = solver.iter
        new = Path(f"{self.snapshot_prefix()}_iter_{iteration}.caffemodel")
        state = read_state(new.with_suffix(".solverstate"))
        # Caffe noted the name under which it wrote the weights; `caffe train --snapshot` would look there.
        state.learned_net = str(self.model(iteration))
        new.with_suffix(".solverstate").write_bytes(state.SerializeToString())
        files = {}
        for suffix in SUFFIXES:
            if damage := self.damage(new.with_suffix(suffix)):
                raise SolverError(f"{damage}, as soon as it was written: is the disk full?")
            content = new.with_suffix(suffix).read_bytes()
            files[self.model(iteration).with_suffix(suffix).name] = {
                "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        # The manifest first, the weights last: where they are, all is.
        write_atomically(self.manifest(iteration), json.dumps(
            {"iteration": iteration, "files": files, "run": self._fingerprints()}, indent=1) + "\n")
        for suffix in SUFFIXES:
            publish(new.with_suffix(suffix), self.model(iteration).with_suffix(suffix))
        self.prune(iteration)

    def restore(self, solver: caffe.SGDSolver, iteration: int) -> None:
        """Load weights and state into a solver."""
        self._remove_unfinished()
        state = read_state(self.state(iteration))
        state.learned_net = str(self.model(iteration).resolve())  # the run folder may have been moved
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "resume.solverstate"
            file.write_bytes(state.SerializeToString())
            solver.restore(str(file))

    def _fingerprints(self) -> dict[str, str | None]:
        """Of what the run is made from, as config.json has them."""
        try:
            about = config.read(self.folder.parent)
        except SolverError:
            return {}
        return {name: about.get(name) for name in ("data_sha256", "net_sha256", "solver_sha256")}

    def _iterations(self, suffix: str) -> list[int]:
        return sorted(int(name[1]) for name in self._files(rf"checkpoints_iter_(\d+)\.{suffix}"))

    def _files(self, pattern: str) -> Iterator[re.Match]:
        """The names in the folder that match; one at a time, for a long run has thousands."""
        if self.folder.is_dir():
            with os.scandir(self.folder) as entries:
                yield from filter(None, (re.fullmatch(pattern, entry.name) for entry in entries))

    def prune(self, newest: int) -> None:
        """Drop what the checkpoint `newest` replaces."""
        for iteration in self.models():
            if iteration < newest and iteration % self.interval:
                self.state(iteration).unlink(missing_ok=True)
                self.model(iteration).unlink()
        states, weights = self._iterations("solverstate"), set(self.models())
        for iteration in set(states) - set([i for i in states if i in weights][-STATES_KEPT:]):
            self.state(iteration).unlink()
        for iteration in set(self._iterations("json")) - weights:
            self.manifest(iteration).unlink()

    def _remove_unfinished(self) -> None:
        for name in list(self._files(r"\..*")):  # Caffe's, and what a killed process was writing
            (self.folder / name[0]).unlink()


def read_state(file: Path) -> pb.SolverState:
    return pb.SolverState.FromString(file.read_bytes())
