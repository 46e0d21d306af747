"""The generator: it gives the committed text, and nets of any depth 6n + 2."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("caffe")
from google.protobuf import text_format  # noqa: E402

from prototxt import generate  # noqa: E402


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
