"""The options that change a setting's depth, batch, learning rate and checkpoints (losses.py: those that change its loss)."""

import argparse

from base.errors import InputError
from prototxt import generate
from solvers.nets.pycaffe import caffe
from solvers.nets.setting import Setting

pb = caffe.proto.caffe_pb2


def apply(setting: Setting, args: argparse.Namespace) -> None:
    """Apply --depth, --batch, --lr and --snapshot to a setting. The first three extend its name if they change it.

    The run is therefore not compared with the released runs of the setting.

    Raises
    ------
    InputError
        If the net cannot have this depth or this batch.
    """
    changed = []
    if args.depth is not None and set_depth(setting.net_param, args.depth):
        setting.test_net_param = None  # it has the old depth; the new one is derived from the train net
        changed.append(f"depth_{args.depth}")
    if args.batch is not None and set_batch(setting.net_param, args.batch):
        changed.append(f"batch_{args.batch}")
    if args.lr is not None and pb.SolverParameter(base_lr=args.lr).base_lr != setting.solver.base_lr:  # compared as float32
        setting.solver.base_lr = args.lr
        changed.append(f"lr_{args.lr:g}")
    if args.snapshot is not None:
        setting.solver.snapshot = args.snapshot
    setting.name = "_".join([setting.name, *changed])


def set_depth(param: pb.NetParameter, depth: int) -> bool:
    """Replace the layers up to the probabilities by those of a ResNet of another depth; return whether the net changed."""
    outputs = next((layer.inner_product_param.num_output for layer in param.layer if layer.type == "InnerProduct"), 0)
    before = sum(layer.type == "Convolution" for layer in param.layer) - 1  # less 2 projections, plus 1 classifier
    body = _body(before, outputs) if generate.is_depth(before) else None
    if body is None or list(param.layer[: len(body)]) != body:
        raise InputError(f"--depth {depth}: this net is no ResNet as prototxt/generate.py writes them")
    if not generate.is_depth(depth):
        raise InputError(f"--depth {depth}: {generate.DEPTHS}")
    rest = list(param.layer[len(body):])
    del param.layer[:]
    param.layer.extend([*_body(depth, outputs), *rest])
    param.name = f"resnet{depth}"
    return depth != before


def _body(depth: int, outputs: int) -> list[pb.LayerParameter]:
    return list(generate.resnet(depth, outputs, batch=1, name="").layer)


def set_batch(param: pb.NetParameter, size: int) -> bool:
    """Set the number of images in the net's inputs; return whether it changed."""
    shapes = [shape for layer in param.layer if layer.type == "Input" for shape in layer.input_param.shape]
    dimensions = [shape.dim for shape in (*shapes, *param.input_shape) if shape.dim]
    if not dimensions and not param.input_dim:
        raise InputError(f"--batch {size}: this net reads its own data; its batch is the batch_size of its data layer")
    of_a_class = generate.IMAGES_PER_CLASS
    if size % of_a_class:
        raise InputError(f"--batch {size}: a batch is {of_a_class} images of each of some classes: "
                         f"give a multiple of {of_a_class}")
    before = param.SerializeToString()
    for dim in dimensions:
        dim[0] = size
    for first in range(0, len(param.input_dim), 4):
        param.input_dim[first] = size
    return param.SerializeToString() != before
