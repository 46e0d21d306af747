"""Finding a solver and its net, and what is said where they cannot be found or read."""

import pytest
import tiny

from solvers import setting as settings
from solvers.errors import SolverError


def test_reads_a_folder_or_a_solver_file(setting):
    folder = setting()
    assert settings.load(folder).name == "tiny"
    assert settings.load(folder / "solver.prototxt").net.name == "tiny"
    (folder / "solver.prototxt").rename(folder / "solver_fast.prototxt")
    assert settings.load(folder).name == "tiny_solver_fast"


def test_net_is_found_from_the_working_directory_and_then_from_the_solver(setting, tmp_path, monkeypatch):
    folder = setting()
    assert settings.load(folder).net.name == "tiny"  # from the solver's folder
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "train.prototxt").write_text('name: "nearer"')
    monkeypatch.chdir(tmp_path / "here")
    assert settings.load(folder).net.name == "nearer"  # as Caffe does


def test_net_named_through_a_sibling_folder_as_in_the_released_package(setting):
    folder = setting("Res44_USW", solver=tiny.SOLVER.replace("train.prototxt", "../Res44_USW/train.prototxt"))
    assert settings.load(folder).net.name == "tiny"


def test_net_inside_the_solver(setting):
    folder = setting(solver='base_lr: 1 net_param { name: "inside" }')
    assert settings.load(folder).net.name == "inside"


def test_test_nets_and_weights_are_found_too(setting):
    folder = setting(solver=tiny.SOLVER + 'test_net: "t.prototxt" test_iter: 1 weights: "a.caffemodel, b.caffemodel"')
    for name in ("t.prototxt", "a.caffemodel", "b.caffemodel"):
        (folder / name).touch()
    solver = settings.load(folder).solver
    assert solver.test_net == [str(folder / "t.prototxt")]
    assert solver.weights == [f"{folder / 'a.caffemodel'},{folder / 'b.caffemodel'}"]


@pytest.mark.parametrize(("break_it", "message"), [
    (lambda f: f.rename(f.parent / "tinny"), "there is no folder .*tiny; did you mean \"tinny\""),
    (lambda f: (f / "solver.prototxt").unlink(), "tiny has no solver.prototxt"),
    (lambda f: (f / "train.prototxt").unlink(), "solver.prototxt names train.prototxt, which is neither in"),
    (lambda f: (f / "solver.prototxt").write_text("base_lr: 1"), "names its train net once.* has none"),
    (lambda f: (f / "solver.prototxt").write_text("base_lt: 1"),
     r'solver.prototxt:1: Message type "caffe.SolverParameter" has no field named "base_lt".; did you mean "base_lr"'),
    (lambda f: (f / "train.prototxt").write_text('\nlayer {\n  loss_param { lambda_p: 1 } }'),
     r'train.prototxt:3: .* has no field named "lambda_p".; did you mean "lamda_p"\?'),
    (lambda f: (f / "train.prototxt").write_text("layer { loss_param { weighting: GCEDN } }"),
     "train.prototxt:1: .*no value named GCEDN.; did you mean \"GCE_DN\""),
    (lambda f: (f / "train.prototxt").write_text("layer {"), "train.prototxt:1: "),
    (lambda f: (f / "train.prototxt").write_bytes(b"\xff\xfe"), "train.prototxt is not a text file"),
])
def test_errors_name_file_line_and_the_right_word(setting, break_it, message):
    folder = setting()
    break_it(folder)
    with pytest.raises(SolverError, match=message):
        settings.load(folder)
