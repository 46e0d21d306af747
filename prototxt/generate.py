"""Write every prototxt of this folder: ResNets for CIFAR (arXiv 1512.03385, section 4.2), their solvers, the papers' losses.

    python -m prototxt.generate            # rewrite
    python -m prototxt.generate --check    # compare only; exit code 1 where a file is missing or differs
    python -m prototxt.generate --depth 20 --classes 100 --weighting DM -o prototxt/mine    # a setting of your own
    python -m prototxt.generate --weighting "pow(p, 0.3) * exp(-2 * p)" -o prototxt/mine    # with a weighting of your own
"""

import argparse
import re
from collections import Counter
from pathlib import Path

from caffe.proto import caffe_pb2 as pb
from google.protobuf import text_format
from google.protobuf.message import Message

from base.commands import command
from layers.table import CUSTOM, OWN, ROWS
from layers.weighting import Weighting, chosen, row_of

HERE = Path(__file__).resolve().parent
IMAGES_PER_CLASS = 8  # of the classes in a batch

# The settings differ only in the loss layer: in its type and its loss_param.
LOSSES = {
    "res44_cce": ("SoftmaxWithLoss", {}),
    **{f"res44_{name.lower()}": ("WeightedSoftmaxWithLoss", {"weighting": name} | {
        parameter.field or parameter.name: parameter.default for parameter in row.parameters})
       for row in ROWS if row.released and not row.always_normalised for name in row.names if name != "CCE"},
    "res44_usw": ("UnifiedWeightLoss", {"lamda_p": 0.5, "scale": 6}),
    "res44_imae": ("UnifiedWeightLoss", {"lamda_p": 1, "scale": 6}),
    "res44_uniform": ("UnifiedWeightLoss", {"lamda_p": 1, "scale": 0}),
}

NAMES = [name for row in ROWS if row.name != CUSTOM for name in row.names]  # of weightings that need no formula
DEPTHS = "a CIFAR ResNet has 6n + 2 layers: 8, 14, 20, 26, 32, ..."


def is_depth(depth: int) -> bool:
    """Whether `resnet` can make a net with so many layers."""
    return depth >= 8 and depth % 6 == 2


def setting_with(weighting: str) -> str | None:
    """The setting whose loss has the given weighting, e.g. GCE_DN; None if there is none."""
    setting = {"DM": "res44_usw"}.get(weighting, f"res44_{weighting.lower()}")
    return setting if setting in LOSSES else None


def loss_of(weighting: str, classes: int = 100, **own: str) -> tuple[str, dict]:
    """The loss layer's type and its loss_param for a weighting or a formula of p, with all parameters written out.

    `own` is the `formula` or the `emphasis` of CUSTOM or CUSTOM_DN.

    Raises
    ------
    ValueError
        If there is no such weighting, it is CUSTOM without a formula, or the formula has a mistake.
    """
    given = chosen(weighting)
    if twice := own.keys() & given.keys():
        raise ValueError(f"the {min(twice)} is given twice: {given[min(twice)]} and {own[min(twice)]}")
    given |= own
    if not own and (setting := setting_with(given["weighting"])):
        return LOSSES[setting]
    name = given.pop("weighting")
    numbers = {parameter.name: parameter.default for parameter in row_of(name).parameters}
    if "classes" in numbers:
        numbers["classes"] = classes
    Weighting(name, **given, **numbers)
    return "WeightedSoftmaxWithLoss", {"weighting": name} | given | {
        parameter.field or parameter.name: numbers[parameter.name] for parameter in row_of(name).parameters}


