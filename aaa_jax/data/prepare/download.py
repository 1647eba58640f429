"""Fetches one file over the network.

A server that does not answer is given up after seconds. The file gets its name only
when its checksum is right.
"""

import hashlib
import queue
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tqdm import tqdm

from aaa_jax.data.errors import DownloadFailed
from aaa_jax.data.prepare.whole_file import whole_file

ANSWER_SECONDS = 5.0
STALL_SECONDS = 30.0
BLOCK = 2**18


def download(url: str, path: Path, *, sha256: str, size: int) -> None:
    """Fetches a file, with a progress bar, unless it is there already.

    Its size in bytes is for the progress bar.

    Raises:
        DownloadFailed: no answer in ANSWER_SECONDS, a stall of STALL_SECONDS, an error
            status, or a content that is not the expected one.
    """
    if path.is_file() and sha256_of(path) == sha256:
        return
    response = _open(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    print(f"downloading {url} ({size / 2**20:.0f} MiB)", file=sys.stderr)
    with whole_file(path) as partial:
        _receive(response, url, partial, size)
        check_sha256(partial, sha256, source=url)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_sha256(path: Path, sha256: str, *, source: str) -> None:
    """Raises DownloadFailed unless the file has this SHA-256."""
    found = sha256_of(path)
    if found != sha256:
        raise DownloadFailed(
            f"{source} is not the expected file: its SHA-256 is {found} "
            f"({path.stat().st_size} bytes), expected {sha256}"
        )


def _open(url: str) -> Any:
    """The open response.

    It is asked for in a thread: a name look-up without a network has no time limit.
    """
    answers: queue.Queue[Any] = queue.Queue()

    def ask() -> None:
        try:
            answers.put(urllib.request.urlopen(url, timeout=STALL_SECONDS))
        except (OSError, ValueError) as error:  # URLError and HTTPError are OSErrors
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=ANSWER_SECONDS)
    except queue.Empty:
        raise DownloadFailed(
            f"{url} did not answer within {ANSWER_SECONDS:.0f} seconds"
        ) from None
    if isinstance(answer, Exception):
        if isinstance(answer, urllib.error.HTTPError):
            answer.close()
        raise DownloadFailed(f"{url} cannot be fetched: {answer}") from answer
    return answer


def _receive(response: Any, url: str, path: Path, size: int) -> None:
    bar = tqdm(total=size, unit="B", unit_scale=True, disable=None, leave=False)
    with response, path.open("wb") as file, bar:
        while True:
            try:
                block = response.read(BLOCK)
            except OSError as error:
                raise DownloadFailed(
                    f"{url} broke off after {file.tell()} of {size} bytes: {error}"
                ) from error
            if not block:
                return
            file.write(block)
            bar.update(len(block))
