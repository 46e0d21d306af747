"""Layers with wrong parameters or inputs: native layers abort the process, Python layers raise a ValueError; both say why."""

import signal

import faces
import pytest

LOSS, CHOICE = "UnifiedWeightLoss", "WeightedSoftmaxWithLoss"
NAN, INT_MIN = float("nan"), -2**31  # which NaN becomes on x86 where it is made an int


def loss_case(name, native, python, kind=LOSS, parameters=(), label=0, scores=(1, 2), labels=(1,), **layer):
    """A wrong loss layer, and parts of its C++ and of its Python error message."""
    def prototxt(face: str) -> str:
        return faces.scores_and_labels(scores, labels) + faces.loss(face, kind, dict(parameters), **layer)
    return pytest.param(prototxt, label, {"native": native, "python": python}, id=name)


def extract_prob(face: str) -> str:
    """An ExtractProb layer that is asked for a gradient."""
    return (faces.scores_and_labels() + "layer { name: 'probs' type: 'Softmax' bottom: 'scores' top: 'probs' }\n"
            + faces.layer(face, "ExtractProb", ("probs", "label"), ("p",), {}, "loss_weight: 1"))


@pytest.mark.parametrize(("prototxt", "label", "messages"), [
    loss_case("gradient of labels", "UnifiedWeightLoss Layer cannot backpropagate to its label inputs",
              "UnifiedWeightLoss: has no gradient for its bottom label", propagate_down=(True, True, False)),
    loss_case("gradient of p", "cannot backpropagate to its prob_groundtruth inputs",
              "has no gradient for its bottom prob_groundtruth", propagate_down=(True, False, True)),
    loss_case("two bottoms", "UnifiedWeightLoss Layer takes 3 bottom blob(s) as input",
              "UnifiedWeightLoss: takes 3 bottoms (scores, label, prob_groundtruth), not 2",
              bottoms=faces.LOSS_BOTTOMS[:2], propagate_down=(True, False)),
    loss_case("three tops", "produces at most 2 top blob(s)", "has 1 or 2 tops, not 3", tops=("loss", "p", "other")),
    loss_case("label too large", "Layer 'UnifiedWeightLoss': label 2 of example 0 is outside 0..1",
              "UnifiedWeightLoss: label 2 of example 0 is outside 0..1", label=2),
    loss_case("label negative", "label -1 of example 0", "label -1 of example 0", label=-1),
    loss_case("label NaN", "label nan of example 0 is outside 0..1", "label nan of example 0 is outside 0..1", label=NAN),
    loss_case("label NaN, INT_MIN ignored", "label nan of example 0", "label nan of example 0", label=NAN,
              parameters={"ignore_label": INT_MIN}),
    loss_case("label no int", "label 1e+10 of example 0", "label 1e+10 of example 0", label=1e10),
    loss_case("too many labels", "The data and label should have the same first dimension",
              "needs 1 labels, one a position, but the labels have shape (2,)", labels=(2,)),
    loss_case("too few labels", "Number of labels must match number of predictions", "needs 3 labels",
              scores=(1, 2, 3)),
    loss_case("no such axis", "axis 4 out of range", "no axis 4 in a blob of shape (1, 2)", parameters={"axis": 4}),
    loss_case("unknown weighting", '"GCE_D" for field "weighting"',
              'unknown weighting \'GCE_D\'; did you mean "GCE_DN"?', CHOICE, {"weighting": "GCE_D"}),
    loss_case("mistake in a formula", 'formula, character 1: unknown name "pw" (there are p, pow,',
              'formula, character 1: unknown name "pw" (there are p, pow,', CHOICE,
              {"weighting": "CUSTOM", "formula": "pw(p, 1)"}),
    loss_case("caret", "\n    p * (1 - p\n              ^", "\n    p * (1 - p\n              ^", CHOICE,
              {"weighting": "CUSTOM_DN", "emphasis": "p * (1 - p"}),
    loss_case("negative formula", "(WeightedSoftmaxWithLoss, CUSTOM): c(p) is negative, -0.499, at p = 0.001",
              "c(p) is negative, -0.499, at p = 0.001", CHOICE, {"weighting": "CUSTOM", "formula": "p - 0.5"}),
    loss_case("too large", "the emphasis is too large for single precision at p = 0.001",
              "the emphasis is too large for single precision at p = 0.001", CHOICE,
              {"weighting": "DM", "lambda": 0, "beta": 90}),
    loss_case("no formula", "it needs a formula of p or an emphasis", "needs a formula of p or an emphasis", CHOICE,
              {"weighting": "CUSTOM"}),
    loss_case("formula for another", "a formula or an emphasis is for the weighting CUSTOM",
              "a formula or an emphasis is for the weighting CUSTOM", CHOICE, {"weighting": "MAE", "formula": "p"}),
    loss_case("parameter out of range", "w is 1; it must be a finite number > 0 and < 1",
              "w is 1; it must be a finite number > 0 and < 1", CHOICE, {"weighting": "JS", "w": 1}),
    loss_case("parameters that do not go together", "c(p) is negative, -0.000502765, at p = 0.001",
              "c(p) is negative, -0.000502765, at p = 0.001", CHOICE, {"weighting": "FORWARD", "rate": 0.995}),
    pytest.param(extract_prob, 0, {"native": "ExtractProb Layer has no backward pass",
                                   "python": "ExtractProb: has no gradient"}, id="gradient of ExtractProb"),
    pytest.param(extract_prob, 7, {"native": "Layer 'ExtractProb': label 7 of example 0 is outside 0..1",
                                   "python": "ExtractProb: label 7 of example 0 is outside 0..1"},
                 id="label too large for ExtractProb"),
    pytest.param(extract_prob, NAN, {"native": "Layer 'ExtractProb': label nan of example 0 is outside 0..1",
                                     "python": "ExtractProb: label nan of example 0 is outside 0..1"},
                 id="label NaN for ExtractProb"),
])
def test_fatal(face, net, tmp_path, prototxt, label, messages):
    expect(face, net, tmp_path, prototxt(face), label, messages[face])


