"""One small-angle pattern: log-log with its windows, Guinier's and Porod's view, and its size distribution."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from batlab.errors import DimensionError, choose
from batlab.figures.pattern import frame_title
from batlab.figures.pixels import frame_position
from batlab.figures.style import COLOURS, FAINT, blank

if TYPE_CHECKING:
    from bokeh.plotting import figure

GUINIER, POROD, SIZES = COLOURS[2], COLOURS[1], COLOURS[6]  # windows, and what was found in them
WINDOWS = {"guinier": GUINIER, "porod": POROD, "sizes": SIZES}
POWERS = str.maketrans("-0123456789.p", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹·ᵖ")
SIGNS = {"angstrom": "Å"}
CURVES = {
    "loglog": ("x", "y", "low", "high", "guinier", "porod", "sizes"),
    "guinier": ("x", "y", "used", "low", "high", "line"),
    "porod": ("x", "y", "used", "low", "high", "line"),
    "sizes": ("x", "y", "low", "high"),
}
# Shape -> power of q in front of I, and n of q²Rg²/n, as `saxs.guinier` has them.
SHAPES = {"globule": (0, 3.0), "rod": (1, 2.0), "sheet": (2, 1.0)}
STRIP = 9  # pixels of the window of the size distribution, at the foot of the log-log plot: the others stand above it


def small_angles(
    series: xr.Dataset,
    frame: int | None = None,
    *,
    curve: str = "loglog",
    guinier: xr.Dataset | None = None,
    porod: xr.Dataset | None = None,
    sizes: xr.Dataset | None = None,
    windows: Mapping[str, tuple[float, float]] | None = None,
    size: tuple[int, int] = (600, 240),
) -> figure:
    """Draw one pattern, with what the steps of `saxs` have found in it.

    Parameters
    ----------
    series
        ``intensity`` over (frame, q) or (q) [q in 1/angstrom], ``intensity_sigma``.
    frame
        Which, as the coordinate ``frame`` has it; needed where there is more than one.
    curve
        ``"loglog"``: intensity against q; ``"guinier"``: ln(q^α I) against q² near its window; ``"porod"``:
        (I - background) q^p against q near its window; ``"sizes"``: D dφ/dD against the logarithm of the diameter D,
        so that equal areas are equal volumes, with its band.
    guinier, porod, sizes
        What `saxs.guinier`, `saxs.porod` and `saxs.size_distribution` have returned for this frame, or for the series.
    windows
        (low, high) in 1/angstrom of ``"guinier"``, ``"porod"`` and ``"sizes"``; Guinier's is known from its result.
    size
        Width and height inside the axes, in pixels.

    Raises
    ------
    DimensionError
        No intensity over q, or what the curve needs was not given.
    ValueError
        An unknown curve, or no such frame.

    Examples
    --------
    >>> import batlab as bl
    >>> plot = bl.figures.small_angles(patterns, 3, guinier=bl.saxs.guinier(patterns))  # doctest: +SKIP
    """
    from bokeh.models import ColumnDataSource

    scan = one_pattern(series, frame)
    number = frame if frame is not None else int(series["frame"].values[0]) if "frame" in series.dims else None
    found = {
        name: one_result(table, number) for name, table in
        (("guinier", guinier), ("porod", porod), ("sizes", sizes)) if table is not None
    }  # fmt: skip
    choose("curve", curve, CURVES)
    if curve != "loglog" and curve not in found:
        made = "size_distribution" if curve == "sizes" else curve
        raise DimensionError(f"figures.small_angles needs {curve}= for curve={curve!r}; make it with saxs.{made}")
    places = known_windows(found, windows)
    plot = blank_curve(curve, size)
    columns = curve_columns(scan, curve, found, places)
    draw_curve(plot, ColumnDataSource(data=columns, name=f"{curve}_data"), curve)
    fit_curve(plot, columns, curve)
    label_curve(plot, scan, curve, found, places)
    if curve == "loglog":
        draw_windows(plot)
        fit_ranges(plot, series)
        for name, ends in places.items():
            plot.select_one({"name": f"{name}_window"}).update(left=ends[0], right=ends[1], visible=True)
        if number is not None:
            plot.title.text = frame_title(series, number)
    return plot


def one_pattern(series: xr.Dataset, frame: int | None) -> xr.Dataset:
    """Return one frame of a series, or say what is missing."""
    if "intensity" not in series or set(series["intensity"].dims) - {"frame"} != {"q"}:
        got = series["intensity"].dims if "intensity" in series else sorted(map(str, series.data_vars))
        raise DimensionError(
            f"figures.small_angles needs intensity over ('frame', 'q') or ('q',), got {got}; "
            "convert with scattering.to_q"
        )
    if "frame" not in series.dims:
        return series
    if frame is None and series.sizes["frame"] > 1:
        raise ValueError(f"figures.small_angles needs frame=…: the series has {series.sizes['frame']}")
    return series.isel(frame=0 if frame is None else frame_position(series, frame))


def one_result(table: xr.Dataset, frame: int | None) -> xr.Dataset:
    """Return one frame of what a step has found."""
    return table.isel(frame=0 if table.sizes["frame"] == 1 or frame is None else frame_position(table, frame))


def known_windows(
    found: Mapping[str, xr.Dataset], windows: Mapping[str, tuple[float, float]] | None
) -> dict[str, tuple[float, float]]:
    """Return the windows that were given, and Guinier's where it found itself; without ends there is none."""
    places = dict(windows or {})
    for name in places:
        choose("windows", name, WINDOWS)
    if "guinier" in found and "guinier" not in places:
        ends = float(found["guinier"]["q_low"]), float(found["guinier"]["q_high"])
        if np.isfinite(ends).all():
            places["guinier"] = ends
    return places


