"""The worksheet for the safety board on the screen: read it, rate it, sign it, carry it out and in."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ipywidgets as w
from bokeh.events import Tap
from traitlets import TraitError

from batlab.dashboards import page
from batlab.dashboards.board_controls import BAD, GOOD, BoardControls
from batlab.dashboards.board_files import BoardFiles, target
from batlab.dashboards.board_form import BoardForm
from batlab.dashboards.board_links import BoardLinks
from batlab.dashboards.board_screen import BoardScreen
from batlab.dashboards.board_script import board_script
from batlab.dashboards.board_state import PAGE, BoardState
from batlab.dashboards.board_told import history_told
from batlab.dashboards.controls import place
from batlab.dashboards.events import Dashboard
from batlab.dashboards.marking import person
from batlab.dashboards.script import names_in_use
from batlab.dashboards.view import FigureView
from batlab.errors import BatlabError
from batlab.failure import (
    Evidence,
    Link,
    Mark,
    Store,
    StoreError,
    Worksheet,
    read_action_priority,
    read_worksheet,
    worksheet,
)
from batlab.failure._worksheet_pick import WANTED
from batlab.failure._worksheet_row import Row
from batlab.figures.worksheet_board import worksheet_board

TABS = ("Row", "Evidence & marks", "History", "Sign & files", "Code")
TROUBLE = (BatlabError, ValueError, TypeError, KeyError, OSError, TraitError)
SHOWN = {"sheet", "kept", "by", "most", *WANTED}


class FailureBoard(Dashboard):
    """The FMMEA worksheets of a store as a board: mode, mechanism, cause, ratings with their grounds, evidence.

    Each row has its severity, occurrence and detection, the RPN, the action priority, its evidence as pictures of the
    size of a stamp (effect ± 1 σ) or the flag "judgement", and the marks linked to it. A rating set by hand stands
    beside the computed one, which is struck out. Whatever is kept is a new version with author, time and reason, and
    survives a killed kernel as soon as the board says "kept". A signed version is frozen; a change starts another.

    Keys, after a click on the board: ↑ and ↓ (PgUp, PgDn, Home, End) choose a row, Enter goes to its ratings, ``/`` to
    the filter, ``n`` starts a new row, Esc comes back to the board, Ctrl+S keeps what the form says.

    Parameters
    ----------
    store
        A `failure.Store`, or the path or URL of one.
    sheet
        The worksheet to begin with, or its id; by default the newest. One that the store does not have is kept first.

    Attributes
    ----------
    state
        What is shown, as plain values; see `BoardState`.
    sheet
        The worksheet on the screen as the store has it; None where there is none.
    rows
        The rows on the board, in its order.

    Raises
    ------
    TypeError, ValueError
        No store; no such worksheet.
    StoreError, ReadError
        The store cannot be opened, or has another state of `sheet`.

    Examples
    --------
    >>> import batlab as bl
    >>> board = bl.dashboards.FailureBoard("cell7.marks.sqlite")  # doctest: +SKIP
    >>> board.show()  # doctest: +SKIP
    >>> board.state.least_rpn = 100  # doctest: +SKIP
    >>> board.rate(occurrence=3, reason="slow charging only")  # doctest: +SKIP
    """

    def __init__(self, store: Store | str | os.PathLike, sheet: Worksheet | str | None = None) -> None:
        super().__init__()
        self.store = _opened(store)
        self.state = BoardState()
        self._is_quiet = False
        self.sheet: Worksheet | None = None
        self.rows: list[Row] = []
        self.screen = BoardScreen(worksheet(title="empty", author="-"))
        self.controls = BoardControls(self._change, self.step, lambda: self._tell(self.refresh, "read again"))
        self.form, self.linking, self.files = BoardForm(), BoardLinks(), BoardFiles()
        self.form.author.value = person()
        self._listen()
        self.view = FigureView(self.screen.root)
        self.views = [self.view]
        self.widget = self._compose()
        self.state.observe(self._note)
        self._begin(sheet)

    def _compose(self) -> w.VBox:
        self.history = w.HTML(layout=place("690px", max_height="400px", overflow="auto"))
        self.script = w.Textarea(layout=place("690px", height="300px"))
        self.tabs = w.Tab(
            [self.form.widget, self.linking.widget, self.history, self.files.widget, self.script],
            titles=TABS, layout=w.Layout(width="736px", overflow="visible"),
        )  # fmt: skip
        self.tabs.observe(lambda _change: self._follow(), "selected_index")
        bottom = w.HBox([self.tabs, self.view], layout=w.Layout(overflow="visible"))
        box = w.VBox([self.controls.widget, bottom], layout=w.Layout(overflow="visible"))
        box.add_class("batlab-board")  # board_keys.js listens there
        return box

    def _listen(self) -> None:
        form, files, link = self.form, self.files, self.linking
        self.screen.request.on_change("data", lambda _name, _old, new: self._choose(new["row"][0]))
        self.screen.root.on_event(Tap, lambda event: self._choose(self.screen.row_at(event.x, event.y)))
        for button, act, what in (
            (form.save, self.keep, "kept"),
            (form.retire, lambda: self.retire(form.reason.value), "retired"),
            (files.sign, lambda: self.sign(files.statement.value), "signed"),
            (files.prioritize, lambda: self.prioritize(files.table.value), "priorities loaded"),
            (files.start, lambda: self.start(files.title.value), "started"),
            (files.save, lambda: self.save(files.path.value, replace=files.replace.value), "written"),
            (files.read, self._read_file, "read"),
            (link.join, lambda: self.link(link.thing.value, link.relation.value, link.text.value), "linked"),
        ):
            button.on_click(lambda _button, act=act, what=what: self._tell(act, what))
        form.new.on_click(lambda _button: self._new())

    def _begin(self, sheet: Worksheet | str | None) -> None:
        """Read the store and bring all of it to the screen."""
        if isinstance(sheet, Worksheet):
            sheet = self.store.keep_worksheet(sheet).id
        known = self.store.worksheets()
        if sheet is not None and sheet not in [one.id for one in known]:
            self.store.worksheet(sheet)  # says what is there
        chosen = sheet or (known[-1].id if known else "")
        self.form.forget()
        self.sheet = None
        with self._quiet():
            self.state.sheets = [one.id for one in known]
            self.state.row, self.state.most = "", PAGE
            for name in ("by", *WANTED):
                setattr(self.state, name, BoardState.class_traits()[name].default())
            self.state.sheet = chosen
        with self._event():
            self._dirty.add("sheet")
        self.controls.say("" if chosen else "The store has no worksheet yet: start one under “Sign & files”.")

    def load(self, store: Store | str | os.PathLike, sheet: Worksheet | str | None = None) -> None:
        """Show another store, or another worksheet of this one; the state starts anew.

        Raises
        ------
        TypeError, ValueError, StoreError, ReadError
            As for the class; the board then still shows what it had.
        """
        before, self.store = self.store, _opened(store)
        try:
            self._begin(sheet)
        except TROUBLE:
            self.store = before
            raise

    def refresh(self) -> Worksheet | None:
        """Read again what the store has; others may have kept something meanwhile."""
        with self._event():
            self._dirty.add("kept")
        return self.sheet

    def step(self, by: int) -> None:
        """Choose the row so many lines further down, the last one at most."""
        ids = [row.id for row in self.rows]
        if ids:
            at = ids.index(self.state.row) + by if self.state.row in ids else 0
            self._change(row=ids[min(max(at, 0), len(ids) - 1)])

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
            return self._add(why, {**texts, **numbers}, is_typed=True)
        if not numbers and not texts:
            raise ValueError("nothing was changed in the form")

        def work(sheet: Worksheet, who: str | None) -> Worksheet:
            known = self._open_row()
            sheet = sheet.rate(known, reason=why, author=who, evidence=grounds, **numbers) if numbers else sheet
            return sheet.edit(known, reason=_reason(why), author=who, **texts) if texts else sheet

        return self._keep(work, is_typed=True)

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
        return self._add(reason, fields, is_typed=False)

    def _add(self, reason: str, fields: dict[str, Any], *, is_typed: bool) -> Worksheet:
        with self._event():
            kept = self._keep(lambda sheet, who: sheet.add(reason=reason, author=who, **fields), is_typed=is_typed)
            self.state.rows = [*self.state.rows, kept.rows[-1].id]
            self.state.row = kept.rows[-1].id
        return kept

    def retire(self, reason: str) -> Worksheet:
        """Take the row away for a reason; its history stays, and ``status="retired"`` shows it."""
        known = self._open_row()
        if known not in [row.id for row in self._held().rows]:
            raise ValueError(f"row {known} is retired already")
        return self._keep(lambda sheet, who: sheet.remove(known, reason=reason, author=who), is_typed=True)

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
        row = f"row:{self._open_row()}"
        if not thing:
            made = self.store.comment(row, text, author=self._author)
        else:
            made = self.store.link(thing, relation, row, text=text, author=self._author)
        kind, _, known = made.source.partition(":")
        if kind == "evidence" and relation == "supports" and self.row is not None and known not in self.row.evidence:
            held = [*self.row.evidence, *self.store.evidence(known)]
            self.edit(evidence=held, reason=text or "linked on the board")
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

    def _keep(self, work: Callable[[Worksheet, str | None], Worksheet], *, is_typed: bool = False) -> Worksheet:
        """Keep the worksheet that `work` makes of the one on the screen; when it returns, it is on the disk."""
        held = self._held()
        try:
            kept = self.store.keep_worksheet(work(held, self._author), author=self._author)
        except StoreError as error:
            if self.store.worksheet(held.id) == held:
                raise
            self.refresh()
            raise StoreError(f"{error}. The board shows that state now; what you typed is still in the form") from error
        if is_typed:
            self.form.done()
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
        """Do what a button asks, and say what was done or why not."""
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
        self.controls.say(f"{what}{told}", GOOD)

    def _choose(self, row: str) -> None:
        if row in self.state.rows:
            self._change(row=row)

    def _new(self) -> None:
        self._change(row="")
        self.tabs.selected_index = 0

    def _draw(self, dirty: set[str]) -> None:
        """Bring what has changed to the screen."""
        is_other = self._read() if dirty & {"sheet", "kept"} else False
        if dirty & SHOWN:
            self._show_rows()
        if is_other and self.rows:
            with self._quiet():
                self.state.row = self.rows[0].id
        if dirty & {"sheet", "kept", "row"}:
            self._show_row()
        self._follow()

    def _note(self, change: Any) -> None:
        if not self._is_quiet:
            super()._note(change)

    @contextmanager
    def _quiet(self) -> Iterator[None]:
        """Let the state be set without a refresh: one is at work."""
        before, self._is_quiet = self._is_quiet, True
        try:
            yield
        finally:
            self._is_quiet = before

    def _read(self) -> bool:
        """Read worksheet, links and marks, and return whether it is another worksheet than before."""
        state, known = self.state, self.store.worksheets()
        before = self.sheet
        self.sheet = next((one for one in known if one.id == state.sheet), None)
        self._links: list[Link] = self.store.links()
        self._marks: dict[str, Mark] = {one.id: one for one in self.store.marks(include_retired=True)}
        self._evidence = {one.id: one for one in self.store.evidence()}
        self._imports = self.store.imports()
        with self._quiet():
            state.sheets = [one.id for one in known]
            state.rows = [] if self.sheet is None else [one.id for one in (*self.sheet.rows, *self.sheet.retired())]
            if self.sheet is not None:
                self._evidence |= {one.id: one for one in self.sheet.evidence}
                state.by = state.by if self.sheet.priorities else "rpn"
            is_other = before is None or self.sheet is None or before.id != self.sheet.id
            if is_other:
                state.row = ""
                self.files.load(self.sheet)
        self.controls.load(known, self.sheet)
        return is_other

    def _show_rows(self) -> None:
        """Draw table and matrix. A row that the filters hide stays open in the form: somebody may be typing."""
        sheet, state = self.sheet, self.state
        self.rows = [] if sheet is None else sheet.ranked(state.by, **state.wanted)
        table = "" if sheet is None else worksheet_board(sheet, self.rows, links=self._links, most=state.most)
        self.controls.table.value = table
        if sheet is not None:
            self.screen.show_rows(sheet, self.rows)

    def _show_row(self) -> None:
        row, sheet = self.row, self.sheet
        state = "" if row is None or sheet is None else sheet.states()[row.id]
        items = [] if row is None else [self._evidence[one] for one in row.all_evidence if one in self._evidence]
        self.form.show(row, items, state)
        self.linking.show(row, self._evidence, self._links, self._marks)
        self.controls.select(self.state.row)
        if sheet is not None:
            self.screen.select(sheet, self.state.row)

    def _follow(self) -> None:
        """Let controls tell the state, and the open tab what it has to."""
        self.controls.show(self.state, self.sheet, len(self.rows))
        self.files.show(self.sheet)
        if self.tabs.selected_index == TABS.index("History"):
            self.history.value = "" if self.sheet is None else history_told(self.sheet, self.state.row, self._imports)
        if self.tabs.selected_index == TABS.index("Code"):
            self.script.value = self.code()

    def code(self) -> str:
        """Return the lines of Python that reproduce what is on the screen."""
        return board_script(self.store, self.sheet, self.state, names_in_use({"store": self.store}))

    def close(self) -> None:
        """Take the board off the page and let go of what it holds."""
        self.state.unobserve_all()
        page.forget(self)
        self.screen.root.document.clear()
        for name in ("screen", "view", "views", "controls", "form", "linking", "files", "tabs", "history", "script",
                     "widget", "sheet", "rows", "_links", "_marks", "_evidence", "_imports"):  # fmt: skip
            delattr(self, name)


def _opened(store: Any) -> Store:
    if isinstance(store, (str, os.PathLike)):
        return Store(store)
    if not isinstance(store, Store):
        raise TypeError(f"FailureBoard needs a failure.Store, or the path or URL of one, got {type(store).__name__}")
    return store


def _reason(words: str) -> str:
    if not words.strip():
        raise ValueError("reason must not be empty: it is kept with the change")
    return words
