"""All forms of CIFAR-100 give the same arrays; a damaged or unsuitable source is refused with one sentence."""

import gzip
import io
import os
import pickle
import tarfile

import forms
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from base.errors import InputError
from data_toolkit import archives, unpickle


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(archives, "COUNTS", forms.COUNTS)


def read(path):
    return archives.read(archives.find_archive(path))


def assert_is_ours(splits):
    for split, found in zip(("train", "test"), splits, strict=True):
        planes, fine, coarse = forms.arrays(split)
        np.testing.assert_array_equal(found.labels, fine)
        np.testing.assert_array_equal(found.true_labels, fine)
        np.testing.assert_array_equal(found.coarse_labels, coarse)
        # red plane first, each plane row by row
        assert found.images[3, 7, 11, 2] == planes[3, 2 * 1024 + 7 * 32 + 11]
        np.testing.assert_array_equal(found.images[..., 0].reshape(-1, 1024), planes[:, :1024])


@pytest.mark.parametrize("form", ["binary", "python", "python2", "matlab"])
@pytest.mark.parametrize("compression", ["gz", "xz", ""])
def test_archives(tmp_path, form, compression):
    # In Docker, the archive is always mounted as /cifar-100.
    assert_is_ours(read(forms.pack(tmp_path / "cifar-100", forms.files(form), compression)))


@pytest.mark.parametrize("form", ["binary", "python", "matlab"])
def test_folders(tmp_path, form):
    for name, content in forms.files(form).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert_is_ours(read(tmp_path))
    assert_is_ours(read(tmp_path / forms.FOLDERS[form]))


def test_source_knows_what_is_official(tmp_path, monkeypatch):
    path = forms.pack(tmp_path / "x", forms.files("binary"))
    assert archives.find_archive(path).description == "an unofficial archive"
    monkeypatch.setitem(archives.OFFICIAL_MD5, archives.md5_of(path), "cifar-100.tar")
    assert archives.find_archive(path).is_official and archives.find_archive(path).description == "the official cifar-100.tar"


@pytest.mark.parametrize("name", archives.OFFICIAL_MD5.values())
def test_official_name_with_another_checksum(tmp_path, name):
    path = forms.pack(tmp_path / name, forms.files("binary"))
    with pytest.raises(InputError, match=f"{name}: has the MD5 {archives.md5_of(path)}, which is not that of the offi"):
        archives.find_archive(path)


@pytest.mark.parametrize("compression", ["gz", "xz", ""])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_truncated_archive(tmp_path, compression, share):
    path = forms.pack(tmp_path / "x", forms.files("binary"), compression)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(InputError, match=r"/x(: has no \w+ set|: is not a whole archive)"):
        read(path)


@pytest.mark.parametrize("form", ["binary", "python", "python2", "matlab"])
def test_truncated_member(tmp_path, form):
    content = {name: value[:2000] for name, value in forms.files(form).items()}
    with pytest.raises(InputError, match=r"/x: .*(bytes instead of|not a whole)"):
        read(forms.pack(tmp_path / "x", content))


@pytest.fixture(scope="module", params=["gz", "xz"])
def whole(request, tmp_path_factory):
    """An archive and its bytes."""
    path = forms.pack(tmp_path_factory.mktemp("whole") / "x", forms.files("binary"), request.param)
    return path, path.read_bytes()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(data=st.data())
