"""A series on the workers of dask.distributed: file names and ranges of frames go out, patterns come back."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterable
from functools import partial
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
    if not todo:
        return
    run = _Run(client, series, on_error)
    try:
        run.give_plan(_have_plan(client, run.digest))
        _hand_out(run, todo, deliver)
    finally:
        run.end()


class _Run:
    """One series on the workers of `client`, under a name of its own."""

    def __init__(self, client: Any, series: Series, on_error: str) -> None:
        from batlab.scattering.worker import digest_of

        self.client, self.series, self.on_error = client, series, on_error
        self.name, self.digest = f"batlab-{uuid4().hex}", digest_of(series.work)
        self.plugins: list[str] = []
        self.is_sent = False

    def give_plan(self, have_it: bool = False) -> None:
        """Give the workers the plan; where they have it of the run before, only its name."""
        from batlab.scattering.worker import PlanOnWorker

        self.is_sent = not have_it
        content = None if have_it else pickle.dumps(self.series.work, protocol=5)
        self.plugins.append(f"{self.name}-{len(self.plugins)}")
        plugin = PlanOnWorker(self.name, self.digest, content)
        _despite_deaths(partial(self.client.register_plugin, plugin, name=self.plugins[-1]))

    def submit(self, rows: slice) -> Any:
        """Hand out one task, the first frames first."""
        from batlab.scattering.worker import run_on_worker, without_futures

        task, lent = without_futures(self.series.task(rows))
        key = f"{self.plugins[-1]}-{rows.start}"
        return self.client.submit(
            run_on_worker, self.name, task, self.on_error, lent, key=key, priority=-rows.start, pure=False
        )

    def end(self) -> None:
        """Let the workers close the files; the last plan stays with them for the next run."""
        for name in self.plugins:
            if self.client.status == "running":
                _despite_deaths(partial(self.client.unregister_worker_plugin, name))


def _have_plan(client: Any, digest: str) -> bool:
    """Whether all workers there are have this plan of the run before."""
    from batlab.scattering.worker import has_plan

    # A worker that dies now, or has another batlab, answers with an error: then the plan goes to all, and that tells.
    answers = client.run(has_plan, digest, on_error="return").values()
    return bool(answers) and all(answer is True for answer in answers)


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


def _hand_out(run: _Run, todo: list[slice], deliver: Callable[[Outcome], None]) -> None:
    from distributed import as_completed

    from batlab.scattering.worker import NoPlanError

    client, waiting = run.client, iter(todo)
    pending: dict[Any, slice] = {}

    def submit(ranges: Iterable[slice]) -> list[Any]:
        new = {run.submit(rows): rows for rows in ranges}
        pending.update(new)
        return list(new)

    try:
        first = islice(waiting, max(LEAST, AHEAD * sum(client.nthreads().values())))
        running = as_completed(submit(first), loop=client.loop)
        for future in running:
            rows = pending.pop(future)
            try:
                outcome = _result(future)
            except NoPlanError:  # a worker that came after they were asked, and has nothing of the run before
                if run.is_sent and future.key.startswith(run.plugins[-1]):
                    raise
                if not run.is_sent:
                    run.give_plan()
                running.update(submit([rows]))
            else:
                deliver(outcome)
                running.update(submit(islice(waiting, 1)))
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
