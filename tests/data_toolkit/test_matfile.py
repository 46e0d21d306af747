"""The .mat files, read back by ours and by an independent reader."""

import itertools
import resource
import shutil
import string
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pymatreader
import pytest
import scipy.io

from base.errors import InputError
from data_toolkit import dataset, matfile, noise


def make(count: int = 7):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, 32, 32, 3), np.uint8), rng.integers(0, 100, count)


@pytest.fixture
def path(tmp_path):
    matfile.write(tmp_path / "x.mat", *make())
    return tmp_path / "x.mat"


def test_read_gives_what_was_written(path):
    for found, expected in zip(matfile.read(path), make(), strict=True):
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype
    np.testing.assert_array_equal(matfile.read_labels(path), make()[1])
    assert dataset.load_file(path).fingerprint == dataset.Dataset(*make()).fingerprint


def test_a_thousand_images(tmp_path):
    """So many need more than one node of HDF5's index."""
    images, labels = make(1000)
    matfile.write(tmp_path / "x.mat", images, labels)
    np.testing.assert_array_equal(matfile.read(tmp_path / "x.mat")[0], images)


def test_independent_reader_agrees(path):
    images, labels = make()
    found = pymatreader.read_mat(path)
    assert set(found) - {"#refs#"} == {"ImageDataCell", "class_ids"}
    np.testing.assert_array_equal(found["class_ids"], labels)
    for image, expected in zip(found["ImageDataCell"], images, strict=True):
        same_types(image, expected)


def test_header_is_matlabs(path):
    header = path.read_bytes()[:512]
    assert header[:116].decode("ascii").rstrip().startswith("MATLAB 7.3 MAT-file, Platform: ")
    assert header[116:124] == bytes(8)
    assert header[124:128] == b"\x00\x02IM"
    assert header[128:] == bytes(384)
    assert path.read_bytes()[512:520] == b"\x89HDF\r\n\x1a\n"


def test_what_matlab_asks_of_the_arrays(path):
    with h5py.File(path) as file:
        assert set(file["#refs#"]) == {str(i) for i in range(7)}
        cell, class_ids = file["ImageDataCell"], file["class_ids"]
        image = file[cell[0, 6]]
        assert (cell.shape, class_ids.shape, image.shape) == ((1, 7), (1, 7), (3, 32, 32))
        assert (class_ids.dtype, image.dtype) == (np.float64, np.uint8)
        assert image.name.startswith("/#refs#/")
        assert all(file[reference].attrs["H5PATH"] == b"/#refs#" for reference in cell[0])
        for array, kind in (cell, b"cell"), (class_ids, b"double"), (image, b"uint8"):
            assert array.attrs["MATLAB_class"] == kind
            assert array.attrs.get_id("MATLAB_class").get_type().get_size() == len(kind)
        # MATLAB's image(row, column, channel) is HDF5's [channel, column, row].
        assert image[2, 5, 9] == make()[0][6, 9, 5, 2]


def test_same_data_same_bytes(path, tmp_path):
    matfile.write(tmp_path / "again.mat", *make())
    assert (tmp_path / "again.mat").read_bytes() == path.read_bytes()


def test_chunked_compressed_and_row_vectors_are_read_too(tmp_path):
    """MATLAB itself writes chunks; a user may write class_ids as 1 x N."""
    images, labels = make()
    with h5py.File(tmp_path / "x.mat", "w", userblock_size=512) as file:
        references = [file.create_dataset(f"#refs#/{i}", data=image.T, chunks=True, compression="gzip").ref
                      for i, image in enumerate(images)]
        file.create_dataset("ImageDataCell", data=np.array(references, h5py.ref_dtype)[:, None], dtype=h5py.ref_dtype)
        file["class_ids"] = labels[:, None].astype(np.uint8)
    found = matfile.read(tmp_path / "x.mat")
    np.testing.assert_array_equal(found[0], images)
    np.testing.assert_array_equal(found[1], labels)


