"""How the failure annotator looks for suggestions: beside the notebook, with progress, until it is told to stop."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any

from batlab.dashboards.annotator_judging import Judging
from batlab.dashboards.annotator_search import Search, split
from batlab.dashboards.annotator_view import BAD, DOUBTFUL
from batlab.failure import Evidence

TICK = 0.25  # s between looks at a search
SEARCHED = ("structures", "standard", "potentials", "false_alarm")


class Searching(Judging):
    """A search runs in a process of its own."""

    _options: dict[str, Any]
    _search: Search | None = None
    _searched: str

    def search(self) -> list[Evidence]:
        """Look for suggestions, wait for them, and return all evidence; an interrupt stops the search.

        Raises
        ------
        ValueError
            Nothing to search in, or the search failed; the message says why.
        """
        running = self._start()
        try:
            while not running.poll():
                self._tell_search(running)
                time.sleep(TICK)
        except KeyboardInterrupt:
            self.stop()
            raise
        self._end(running)
        if running.error:
            raise ValueError(running.error)
        return self.found.items

    def _start(self) -> Search:
        self.stop()
        parts = {name: self.data.given(name).compute() for name in self.data.names}
        self._search = Search(parts, self._options)
        return self._search

    async def _watch(self, running: Search) -> None:
        """Follow a search while the notebook goes on."""
        while self._search is running and not running.poll():
            self._tell_search(running)
            await asyncio.sleep(TICK)
        if self._search is running:
            self._end(running)

    def _tell_search(self, running: Search) -> None:
        self.lists.show_search(f"{running.step}, {running.seconds:.0f} s", True)

    def _end(self, running: Search) -> None:
        """Take what a search has found."""
        self._search = None
        if running.error:
            self.lists.show_search("", False)
            self.form.say(f"search: {running.error}", BAD)
            return
        before = {item.id for item in self.found.items}
        self.found.add(running.evidence or [])
        with suppress(ValueError):
            self._searched = self._expression()
        self._read()
        new = [item for item in self.found.items if item.is_seen and item.id not in before]
        self.lists.show_search(f"{len(new)} new in {running.seconds:.0f} s", False)
        if running.warnings:
            self.form.say("; ".join(running.warnings), DOUBTFUL)

    def _expression(self) -> str:
        """Return the search as an expression."""
        results, measured = split({name: self.data.given(name) for name in self.data.names})
        words = "".join(f", {name}={name}" for name in self._options)
        calls = []
        if measured:
            each = ", ".join(f'"/{name}": tree["{name}"].to_dataset()' for name in measured)
            is_all = set(measured) == set(self.data.names)
            given = "tree" if is_all else f"type(tree).from_dict({{{each}}})"
            calls.append(f"bl.failure.examine({given}{words})")
        if results:
            each = ", ".join(f'tree["{name}"].to_dataset()' for name in results)
            calls.append(f"bl.failure.find({each})")
        return " + ".join(calls)

    def stop(self) -> None:
        """Stop a search that runs; what was found before stays."""
        running, self._search = getattr(self, "_search", None), None
        if running is not None:
            running.stop()
            self.lists.show_search("stopped", False)

    def _begin(self) -> None:
        """Search beside the notebook, or, where there is no event loop, at once."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.search()
            return
        running = self._start()
        self._tell_search(running)
        self._task = loop.create_task(self._watch(running))
