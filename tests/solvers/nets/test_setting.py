"""Finding a solver and its net, and the errors if they cannot be found or read."""

import shutil
from pathlib import Path

import pytest
import tiny

from base.errors import InputError
from solvers.nets import data_layers
from solvers.nets import setting as settings
from solvers.nets.setting import SETTINGS


def test_reads_a_folder_or_a_solver_file(setting):
    folder = setting()
    assert settings.load(folder).name == "tiny"
    assert settings.load(folder / "solver.prototxt").net_param.name == "tiny"
    (folder / "solver.prototxt").rename(folder / "solver_fast.prototxt")
    assert settings.load(folder).name == "tiny_solver_fast"


def test_the_net_beside_the_solver_comes_before_one_in_the_working_directory(setting, tmp_path, monkeypatch):
    folder = setting()
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "train.prototxt").write_text('name: "stray"')
    monkeypatch.chdir(tmp_path / "here")
    found = settings.load(folder)
    assert (found.net_param.name, found.net_file) == ("tiny", folder / "train.prototxt")
    (folder / "train.prototxt").unlink()
    assert settings.load(folder).net_param.name == "stray"  # where Caffe looks


@pytest.mark.parametrize("name", sorted(path.name for path in SETTINGS.glob("res44_*")))
def test_a_copy_of_a_setting_is_a_setting_of_its_own(tmp_path, name):
    """The copy's net is the one that is trained, so that it may be edited."""
    copy = shutil.copytree(SETTINGS / name, tmp_path / "mine")
    net = copy / "train.prototxt"
    net.write_text(net.read_text().replace('name: "resnet44"', 'name: "edited"'))
    found = settings.load(copy)
    assert (found.name, found.net_param.name, found.net_file) == ("mine", "edited", net)


def test_net_named_through_a_sibling_folder_as_in_the_released_package(setting):
    folder = setting("Res44_USW", solver=tiny.SOLVER.replace("train.prototxt", "../Res44_USW/train.prototxt"))
    assert settings.load(folder).net_param.name == "tiny"
    assert settings.describe_net(settings.load(folder)) == f"net: {folder / 'train.prototxt'}"
    copy = shutil.copytree(folder, folder.parent / "mine")
    assert settings.describe_net(settings.load(copy)) == (
        f"net: {folder / 'train.prototxt'}; the solver names this one, not the train.prototxt beside it")


def test_a_net_named_from_a_folder_above_is_found_there(tmp_path, monkeypatch):
    """As in Caffe's own examples: the error says where to start the command, and there it works."""
    folder = tmp_path / "old" / "examples" / "net"
    folder.parent.mkdir(parents=True)
    tiny.write_setting(folder, solver=tiny.SOLVER.replace("train.prototxt", "examples/net/train.prototxt"))
    with pytest.raises(InputError, match=f"; it is there as seen from {tmp_path / 'old'}: start the command there$"):
        settings.load(folder)
    monkeypatch.chdir(tmp_path / "old")
    assert settings.load(folder).net_param.name == "tiny"


LAYERS = """layer { name: "d" type: "Data" data_param { source: "db" } transform_param { mean_file: "mean.binaryproto" } }
layer { name: "i" type: "ImageData" image_data_param { source: "list.txt" root_folder: "pictures/" } }
layer { name: "j" type: "ImageData" image_data_param { source: "list.txt" } }
layer { name: "e" type: "HDF5Data" hdf5_data_param { source: "elsewhere.txt" } }
layer { name: "w" type: "InfogainLoss" infogain_loss_param { source: "/bin" } }
"""


def test_what_data_layers_read_is_found_from_the_setting_too(setting, tmp_path, monkeypatch):
    folder = setting(net=LAYERS)
    for name in "db", "pictures":
        (folder / name).mkdir()
    for name in "mean.binaryproto", "1.png":
        (folder / name).touch()
    (folder / "list.txt").write_text("1.png 3\n")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere.txt").touch()
    paths = [list(data_layers.paths(layer)) for layer in settings.load(folder).net_param.layer]
    assert paths == [[f"{folder}/mean.binaryproto", f"{folder}/db"], [f"{folder}/list.txt", f"{folder}/pictures/"],
                     [f"{folder}/list.txt", f"{folder}/"], ["elsewhere.txt"], ["/bin"]]


def test_a_setting_of_ours_is_suggested(tmp_path, monkeypatch):
    with pytest.raises(InputError, match='there is no folder res44_usw; did you mean "/.*prototxt/res44_usw"'):
        monkeypatch.chdir(tmp_path)
        settings.load(Path("res44_usw"))
    monkeypatch.chdir(SETTINGS.parent)
    for meant in "res44_usw", "res44_uws":
        with pytest.raises(InputError, match=f'there is no folder {meant}; did you mean "prototxt/res44_usw"'):
            settings.load(Path(meant))


def test_a_more_similar_folder_beside_it_is_suggested_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'res44 "us\nw"').mkdir()
    with pytest.raises(InputError, match='did you mean "res44 "us\nw""'):
        settings.load(Path('res44 "us\nv"'))


def test_net_inside_the_solver(setting):
    folder = setting(solver='base_lr: 1 net_param { name: "inside" }')
    assert settings.load(folder).net_param.name == "inside"


def test_test_nets_and_weights_are_found_too(setting):
    folder = setting(solver=tiny.SOLVER + 'test_net: "t.prototxt" test_iter: 1 weights: "a.caffemodel, b.caffemodel"')
    for name in ("t.prototxt", "a.caffemodel", "b.caffemodel"):
        (folder / name).touch()
    solver = settings.load(folder).solver
    assert not solver.test_net and list(solver.test_net_param) == [settings.read_net(folder / "t.prototxt")]
    assert solver.weights == [f"{folder / 'a.caffemodel'},{folder / 'b.caffemodel'}"]


@pytest.mark.parametrize(("break_it", "message"), [
    (lambda f: f.rename(f.parent / "tinny"), "there is no folder .*tiny; did you mean \"tinny\""),
    (lambda f: (f / "solver.prototxt").unlink(), "tiny has no solver.prototxt"),
    (lambda f: (f / "train.prototxt").unlink(), "names train.prototxt, which is neither in the solver's own folder"),
    (lambda f: (f / "solver.prototxt").write_text("base_lr: 1"), "names its train net once.* has none"),
    (lambda f: (f / "solver.prototxt").write_text("base_lt: 1"),
     r'solver.prototxt:1: Message type "caffe.SolverParameter" has no field named "base_lt".; did you mean "base_lr"'),
    (lambda f: (f / "train.prototxt").write_text('\nlayer {\n  loss_param { lambda_p: 1 } }'),
     r'train.prototxt:3: .* has no field named "lambda_p".; did you mean "lamda_p"\?'),
    (lambda f: (f / "train.prototxt").write_text("layer { loss_param { weighting: GCEDN } }"),
     "train.prototxt:1: .*no value named GCEDN.; did you mean \"GCE_DN\""),
    (lambda f: (f / "train.prototxt").write_text("layer {"), "train.prototxt:1: "),
    (lambda f: (f / "train.prototxt").write_bytes(b"\xff\xfe"), r"train.prototxt is not a text file in UTF-8 \(line 1\)"),
])
def test_errors_name_file_line_and_the_right_word(setting, break_it, message):
    folder = setting()
    break_it(folder)
    with pytest.raises(InputError, match=message):
        settings.load(folder)
