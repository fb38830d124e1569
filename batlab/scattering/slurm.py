"""Workers of a SLURM cluster, set up so that a series runs well on them."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from batlab.errors import BatlabError

# One thread a worker: threads of workers and of kernels would multiply. OpenMP's waiting threads would eat the other
# workers' cores, and locks on files are not to be had on many parallel file systems.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "HDF5_USE_FILE_LOCKING": "FALSE"}


def slurm_cluster(
    *,
    cores: int,
    memory: str,
    walltime: str = "01:00:00",
    queue: str | None = None,
    account: str | None = None,
    interface: str | None = None,
    log_folder: str | os.PathLike = "slurm-logs",
    prologue: tuple[str, ...] = (),
) -> Any:
    """Return a ``dask_jobqueue.SLURMCluster`` with one worker process a core; ``cluster.scale(jobs=8)`` starts jobs.

    Parameters
    ----------
    cores
        Of one job, and its number of workers.
    memory
        Of one job, ``"64GB"``. A worker needs about 1 GB for frames of 4 Mpix.
    walltime
        ``"hh:mm:ss"``. Workers end five minutes earlier, and hand their tasks to others.
    queue, account
        SLURM's partition and account.
    interface
        The network to use, such as ``"ib0"``.
    log_folder
        Where SLURM writes what jobs say.
    prologue
        Lines for the shell before a worker starts, such as ``"module load python"``.

    Raises
    ------
    BatlabError
        dask-jobqueue is not installed.
    ValueError
        An impossible number or time.

    Examples
    --------
    >>> with slurm_cluster(cores=16, memory="64GB", queue="short") as cluster:
    ...     "#SBATCH -p short" in cluster.job_script()
    True
    """
    if isinstance(cores, bool) or int(cores) != cores or cores < 1:
        raise ValueError(f"cores must be a whole number of at least 1, got {cores!r}")
    lifetime = _seconds(walltime) - 300
    if lifetime < 300:
        raise ValueError(f"walltime must be at least 00:10:00, got {walltime!r}")
    return _slurm_class()(
        cores=cores,
        processes=cores,
        memory=memory,
        walltime=walltime,
        queue=queue,
        account=account,
        interface=interface,
        python=sys.executable,
        log_directory=os.fspath(log_folder),
        local_directory="${SLURM_TMPDIR:-${TMPDIR:-/tmp}}",
        job_script_prologue=[*(f"export {name}={value}" for name, value in ENVIRONMENT.items()), *prologue],
        worker_extra_args=["--lifetime", f"{lifetime}s", "--lifetime-stagger", "120s"],
        scheduler_options={"dashboard_address": ":0"},
    )


def _slurm_class() -> Any:
    # On import dask-jobqueue 0.9 makes Ctrl-C end the whole program; it shall stay what it was.
    before = signal.getsignal(signal.SIGINT)
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError as error:
        raise BatlabError("scattering.slurm_cluster needs dask-jobqueue: pip install 'batlab[cluster]'") from error
    finally:
        if signal.getsignal(signal.SIGINT) is not before:
            signal.signal(signal.SIGINT, before)
    return SLURMCluster


def _seconds(walltime: str) -> int:
    try:
        hours, minutes, seconds = (int(part) for part in walltime.split(":"))
    except (ValueError, AttributeError):
        raise ValueError(f"walltime must be 'hh:mm:ss', got {walltime!r}") from None
    return 3600 * hours + 60 * minutes + seconds
