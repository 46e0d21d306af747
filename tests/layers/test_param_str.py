"""Parameters of Python layers: what is accepted, and an error for everything else."""

import pytest

import layers
from layers import param_str

KEYS = ("weighting", "q", "lambda", "beta", "ignore_label", "axis")


@pytest.mark.parametrize(("text", "expected"), [
    ("", {}),
    ("{}", {}),
    ('{"lambda": 0.5, "beta": 6}', {"lambda": 0.5, "beta": 6}),
    ('{"beta": -0.52, "ignore_label": -1}', {"beta": -0.52, "ignore_label": -1}),
    ('{"weighting": "GCE_DN", "q": 0.7, "axis": -1}', {"weighting": "GCE_DN", "q": 0.7, "axis": -1}),
])
def test_read(text, expected):
    assert param_str.read(text, KEYS) == expected


@pytest.mark.parametrize(("text", "message"), [
    ("{'beta': 6}", "param_str is not JSON"),
    ("beta: 6", "param_str is not JSON"),
    ("[6]", "must be a JSON object such as {}, not [6]"),
    ('{"lamda": 1}', 'unknown key "lamda"; did you mean "lambda"?'),
    ('{"BETA": 6}', 'unknown key "BETA"; did you mean "beta"?'),
    ('{"lamda_p": 1}', 'unknown key "lamda_p"; did you mean "lambda"?'),
    ('{"scale": 6}', 'unknown key "scale"; did you mean "beta"?'),
    ('{"T": 8}', 'unknown key "T"; did you mean "beta"?'),
    ('{"colour": 1}', 'unknown key "colour" (known: "weighting", "q", "lambda"'),
    ('{"beta": 1, "beta": 2}', 'has a key twice: "beta", "beta"'),
    ('{"beta": "6"}', '"beta" must be a finite number, not "6"'),
    ('{"beta": true}', '"beta" must be a finite number, not true'),
    ('{"beta": NaN}', '"beta" must be a finite number, not NaN'),
    ('{"beta": 1' + 400 * "0" + "}", '"beta" must be a finite number, not 1000'),
    ('{"q": null}', '"q" must be a finite number, not null'),
    ('{"ignore_label": 255.0}', '"ignore_label" must be a whole number, not 255.0'),
    ('{"axis": "1"}', '"axis" must be a whole number, not "1"'),
    ('{"weighting": 3}', '"weighting" must be a string, not 3'),
])
def test_errors(text, message):
    with pytest.raises(ValueError) as error:
        param_str.read(text, KEYS)
    assert message in str(error.value)


@pytest.mark.parametrize(("kind", "text", "message"), [
    ("UnifiedWeightLoss", '{"q": 0.7}',
     'UnifiedWeightLoss: param_str has an unknown key "q" (known: "lambda", "beta", "ignore_label", "axis")'),
    ("UnifiedWeightLoss", '{"lambda": -1}', "UnifiedWeightLoss: lambda is -1; it must be a finite number >= 0"),
    ("WeightedSoftmaxWithLoss", '{"weighting": "GCE-DN"}', 'did you mean "GCE_DN"?'),
    ("WeightedSoftmaxWithLoss", '{"weighting": ""}', "WeightedSoftmaxWithLoss: no weighting"),
    ("ExtractProb", '{"beta": 6}', 'ExtractProb: param_str has an unknown key "beta"'),
])
def test_layers_know_their_own(net, kind, text, message):
    pytest.importorskip("caffe", reason="there is no Caffe in this Python")
    bottoms = "".join(f"bottom: '{name}' " for name in ("a", "b", "c")[:2 if kind == "ExtractProb" else 3])
    with pytest.raises(ValueError) as error:
        net("".join(f"layer {{ name: '{name}' type: 'Input' top: '{name}' input_param {{ shape {{ dim: 1 }} }} }}\n"
                    for name in "abc")
            + f"layer {{ name: 'x' type: 'Python' top: 'x' {bottoms} "
              f"python_param {{ module: 'layers' layer: '{kind}' param_str: '{text}' }} }}")
    assert message in str(error.value)


def test_unknown_layer():
    with pytest.raises(AttributeError) as error:
        _ = layers.ExtractProbs
    assert 'no layer \'ExtractProbs\'; did you mean "ExtractProb"?' in str(error.value)
