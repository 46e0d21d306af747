"""Overriding the parameters of a loss, and exchanging C++ layers for Python layers."""

import itertools
import json
import re
from pathlib import Path

import pytest
import tiny
from google.protobuf import text_format

from base.errors import InputError
from layers.weighting import WEIGHTINGS, Weighting
from solvers.nets import losses
from solvers.nets.pycaffe import caffe

pb = caffe.proto.caffe_pb2
ROOT = Path(__file__).resolve().parents[2]
NO_OPTIONS = dict.fromkeys(("weighting", "beta", "lambda", "q"))


def net(loss: str) -> pb.NetParameter:
    return text_format.Parse(tiny.EXTRACT + loss, pb.NetParameter())


def weighted(fields: str) -> pb.NetParameter:
    return net(tiny.WEIGHTED.replace("propagate_down: true", f"loss_param {{ {fields} }} propagate_down: true"))


@pytest.fixture(autouse=True)
def _no_weighting_from_outside(monkeypatch):
    monkeypatch.delenv("CAFFE_WEIGHTING", raising=False)


def test_only_what_differs_from_the_file_counts_as_changed():
    usw = net(tiny.USW)
    assert losses.override(usw, {**NO_OPTIONS, "beta": 6.0, "lambda": 1.0}) == {"lambda": 1.0}
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
    assert losses.override(layer, NO_OPTIONS | options) == options
    assert losses.in_use(layer) == NO_OPTIONS | used


@pytest.mark.parametrize(("loss", "option"), [
    (net(tiny.CCE), {"beta": 8.0}), (net(tiny.USW), {"q": 0.5}), (net(tiny.USW), {"weighting": "GCE"}),
    (weighted("weighting: MAE"), {"q": 0.5}), (weighted("weighting: GCE"), {"lambda": 1.0}),
])
def test_an_option_that_no_layer_takes_is_an_error(loss, option):
    [name] = option
    with pytest.raises(InputError, match=f"--{name} .*: no layer of this net takes it"):
        losses.override(loss, NO_OPTIONS | option)


def test_weighting_from_the_environment_where_the_file_has_none(monkeypatch):
    monkeypatch.setenv("CAFFE_WEIGHTING", "MSE_DN")
    layer = weighted("")
    assert losses.override(layer, NO_OPTIONS) == {"weighting": "MSE_DN"}
    assert losses.in_use(layer)["weighting"] == "MSE_DN"
    assert losses.override(weighted("weighting: MAE"), NO_OPTIONS) == {}
    monkeypatch.setenv("CAFFE_WEIGHTING", "MSE-DN")
    with pytest.raises(InputError, match="CAFFE_WEIGHTING: unknown weighting 'MSE-DN'; did you mean \"MSE_DN\""):
        losses.override(weighted(""), NO_OPTIONS)


def test_no_weighting_anywhere_names_all_three_places():
    with pytest.raises(InputError, match=r"layer 'loss' .*loss_param { weighting.*--weighting.*CAFFE_WEIGHTING"):
        losses.override(weighted(""), NO_OPTIONS)


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
    assert losses.override(usw, {**NO_OPTIONS, "beta": 8.0}) == {"beta": 8.0}
    assert json.loads(usw.layer[-1].python_param.param_str) == {"lambda": 0.5, "beta": 8.0}


def test_to_python_leaves_out_what_the_compiled_layer_ignores():
    usw = net(tiny.USW)
    usw.layer[-1].loss_param.q = 0.5
    losses.to_python(usw)
    assert "q" not in json.loads(usw.layer[-1].python_param.param_str)


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_the_setting_with_a_weighting_is_named_where_a_net_has_none(name):
    with pytest.raises(InputError) as error:
        losses.override(text_format.Parse(tiny.CCE, pb.NetParameter()), {**NO_OPTIONS, "weighting": name})
    named, what = re.search(r"the setting (\S+) (.*)$", str(error.value)).groups()
    named = text_format.Parse((ROOT / named / "train.prototxt").read_text(), pb.NetParameter())
    if what == "takes it":
        losses.override(named, {**NO_OPTIONS, "weighting": name, "formula": "p" if name.startswith("CUSTOM") else None})
    assert losses.weighting_of(named.layer[-1]).name == name


