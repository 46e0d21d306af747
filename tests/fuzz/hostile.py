"""Valid inputs, built from their grammar, in which one thing is hostile: a bound, type, shape, link, name, order, encoding.

Each function of CASES writes such an input into a folder, by a random number generator alone, and returns the command that
reads it. The folder `outside`, beside it, is what nobody may read or write; a file `secret` is in it.
"""

import io
import json
import os
import random
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import forms
import h5py
import lmdb
import numpy as np
import scipy.io
import tiny
from google.protobuf import text_format
from google.protobuf.descriptor import FieldDescriptor as Field
from google.protobuf.message import Message

from data_toolkit import matfile
from solvers.nets.pycaffe import caffe
from solvers.runs.training_set import TrainingSet

pb = caffe.proto.caffe_pb2

NUMBERS = [0, 1, -1, 2, 3, 7, 255, 65536, (1 << 24) + 1, 1 << 24, 2**31 - 1, -(2**31), 2**32 - 1, 2**63 - 1, -(2**63)]
REALS = [0.0, -1.0, 1e38, -1e38, 1e-45, float("nan"), float("inf"), float("-inf")]
WORDS = [
    "",
    "x",
    "data",
    "label",
    "scores",
    "\0",
    "\r",
    "\x1b[31m",
    "\u2028",
    "../outside/secret",
    "outside/secret",
    "/etc/passwd",
    "a" * 3000,
    "%s%n",
    "\u202e",
    "a b",
    "#",
    '"',
]
LAYERS = [
    'type: "ReLU"',
    'type: "Sigmoid"',
    'type: "TanH"',
    'type: "AbsVal"',
    'type: "BNLL"',
    'type: "ELU"',
    'type: "PReLU"',
    'type: "Power" power_param { power: 2 scale: 0.1 shift: 1 }',
    'type: "Exp" exp_param { base: 2 }',
    'type: "Dropout"',
    'type: "LRN" lrn_param { local_size: 3 }',
    'type: "LRN" lrn_param { local_size: 3 norm_region: WITHIN_CHANNEL }',
    'type: "BatchNorm"',
    'type: "Scale" scale_param { bias_term: true }',
    'type: "Bias"',
    'type: "MVN"',
    'type: "Softmax"',
    'type: "Convolution" convolution_param { num_output: 4 kernel_size: 3 pad: 1 }',
    'type: "Threshold"',
    'type: "Split"',
    'type: "Convolution" convolution_param { num_output: 4 kernel_size: 3 pad: 2 dilation: 2 group: 1 }',
    'type: "Deconvolution" convolution_param { num_output: 2 kernel_size: 2 stride: 2 }',
    'type: "ArgMax" argmax_param { axis: 1 }',
    'type: "Pooling" pooling_param { pool: MAX kernel_size: 2 stride: 2 }',
    'type: "Tile" tile_param { tiles: 2 }',
    'type: "Pooling" pooling_param { pool: AVE kernel_size: 3 stride: 1 pad: 1 }',
    'type: "Im2col" convolution_param { kernel_size: 2 }',
    'type: "Concat" bottom: "data"',
    'type: "Eltwise" bottom: "data"',
    'type: "Crop" bottom: "data" crop_param { axis: 2 offset: 0 }',
    'type: "Reduction" reduction_param { axis: 1 }',
    'type: "SPP" spp_param { pyramid_height: 2 }',
    'type: "Flatten"',
    'type: "Reshape" reshape_param { shape { dim: 0 dim: -1 dim: 1 dim: 1 } }',
    'type: "Slice" top: "second"',
    'type: "InnerProduct" inner_product_param { num_output: 5 }',
    'type: "BatchReindex" bottom: "label"',
    'type: "Log"',
    'type: "Filter" bottom: "label" top: "second"',
    'type: "Embed" embed_param { num_output: 3 input_dim: 300 }',
    'type: "HDF5Output" hdf5_output_param { file_name: "outside/new" }',
    'type: "Silence"',
    'type: "Parameter" parameter_param { shape { dim: 2 } }',
    'type: "Python" python_param { module: "os" layer: "system" }',
]
LOSSES = [
    tiny.CCE,
    tiny.EXTRACT + tiny.USW,
    tiny.EXTRACT + tiny.WEIGHTED.rstrip("}") + "loss_param { weighting: GCE } }",
    tiny.CCE.replace("SoftmaxWithLoss", "MultinomialLogisticLoss").replace('"scores"', '"probs"'),
    tiny.CCE.replace("SoftmaxWithLoss", "HingeLoss"),
    tiny.CCE.replace("SoftmaxWithLoss", "InfogainLoss"),
    tiny.CCE.replace("SoftmaxWithLoss", "EuclideanLoss"),
    tiny.CCE.replace("SoftmaxWithLoss", "SigmoidCrossEntropyLoss"),
    tiny.CCE + 'layer { name: "a" type: "Accuracy" bottom: "scores" bottom: "label" top: "a" accuracy_param { top_k: 2 } }',
]


