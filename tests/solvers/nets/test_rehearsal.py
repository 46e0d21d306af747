"""Nets over which Caffe ends its process are refused in one line, and the process that trains goes on."""

import faulthandler
import os
import random
import re
from contextlib import nullcontext
from pathlib import Path

import pytest
from tiny import BODY, CCE, INPUT, datum, lmdb_net, write_lmdb, write_setting

from base import isolation
from base.errors import InputError
from solvers import train
from solvers.nets import prototext, rehearsal, setting, solver_param
from solvers.nets.phases import net_params_of
from solvers.nets.pycaffe import caffe
from solvers.training import gpus


def rehearse(folder, net: str = INPUT + BODY + CCE) -> None:
    rehearse_setting(setting.load(write_setting(folder, net=net)))


def rehearse_setting(chosen: setting.Setting, devices: list[int] = ()) -> None:
    solver = solver_param.resolved(chosen.solver, None, 10, devices)
    net_params = net_params_of(chosen.net_param, solver, True)
    rehearsal.rehearse(chosen.folder, net_params, solver_param.for_caffe(chosen, solver), devices)


@pytest.mark.parametrize(("old", "new", "said"), [
    ("kernel_size: 3", "kernel_size: 64", r"layer 'conv': shape\[i\] >= 0"),
    ("num_output: 8", "num_output: 2000000000", "layer 'conv': .*blob size exceeds INT_MAX"),
    ("input_dim: 16 input_dim: 3", "input_dim: 1000000000 input_dim: 3", "blob size exceeds INT_MAX"),
    ("kernel_size: 3 stride: 4", "kernel_size: 3 stride: 4 group: 5", "layer 'conv': channels_ % group_"),
    ("scale_param { bias_term: true }", "scale_param { axis: 7 }", "layer 'scale': "),
    ('name: "bn"', 'name: "bn" bottom: "data"', "layer 'bn': "),
])
def test_what_caffe_checks_is_one_line_that_names_the_layer(tmp_path, old, new, said):
    net = INPUT + BODY + CCE
    assert old in net
    with pytest.raises(InputError, match=f"^Caffe refuses {re.escape(str(tmp_path))}/tiny: [^\n]*{said}[^\n]*$"):
        rehearse(tmp_path / "tiny", net.replace(old, new, 1))


def test_a_net_larger_than_the_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(rehearsal, "available_memory", lambda: 300 << 20)
    rehearse(tmp_path / "small")
    net = INPUT + BODY.replace("num_output: 10 weight_filler { type: \"msra\" }", "num_output: 10000000") + CCE
    with pytest.raises(InputError, match="host allocation of size [0-9]+ failed"):
        rehearse(tmp_path / "weights", net)
    with pytest.raises(InputError, match=r"^the net needs at least 1102 MB of memory, and 300 MB are available"):
        rehearse(tmp_path / "images", INPUT.replace("16", "80000") + BODY + CCE)


@pytest.mark.parametrize("child", ["fork", "new process"])
def test_a_wrong_label_in_the_first_batch(tmp_path, monkeypatch, child):
    """In a database, which only Caffe reads. Each kind of child process finds it, on the CPU."""
    if child == "new process":
        forked = isolation.run
        monkeypatch.setattr(isolation, "run", lambda *given, fresh, **options: forked(*given, fresh=True, **options))
    for name, labels in (("good", [0, 9]), ("bad", [3, 10])):
        write_lmdb(tmp_path / f"{name}_db", [datum(label=label) for label in labels * 8])
    rehearse(tmp_path / "good", lmdb_net(tmp_path / "good_db"))
    with pytest.raises(InputError, match="^the first batch of 'label' has the label 10, but layer 'loss' scores 10 "):
        rehearse(tmp_path / "bad", lmdb_net(tmp_path / "bad_db"))


@pytest.mark.skipif(gpus.has_cuda(), reason="this Caffe knows GPUs")
def test_a_net_is_rehearsed_on_the_gpu_it_will_train_on(tmp_path):
    """This Caffe has no GPU, so the rehearsal reports that."""
    chosen = setting.load(write_setting(tmp_path / "tiny", net=INPUT + BODY + CCE))
    with pytest.raises(InputError, match="^Caffe refuses .*: Cannot use GPU in CPU-only Caffe"):
        rehearse_setting(chosen, [3])


def test_the_memory_of_this_machine_is_told():
    assert 1 << 20 < rehearsal.available_memory() < 1 << 50


def test_a_refused_net_leaves_no_run(tmp_path, capsys):
    folder = write_setting(tmp_path / "tiny", net=(INPUT + BODY + CCE).replace("kernel_size: 3", "kernel_size: 64"))
    assert train.main([str(folder), "--runs", str(tmp_path / "runs")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def mutated(net: str, chance: random.Random) -> str:
    """The net with a few of its numbers and words replaced by others."""
    def number(_):
        return str(chance.choice((-1, 0, 1, 2, 3, 7, 31, 255, 65536, 2**31 - 1)))

    words = re.findall(r'"(\w+)"', net)
    for _ in range(chance.randint(1, 4)):
        pattern, other = chance.choice(((r"\b\d+\b", number), (r'"\w+"', lambda _: f'"{chance.choice(words)}"')))
        place = chance.choice(list(re.finditer(pattern, net)))
        net = net[:place.start()] + other(place) + net[place.end():]
    return net


def caffe_lives(chosen: setting.Setting, memory: int) -> bool:
    """Whether a process with this much memory survives if Caffe builds the setting's solver in it."""
    solver = solver_param.resolved(chosen.solver, None, 10, [])
    solver.train_net = str(chosen.folder / "train.prototxt")
    file = chosen.folder / "whole.prototxt"
    file.write_text(prototext.text(solver))
    child = os.fork()
    if not child:
        try:
            faulthandler.disable()
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            isolation.limit_memory(memory)
            caffe.get_solver(str(file))
        finally:
            os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def mutated_setting(folder: Path, seed: int) -> setting.Setting:
    """A setting with a mutated net that still parses."""
    chance = random.Random(seed)
    write_setting(folder)
    while True:
        (folder / "train.prototxt").write_text(mutated(INPUT + BODY + CCE, chance))
        try:
            return setting.load(folder)
        except InputError:
            pass


@pytest.mark.parametrize("seed", range(60))  # Caffe takes a quarter of them
def test_mutated_nets_are_refused_where_caffe_ends_the_process(tmp_path, monkeypatch, seed):
    memory = 1 << 30
    monkeypatch.setattr(rehearsal, "available_memory", lambda: memory)
    chosen = mutated_setting(tmp_path / "tiny", seed)
    refused = nullcontext() if caffe_lives(chosen, memory) else pytest.raises(
        InputError, match=rf"^Caffe refuses {re.escape(str(chosen.folder))}: [^\n]+$")
    with refused:
        rehearse_setting(chosen)