def test_no_file(tmp_path):
    with pytest.raises(InputError, match="x.mat does not exist"):
        matfile.read(tmp_path / "x.mat")


@pytest.mark.parametrize("content", [b"", b"not a mat", bytes(4096), matfile.HEADER])
def test_not_a_mat(tmp_path, content):
    (tmp_path / "x.mat").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.mat: is not a MATLAB file"):
        matfile.read(tmp_path / "x.mat")


def matlab_saves(path, images, labels, compressed=True):
    """A file as MATLAB's own ``save -v7.3`` lays it out.

    The cell's arrays are a, b, ... of #refs#, of which the first stands for empty arrays; each is chunked, an image a
    chunk, and class_ids too; text attributes have a fixed length, and there is an attribute MATLAB_empty.
    """
    names = ["".join(letters) for letters in itertools.product(["", *string.ascii_letters], string.ascii_letters)]
    packed = {"compression": "gzip", "compression_opts": 3} if compressed else {}
    with h5py.File(path, "w", userblock_size=512, libver="earliest") as file:
        refs = file.create_group("#refs#")
        empty = refs.create_dataset("a", data=np.zeros(2, np.uint64))
        empty.attrs["MATLAB_class"] = np.bytes_(b"canonical empty")
        empty.attrs["MATLAB_empty"] = np.uint8(1)
        references = np.empty((1, len(images)), h5py.ref_dtype)
        for i, image in enumerate(images):
            array = refs.create_dataset(names[i + 1], data=image.transpose(2, 1, 0), chunks=(3, 32, 32), **packed)
            array.attrs["MATLAB_class"], array.attrs["H5PATH"] = np.bytes_(b"uint8"), np.bytes_(b"/#refs#")
            references[0, i] = array.ref
        cell = file.create_dataset("ImageDataCell", data=references, dtype=h5py.ref_dtype, chunks=(1, 3))
        cell.attrs["MATLAB_class"] = np.bytes_(b"cell")
        ids = file.create_dataset("class_ids", data=labels[np.newaxis].astype(float), chunks=(1, 2), **packed)
        ids.attrs["MATLAB_class"] = np.bytes_(b"double")
    with open(path, "r+b") as file:
        file.write(matfile.HEADER.replace(b"Python", b"GLNX64"))


def same_types(found, expected):
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype


@pytest.mark.parametrize("compressed", [True, False])
def test_matlabs_own_layout(tmp_path, compressed):
    images, labels = make(60)
    matlab_saves(tmp_path / "x.mat", images, labels, compressed)
    for found, expected in zip(matfile.read(tmp_path / "x.mat"), (images, labels), strict=True):
        same_types(found, expected)
    same_types(matfile.read_labels(tmp_path / "x.mat"), labels)


def as_cell(images):
    cell = np.empty((len(images), 1), object)
    cell[:, 0] = list(images)
    return cell


@pytest.mark.parametrize("compressed", [True, False])
def test_version_5_files(tmp_path, compressed):
    """MATLAB without -v7.3, and Octave, write version 5."""
    images, labels = make()
    scipy.io.savemat(tmp_path / "x.mat", {"ImageDataCell": as_cell(images), "class_ids": labels[:, np.newaxis].astype(float)},
                     do_compression=compressed)
    for found, expected in zip(matfile.read(tmp_path / "x.mat"), (images, labels), strict=True):
        same_types(found, expected)
    same_types(matfile.read_labels(tmp_path / "x.mat"), labels)


