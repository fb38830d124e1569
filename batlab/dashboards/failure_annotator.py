"""Mark what failed on any technique of an experiment, judge what batlab suggests, and weigh the evidence."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import ipywidgets as w
import xarray as xr

from batlab.align import Lithium
from batlab.dashboards import page
from batlab.dashboards.annotator_controls import WIDTH, AnnotatorControls
from batlab.dashboards.annotator_data import AnnotatorData
from batlab.dashboards.annotator_form import WIDTH as SIDE
from batlab.dashboards.annotator_form import MarkForm
from batlab.dashboards.annotator_lists import Lists
from batlab.dashboards.annotator_screen import AnnotatorScreen
from batlab.dashboards.annotator_script import annotator_script
from batlab.dashboards.annotator_searching import SEARCHED, Searching
from batlab.dashboards.annotator_suggestions import Suggestions
from batlab.dashboards.annotator_view import BAD, DOUBTFUL
from batlab.dashboards.marking import person
from batlab.dashboards.script import names_in_use
from batlab.dashboards.view import FigureView
from batlab.errors import BatlabError, refuse_unknown
from batlab.failure import Evidence, Store


class FailureAnnotator(Searching):
    """Mark what failed on any technique, accept, change or refuse what batlab suggests, and weigh the evidence.

    Drag a box on any panel, say what it means, and press “mark”: it is in the store, signed, before the form says so.
    “find suggestions” runs `failure.examine` and `failure.find` beside the notebook; choose one in the list, and accept
    it as a mark that rests on its evidence, after changing range or mechanism if need be, or refuse it with a reason,
    which is kept; it does not come back as new. Evidence in the basket is weighed by `failure.assess`. Marks of others
    are shown and cannot be changed.

    Keys, after a click into a panel: arrows, Page keys, Home and End move the cursor; ``n`` and ``p`` go to the next
    and to the previous suggestion, ``a`` accepts, ``r`` goes to the field for the reason of a refusal (Enter refuses,
    Esc leaves it), ``b`` puts evidence into the basket or takes it out, ``m`` marks, ``Esc`` begins a new mark.

    Parameters
    ----------
    tree
        Two to six siblings such as ``/xrd /xas /echem``, each over ``frame`` or ``record`` with ``time``: measured data
        or what the techniques found in them. Truth of a simulation must be taken off first.
    store
        Where everything is kept: a `failure.Store`, or the path or URL of one. Without it one can only look.
    suggestions
        `failure.Evidence` that is there already.
    search
        Keywords of `failure.examine` for the search: ``structures``, ``standard``, ``potentials``, ``false_alarm``.
    materials
        What the cell is made of, for `failure.assess`.
    experiment
        Name under which the evidence belongs together; by default that of the tree.
    lithium
        `align.Lithium`: what turns the record's charge into lithium, for that axis.

    Attributes
    ----------
    state
        What is shown, as plain numbers and words; see `AnnotatorState`.
    found
        The suggestions, see `Suggestions`; ``found.items`` are the pieces of evidence.
    assessment
        What the basket says of the mechanisms; None before it was weighed.
    author
        Who signs: the user of the hub, else of the computer.

    Raises
    ------
    DimensionError, SchemaError
        Not a tree of two to six techniques with ``time`` and something to show.
    TypeError, ValueError
        Suggestions that are no evidence; unknown keywords.

    Examples
    --------
    >>> import batlab as bl
    >>> annotator = bl.dashboards.FailureAnnotator(tree, store="cell7.marks.sqlite")  # doctest: +SKIP
    >>> annotator.show()  # doctest: +SKIP
    >>> found = annotator.search()  # doctest: +SKIP
    >>> annotator.choose(found[0])  # doctest: +SKIP
    >>> annotator.refuse("the monochromator had been moved")  # doctest: +SKIP
    """

    def __init__(
        self,
        tree: xr.DataTree,
        store: Store | str | os.PathLike | None = None,
        *,
        suggestions: Iterable[Evidence | Mapping[str, Any]] = (),
        search: Mapping[str, Any] | None = None,
        materials: Sequence[str] | None = None,
        experiment: str | None = None,
        lithium: Lithium | None = None,
    ) -> None:
        super().__init__()
        refuse_unknown("dashboards.FailureAnnotator, search", search or {}, SEARCHED)
        data = AnnotatorData.of(tree, lithium)
        self.store = Store(store) if isinstance(store, (str, os.PathLike)) else store
        self._given: dict[str, Any] = {"tree": tree, "store": self.store, "suggestions": suggestions}
        self._options, self.materials = dict(search or {}), materials
        self.state = data.first_state()  # type: ignore[assignment]
        self.screen = AnnotatorScreen(data, self.state)
        self.controls = AnnotatorControls(self._change, lambda by: self.state.step(by))
        self.form, self.lists = MarkForm(self._act), Lists(self._choose_or_tell, self._act)
        self.form.author.value, self.form.author.disabled = person(), bool(os.environ.get("JUPYTERHUB_USER"))
        self.lists.widget.observe(lambda _change: self._refresh_code(), "selected_index")
        self._listen_to_panels()
        self._hear(self.screen.pressed, lambda told: self._press(told["key"][0], told["text"][0]))
        self.screen.make_documents()
        self.view = FigureView(self.screen.root)
        self.views = [self.view]
        self.widget = self._compose()
        self._fill(data, suggestions, experiment)
        self.form.author.observe(lambda _change: self._read(), "value")

    def _compose(self) -> w.VBox:
        figure = w.Box([self.view], layout=w.Layout(width=f"{WIDTH - SIDE}px", overflow="visible"))
        side = w.VBox([self.lists.widget, self.form.widget], layout=w.Layout(width=f"{SIDE}px", overflow="visible"))
        middle = w.HBox([figure, side], layout=w.Layout(width=f"{WIDTH}px", overflow="visible"))
        box = w.VBox(
            [self.controls.widget, middle, self.controls.help],
            layout=w.Layout(width=f"{WIDTH + 5}px", overflow="visible"),
        )
        box.add_class("batlab-explorer")  # keys.js listens there
        return box

    def _fill(self, data: AnnotatorData, suggestions: Iterable[Any], experiment: str | None) -> None:
        """Bring data and state to the screen, all of it."""
        found = Suggestions(experiment or data.experiment_name)
        found.add(suggestions)
        self.stop()
        self.data, self.found = data, found
        self.marks = {}
        self.assessment, self._ranking = None, ((), None)
        self._searched = ""
        self._forget_what_is_shown()
        self.screen.load(data, self.state)
        self.controls.load(data, self.state)
        self.lists.show_assessment(None)
        self._dirty = set(self.state.trait_names())
        self._refresh()
        self.state.observe(self._note)
        self._read()
        self.form.fill("")
        self.form.say("" if self.store is not None else "no store: pass store=… to mark and to judge", DOUBTFUL)

    def load(
        self,
        tree: xr.DataTree,
        *,
        suggestions: Iterable[Evidence | Mapping[str, Any]] = (),
        experiment: str | None = None,
        lithium: Lithium | None = None,
    ) -> None:
        """Show another experiment in the same figures; the state starts anew, the store stays.

        Raises
        ------
        DimensionError, SchemaError, TypeError
            As for the class; the dashboard then still shows what it had.
        """
        data = AnnotatorData.of(tree, lithium)
        Suggestions("").add(suggestions := list(suggestions))
        self._given.update(tree=tree, suggestions=suggestions)
        self._take(data.first_state())
        self._fill(data, suggestions, experiment)

    def _act(self, name: str) -> None:
        """Do what a button says, and tell what went wrong."""
        about = self._about()
        works: dict[str, Any] = {
            "save": self.accept if isinstance(about, Evidence) else self.change if about is not None else self.add,
            "basket": self.take_out if about in self.basket else self.put,
            "withdraw": self.withdraw, "refuse": self.refuse, "new": self.choose, "search": self._begin,
            "stop": self.stop, "out": self.take_out, "all": lambda: self.put(*self.found.items), "weigh": self.weigh,
            "again": self._read,
        }  # fmt: skip
        self._try(works[name])

    def _try(self, work: Any, *words: Any) -> None:
        try:
            work(*words)
        except (BatlabError, ValueError, TypeError, OSError) as error:
            self.form.say(str(error), BAD)

    def _press(self, key: str, text: str) -> None:
        """Do what a key says."""
        if key == "refuse":
            self._try(self.refuse, text)
        elif key in ("n", "p"):
            self._try(self._next, 1 if key == "n" else -1)
        elif key == "a":
            self._try(self.accept)
        elif key == "m":
            self._try(self.add) if self._about() is None else self.form.say("Esc begins a new mark", DOUBTFUL)
        elif key in ("b", "Escape"):
            self._act("basket" if key == "b" else "new")

    def code(self) -> str:
        """Return the lines of Python that reproduce what is on the screen."""
        return annotator_script(
            self.data, self.state, {"store": "store"} | names_in_use(self._given) if self.store else
            names_in_use(self._given), self.found, stretch=self.stretch, place=self._place(), author=self.author,
            searched=self._searched, materials=self.materials,
        )  # fmt: skip

    def close(self) -> None:
        """Stop a search, take the dashboard off the page, and let go of its data."""
        self.stop()
        self.state.unobserve_all()
        page.forget(self)
        self.screen.root.document.clear()
        for name in ("screen", "data", "view", "views", "form", "lists", "controls", "widget", "_given", "found",
                     "marks", "assessment", "_ranking", "_shown"):  # fmt: skip
            delattr(self, name)
