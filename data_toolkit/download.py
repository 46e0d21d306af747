"""Download a file with a known checksum. An interrupted download is resumed; the file gets its name only once verified."""

import fcntl
import hashlib
from pathlib import Path
from typing import BinaryIO

import requests
import tenacity
import urllib3
from tqdm import tqdm

from base.errors import InputError

tqdm.monitor_interval = 0  # no monitor thread: it would start before the process is confined (see base/confinement.py)
TIMEOUT = 20  # seconds to wait for the connection, and for each piece of data
ATTEMPTS = 4
WAIT = tenacity.wait_exponential(max=10)  # 1, 2, 4 seconds


class _Temporary(Exception):
    """A failure after which another attempt may help."""


def _fetch_rest(url: str, part: BinaryIO) -> None:
    """Append the rest of the file at `url` to `part`."""
    done = part.seek(0, 2)
    # Without "identity", a server may declare a .tar.gz as compressed content, and requests would unpack it.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={done}-"} if done else {})
    try:
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            if response.status_code == 416:  # `part` already has all bytes; the checksum follows
                return
            if response.status_code in (429, 500, 502, 503, 504):
                raise _Temporary(f"the server answers {response.status_code} {response.reason}")
            response.raise_for_status()
            if not response.headers.get("Content-Range", "").startswith(f"bytes {done}-"):  # the server sends the whole file
                part.truncate(done := 0)
            size = response.headers.get("Content-Length")
            with tqdm(total=int(size) + done if size else None, initial=done, unit="B", unit_scale=True,
                      desc=url.rpartition("/")[2]) as progress:
                for block in response.raw.stream(1 << 18, decode_content=False):
                    part.write(block)
                    progress.update(len(block))
    except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as error:
        raise _Temporary(_reason(error)) from error


def _reason(error: Exception) -> str:
    """The innermost cause of an error, without the Python objects that requests and urllib3 print before it."""
    inside = [cause for cause in (*error.args, getattr(error, "reason", None)) if isinstance(cause, Exception)]
    return _reason(inside[-1]) if inside else str(error).rpartition(">: ")[2].rpartition("): ")[2]


def fetch(url: str, sha256: str, path: Path) -> None:
    """Download a file to `path`, unless it exists. An interrupted download leaves its bytes in ``<path>.part``.

    Parameters
    ----------
    url : str
    sha256 : str
        The checksum of the whole file, in hexadecimal.
    path : Path

    Raises
    ------
    InputError
        If the file cannot be downloaded or written, or has another SHA-256.
    """
    if path.exists():
        return
    part_path = path.with_name(path.name + ".part")
    attempts = tenacity.Retrying(stop=tenacity.stop_after_attempt(ATTEMPTS), wait=WAIT, reraise=True,
                                 retry=tenacity.retry_if_exception_type(_Temporary))
    try:
        with open(part_path, "a+b") as part:
            try:
                fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(f"{part_path} is being downloaded by another process: wait for it to end") from None
            attempts(_fetch_rest, url, part)
            part.seek(0)
            found = hashlib.file_digest(part, "sha256").hexdigest()
            if found != sha256:
                part_path.unlink()
                raise InputError(f"{url} was received with SHA-256 {found} instead of {sha256} and removed: try again, or "
                                 "give another copy with --source PATH or CIFAR100_SOURCE=PATH")
            part_path.replace(path)
    except (_Temporary, requests.RequestException) as error:
        if part_path.stat().st_size == 0:
            part_path.unlink()
        raise InputError(f"cannot download {url} ({error}): give an archive of CIFAR-100 that you have with "
                         "--source PATH or CIFAR100_SOURCE=PATH") from error
    except OSError as error:
        raise InputError(f"cannot write {part_path}: {error.strerror or error}") from error
