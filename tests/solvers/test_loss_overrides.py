"""Overriding the parameters of a loss, and exchanging C++ layers for Python layers."""

import json
from pathlib import Path

import pytest
import tiny
from google.protobuf import text_format

from layers.weighting import WEIGHTINGS
from solvers import losses
from solvers.engine import caffe
from solvers.errors import SolverError

pb = caffe.proto.caffe_pb2
ROOT = Path(__file__).resolve().parents[2]
NOTHING = dict.fromkeys(("weighting", "beta", "lambda", "q"))


def net(loss: str) -> pb.NetParameter:
    return text_format.Parse(tiny.EXTRACT + loss, pb.NetParameter())


def weighted(fields: str) -> pb.NetParameter:
    return net(tiny.WEIGHTED.replace("propagate_down: true", f"loss_param {{ {fields} }} propagate_down: true"))


@pytest.fixture(autouse=True)
def _no_weighting_from_outside(monkeypatch):
    monkeypatch.delenv("CAFFE_WEIGHTING", raising=False)


def test_only_what_differs_from_the_file_counts_as_changed():
    usw = net(tiny.USW)
    assert losses.override(usw, {**NOTHING, "beta": 6.0, "lambda": 1.0}) == {"lambda": 1.0}
    assert (usw.layer[-1].loss_param.scale, usw.layer[-1].loss_param.lamda_p) == (6, 1)
    assert losses.in_use(usw) == {"weighting": None, "beta": 6, "lambda": 1, "q": None}


@pytest.mark.parametrize(("fields", "options", "used"), [
    ("weighting: GCE", {"q": 0.5}, {"weighting": "GCE", "q": 0.5}),
    ("weighting: GCE", {}, {"weighting": "GCE", "q": 0.7}),
    ("weighting: CCE", {"weighting": "GCE_DN", "q": 0.5}, {"weighting": "GCE_DN", "q": 0.5}),
    ("weighting: DM scale: 3", {"lambda": 0.0}, {"weighting": "DM", "beta": 3, "lambda": 0}),
    ("", {"weighting": "MAE"}, {"weighting": "MAE"}),
])
def test_weighting_decides_what_else_is_taken(fields, options, used):
    layer = weighted(fields)
    assert losses.override(layer, NOTHING | options) == options
    assert losses.in_use(layer) == NOTHING | used


@pytest.mark.parametrize(("loss", "option"), [
    (net(tiny.CCE), {"beta": 8.0}), (net(tiny.USW), {"q": 0.5}), (net(tiny.USW), {"weighting": "GCE"}),
    (weighted("weighting: MAE"), {"q": 0.5}), (weighted("weighting: GCE"), {"lambda": 1.0}),
])
def test_an_option_that_no_layer_takes_is_an_error(loss, option):
    [name] = option
    with pytest.raises(SolverError, match=f"--{name} .*: no layer of this net takes it"):
        losses.override(loss, NOTHING | option)


def test_weighting_from_the_environment_where_the_file_has_none(monkeypatch):
    monkeypatch.setenv("CAFFE_WEIGHTING", "MSE_DN")
    layer = weighted("")
    assert losses.override(layer, NOTHING) == {"weighting": "MSE_DN"}
    assert losses.in_use(layer)["weighting"] == "MSE_DN"
    assert losses.override(weighted("weighting: MAE"), NOTHING) == {}
    monkeypatch.setenv("CAFFE_WEIGHTING", "MSE-DN")
    with pytest.raises(SolverError, match="CAFFE_WEIGHTING: unknown weighting 'MSE-DN'; did you mean \"MSE_DN\""):
        losses.override(weighted(""), NOTHING)


def test_no_weighting_anywhere_names_all_three_places():
    with pytest.raises(SolverError, match=r"layer 'loss' .*loss_param { weighting.*--weighting.*CAFFE_WEIGHTING"):
        losses.override(weighted(""), NOTHING)


def test_to_python_keeps_connections_and_parameters():
    usw = net(tiny.USW)
    losses.to_python(usw)
    extract, loss = usw.layer
    assert (extract.type, extract.python_param.layer) == ("Python", "ExtractProb")
    assert (loss.type, loss.python_param.module, loss.python_param.layer) == ("Python", "layers", "UnifiedWeightLoss")
    assert json.loads(loss.python_param.param_str) == {"lambda": 0.5, "beta": 6}
    assert loss.bottom == ["scores", "label", "prob_groundtruth"]
    assert loss.propagate_down == [True, False, False]
    assert not loss.HasField("loss_param")


def test_to_python_weighs_the_first_top_as_the_loss():
    bare = net(tiny.USW.replace("loss_weight: 1", 'top: "probabilities"'))
    losses.to_python(bare)
    assert bare.layer[-1].loss_weight == [1, 0]  # what a C++ loss layer does by itself


def test_python_layers_take_overrides():
    usw = net(tiny.USW)
    losses.to_python(usw)
    assert losses.override(usw, {**NOTHING, "beta": 8.0}) == {"beta": 8.0}
    assert json.loads(usw.layer[-1].python_param.param_str) == {"lambda": 0.5, "beta": 8.0}


def test_to_python_leaves_out_what_the_compiled_layer_ignores():
    usw = net(tiny.USW)
    usw.layer[-1].loss_param.q = 0.5
    losses.to_python(usw)
    assert "q" not in json.loads(usw.layer[-1].python_param.param_str)


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_the_setting_with_a_weighting_is_named_where_a_net_has_none(name):
    with pytest.raises(SolverError) as error:
        losses.override(text_format.Parse(tiny.CCE, pb.NetParameter()), {**NOTHING, "weighting": name})
    named = text_format.Parse((ROOT / str(error.value).split()[-4] / "train.prototxt").read_text(), pb.NetParameter())
    assert losses.weighting_of(named.layer[-1]).name == name


def test_to_python_of_a_net_without_our_layers():
    with pytest.raises(SolverError, match="--layers python: this net has none of the layers UnifiedWeightLoss"):
        losses.to_python(text_format.Parse(tiny.CCE, pb.NetParameter()))


@pytest.mark.parametrize(("old", "new", "message"), [
    ("lamda_p: 0.5", "lamda_p: -1", "lambda is -1.0; it must be a finite number >= 0"),
    ('bottom: "prob_groundtruth"', "", "needs 3 bottoms.*it has 2"),
    ('"UnifiedWeightLoss"', '"Python" python_param { module: "layers" layer: "UnifiedWeightLos" }',
     r"layer 'loss' \(Python\): .*has no layer 'UnifiedWeightLos'; did you mean"),
    ('"UnifiedWeightLoss"', """"Python" python_param { module: "layers" layer: "ExtractProb" param_str: '{"q": 1}' }""",
     r"layer 'loss' \(Python\): param_str has an unknown key"),
])
def test_check_finds_what_either_face_would_reject(old, new, message):
    loss = net(tiny.USW.replace(old, new)).layer[-1]
    with pytest.raises(SolverError, match=message):
        losses.check(loss)