def test_damage_is_noticed_or_harms_nothing(whole, data):
    path, content = whole
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    damaged = bytearray(content)
    damaged[bit // 8] ^= 1 << bit % 8
    path.write_bytes(damaged)
    try:
        splits = read(path)
    except InputError as error:
        assert "\n" not in str(error) and str(path) in str(error)
    else:  # in a date, say
        assert_is_ours(splits)


def test_the_checksum_at_the_end_is_read(whole):
    path, content = whole
    path.write_bytes(content)
    assert_is_ours(read(path))
    path.write_bytes(content[:-1])
    with pytest.raises(InputError, match="/x: is not a whole archive: "):
        read(path)


def test_not_an_archive(tmp_path):
    (tmp_path / "x").write_bytes(b"<html>404</html>" * 100)
    with pytest.raises(InputError, match="/x: is not a whole archive"):
        read(tmp_path / "x")


def test_missing_source_says_what_to_give(tmp_path):
    with pytest.raises(InputError, match=r"nothing does not exist: --source or CIFAR100_SOURCE names an archive"):
        archives.find_archive(tmp_path / "nothing")


def test_folder_without_cifar(tmp_path):
    with pytest.raises(InputError, match="has no CIFAR-100 in it: neither train.bin and test.bin"):
        archives.find_archive(tmp_path)


def test_device_is_no_source():
    with pytest.raises(InputError, match="/dev/null: is neither a file nor a folder"):
        archives.find_archive("/dev/null")


def test_longer_member(tmp_path):
    content = forms.files("binary")
    content["cifar-100-binary/train.bin"] += b"x"
    with pytest.raises(InputError, match="the train set has over 92220 bytes instead of 92220"):
        read(forms.pack(tmp_path / "x", content))


def test_huge_member_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_BYTES", 1000)
    with pytest.raises(InputError, match="test.bin in it has 30740 bytes; no file of CIFAR-100 is so large"):
        read(forms.pack(tmp_path / "x", forms.files("binary")))


def test_second_member_of_the_same_name(tmp_path):
    content = forms.files("binary")
    content = {"elsewhere/test.bin": content["cifar-100-binary/test.bin"]} | content
    with pytest.raises(InputError, match="cifar-100-binary/test.bin in it is a second test set"):
        read(forms.pack(tmp_path / "x", content))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_are_not_followed(tmp_path, kind):
    with tarfile.open(tmp_path / "x", "w:gz") as archive:
        member = tarfile.TarInfo("cifar-100-binary/train.bin")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(InputError, match="cifar-100-binary/train.bin in it is not a regular file"):
        read(tmp_path / "x")


@pytest.mark.parametrize(("column", "value", "message"), [(1, 100, "fine labels are not 30 numbers from 0 to 99"),
                                                          (0, 20, "coarse labels are not 30 numbers from 0 to 19")])
def test_labels_out_of_range(tmp_path, column, value, message):
    content = forms.files("binary")
    records = bytearray(content["cifar-100-binary/train.bin"])
    records[5 * 3074 + column] = value
    content["cifar-100-binary/train.bin"] = bytes(records)
    with pytest.raises(InputError, match=message):
        read(forms.pack(tmp_path / "x", content))


def test_cifar_10_is_told_apart(tmp_path):
    content = {f"cifar-10-batches-py/{split}": pickle.dumps({"data": np.zeros((5, 3072), np.uint8), "labels": [1]})
               for split in ("train", "test")}
    with pytest.raises(InputError, match="the train set has no fine_labels or coarse_labels"):
        read(forms.pack(tmp_path / "x", content))


class Evil:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(("function", "arguments", "name"), [
    (os.system, ("touch evil",), "posix.system"),
    (eval, ("1",), "builtins.eval"),
    (getattr, ("a", "b"), "builtins.getattr"),
    (np.load, ("x",), "numpy.load"),
    (np.frombuffer, (b"x",), "numpy.frombuffer"),
])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_pickles_run_nothing(tmp_path, monkeypatch, function, arguments, name, protocol):
    monkeypatch.chdir(tmp_path)
    module, _, function_name = name.partition(".")
    with pytest.raises(InputError, match=rf"the pickle asks for (__builtin__|{module})\.{function_name}, which CIFAR"):
        unpickle.load(io.BytesIO(pickle.dumps({"data": Evil(function, *arguments)}, protocol)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"garbage", pickle.dumps([1, 2]), pickle.dumps({"a": 1})[:-3],
                                     pickle.dumps(np.ma.zeros(3), 2), b"\x80\x02cnumpy\nndarray\n(J\xff\xff\xff\x7ft."])
def test_odd_pickles(content):
    with pytest.raises(InputError, match="pickle"):
        unpickle.load(io.BytesIO(content))


def test_arrays_of_objects_are_no_images(tmp_path):
    content = forms.files("python")
    content["cifar-100-python/train"] = pickle.dumps(
        {"data": np.array([None] * 3), "fine_labels": [[1], [2, 3]], "coarse_labels": []}, 2)
    with pytest.raises(InputError, match="an array of values that are not whole numbers"):
        read(forms.pack(tmp_path / "x", content))


@pytest.mark.parametrize("kind", ["O", "V8", "U1", "f8", "c8"])
def test_an_array_whose_type_is_changed(tmp_path, kind):
    """A type of pointers would turn the pickle's bytes into pointers. No array is made while a pickle is read."""
    head = b"\x80\x02}(U\x04datacnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
    state = (b"(K\x01(K\x02tcnumpy\ndtype\n(U%c%bK\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
             b"U\x10%btb")
    first, then = (state % (len(name), name.encode(), b"\x41" * 16) for name in ("u8", kind))
    assert unpickle.load(io.BytesIO(head + first + b"u."))["data"].tolist() == [0x4141414141414141] * 2
    with pytest.raises(InputError, match="that are not whole numbers"):
        unpickle.load(io.BytesIO(head + first + then + b"u."))


def test_a_name_larger_than_the_memory(tmp_path, monkeypatch):
    """An archive of kilobytes with a file name of gigabytes, which tarfile reads into memory."""
    monkeypatch.setattr("base.isolation.MAX_BYTES", 200 << 20)
    head = tarfile.TarInfo("././@LongLink")
    head.type, head.size = tarfile.GNUTYPE_LONGNAME, 1 << 30
    with gzip.open(tmp_path / "x", "wb", compresslevel=1) as file:
        file.write(head.tobuf(tarfile.GNU_FORMAT))
        for _ in range(1 << 4):
            file.write(b"a" * (1 << 24))
    with pytest.raises(InputError, match="/x: (is not CIFAR-100: it needs too much memory|is not a whole archive)"):
        read(tmp_path / "x")
