"""Downloads from a test server that resumes, fails and sends wrong bytes."""

import fcntl
import hashlib
import http.server
import re
import threading

import pytest
import tenacity

from base.errors import InputError
from data_toolkit import download

CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT. Its attribute `plan` is a list of the answers to the next requests."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.plan: list[str] = []
        self.ranges: list[str | None] = []
        self.url = f"http://127.0.0.1:{self.server_port}/x.tar.gz"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        wanted = self.headers.get("Range")
        self.server.ranges.append(wanted)
        plan = self.server.plan.pop(0) if self.server.plan else "good"
        if plan.isdigit():
            return self.send_error(int(plan))
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and plan != "no ranges" else 0
        if start >= len(CONTENT):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.send_header("Content-Encoding", "gzip")  # which it is not: it must be kept as it comes
        self.end_headers()
        body = CONTENT[start:]
        if plan == "cut":
            body = body[:300_000]
        elif plan == "wrong":
            body = bytes(len(body))
        self.wfile.write(body)
        return None

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "WAIT", tenacity.wait_none())
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_whole_file(server, tmp_path, capsys):
    download.fetch(server.url, SHA256, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert "x.tar.gz" in capsys.readouterr().err  # the progress bar


def test_nothing_is_fetched_twice(server, tmp_path):
    (tmp_path / "x").write_bytes(b"here")
    download.fetch(server.url, SHA256, tmp_path / "x")
    assert server.ranges == []


def test_goes_on_where_an_earlier_process_stopped(server, tmp_path):
    (tmp_path / "x.part").write_bytes(CONTENT[:1000])
    download.fetch(server.url, SHA256, tmp_path / "x")
    assert server.ranges == ["bytes=1000-"]
    assert (tmp_path / "x").read_bytes() == CONTENT


def test_goes_on_after_broken_connections_and_busy_servers(server, tmp_path):
    server.plan = ["cut", "503", "cut"]
    download.fetch(server.url, SHA256, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=300000-", "bytes=300000-", "bytes=600000-"]


def test_server_that_knows_no_ranges(server, tmp_path):
    (tmp_path / "x.part").write_bytes(b"another beginning")
    server.plan = ["no ranges"]
    download.fetch(server.url, SHA256, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT


def test_whole_part_is_taken(server, tmp_path):
    (tmp_path / "x.part").write_bytes(CONTENT)
    download.fetch(server.url, SHA256, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT


@pytest.mark.parametrize("plan", [["wrong"], ["cut", "wrong"]])
def test_wrong_checksum(server, tmp_path, plan):
    server.plan = plan
    with pytest.raises(InputError, match=f"was received with SHA-256 [0-9a-f]{{64}} instead of {SHA256} and removed"):
        download.fetch(server.url, SHA256, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_what_has_come_is_kept_for_the_next_try(server, tmp_path):
    server.plan = ["cut"] + ["503"] * 3
    with pytest.raises(InputError, match=r"cannot download .*the server answers 503 .*--source PATH or CIFAR100_SOURCE"):
        download.fetch(server.url, SHA256, tmp_path / "x")
    assert (tmp_path / "x.part").read_bytes() == CONTENT[:300_000]


def test_not_found_is_not_tried_again(server, tmp_path):
    server.plan = ["404"]
    with pytest.raises(InputError, match="404.*CIFAR100_SOURCE"):
        download.fetch(server.url, SHA256, tmp_path / "x")
    assert len(server.ranges) == 1


def test_no_internet(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "WAIT", tenacity.wait_none())
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(InputError) as error:
        download.fetch("http://127.0.0.1:9/x.tar.gz", SHA256, tmp_path / "x")
    assert str(error.value) == (
        "cannot download http://127.0.0.1:9/x.tar.gz (Failed to establish a new connection: [Errno 111] Connection "
        "refused): give an archive of CIFAR-100 that you have with --source PATH or CIFAR100_SOURCE=PATH")
    assert list(tmp_path.iterdir()) == []


def test_two_processes_do_not_mix(server, tmp_path):
    with open(tmp_path / "x.part", "ab") as part:
        fcntl.flock(part, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="is being downloaded by another process"):
            download.fetch(server.url, SHA256, tmp_path / "x")


def test_unwritable_folder(server, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="cannot write .*Not a directory"):
        download.fetch(server.url, SHA256, tmp_path / "file" / "x")
