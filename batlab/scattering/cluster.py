"""A series on the workers of dask.distributed: file names and ranges of frames go out, patterns come back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import islice
from time import sleep
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from batlab.scattering.sources import Frames, Held
from batlab.scattering.work import Outcome

if TYPE_CHECKING:
    from batlab.scattering.series import Series

AHEAD = 4  # tasks a thread that are handed out at once
LEAST = 64  # tasks handed out at once to a cluster that may still grow


def active_client(client: Any, frames: Frames) -> Any:
    """Return the client of dask.distributed to use: the given one, the active one, or None.

    Frames in memory stay here, and so does a call from within a task: its worker waits for it.
    """
    if client is not None:
        if isinstance(frames, Held):
            raise ValueError("client is for lazy frames; these are in memory, where this process is the fastest way")
        return client
    distributed = sys.modules.get("distributed")
    if distributed is None or isinstance(frames, Held) or _is_task(distributed):
        return None
    try:
        client = distributed.Client.current()
    except ValueError:
        return None
    return None if client.asynchronous or client.status != "running" else client


def run_on_cluster(
    client: Any, series: Series, todo: list[slice], on_error: str, deliver: Callable[[Outcome], None]
) -> None:
    """Run the tasks on the workers of `client`; what a lost worker had not handed over is done again.

    Raises
    ------
    ClusterError
        A worker has another version of batlab, or a task's workers died one after another.
    """
    from batlab.scattering.worker import PlanOnWorker

    if not todo:
        return
    name = f"batlab-{uuid4().hex}"
    plugin = PlanOnWorker(name, series.work)
    _despite_deaths(lambda: client.register_plugin(plugin, name=name))
    try:
        _hand_out(client, name, series, todo, on_error, deliver)
    finally:
        if client.status == "running":
            _despite_deaths(lambda: client.unregister_worker_plugin(name))


def _despite_deaths(tell: Callable[[], Any]) -> None:
    """Tell all workers something; where one dies meanwhile, tell them once more: who comes later knows already."""
    for pause in (0.1, 0.5, 2.0, 5.0):
        try:
            tell()
        except OSError:
            sleep(pause)
        else:
            return
    tell()


def _hand_out(
    client: Any, name: str, series: Series, todo: list[slice], on_error: str, deliver: Callable[[Outcome], None]
) -> None:
    from distributed import as_completed

    from batlab.scattering.worker import run_on_worker, without_futures

    waiting = iter(todo)
    pending: set[Any] = set()

    def submit(n: int) -> list[Any]:
        """Hand out the next `n` tasks, the first frames first."""
        new = []
        for rows in islice(waiting, n):
            task, lent = without_futures(series.task(rows))
            key = f"{name}-{rows.start}"
            new.append(client.submit(run_on_worker, name, task, on_error, lent, key=key, priority=-rows.start))
        pending.update(new)
        return new

    try:
        running = as_completed(submit(max(LEAST, AHEAD * sum(client.nthreads().values()))), loop=client.loop)
        for future in running:
            deliver(_result(future))
            pending.discard(future)
            running.update(submit(1))
    except BaseException:
        if client.status == "running":
            client.cancel(list(pending))
        raise


def _result(future: Any) -> Outcome:
    from distributed import KilledWorker

    from batlab.scattering.worker import ClusterError

    try:
        return future.result()
    except KilledWorker as error:
        raise ClusterError(f"a task's workers died one after another, of too little memory perhaps: {error}") from error


def _is_task(distributed: Any) -> bool:
    try:
        distributed.get_worker()
    except ValueError:
        return False
    return True
