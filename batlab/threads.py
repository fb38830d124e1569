"""How many threads a kernel may use."""

from __future__ import annotations

import math
import os
from pathlib import Path


def effective(n_threads: int | None = None) -> int:
    """Return the number of threads that a kernel should start.

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
    if n_threads is not None:
        if isinstance(n_threads, bool) or int(n_threads) != n_threads or n_threads < 1:
            raise ValueError(f"n_threads must be a whole number of at least 1, or None, got {n_threads!r}")
        return int(n_threads)
    limits = [_affinity(), _quota()]
    wish = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if wish.isdigit() and int(wish) > 0:
        limits.append(int(wish))
    return max(1, min(limits))


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
