"""What the failure annotator shows, and how it goes from one suggestion or mark to another."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

from batlab.dashboards.annotator_controls import AnnotatorControls
from batlab.dashboards.annotator_data import AnnotatorData
from batlab.dashboards.annotator_form import MarkForm
from batlab.dashboards.annotator_lists import Lists
from batlab.dashboards.annotator_screen import AnnotatorScreen
from batlab.dashboards.annotator_state import AnnotatorState
from batlab.dashboards.annotator_suggestions import Suggestions, explains
from batlab.dashboards.shared_axis import VIEW, SharedAxis
from batlab.dashboards.view import FigureView
from batlab.failure import Assessment, Evidence, Mark, Store
from batlab.figures.annotator import Note, mark_notes
from batlab.figures.style import SYMBOLS, unit_sign

BAD, DOUBTFUL = "#B00020", "#8A5A00"


class AnnotatorView(SharedAxis):
    """Panels, lists and form follow state and store."""

    state: AnnotatorState
    data: AnnotatorData
    screen: AnnotatorScreen
    store: Store | None
    controls: AnnotatorControls
    form: MarkForm
    lists: Lists
    view: FigureView
    found: Suggestions
    marks: dict[str, list[Mark]]
    materials: Sequence[str] | None
    _ranking: tuple[tuple[str, ...], Assessment | None]

    def code(self) -> str:
        """Return the lines of Python that reproduce what is on the screen."""
        raise NotImplementedError

    @property
    def author(self) -> str:
        """Who signs."""
        return self.form.author.value

    @author.setter
    def author(self, name: str) -> None:
        self.form.author.value = name

    @property
    def basket(self) -> list[Evidence]:
        """The evidence that this person has put into the basket."""
        return self.found.basket(self.author)

    def _draw(self, dirty: set[str]) -> None:
        state, screen, data = self.state, self.screen, self.data
        is_view = bool(dirty & VIEW) or "lags" in dirty
        if is_view:
            screen.show_axis(state, data.whole(state.axis, self.stretch, state.lags))
        for name in data.names:
            look = state.shows[name], state.ranges.get(name)
            if is_view or self._shown.get(name) != look:
                screen.show_panel(name, state, self.stretch)
                self._shown[name] = look
            if dirty & {"axis", "stretch", "features", "lags"}:
                screen.show_overlay(name, state, self.stretch)
        if is_view:
            screen.tell_places(state, self.stretch)
        if is_view or dirty & {"frame", "shows"}:
            screen.show_cursor(state, self._place(), self.stretch)
        if is_view or dirty & {"region", "shows", "ranges"}:
            screen.show_region(state)
        if is_view or dirty & {"shows", "ranges"}:
            screen.show_notes(self._notes(), state)

    def _follow(self, dirty: set[str]) -> None:
        """Let widgets and words tell the state."""
        if dirty != {"frame"}:
            self.controls.show(self.state, [self._stretch_words(number) for number in range(len(self._stretches))])
            self._show_form()
        else:
            with self.controls.following():
                self.controls.slider.value = self.state.frame
        self._refresh_code()

    def _refresh_code(self) -> None:
        if self.lists.is_code_open:
            self.lists.script.value = self.code()

    def _read(self) -> None:
        """Read marks and judgements from the store again, and show them."""
        if self.store is not None:
            self.marks = {name: self.store.marks(self.data.given(name)) for name in self.data.names}
            self.found.read(self.store)
        if self.state.about and self._about() is None:
            self._change(about="", region=None)
        self._show_all()

    def _show_all(self) -> None:
        with self.view.batch():
            self.screen.show_notes(self._notes(), self.state)
        self._show_form()
        self._refresh_code()

    def _show_form(self) -> None:
        about = self._about()
        self.lists.show(self.found, self._listed(), self.author, self.state.about)
        item = about if isinstance(about, Evidence) else None
        self.lists.show_detail(item, self.found.sayings(item) if item else (), self._rank() if item else None)
        number = 0
        if isinstance(about, Mark):
            number = [mark.id for _, mark in self._listed()].index(about.id) + 1
        elif item is not None:
            number = self.found.number(item)
        self.form.show(about, number, self._where(), has_store=self.store is not None, in_basket=item in self.basket)

    def _listed(self) -> list[tuple[str, Mark]]:
        return [(name, mark) for name, marks in self.marks.items() for mark in marks]

    def _about(self, about: str | None = None) -> Evidence | Mark | None:
        """Return what the form is (or would be) about; None for a new mark, or where it is gone."""
        kind, _, known = (self.state.about if about is None else about).partition(":")
        things: Iterable[Any] = self.found.items if kind == "evidence" else [mark for _, mark in self._listed()]
        return next((one for one in things if one.id == known), None) if known else None

    def _where(self) -> str:
        """Return the selected region as words, escaped."""
        if self.state.region is None:
            about = self._about()
            if isinstance(about, Evidence):
                return "<i>drag a box to say where; it names no frames here</i>" if about.is_seen else ""
            return "<i>drag a box on a panel</i>"
        name, first, last, low, high = self.state.region
        kind = "record" if "record" in self.data.tree[name].dims else "frame"
        words = f"{name}, {kind}s {first}–{last}" if first != last else f"{name}, {kind} {first}"
        if low is not None:
            axis = self.data.axis_of(name, self.state.shows[name])
            units = unit_sign(str(axis.attrs.get("units", "1")))
            words += f", {SYMBOLS.get(str(axis.name), str(axis.name))} {low:.4g} – {high:.4g} {units}"
        return html.escape(words)

    def _notes(self) -> dict[str, list[Note]]:
        """Return the boxes of each technique: marks, suggestions, refused ones; accepted ones are their marks."""
        notes: dict[str, list[Note]] = {name: [] for name in self.data.names}
        count = 1
        for name, marks in self.marks.items():
            axis = self.data.axis_name(name, self.state.shows[name])
            notes[name] += mark_notes(marks, self.author, count, axis)
            count += len(marks)
        for item in self.found.items:
            place = self.data.place_of(item) if item.is_seen else None
            what = self.found.verdict(item, self.author).what
            if place is not None and what != "accepted":
                kind, sign = ("refused", "×") if what == "refused" else ("suggested", "?")
                notes[place[0]].append(Note(place[1:], f"{sign}{self.found.number(item)}", kind))
        return notes

    def _rank(self) -> Assessment | None:
        """Return how mechanisms rank by all that was found; computed when somebody looks at a suggestion."""
        key = tuple(item.id for item in self.found.items)
        if self._ranking[0] != key:
            self._ranking = key, self.found.weigh(self.materials)
        return self._ranking[1]

    def choose(self, thing: Evidence | Mark | str | None = None) -> None:
        """Let the form be about a suggestion, a mark, or (None) a new mark, and show where it lies.

        Raises
        ------
        ValueError
            It is not here.
        """
        named = f"{'mark' if isinstance(thing, Mark) else 'evidence'}:{getattr(thing, 'id', '')}"
        about = thing if isinstance(thing, str) else "" if thing is None else named
        found = self._about(about)
        if about and found is None:
            raise ValueError(f"{about!r} is not on this dashboard; it has {len(self.found.items)} pieces of evidence "
                             f"and {len(self._listed())} marks")  # fmt: skip
        region, shows = None, self.state.shows
        if isinstance(found, Mark):
            region, shows = self._whereabouts(found)
            self.form.fill(found.mechanism, found.text, found.confidence, found.category)
        elif found is not None:
            region, ranking = self.data.place_of(found), self._rank()
            fits = explains(found, ranking.ranking if ranking else ())
            known = [one.name for one in ranking.candidates] if ranking else []
            sure = ranking[fits[0]].probability if ranking and fits and fits[0] in known else 0.5
            self.form.fill(fits[0] if fits else "", confidence=round(20 * sure) / 20)
        else:
            self.form.fill("")
        self.form.say("")
        self._go(about, region, shows)

    def _whereabouts(self, mark: Mark) -> tuple[Any, dict[str, str]]:
        """Return the region of a mark, and what the panels must show for it."""
        name = next(name for name, one in self._listed() if one.id == mark.id)
        return self.data.whereabouts(name, mark, self.state.shows)

    def _go(self, about: str, region: Any, shows: dict[str, str]) -> None:
        """Select a region, and see to it that it is on the screen."""
        changes: dict[str, Any] = {"about": about, "region": region, "shows": shows}
        if region is not None:
            box = self.screen.box_of(region[0], self.state, region[1:])
            changes["frame"] = self.data.lead_frame(region[0], region[1])
            low, high = self.state.x_range
            if box is not None and not (low <= box[0] and box[1] <= high):
                changes["x_range"] = self.data.whole(self.state.axis, self.stretch, self.state.lags)
        self._change(**changes)
        self._show_form()

    def _choose_or_tell(self, about: str) -> None:
        try:
            self.choose(about or None)
        except ValueError as error:
            self.form.say(str(error), BAD)

    def _next(self, by: int) -> None:
        """Go to the next suggestion that nobody has judged, else to the next one."""
        seen = [item for item in self.found.items if item.is_seen]
        if not seen:
            self.form.say("no suggestions yet: press “find suggestions”", DOUBTFUL)
            return
        new = [item for item in seen if self.found.verdict(item, self.author).what == "new"] or seen
        at = self._about()
        here = self.found.items.index(at) if isinstance(at, Evidence) else -1 if by > 0 else len(self.found.items)
        places = [self.found.items.index(item) for item in new]
        beyond = [place for place in places if (place - here) * by > 0]
        self.choose(self.found.items[(min if by > 0 else max)(beyond or places)])
        self.lists.widget.selected_index = 0
