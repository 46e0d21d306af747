"""Files in a folder that somebody else made: no link is followed, no pipe is waited for."""

import os

import pytest

from base import files


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
