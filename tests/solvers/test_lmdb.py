"""Databases, which Caffe itself reads: a mistake is reported in one line, when the net is made or while it trains."""

import os
import subprocess
import sys

import pytest
import tiny

from solvers.nets.pycaffe import caffe

pb = caffe.proto.caffe_pb2


def train(source, *options: object) -> tuple[int, list[str]]:
    """Exit code and the lines of stderr of a run in a separate process, which Caffe may end."""
    done = subprocess.run(tiny.command(source, source.parent / "runs", *options), capture_output=True, text=True, timeout=120)
    return done.returncode, done.stderr.splitlines()


@pytest.fixture
def source(tmp_path):
    """A function that writes a setting whose net reads these records; returns its folder."""
    def write(records, **parts):
        folder = tiny.write_setting(tmp_path / "tiny", net=tiny.lmdb_net(tmp_path / "tiny" / "db", **parts))
        tiny.write_lmdb(folder / "db", records)
        return folder
    return write


def test_a_database_is_trained_on(source):
    """Records of floats and of bytes, over several epochs."""
    bytes_and_floats = tiny.datum(), tiny.datum(data=b"", float_data=[0.5] * 3 * 32 * 32)
    assert train(source([*bytes_and_floats] * 10), "--max-iter", 5)[0] == 0


@pytest.mark.parametrize(("records", "said"), [
    ([], "The database is empty"),
    ([b"\xff" * 100], "not a Datum"),
    ([tiny.datum(height=1 << 20, width=1 << 20)], "blob size exceeds INT_MAX"),
    ([tiny.datum(encoded=True, data=b"no image")], "ncoded"),
], ids=["empty", "no datum", "large", "encoded"])
def test_a_database_that_makes_no_net(source, records, said):
    folder = source(records)
    code, lines = train(folder, "--max-iter", 5)
    assert code == 2 and len(lines) == 1
    assert lines[0].startswith(f"error: Caffe refuses {folder}: layer 'images': ") and said in lines[0]
    assert not list((folder.parent / "runs").iterdir())


def test_a_mean_file_that_claims_to_be_large(source):
    """Caffe took 6 GB of memory for it before it looked at how many values there are."""
    folder = source([tiny.datum()])
    net = folder / "train.prototxt"
    net.write_text(net.read_text().replace("data_param {", 'transform_param { mean_file: "mean" } data_param {', 1))
    mean = pb.BlobProto(shape=pb.BlobShape(dim=[1, 3, 1 << 14, 1 << 15]), data=[1.0] * 3072)
    (folder / "mean").write_bytes(mean.SerializeToString())
    code, lines = train(folder, "--max-iter", 1)
    assert code == 2 and "a blob has other values than its shape says" in lines[-1]


@pytest.mark.parametrize(("record", "loss", "said"), [
    (b"\xff" * 100, tiny.CCE, "not a Datum"),
    (tiny.datum(data=b"\0" * 100), tiny.CCE, "A Datum has other data than its shape says"),
    (tiny.datum(data=b"", float_data=[1.0]), tiny.CCE, "A Datum has other data than its shape says"),
    (tiny.datum(height=16, data=bytes(3 * 16 * 32)), tiny.CCE, "datum_height"),
    (tiny.datum(label=10), tiny.CCE, "label"),
    (tiny.datum(label=-1), tiny.CCE, "label"),
    (tiny.datum(label=10), tiny.EXTRACT + tiny.USW, "label"),
], ids=["no datum", "bytes", "floats", "height", "label 10", "label -1", "label 10, DM"])
def test_a_bad_record_far_in(source, record, loss, said):
    """Caffe ends the process with its reason, and a line says what to do. The last checkpoint stays and can be resumed."""
    records = [tiny.datum()] * 100
    folder = source([*records, record], loss=loss)
    assert train(folder, "--max-iter", 1)[0] == 0
    code, lines = train(folder, "--max-iter", 50, "--resume")
    assert code == 2
    run = folder.parent / "runs" / "tiny" / "noise_0.0" / "seed_123"
    assert lines[-1] == (f"error: Caffe refuses to go on, for the reason above: {run} keeps its newest checkpoint; once the "
                         "cause is gone, go on with --resume")
    assert "Check failed: " in lines[-2] and said in lines[-2] and "stack trace" not in "".join(lines)
    assert (run / "checkpoints1" / "checkpoints_iter_1.caffemodel").exists()


def test_a_database_that_is_cut_off(source):
    """LMDB maps the file into memory, and the system kills a process that reads behind its end."""
    folder = source([tiny.datum()] * 100)
    file = folder / "db" / "data.mdb"
    os.truncate(file, file.stat().st_size // 8)
    code, lines = train(folder, "--max-iter", 1)
    assert (code, lines) == (2, [f"error: Caffe refuses {folder}: it crashes (SIGBUS): is a file that the net's layers read "
                                 "damaged?"])


@pytest.mark.parametrize("name", ["data.mdb", "lock.mdb"])
def test_no_file_of_a_database_leads_elsewhere(source, tmp_path, name):
    """Links are not read, and nothing is written to the target of lock.mdb: Caffe opens databases without a lock file."""
    folder = source([tiny.datum()])
    (folder / "db" / name).unlink(missing_ok=True)
    (tmp_path / "precious").write_bytes(b"x" * 100)
    (folder / "db" / name).symlink_to(tmp_path / "precious")
    code, lines = train(folder, "--max-iter", 1)
    if name == "data.mdb":
        assert code == 2 and f"would read {folder}/db/{name}, which is in none of the folders" in lines[-1]
    else:
        assert code == 0
    assert (tmp_path / "precious").read_bytes() == b"x" * 100


def test_a_crash_is_named(tmp_path):
    """Caffe itself prints nothing when it crashes."""
    code = ("import os, signal; from solvers.nets.pycaffe import last_words\n"
            "with last_words('go on'): os.kill(os.getpid(), signal.SIGSEGV)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert done.returncode == -11 and done.stderr == "\nerror: Caffe was ended by SIGSEGV: go on\n"


def test_last_words_end():
    """After the context, a crash behaves as before it."""
    code = ("import os, signal; from solvers.nets.pycaffe import caffe, last_words\n"
            "with last_words('go on'): pass\n"
            "caffe.Net('/no/such', 0)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert "go on" not in done.stderr
    done = subprocess.run([sys.executable, "-c", code.replace("caffe.Net('/no/such', 0)", "os.abort()")],
                          capture_output=True, text=True, env=os.environ)
    assert done.returncode == -6 and done.stderr == ""
