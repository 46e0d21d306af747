"""Files in a folder that somebody else made: no link is followed, no pipe is waited for, only our own files are removed."""

import fcntl
import os

import pytest

from base import files
from base.errors import InputError


@pytest.fixture
def secret(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_text("secret")
    (tmp_path / "mine").mkdir()
    return tmp_path / "outside/file"


def test_a_file_below_a_folder(tmp_path, secret):
    (tmp_path / "mine/a").mkdir()
    (tmp_path / "mine/a/file").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "mine")  # the folder itself may be named by a link: the user does so
    assert files.read(tmp_path / "link/a/file", folder=tmp_path / "link") == b"x"


@pytest.mark.parametrize("name", ["file", "folder/file", "../outside/file", "folder/../../outside/file"])
def test_no_name_leads_elsewhere(tmp_path, secret, name):
    (tmp_path / "mine/file").symlink_to(secret)
    (tmp_path / "mine/folder").symlink_to(secret.parent)
    for flags in os.O_RDONLY, os.O_WRONLY | os.O_TRUNC:
        with pytest.raises(OSError):
            os.close(files.open_in(tmp_path / "mine", name, flags))
    assert secret.read_text() == "secret"


def test_absolute_names_are_none(secret, tmp_path):
    with pytest.raises(OSError, match="leads out of the folder"):
        files.open_in(tmp_path / "mine", secret)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_only_regular_files_are_read(tmp_path, secret, make):
    make(tmp_path / "mine/x")
    with pytest.raises(OSError, match="not a regular file"):
        files.read(tmp_path / "mine/x")


def test_more_than_is_read(secret):
    with pytest.raises(OSError, match="it has 6 bytes; at most 5 are read"):
        files.read(secret, 5)


def test_a_link_is_replaced_not_written_through(tmp_path, secret):
    (tmp_path / "mine/file").symlink_to(secret)
    files.write_atomically(tmp_path / "mine/file", "new")
    assert (tmp_path / "mine/file").read_text() == "new" and secret.read_text() == "secret"
    assert not (tmp_path / "mine/file").is_symlink() and os.listdir(tmp_path / "mine") == ["file"]


def test_what_fails_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match="cannot write .*: nothing doing"), files.atomic_writer(tmp_path / "x"):
        raise OSError("nothing doing")
    assert not os.listdir(tmp_path)


def test_the_mode_is_the_umasks(tmp_path):
    before = os.umask(0o027)
    try:
        files.write_atomically(tmp_path / "x", "")
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640


def test_only_unfinished_files_of_ours_that_nobody_writes_are_removed(tmp_path, secret):
    mine = tmp_path / "mine"
    stay = {".x.npz.part", ".bashrc", ".x.0123456g.part", "x.01234567.part", ".x.npz.abcdef01.part.old", ".link.01234567.part"}
    for name in stay - {".link.01234567.part"}:
        (mine / name).touch()
    (mine / ".link.01234567.part").symlink_to(secret)
    for name in ".x.npz.01234567.part", ".y.89abcdef.part":
        (mine / name).touch()
    with open(mine / ".y.89abcdef.part") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        files.remove_unfinished(mine)
        assert set(os.listdir(mine)) == stay | {".y.89abcdef.part"}
    files.remove_unfinished(mine)
    assert set(os.listdir(mine)) == stay and secret.exists()


def test_a_file_that_is_being_written_is_not_unfinished(tmp_path):
    with files.atomic_writer(tmp_path / "x") as file:
        file.write(b"1")
        files.remove_unfinished(tmp_path)
    assert (tmp_path / "x").read_bytes() == b"1"


def test_what_is_no_file_is_not_replaced(tmp_path):
    """As root could do with a device."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="cannot write .*pipe: it is there, and is not a regular file"):
        files.write_atomically(tmp_path / "pipe", "x")
    assert os.listdir(tmp_path) == ["pipe"]
