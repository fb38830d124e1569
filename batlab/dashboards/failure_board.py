"""The worksheet for the safety board on the screen: read it, rate it, sign it, carry it out and in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ipywidgets as w
from bokeh.events import Tap

from batlab.dashboards import page
from batlab.dashboards.board_controls import BoardControls
from batlab.dashboards.board_files import BoardFiles
from batlab.dashboards.board_form import BoardForm
from batlab.dashboards.board_keeping import TROUBLE, Keeping
from batlab.dashboards.board_links import BoardLinks
from batlab.dashboards.board_screen import BoardScreen
from batlab.dashboards.board_script import board_script
from batlab.dashboards.board_state import PAGE, BoardState
from batlab.dashboards.board_told import history_told
from batlab.dashboards.controls import place
from batlab.dashboards.marking import person
from batlab.dashboards.script import names_in_use
from batlab.dashboards.view import FigureView
from batlab.failure import Link, Mark, Store, Worksheet, worksheet
from batlab.failure._worksheet_pick import WANTED
from batlab.failure._worksheet_row import Row
from batlab.figures.worksheet_board import worksheet_board

TABS = ("Row", "Evidence & marks", "History", "Sign & files", "Code")
SHOWN = {"sheet", "kept", "by", "most", *WANTED}


class FailureBoard(Keeping):
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
        self.form.author.value, self.form.author.disabled = person(), bool(os.environ.get("JUPYTERHUB_USER"))
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
            (form.retire, self._retire_or_restore, "kept"),
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

    def step(self, by: int) -> None:
        """Choose the row so many lines further down, the last one at most."""
        ids = [row.id for row in self.rows]
        if ids:
            at = ids.index(self.state.row) + by if self.state.row in ids else 0
            self._change(row=ids[min(max(at, 0), len(ids) - 1)])

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
