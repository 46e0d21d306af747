"""Everything that a run reads, mutated: it is read, or refused in one line; nothing else is ever raised."""

import json
import re

import pytest
import tiny
from mutations import mutations

from data_toolkit.errors import DataError
from solvers import admission, classifier, evaluate, prototext, results, run, setting, weights
from solvers.checkpoints import Checkpoints
from solvers.engine import caffe
from solvers.errors import SolverError
from solvers.logs import CsvLog, read_log
from solvers.phases import train_state

pb = caffe.proto.caffe_pb2
COUNTS = [pytest.param(50, id="50"), pytest.param(1000, id="1000", marks=pytest.mark.slow)]
REFUSALS = (SolverError, DataError)


def check(read, content: bytes, count: int) -> None:
    """`read` takes each mutation or raises one of REFUSALS with a text."""
    refused = 0
    for broken in mutations(content, count):
        try:
            read(broken)
        except REFUSALS as error:
            assert str(error)
            refused += 1
    assert refused > 0


@pytest.fixture(params=COUNTS)
def count(request):
    return request.param


def test_nets_and_solvers(setting_folder, count):
    """Parsed and checked, as far as before Caffe sees them."""
    for name in "train.prototxt", "solver.prototxt":
        file = setting_folder / name
        whole = file.read_bytes()

        def read(broken, file=file):
            file.write_bytes(broken)
            chosen = setting.load(setting_folder)
            admission.check_solver(chosen.solver)
            admission.check_net(chosen.net, train_state(chosen.net, chosen.solver))

        check(read, whole, count)
        file.write_bytes(whole)


@pytest.fixture
def setting_folder(setting):
    return setting()


@pytest.fixture
def trained(setting, run, folder, monkeypatch):
    monkeypatch.setattr("data_toolkit.dataset.load_test", lambda data: tiny.dataset(images=20))
    run(setting(), "--max-iter", 10)
    return folder


@pytest.mark.parametrize("suffix", ["solverstate", "caffemodel", "json"])
def test_checkpoints(trained, count, suffix, capsys):
    """Damage is always seen and named: only a manifest that still tells both files' sizes and sums may differ."""
    file = trained / "checkpoints1" / f"checkpoints_iter_10.{suffix}"
    whole = file.read_bytes()
    for broken in mutations(whole, count):
        if broken == whole:
            continue
        file.write_bytes(broken)
        capsys.readouterr()
        newest, said = Checkpoints(trained).newest(), capsys.readouterr().err
        if suffix == "json" and told(broken) == told(whole):
            assert (newest, said) == (10, "")
        else:
            assert newest is None and re.fullmatch(r"warning: \S+checkpoints_iter_10\.[^\n]+\n", said)


def told(manifest: bytes) -> list | None:
    """What a manifest says of the files; None if it says nothing."""
    try:
        files = json.loads(manifest.decode())["files"]
        return [files[f"checkpoints_iter_10.{kind}"][fact] for kind in ("solverstate", "caffemodel")
                for fact in ("bytes", "sha256")]
    except (ValueError, KeyError, TypeError):
        return None


def test_weights_without_a_manifest(trained, count):
    model = Checkpoints(trained).model(10)
    whole = model.read_bytes()
    net = weights.build(classifier.read(trained))
    (trained / "checkpoints1" / "checkpoints_iter_10.json").unlink()

    def read(broken):
        model.write_bytes(broken)
        weights.read(model, net)

    check(read, whole, count)


@pytest.mark.parametrize("name", ["log.csv", "dynamics.csv"])
def test_logs(trained, count, name):
    from solvers.dynamics import Dynamics
    from solvers.logs import Step

    file, kind, interval = trained / name, *{"log.csv": (Step, 1), "dynamics.csv": (Dynamics, 10)}[name]

    def read(broken):
        file.write_bytes(broken)
        read_log(file, kind)
        CsvLog(file, 10, kind, interval).close()

    check(read, file.read_bytes(), count)


def test_measurements(trained, count):
    """Whatever is no longer what was measured is measured again."""
    evaluate.evaluate(trained, None)
    file = trained / "accuracy.json"
    whole, data = file.read_bytes(), tiny.dataset(images=20).fingerprint
    [(key, value)] = evaluate.Measurements(file, data).values.items()
    assert value["accuracy"] == pytest.approx(float((trained / "accuracy.txt").read_text().split()[-1]), abs=5e-5)
    lost = 0
    another = whole.replace(json.dumps(value["accuracy"]).encode(), b"0.987")
    for broken in another, *mutations(whole, count):
        file.write_bytes(broken)
        found = evaluate.Measurements(file, data)
        assert key not in found or found[key] == value
        lost += key not in found
    assert lost > count / 2


def test_configs(trained, count):
    """Of a run that is measured, compared and gone on with."""
    evaluate.evaluate(trained, None)
    file = trained / "config.json"
    chosen = setting.load(trained)
    this = run.Run(trained, chosen, run.resolve_solver(chosen.solver, None, 10, []), json.loads(file.read_text()))

    def read(broken):
        file.write_bytes(broken)
        evaluate.find_source(trained, trained)
        results.read(trained)
        this.check_resumable()

    check(read, file.read_bytes(), count)


@pytest.mark.parametrize("text", ["layer { " * 100000, "name: 'x'" * 3_000_000, "layer < " * 51])
def test_nets_that_would_exhaust_the_parser(tmp_path, text):
    (tmp_path / "net.prototxt").write_text(text)
    with pytest.raises(SolverError, match="net.prototxt (is nested|has)"):
        prototext.read(tmp_path / "net.prototxt", pb.NetParameter())


def test_manifests_are_json(trained):
    json.loads((trained / "checkpoints1" / "checkpoints_iter_10.json").read_text())