def blank_curve(curve: str, size: tuple[int, int], margins: tuple[int, int, int, int] = (24, 14, 42, 62)) -> figure:
    """Return the empty axes of a curve."""
    from bokeh.models import Range1d

    # Ranges are told by Python: automatic ones stay where they are once a page has been loaded again.
    more: dict[str, Any] = {"x_range": Range1d(0.01, 1.0), "y_range": Range1d(0.1, 10.0)}
    if curve in ("loglog", "sizes"):
        more["x_axis_type"] = "log"
    if curve == "loglog":
        more["y_axis_type"] = "log"
    plot = blank(size, "", "", margins=margins, name=curve, **more)
    plot.title.text_font_size = "12px" if curve in ("loglog", "sizes") else "11px"
    plot.xaxis.axis_label = {
        "loglog": "q (Å⁻¹)", "guinier": "q² (Å⁻²)", "porod": "q (Å⁻¹)", "sizes": "diameter D (Å)",
    }[curve]  # fmt: skip
    plot.xaxis.ticker.desired_num_ticks = 5 if curve == "loglog" else 3
    return plot


def draw_curve(plot: figure, source: object, curve: str) -> None:
    """Draw points with bars of 1 σ, what was fitted, and the band of a size distribution."""
    if curve == "sizes":
        plot.varea("x", "low", "high", source=source, fill_color=SIZES, fill_alpha=0.25, name="sizes_band")
        plot.line("x", "y", source=source, line_color=SIZES, line_width=1.6, name="sizes_y")
        return
    plain = FAINT if curve != "loglog" else COLOURS[0]
    plot.segment("x", "low", "x", "high", source=source, line_color=plain, line_alpha=0.35, name=f"{curve}_bars")
    dots: dict[str, Any] = {"source": source, "line_color": None, "size": 3}
    plot.scatter("x", "y", fill_color=plain, name=f"{curve}_y", **dots)
    if curve == "loglog":
        for name, words in (("sizes", "sizes"), ("porod", "Porod"), ("guinier", "Guinier")):
            plot.line(
                "x", name, source=source, line_color=WINDOWS[name], line_width=1.8, legend_label=words,
                name=f"loglog_{name}",
            )  # fmt: skip
        plot.legend.update(
            location="top_right", label_text_font_size="11px", background_fill_alpha=0.7, border_line_color=None,
            padding=2, margin=3, spacing=0, label_height=13, glyph_height=13, glyph_width=16, label_standoff=3,
        )  # fmt: skip
        return
    plot.scatter("x", "used", fill_color=COLOURS[0], name=f"{curve}_used", **{**dots, "size": 4})
    plot.line("x", "line", source=source, line_color=WINDOWS[curve], line_width=1.6, name=f"{curve}_line")


