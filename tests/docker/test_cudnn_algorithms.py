"""The cuDNN algorithms that cudnn_algorithms.hpp chooses, with a replacement for cuDNN that answers as a test wants."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not shutil.which("c++"), reason="no compiler here to build the program under test")

HERE = Path(__file__).parent / "cudnn_algorithms"
ADDITIONS = Path(__file__).resolve().parents[2] / "docker/additions/include/caffe/util"
OK, NOT_SUPPORTED = 0, 1
REPEATS, VARIES = 1, 0
DEFAULT, TENSOR_OP, FMA = 0, 1, 3
LIMIT = 8 << 20
NONE = -1


@pytest.fixture(scope="module")
def choose(tmp_path_factory) -> Callable:
    """A function that takes cuDNN's ranking and the workspaces, and returns the algorithm chosen for all three passes."""
    program = tmp_path_factory.mktemp("cudnn") / "choose"
    subprocess.run(["c++", "-std=c++11", "-I", HERE, "-I", ADDITIONS, HERE / "choose.cpp", "-o", program], check=True)

    def chosen(ranking: list[tuple[int, ...]], workspace: dict[int, int]) -> int:
        lines = (LIMIT, len(ranking)), *ranking, *workspace.items()
        text = "".join(" ".join(map(str, line)) + "\n" for line in lines)
        found = subprocess.run([program], input=text, check=True, capture_output=True, text=True).stdout.split()
        assert len(found) == 3 and len(set(found)) == 1
        return int(found[0])

    return chosen


@pytest.mark.parametrize(("ranking", "workspace", "expected"), [
    pytest.param([(6, OK, 0, REPEATS, FMA), (1, OK, 0, REPEATS, FMA)], {6: 0, 1: 0}, 6, id="the fastest"),
    pytest.param([(6, OK, 0, VARIES, FMA), (1, OK, 0, REPEATS, FMA)], {6: 0, 1: 0}, 1, id="the fastest that repeats"),
    pytest.param([(6, OK, 0, VARIES, FMA), (3, OK, 0, VARIES, FMA)], {6: 0, 3: 0}, 6, id="the fastest, as none repeats"),
    pytest.param([(6, OK, 1, REPEATS, FMA), (1, OK, 1, REPEATS, FMA)], {6: LIMIT + 1, 1: LIMIT}, 1, id="what fits"),
    pytest.param([(6, NOT_SUPPORTED, 0, REPEATS, FMA), (1, OK, 0, REPEATS, FMA)], {6: 0, 1: 0}, 1, id="what is supported"),
    pytest.param([(1, OK, 0, REPEATS, DEFAULT), (0, OK, 0, REPEATS, DEFAULT)], {1: 0, 0: 0}, 1, id="ranked as default"),
    pytest.param([(1, OK, 0, REPEATS, TENSOR_OP), (0, OK, 0, REPEATS, DEFAULT)], {0: 0}, 0, id="not tensor cores alone"),
    pytest.param([(1, OK, 9, REPEATS, TENSOR_OP)], {1: LIMIT + 1}, NONE, id="what a kernel of the descriptor's type needs"),
    pytest.param([], {}, NONE, id="nothing"),
])
def test_choice(choose, ranking, workspace, expected):
    assert choose(ranking, workspace) == expected
