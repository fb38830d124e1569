"""Resolve a series into components by hand, and see how far each of them could move at the same fit."""

from __future__ import annotations

import os
from typing import Any

import ipywidgets as w
import numpy as np
import xarray as xr
from bokeh.events import SelectionGeometry, Tap

from batlab.dashboards import page
from batlab.dashboards.component_controls import BAD, DOUBTFUL, PLAIN, WIDTH, ComponentControls, ComponentMarking
from batlab.dashboards.component_data import ComponentData
from batlab.dashboards.component_fit import Fit, Solved, Solver
from batlab.dashboards.component_screen import ComponentScreen, residual
from batlab.dashboards.component_script import component_script
from batlab.dashboards.component_state import ComponentState
from batlab.dashboards.events import Dashboard
from batlab.dashboards.marking import person
from batlab.dashboards.script import names_in_use
from batlab.dashboards.view import FigureView
from batlab.decompose.mcr_result import MCRResult, exchange
from batlab.failure import Store
from batlab.figures.pattern import frame_title

FIT = {"n_components", "init", "non_negative", "closure", "unimodal", "frozen"}


class ComponentExplorer(Dashboard):
    """Concentrations and spectra of the components of a series, with bands, over the cell's voltage.

    Beside them stands what five methods say of the number of components. A profile is drawn dashed as long as nobody
    has computed its band (``compute bands``, seconds); after that one whose band is wider than 0.1 is drawn as the band
    alone. Spectra can be frozen, constraints switched. The cursor moves by slider, arrow keys (click into the figure
    first) or click on the concentrations or the voltage; a range dragged over frames, or over the spectra, can be
    marked.

    Parameters
    ----------
    series
        A table over (frame, axis): a DataArray, or a Dataset with `of` in it; axis such as energy, k or q.
        ``voltage`` [V], ``time``, ``capacity`` over frame where `align.onto_frames` has put them.
    of
        Variable of a Dataset, such as ``"mu_norm"``; by default the only table there.
    store
        Where marks go: a `failure.Store`, or the path or URL of one. Without it nothing can be marked.

    Attributes
    ----------
    state
        What is shown, as plain numbers; see `ComponentState`. Concentrations of ``mu_norm`` and ``mu_flat`` sum to 1
        at first, others are free.
    result
        The fit on the screen, with bands where they were computed; None where there is none.
    rank
        What `decompose.rank` says, or why it says nothing.

    Raises
    ------
    DimensionError
        No table over (frame, axis), fewer than three frames, an axis that does not increase.
    ValueError
        `of` is not there, or is needed to choose.

    Examples
    --------
    >>> import batlab as bl
    >>> explorer = bl.dashboards.ComponentExplorer(spectra, of="mu_norm")  # doctest: +SKIP
    >>> explorer.show()  # doctest: +SKIP
    >>> explorer.state.n_components = 3  # doctest: +SKIP
    >>> print(explorer.compute_bands())  # doctest: +SKIP
    """

    def __init__(
        self,
        series: xr.Dataset | xr.DataArray,
        of: str | None = None,
        store: Store | str | os.PathLike | None = None,
    ) -> None:
        super().__init__()
        data = ComponentData.make(series, of)
        self.store = Store(store) if isinstance(store, (str, os.PathLike)) else store
        self._given: dict[str, Any] = {"series": series, "store": self.store}
        self.state = _first_state(data)
        self.screen = ComponentScreen(data, self.state)
        self.controls = ComponentControls(self._change, lambda by: self.state.step(by))
        self.marking = ComponentMarking(self._change, self.controls.components)
        self.marking.after = lambda marks: self.screen.show_marks(marks, self.state)
        self.marking.widget.observe(lambda _change: self._refresh_code(), "selected_index")
        self._listen()
        self.screen.make_documents()
        self.view, self.rank_view = FigureView(self.screen.root), FigureView(self.screen.rank_root)
        self.views = [self.view, self.rank_view]
        self.widget = self._compose()
        self._fill(data)

    @property
    def series(self) -> xr.Dataset | xr.DataArray:
        """The series as it was given."""
        return self._given["series"]

    @property
    def result(self) -> MCRResult | None:
        """The fit on the screen, with its bands where they were computed."""
        return self._shown.result

    @property
    def rank(self) -> Any:
        """What `decompose.rank` says of the series; words where it says nothing."""
        return self.data.rank

    def residual(self) -> np.ndarray:
        """Return what the components leave of the frame under the cursor."""
        return residual(self.data, self.result, int(np.searchsorted(self.data.numbers, self.state.frame)))

    def _compose(self) -> w.VBox:
        evidence = w.VBox([self.rank_view, self.controls.votes], layout=w.Layout(width="485px", overflow="visible"))
        bottom = w.HBox([evidence, self.marking.widget], layout=w.Layout(width=f"{WIDTH}px", overflow="visible"))
        box = w.VBox(
            [self.controls.widget, self.view, bottom], layout=w.Layout(width=f"{WIDTH + 5}px", overflow="visible")
        )
        box.add_class("batlab-explorer")  # keys.js listens there
        return box

    def _listen(self) -> None:
        for side, plot in self.screen.profiles.items():
            plot.on_event(SelectionGeometry, lambda event, side=side: self._select(event, side))
        for plot in (self.screen.profiles["concentration"], self.screen.voltage):
            plot.on_event(Tap, lambda event: self._go(event.x))
        self.screen.request.on_change("data", lambda _name, _old, new: self._change(frame=new["frame"][0]))
        self.controls.bands.on_click(lambda _button: self._bands_and_tell())

    def _fill(self, data: ComponentData) -> None:
        """Bring data and state to the screen, all of it."""
        self.data = data
        self._solver = Solver(data)
        self._sources: dict[int, Fit] = {}
        self._fit: Fit | None = None
        self._shown = Solved(None)
        self.screen.load(data, self.state)
        self.screen.show_rank(data.rank)
        self.controls.load(data)
        self.marking.load(data, self.store, person())
        self._dirty = set(self.state.trait_names())
        self._refresh()
        self.state.observe(self._note)

    def load(self, series: xr.Dataset | xr.DataArray, of: str | None = None) -> None:
        """Show another series in the same figures; the state starts anew.

        Raises
        ------
        DimensionError, ValueError
            As for the class; the dashboard then still shows what it had.
        """
        data = ComponentData.make(series, of)
        fresh = _first_state(data)
        self._given["series"] = series
        self.state.unobserve(self._note)
        self.state.numbers, self.state.choices = fresh.numbers, fresh.choices
        self.state.unimodal = self.state.frozen = []
        for name, value in fresh.trait_values().items():
            self.state.set_trait(name, value)
        self._fill(data)

    def compute_bands(self, **options: Any) -> MCRResult:
        """Compute the bands of the fit on the screen and return it with them; the figures shade them.

        Parameters
        ----------
        options
            Of `decompose.bands`: ``tolerance``, ``points``, ``level``, ``replicates``, ``seed``.

        Raises
        ------
        ValueError
            There is no fit, or an option is out of range; the dashboard then still shows what it had.
        """
        if self._fit is None:
            raise ValueError(f"no components to compute bands of: {self._shown.problem}")
        found = self._solver.bands(self._fit, options)
        if found.result is None:
            raise ValueError(found.problem)
        with self._event():
            self._dirty.add("bands")
        return found.result

    def _bands_and_tell(self) -> None:
        self.controls.bands.disabled, self.controls.bands.description = True, "computing …"
        try:
            self.compute_bands()
        except ValueError as error:
            self.controls.say([(f"no bands: {error}", BAD)])
            self.controls.bands.disabled = False
        finally:
            self.controls.bands.description = "compute bands"

    def _draw(self, dirty: set[str]) -> None:
        """Bring what has changed to the screen."""
        state, screen = self.state, self.screen
        if dirty & (FIT | {"bands"}):
            self._solve()
        if "against" in dirty:
            screen.show_against(state)
            screen.show_marks(self.marking.marks, state)
        if dirty & (FIT | {"bands", "against"}):
            screen.show_components(self.result, state)
        if dirty & (FIT | {"frame", "against"}):
            screen.show_frame(self.result, state)
        if "n_components" in dirty:
            screen.show_number(state)
        if dirty & {"region", "against"}:
            screen.show_region(state)
        self._follow()

    def _solve(self) -> None:
        """Find the components for the settings on the screen; bands that were computed for them come back."""
        state, before = self.state, self._fit
        for number in state.frozen:
            if number not in self._sources and before is not None and number < before.n_components:
                self._sources[number] = before
        self._sources = {number: source for number, source in self._sources.items() if number in state.frozen}
        frozen = tuple((number, self._sources[number]) for number in state.frozen if number in self._sources)
        rules = tuple(state.non_negative), state.closure, tuple(sorted(state.unimodal))
        fit = Fit(state.n_components, state.init, *rules, frozen)
        banded = self._solver.banded(fit)
        self._shown = self._solver.solve(fit) if banded is None else banded[0]
        self._fit = fit if self._shown.result is not None else None
        self._asked = fit

    def _follow(self) -> None:
        """Let widgets and words tell the state."""
        self.controls.show(self.state, self.result)
        self.controls.say(self._words())
        self.marking.show(self.state)
        rest = self.residual()
        rms = np.sqrt(np.nanmean(rest**2)) if np.isfinite(rest).any() else np.nan
        title = frame_title(self.data.series, self.state.frame)
        self.screen.residual.title.text = f"residual of {title}" + (f" · rms {rms:.2g}" if np.isfinite(rms) else "")
        self._refresh_code()

    def _words(self) -> list[tuple[str, str]]:
        """Return how well the components fit, doubts and problems, each with a colour."""
        if self._shown.result is None:
            return [(f"no components: {self._shown.problem}", BAD)]
        told = self._shown.result.dataset.attrs
        fit = (
            f"lack of fit {told['lack_of_fit']:.3g} % ({told['lack_of_fit_pca']:.2g} % without noise) · explained "
            f"variance {told['explained_variance']:.6g} % · {told['n_iterations']} iterations · {told['constraints']}"
        )
        doubts = [*self._solver.solve(self._asked).doubts, *self._shown.doubts]
        swap = exchange(self._shown.result.dataset)  # bands are then true of each point, but no picture of a component
        return [(fit, PLAIN), *((doubt, DOUBTFUL) for doubt in dict.fromkeys([swap, *doubts]) if doubt)]

    def _refresh_code(self) -> None:
        if self.marking.is_code_open:
            self.marking.script.value = self.code()

    def _go(self, x: float) -> None:
        """Go to the frame whose place is nearest."""
        place = self.data.along(self.state.against)
        assert place is not None
        self._change(frame=int(self.data.numbers[np.nanargmin(np.abs(place - x))]))

    def _select(self, event: Any, side: str) -> None:
        """Take the range that was dragged: frames under the concentrations, a stretch of the axis under the spectra."""
        if not event.final or event.geometry["type"] != "rect":
            return
        x0, x1 = sorted((event.geometry["x0"], event.geometry["x1"]))
        region, whole = self.state.region, self.data.whole[1]
        if side == "spectra":
            low, high = (float(np.clip(x, *whole)) for x in (x0, x1))
            frames = (self.state.frame,) * 2 if region is None else region[:2]
            if low < high:
                self._change(region=(*frames, low, high))
            return
        place = self.data.along(self.state.against)
        assert place is not None
        inside = self.data.numbers[(place >= x0) & (place <= x1)]
        if not inside.size:
            inside = self.data.numbers[[np.nanargmin(np.abs(place - (x0 + x1) / 2))]]
        self._change(region=(int(inside[0]), int(inside[-1]), *(whole if region is None else region[2:])))

    def code(self) -> str:
        """Return the lines of Python that reproduce what is on the screen."""
        banded = self._solver.banded(self._asked)
        return component_script(
            self.data,
            self.state,
            names_in_use(self._given),
            fit=self._asked,
            bands=None if banded is None else banded[1],
            has_marks=bool(self.marking.marks),
        )

    def close(self) -> None:
        """Take the dashboard off the page and let go of its data."""
        self.state.unobserve_all()
        page.forget(self)
        for root in (self.screen.root, self.screen.rank_root):
            root.document.clear()
        for name in ("screen", "data", "view", "rank_view", "views", "marking", "controls", "widget", "_given",
                     "_solver", "_sources", "_fit", "_shown", "_asked"):  # fmt: skip
            delattr(self, name)


def _first_state(data: ComponentData) -> ComponentState:
    return ComponentState(
        data.numbers,
        data.choices,
        frame=int(data.numbers[0]),
        n_components=data.first_number,
        closure=data.closure,
    )
