"""How many threads a kernel may use."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

# OpenMP's threads do not survive a fork: a child that asks for them after its parent used them waits forever.
_used = _lost = False


def _after_fork() -> None:
    global _lost
    _lost = _lost or _used


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def refuse_after_fork(what: str) -> None:
    """Refuse to run `what`, a library with OpenMP threads of its own, where it would hang.

    Raises
    ------
    RuntimeError
        This process was forked from one that had started OpenMP's threads.
    """
    if _lost:
        raise RuntimeError(
            f"{what} would wait forever: this process was forked after its parent had started OpenMP's threads; start "
            "workers with multiprocessing.get_context('spawn') or 'forkserver', or call an Integrator before forking"
        )
    effective()  # notes that threads may now be running


def effective(n_threads: int | None = None) -> int:
    """Return the number of threads that a kernel should start.

    Whatever the wish it is 1 in a process forked from one that had asked for more: a kernel would hang there. Workers
    that shall use several threads are started with ``spawn`` or ``forkserver``.

    Parameters
    ----------
    n_threads
        A wish; at least 1. Without one: the smallest of ``OMP_NUM_THREADS``, the CPUs that this process may
        run on, and the container's CPU quota (control groups, version 1 or 2).

    Raises
    ------
    ValueError
        `n_threads` is below 1 or no whole number.

    Examples
    --------
    >>> effective(2)
    2
    """
    global _used
    if n_threads is not None and (isinstance(n_threads, bool) or int(n_threads) != n_threads or n_threads < 1):
        raise ValueError(f"n_threads must be a whole number of at least 1, or None, got {n_threads!r}")
    if _lost:
        return 1
    number = int(n_threads) if n_threads is not None else max(1, min(_wish(), _affinity(), _container_quota()))
    _used = _used or number > 1
    return number


def _wish() -> int:
    wish = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(wish) if wish.isdigit() and int(wish) > 0 else 1 << 16


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def _container_quota() -> int:
    """Return the quota of this process's container: three files that are read once."""
    return _quota()


def _quota(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the container's CPU quota, rounded up; a very large number where there is none."""
    try:
        quota, period = (root / "cpu.max").read_text().split()[:2]
    except (OSError, ValueError):
        try:
            quota = (root / "cpu/cpu.cfs_quota_us").read_text()
            period = (root / "cpu/cpu.cfs_period_us").read_text()
        except OSError:
            return 1 << 16
    try:
        share = float(quota) / float(period)
    except (ValueError, ZeroDivisionError):
        return 1 << 16
    return max(1, math.ceil(share)) if share > 0 else 1 << 16


def return_memory() -> None:
    """Give memory that is free back to the system.

    The C library keeps what each thread has freed for that thread alone: with several threads a long series would hold
    half as much again as it uses. Does nothing where the C library is not glibc.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Callable[[int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    import ctypes

    return getattr(ctypes.CDLL(None), "malloc_trim", None)
