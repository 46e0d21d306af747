"""Fetch a file of known checksum: resumed where it stopped, and there only when it is whole and right."""

import fcntl
import hashlib
from pathlib import Path
from typing import BinaryIO

import requests
import tenacity
import urllib3
from tqdm import tqdm

from base.errors import DataError

tqdm.monitor_interval = 0  # its thread would be there before the process is confined (see confinement.py)
TIMEOUT = 20  # seconds to connect, and between two pieces
ATTEMPTS = 4
WAIT = tenacity.wait_exponential(max=10)  # 1, 2, 4 seconds


class _Temporary(Exception):
    """A failure after which another attempt may help."""


def _fetch_rest(url: str, part: BinaryIO) -> None:
    """Append to `part` what it lacks of the file at `url`."""
    done = part.seek(0, 2)
    # Without "identity", a server may declare a .tar.gz to be compressed, and it would come unpacked.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={done}-"} if done else {})
    try:
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            if response.status_code == 416:  # nothing lies behind what is there: the checksum will tell
                return
            if response.status_code in (429, 500, 502, 503, 504):
                raise _Temporary(f"the server answers {response.status_code} {response.reason}")
            response.raise_for_status()
            if not response.headers.get("Content-Range", "").startswith(f"bytes {done}-"):  # all of it comes
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
    """The innermost cause, without the Python objects that requests and urllib3 print before it."""
    inside = [cause for cause in (*error.args, getattr(error, "reason", None)) if isinstance(cause, Exception)]
    return _reason(inside[-1]) if inside else str(error).rpartition(">: ")[2].rpartition("): ")[2]


def fetch(url: str, sha256: str, path: Path) -> None:
    """Download to `path`, unless it is there. What an interrupted download has got stays in ``<path>.part``.

    Parameters
    ----------
    url : str
    sha256 : str
        Of the whole file, in hexadecimal.
    path : Path

    Raises
    ------
    DataError
        If the file cannot be had, or is not the one with that SHA-256.
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
                raise DataError(f"{part_path} is being downloaded by another process: wait for it to end") from None
            attempts(_fetch_rest, url, part)
            part.seek(0)
            found = hashlib.file_digest(part, "sha256").hexdigest()
            if found != sha256:
                part_path.unlink()
                raise DataError(f"{url} has come with SHA-256 {found} instead of {sha256} and was removed: try again, or give "
                                "another copy with --source PATH or CIFAR100_SOURCE=PATH")
            part_path.replace(path)
    except (_Temporary, requests.RequestException) as error:
        if part_path.stat().st_size == 0:
            part_path.unlink()
        raise DataError(f"cannot download {url} ({error}): give an archive of CIFAR-100 that you have with "
                        "--source PATH or CIFAR100_SOURCE=PATH") from error
    except OSError as error:
        raise DataError(f"cannot write {part_path}: {error.strerror or error}") from error
