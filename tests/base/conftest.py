import pytest


@pytest.fixture
def secret(tmp_path):
    """A file in the folder "outside", beside the folder "mine"."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_text("secret")
    (tmp_path / "mine").mkdir()
    return tmp_path / "outside/file"
