"""Folded nets compute the same with fewer nodes, and blobs that others need stay."""

import pytest
from against_runtime import compare, drawn, inputs
from hypothesis import given
from hypothesis import strategies as st

CONVOLUTIONS = {
    "Convolution": "convolution_param { num_output: 6 kernel_size: 3 pad: 1 group: GROUP bias_term: BIAS }",
    "Deconvolution": "convolution_param { num_output: 6 kernel_size: 2 stride: 2 group: GROUP bias_term: BIAS }",
    "InnerProduct": "inner_product_param { num_output: 6 bias_term: BIAS transpose: TRANSPOSE }",
}
NORMALISED = ('layer {{ name: "bn" type: "BatchNorm" bottom: "conv" top: "{bn}" }}\n'
              'layer {{ name: "scale" type: "Scale" bottom: "{bn}" top: "{scale}" scale_param {{ bias_term: {bias} }} }}\n')


def convolution(kind: str, group: int = 1, bias: bool = False, transpose: bool = False) -> str:
    settings = CONVOLUTIONS[kind].replace("GROUP", str(group)).replace("BIAS", str(bias).lower())
    return (inputs((2, 4, 5, 5)) + f'layer {{ name: "conv" type: "{kind}" bottom: "x0" top: "conv" '
            + settings.replace("TRANSPOSE", str(transpose).lower()) + " }\n")


def ops(model) -> list[str]:
    return [node.op_type for node in model.graph.node]


@drawn
@given(kind=st.sampled_from(list(CONVOLUTIONS)), group=st.sampled_from([1, 2]), bias=st.booleans(), transpose=st.booleans(),
       bn=st.sampled_from(["conv", "bn"]), in_place=st.booleans(), scale_bias=st.booleans())
def test_folded(kind, group, bias, transpose, bn, in_place, scale_bias):
    net = convolution(kind, group, bias, transpose) + NORMALISED.format(
        bn=bn, scale=bn if in_place else "out", bias=str(scale_bias).lower())
    model = compare(net, fold=True)
    assert set(ops(model)) <= {"Conv", "ConvTranspose", "Flatten", "Gemm"}
    assert [output.name for output in model.graph.output] == [bn if in_place else "out"]


@pytest.mark.parametrize(("rest", "left"), [
    # The convolution's blob has another reader, which needs it as it was.
    (NORMALISED.format(bn="bn", scale="out", bias="true")
     + 'layer { name: "other" type: "AbsVal" bottom: "conv" top: "other" }', {"BatchNormalization", "Mul", "Add", "Abs"}),
    # It is an output.
    ('layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "bn" }'
     'layer { name: "quiet" type: "Power" bottom: "conv" top: "same" }', {"BatchNormalization", "Identity"}),
    # Something lies between.
    ('layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }' + NORMALISED.format(bn="conv", scale="out", bias="true"),
     {"Relu", "BatchNormalization", "Mul", "Add"}),
    # The batch's own statistics are known only when it comes.
    ('layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "bn" batch_norm_param { use_global_stats: false } }',
     {"ReduceMean", "Sub", "Mul", "Sqrt", "Add", "Div"}),
    # A factor for each pixel, or from another blob.
    ('layer { name: "scale" type: "Scale" bottom: "conv" top: "out" scale_param { num_axes: -1 } }', {"Mul"}),
    ('layer { name: "scale" type: "Scale" bottom: "conv" bottom: "conv" top: "out" scale_param { axis: 0 } }', {"Mul"}),
])
def test_what_is_not_folded(rest, left):
    model = compare(convolution("Convolution") + rest, fold=True)
    assert set(ops(model)) - {"Conv"} == left


def test_two_convolutions_each_with_its_own():
    second = ('layer { name: "conv2" type: "Convolution" bottom: "conv" top: "conv2" convolution_param '
              '{ num_output: 3 kernel_size: 1 } }\nlayer { name: "relu" type: "ReLU" bottom: "conv2" top: "conv2" }\n')
    model = compare(convolution("Convolution") + NORMALISED.format(bn="conv", scale="conv", bias="true") + second, fold=True)
    assert ops(model) == ["Conv", "Conv", "Relu"]
