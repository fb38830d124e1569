"""What the calibration dashboard shows, as plain numbers."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from traitlets import Bool, CFloat, CInt, Enum, HasTraits, List, TraitError, Tuple, Unicode, validate

from batlab.figures.scale import SCALES
from batlab.io.poni import ORIENTATIONS, Geometry
from batlab.scattering.ring_lines import beam_place, with_beam_at

PLACE = ("distance", "beam_y", "beam_x", "rot1", "rot2", "wavelength")  # what a hand nudges
PARAMETERS = ("distance", "poni1", "poni2", "rot1", "rot2", "wavelength")  # what the fit may free
FREE = PARAMETERS[:5]


class CalibrationState(HasTraits):
    """The state of a `Calibrator`.

    Attributes
    ----------
    calibrant
        pyFAI's name of it.
    distance, beam_y, beam_x, rot1, rot2, wavelength
        Sample to detector [m], where the direct beam meets it [pixel, 0 is the centre of the first], tilts [radian],
        and the wavelength [angstrom]. A tilt leaves the beam's place where it is.
    orientation
        Corner of the image's origin, 1 to 4, as in `Geometry`.
    free
        Parameters that a fit refines.
    n_rings
        How many of the innermost rings are drawn and fitted; None for all.
    scale, limits
        ``"linear"``, ``"sqrt"`` or ``"log"``, and counts of the first and last colour (None: from the data).
    view
        First and last column, first and last row that are visible.
    shapes
        What was drawn, in order: ``("polygon", [(y, x), …])`` or ``("rectangle", [(y, x), (y, x)])``, in pixel.
    cursor
        Row and column under the mouse, or None.
    """

    calibrant = Unicode("LaB6_SRM660c")
    distance = CFloat(0.1)
    beam_y = CFloat()
    beam_x = CFloat()
    rot1 = CFloat()
    rot2 = CFloat()
    wavelength = CFloat(1.0)
    orientation = Enum(ORIENTATIONS, 3)
    free = List(Enum(PARAMETERS))
    n_rings = CInt(None, allow_none=True)
    has_rings = Bool(True)
    scale = Enum(SCALES, "sqrt")
    limits = Tuple(CFloat(), CFloat(), default_value=None, allow_none=True)
    view = Tuple(CFloat(), CFloat(), CFloat(), CFloat())
    shapes = List()
    cursor = Tuple(CFloat(), CFloat(), default_value=None, allow_none=True)

    def __init__(self, base: Geometry, known: tuple[str, ...], **given: Any) -> None:
        self.base, self.known = base, known
        super().__init__(**{**placed(base), "free": list(FREE), **given})

    @property
    def geometry(self) -> Geometry:
        """The geometry that the numbers say; detector and rot3 are those of the first guess."""
        place = {"distance": self.distance, "rot1": self.rot1, "rot2": self.rot2, "wavelength": self.wavelength}
        turned = replace(self.base, **place, orientation=self.orientation, orientation_stated=True)
        return with_beam_at(turned, self.beam_y, self.beam_x)

    @validate("distance", "wavelength")
    def _positive(self, proposal: Any) -> float:
        if not 0 < proposal["value"] < math.inf:
            raise TraitError(f"{proposal['trait'].name} must be positive, got {proposal['value']}")
        return proposal["value"]

    @validate("rot1", "rot2", "beam_y", "beam_x")
    def _finite(self, proposal: Any) -> float:
        if not math.isfinite(proposal["value"]):
            raise TraitError(f"{proposal['trait'].name} must be finite, got {proposal['value']}")
        return proposal["value"]

    @validate("limits")
    def _increasing(self, proposal: Any) -> tuple[float, float] | None:
        pair = proposal["value"]
        if pair is not None and not (all(map(math.isfinite, pair)) and pair[0] < pair[1]):
            raise TraitError(f"limits must be two finite increasing numbers, got {pair}")
        return pair

    @validate("view")
    def _wide(self, proposal: Any) -> tuple[float, float, float, float]:
        view = proposal["value"]
        if not (all(map(math.isfinite, view)) and view[0] < view[1] and view[2] < view[3]):
            raise TraitError(f"view must be columns and rows, each increasing, got {view}")
        return view

    @validate("calibrant")
    def _known(self, proposal: Any) -> str:
        if proposal["value"] not in self.known:
            raise TraitError(f"calibrant must be one of {', '.join(self.known)}, got {proposal['value']!r}")
        return proposal["value"]


def placed(geometry: Geometry) -> dict[str, Any]:
    """Return the traits that stand for a geometry."""
    y, x = beam_place(geometry)
    return {
        "distance": geometry.distance, "beam_y": y, "beam_x": x, "rot1": geometry.rot1, "rot2": geometry.rot2,
        "wavelength": geometry.wavelength, "orientation": geometry.orientation,
    }  # fmt: skip