def spoil(message: Message, draw: random.Random) -> None:
    """Change one field somewhere in a message, set or unset, to an extreme value of its type."""
    while True:
        inner = [
            value
            for field, values in message.ListFields()
            if field.type == Field.TYPE_MESSAGE
            for value in (values if field.is_repeated else [values])
        ]
        if not inner or draw.random() < 0.2:
            break
        message = draw.choice(inner)
    used = [field for field, _ in message.ListFields()]
    field = draw.choice(used if used and draw.random() < 0.6 else message.DESCRIPTOR.fields)
    values = getattr(message, field.name)
    if field.is_repeated and len(values) and draw.random() < 0.5:
        order = draw.choice(["drop", "repeat", "swap"])
        items = list(values)
        if order == "drop":
            del items[draw.randrange(len(items))]
        elif order == "repeat":
            items += [items[draw.randrange(len(items))]] * draw.choice([1, 2, 40])
        else:
            draw.shuffle(items)
        message.ClearField(field.name)
        values.extend(items)
        return
    if field.type == Field.TYPE_MESSAGE:
        spoil(values.add() if field.is_repeated else values, draw) if draw.random() < 0.7 else message.ClearField(field.name)
        return
    worst = {
        Field.CPPTYPE_STRING: WORDS,
        Field.CPPTYPE_BOOL: [True, False],
        Field.CPPTYPE_FLOAT: REALS,
        Field.CPPTYPE_DOUBLE: REALS,
        Field.CPPTYPE_ENUM: [value.number for value in field.enum_type.values] if field.enum_type else [],
    }.get(field.cpp_type, NUMBERS)
    value = draw.choice(worst)
    value = value.encode() if field.type == Field.TYPE_BYTES else value
    try:
        if field.is_repeated:
            values.append(value)
        else:
            setattr(message, field.name, value)
    except ValueError:  # larger than the type
        pass


def net_of(draw: random.Random) -> str:
    """A net with some of LAYERS and one of LOSSES."""
    body, last = "", "data"
    for number in range(draw.randrange(4)):
        layer, name = draw.choice(LAYERS), f"l{number}"
        bottom = "" if '"Parameter"' in layer else f'bottom: "{last}" '
        top = "" if "Silence" in layer or "HDF5Output" in layer else f'top: "{name}" '
        body += f'layer {{ name: "{name}" {bottom}{top}{layer} }}\n'
        last = name if top and draw.random() < 0.7 else last
    return tiny.INPUT + body + tiny.BODY + draw.choice(LOSSES)


def spelled(text: str, draw: random.Random) -> bytes:
    """The text of a prototxt, written in a way that two parsers might read differently."""
    content = text.encode()
    place = draw.choice([0, len(content), max(0, content.find(b"\n", draw.randrange(len(content) + 1)) + 1)])
    odd = draw.choice(
        [
            b"\r",
            b"\0",
            b"\xef\xbb\xbf",
            b"\x0b",
            b"# }}}\r layer { }\n",
            b"#\r\n",
            b"'",
            b'"',
            b"\xff",
            b"/* */",
            b"layer { name: 'a' \"b\" }",
            b"layer: < name: 'x' >",
            b'layer { name: "\\x41\\101\\u0041" }',
            b"[a.b] { }",
            b"layer { layer { " * 500,
            b"layers { type: 5 name: 'old' }",
            b'name: "a" # \r "b"\n',
            b";",
            b"layer { include { phase: 7 } }",
            b"input_dim: 1e3",
            b"input_dim: 0x10",
            b"input_dim: 010",
            b"{" * 3000,
        ]
    )
    return content[:place] + odd + content[place:]


def setting(folder: Path, draw: random.Random, net: str, solver: str = tiny.SOLVER) -> list[str]:
    source = tiny.write_setting(folder / "tiny", net=net, solver=solver)
    return ["train", str(source), "--max-iter", "2"]


