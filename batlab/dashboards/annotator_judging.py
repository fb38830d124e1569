"""What a person does with the failure annotator: mark, accept, refuse, change, withdraw, weigh. All of it is kept."""

from __future__ import annotations

from typing import Any

import xarray as xr

from batlab.dashboards.annotator_view import AnnotatorView
from batlab.failure import Assessment, Evidence, Mark, Store, assess


class Judging(AnnotatorView):
    """Every act is in the store before the form says so."""

    assessment: Assessment | None

    def _fields(self) -> dict[str, Any]:
        """Return what is to be kept: the place from the state, the meaning from the form."""
        if self.state.region is None:
            raise ValueError("say where first: drag a box on a panel")
        name, first, last, low, high = self.state.region
        axis = None
        if low is not None:
            axis = (str(self.data.axis_of(name, self.state.shows[name]).name), low, high)
        return {"frames": (first, last), "axis_range": axis, **self.form.fields()}

    def _open_store(self) -> Store:
        if self.store is None:
            raise ValueError("marks need a store; pass store=bl.failure.Store('cell7.marks.sqlite')")
        return self.store

    def _series(self) -> list[xr.Dataset]:
        return [self.data.given(name) for name in self.data.names]

    def add(self) -> Mark:
        """Keep the selected region as a mark, as the form says, and return it.

        Raises
        ------
        ValueError
            No store, nothing selected, no mechanism, or a field is not what the store takes.
        StoreError
            The mark was not kept.
        """
        store, fields = self._open_store(), self._fields()
        mark = store.add(self.data.given(self.state.region[0]), author=self.author, **fields)
        return self._done(mark, f"kept as mark {{}} by {mark.author}")

    def accept(self) -> Mark:
        """Keep the suggestion as a mark that rests on its evidence, with range and meaning as they are now.

        Raises
        ------
        ValueError
            As `add`; the form is not about a suggestion, or it was accepted already.
        """
        item, store = self._suggestion("accept"), self._open_store()
        fields, number = self._fields(), self.found.number(item)
        self.found.keep(store, item, self._series(), self.author)
        series = self.data.given(self.state.region[0])
        mark = store.accept(item, series, author=self.author, **fields)
        return self._done(mark, f"suggestion ?{number} accepted: kept as mark {{}} by {mark.author}")

    def refuse(self, reason: str | None = None) -> None:
        """Refuse the suggestion that the form is about; the reason is kept, and it does not come back as new.

        Raises
        ------
        ValueError
            No reason (by default what the form says), no suggestion, or you have accepted it.
        """
        item, store = self._suggestion("refuse"), self._open_store()
        reason = self.form.reason.value if reason is None else reason
        if not reason.strip():
            raise ValueError("say why: a refusal is kept with its reason, for those who come after you")
        self.found.keep(store, item, self._series(), self.author)
        store.refuse(item, reason, author=self.author)
        number = self.found.number(item)
        self.form.reason.value = ""
        self._read()
        self.form.say(f"suggestion ?{number} refused by {self.author}; the reason is kept")

    def _suggestion(self, work: str) -> Evidence:
        """Return the suggestion that the form is about, if it can still be judged by this person."""
        item = self._about()
        if not isinstance(item, Evidence) or not item.is_seen:
            raise ValueError(f"choose a suggestion to {work} first: in the list, or with N")
        here = [mark.id for _, mark in self._listed()]  # it may have been accepted on other data too
        own = [one.mark for one in self.found.sayings(item) if one.author == self.author and one.mark in here]
        if own:
            number = here.index(own[-1]) + 1
            raise ValueError(f"you have accepted it as mark {number}; change or withdraw that mark under “Marks”")
        return item

    def _mark(self, work: str) -> Mark:
        mark = self._about()
        if not isinstance(mark, Mark):
            raise ValueError(f"choose a mark to {work} first, under “Marks”")
        return mark

    def change(self) -> Mark:
        """Keep what region and form now say as a new version of the mark; the earlier ones stay.

        Raises
        ------
        ValueError
            The form is not about a mark; the region lies on another technique.
        StoreError
            It is another's mark.
        """
        mark, fields = self._mark("change"), self._fields()
        region = self._whereabouts(mark)[0]
        if self.state.region[0] != region[0]:
            raise ValueError(f"this mark lies on {region[0]}; for {self.state.region[0]} make a new mark")
        if self.state.region in (region, (*region[:3], None, None)):  # nobody has drawn another box: it lies as before
            del fields["frames"], fields["axis_range"]
        made = self._open_store().edit(mark.id, author=self.author, **fields)
        return self._done(made, f"mark {{}} changed, version {made.version}")

    def withdraw(self) -> Mark:
        """Take the mark back that the form is about; it stays in the store as withdrawn.

        Raises
        ------
        StoreError
            It is another's mark.
        """
        mark = self._mark("withdraw")
        number = [one.id for _, one in self._listed()].index(mark.id) + 1
        made = self._open_store().retire(mark.id, author=self.author)
        return self._done(made, f"mark {number} withdrawn")

    def _done(self, mark: Mark, words: str) -> Mark:
        """Show what was kept; a second click must not make a second mark."""
        self.state.about = ""
        self._read()
        ids = [one.id for _, one in self._listed()]
        number = str(ids.index(mark.id) + 1) if mark.id in ids else ""
        self._change(region=None)
        self.form.fill("")
        self.form.say(words.replace("{}", number))
        return mark

    def put(self, *evidence: Evidence) -> None:
        """Put evidence into the basket; without any, that which the form is about."""
        self.found.put(self._open_store(), evidence or [self._look()], self._series(), self.author)
        self._read()

    def take_out(self, *evidence: Evidence) -> None:
        """Take evidence out of the basket; without any, that which the form is about."""
        for item in evidence or [self._look()]:
            self.found.take_out(self._open_store(), item, self.author)
        self._read()

    def _look(self) -> Evidence:
        item = self._about()
        if not isinstance(item, Evidence):
            raise ValueError("choose a piece of evidence first")
        return item

    def weigh(self) -> Assessment:
        """Rank the mechanisms by the evidence in the basket.

        Raises
        ------
        ValueError
            The basket is empty.
        """
        basket = self.basket
        if not basket:
            raise ValueError("the basket is empty: put evidence in first")
        self.assessment = assess(basket, materials=self.materials)
        self.lists.show_assessment(self.assessment)
        return self.assessment
