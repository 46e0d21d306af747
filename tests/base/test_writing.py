"""Files are written whole or not at all; no link is followed, and only our own unfinished files are removed."""

import fcntl
import os

import pytest

from base import writing
from base.errors import InputError


def test_a_link_is_replaced_not_written_through(tmp_path, secret):
    (tmp_path / "mine/file").symlink_to(secret)
    writing.write_atomically(tmp_path / "mine/file", "new")
    assert (tmp_path / "mine/file").read_text() == "new" and secret.read_text() == "secret"
    assert not (tmp_path / "mine/file").is_symlink() and os.listdir(tmp_path / "mine") == ["file"]


def test_what_fails_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match="cannot write .*: nothing doing"), writing.atomic_writer(tmp_path / "x"):
        raise OSError("nothing doing")
    assert not os.listdir(tmp_path)


def test_the_mode_is_the_umasks(tmp_path):
    before = os.umask(0o027)
    try:
        writing.write_atomically(tmp_path / "x", "")
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
        writing.remove_unfinished(mine)
        assert set(os.listdir(mine)) == stay | {".y.89abcdef.part"}
    writing.remove_unfinished(mine)
    assert set(os.listdir(mine)) == stay and secret.exists()


def test_a_file_that_is_being_written_is_not_unfinished(tmp_path):
    with writing.atomic_writer(tmp_path / "x") as file:
        file.write(b"1")
        writing.remove_unfinished(tmp_path)
    assert (tmp_path / "x").read_bytes() == b"1"


def test_what_is_no_file_is_not_replaced(tmp_path):
    """As root could do with a device."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="cannot write .*pipe: it is there, and is not a regular file"):
        writing.write_atomically(tmp_path / "pipe", "x")
    assert os.listdir(tmp_path) == ["pipe"]