def net(folder: Path, draw: random.Random) -> list[str]:
    text = net_of(draw)
    command = setting(folder, draw, text)
    if draw.random() < 0.3:
        (folder / "tiny/train.prototxt").write_bytes(spelled(text, draw))
    else:
        message = text_format.Parse(text, pb.NetParameter())
        spoil(message, draw)
        (folder / "tiny/train.prototxt").write_text(text_format.MessageToString(message))
    return command


def solver(folder: Path, draw: random.Random) -> list[str]:
    text = tiny.SOLVER + draw.choice(
        [
            "",
            'type: "Adam" momentum2: 0.99',
            'test_net: "t.prototxt" test_iter: 1 test_interval: 1',
            'weights: "w.caffemodel"',
            "iter_size: 1 random_seed: 3",
            'type: "RMSProp" rms_decay: 0.9 momentum: 0',
            'lr_policy: "step" stepsize: 1',
            "clip_gradients: 1",
        ]
    )
    message = (
        text_format.Merge(text, pb.SolverParameter())
        if text.count("momentum:") < 2
        else pb.SolverParameter(net="train.prototxt", base_lr=0.1, lr_policy="fixed", type="RMSProp", rms_decay=0.9)
    )
    if draw.random() < 0.3:
        message.ClearField("net")
        message.net_param.CopyFrom(text_format.Parse(net_of(draw), pb.NetParameter()))
    spoil(message, draw)
    command = setting(folder, draw, tiny.INPUT + tiny.BODY + tiny.CCE, text_format.MessageToString(message))
    (folder / "tiny/t.prototxt").write_text(tiny.INPUT + tiny.BODY + tiny.CCE)
    return command


