"""The lines of Python that reproduce what the calibration dashboard shows."""

from __future__ import annotations

from typing import Any

from batlab.dashboards.calibration_screen import SIZE
from batlab.dashboards.calibration_state import PARAMETERS, CalibrationState
from batlab.io.poni import Geometry


def calibration_script(
    state: CalibrationState, names: dict[str, str], *, source: str, has_mask: bool, guess: Geometry | None
) -> str:
    """Return a script: mask, fit (where what is shown came from one, `guess` was its start), figure.

    `names` tells what image and mask are called where the user works.
    """
    image, given = names.get("image", "image"), names.get("mask", "mask")
    lines = ["import batlab as bl", "", f"# {image}: {source or 'data'}"]
    terms = [given] if has_mask else []
    if state.shapes:
        lines.append(f"drawn = bl.scattering.draw_mask({_shape(state)}, {_drawn(state.shapes)})")
        terms.append("drawn")
    masked = " | ".join(terms)
    start = guess or state.geometry
    lines.append(f"geometry = bl.io.{start!r}")
    rings = f"[:{state.n_rings}]" if state.n_rings else ""
    wanted = {"mask": masked or None}
    if guess is not None:
        fit: dict[str, Any] = {**wanted, "fixed": fixed(state), "n_rings": state.n_rings}
        call = ", ".join(f"{name}={value}" for name, value in fit.items() if value is not None)
        lines.append(f"calibration = bl.scattering.calibrate({image}, {state.calibrant!r}, geometry, {call})")
        lines += ["geometry = calibration.geometry", "print(calibration)"]
    lines.append(f"spacings = bl.scattering.ring_spacings({state.calibrant!r}){rings}")
    lines.append("angles = bl.scattering.ring_angles(spacings, geometry.wavelength)")
    look = {
        "view": tuple(float(f"{v:.7g}") for v in state.view),
        "scale": repr(state.scale),
        "limits": state.limits,
        "size": SIZE,
    }
    drawn = {"geometry": "geometry", "two_theta": "angles"} if state.has_rings else {}
    call = ", ".join(f"{name}={value}" for name, value in {**drawn, **wanted, **look}.items() if value is not None)
    lines += [f"figure = bl.figures.detector_image({image}, {call})", "bl.dashboards.show(figure)"]
    return "\n".join(lines) + "\n"


def fixed(state: CalibrationState) -> tuple[str, ...]:
    """Return what the fit holds."""
    return (*(name for name in PARAMETERS if name not in state.free), "rot3")


def _shape(state: CalibrationState) -> str:
    return repr(state.base.shape)


def _drawn(shapes: list[Any]) -> str:
    polygons, rectangles = sorted_shapes(shapes)
    told = [f"polygons={polygons!r}"] if polygons else []
    return ", ".join([*told, *([f"rectangles={rectangles!r}"] if rectangles else [])])


def sorted_shapes(shapes: list[Any]) -> tuple[list[Any], list[Any]]:
    """Return polygons and rectangles as `scattering.draw_mask` takes them."""
    polygons = [[tuple(corner) for corner in corners] for kind, corners in shapes if kind == "polygon"]
    rectangles = [(*corners[0], *corners[1]) for kind, corners in shapes if kind == "rectangle"]
    return polygons, rectangles