def draw_windows(plot: figure) -> None:
    """Add the windows to a log-log plot, hidden; that of the size distribution is a strip at its foot."""
    from bokeh.models import BoxAnnotation

    for name, colour in WINDOWS.items():
        strip = {"bottom": 0, "top": STRIP, "bottom_units": "screen", "top_units": "screen"}
        plot.add_layout(
            BoxAnnotation(
                fill_color=colour, fill_alpha=0.45 if name == "sizes" else 0.13, line_color=colour, line_width=1,
                visible=False, name=f"{name}_window", **(strip if name == "sizes" else {}),
            )
        )  # fmt: skip


def fit_ranges(plot: figure, series: xr.Dataset) -> None:
    """Let a log-log plot span what any frame reaches, so that patterns compare at a glance; few lie below it."""
    q = np.asarray(series["q"].values, dtype=float)
    q, values = q[q > 0], np.asarray(series["intensity"].values, dtype=float)
    known = values[np.isfinite(values) & (values > 0)]
    air = (q[-1] / q[0]) ** 0.02
    ends = (0.5 * float(np.percentile(known, 0.3)), 2.5 * float(known.max())) if known.size else (0.1, 10.0)
    for range_, (low, high) in ((plot.x_range, (float(q[0] / air), float(q[-1] * air))), (plot.y_range, ends)):
        range_.update(start=low, end=high, reset_start=low, reset_end=high)


def fit_curve(plot: figure, columns: Mapping[str, np.ndarray], curve: str) -> None:
    """Let the axes span what was fitted and the points that it was fitted to; few of a noisy tail lie beyond."""
    if curve == "loglog" or not len(columns["x"]):
        return
    x = np.asarray(columns["x"], dtype=float)
    if curve == "sizes":
        sides, ends = (float(x[0]), float(x[-1])), (0.0, 1.08 * _top(columns) or 1.0)
    else:
        shown = np.concatenate([columns["used"], columns["line"]]).astype(float)
        shown = shown[np.isfinite(shown)]
        low, high = np.percentile(shown, (0, 100) if curve == "guinier" else (3, 97)) if shown.size else (0.0, 1.0)
        air = 0.08 * (high - low) or 1.0
        if curve == "porod":  # its plateau is seen as one when zero is
            low, high = min(low, 0.0), max(high, 1.6 * float(columns["line"][0]))
        sides, ends = (0.0 if curve == "guinier" else 0.97 * float(x[0]), 1.03 * float(x[-1])), (low - air, high + air)
    for range_, (low, high) in ((plot.x_range, sides), (plot.y_range, ends)):
        if low < high:
            range_.update(start=float(low), end=float(high))


def _top(columns: Mapping[str, np.ndarray]) -> float:
    return max(float(np.nanmax(columns[name])) for name in ("y", "high"))


def label_curve(
    plot: figure, scan: xr.Dataset, curve: str, found: Mapping[str, xr.Dataset],
    places: Mapping[str, tuple[float, float]],
) -> None:  # fmt: skip
    """Say what stands on the axes, and in the title what was found."""
    units = sign(str(scan["intensity"].attrs.get("units", "1"))) or "arb. u."
    if curve == "loglog":
        plot.yaxis.axis_label = f"intensity ({units})"
        return
    plot.title.text = title_of(curve, found[curve]) if curve in found else ""
    if curve == "sizes":
        plot.yaxis.axis_label = "D dφ/dD"
    elif curve == "guinier":
        alpha = SHAPES[found[curve].attrs.get("shape", "globule")][0] if curve in found else 0
        plot.yaxis.axis_label = ("ln I", "ln (q I)", "ln (q² I)")[alpha]
        power = power_of(places[curve][1] ** 2) if curve in places else 0
        plot.xaxis.axis_label = f"q² ({times(power)}Å⁻²)"
    else:
        exponent = float(found[curve]["exponent"]) if curve in found else 4.0
        power = power_of(float(found[curve]["porod_constant"])) if curve in found else 0
        told = times(power).strip()
        plot.yaxis.axis_label = f"(I−B) q{raised(exponent)}" + (f" ({told})" if told else "")


