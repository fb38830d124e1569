"""Calibrate a detector by eye and by fit: rings on the image, masks drawn with the mouse."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from typing import Any

import ipywidgets as w
import numpy as np
import xarray as xr
from bokeh.events import MouseLeave, MouseMove, RangesUpdate, SelectionGeometry

from batlab import io, scattering
from batlab.constants import HC
from batlab.dashboards import page
from batlab.dashboards.calibration_controls import RIGHT, CalibrationControls
from batlab.dashboards.calibration_screen import SIZE, CalibrationScreen
from batlab.dashboards.calibration_script import calibration_script, fixed, sorted_shapes
from batlab.dashboards.calibration_state import PLACE, CalibrationState, placed
from batlab.dashboards.events import Dashboard
from batlab.dashboards.script import names_in_use
from batlab.dashboards.view import FigureView
from batlab.errors import DimensionError
from batlab.figures.detector_image import image_counts, whole_view
from batlab.io.poni import Geometry
from batlab.scattering.geometry import as_geometry, check_shape, resolve_wavelength
from batlab.scattering.ring_lines import two_theta_at

GEOMETRY = {*PLACE, "orientation"}
RINGS = GEOMETRY | {"calibrant", "n_rings", "has_rings"}


class Calibrator(Dashboard):
    """A detector image with the rings of a calibrant: nudge them, mask, fit, look at the residuals, save.

    Box, lasso and polygon of the tool bar mask what they hold. The values beside the image move the rings at once;
    ``fit`` refines those that are ticked.

    Parameters
    ----------
    image
        Counts (y, x), or a Dataset with one frame of ``intensity``, as `io.open` returns it.
    guess
        Where the detector is believed to stand: a `Geometry`, the path of a ``.poni``, or pyFAI's object.
    calibrant
        pyFAI's name of the substance.
    mask
        Pixels (y, x) that are masked from the start.

    Attributes
    ----------
    state
        What is shown, as plain numbers; see `CalibrationState`.
    calibration
        What the last fit returned, None before one and after values were changed by hand.

    Raises
    ------
    DimensionError
        `image` is no single image, or mask or detector have another shape.
    ValueError
        Neither guess nor image states a wavelength, or the calibrant is unknown.

    Examples
    --------
    >>> import batlab as bl
    >>> calibrator = bl.dashboards.Calibrator(bl.open("CeO2.tif"), "start.poni", "CeO2")  # doctest: +SKIP
    >>> calibrator.show()  # doctest: +SKIP
    >>> calibrator.fit()  # doctest: +SKIP
    """

    def __init__(
        self, image: xr.Dataset | xr.DataArray, guess: Any, calibrant: str = "LaB6_SRM660c", mask: Any = None
    ) -> None:
        super().__init__()
        self._take(image, guess, mask)
        self.state = self._first_state(guess, calibrant)
        self.screen = CalibrationScreen(image, self.state)
        self.controls = CalibrationControls(self._change, scattering.calibrants())
        self._listen()
        self.screen.make_documents()
        self.views = [FigureView(self.screen.image), FigureView(self.screen.residuals)]
        self.widget = self._compose()
        self._start()

    def _take(self, image: Any, guess: Any, mask: Any) -> None:
        counts = image_counts(image)
        given = None if mask is None else np.asarray(mask).astype(bool)
        if given is not None and given.shape != counts.shape:
            raise DimensionError(f"the mask is {given.shape} (y, x), the image {counts.shape}")
        self._given: dict[str, Any] = {"image": image, "mask": mask}
        self._image, self._counts, self._given_mask = image, counts, given
        self.calibration: Any = None
        self._guess: Geometry | None = None

    def _first_state(self, guess: Any, calibrant: str) -> CalibrationState:
        geometry = resolve_wavelength(as_geometry(guess), self._image.attrs.get("wavelength"))
        check_shape(geometry, self._counts.shape)
        if geometry.wavelength is None:
            raise ValueError("neither guess nor image states a wavelength; put it into the guess")
        geometry = replace(geometry, shape=geometry.shape or self._counts.shape, source="", source_sha256="")
        scattering.ring_spacings(calibrant)  # refuses what is unknown with a hint
        view = whole_view(self._counts.shape, SIZE)
        return CalibrationState(geometry, scattering.calibrants(), calibrant=calibrant, view=view)

    def _compose(self) -> w.VBox:
        tabs = w.Tab(
            [self.controls.fit_tab(self.views[1]), self.controls.mask_tab(), self.controls.script],
            layout=w.Layout(width=f"{RIGHT}px", height="622px", overflow="hidden"),
        )
        tabs.titles = ("Fit", "Mask and save", "Code")
        tabs.observe(lambda _change: self._refresh_code(), "selected_index")
        self.tabs = tabs
        left = w.VBox([self.controls.bar, self.views[0], self.controls.readout], layout=w.Layout(overflow="visible"))
        box = w.HBox([left, tabs], layout=w.Layout(width="1110px", overflow="visible"))
        box.add_class("batlab-calibrator")
        return w.VBox([box], layout=w.Layout(overflow="visible"))

    def _listen(self) -> None:
        plot = self.screen.image
        plot.on_event(SelectionGeometry, self._select)
        plot.on_event(RangesUpdate, lambda event: self._change(view=(event.x0, event.x1, event.y0, event.y1)))
        plot.on_event(MouseMove, lambda event: self._change(cursor=(event.y, event.x)))
        plot.on_event(MouseLeave, lambda _event: self._change(cursor=None))
        act = self.controls
        act.fit.on_click(lambda _button: self._fit_and_tell())
        act.undo_fit.on_click(lambda _button: self.undo_fit())
        act.undo.on_click(lambda _button: self._change(shapes=self.state.shapes[:-1]))
        act.clear.on_click(lambda _button: self._change(shapes=[]))
        act.save_poni.on_click(lambda _button: self._keep(self.save_geometry, act.poni.value))
        act.save_mask.on_click(lambda _button: self._keep(self.save_mask, act.mask.value))

    def _start(self) -> None:
        self._dirty = set(self.state.trait_names())
        self.controls.say("move the rings near those of the image, then fit")
        self._refresh()
        self.state.observe(self._note)

    def load(
        self, image: xr.Dataset | xr.DataArray, guess: Any, calibrant: str | None = None, mask: Any = None
    ) -> None:
        """Show another image in the same figures; the state starts anew.

        Raises
        ------
        DimensionError, ValueError
            As for the class; the dashboard then still shows what it had.
        """
        before = dict(vars(self))
        try:
            self._take(image, guess, mask)
            fresh = self._first_state(guess, calibrant or self.state.calibrant)
        except Exception:
            vars(self).update(before)
            raise
        self.state.unobserve_all()
        self.state.base = fresh.base
        for name, value in fresh.trait_values().items():
            self.state.set_trait(name, value)
        self.screen.load(image, self.state.view)
        self._start()

    def _draw(self, dirty: set[str]) -> None:
        """Bring what has changed to the screen."""
        if dirty & (GEOMETRY | {"calibrant", "n_rings"}):
            self._forget_fit()
        if dirty & {"view", "scale", "limits"}:
            self.screen.show_image(self.state)
        if dirty & {"view", "shapes"}:
            self.screen.show_mask(self.state, self._shown_mask())
        if dirty & RINGS:
            self.screen.show_rings(self.state.geometry, self.angles() if self.state.has_rings else np.zeros(0))
        if dirty & (GEOMETRY | {"cursor"}):
            self.controls.readout.value = self.readout()
        if dirty - {"cursor", "view"}:
            mask = self._shown_mask()
            masked = 0 if mask is None else int(mask.sum())
            self.controls.show(self.state, self.screen.limits, masked, self._sigmas())
        if dirty - {"cursor"}:
            self._refresh_code()

    def _forget_fit(self) -> None:
        """Drop what a fit said once the values are no longer its own."""
        if self.calibration is not None and _is_placed(self.state, self.calibration.geometry):
            self.screen.show_residuals(self.calibration)
            return
        if self.calibration is not None:
            self.controls.say("changed by hand since the fit")
        self.calibration = None
        self.screen.show_residuals(None)

    def _refresh_code(self) -> None:
        if self.tabs.selected_index == 2:
            self.controls.script.value = self.code()

    def _select(self, event: Any) -> None:
        """Take the shape that was drawn; a number of tenths of a pixel is enough."""
        if not event.final:
            return
        drawn = event.geometry
        if drawn["type"] == "rect":
            corners = [(drawn["y0"], drawn["x0"]), (drawn["y1"], drawn["x1"])]
            shape = ("rectangle", [(round(float(y), 1), round(float(x), 1)) for y, x in corners])
        elif drawn["type"] == "poly" and len(drawn["x"]) >= 3:
            shape = ("polygon", [(round(float(y), 1), round(float(x), 1)) for y, x in zip(drawn["y"], drawn["x"])])
        else:
            return
        self._change(shapes=[*self.state.shapes, shape])

    def angles(self) -> np.ndarray:
        """Return 2θ in degree of the calibrant's rings, innermost first."""
        spacings = scattering.ring_spacings(self.state.calibrant)[: self.state.n_rings]
        return scattering.ring_angles(spacings, self.state.wavelength)

    def readout(self) -> str:
        """Return what is under the mouse: row, column, counts, q and 2θ."""
        if self.state.cursor is None:
            return ""
        y, x = (round(place) for place in self.state.cursor)
        angle = float(two_theta_at(self.state.geometry, *self.state.cursor))
        q = 4 * math.pi * math.sin(math.radians(angle) / 2) / self.state.wavelength
        rows, columns = self._counts.shape
        counts = self._counts[y, x] if 0 <= y < rows and 0 <= x < columns else None
        told = "outside" if counts is None else "missing" if np.isnan(counts) else f"{counts:.6g} counts"
        return f"y {y}, x {x}: {told} &nbsp; 2θ {angle:.3f}° &nbsp; q {q:.4f} Å⁻¹"

    def mask(self) -> xr.DataArray:
        """Return what is left out beside the image's own mask: the mask given and the shapes drawn, (y, x)."""
        polygons, rectangles = sorted_shapes(self.state.shapes)
        drawn = scattering.draw_mask(self._counts.shape, polygons=polygons, rectangles=rectangles)
        if self._given_mask is None:
            return drawn
        return drawn.copy(data=drawn.values | self._given_mask)

    def _shown_mask(self) -> np.ndarray | None:
        key = repr(self.state.shapes)
        if getattr(self, "_drawn_key", None) != (key, id(self._given_mask)):
            is_any = bool(self.state.shapes) or self._given_mask is not None
            self._drawn_mask = self.mask().values if is_any else None
            self._drawn_key = (key, id(self._given_mask))
        return self._drawn_mask

    def fit(self) -> Any:
        """Refine the ticked parameters and return the `Calibration`; the rings move to it.

        Raises
        ------
        ValueError
            Too few rings lie near the guess, or nothing is ticked; the dashboard tells so too.
        """
        guess = self.state.geometry
        if not self.state.free:
            raise ValueError("tick what the fit may change")
        done = scattering.calibrate(
            self._image,
            self.state.calibrant,
            guess,
            mask=self._shown_mask(),
            fixed=fixed(self.state),
            n_rings=self.state.n_rings,
            orientation=guess.orientation,
        )
        self.calibration, self._guess = done, guess
        self._dirty |= GEOMETRY  # what a fit found may be what was there
        self._change(**placed(done.geometry))
        return done

    def _fit_and_tell(self) -> None:
        """Fit, and say in the dashboard how it goes: it runs, what came out, or why not."""
        self.controls.fit.disabled = True
        self.controls.fit.description = "fitting …"
        self.controls.say("fitting: ring after ring, some seconds …")
        try:
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                done = self.fit()
            used = int(done.points["is_used"].values.sum())
            said = f"{done.rings.sizes['peak']} rings, {used} points, {done.rms:.3f} pixel rms"
            doubts = [str(one.message) for one in told if issubclass(one.category, UserWarning)]
            self.controls.say("\n".join([said, *doubts]), is_bad=bool(doubts))
        except (ValueError, RuntimeError, ArithmeticError) as error:
            self.controls.say(f"no fit: {error}", is_bad=True)
        finally:
            self.controls.fit.disabled = False
            self.controls.fit.description = "fit"

    def undo_fit(self) -> None:
        """Go back to the values from which the last fit started."""
        if self._guess is not None:
            guess, self._guess, self.calibration = self._guess, None, None
            self._change(**placed(guess))
            self.controls.say("back to the values before the fit")

    def _sigmas(self) -> dict[str, float]:
        if self.calibration is None:
            return {}
        done, sigma = self.calibration, self.calibration.sigma
        told = {"distance": 1e3 * sigma["distance"]} if "distance" in sigma else {}
        told |= {name: math.degrees(sigma[name]) for name in ("rot1", "rot2") if name in sigma}
        told |= {
            row: value
            for row, value, name in zip(("beam_y", "beam_x"), done.beam_centre_sigma, ("poni1", "poni2"))
            if name in sigma
        }
        if "wavelength" in sigma:
            told["wavelength"] = 1e-3 * HC / self.state.wavelength**2 * sigma["wavelength"]
        return told

    def save_geometry(self, path: str, *, overwrite: bool = False) -> Any:
        """Write the geometry that is shown as ``.poni``; return where it went."""
        geometry = self.state.geometry if self.calibration is None else self.calibration.geometry
        return io.save(geometry, path, overwrite=overwrite)

    def save_mask(self, path: str, *, overwrite: bool = False) -> Any:
        """Write the mask, as ``.edf``, ``.tif`` or ``.npy`` for other programs or as ``.nc``; return where it went."""
        return io.save(self.mask(), path, overwrite=overwrite)

    def _keep(self, save: Any, path: str) -> None:
        try:
            self.controls.say_saved(f"kept {save(path, overwrite=self.controls.overwrite.value)}")
        except (ValueError, TypeError, OSError) as error:
            self.controls.say_saved(f"not kept: {error}", is_bad=True)

    def code(self) -> str:
        """Return the lines of Python that reproduce what is on the screen."""
        source = str(self._image.attrs.get("source", "")).replace("\n", " ")
        guess = self._guess if self.calibration is not None else None
        has_mask = self._given_mask is not None
        return calibration_script(self.state, names_in_use(self._given), source=source, has_mask=has_mask, guess=guess)

    def close(self) -> None:
        """Take the dashboard off the page and let go of its data."""
        self.state.unobserve_all()
        page.forget(self)
        for root in (self.screen.image, self.screen.residuals):
            root.document.clear()
        for name in ("screen", "views", "controls", "widget", "tabs", "calibration", "_given", "_image", "_counts"):
            delattr(self, name)


def _is_placed(state: CalibrationState, geometry: Geometry) -> bool:
    return all(getattr(state, name) == value for name, value in placed(geometry).items())