@pytest.mark.parametrize(("kind", "fields", "message"), [
    (LOSS, "weighting: MAE", "(UnifiedWeightLoss): its weighting is DM, not MAE; a WeightedSoftmaxWithLoss takes any"),
    (LOSS, "lamda_p: 0.5 beta: 6", "(UnifiedWeightLoss, DM): DM reads its beta from the field scale, not beta"),
    (CHOICE, "weighting: DM beta: 6", "(WeightedSoftmaxWithLoss, DM): DM reads its beta from the field scale, not beta"),
])
def test_fields_that_would_be_ignored_though_they_are_meant(tmp_path, kind, fields, message):
    layer = faces.loss("native", kind, {}).replace("loss_param {", f"loss_param {{ {fields} ")
    prototxt = faces.scores_and_labels() + layer
    expect("native", None, tmp_path, prototxt, 0, message)


def test_no_weighting(face, net, tmp_path):
    expect(face, net, tmp_path, faces.scores_and_labels() + faces.loss(face, CHOICE, {}), 0,
           {"native": "set loss_param { weighting: ... } in the prototxt, or the environment variable CAFFE_WEIGHTING",
            "python": 'in param_str, as in {"weighting": "GCE"}, or in the environment variable CAFFE_WEIGHTING'}[face])


def test_unknown_weighting_in_the_environment(face, net, tmp_path, monkeypatch):
    monkeypatch.setenv("CAFFE_WEIGHTING", "focal")
    prototxt = faces.scores_and_labels() + faces.loss(face, CHOICE, {})
    expect(face, net, tmp_path, prototxt, 0, {
        "native": "CAFFE_WEIGHTING is 'focal', which is none of CCE CCE_DN MAE",
        "python": 'unknown weighting \'focal\'; did you mean "FOCAL"? (one of CCE, CCE_DN, MAE'}[face])


def test_force_backward_asks_python_for_too_much(net):
    with pytest.raises(ValueError, match="leave out force_backward"):
        forced = net("force_backward: true\n" + faces.scores_and_labels()
                     + faces.loss("python", LOSS, {}, propagate_down=()))
        forced.forward()
        forced.backward()


def expect(face: str, net, tmp_path, prototxt: str, label: float, message: str) -> None:
    """Check that a run of this net fails with this message."""
    if face == "native":
        result = faces.run_apart(tmp_path / "net.prototxt", prototxt, label)
        assert result.returncode == -signal.SIGABRT
        assert message in result.stderr
    else:
        with pytest.raises(ValueError) as error:
            made = net(prototxt)
            made.blobs["label"].data[...] = label
            made.forward()
            made.backward()
        assert message in str(error.value)