@pytest.mark.parametrize(("variables", "message"), [
    ({"class_ids": [1.0]}, "has no variable ImageDataCell"),
    ({"ImageDataCell": as_cell(make()[0])}, "has no variable class_ids"),
    ({"ImageDataCell": as_cell(make()[0]), "class_ids": np.zeros((6, 1))}, "has 7 images but 6 class_ids"),
    ({"ImageDataCell": as_cell(make()[0][:, :31]), "class_ids": np.zeros(7)},
     r"ImageDataCell is not a cell array of 32 x 32 x 3 arrays of uint8, but uint8 \(7, 31, 32, 3\)"),
    ({"ImageDataCell": make()[0][0], "class_ids": np.zeros(7)}, "ImageDataCell is not a cell array"),
    ({"ImageDataCell": as_cell([*make()[0], np.zeros(3)]), "class_ids": np.zeros(8)},
     r"ImageDataCell\{8\} is not an array like the first one"),
    ({"ImageDataCell": as_cell(make()[0]), "class_ids": np.full(7, 0.5)}, "not all whole numbers"),
    ({"ImageDataCell": as_cell(make()[0]), "class_ids": np.zeros((7, 2))}, "class_ids is not an N x 1 array"),
    ({"ImageDataCell": as_cell(make()[0]), "class_ids": "text"}, "class_ids are not numbers"),
])
def test_wrong_version_5_files(tmp_path, variables, message):
    scipy.io.savemat(tmp_path / "x.mat", variables)
    with pytest.raises(InputError, match=message):
        matfile.read(tmp_path / "x.mat")


@pytest.mark.parametrize("damage", [lambda whole: whole[:300], lambda whole: whole[:200] + bytes(100) + whole[300:]])
def test_damaged_version_5_files(tmp_path, damage):
    images, labels = make()
    scipy.io.savemat(tmp_path / "x.mat", {"ImageDataCell": as_cell(images), "class_ids": labels}, do_compression=True)
    (tmp_path / "x.mat").write_bytes(damage((tmp_path / "x.mat").read_bytes()))
    with pytest.raises(InputError, match=r"x\.mat"):
        matfile.read(tmp_path / "x.mat")


octave = pytest.mark.skipif(not shutil.which("octave-cli"), reason="GNU Octave is not installed: apt-get install octave")


@octave
def test_octave_reads_ours(tmp_path):
    """Octave reads the arrays of a v7.3 file, but no cell array of references, even if MATLAB wrote it."""
    images, labels = make()
    matfile.write(tmp_path / "ours.mat", images, labels)
    script = (f"s = load('{tmp_path}/ours.mat'); class_ids = s.class_ids; image = s.__refs_._3; "
              f"save('-v7', '{tmp_path}/x.mat', 'class_ids', 'image')")
    subprocess.run(["octave-cli", "--eval", script], check=True, capture_output=True)
    found = scipy.io.loadmat(tmp_path / "x.mat")
    same_types(found["class_ids"], labels[:, np.newaxis].astype(float))
    same_types(found["image"], images[3])


@octave
def test_octaves_files_are_read(tmp_path):
    script = ("ImageDataCell = cell(7, 1); for i = 1:7, ImageDataCell{i} = uint8(mod(i * reshape(0:3071, 32, 32, 3), 256)); "
              f"end; class_ids = (0:6)'; save('-v7', '{tmp_path}/x.mat', 'ImageDataCell', 'class_ids')")
    subprocess.run(["octave-cli", "--eval", script], check=True, capture_output=True)
    images, labels = matfile.read(tmp_path / "x.mat")
    same_types(labels, np.arange(7))
    expected = np.arange(3072).reshape(32, 32, 3, order="F")
    for i, image in enumerate(images, 1):
        same_types(image, (i * expected % 256).astype(np.uint8))


@pytest.mark.parametrize("cut", [600, 5_000, 20_000])
def test_truncated(path, cut):
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputError, match=r"x\.mat"):
        matfile.read(path)


def replace(path, name, value):
    with h5py.File(path, "r+") as file:
        del file[name]
        if value is not None:
            file[name] = value


