"""Fetching a set from its public origin into the user's cache, file by file, with its hash checked."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from urllib.parse import quote, urlsplit

from batlab.datasets._table import DataFile, OpenData

TIMEOUT = 15  # seconds without an answer
RETRY_AFTER = 60.0  # seconds; a test run or a notebook without a network should not wait once for every set
_unreachable: dict[str, float] = {}


def cache_folder() -> Path:
    """Return the folder in the user's cache, laid out like the data folder itself."""
    import pooch

    return Path(pooch.os_cache("batlab")) / "data"


def fetch(entry: OpenData, cache: Path) -> None:
    """Fetch the files of `entry` that `cache` lacks.

    Raises
    ------
    OSError
        There is no direct address, no network, or a file is not the one that the table names.
    """
    if not entry.url:
        raise OSError("this set cannot be fetched file by file")
    host = urlsplit(entry.url).netloc
    since = time.monotonic() - _unreachable.get(host, float("-inf"))
    if since < RETRY_AFTER:
        raise OSError(f"{host} could not be reached {since:.0f} s ago")
    try:
        _fetch_all(entry, cache / entry.folder)
    except ConnectionError as error:
        _unreachable[host] = time.monotonic()
        raise OSError(f"{host} cannot be reached ({type(error.__cause__).__name__})") from error


def _fetch_all(entry: OpenData, folder: Path) -> None:
    from tqdm.auto import tqdm

    with tqdm(total=entry.size, unit="B", unit_scale=True, desc=entry.name, delay=0.2) as progress:
        for member in entry.files:
            _fetch_one(entry.url, member, folder)
            progress.update(member.size)


def _fetch_one(url: str, member: DataFile, folder: Path) -> None:
    import pooch
    import requests

    target = folder / member.file
    pooch.get_logger().setLevel(logging.WARNING)  # one progress bar for the set instead of a line a file
    try:
        pooch.retrieve(
            url + quote(member.file),
            known_hash=f"sha256:{member.sha256}",
            fname=target.name,
            path=target.parent,
            downloader=pooch.HTTPDownloader(timeout=TIMEOUT),
        )
    except (requests.ConnectionError, requests.Timeout) as error:
        raise ConnectionError(str(error)) from error
    except ValueError as error:  # pooch's way to say that the hash differs; it has removed the file
        raise OSError(f"{member.file} is not the file that was expected: {error}") from error