def curve_columns(
    scan: xr.Dataset, curve: str, found: Mapping[str, xr.Dataset], places: Mapping[str, tuple[float, float]]
) -> dict[str, np.ndarray]:
    """Return the columns of a Bokeh source; what is unknown is NaN, and nothing where the curve is not known."""
    if curve == "sizes":
        return _size_columns(found.get("sizes"))
    q = np.asarray(scan["q"].values, dtype=float)
    keep = q > 0
    q, y = q[keep], np.asarray(scan["intensity"].values, dtype=float)[keep]
    s = np.asarray(scan["intensity_sigma"].values, dtype=float)[keep] if "intensity_sigma" in scan else np.full(
        q.shape, np.nan
    )  # fmt: skip
    if curve == "loglog":
        return _loglog_columns(q, y, s, found, places)
    if curve not in found or curve not in places:
        return empty_columns(curve)
    low, high = places[curve]
    near = (q <= 1.5 * high) if curve == "guinier" else (q >= 0.6 * low) & (q <= 1.3 * high)
    q, y, s = q[near], y[near], s[near]
    one = found[curve]
    if curve == "guinier":
        alpha, divisor = SHAPES[one.attrs.get("shape", "globule")]
        x = q**2 / 10.0 ** power_of(high**2)
        ends = [_log(q**alpha * part) for part in (y, y - s, y + s)]
        line = np.log(float(one["i0"])) - (q * float(one["rg"])) ** 2 / divisor
    else:
        factor = q ** float(one["exponent"]) / 10.0 ** power_of(float(one["porod_constant"]))
        level = float(one["background"])
        x, ends = q, [(part - level) * factor for part in (y, y - s, y + s)]
        line = np.full(q.shape, float(one["porod_constant"]) / 10.0 ** power_of(float(one["porod_constant"])))
    used = np.where((q >= low) & (q <= high), ends[0], np.nan)
    return _small({"x": x, "y": ends[0], "used": used, "low": ends[1], "high": ends[2], "line": line})


def _loglog_columns(
    q: np.ndarray, y: np.ndarray, s: np.ndarray, found: Mapping[str, xr.Dataset],
    places: Mapping[str, tuple[float, float]],
) -> dict[str, np.ndarray]:  # fmt: skip
    unknown = np.full(q.shape, np.nan)
    lines = {"guinier": unknown, "porod": unknown, "sizes": unknown}
    if "guinier" in found and "guinier" in places:
        one = found["guinier"]
        alpha, divisor = SHAPES[one.attrs.get("shape", "globule")]
        law = float(one["i0"]) * np.exp(-((q * float(one["rg"])) ** 2) / divisor) / q**alpha
        lines["guinier"] = np.where(q <= 1.6 * places["guinier"][1], law, np.nan)
    if "porod" in found and "porod" in places:
        one = found["porod"]
        law = float(one["porod_constant"]) * q ** -float(one["exponent"]) + float(one["background"])
        lines["porod"] = np.where(q >= 0.6 * places["porod"][0], law, np.nan)
    if "sizes" in found:
        own = np.asarray(found["sizes"]["q"].values, dtype=float)
        fit = np.asarray(found["sizes"]["intensity_fit"].values, dtype=float)
        at = np.searchsorted(q, own)
        lines["sizes"] = unknown.copy()
        is_there = (at < q.size) & (q[np.minimum(at, q.size - 1)] == own)
        lines["sizes"][at[is_there]] = fit[is_there]
    positive = {name: np.where(line > 0, line, np.nan) for name, line in lines.items()}
    shown = np.where(y > 0, y, np.nan)
    floor = np.where(y - s > 0, y - s, shown * 1e-3)  # a bar that reaches zero goes down to the edge
    bars = {"low": np.where(np.isfinite(s), floor, np.nan), "high": np.where(y > 0, y + s, np.nan)}
    return _small({"x": q, "y": shown, **bars, **positive})


