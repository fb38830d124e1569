"""What runs on a worker of dask.distributed: it is given the plan once and then ranges of frames."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from hashlib import blake2b
from typing import Any

from distributed import WorkerPlugin

from batlab.errors import BatlabError
from batlab.io.chunks import kept_open
from batlab.scattering.sources import Blocks
from batlab.scattering.work import Outcome, Task, Work, run_task
from batlab.schema import version


class ClusterError(BatlabError, RuntimeError):
    """The workers cannot do the job: another version of batlab, or a task that its workers do not survive."""


class NoPlanError(ClusterError):
    """A worker has not been given the plan of a run."""


FRAMES = ("frames", "mask", "variance")  # of a task
LENT = "lent by the cluster"  # stands in a graph for a value that dask.distributed brings
_works: dict[str, Work] = {}  # of this process, by the name of the run
_last: dict[str, Work] = {}  # the last one that came, by its digest: the next run has the same plan as a rule


class PlanOnWorker(WorkerPlugin):
    """Given to every worker, also to one that comes later, before it takes a task.

    The plan itself travels, once to a worker, and is not made anew there: the last digit of a sine depends on the
    processor, and patterns shall have the same bits whoever made them. Without `content` it is the one that the
    worker still has of the run before.
    """

    def __init__(self, name: str, digest: str, content: bytes | None) -> None:
        self.name, self.digest, self.content, self.version = name, digest, content, version()

    def setup(self, worker: Any) -> None:
        """Unpack the plan on a worker."""
        self.files = ExitStack()
        if self.version != version():
            raise ClusterError(f"worker {worker.address} has batlab {version()}, the client {self.version}")
        if self.content is not None:
            work = pickle.loads(self.content)
            _last.clear()
            _last[self.digest] = work
        if self.digest in _last:
            _works[self.name] = _last[self.digest]
        self.files.enter_context(kept_open())  # or every task would read the index of chunks anew

    def teardown(self, worker: Any) -> None:
        """Let go of the plan and close the files."""
        _works.pop(self.name, None)
        self.files.close()


def digest_of(work: Work) -> str:
    """Return what tells one plan from another."""
    buffers: list[pickle.PickleBuffer] = []
    found = blake2b(pickle.dumps(work, protocol=5, buffer_callback=buffers.append), digest_size=20)
    for buffer in buffers:
        found.update(buffer.raw())
    return found.hexdigest()


def has_plan(digest: str) -> bool:
    """Whether this worker still has the plan of the run before, and it is this one."""
    return digest in _last


def without_futures(task: Task) -> tuple[Task, list[Any]]:
    """Return the task with results of the cluster (after ``persist``) taken out, and these."""
    taken = {name: _taken_out(getattr(task, name)) for name in FRAMES}
    lent = [future for _, futures in taken.values() for future in futures]
    return replace(task, **{name: rest for name, (rest, _) in taken.items()}), lent


def run_on_worker(name: str, task: Task, on_error: str, lent: list[Any]) -> Outcome:
    """Return the results of a task of the run `name`, with one kernel thread a task; `lent` are its blocks' values."""
    if name not in _works:
        raise NoPlanError(f"this worker was not given the plan of {name}; its log says why (another batlab, perhaps)")
    values = iter(lent)
    whole = replace(task, **{name: _put_back(getattr(task, name), values) for name in FRAMES})
    return run_task(_works[name], whole, on_error=on_error)


def _taken_out(frames: Any) -> tuple[Any, list[Any]]:
    futures = frames.futures() if isinstance(frames, Blocks) else {}
    return (frames.with_steps(dict.fromkeys(futures, LENT)), list(futures.values())) if futures else (frames, [])


def _put_back(frames: Any, values: Iterator[Any]) -> Any:
    if not isinstance(frames, Blocks):
        return frames
    return frames.with_steps({key: next(values) for key, step in frames.graph.items() if _is_lent(step)})


def _is_lent(step: Any) -> bool:
    return isinstance(step, str) and step == LENT