SCE = {"weighting": "SCE", "set": {"alpha": 0.1, "beta": 1.0}}


@pytest.mark.parametrize("face", ["native", "python"])
def test_parameters_that_two_weightings_call_alike(face):
    """In loss_param, SCE has a field beta, and DM's beta is the field scale; in a Python layer both are beta."""
    layer = weighted("weighting: DM scale: 3")
    if face == "python":
        losses.to_python(layer)
    assert losses.override(layer, NO_OPTIONS | SCE) == {"weighting": "SCE", "alpha": 0.1, "beta": 1.0}
    assert losses.weighting_of(layer.layer[-1]) == Weighting("SCE", alpha=0.1, beta=1)
    assert losses.in_use(layer) == NO_OPTIONS | {"weighting": "SCE", "alpha": 0.1, "beta": 1.0}
    if face == "native":
        assert not layer.layer[-1].loss_param.HasField("scale") and layer.layer[-1].loss_param.beta == 1


@pytest.mark.parametrize("face", ["native", "python"])
@pytest.mark.parametrize(("before", "after"), list(itertools.permutations(
    [("GCE", "q: 0.9"), ("AUL", "a: 9 q: 4"), ("AGCE", "a: 2 q: 0.5"), ("AEL", "a: 7"), ("DM", "lamda_p: 0.5 scale: 6"),
     ("SCE", "alpha: 3 beta: 2"), ("PHUBER_GCE", "q: 0.3 tau: 5"), ("GCE_TRUNCATED", "q: 0.4 k: 0.2")], 2)))
def test_a_weighting_does_not_take_the_numbers_of_another(face, before, after):
    layer = weighted(f"weighting: {before[0]} {before[1]}")
    if face == "python":
        losses.to_python(layer)
    losses.override(layer, NO_OPTIONS | {"weighting": after[0]})
    assert losses.weighting_of(layer.layer[-1]) == Weighting(after[0])


@pytest.mark.parametrize(("before", "after", "kept"), [("GCE", "GCE_DN", "q"), ("FOCAL", "FOCAL_DETACHED", "gamma"),
                                                       ("PHUBER_CE", "PHUBER_GCE", "tau")])
def test_a_parameter_that_two_weightings_share_stays(before, after, kept):
    layer = weighted(f"weighting: {before} {kept}: 2.5" if kept != "q" else f"weighting: {before} q: 0.25")
    losses.override(layer, NO_OPTIONS | {"weighting": after})
    assert losses.weighting_of(layer.layer[-1]).parameters[kept] == (0.25 if kept == "q" else 2.5)


def test_a_formula_in_the_file_with_the_weighting_of_the_environment(monkeypatch):
    monkeypatch.setenv("CAFFE_WEIGHTING", "CUSTOM_DN")
    layer = weighted('formula: "p"')
    assert losses.override(layer, NO_OPTIONS) == {"weighting": "CUSTOM_DN"}
    assert losses.weighting_of(layer.layer[-1]) == Weighting("CUSTOM_DN", formula="p")


def test_a_beta_that_is_not_dms():
    """If it was SCE's, an option that chooses DM leaves it behind; if it may be meant for DM, it is refused."""
    layer = weighted("weighting: SCE beta: 0.2")
    assert losses.override(layer, NO_OPTIONS | {"weighting": "DM"}) == {"weighting": "DM"}
    assert losses.weighting_of(layer.layer[-1]) == Weighting("DM")
    with pytest.raises(InputError, match="DM reads its beta from the field scale, not beta"):
        losses.override(weighted("beta: 6"), NO_OPTIONS | {"weighting": "DM"})