def _size_columns(one: xr.Dataset | None) -> dict[str, np.ndarray]:
    if one is None or not np.isfinite(one["volume_distribution"].values).any():
        return empty_columns("sizes")
    size = np.asarray(one["size"].values, dtype=float)
    y = size * one["volume_distribution"].values
    ends = [size * one[name].values if (name := f"volume_distribution_{end}") in one else y for end in ("low", "high")]
    return _small({"x": size, "y": y, "low": ends[0], "high": ends[1]})


def _small(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {"x": columns["x"], **{name: one.astype(np.float32) for name, one in columns.items() if name != "x"}}


def _log(values: np.ndarray) -> np.ndarray:
    return np.log(np.where(values > 0, values, np.nan))


def empty_columns(curve: str) -> dict[str, np.ndarray]:
    """Return the columns of a curve that is not known."""
    return {name: np.zeros(0) for name in CURVES[curve]}


def title_of(curve: str, one: xr.Dataset) -> str:
    """Return what was found, with 1 σ: the radius, the tail, or the mean size."""
    if curve == "guinier":
        if not np.isfinite(rg := float(one["rg"])):
            return "no Guinier range"
        return f"Rg {plus_minus(rg, float(one['rg_sigma']))} Å, qRg to {float(one['q_rg_high']):.2f}"
    if curve == "porod":
        if not np.isfinite(float(one["porod_constant"])):
            return "no Porod tail"
        if float(one["exponent_sigma"]) > 0:
            return f"slope {plus_minus(float(one['exponent']), float(one['exponent_sigma']))}"
        name, words = ("surface", "S") if "surface" in one else ("porod_constant", "K")
        units = sign(str(one[name].attrs.get("units", "1")))
        return f"{words} {plus_minus(float(one[name]), float(one[f'{name}_sigma']))} {units}"
    if not np.isfinite(mean := float(one["mean_diameter"])):
        return "no size distribution"
    spread = float(one["mean_diameter_sigma"])
    return f"sizes by volume: mean D {plus_minus(mean, spread)} Å, χ² {float(one['chi2_reduced']):.2g}"


def plus_minus(value: float, sigma: float) -> str:
    """Return a number with its uncertainty, as many digits as that has meaning.

    >>> plus_minus(33.417, 0.123), plus_minus(1.234e-8, 4e-10), plus_minus(12345.6, float("nan"))
    ('33.42 ± 0.12', '(1.234 ± 0.040) × 10⁻⁸', '1.235e+04')
    """
    if not (np.isfinite(sigma) and sigma > 0 and np.isfinite(value)):
        return f"{value:.4g}"
    power = math.floor(math.log10(max(abs(value), sigma)))
    scale = 10.0**power if not -3 <= power < 5 else 1.0
    digits = max(0, 1 - math.floor(math.log10(sigma / scale)))
    told = f"{value / scale:.{digits}f} ± {sigma / scale:.{digits}f}"
    return told if scale == 1.0 else f"({told}) × 10{raised(power)}"


def power_of(value: float) -> int:
    """Return the power of ten, by threes, that makes a number readable."""
    return 3 * round(math.log10(abs(value)) / 3) if np.isfinite(value) and value else 0


def times(power: int) -> str:
    """Return a power of ten as it stands before a unit."""
    return f"10{raised(power)} " if power else ""


def raised(power: float) -> str:
    """Return a number as an exponent."""
    return f"{power:.3g}".translate(POWERS)


def sign(units: str) -> str:
    """Return a unit with its powers, as it stands on an axis.

    >>> sign("1/cm/angstrom^4"), sign("m^2/cm^3"), sign("1")
    ('cm⁻¹ Å⁻⁴', 'm² cm⁻³', '')
    """
    words = []
    for place, part in enumerate(units.split("/")):
        base, _, power = part.partition("^")
        if base == "1":
            continue
        told = ("-" if place else "") + (power or "1")
        words.append(SIGNS.get(base, base) + ("" if told == "1" else told.translate(POWERS)))
    return " ".join(words)
