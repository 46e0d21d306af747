"""Blobs keep their names through in-place layers; phases, stages, legacy inputs and shared weights are those of Caffe."""

from against_runtime import compare, inputs, parsed

from solvers.export.admission import with_batch


def names(model) -> list[str]:
    return [name for node in model.graph.node for name in node.output]


def test_a_blob_that_layers_change_in_place_has_its_last_value_under_its_name():
    model = compare(inputs((2, 3)) + """
        layer { name: "a" type: "Power" bottom: "x0" top: "y" power_param { shift: 1 } }
        layer { name: "b" type: "ReLU" bottom: "y" top: "y" }
        layer { name: "c" type: "Dropout" bottom: "y" top: "y" }
        layer { name: "d" type: "TanH" bottom: "y" top: "z" }""")
    assert [node.op_type for node in model.graph.node] == ["Add", "Relu", "Tanh"]
    assert names(model) == ["a:Add", "y", "z"]


def test_an_input_that_a_layer_changes_in_place_keeps_its_name():
    model = compare(inputs((2, 3)) + 'layer { name: "a" type: "TanH" bottom: "x0" top: "x0" }'
                                     'layer { name: "b" type: "TanH" bottom: "x0" top: "y" }')
    assert [value.name for value in model.graph.input] == ["x0"]
    assert names(model) == ["a:Tanh", "y"]


def test_blobs_that_are_one_in_caffe_each_have_their_name():
    model = compare(inputs((2, 3)) + """
        layer { name: "a" type: "AbsVal" bottom: "x0" top: "y" }
        layer { name: "s" type: "Split" bottom: "y" top: "s1" top: "s2" }
        layer { name: "d" type: "Dropout" bottom: "s1" top: "dropped" }""")
    assert {output.name for output in model.graph.output} == {"s2", "dropped"}
    assert {"y", "s1", "s2", "dropped"} <= set(names(model))


def test_a_blob_with_the_name_that_a_value_between_would_get():
    compare(inputs((2, 3)) + """
        layer { name: "a" type: "Power" bottom: "x0" top: "a:Mul" power_param { shift: 1 scale: 2 } }
        layer { name: "b" type: "Power" bottom: "a:Mul" top: "a:constant" power_param { shift: 1 scale: 2 } }""")


def test_layers_of_other_phases_and_stages_are_left_out():
    net = parsed(inputs((2, 3)) + """
        layer { name: "a" type: "AbsVal" bottom: "x0" top: "y" include { phase: TEST } }
        layer { name: "b" type: "TanH" bottom: "x0" top: "y" include { phase: TRAIN } }
        layer { name: "c" type: "TanH" bottom: "y" top: "z" include { stage: "deploy" } }""")
    for stage, expected in (None, ["Abs"]), ("deploy", ["Abs", "Tanh"]):
        if stage:
            net.state.stage.append(stage)
        assert [node.op_type for node in compare(str(net)).graph.node] == expected


def test_inputs_of_the_oldest_kind():
    model = compare('input: "x0" input_dim: 2 input_dim: 3 input_dim: 4 input_dim: 5\n'
                    'layer { name: "a" type: "AbsVal" bottom: "x0" top: "y" }')
    [size] = [value.type.tensor_type.shape.dim for value in model.graph.input]
    assert [dim.dim_param or dim.dim_value for dim in size] == ["batch", 3, 4, 5]


def test_the_batch_of_all_inputs_that_share_it():
    net = with_batch(parsed(inputs((2, 3), (2,), (1, 3))), 5)
    assert [list(shape.dim) for shape in net.input_shape] == [[5, 3], [5], [1, 3]]
    net = with_batch(parsed('layer { name: "in" type: "Input" top: "a" top: "b" input_param { shape { dim: 2 dim: 3 } } }'), 5)
    assert list(net.layer[0].input_param.shape[0].dim) == [5, 3]


def test_weights_that_two_layers_share_are_written_once():
    shared = 'param { name: "w" } inner_product_param { num_output: 3 bias_term: false } }\n'
    model = compare(inputs((2, 3)) + 'layer { name: "a" type: "InnerProduct" bottom: "x0" top: "y" ' + shared
                    + 'layer { name: "b" type: "InnerProduct" bottom: "y" top: "z" ' + shared)
    assert [constant.name for constant in model.graph.initializer] == ["a:0"]
