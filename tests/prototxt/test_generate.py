"""The generator: it writes the committed text, and nets of any depth 6n + 2."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("caffe")
from caffe.proto import caffe_pb2 as pb  # noqa: E402
from google.protobuf import text_format  # noqa: E402

from base.commands import command  # noqa: E402
from layers.table import BY_NAME, CUSTOM  # noqa: E402
from layers.weighting import WEIGHTINGS, Weighting  # noqa: E402
from prototxt import generate  # noqa: E402
from solvers.nets import losses  # noqa: E402


def test_committed_files_are_what_the_generator_writes(capsys):
    assert generate.main(["--check"]) == 0, capsys.readouterr().out


def test_write_then_check_then_notice_a_change(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(generate, "HERE", tmp_path)
    assert generate.main(["--check"]) == 1
    assert not list(tmp_path.iterdir())
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    solver = tmp_path / "res44_usw" / "solver.prototxt"
    solver.write_text(solver.read_text().replace("momentum: 0.9", "momentum: 0.8"))
    capsys.readouterr()
    assert generate.main(["--check"]) == 1
    assert capsys.readouterr().out == f"stale {tmp_path.name}/res44_usw/solver.prototxt\n"


@settings(max_examples=10, deadline=None)  # a net of 122 layers takes a tenth of a second
@given(blocks=st.integers(1, 20), outputs=st.integers(1, 1000), batch=st.integers(1, 512))
def test_any_depth(blocks, outputs, batch):
    net = generate.resnet(6 * blocks + 2, outputs, batch, "net")
    count = Counter(layer.type for layer in net.layer)
    assert count["Convolution"] == count["BatchNorm"] == count["Scale"] == 6 * blocks + 3
    assert count["ReLU"] == 6 * blocks + 1 and count["Eltwise"] == 3 * blocks
    assert len({layer.name for layer in net.layer}) == len(net.layer)
    text = generate.to_text(net)
    assert text_format.Parse(text, type(net)()) == net
    assert max(map(len, text.splitlines())) <= 120


@given(st.integers(-10, 200).filter(lambda depth: depth < 8 or depth % 6 != 2))
def test_other_depths_are_refused(depth):
    with pytest.raises(ValueError, match=f"depth {depth}: a CIFAR ResNet has 6n"):
        generate.resnet(depth, 10, 1, "net")


@pytest.mark.parametrize("weighting", [*(name for name in WEIGHTINGS if BY_NAME[name].name != CUSTOM), "pow(p, 0.3)"])
def test_a_setting_of_ones_own(tmp_path, capsys, weighting):
    """Our net but for depth, classes and batch, with the released solver. Existing files are not overwritten."""
    arguments = ["--depth", "20", "--classes", "10", "--batch", "64", "--weighting", weighting, "-o", str(tmp_path / "mine")]
    assert generate.main(arguments) == 0
    assert capsys.readouterr().out == f"wrote {tmp_path}/mine; train it: {command('solvers.train', [tmp_path / 'mine'])}\n"
    net, test, solver = (text_format.Parse((tmp_path / "mine" / f"{name}.prototxt").read_text(), kind()) for name, kind in (
        ("train", pb.NetParameter), ("test", pb.NetParameter), ("solver", pb.SolverParameter)))
    loss = net.layer[-1]
    if loss.type == "SoftmaxWithLoss":
        assert weighting == "CCE"
    else:
        losses.check(loss)
        wanted = Weighting("CUSTOM", formula=weighting) if weighting not in WEIGHTINGS else Weighting(
            weighting, **{"DM": {"lam": 0.5, "beta": 6}, "FORWARD": {"classes": 10}}.get(weighting.removesuffix("_DN"), {}))
        assert losses.weighting_of(loss) == wanted
    assert sum(layer.type == "Convolution" for layer in net.layer) == 21
    assert list(net.input_dim) == [64, 3, 32, 32, 64, 1, 1, 1] and solver == generate.solver()
    assert test.layer == net.layer[:-2] and list(test.input_dim) == [1, 3, 32, 32]
    assert {layer.inner_product_param.num_output for layer in test.layer if layer.type == "InnerProduct"} == {10}
    with pytest.raises(SystemExit) as ended:
        generate.main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error: {tmp_path}/mine has a train.prototxt already: name another folder\n"


@pytest.mark.parametrize(("arguments", "weighting"), [
    (["--emphasis", "1"], Weighting("CUSTOM", emphasis="1")),
    (["--weighting", "CUSTOM_DN", "--formula", "p"], Weighting("CUSTOM_DN", formula="p")),
])
def test_a_formula_of_ones_own(tmp_path, arguments, weighting):
    assert generate.main([*arguments, "--classes", "10", "-o", str(tmp_path / "mine")]) == 0
    net = text_format.Parse((tmp_path / "mine/train.prototxt").read_text(), pb.NetParameter())
    assert losses.weighting_of(net.layer[-1]) == weighting and net.input_dim[0] == 80  # all classes


@pytest.mark.parametrize(("arguments", "message"), [
    (["--depth", "21", "-o", "{folder}"], "error: depth 21: a CIFAR ResNet has 6n + 2 layers"),
    (["--batch", "60", "-o", "{folder}"], "error: --batch 60: a batch is 8 images of each of 1 to 100 classes"),
    (["--classes", "10", "--batch", "88", "-o", "{folder}"], "error: --batch 88: a batch is 8 images of each of 1 to 10"),
    (["--weighting", "MAE", "--formula", "p", "-o", "{folder}"], "error: MAE has no parameter 'formula'"),
    (["--weighting", "p", "--emphasis", "p", "-o", "{folder}"], "error: CUSTOM needs a formula of p or an emphasis, and not"),
    (["--weighting", "pow(p, 2)", "--formula", "p", "-o", "{folder}"], "error: the formula is given twice: pow(p, 2) and p"),
    (["--check", "-o", "{folder}"], "error: --check compares the settings of this project: leave out -o"),
    (["--weighting", "CUSTOM_DN", "-o", "{folder}"], "error: CUSTOM_DN needs a formula of p or an emphasis"),
    (["--weighting", "FORWARD", "--classes", "1", "-o", "{folder}"], "error: classes is 1; it must be a whole number >= 2"),
    (["--classes", "0", "-o", "{folder}"], "error: --classes 0: at least 1 is needed"),
    (["--depth", "20"], "error: --depth is for a setting of your own: name its folder with -o"),
])
def test_what_a_setting_of_ones_own_cannot_be(tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit) as ended:
        generate.main([argument.format(folder=tmp_path / "mine") for argument in arguments])
    assert ended.value.code == 2 and capsys.readouterr().err.startswith(message)
    assert not (tmp_path / "mine").exists()