def lead_elsewhere(place: Path, draw: random.Random) -> None:
    """Replace a file by a link, a pipe, a folder, nothing, or other bytes."""
    content = place.read_bytes() if place.is_file() else b""
    if place.is_dir():
        shutil.move(place, place.with_name("moved"))
    place.unlink(missing_ok=True)
    outside = place.parent
    while not (outside / "outside").is_dir():
        outside = outside.parent
    draw.choice(
        [
            lambda: place.symlink_to(outside / "outside/secret"),
            lambda: place.symlink_to(outside / "outside"),
            lambda: os.mkfifo(place),
            lambda: place.mkdir(),
            lambda: None,
            lambda: place.write_bytes(b""),
            lambda: place.write_bytes(content[: len(content) // 2]),
            lambda: place.symlink_to(place),
            lambda: place.write_bytes(content + b"\0" * 7),
        ]
    )()


def hdf5(folder: Path, draw: random.Random) -> list[str]:
    command = setting(folder, draw, tiny.hdf5_net("list.txt"))
    file, names = folder / "tiny/images.h5", [str(folder / "tiny/images.h5")]
    tiny.write_hdf5(file)
    outside = str(folder / "outside/secret")
    if draw.random() < 0.6:
        with h5py.File(file, "r+") as content:
            name = draw.choice(["data", "label"])
            whole = content[name][()]
            del content[name]
            draw.choice(
                [
                    lambda: content.create_dataset(name, whole.shape, "f4", external=[(outside, 0, h5py.h5f.UNLIMITED)]),
                    lambda: content.__setitem__(name, h5py.ExternalLink(outside, "x")),
                    lambda: content.create_group(name),
                    lambda: content.__setitem__(name, h5py.SoftLink("/data" if name == "label" else "/label")),
                    lambda: content.__setitem__(name, h5py.SoftLink(f"/{name}")),
                    lambda: None,
                    lambda: content.create_dataset(
                        name, (draw.choice([2**31, 2**32 + 200, 2**40]), *whole.shape[1:]), "f4", chunks=(1, *whole.shape[1:])
                    ),
                    lambda: content.create_dataset(
                        name, data=whole.reshape(*draw.choice([(1, -1), (-1, 1), (-1, 2, 1), (-1,)]))
                    ),
                    lambda: content.create_dataset(
                        name, data=whole.astype(draw.choice(["f8", "i8", "u1", "S4", "bool", "c8"]))
                    ),
                    lambda: content.create_dataset(name, data=np.full_like(whole, draw.choice([np.nan, 1e30, -1, 10, 3.5]))),
                    lambda: content.create_dataset(name, data=whole[: draw.choice([0, 1, 7])]),
                    lambda: content.create_dataset(name, data=np.float32(1)),
                    lambda: content.create_dataset(name, data=whole, chunks=True, compression="gzip", fletcher32=True),
                    lambda: content.create_dataset(
                        name, data=whole, chunks=True, compression="lzf", scaleoffset=None, shuffle=True
                    ),
                ]
            )()
    else:
        draw.choice(
            [
                lambda: names.append(outside),
                lambda: names.append(""),
                lambda: names.insert(0, " "),
                lambda: names.append("\0x"),
                lambda: names.append("x\x0b" + outside),
                lambda: names.append("none.h5"),
                lambda: names.extend(names * 9),
                lambda: lead_elsewhere(file, draw),
            ]
        )()
    (folder / "tiny/list.txt").write_text(draw.choice(["\n", "\r\n", " ", "\t"]).join(names))
    return [*command[:-1], "40"]


def database(folder: Path, draw: random.Random) -> list[str]:
    net = tiny.lmdb_net("db", draw.choice([tiny.CCE, tiny.EXTRACT + tiny.USW]))
    records = [tiny.datum(label=number % 10) for number in range(40)]
    mean = pb.BlobProto(num=1, channels=3, height=32, width=32, data=[0.5] * 3072)
    odd = draw.choice(["record", "record", "transform", "mean", "pages", "keys", "place"])
    transform = ['mean_file: "mean"', "crop_size: 30 mirror: true", "mean_value: 3", ""]
    if odd == "transform":
        message = pb.TransformationParameter(mean_file="mean", crop_size=30, mirror=True)
        spoil(message, draw)
        transform = [text_format.MessageToString(message, as_one_line=True)]
    if odd == "record":
        datum = pb.Datum.FromString(records[0])
        spoil(datum, draw)
        smaller = tiny.datum(height=16, data=bytes(3 * 16 * 32))
        records[draw.choice([0, 1, 16, 39])] = draw.choice(
            [datum.SerializeToString(), datum.SerializeToString(), b"", b"\xff" * 9, records[0] + b"\x08\x7f", smaller]
        )
    if odd == "mean":
        transform = transform[:1]
        spoil(mean, draw)
    given = draw.choice(transform)
    net = net.replace("data_param {", f"transform_param {{ {given} }} data_param {{", 1)
    command = setting(folder, draw, net)
    (folder / "tiny/mean").write_bytes(mean.SerializeToString())
    tiny.write_lmdb(folder / "tiny/db", records)
    if odd == "pages":
        file = folder / "tiny/db/data.mdb"
        content = bytearray(file.read_bytes())
        for _ in range(draw.choice([1, 3, 30])):
            content[draw.randrange(len(content))] = draw.choice([0, 1, 255, draw.randrange(256)])
        file.write_bytes(content)
    elif odd == "keys":
        with lmdb.open(str(folder / "tiny/db"), map_size=1 << 24) as environment, environment.begin(write=True) as transaction:
            transaction.put(draw.choice([b"!", b"~" * 500]), draw.choice([b"", b"x" * 100_000, records[0]]))
    elif odd == "place":
        lead_elsewhere(folder / "tiny/db" / draw.choice(["data.mdb", "lock.mdb"]), draw)
    return [*command[:-1], "5"]


def arrays(draw: random.Random) -> dict[str, np.ndarray]:
    """Arrays of images and labels, one of which is wrong in some way."""
    data = tiny.dataset(16)
    found = {"images": data.images, "labels": data.labels, "true_labels": data.labels}
    name = draw.choice(list(found))
    array = found[name]
    found[name] = draw.choice(
        [
            lambda: array.astype(draw.choice(["f4", "c8", "i1", "bool", "S3", "O", "f2"])),
            lambda: array[:0],
            lambda: array[:7],
            lambda: array.reshape(-1),
            lambda: array[None],
            lambda: np.full(array.shape, draw.choice([np.nan, 3.5, -1, 1e18, 2**62])),
            lambda: np.float32(3),
            lambda: array.T,
            lambda: np.zeros((0,) * array.ndim),
            lambda: array.astype("V4"),
            lambda: np.array([None, {}]),
            lambda: np.broadcast_to(array[:1], (1 << 12, *array.shape[1:])),
        ]
    )()
    return found


def labelled(folder: Path, draw: random.Random, file: Path) -> list[str]:
    """A command that reads a file of images with labels."""
    if draw.random() < 0.2:
        source = forms.pack(folder / "cifar.tar.gz", forms.files("binary"))
        return ["prepare", "--verify", str(file), "--source", str(source), "--output", str(folder / "data")]
    return [*setting(folder, draw, tiny.INPUT + tiny.BODY + tiny.CCE), "--train-data", str(file)]


def npz(folder: Path, draw: random.Random) -> list[str]:
    file = folder / "tiny.npz"
    np.savez(file, **arrays(draw)) if draw.random() < 0.7 else np.savez_compressed(file, **arrays(draw))
    if draw.random() < 0.4:
        with zipfile.ZipFile(file, "a") as archive:
            head = (
                f"{{'descr': {draw.choice(['|u1', '|O', '<f8', ['a'] * 9])!r}, 'fortran_order': {draw.choice(['True', '1'])}, "
            )
            head += f"'shape': {draw.choice([(1 << 40,), (-1,), (1, 2), 'x', (2**62, 4)])!r}}}"
            archive.writestr(
                draw.choice(["images.npy", "labels.npy", "../x.npy", "x"]),
                b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode() + b"x" * 100,
            )
    if draw.random() < 0.1:
        lead_elsewhere(file, draw)
    return labelled(folder, draw, file)


def mat(folder: Path, draw: random.Random) -> list[str]:
    file, found = folder / "TrainImageDataCell0.4.mat", arrays(draw)
    data = tiny.dataset(16)
    if draw.random() < 0.5:
        cell = np.empty((16, 1), object)
        cell[:, 0] = list(data.images)
        cell[draw.randrange(16), 0] = draw.choice(
            [
                np.zeros((32, 32)),
                "text",
                np.zeros((0, 0)),
                {"a": 1},
                data.images[0],
                np.zeros((32, 32, 3), "i2"),
                cell[:2].copy(),
            ]
        )
        variables = {"ImageDataCell": draw.choice([cell, cell.T, data.images, cell[:0]]), "class_ids": found["labels"]}
        try:
            scipy.io.savemat(file, variables, do_compression=draw.random() < 0.5)
        except (TypeError, ValueError):  # no MATLAB type
            scipy.io.savemat(file, {"ImageDataCell": cell[:3]})
    else:
        matfile.write(file, data.images, data.labels)
        with h5py.File(file, "r+") as content:
            name = draw.choice(["ImageDataCell", "class_ids", "#refs#/3"])
            del content[name]
            draw.choice(
                [
                    lambda: None,
                    lambda: content.create_group(name),
                    lambda: content.__setitem__(name, h5py.SoftLink("/class_ids")),
                    lambda: content.__setitem__(name, h5py.ExternalLink(str(folder / "outside/secret"), "x")),
                    lambda: content.create_dataset(name, data=np.float64(draw.choice([3.5, np.nan, -1]))),
                    lambda: content.create_dataset(name, (1, draw.choice([2**31, 2**40])), "f8", chunks=(1, 1 << 10)),
                    lambda: content.create_dataset(
                        name, (3, 32, 32), "u1", external=[(str(folder / "outside/secret"), 0, 3072)]
                    ),
                    lambda: content.create_dataset(name, (1, 16), h5py.ref_dtype),
                ]
            )()
    if draw.random() < 0.1:
        lead_elsewhere(file, draw)
    return labelled(folder, draw, file)


def archive(folder: Path, draw: random.Random) -> list[str]:
    form = draw.choice(["binary", "python", "python2", "matlab"])
    files = forms.files(form)
    names = list(files)
    name = draw.choice(names)
    kind = draw.choice(
        [tarfile.REGTYPE] * 4
        + [
            tarfile.SYMTYPE,
            tarfile.LNKTYPE,
            tarfile.FIFOTYPE,
            tarfile.DIRTYPE,
            b"Z",
            tarfile.GNUTYPE_SPARSE,
            tarfile.XHDTYPE,
            tarfile.GNUTYPE_LONGNAME,
        ]
    )
    content = files[name]
    content = draw.choice(
        [
            content,
            content[:-1],
            content + b"x",
            b"",
            content.replace(b"u1", draw.choice([b"O8", b"f8", b"u8"])),
            content.replace(b"data", b"atad"),
            content.replace(b"fine", b"coar"),
            content[:200] * 9,
        ]
    )
    with tarfile.open(folder / "cifar.tar.gz", f"w:{draw.choice(['gz', 'xz', ''])}") as packed:
        for other in (*names, *names[: draw.choice([0, 0, 0, 1])]):
            member = tarfile.TarInfo(other)
            data = content if other == name else files[other]
            member.size = len(data)
            if other == name:
                member.name = draw.choice(
                    [other, "../" + other, "/" + other, other + "\0x", other.upper(), "x" * 3000 + other]
                )
                member.type, member.linkname = kind, str(folder / "outside/secret")
            packed.addfile(member, io.BytesIO(data))
    if draw.random() < 0.2:
        lead_elsewhere(folder / "cifar.tar.gz", draw)
    return ["prepare", "--source", str(folder / "cifar.tar.gz"), "--output", str(folder / "data")]


@cache
def template() -> Path:
    """A run that was trained and measured; it is made once in each process."""
    import atexit
    import tempfile

    place = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    from solvers import train
    from solvers.nets.permissions import Permissions

    as_it_was = Permissions.confine, TrainingSet.prepare
    Permissions.confine, TrainingSet.prepare = lambda *_, **__: None, lambda labels, folder: tiny.dataset()
    command = [str(tiny.write_setting(place / "tiny")), "--runs", str(place / "runs"), "--max-iter", "10", "--snapshot", "5"]
    assert train.main(command) == 0
    Permissions.confine, TrainingSet.prepare = as_it_was
    run = place / "runs/tiny/noise_0.0/seed_123"
    (run / "accuracy.txt").write_text("iter: 5, accuracy: 0.1000\niter: 10, accuracy: 0.2000\n")
    return place


def spoil_json(value: object, draw: random.Random) -> object:
    """A JSON value in which one value somewhere is replaced."""
    if isinstance(value, dict | list) and value and draw.random() < 0.8:
        key = draw.choice(list(value) if isinstance(value, dict) else range(len(value)))
        value[key] = spoil_json(value[key], draw)
        return value
    return draw.choice(
        [None, True, -1, 1e300, "", "\x1b[2J", "../../outside/secret", [], {}, [[]] * 9, 2**70, "x" * 3000, 0.5]
    )


def run(folder: Path, draw: random.Random) -> list[str]:
    shutil.copytree(template(), folder, dirs_exist_ok=True)
    place = folder / "runs/tiny/noise_0.0/seed_123"
    file = draw.choice(sorted(path for path in place.rglob("*") if path.name != "tensorboard"))
    number = file.stem.rpartition("_")[2]
    if draw.random() < 0.3:
        lead_elsewhere(file, draw)
    elif file.suffix == ".json":
        content = json.loads(file.read_text())
        file.write_text(draw.choice([lambda: json.dumps(spoil_json(content, draw)), lambda: "[" * 5000, lambda: ""])())
    elif file.suffix in (".caffemodel", ".solverstate"):
        message = (pb.NetParameter if file.suffix == ".caffemodel" else pb.SolverState).FromString(file.read_bytes())
        spoil(message, draw)
        file.write_bytes(message.SerializePartialToString())
        if draw.random() < 0.8:
            (file.parent / f"checkpoints_iter_{number}.json").unlink()
    elif file.suffix == ".prototxt":
        message = text_format.Parse(file.read_text(), pb.NetParameter() if "train" in file.name else pb.SolverParameter())
        spoil(message, draw)
        file.write_text(text_format.MessageToString(message))
    elif file.is_file():
        text = file.read_bytes()
        file.write_bytes(
            draw.choice(
                [
                    b"",
                    text + b"\0",
                    text.replace(b"1", b"nan"),
                    text.replace(b",", b"\x1b,"),
                    text[:-3],
                    text.replace(b"0", b"-"),
                    text + text,
                    b"\xff\xfe" + text,
                ]
            )
        )
    else:
        (file / draw.choice([".hidden", "checkpoints_iter_99999999999.caffemodel", "checkpoints_iter_7.json"])).write_text("x")
    commands = [
        ["evaluate", str(place)],
        ["compare", str(place)],
        ["train", str(folder / "tiny"), "--max-iter", "12", "--snapshot", "5", "--resume"],
        ["plot_dynamics", str(place), "--output", str(folder / "d.png")],
        ["report", str(place), "-o", str(folder / "report.html")],
        ["keep", str(place), "--to", str(folder / "kept"), "--weights"],
    ]
    return draw.choices(commands, [4, 4, 4, 2, 1, 2])[0]


CASES: dict[str, Callable[[Path, random.Random], list[str]]] = {
    function.__name__: function for function in (net, solver, hdf5, database, npz, mat, archive, run)
}
