"""One writer at a time: a lock file that a dead process does not hold for ever."""

from __future__ import annotations

import errno
import json
import os
import socket
import time
from pathlib import Path
from threading import Event, Thread
from typing import Any

from batlab.errors import BatlabError

BEAT = 10.0  # seconds between two signs of life
SILENCE = 120.0  # seconds without one after which a writer on another computer counts as dead


class LockedError(BatlabError, BlockingIOError):
    """Another process writes to the same store."""


class Lock:
    """Hold the file ``path`` while the body of a ``with`` runs; ``what`` is what it guards.

    The operating system's lock on the file ends with its process, however that died. Where a file system does not pass
    such locks between computers, the file's time is the sign of life: it is renewed every `BEAT` seconds.

    Raises
    ------
    LockedError
        Another process holds it; the message names the process and its computer.
    """

    def __init__(self, path: Path, what: Path) -> None:
        self.path, self.what = path, what
        self._file = -1
        self._left = Event()

    def __enter__(self) -> Lock:
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            self._take()
        except BaseException:
            os.close(self._file)
            raise
        Thread(target=self._beat, name="batlab-lock", daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._left.set()
        os.ftruncate(self._file, 0)
        os.close(self._file)  # which also gives the system's lock back

    def _take(self) -> None:
        owner = self._owner()
        is_ours = _flock(self._file)
        here = socket.gethostname()
        if is_ours is False or (owner and not _is_dead(owner, here, is_ours is True, self._silence())):
            who = f"process {owner.get('pid', '?')} on {owner.get('host', '?')}" if owner else "another process"
            raise LockedError(
                f"{self.what}: is being written by {who} since {owner.get('since', 'just now')}; wait "
                f"for it, or write to another store. If that process is gone, delete {self.path}"
            )
        told = {"pid": os.getpid(), "host": here, "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, json.dumps(told).encode(), 0)

    def _owner(self) -> dict[str, Any]:
        try:
            owner = json.loads(os.pread(self._file, 4096, 0) or b"{}")
        except ValueError:
            return {}
        return owner if isinstance(owner, dict) else {}

    def _silence(self) -> float:
        """Return the seconds since the last sign of life, by the file server's own clock."""
        probe = self.path.with_name(f"clock-{os.getpid()}-{time.monotonic_ns()}")
        probe.touch()
        now = probe.stat().st_mtime
        probe.unlink()
        return now - os.fstat(self._file).st_mtime

    def _beat(self) -> None:
        while not self._left.wait(BEAT):
            try:
                os.utime(self.path)
            except OSError:  # the folder is gone: the writing itself will say so
                return


def _flock(file: int) -> bool | None:
    """Return whether the system gives us its lock; None where the file system has none."""
    try:
        import fcntl
    except ImportError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        return None
    return True


def _is_dead(owner: dict[str, Any], here: str, has_lock: bool, silence: float) -> bool:
    if owner.get("host") != here:
        return silence > SILENCE
    if has_lock:
        return True
    try:
        os.kill(int(owner["pid"]), 0)
    except (ProcessLookupError, KeyError, ValueError, TypeError):
        return True
    except PermissionError:
        return False
    return False