@pytest.mark.parametrize(("name", "value", "message"), [
    ("class_ids", None, r"has no variable class_ids \(it has #refs#, ImageDataCell\)"),
    ("class_ids", np.zeros((1, 6)), "has 7 images but 6 class_ids"),
    ("class_ids", np.full((1, 7), 0.5), "not all whole numbers"),
    ("class_ids", np.full((1, 7), np.nan), "not all whole numbers"),
    ("class_ids", np.full((1, 7), -1.0), "not all whole numbers"),
    ("class_ids", np.full((1, 7), 1e300), "not all whole numbers"),
    ("class_ids", np.zeros((2, 7)), "not an N x 1 array"),
    ("class_ids", h5py.ExternalLink("/etc/passwd", "x"), "class_ids is a link to elsewhere"),
    ("class_ids", h5py.SoftLink("/ImageDataCell"), "class_ids is a link to elsewhere"),
    ("ImageDataCell", np.zeros((1, 7)), "ImageDataCell is not a cell array"),
    ("#refs#/3", np.zeros((3, 32, 31), np.uint8), None),
])
@pytest.mark.filterwarnings("error")
def test_wrong_content(path, name, value, message):
    replace(path, name, value)
    with pytest.raises(InputError, match=message or "x.mat"):
        matfile.read(path)


def test_wrong_image(path):
    with h5py.File(path, "r+") as file:
        file["#refs#/odd"] = np.zeros((3, 28, 28), np.uint8)
        file["ImageDataCell"][0, 4] = file["#refs#/odd"].ref
    with pytest.raises(InputError, match=r"ImageDataCell\{5\} is not a 32 x 32 x 3 array of uint8"):
        matfile.read(path)


def test_content_in_other_files_is_not_read(path, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(3072))
    with h5py.File(path, "r+") as file:
        file.create_dataset("#refs#/out", (3, 32, 32), np.uint8, external=[(str(secret), 0, 3072)])
        file["ImageDataCell"][0, 1] = file["#refs#/out"].ref
    with pytest.raises(InputError, match=r"ImageDataCell\{2\} is stored in another file"):
        matfile.read(path)


def test_small_files_that_unpack_to_very_much(path, tmp_path):
    with h5py.File(path, "r+") as file:
        del file["class_ids"]
        file.create_dataset("class_ids", (1, 10**12), "f4", chunks=(1, 10**6), compression="gzip")
    with pytest.raises(InputError, match="class_ids has 1000000000000 elements; at most 1000000 are read"):
        matfile.read(path)
    with h5py.File(path, "r+") as file:
        del file["class_ids"]
        file.create_dataset("class_ids", (1, 7), "f4", maxshape=(None, None), chunks=(10**4, 10**4))
    with pytest.raises(InputError, match="class_ids is stored in chunks of 400000000 bytes"):
        matfile.read(path)


def test_a_version_5_file_that_unpacks_to_more_than_is_read(tmp_path, monkeypatch):
    scipy.io.savemat(tmp_path / "x.mat", {"class_ids": np.zeros((4000, 4000))}, do_compression=True)
    assert (tmp_path / "x.mat").stat().st_size < 200_000
    with pytest.raises(InputError, match="class_ids is not an N x 1 array"):
        matfile.read_labels(tmp_path / "x.mat")
    monkeypatch.setattr("base.isolation.MAX_BYTES", 200 << 20)
    with pytest.raises(InputError, match="is damaged: "):
        matfile.read_labels(tmp_path / "x.mat")


def test_nothing_is_left_of_a_failed_write(tmp_path):
    class Broken(Exception):
        pass

    class Images:
        def __len__(self):
            return 2

        def __iter__(self):
            yield make()[0][0]
            raise Broken

    with pytest.raises(Broken):
        matfile.write(tmp_path / "x.mat", Images(), make()[1])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kilobytes", [1, 100, 300])
def test_full_disk(tmp_path, kilobytes):
    """HDF5 itself would end the process on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes << 10, hard))
    try:
        with pytest.raises(InputError, match=r"cannot write .*/x\.mat: File too large$"):
            matfile.write(tmp_path / "x.mat", *make(100))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("file", sorted((Path(__file__).parent / "corpus").iterdir()), ids=lambda file: file.name)
def test_what_once_found_something(file):
    """Files, found by mutation, that once raised other errors or ended the process. Add new ones there."""
    read = {".mat": matfile.read, ".npy": noise.read_matrix}[file.suffix]
    with pytest.raises(InputError, match=file.name):
        read(file)