def test_only_what_differs_from_a_rows_default_counts_as_changed():
    assert losses.override(weighted("weighting: SCE"), NO_OPTIONS | {"set": {"alpha": 6.0, "beta": 0.2}}) == {"beta": 0.2}
    assert losses.override(net(tiny.USW), NO_OPTIONS | {"set": {"beta": 8.0}}) == {"beta": 8.0}


@pytest.mark.parametrize(("loss", "options", "message"), [
    ("weighting: SCE", {"beta": 8.0}, "--beta 8: no layer of this net takes it (UnifiedWeightLoss and the weighting DM do; "
                                      "--set beta=NUMBER is for SCE, SCE_DN)"),
    ("weighting: AGCE", {"q": 0.5}, "--q 0.5: no layer of this net takes it (the weightings GCE and GCE_DN do; "
                                    "--set q=NUMBER is for AGCE, AGCE_DN"),
    ("weighting: FOCAL", {"set": {"alpha": 1.0}}, "--set alpha=1: no layer of this net takes it (they take gamma)"),
    ("weighting: CCE", {"set": {"alpha": 1.0}}, "--set alpha=1: no layer of this net takes it (they take no parameters)"),
    ("weighting: SCE", {"set": {"alpha": -1.0}}, "(WeightedSoftmaxWithLoss): alpha is -1.0; it must be a finite number >= 0"),
    ("weighting: MAE", {"formula": "p"}, "--formula p: no layer of this net takes it (WeightedSoftmaxWithLoss does, as in"),
    ("weighting: CUSTOM", {"set": {"q": 1.0}}, "--set q=1: no layer of this net takes it (they take formula, emphasis)"),
])
def test_what_a_weighting_does_not_take(loss, options, message):
    with pytest.raises(InputError) as error:
        losses.override(weighted(loss), NO_OPTIONS | options)
    assert message in str(error.value)


@pytest.mark.parametrize("face", ["native", "python"])
def test_a_formula_takes_the_place_of_another_and_goes_with_its_weighting(face):
    layer = weighted('weighting: CUSTOM formula: "p"')
    if face == "python":
        losses.to_python(layer)
    assert losses.override(layer, NO_OPTIONS | {"weighting": "CUSTOM_DN", "emphasis": "1"}) == {
        "weighting": "CUSTOM_DN", "emphasis": "1"}
    assert losses.in_use(layer) == NO_OPTIONS | {"weighting": "CUSTOM_DN", "emphasis": "1"}
    assert losses.override(layer, NO_OPTIONS | {"weighting": "MAE"}) == {"weighting": "MAE"}
    assert losses.in_use(layer) == NO_OPTIONS | {"weighting": "MAE"}


def test_to_python_of_a_net_without_our_layers():
    with pytest.raises(InputError, match="--layers python: this net has none of the layers UnifiedWeightLoss"):
        losses.to_python(text_format.Parse(tiny.CCE, pb.NetParameter()))


@pytest.mark.parametrize(("old", "new", "message"), [
    ("lamda_p: 0.5", "weighting: MAE", r"\(UnifiedWeightLoss\): its weighting is DM, not MAE"),
    ("scale: 6", "beta: 6", "DM reads its beta from the field scale, not beta"),
    ("lamda_p: 0.5", "lamda_p: -1", "lambda is -1.0; it must be a finite number >= 0"),
    ('bottom: "prob_groundtruth"', "", "needs 3 bottoms.*it has 2"),
    ('"UnifiedWeightLoss"', '"Python" python_param { module: "layers" layer: "UnifiedWeightLos" }',
     r"layer 'loss' \(Python\): .*has no layer 'UnifiedWeightLos'; did you mean"),
    ('"UnifiedWeightLoss"', """"Python" python_param { module: "layers" layer: "ExtractProb" param_str: '{"q": 1}' }""",
     r"layer 'loss' \(Python\): param_str has an unknown key"),
])
def test_check_finds_what_either_face_would_reject(old, new, message):
    loss = net(tiny.USW.replace(old, new)).layer[-1]
    with pytest.raises(InputError, match=message):
        losses.check(loss)
