"""What a person does with the failure board: rate, edit, add, retire, link, sign, carry out and in. All is kept."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from traitlets import TraitError

from batlab.dashboards.board_controls import BAD, DOUBTFUL, GOOD, BoardControls
from batlab.dashboards.board_files import BoardFiles, target
from batlab.dashboards.board_form import BoardForm
from batlab.dashboards.board_links import BoardLinks
from batlab.dashboards.board_state import BoardState
from batlab.dashboards.events import Dashboard
from batlab.errors import BatlabError
from batlab.failure import (
    Evidence,
    Link,
    Store,
    StoreError,
    Worksheet,
    read_action_priority,
    read_worksheet,
    worksheet,
)
from batlab.failure._link import joined
from batlab.failure._worksheet_row import Row

TROUBLE = (BatlabError, ValueError, TypeError, KeyError, OSError, TraitError)


class Keeping(Dashboard):
    """Every act is in the store before the board says so."""

    state: BoardState
    store: Store
    sheet: Worksheet | None
    controls: BoardControls
    form: BoardForm
    linking: BoardLinks
    files: BoardFiles

    def refresh(self) -> Worksheet | None:
        """Read again what the store has; others may have kept something meanwhile."""
        with self._event():
            self._dirty.add("kept")
        return self.sheet

    @property
    def row(self) -> Row | None:
        """The row whose form is open, also one that was retired; None for a new one."""
        if self.sheet is None or not self.state.row:
            return None
        return next(one for one in (*self.sheet.rows, *self.sheet.retired()) if one.id == self.state.row)

    def keep(self) -> Worksheet:
        """Keep what the form says of the row, or the new row that it describes, for the reason given there.

        Raises
        ------
        ValueError
            Nothing was changed, or a field is not what it should be.
        StoreError
            Somebody else has kept another state meanwhile. The board then shows it, and what was typed is still there.
        """
        numbers, texts = self.form.changes()
        why, grounds = self.form.reason.value, list(self.form.rests_on.value)
        if self.row is None:
            return self._add(why, {**texts, **numbers}, self.form.done)
        if not numbers and not texts:
            raise ValueError("nothing was changed in the form")

        def work(sheet: Worksheet, who: str | None) -> Worksheet:
            known = self._open_row()
            sheet = sheet.rate(known, reason=why, author=who, evidence=grounds, **numbers) if numbers else sheet
            return sheet.edit(known, reason=_reason(why), author=who, **texts) if texts else sheet

        return self._keep(work, self.form.done)

    def rate(self, *, reason: str, evidence: Iterable[Evidence | str] = (), **ratings: int) -> Worksheet:
        """Set ratings of the row (``severity=``, ``occurrence=``, ``detection=``), as ``Worksheet.rate`` does."""
        known = self._open_row()
        return self._keep(lambda sheet, who: sheet.rate(known, reason=reason, author=who, evidence=evidence, **ratings))

    def edit(self, *, reason: str, **texts: Any) -> Worksheet:
        """Change texts of the row (``cause=``, ``action=`` …) or its ``evidence``, as ``Worksheet.edit`` does."""
        known = self._open_row()
        return self._keep(lambda sheet, who: sheet.edit(known, reason=_reason(reason), author=who, **texts))

    def add(self, *, reason: str = "", **fields: Any) -> Worksheet:
        """Add a row, as ``Worksheet.add`` does, and open it."""
        return self._add(reason, fields)

    def _add(self, reason: str, fields: dict[str, Any], then: Callable[[], None] | None = None) -> Worksheet:
        with self._event():
            kept = self._keep(lambda sheet, who: sheet.add(reason=reason, author=who, **fields), then)
            self.state.rows = [*self.state.rows, kept.rows[-1].id]
            self.state.row = kept.rows[-1].id
        return kept

    def retire(self, reason: str) -> Worksheet:
        """Take the row away, for a reason; ``status="retired"`` shows it with its history, `restore` brings it back."""
        known = self._open_row()
        if known not in [row.id for row in self._held().rows]:
            raise ValueError(f"row {known} is retired already")
        return self._keep(lambda sheet, who: sheet.remove(known, reason=reason, author=who), self.form.forget_reason)

    def restore(self, reason: str) -> Worksheet:
        """Bring the row back, for a reason, as it was when it was retired."""
        known = self._open_row()
        return self._keep(lambda sheet, who: sheet.restore(known, reason=reason, author=who), self.form.forget_reason)

    def _retire_or_restore(self) -> Worksheet:
        return (self.restore if self.form.is_retired else self.retire)(self.form.reason.value)

    def sign(self, statement: str = "") -> Worksheet:
        """Sign the version on the screen."""
        return self._keep(lambda sheet, who: sheet.sign(statement=statement, author=who))

    def prioritize(self, path: str | os.PathLike) -> Worksheet:
        """Give the worksheet the table of action priorities of a CSV file, see `failure.read_action_priority`."""
        table = read_action_priority(path)
        return self._keep(lambda sheet, who: sheet.prioritize(table, author=who))

    def start(self, title: str) -> Worksheet:
        """Start an empty worksheet in the store, and show it."""
        return self._open(self.store.keep_worksheet(worksheet(title=title, author=self._author), author=self._author))

    def save(self, path: str | os.PathLike, *, replace: bool = False) -> Path:
        """Write the worksheet as ``.xlsx``, ``.csv``, ``.json`` or ``.html`` and return where it is.

        Raises
        ------
        ValueError
            Another end of the name.
        OSError
            The folder is not there, or the file is and `replace` is False.
        """
        sheet, found = self._held(), target(path, may_replace=replace)
        sheet.save(found)
        return found

    def read(self, path: str | os.PathLike, *, edits: str = "refuse", reason: str = "") -> Worksheet:
        """Bring in a worksheet from a file that was saved, and show it; see `failure.read_worksheet`.

        Raises
        ------
        ReadError
            The file is no worksheet, or was changed and `edits` does not take that over.
        StoreError
            The store has a state of it that this one does not follow.
        """
        source = Path(path).expanduser().absolute()
        found = read_worksheet(source, edits=edits, author=self._author, reason=reason)
        return self._open(self.store.keep_worksheet(found, author=self._author, source=str(source)))

    def _read_file(self) -> Worksheet:
        files = self.files
        return self.read(files.path.value, edits=files.edits.value, reason=files.reason.value)

    def link(self, thing: Any, relation: str = "supports", text: str = "") -> Link:
        """Link a mark or evidence of the store with the row, or, without a `thing`, keep a comment on it.

        Evidence that supports the row becomes evidence of the row, too.
        """
        known = self._open_row()
        if not thing:
            made = self.store.comment(f"row:{known}", text, author=self._author)
        else:
            start, relation, end = joined(thing, relation, f"row:{known}")
            kind, _, piece = start.partition(":")
            if kind == "evidence" and relation == "supports" and piece not in self._held()[known].evidence:
                # Before the link: where somebody else was first nothing is kept, and trying again makes no second link.
                more = [thing] if isinstance(thing, Evidence) else self.store.evidence(piece)
                self.edit(evidence=[*self._held()[known].evidence, *more], reason=text or "linked on the board")
            made = self.store.link(thing, relation, end, text=text, author=self._author)
        self.linking.text.value = ""
        self.refresh()
        return made

    @property
    def _author(self) -> str | None:
        return self.form.author.value or None

    def _held(self) -> Worksheet:
        if self.sheet is None:
            raise ValueError("the store has no worksheet yet; start one, or read one from a file")
        return self.sheet

    def _open_row(self) -> str:
        if not self.state.row:
            raise ValueError("choose a row first: click on it, or set board.state.row")
        return self.state.row

    def _keep(
        self, work: Callable[[Worksheet, str | None], Worksheet], then: Callable[[], None] | None = None
    ) -> Worksheet:
        """Keep the worksheet that `work` makes of the one on the screen; when it returns, it is on the disk.

        `then` is what the form forgets before the board shows it.
        """
        held = self._held()
        try:
            kept = self.store.keep_worksheet(work(held, self._author), author=self._author)
        except StoreError as error:
            if self.store.worksheet(held.id) == held:
                raise
            self.refresh()
            raise StoreError(f"{error}. The board shows that state now; what you typed is still in the form") from error
        if then is not None:
            then()
        with self._event():
            self._dirty.add("kept")
        return kept

    def _open(self, sheet: Worksheet) -> Worksheet:
        with self._event():
            self.state.sheets = [*self.state.sheets, sheet.id]
            self.state.sheet = sheet.id
            self._dirty.add("sheet")
        return sheet

    def _tell(self, act: Callable[[], Any], what: str) -> None:
        """Do what a button asks, and say what was done and what is doubtful about it, or why not."""
        with warnings.catch_warnings(record=True) as doubts:
            warnings.simplefilter("always", UserWarning)
            try:
                done = act()
            except TROUBLE as error:
                words = error.args[0] if isinstance(error, KeyError) else error
                self.controls.say(f"not {what}: {words}", BAD)
                return
        if isinstance(done, Path):
            told = f": {done} ({done.stat().st_size / 1000:.0f} kB)"
        elif isinstance(done, Worksheet):
            told = f": “{done.title[:60]}”, version {done.version}, {len(done.changes)} changes, {len(done.rows)} rows"
        else:
            told = f" by {done.author}" if isinstance(done, Link) else ""
        doubtful = "".join(f". Doubtful: {doubt.message}" for doubt in doubts)
        self.controls.say(f"{what}{told}{doubtful}", DOUBTFUL if doubts else GOOD)


def _reason(words: str) -> str:
    if not words.strip():
        raise ValueError("reason must not be empty: it is kept with the change")
    return words
