"""Write a net of Caffe's as an ONNX file, which is kept only if both give the same outputs.

    python -m solvers.export runs/res44_usw/noise_0.4/seed_123 -o net.onnx                   # the last checkpoint
    python -m solvers.export runs/res44_usw/noise_0.4/seed_123 --iteration best --preprocessing -o net.onnx
    python -m solvers.export deploy.prototxt weights.caffemodel -o net.onnx                  # anybody's net

The batch may be any size, blobs keep their names. If the outputs differ by more than 1e-4 relative,
no file is kept, and the exit code is 1.
"""

import argparse
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import onnx

from base import files
from base.errors import CommandLine, InputError, failed, reports_errors
from base.terminal import one_line, say
from base.writing import scratch_folder
from solvers.export import admission, comparison, metadata, writing
from solvers.export import source as sources
from solvers.export.build import build
from solvers.export.comparison import Case, Parted
from solvers.export.graph import OPSET, Shape
from solvers.export.preprocessing import MeanSubtraction, Preprocessing, Recipe, shown
from solvers.export.source import Source
from solvers.nets import threads, weights
from solvers.nets.permissions import Permissions
from solvers.nets.pycaffe import last_words
from solvers.runs import config


@reports_errors()
def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit code: 0, 1 where Caffe and ONNX Runtime differ, 2 after bad input, 130 after
    Ctrl-C."""
    parser = CommandLine(prog="python -m solvers.export", description=__doc__,
                         formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("net", type=Path, help="folder that solvers.train wrote, or one of the released package; or a "
                                               "deploy.prototxt, then with its weights")
    parser.add_argument("weights", type=Path, nargs="?", help="the caffemodel of the deploy.prototxt")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.onnx", help="what to write")
    parser.add_argument("--iteration", metavar="K", help="a run's checkpoint: a number, best or last (default last)")
    parser.add_argument("--preprocessing", action="store_true",
                        help="take uint8 RGB images, batch x height x width x 3, and make the net's input in the graph: as "
                             "the recipe does for a run, else as BGR less --mean")
    parser.add_argument("--mean", type=_mean, metavar="B,G,R", help="what the net's input is centred by, of a net of your own")
    parser.add_argument("--classes", type=Path, metavar="FILE", help="the names of the classes, one a line")
    parser.add_argument("--fold", action="store_true", help="fold BatchNorm and Scale into the convolutions before them")
    parser.add_argument("--keep", action="store_true", help="keep the file even if it differs from Caffe")
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR",
                        help="where the measurements of a released folder are (default runs)")
    parser.add_argument("--data", type=Path, default=Path("data"), metavar="DIR",
                        help="folder of the data, whose images a run is compared on (default data)")
    Permissions.add_unconfined(parser)
    threads.add_option(parser)
    args = parser.parse_args(argv)
    writing.check_place(args.output, args.net, *([args.weights] if args.weights else []))
    confine(args)
    threads.use(args.threads)
    try:
        with last_words(f"{args.output} is not written"):
            return export(args)
    except Parted as error:
        failed(error)
        return 1


def confine(args: argparse.Namespace) -> None:
    """Let the kernel hold this process to the net, its weights and what else the options name; it writes beside -o only."""
    around = () if (args.net / config.FILE).exists() or args.weights else (files.real(args.net).parent, args.runs)
    model = [args.weights, args.weights.with_suffix(".json")] if args.weights else []  # with its manifest, if it is a run's
    named = [args.net, *around, args.data, *model, *filter(None, [args.classes])]
    allowed = Permissions.from_options(args, *named)
    allowed.confine(write=allowed.deliver(args.output, beside=writing.BESIDE))


def export(args: argparse.Namespace) -> int:
    """Do what the options say; return the exit code."""
    if args.weights is None:
        source = sources.of_run(args.net, args.iteration or "last", args.runs)
    elif args.iteration:
        raise InputError("--iteration is for a run; a caffemodel is one checkpoint")
    else:
        source = sources.of_files(args.net, args.weights)
    mean, classes = metadata.mean_of(source, args.mean), metadata.read_classes(args.classes)
    preprocessing = _preprocessing(source, mean) if args.preprocessing else None
    with admission.upgraded(source.model, scratch_folder(args.output)) as model_file:
        shapes = admission.admit(source.net_param, model_file, source.name)
        net = weights.build(source.net_param)
        weights.load(net, model_file)
        metadata.check_classes(classes, [shapes[blob] for blob in net.outputs])
        model = build(source.net_param, net, shapes, args.fold, preprocessing)
        metadata.check_mean(mean, shapes[net.inputs[0]])
        metadata.describe(model, source, mean, classes, args.preprocessing)
        cases = comparison.cases(source.net_param, shapes, mean, preprocessing, args.data if source.is_run else None) \
            if comparison.runtime() else []
        expected = [comparison.caffe_blobs(source.net_param, model_file, case) for case in cases]
    sha256 = next(entry.value for entry in model.metadata_props if entry.key == "weights_sha256")
    with writing.written(model, args.output, sha256) as file:
        parted = compare(source, shapes, file, cases, expected)
        if parted and not args.keep:
            raise Parted(f"{parted}; {args.output} is not written (--keep writes it)")
    weights_file = args.output.with_name(writing.weights_name(args.output, sha256))
    beside = f" and {weights_file.stat().st_size / 1e6:.1f} MB in {weights_file}" if writing.needs_two_files(model) else ""
    checkpoint = f"checkpoint {source.iteration}, " if source.is_run else ""
    say(one_line(f"{args.output}: {checkpoint}{args.output.stat().st_size / 1e6:.1f} MB{beside}, ONNX opset {OPSET}, "
                 f"{signature(model.graph.input)} -> {signature(model.graph.output)}"))
    if parted:
        say(one_line(f"warning: {parted}"), file=sys.stderr)
    return 1 if parted else 0


def compare(source: Source, shapes: dict[str, Shape], file: Path, cases: list[Case], expected: list[dict]) -> str:
    """Print how far apart the outputs are; return in words where they are too far, or ""."""
    if not expected:
        say("note: ONNX Runtime is not installed, so the file is not compared with Caffe: pip install onnxruntime")
        return ""
    deciding = comparison.deciding(source.net_param)
    parted = ""
    for case, blobs in zip(cases, expected, strict=True):
        for found in comparison.differences(file, case, blobs, deciding):
            say(one_line(f"{found.blob}: {case.name} inputs, batch {case.batch}: largest difference {found}"))
            if not parted and not found.relative <= comparison.TOLERANCE:
                first = comparison.first_apart(source.net_param, shapes, file, case, blobs)
                parted = (f"Caffe and ONNX Runtime differ by more than {comparison.TOLERANCE:g} on {case.name} inputs: "
                          f"'{found.blob}' by {found}; " + (f"the first blob is '{first.blob}', by {first}" if first else
                                                            "no blob before it does"))
    return parted


def signature(values: Iterable[onnx.ValueInfoProto]) -> str:
    """Names and sizes of inputs or outputs."""
    return ", ".join(f"{value.name} ({shown([size.dim_value or None for size in value.type.tensor_type.shape.dim])})"
                     for value in values)


def _preprocessing(source: Source, mean: Sequence[float] | None) -> Preprocessing:
    if source.is_run:
        return Recipe()
    if mean is None:
        raise InputError("--preprocessing: the net's files do not tell its mean; give --mean B,G,R, such as 104,117,123")
    return MeanSubtraction(mean)


def _mean(text: str) -> tuple[float, ...]:
    try:
        values = tuple(map(float, text.split(",")))
    except ValueError:
        values = ()
    if len(values) not in (1, 3) or not all(map(math.isfinite, values)):
        raise argparse.ArgumentTypeError(f"expected blue, green and red, such as 104,117,123, or one number, found {text!r}")
    return values


if __name__ == "__main__":
    sys.exit(main())
