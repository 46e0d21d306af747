"""The command that makes the data sets: its files, when it does nothing, and its errors."""

import os
import subprocess
import sys
from pathlib import Path

import forms
import numpy as np
import pytest

from base.errors import InputError
from data_toolkit import archives, dataset, download, matfile, prepare
from data_toolkit.noise import LabelNoise

ROOT = Path(prepare.__file__).resolve().parents[1]


@pytest.fixture
def source(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(archives, "COUNTS", forms.COUNTS)
    return forms.pack(tmp_path / "cifar-100", forms.files("binary"))


@pytest.fixture
def output(tmp_path) -> Path:
    return tmp_path / "out" / "data"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_it_writes(source, output, capsys):
    paths = prepare.prepare(LabelNoise(rate=0.4), source=source, output=output)
    assert names(output) == sorted(path.name for path in paths) == [
        "TestImageDataCell.mat", "TrainImageDataCell0.4.mat", "cifar100_test.npz",
        "cifar100_train_symmetric_0.4_seed_123.npz", "cifar100_train_symmetric_0.4_seed_123_confusion.csv"]
    train, test = dataset.load_train(output, LabelNoise(rate=0.4)), dataset.load_test(output)
    np.testing.assert_array_equal(train.true_labels, forms.arrays("train")[1])
    np.testing.assert_array_equal(test.labels, forms.arrays("test")[1])
    assert 0 < train.noise_rate < 1 and test.noise_rate == 0
    for mat, fast in (paths.train_mat, train), (paths.test_mat, test):
        images, labels = matfile.read(mat)
        np.testing.assert_array_equal(images, fast.images)
        np.testing.assert_array_equal(labels, fast.labels)
    said = capsys.readouterr()
    assert f"label noise {train.noise_rate:.4f}" in said.out and said.out.count("sha256") == 4
    assert said.err == f"warning: {source} has an unknown checksum; its images and labels are taken as they are\n"


def times(paths):
    return [path.stat().st_mtime_ns for path in paths]


def test_second_time_does_nothing(source, output, capsys):
    paths = prepare.prepare(LabelNoise(), source=source, output=output)
    before = times(paths)
    capsys.readouterr()
    assert prepare.prepare(LabelNoise(), source=source, output=output) == paths
    assert times(paths) == before and capsys.readouterr().out.startswith("already there: ")
    source.unlink()
    prepare.prepare(LabelNoise(), output=output)  # what is there needs no source
    assert times(paths) == before


def test_another_rate_keeps_the_test_set(source, output):
    paths = prepare.prepare(LabelNoise(), source=source, output=output)
    before = times(paths)
    other = prepare.prepare(LabelNoise(rate=0.2), source=source, output=output)
    assert times(paths) == before and len(names(output)) == 8
    assert other.train_mat.name == "TrainImageDataCell0.2.mat" and other.test_mat == paths.test_mat


def test_another_seed_replaces_the_mat_file_of_the_first(source, output):
    """The released names do not contain the seed, so the first seed's set must then be made again."""
    first = prepare.prepare(LabelNoise(rate=0.6, seed=1), source=source, output=output)
    other = prepare.prepare(LabelNoise(rate=0.6, seed=2), source=source, output=output)
    assert first.train_mat == other.train_mat and first.train_fast != other.train_fast
    prepare.prepare(LabelNoise(rate=0.6, seed=1), source=source, output=output)
    np.testing.assert_array_equal(matfile.read_labels(first.train_mat), dataset.load(first.train_fast)[0].labels)


def test_another_source_is_prepared_again(source, output, tmp_path):
    prepare.prepare(LabelNoise(), source=source, output=output)
    content = forms.files("binary")
    content["cifar-100-binary/train.bin"] = bytes(len(content["cifar-100-binary/train.bin"]))
    prepare.prepare(LabelNoise(), source=forms.pack(tmp_path / "other", content), output=output)
    assert not dataset.load_train(output, LabelNoise()).images.any()


@pytest.mark.parametrize("which", [0, 1, 3, 4])
@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_damaged_files_are_made_again(source, output, which, damage):
    path = prepare.prepare(LabelNoise(), source=source, output=output)[which]
    whole = path.read_bytes()
    path.unlink()
    if damage == "truncated":
        path.write_bytes(whole[:-100])
    prepare.prepare(LabelNoise(), source=source, output=output)
    assert path.read_bytes() == whole


def test_source_from_the_environment(source, output, monkeypatch):
    monkeypatch.setenv("CIFAR100_SOURCE", str(source))
    assert prepare.prepare(LabelNoise(), output=output).train_mat.exists()


def test_a_source_that_is_gone_is_not_missed_while_all_is_there(source, output, tmp_path, monkeypatch, capsys):
    prepare.prepare(LabelNoise(rate=0.4), source=source, output=output)
    monkeypatch.setenv("CIFAR100_SOURCE", str(tmp_path / "gone.tar.gz"))
    prepare.prepare(LabelNoise(rate=0.4), output=output)
    said = capsys.readouterr()
    assert "already there" in said.out and "does not exist" in said.err and "what was made before is used" in said.err
    with pytest.raises(InputError, match="gone.tar.gz does not exist"):
        prepare.prepare(LabelNoise(rate=0.2), output=output)


def test_without_a_source_the_official_archive_is_fetched(source, output, monkeypatch, capsys):
    def fetch(url, sha256, path):
        assert (url, sha256) == ("https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
                              "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec")
        path.write_bytes(source.read_bytes())

    monkeypatch.setattr(download, "fetch", fetch)
    monkeypatch.setitem(archives.OFFICIAL_MD5, archives.md5_of(source), "cifar-100-binary.tar.gz")
    prepare.prepare(LabelNoise(), output=output)
    assert "cifar-100-binary.tar.gz" in names(output)
    said = capsys.readouterr()
    assert "the official cifar-100-binary.tar.gz" in said.out and "warning" not in said.err


def test_minus_zero_is_zero(source, output):
    assert prepare.prepare(LabelNoise(rate=-0.0), source=source, output=output).train_mat.name == "TrainImageDataCell0.0.mat"


def test_no_leftovers_of_a_failure(source, output, monkeypatch):
    def fail(*_):
        raise InputError("disk full")

    monkeypatch.setattr(dataset, "save", fail)
    with pytest.raises(InputError, match="disk full"):
        prepare.prepare(LabelNoise(), source=source, output=output)
    assert names(output) == ["TrainImageDataCell0.0.mat", "cifar100_train_symmetric_0.0_seed_123_confusion.csv"]


def test_output_that_cannot_be_written_is_found_before_the_work(source, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "read", lambda _: pytest.fail("work has begun"))
    with pytest.raises(InputError, match="cannot write to .*cifar-100/x: Not a directory"):
        prepare.prepare(LabelNoise(), source=source, output=source / "x")


@pytest.mark.parametrize(("arguments", "message"), [
    (["--noise", "1.5"], "error: noise 1.5 is not a rate: it must be from 0 to 1\n"),
    (["--noise", "nan"], "error: noise nan is not a rate: it must be from 0 to 1\n"),
    (["--noise-type", "Symmetric"],
     'error: noise type "Symmetric" is not known; did you mean "symmetric"? '
     '(there is symmetric, asymmetric, asymmetric_sl, pair_flip)\n'),
    (["--source", "/no/such"], "error: /no/such does not exist: --source or CIFAR100_SOURCE names an archive of "
                               "CIFAR-100 or its folder\n"),
    (["--source", __file__], f"error: {__file__}: is not a whole archive: "),
])
def test_errors_are_one_line_and_exit_code_2(arguments, message, output, capsys):
    assert prepare.main([*arguments, "--output", str(output)]) == 2
    *_, last = capsys.readouterr().err.splitlines(keepends=True)
    assert last.startswith(message)


def test_to_verify_makes_nothing(source, output, tmp_path):
    """In a process of its own, which the kernel confines; not even the folder of the data is made."""
    prepare.prepare(LabelNoise(rate=0.4), source=source, output=output)
    program = ("import sys; sys.path.insert(0, 'tests/data_toolkit'); import forms\n"
               "from data_toolkit import archives, prepare\n"
               "archives.COUNTS = forms.COUNTS; sys.exit(prepare.main(sys.argv[1:]))")
    done = subprocess.run([sys.executable, "-c", program, "--verify", str(output / "TrainImageDataCell0.4.mat"), "--source",
                           str(source), "--output", str(tmp_path / "none")], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0 and "rate 0.4 with seed 123" in done.stdout, done.stderr
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("other", [["--noise", "0.4"], ["--noise-type", "asymmetric"]])
def test_a_matrix_is_all_of_the_noise(output, capsys, other):
    with pytest.raises(SystemExit) as ended:
        prepare.main(["--noise-matrix", "t.csv", *other, "--output", str(output)])
    assert ended.value.code == 2 and "leave out --noise and --noise-type" in capsys.readouterr().err


def test_interrupt_is_no_error(source, output, monkeypatch, capsys):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(archives, "read", interrupt)
    assert prepare.main(["--source", str(source), "--output", str(output)]) == 130
    assert names(output) == []


@pytest.mark.parametrize("command", [["data_toolkit/prepare.py"], ["-m", "data_toolkit.prepare"]])
def test_both_ways_to_call_it(command, tmp_path):
    done = subprocess.run([sys.executable, *command, "--noise", "2", "--output", str(tmp_path)], cwd=ROOT,
                          capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "error: noise 2.0 is not a rate: it must be from 0 to 1\n")


@pytest.mark.slow
def test_cifar_100_itself(shared, tmp_path):
    """The whole command on all 60,000 images."""
    done = subprocess.run([sys.executable, "data_toolkit/prepare.py", "--noise", "0.4", "--output", str(tmp_path)],
                          cwd=ROOT, capture_output=True, text=True, check=True,
                          env=os.environ | {"CIFAR100_SOURCE": str(shared / "data" / "cifar-100-binary.tar.xz")})
    train, test = dataset.load_train(tmp_path, LabelNoise(rate=0.4)), dataset.load_test(tmp_path)
    assert (len(train.labels), len(test.labels)) == (50_000, 10_000)
    assert (np.bincount(train.true_labels) == 500).all() and (np.bincount(test.labels) == 100).all()
    assert abs(train.noise_rate - 0.4) < 0.01
    # each class lies in one superclass, five in each
    pairs = np.unique(np.column_stack([train.coarse_labels, train.true_labels]), axis=0)
    assert len(pairs) == 100 and (np.bincount(pairs[:, 0]) == 5).all()
    assert f"label noise {train.noise_rate:.4f}" in done.stdout
    np.testing.assert_array_equal(matfile.read_labels(tmp_path / "TrainImageDataCell0.4.mat"), train.labels)
