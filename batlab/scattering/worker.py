"""What runs on a worker of dask.distributed: it is given the plan once and then ranges of frames."""

from __future__ import annotations

import pickle
from typing import Any

from distributed import WorkerPlugin

from batlab.errors import BatlabError
from batlab.scattering.work import Outcome, Task, Work, run_task
from batlab.schema import version


class ClusterError(BatlabError, RuntimeError):
    """The workers cannot do the job: another version of batlab, or a task that its workers do not survive."""


_works: dict[str, Work] = {}  # of this process, by the name of the run


class PlanOnWorker(WorkerPlugin):
    """Given to every worker, also to one that comes later, before it takes a task.

    The plan itself travels, once to a worker, and is not made anew there: the last digit of a sine depends on the
    processor, and patterns shall have the same bits whoever made them.
    """

    def __init__(self, name: str, work: Work) -> None:
        self.name, self.version = name, version()
        self.content = pickle.dumps(work, protocol=5)

    def setup(self, worker: Any) -> None:
        """Unpack the plan on a worker."""
        if self.version != version():
            raise ClusterError(f"worker {worker.address} has batlab {version()}, the client {self.version}")
        _works[self.name] = pickle.loads(self.content)

    def teardown(self, worker: Any) -> None:
        """Forget the plan."""
        _works.pop(self.name, None)


def run_on_worker(name: str, task: Task, on_error: str) -> Outcome:
    """Return the results of a task of the run `name`, with one kernel thread a task."""
    if name not in _works:
        raise ClusterError(f"this worker was not given the plan of {name}; its log says why (another batlab, perhaps)")
    return run_task(_works[name], task, on_error=on_error)
