"""The search for suggestions in a process of its own: it tells its steps and can be stopped.

The parent writes the data into a folder that nobody else can read, and reads the lines of JSON that come back:
``{"step": …}``, ``{"warning": …}``, then ``{"evidence": […]}`` or ``{"error": …}``.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from batlab.errors import BatlabError

GIVEN, TOLD, LOG = "given.pickle", "told.jsonl", "log.txt"


class Search:
    """A search that runs; ask `poll` now and then until `is_done`.

    Attributes
    ----------
    step, warnings
        What it does now, and what it has warned of.
    evidence, error
        What came out: evidence as plain dicts, or why there is none.
    """

    def __init__(self, parts: Mapping[str, xr.Dataset], options: Mapping[str, Any]) -> None:
        self.step, self.warnings = "starting", list[str]()
        self.evidence: list[dict[str, Any]] | None = None
        self.error = ""
        self._began, self._n_read = time.monotonic(), 0
        self._folder = tempfile.TemporaryDirectory(prefix="batlab-search-")
        here = Path(self._folder.name)
        with open(here / GIVEN, "wb") as file:
            pickle.dump((dict(parts), dict(options)), file, protocol=pickle.HIGHEST_PROTOCOL)
        (here / TOLD).touch()
        # The child finds what this process finds; of a session of its own, an interrupt of the kernel does not end it.
        known = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with open(here / LOG, "wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "batlab.dashboards.annotator_search", str(here), str(os.getpid())],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=known, start_new_session=True,
            )  # fmt: skip

    @property
    def seconds(self) -> float:
        """How long it has been running."""
        return time.monotonic() - self._began

    @property
    def is_done(self) -> bool:
        """Whether something came out."""
        return self.evidence is not None or bool(self.error)

    def poll(self) -> bool:
        """Read what was told meanwhile, and return whether it is done."""
        if self.is_done:
            return True
        has_ended = self._process.poll() is not None  # asked before reading: what was told last is read then
        here = Path(self._folder.name)
        text = (here / TOLD).read_text(encoding="utf-8")
        lines = text[: text.rfind("\n") + 1].splitlines()
        for line in lines[self._n_read :]:
            told = json.loads(line)
            self.step = told.get("step", self.step)
            self.warnings += [told["warning"]] if "warning" in told else []
            self.evidence, self.error = told.get("evidence", self.evidence), told.get("error", self.error)
        self._n_read = len(lines)
        if has_ended and not self.is_done:
            last = (here / LOG).read_text(errors="replace").strip().splitlines() or ["it said nothing"]
            self.error = f"the search ended with {self._process.returncode}: {last[-1][:300]}"
        if self.is_done:
            self._tidy()
        return self.is_done

    def stop(self) -> None:
        """End it; nothing comes out."""
        if not self.is_done:
            self.error = "stopped"
            self._tidy()

    def _tidy(self) -> None:
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()


def find_in(parts: Mapping[str, xr.Dataset], options: Mapping[str, Any], tell: Callable[[str], None]) -> list[Any]:
    """Return evidence: results go to `failure.find`, measured data to `failure.examine`; see `calls_of`."""
    from batlab.failure import examine, find

    results, measured = split(parts)
    found: list[Any] = []
    if measured:
        tree = xr.DataTree.from_dict({f"/{name}": parts[name] for name in measured})
        found += examine(tree, tell=tell, **options)
    if results:
        tell("failure.find")
        found += find(*(parts[name] for name in results))
    return found


def split(parts: Mapping[str, xr.Dataset]) -> tuple[list[str], list[str]]:
    """Return the names of the results that `failure.find` knows, and of the data that `failure.examine` reads.

    Raises
    ------
    ValueError
        Neither is there.
    """
    from batlab.failure import find

    results, measured = [], []
    for name, part in parts.items():
        is_series = {"q", "energy"} & set(part.dims) or {"voltage", "current"} <= set(part.variables)
        if name in ("xrd", "xas", "echem") and is_series:
            measured.append(name)
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the search itself tells them
            try:
                find(part)
            except ValueError:
                continue
        results.append(name)
    if not results and not measured:
        raise ValueError(
            f"nothing to search in {', '.join(parts)}: failure.examine reads /xrd over q, /xas over energy and /echem "
            "with voltage and current, failure.find what techniques found (cells, peaks, edge energies)"
        )
    return results, measured


def main(folder: str, parent: int) -> None:
    """Search as the parent asked, and tell; end when the parent has gone."""
    here = Path(folder)
    with open(here / GIVEN, "rb") as file:
        parts, options = pickle.load(file)
    with open(here / TOLD, "a", encoding="utf-8") as told:

        def say(**words: Any) -> None:
            if os.getppid() != parent:
                sys.exit("the notebook has gone")
            print(json.dumps(words), file=told, flush=True)

        with warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.showwarning = lambda message, *_args, **_more: say(warning=str(message))
            try:
                found = find_in(parts, options, lambda step: say(step=step))
                say(evidence=[item.as_dict() for item in found])
            except (BatlabError, ValueError, TypeError, ArithmeticError, OSError) as error:
                say(error=str(error) or type(error).__name__)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
