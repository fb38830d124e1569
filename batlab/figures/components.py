"""Components of a series: concentrations and spectra with their bands, and how many there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from batlab.decompose.mcr_result import WIDE, MCRResult, scale, widest
from batlab.errors import DimensionError, choose
from batlab.figures.cycling import thinned
from batlab.figures.style import COLOURS, FAINT, axis_label, blank, dress

if TYPE_CHECKING:
    from bokeh.plotting import figure

    from batlab.decompose._rank import Rank

UNKNOWN = "bands not computed: one choice of many"
AGAINST = ("frame", "time", "capacity", "charge_passed", "test_time")
EVIDENCE = {
    "eigenvalue": "eigenvalue",
    "indicator": "indicator (IND)",
    "real_error": "real error",
    "cv_error": "cross-validation error",
}


def component_concentrations(
    result: MCRResult | xr.Dataset,
    *,
    against: str = "frame",
    cell: xr.Dataset | None = None,
    x_range: Any = None,
    size: tuple[int, int] = (600, 220),
) -> figure:
    """Draw the concentration of every component with its band, and beside it the cell's voltage.

    A component whose band is wider than 0.1 somewhere is drawn as its band alone; a line stands for the others. Where
    no bands were computed the lines are dashed and the title says so.

    Parameters
    ----------
    result
        From ``decompose.mcr_als`` or ``decompose.bands``, or its dataset.
    against
        ``"frame"``, ``"time"``, ``"capacity"``, ``"charge_passed"`` or ``"test_time"``, as the dataset has it.
    cell
        A series with ``voltage`` over the same frames; by default the dataset's own ``voltage``, if it has one.
    x_range
        Of another figure, so that both move together.
    size
        Width and height inside the axes, in pixels.

    Raises
    ------
    DimensionError
        No concentrations, no such axis, or a voltage over other frames.
    """
    data = _dataset(result, "concentration", "figures.component_concentrations")
    choose("against", against, AGAINST)
    if against not in data.variables and against != "frame":
        raise DimensionError(
            f"figures.component_concentrations needs {against!r}, got {sorted(map(str, data.variables))}; put the "
            "series on the cell's clock first with align.onto_frames"
        )
    place = data[against] if against in data.variables else data["concentration"]["frame"]
    more: dict[str, Any] = {"x_axis_type": "datetime"} if place.dtype.kind == "M" else {}
    if x_range is not None:
        more["x_range"] = x_range
    plot = blank(size, axis_label(place), "concentration", margins=(26, 66, 44, 66), **more)
    has_bands = "concentration_low" in data
    wide = widest(data)[0] > WIDE * scale(data) if has_bands else np.zeros(data.sizes["component"], dtype=bool)
    _profiles(plot, data, "concentration", place.values, wide)
    plot.y_range.renderers = list(plot.renderers)
    _voltage(plot, data if cell is None else cell, place.values)
    return plot


def component_spectra(
    result: MCRResult | xr.Dataset,
    *,
    of: str | None = None,
    x_range: Any = None,
    size: tuple[int, int] = (600, 220),
) -> figure:
    """Draw the spectrum of every component with its band.

    A band that is anywhere wider than a tenth of what the spectra span is drawn without a line, as in
    ``component_concentrations``.

    Parameters
    ----------
    result
        From ``decompose.mcr_als`` or ``decompose.bands``, or its dataset.
    of
        Name of the series, where several share their concentrations.
    x_range, size
        As in ``component_concentrations``.

    Raises
    ------
    DimensionError
        No spectra.
    ValueError
        `of` names no series, or is needed.
    """
    data = result.dataset if isinstance(result, MCRResult) else result
    known = [
        str(name).removeprefix("spectra").removeprefix("_")
        for name in data.data_vars
        if str(name).split("_")[0] == "spectra" and not str(name).endswith(("_low", "_high", "_sigma"))
    ]
    if not known:
        raise DimensionError(f"figures.component_spectra needs 'spectra', got {sorted(map(str, data.data_vars))}")
    if of is None and len(known) == 1:
        of = known[0]
    choose("of", of, known)
    stem = f"spectra_{of}" if of else "spectra"
    axis = str(data[stem].dims[1])
    coordinate = data[axis] if axis in data.coords else data[stem][axis]
    more = {} if x_range is None else {"x_range": x_range}
    plot = blank(size, axis_label(coordinate), axis_label(data[stem]), margins=(26, 66, 44, 66), **more)
    low, high = (data[f"{stem}_{side}"] if f"{stem}_low" in data else data[stem] for side in ("low", "high"))
    span = float(np.nanmax(data[stem]) - np.nanmin(data[stem])) or 1.0
    wide = np.nanmax(high.values - low.values, axis=1) > WIDE * span
    _profiles(plot, data, stem, np.asarray(coordinate.values, dtype=float), wide)
    return plot


def rank_evidence(rank: Rank | xr.Dataset, *, size: tuple[int, int] = (300, 200), most: int = 10) -> Any:
    """Draw what speaks for how many components: eigenvalues (scree), indicator, real and cross-validation error.

    Parameters
    ----------
    rank
        From ``decompose.rank``, or its dataset.
    size
        Width and height inside the axes of each of the four figures, in pixels.
    most
        Components shown.

    Returns
    -------
    bokeh.models.GridBox
        Two by two, logarithmic; a ring marks the least value of the indicator and of cross-validation.

    Raises
    ------
    DimensionError
        Not from ``decompose.rank``.
    """
    from bokeh.layouts import gridplot

    data = rank if isinstance(rank, xr.Dataset) else rank.dataset
    missing = [name for name in EVIDENCE if name not in data]
    if missing:
        raise DimensionError(f"figures.rank_evidence needs {', '.join(missing)}; give it what decompose.rank returns")
    plots = []
    for name, words in EVIDENCE.items():
        shown = data[name].isel(component=slice(0, most))
        place, values = np.asarray(shown["component"].values, dtype=float), np.asarray(shown.values, dtype=float)
        values = np.where(values > 0, values, np.nan)
        plot = blank(size, "components", words, y_axis_type="log")
        plot.line(place, values, line_color=FAINT)
        plot.scatter(place, values, size=7, fill_color=COLOURS[0], line_color=None, name=f"{name}_points")
        if name in ("indicator", "cv_error") and np.isfinite(values).any():
            least = int(np.nanargmin(values))
            plot.scatter(
                place[[least]], values[[least]], size=14, fill_color=None, line_color=COLOURS[1], line_width=2,
                name=f"{name}_least",
            )  # fmt: skip
        plots.append(plot)
    return gridplot([plots[:2], plots[2:]], toolbar_location=None)


def _dataset(result: MCRResult | xr.Dataset, name: str, function: str) -> xr.Dataset:
    data = result.dataset if isinstance(result, MCRResult) else result
    if name not in data:
        raise DimensionError(
            f"{function} needs {name!r}, got {sorted(map(str, data.data_vars))}; see decompose.mcr_als"
        )
    return data


def _profiles(plot: figure, data: xr.Dataset, stem: str, place: np.ndarray, wide: np.ndarray) -> None:
    """Draw a band and, where it is narrow, a line a component."""
    from bokeh.models import ColumnDataSource

    has_bands = f"{stem}_low" in data
    others = [dim for dim in data[stem].dims if dim != "component"]
    for number, label in enumerate(data["component"].values.tolist()):
        columns = {"x": place}
        for key, name in (("value", stem), ("low", f"{stem}_low"), ("high", f"{stem}_high")):
            source = data[name if has_bands else stem]
            columns[key] = np.asarray(source.transpose("component", *others).values[number], dtype=float)
        colour, words = COLOURS[number % len(COLOURS)], f"component {label}"
        held = ColumnDataSource(data=columns, name=f"component_{label}_data")
        if has_bands:
            plot.varea(
                "x", "low", "high", source=held, fill_color=colour, fill_alpha=0.3, legend_label=words,
                name=f"component_{label}_band",
            )  # fmt: skip
        if not wide[number]:
            plot.line(
                "x", "value", source=held, line_color=colour, line_width=1.6, legend_label=words,
                line_dash="solid" if has_bands else "dashed", name=f"component_{label}_line",
            )  # fmt: skip
    plot.legend.label_text_font_size, plot.legend.background_fill_alpha = "11px", 0.7
    plot.legend.padding, plot.legend.spacing = 4, 0
    if not has_bands:
        plot.title.text = UNKNOWN
    elif wide.any():
        named = ", ".join(str(one) for one in data["component"].values[wide].tolist())
        plot.title.text = f"anywhere within the band at the same fit: component {named}"


def _voltage(plot: figure, cell: xr.Dataset, place: np.ndarray) -> None:
    """Draw the voltage on an axis at the right, where there is one."""
    from bokeh.models import DataRange1d, LinearAxis

    if "voltage" not in cell:
        return
    voltage = cell["voltage"]
    if voltage.dims != ("frame",) or voltage.size != len(place):
        raise DimensionError(
            f"figures.component_concentrations needs a voltage over the same {len(place)} frames, got {voltage.dims} "
            f"of {voltage.size}; bring the record onto the frames first with align.onto_frames"
        )
    keep = thinned(np.asarray(voltage.values, dtype=float))
    plot.extra_y_ranges = {"voltage": DataRange1d()}
    axis = LinearAxis(y_range_name="voltage", axis_label=axis_label(voltage), axis_label_text_color=FAINT)
    dress(axis)
    plot.add_layout(axis, "right")
    line = plot.line(
        place[keep], np.asarray(voltage.values, dtype=float)[keep], y_range_name="voltage", line_color=FAINT,
        line_width=1.1, line_dash="dotdash", name="voltage_line",
    )  # fmt: skip
    plot.extra_y_ranges["voltage"].renderers = [line]