def resnet(depth: int, outputs: int, batch: int, name: str) -> pb.NetParameter:
    """The net from images to class probabilities, with one input blob, ``data``: (batch, 3, 32, 32).

    Parameters
    ----------
    depth : int
        6n + 2: the first convolution, three stages of n blocks with two convolutions each, and the classifier.
    outputs : int
        Number of classes.
    batch : int
        Images in a batch.
    name : str
        Name of the net.

    Returns
    -------
    caffe_pb2.NetParameter
        Its last layer is ``probs``: (batch, outputs).

    Raises
    ------
    ValueError
        If `depth` is not 6n + 2.
    """
    if not is_depth(depth):
        raise ValueError(f"depth {depth}: {DEPTHS}")
    blocks = (depth - 2) // 6
    # Caffe's old input fields, as released: the driver fills these blobs, and there is no data layer.
    net = pb.NetParameter(name=name, input=["data"], input_dim=[batch, 3, 32, 32])
    count = Counter()

    def add(kind: str, *bottoms: str, in_place: bool = False, **fields) -> str:
        count[kind] += 1
        name = f"{kind}{count[kind]}"
        top = bottoms[0] if in_place else name
        net.layer.add(name=name, type=kind, bottom=bottoms, top=[top], **fields)
        return top

    def convolution(bottom: str, channels: int, kernel: int = 3, stride: int = 1, relu: bool = True) -> str:
        top = add(
            "Convolution",
            bottom,
            param=[{"lr_mult": 1, "decay_mult": 1}, {"lr_mult": 2, "decay_mult": 0}],
            convolution_param={
                "num_output": channels,
                "pad": [kernel // 2],
                "kernel_size": [kernel],
                "stride": [stride],
                "weight_filler": {"type": "msra"},
                "bias_filler": {"type": "constant", "value": 0},
            },
        )
        # BatchNorm's blobs are statistics, so their learning rate is 0. The parameters of Scale are learnt, with weight decay.
        add("BatchNorm", top, in_place=True, param=[{"lr_mult": 0, "decay_mult": 0}] * 3)
        add("Scale", top, in_place=True, scale_param={"bias_term": True})
        if relu:
            add("ReLU", top, in_place=True)
        return top

    def block(bottom: str, channels: int, stride: int) -> str:
        shortcut = bottom
        if stride > 1:  # the projection precedes the residual branch in the file
            shortcut = convolution(bottom, channels, kernel=1, stride=stride, relu=False)
        residual = convolution(bottom, channels, stride=stride)
        residual = convolution(residual, channels, relu=False)
        top = add("Eltwise", shortcut, residual, eltwise_param={"operation": "SUM"})
        return add("ReLU", top, in_place=True)

    top = convolution("data", 16)
    for channels in 16, 32, 64:
        for index in range(blocks):
            top = block(top, channels, stride=2 if channels > 16 and index == 0 else 1)
    top = add("Pooling", top, pooling_param={"pool": "AVE", "global_pooling": True})
    top = add(
        "InnerProduct",
        top,
        param=[{"lr_mult": 1, "decay_mult": 1}, {"lr_mult": 2, "decay_mult": 1}],
        inner_product_param={"num_output": outputs, "weight_filler": {"type": "msra"}},
    )
    net.layer.add(name="probs", type="Softmax", bottom=[top], top=["probs"])
    return net


def train_net(loss: tuple[str, dict], depth: int = 44, outputs: int = 100, batch: int = 256) -> pb.NetParameter:
    """A ResNet, by default for CIFAR-100, with a loss as in LOSSES; a second input blob, ``label``: (batch, 1, 1, 1)."""
    kind, loss_param = loss
    net = resnet(depth, outputs, batch, name=f"resnet{depth}")
    net.input.append("label")
    net.input_dim.extend([batch, 1, 1, 1])
    net.layer.add(
        name="prob_groundtruth",
        type="ExtractProb",
        bottom=["probs", "label"],
        top=["prob_groundtruth"],
        propagate_down=[False, False],
    )
    bottoms = ["InnerProduct1", "label"]
    if kind != "SoftmaxWithLoss":
        bottoms.append("prob_groundtruth")  # the loss layers require it and do not read it
    net.layer.add(
        name="loss",
        type=kind,
        bottom=bottoms,
        top=["loss"],
        loss_weight=[1],
        propagate_down=[bottom == "InnerProduct1" for bottom in bottoms],
        loss_param=loss_param or None,
    )
    return net


def solver() -> pb.SolverParameter:
    """The solver of all released runs. It names the net in its own folder, so that a copy of the folder trains its own net."""
    return pb.SolverParameter(
        net="train.prototxt",
        base_lr=0.1,
        lr_policy="multistep",
        gamma=0.1,
        stepvalue=[15000, 22000],
        momentum=0.9,
        weight_decay=0.0005,
    )


def to_text(message: Message, width: int = 120) -> str:
    """A message in protobuf's text format; blocks that fit into a line of `width` characters are written in one line."""
    lines, open_blocks = [], []
    for line in text_format.MessageToString(message).splitlines():
        if line.endswith("{"):
            open_blocks.append(len(lines))
        lines.append(re.sub(r"(: -?\d+)\.0$", r"\1", line))
        if line.endswith("}"):
            start = open_blocks.pop()
            folded = " ".join([lines[start], *(inner.strip() for inner in lines[start + 1 :])])
            if len(folded) <= width:
                lines[start:] = [folded]
    return "\n".join(["# Written by python -m prototxt.generate", *lines, ""])


def files() -> dict[Path, str]:
    """The contents of all files that the generator writes, by absolute path."""
    messages = {}
    for setting, loss in LOSSES.items():
        messages[f"{setting}/train.prototxt"] = train_net(loss)
        messages[f"{setting}/solver.prototxt"] = solver()
        messages[f"{setting}/test.prototxt"] = resnet(44, outputs=100, batch=1, name="resnet44")
    messages["test_nets/resnet44.prototxt"] = resnet(44, outputs=100, batch=1, name="resnet44")
    for depth in 20, 32, 56, 110:
        name = f"resnet{depth}_cifar10"
        messages[f"test_nets/{name}.prototxt"] = resnet(depth, outputs=10, batch=128, name=name)
    return {HERE / path: to_text(message) for path, message in messages.items()}


def write_setting(folder: Path, weighting: str, depth: int, classes: int, batch: int, **own: str) -> None:
    """Write a user's own setting: train.prototxt, solver.prototxt and test.prototxt. Existing files are not overwritten.

    Raises
    ------
    FileExistsError
        If the folder already has one of these files.
    ValueError
        If there is no such weighting, or its formula has a mistake.
    """
    messages = {
        "train.prototxt": train_net(loss_of(weighting, classes, **own), depth, classes, batch),
        "solver.prototxt": solver(),
        "test.prototxt": resnet(depth, classes, batch=1, name=f"resnet{depth}"),
    }
    folder.mkdir(parents=True, exist_ok=True)
    if there := [name for name in messages if (folder / name).exists()]:
        raise FileExistsError(f"{folder} has a {there[0]} already: name another folder")
    for name, message in messages.items():
        (folder / name).write_text(to_text(message))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m prototxt.generate", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare only; exit code 1 where a file differs")
    own = parser.add_argument_group("a setting of your own", "the net and the released solver, into a folder of its own")
    own.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="the folder, e.g. prototxt/mine")
    own.add_argument("--depth", type=int, metavar="D", help="layers of the ResNet, 6n + 2: 20, 32, 44, 56, 110 (default 44)")
    own.add_argument("--classes", type=int, metavar="C", help="outputs (default 100)")
    own.add_argument("--batch", type=int, metavar="N", help="images per step, 8 of each class (default 256, or all classes)")
    own.add_argument("--weighting", metavar="W", help=f"{', '.join(NAMES)}, or a formula of p (default DM)")
    for name in OWN:
        own.add_argument(f"--{name}", metavar="TEXT", help=f"the {name} of CUSTOM, which it implies, or of CUSTOM_DN")
    args = parser.parse_args(arguments)
    given = {name: value for name in ("depth", "classes", "batch", "weighting", *OWN)
             if (value := getattr(args, name)) is not None}
    if args.output:
        if args.check:
            parser.exit(2, "error: --check compares the settings of this project: leave out -o\n")
        classes = given.get("classes", 100)
        most = IMAGES_PER_CLASS * classes
        weighting = CUSTOM if set(OWN) & given.keys() else "DM"
        wanted = {"depth": 44, "classes": classes, "batch": min(256, most), "weighting": weighting} | given
        try:
            if classes < 1:
                raise ValueError(f"--classes {classes}: at least 1 is needed")
            if wanted["batch"] not in range(IMAGES_PER_CLASS, most + 1, IMAGES_PER_CLASS):
                raise ValueError(f"--batch {wanted['batch']}: a batch is {IMAGES_PER_CLASS} images of each of 1 to {classes} "
                                 "classes")
            write_setting(args.output, **wanted)
        except (ValueError, OSError) as error:
            parser.exit(2, f"error: {error}\n")
        print(f"wrote {args.output}; train it: {command('solvers.train', [args.output])}")
        return 0
    if given:
        parser.exit(2, f"error: --{next(iter(given))} is for a setting of your own: name its folder with -o\n")
    stale = {path: text for path, text in files().items() if not path.exists() or path.read_text() != text}
    for path, text in stale.items():
        print(f"{'stale' if args.check else 'wrote'} {path.relative_to(HERE.parent)}")
        if not args.check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
    return 1 if args.check and stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
