"""One spectrum of an absorption series: as measured, normalised, its derivative, chi(k), chi(R)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from batlab.errors import DimensionError, choose
from batlab.figures.pattern import frame_title
from batlab.figures.pixels import frame_position
from batlab.figures.style import COLOURS, CURSOR, FAINT, blank

if TYPE_CHECKING:
    from bokeh.plotting import figure

POWERS = str.maketrans("-0123456789.", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹·")
PRE, POST = COLOURS[2], COLOURS[5]  # the windows before and after the edge, and what is fitted in them


@dataclass(frozen=True)
class Curve:
    """What a curve needs, where it runs, and its lines: column -> (colour, width, words), the last one on top."""

    needs: str
    axis: str
    step: str
    lines: dict[str, tuple[str, float, str]]


CURVES = {
    "mu": Curve("mu", "energy", "xas.mu", {
        "background": (COLOURS[3], 1.2, "background"),
        "before": (PRE, 1.4, "pre-edge line"),
        "after": (POST, 1.6, "post-edge curve"),
        "y": (COLOURS[0], 1.4, "μ"),
    }),
    "mu_flat": Curve("mu_norm", "energy", "xas.normalize", {
        "plain": (FAINT, 1.0, "normalised"), "y": (COLOURS[0], 1.5, "flattened"),
    }),
    "derivative": Curve("mu_norm", "energy", "xas.normalize", {"y": (COLOURS[0], 1.3, "derivative")}),
    "chi": Curve("chi", "k", "xas.remove_background", {
        "window": (FAINT, 1.0, "window"), "y": (COLOURS[0], 1.3, "χ"),
    }),
    "chi_r_mag": Curve("chi_r_mag", "r", "xas.fourier_transform", {
        "real": (FAINT, 1.0, "real part"), "y": (COLOURS[0], 1.5, "magnitude"),
    }),
}  # fmt: skip
AXES = {"energy": "energy (eV)", "k": "k (Å⁻¹)", "r": "R (Å)"}


def absorption(
    series: xr.Dataset,
    frame: int | None = None,
    *,
    curve: str = "mu",
    kweight: float = 2,
    axis_range: tuple[float, float] | None = None,
    size: tuple[int, int] = (600, 240),
) -> figure:
    """Draw one spectrum.

    Parameters
    ----------
    series
        ``mu`` over (frame, energy) or (energy), and what `xas.normalize`, `xas.remove_background` and
        `xas.fourier_transform` have added.
    frame
        Which, as the coordinate ``frame`` has it; needed where there is more than one.
    curve
        ``"mu"`` as measured, with the windows, E0, the line before the edge, the curve behind it and the background
        as far as they are known; ``"mu_flat"`` with ``mu_norm`` beneath; ``"derivative"`` of ``mu_norm`` by energy
        [1/eV]; ``"chi"`` times k^kweight with the window; ``"chi_r_mag"`` with the real part.
    kweight
        Power of k that weights chi(k) in the figure; chi(R) has the one of its transform.
    axis_range
        The visible part of the axis [eV, 1/angstrom or angstrom].
    size
        Width and height inside the axes, in pixels.

    Raises
    ------
    DimensionError
        What the curve needs is not there.
    ValueError
        An unknown curve, or no such frame.

    Examples
    --------
    >>> import batlab as bl
    >>> plot = bl.figures.absorption(bl.xas.normalize(bl.open("cu.xdi")), curve="mu_flat")  # doctest: +SKIP
    """
    from bokeh.models import ColumnDataSource, DataRange1d, Range1d

    scan = one_scan(series, frame, curve)
    shown = CURVES[curve]
    more = {} if axis_range is None else {"x_range": Range1d(*map(float, axis_range))}
    plot = blank(size, AXES[shown.axis], curve_label(scan, curve, kweight), y_range=DataRange1d(), **more)
    if axis_range is None:
        plot.x_range.range_padding = 0.01
    source = ColumnDataSource(data=absorption_columns(scan, curve, kweight), name=f"{curve}_data")
    draw_curve(plot, source, curve)
    if curve == "mu":
        draw_windows(plot)
        place_windows(plot, window_places(scan))
    if "frame" in series.dims:
        plot.title.text = frame_title(series, int(frame if frame is not None else series["frame"].values[0]))
    return plot


def one_scan(series: xr.Dataset, frame: int | None, curve: str) -> xr.Dataset:
    """Return one frame of the series, or say what is missing for `curve`."""
    choose("curve", curve, CURVES)
    shown = CURVES[curve]
    if shown.needs not in series or shown.axis not in series[shown.needs].dims:
        raise DimensionError(
            f"figures.absorption needs {shown.needs!r} over {shown.axis!r} for curve={curve!r}, got "
            f"{sorted(map(str, series.data_vars))}; make it with {shown.step}"
        )
    if "frame" not in series.dims:
        return series
    if frame is None and series.sizes["frame"] > 1:
        raise ValueError(f"figures.absorption needs frame=…: the series has {series.sizes['frame']}")
    return series.isel(frame=0 if frame is None else frame_position(series, frame))


def draw_curve(plot: figure, source: object, curve: str) -> None:
    """Draw the lines of a curve; the one on top sets the range upward, in chi(R) both do."""
    for column, (colour, width, words) in CURVES[curve].lines.items():
        legend = {"legend_label": words} if curve in ("mu", "mu_flat", "chi_r_mag") else {}
        line = plot.line(
            "x", column, source=source, line_color=colour, line_width=width, name=f"{curve}_{column}", **legend
        )
    plot.y_range.renderers = list(plot.renderers) if curve == "chi_r_mag" else [line]
    if plot.legend:
        # Where spectra leave room: below what has risen, and far from the first shells.
        plot.legend.update(
            location="bottom_right" if curve in ("mu", "mu_flat") else "top_right", label_text_font_size="11px",
            background_fill_alpha=0.7, border_line_color=None, padding=2, margin=3, spacing=0, label_height=13,
            glyph_height=13, glyph_width=16, label_standoff=3,
        )  # fmt: skip


def draw_windows(plot: figure) -> None:
    """Add the windows and E0 to a spectrum as measured; `place_windows` moves them."""
    from bokeh.models import BoxAnnotation, Span

    for name, colour in (("pre_window", PRE), ("post_window", POST)):
        plot.add_layout(
            BoxAnnotation(
                fill_color=colour, fill_alpha=0.13, line_color=colour, line_width=1, visible=False, name=name,
                level="underlay",
            )
        )  # fmt: skip
    plot.add_layout(Span(dimension="height", line_color=CURSOR, line_width=1.6, visible=False, name="e0_line"))


def window_places(scan: xr.Dataset) -> tuple[float, ...] | None:
    """Return E0 and the ends of both windows [eV] of a spectrum that `xas.normalize` has seen."""
    ends = [scan.attrs[name] for name in ("pre1", "pre2", "norm1", "norm2") if name in scan.attrs]
    if "e0" not in scan or len(ends) < 4 or not np.isfinite(e0 := float(scan["e0"].values)):
        return None
    return (e0, *(e0 + float(end) for end in ends))


def place_windows(plot: figure, places: tuple[float, ...] | None) -> None:
    """Move windows and E0 to `places` [eV], or hide them."""
    parts = [plot.select_one({"name": name}) for name in ("pre_window", "post_window", "e0_line")]
    for part in parts:
        part.visible = places is not None
    if places is not None:
        e0, pre1, pre2, norm1, norm2 = places
        parts[0].update(left=pre1, right=pre2)
        parts[1].update(left=norm1, right=norm2)
        parts[2].location = e0


def curve_label(scan: xr.Dataset, curve: str, kweight: float) -> str:
    """Return what stands on the upright axis."""
    if curve == "mu":
        return "μ"
    if curve == "mu_flat":
        return "normalised μ"
    if curve == "derivative":
        return "dμ/dE (eV⁻¹)"
    if curve == "chi":
        power = f"{kweight:g}".translate(POWERS)
        return {"0": "χ(k)", "1": "k χ(k) (Å⁻¹)"}.get(f"{kweight:g}", f"k{power} χ(k) (Å⁻{power})")
    weight = float(scan["chi_r_mag"].attrs.get("kweight", 0.0)) + 1
    return f"|χ(R)| (Å⁻{f'{weight:g}'.translate(POWERS)})"


def absorption_columns(scan: xr.Dataset, curve: str, kweight: float = 2) -> dict[str, np.ndarray]:
    """Return axis and lines of one spectrum as columns of a Bokeh source; what is unknown is NaN.

    The line before the edge is μ - step mu_norm; the curve behind it adds step (1 + mu_norm - mu_flat), from E0 on.
    """
    shown = CURVES[curve]
    own = f"{shown.axis}_measured"  # where frames have grids of their own
    x = np.asarray(scan[own if own in scan.variables else shown.axis].values, dtype=float)
    unknown = np.full(x.shape, np.nan)

    def column(name: str) -> np.ndarray:
        return np.asarray(scan[name].values, dtype=float) if name in scan else unknown

    if curve == "mu":
        mu, norm, step = column("mu"), column("mu_norm"), float(scan["edge_step"].values) if "edge_step" in scan else 1
        before = mu - step * norm
        after = before + step * (1 + norm - column("mu_flat"))
        if "e0" in scan:
            after = np.where(x >= float(scan["e0"].values), after, np.nan)
        lines = {"y": mu, "before": before, "after": after, "background": column("mu_background")}
    elif curve == "mu_flat":
        norm = column("mu_norm")
        lines = {"y": column("mu_flat") if "mu_flat" in scan else norm, "plain": norm}
    elif curve == "derivative":
        lines = {"y": np.gradient(column("mu_norm"), x)}
    elif curve == "chi":
        weighted = column("chi") * x**kweight
        top = np.nanmax(np.abs(weighted), initial=0.0)
        lines = {"y": weighted, "window": column("window") * top}
    else:
        lines = {"y": column("chi_r_mag"), "real": column("chi_r_real")}
    return {"x": x, **{name: line.astype(np.float32) for name, line in lines.items()}}


def empty_columns(curve: str) -> dict[str, np.ndarray]:
    """Return the columns of a curve that is not known."""
    return {name: np.zeros(0) for name in ("x", *CURVES[curve].lines)}
