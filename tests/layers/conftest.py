"""Both implementations of the layers, nets made of them, and the golden vectors of the original layers."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import faces
import numpy as np
import pytest

from layers import PYTHON_LAYERS
from layers.weighting import WEIGHTINGS, Weighting

os.environ.setdefault("GLOG_minloglevel", "2")  # before Caffe is imported: it logs every net

# File in golden/ -> the weighting that made it.
GOLDEN = {"cce": "CCE", "CCE_sumW": "CCE_DN", "MAE_V00": "MAE", "MAE_sumW": "MAE_DN", "MSE": "MSE",
          "MSE_sumW": "MSE_DN", "GCE": "GCE", "GCE_sumW": "GCE_DN", "dm": "DM",
          "UnifiedWeight_V01": "DM"}  # that build's own WeightedSoftmaxWithLoss, with lambda 1


@pytest.fixture(autouse=True)
def no_weighting_in_the_environment(monkeypatch):
    monkeypatch.delenv("CAFFE_WEIGHTING", raising=False)


@pytest.fixture(scope="session", params=faces.FACES)
def face(request) -> str:
    """Each implementation in turn, if this Caffe has it."""
    require(request.param)
    return request.param


@pytest.fixture(scope="session")
def both_faces() -> tuple[str, ...]:
    """All the implementations, for tests that compare them."""
    for face in faces.FACES:
        require(face)
    return faces.FACES


def require(face: str) -> None:
    caffe = pytest.importorskip("caffe", reason="there is no Caffe in this Python")
    wanted = PYTHON_LAYERS if face == "native" else ["Python"]
    if missing := set(wanted) - set(caffe.layer_type_list()):
        pytest.skip(f"this Caffe has no layer type {', '.join(sorted(missing))}")


@pytest.fixture(scope="session")
def net(tmp_path_factory) -> Callable:
    """A function that takes a prototxt's text and returns its net."""
    file = tmp_path_factory.mktemp("nets") / "net.prototxt"
    return lambda prototxt: faces.net(file, prototxt)


@pytest.fixture(scope="session")
def loss_net(net) -> Callable:
    """A function that takes a loss layer's prototxt and initial shapes, and returns a net for faces.run."""
    return lambda loss, *shapes: net(faces.scores_and_labels(*shapes) + loss)


@pytest.fixture(scope="session")
def compiled(tmp_path_factory) -> Callable:
    """A function that compiles a C++ source, linked with the built Caffe, and returns the program."""
    caffe = pytest.importorskip("caffe", reason="there is no Caffe in this Python")
    built = Path(caffe.__file__).parents[2]
    if not shutil.which("g++"):
        pytest.skip("there is no g++ to compile a probe")
    if not (built / "include").is_dir():
        pytest.skip(f"Caffe's headers are not in {built / 'include'}")

    def compile_(source: Path) -> Path:
        program = tmp_path_factory.mktemp("probe") / source.stem
        subprocess.run(["g++", "-std=c++17", "-w", "-O1", "-DCPU_ONLY", f"-I{built}/include", source, "-o", program,
                        f"-L{built}/lib", f"-Wl,-rpath,{built}/lib", "-lcaffe", "-lglog", "-lprotobuf", "-lboost_system"],
                       check=True)
        return program

    return compile_


@dataclass
class GoldenCase:
    """One call of an original layer, in float32: scores, labels, p, gradient of the scores, value."""

    name: str
    weighting: Weighting
    scores: np.ndarray
    labels: np.ndarray
    p: np.ndarray
    gradient: np.ndarray
    value: float
    loss_weight: float
    ignore_label: int | None

    @property
    def parameters(self) -> dict:
        """The parameters of WeightedSoftmaxWithLoss, by the names of param_str."""
        return {"weighting": self.weighting.name, **self.weighting.parameters, "ignore_label": self.ignore_label}

    @property
    def saturates(self) -> bool:
        """Whether a score is so far below the largest of its row that its exp is below the normal float32 numbers."""
        return float(np.ptp(self.scores, axis=1).max()) > -np.log(np.finfo(np.float32).tiny)

    def check(self, value: float, gradient: np.ndarray) -> None:
        """Value and every derivative within 1e-5 of the original's.

        Derivatives made from float32 probabilities below FLT_MIN (where the scores saturate) have lost digits, in the
        original too: those count as equal within 1e-6 of the largest derivative. Float64 keeps the digits of 1 - p that
        the original lost, so it agrees within 1e-5 of the largest.
        """
        largest = np.abs(self.gradient).max()
        atol = (1e-5 if gradient.dtype == np.float64 else 1e-6 if self.saturates else 0) * largest
        np.testing.assert_allclose(value, self.value, rtol=1e-5, err_msg=self.name)
        np.testing.assert_allclose(gradient, self.gradient, rtol=1e-5, atol=atol, err_msg=self.name)


@pytest.fixture(scope="session", params=GOLDEN)
def golden(request, shared) -> list[GoldenCase]:
    """The cases of one golden file."""
    with np.load(shared / "golden" / f"{request.param}.npz") as arrays:
        return [golden_case(request.param, case, arrays) for case in json.loads(str(arrays["cases"]))]


def golden_case(file: str, case: dict, arrays: dict[str, np.ndarray]) -> GoldenCase:
    given = (("lam", "lamda"), ("beta", "beta")) if GOLDEN[file] == "DM" else ()
    numbers = {field: case[key] for field, key in given if case[key] is not None}
    scores, labels, p, gradient = (arrays[f"{case['key']}_{letter}"] for letter in "xypg")
    return GoldenCase(f"{file}.npz {case}", Weighting(GOLDEN[file], **numbers), scores, labels, p, gradient,
                      case["loss"], case["loss_weight"], case["ignore_label"])


@dataclass
class PublicCase:
    """One call of public PyTorch code, in float64: the mean loss and its gradient."""

    weighting: Weighting
    scores: np.ndarray
    labels: np.ndarray
    gradient: np.ndarray
    value: float
    clamped: bool  # that code keeps probabilities above 1e-7
    float32: bool  # that code has -ln 1e-4, or JS's weights, in single precision

    @property
    def reports_the_loss(self) -> bool:
        """Whether our reported value is the mean loss, too; it is not for the released GCE, which reports 1 - p."""
        return self.weighting.name != "GCE"

    def check(self, value: float, gradient: np.ndarray, tolerance: float) -> None:
        tolerance = max(tolerance, 4e-5 if self.clamped else 5e-8 if self.float32 else 0)
        np.testing.assert_allclose(gradient, self.gradient, rtol=tolerance, atol=tolerance * abs(self.gradient).max(),
                                   err_msg=str(self.weighting))
        if self.reports_the_loss:
            assert value == pytest.approx(self.value, rel=tolerance)


@pytest.fixture(scope="session")
def literature(shared) -> list[PublicCase]:
    """The cases of literature.npz that are functions of p alone."""
    with np.load(shared / "golden/literature.npz") as arrays:
        return [PublicCase(Weighting(case["loss"], **case["parameters"]),
                           *(arrays[f"{case['key']}_{letter}"] for letter in "xyg"), float(arrays[f"{case['key']}_v"]),
                           case["scale"] == 5 and case["loss"] in ("RCE", "SCE", "GCE", "JS"),
                           case["loss"] in ("RCE", "SCE", "JS"))
                for case in json.loads(str(arrays["cases"])) if case["loss"] in WEIGHTINGS]
