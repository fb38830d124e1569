"""What the knobs of a reduction do to F(Q) and G(r): one pattern, many settings."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import DimensionError, SchemaError, refuse_unknown
from batlab.pdf.operator import termination_window
from batlab.pdf.reduction import g_of_r
from batlab.pdf.transform import SineTransform, sine_transform
from batlab.schema import quantity, record

KNOBS = ("qmax", "bgscale", "rpoly")
UNITS = {"qmax": "1/angstrom", "bgscale": "1", "rpoly": "angstrom"}
TRIES = 9
NO_ATOMS = 1.0  # angstrom: no bond but those of hydrogen is shorter
# What a figure of merit is, and its unit.
MERITS = {
    "ripple": ("1/angstrom^2", "rms of G(r) about its line below the shortest bond"),
    "density": ("1/angstrom^3", "atoms per volume after the slope of G(r) below the shortest bond"),
    "peak_position": ("angstrom", "place of the first peak of G(r)"),
    "peak_height": ("1/angstrom^2", "height of the first peak of G(r)"),
    "peak_width": ("angstrom", "full width of the first peak at half its height above the line"),
    "tail": ("1/angstrom", "rms of F(Q) in its last tenth"),
    "noise": ("1/angstrom^2", "sigma of G(r) far out"),
}


class Tuner:
    """One pattern that is reduced again and again: what `g_of_r` makes of it, keeping what no knob changes.

    `g_of_r` makes F(Q); the transform to G(r), nine tenths of its work for a single curve, is made once. The results
    differ by rounding only. There is no σ of G(r).

    Parameters
    ----------
    pattern
        ``intensity`` over q, or of one frame, as for `g_of_r`.
    composition
        As for `g_of_r`.
    rmax, rstep
        Grid of r, from 0 [angstrom].
    settings
        Keywords of `g_of_r` that are the same in all tries.

    Raises
    ------
    DimensionError
        More than one pattern.
    TypeError, ValueError
        As `g_of_r`, here or when it is called.

    Examples
    --------
    >>> q = np.linspace(0.5, 24, 2400)
    >>> s = 1 + np.exp(-0.003 * q**2) * np.sin(2.5 * q) / (2.5 * q)
    >>> pattern = xr.Dataset({"intensity": quantity("q", s, "1", "I"), "intensity_sigma": quantity("q", 0.01 * s, "1",
    ...                      "sigma")}, {"q": quantity("q", q, "1/angstrom", "q")})
    >>> tuner = Tuner(pattern, "Ni", mode="neutron")
    >>> [round(float(tuner(qmax=qmax).g_r.max()), 1) for qmax in (10.0, 20.0)]
    [1.1, 1.8]
    """

    def __init__(
        self,
        pattern: xr.Dataset,
        composition: str | Mapping[str, float],
        *,
        rmax: float = 30.0,
        rstep: float = 0.01,
        **settings: Any,
    ) -> None:
        self._pattern = _one_pattern(pattern, "pdf.Tuner")
        _refuse("pdf.Tuner", settings)
        self._composition, self._settings = composition, settings
        self._grid = {"rmax": float(rmax), "rstep": float(rstep)}
        if not 0 < rstep <= rmax / 2 < np.inf or rmax / rstep > 1e6:
            raise ValueError(f"pdf.Tuner needs a positive rstep well below rmax, got {rstep!r} and {rmax!r}")
        self._r = rstep * np.arange(int(rmax / rstep + 1.000001))
        self._kept: SineTransform | None = None

    def __call__(self, **knobs: Any) -> xr.Dataset:
        """Return ``f_q``, with its σ if known, ``g_r`` and ``scale`` with these keywords of `g_of_r`."""
        _refuse("pdf.Tuner", knobs)
        settings = {**self._settings, **knobs}
        step = self._grid["rstep"]
        # Two points of r cost next to nothing; what is checked, warned of and refused is so by g_of_r itself.
        done = g_of_r(self._pattern, self._composition, **settings, rmin=0.0, rmax=step, rstep=step)
        q, f_q = done["q"].values, done["f_q"].values
        good = np.isfinite(f_q)
        g_r = np.full(len(self._r), np.nan)
        if good.any():
            spread = np.zeros(len(self._points))
            spread[np.searchsorted(self._points, q[good])] = f_q[good] * weights(q[good], done.attrs)
            g_r = self._transform(spread)[0]
        made = {name: variable.variable for name, variable in done.data_vars.items() if "r" not in variable.dims}
        made["g_r"] = xr.Variable("r", g_r, done["g_r"].attrs)
        axes = {name: axis.variable for name, axis in done.coords.items() if name != "r"}
        axes["r"] = xr.Variable("r", self._r, done["r"].attrs)
        return xr.Dataset(made, axes, done.attrs)

    def of(self, pattern: xr.Dataset, **settings: Any) -> Tuner:
        """Return the same for another pattern on the same q, with other `settings` where given; what is kept is shared.

        Raises
        ------
        SchemaError
            Another grid of q.
        """
        other = copy(self)
        other._pattern = _one_pattern(pattern, "pdf.Tuner")
        if "q" not in other._pattern.coords or not np.array_equal(other._pattern["q"].values, self._points):
            raise SchemaError("pdf.Tuner.of needs a pattern on the same grid of q; make another Tuner")
        _refuse("pdf.Tuner", settings)
        other._settings = {**self._settings, **settings}
        if self._kept is None:
            self._kept = other._kept = sine_transform(self._points, self._r)
        return other

    @property
    def _points(self) -> np.ndarray:
        return np.asarray(self._pattern["q"].values, dtype=float)

    def _transform(self, values: np.ndarray) -> np.ndarray:
        if self._kept is None:
            self._kept = sine_transform(self._points, self._r)
        return self._kept(values[None])


def weights(q: np.ndarray, told: Mapping[str, Any]) -> np.ndarray:
    """Return the weights of F(Q) in G(r): trapezoid, termination window, 2/π; `told` are attributes of `g_of_r`."""
    step = np.zeros(len(q))
    half = np.diff(q) / 2
    step[:-1] += half
    step[1:] += half
    return 2 / np.pi * step * termination_window(q, float(told["qmax"]), told.get("window"))


def tune(
    pattern: xr.Dataset,
    composition: str | Mapping[str, float],
    tried: Mapping[str, Sequence[float]] | None = None,
    *,
    shortest: float | None = None,
    rmax: float = 30.0,
    rstep: float = 0.01,
    **settings: Any,
) -> xr.Dataset:
    """Return F(Q) and G(r) of one pattern for tried values of a knob, one knob at a time, and figures of merit.

    Where there are no atoms, G(r) = -4πρr exactly: what else is seen there is error. So below the shortest bond
    ``ripple`` is the rms deviation from the best line through 0, whose slope gives ``density``. ``peak_position``,
    ``peak_height`` and ``peak_width`` are those of the first peak: a longer range of Q sharpens it, an rpoly near it
    flattens it. ``tail`` is the rms of F(Q) in the last tenth of its points: atoms leave less and less there.
    ``noise`` is σ of G(r) at large r, sqrt(½ Σ w² σ_F²), the polynomial left out. No merit decides alone: a short qmax
    has less noise and ripple, and broader peaks; a large rpoly has less ripple, as it flattens what lies below it, the
    slope of the density with it.

    Parameters
    ----------
    pattern
        ``intensity`` over q, or of one frame, as for `g_of_r`.
    composition
        As for `g_of_r`.
    tried
        Values of ``"qmax"`` [1/angstrom], ``"bgscale"`` and ``"rpoly"`` [angstrom]; by default nine of each: qmax from
        half to the whole of the data, rpoly from 0.5 to 1.5, with a background bgscale from 0.8 to 1.2.
    shortest
        Where the first peak begins to rise [angstrom]; by default the minimum before the first peak beyond 1 angstrom
        that has half the height of the highest.
    rmax, rstep
        Grid of r, from 0 [angstrom].
    settings
        Keywords of `g_of_r`; a knob among them is what the others are tried with.

    Returns
    -------
    xarray.Dataset
        ``g_r`` (setting, r), ``f_q`` (setting, q; NaN beyond its qmax), the figures of merit (setting), and on setting
        the coordinates ``knob``, ``qmax``, ``bgscale``, ``rpoly``. NaN in ``noise`` without ``intensity_sigma``.

    Raises
    ------
    DimensionError
        More than one pattern.
    ValueError, TypeError
        As `g_of_r`; unknown knobs, no value to try; a `shortest` that no peak follows.

    Examples
    --------
    >>> q = np.linspace(0.5, 24, 2400)
    >>> s = 1 + np.exp(-0.003 * q**2) * np.sin(2.5 * q) / (2.5 * q)
    >>> pattern = xr.Dataset({"intensity": quantity("q", s, "1", "I"), "intensity_sigma": quantity("q", 0.01 * s, "1",
    ...                      "sigma")}, {"q": quantity("q", q, "1/angstrom", "q")})
    >>> tuned = tune(pattern, "Ni", {"qmax": [12, 24]}, mode="neutron")
    >>> tuned.peak_width.round(2).values.tolist()
    [0.34, 0.21]
    """
    name = "pdf.tune"
    _refuse(name, settings)
    one = _one_pattern(pattern, name)
    tuner = Tuner(one, composition, rmax=rmax, rstep=rstep, **settings)
    base = tuner()
    plan = _plan(tried, base, settings.get("background") is not None, name)
    if shortest is None:
        shortest = _foot(base["r"].values, base["g_r"].values, name)
    elif not 0 < shortest < rmax:
        raise ValueError(f"{name}: shortest must lie between 0 and rmax {rmax:g} angstrom, got {shortest!r}")
    done = [tuner(**{knob: value}) for knob, value in plan]
    table = _table(done, plan, one["q"].values, float(shortest))
    table.attrs.update({**base.attrs, "shortest": float(shortest)})
    return record(table, name, composition=composition, tried=tried, shortest=shortest, rmax=rmax, rstep=rstep,
                  **settings)  # fmt: skip


def _refuse(name: str, settings: Mapping[str, Any]) -> None:
    known = list(inspect.signature(g_of_r).parameters)[2:]
    refuse_unknown(name, settings, [word for word in known if word not in ("rmin", "rmax", "rstep")])


def _one_pattern(pattern: xr.Dataset, name: str) -> xr.Dataset:
    if not isinstance(pattern, xr.Dataset):
        raise TypeError(f"{name} needs a Dataset with 'intensity', got a {type(pattern).__name__}")
    if "frame" not in pattern.dims:
        return pattern
    if pattern.sizes["frame"] != 1:
        raise DimensionError(f"{name} needs one pattern, got {pattern.sizes['frame']}; choose with isel(frame=…)")
    return pattern.isel(frame=0)


def _plan(
    tried: Mapping[str, Sequence[float]] | None, base: xr.Dataset, has_background: bool, name: str
) -> list[tuple[str, float]]:
    """Return knob and value of every try; by default around what the base has."""
    if tried is None:
        last = float(base.attrs["qmaxinst"])
        chosen = {"qmax": np.linspace(last / 2, last, TRIES), "rpoly": np.linspace(0.5, 1.5, TRIES)}
        if has_background:
            chosen["bgscale"] = float(base.attrs["bgscale"]) * np.linspace(0.8, 1.2, TRIES)
        tried = {knob: values.tolist() for knob, values in chosen.items()}
    refuse_unknown(f"{name} (tried)", tried, KNOBS)
    plan = [(knob, float(value)) for knob in KNOBS if knob in tried for value in np.atleast_1d(tried[knob])]
    if not plan:
        raise ValueError(f"{name}: tried holds no value; give some for {', '.join(KNOBS)}")
    return plan


def _foot(r: np.ndarray, g: np.ndarray, name: str) -> float:
    """Return where the first peak begins to rise."""
    if not np.isfinite(g).all():
        raise ValueError(f"{name}: G(r) of this pattern holds no numbers; choose a frame with data and a scale")
    tops = _tops(r, g, NO_ATOMS)
    if not len(tops):
        raise ValueError(f"{name}: no peak was found beyond {NO_ATOMS:g} angstrom; say where it begins with shortest=…")
    first = int(tops[0])
    while first > 1 and g[first - 1] < g[first]:
        first -= 1
    return float(r[first])


def _table(done: list[xr.Dataset], plan: list[tuple[str, float]], q: np.ndarray, shortest: float) -> xr.Dataset:
    r = done[0]["r"].values
    f_q = np.full((len(done), len(q)), np.nan)
    for row, one in zip(f_q, done, strict=True):
        row[np.searchsorted(q, one["q"].values)] = one["f_q"].values
    g_r = np.stack([one["g_r"].values for one in done])
    merits = [_merits(one, shortest) for one in done]
    made = {
        "g_r": quantity(("setting", "r"), g_r, "1/angstrom^2", "reduced pair distribution function"),
        "f_q": quantity(("setting", "q"), f_q, "1/angstrom", "reduced structure function Q(S(Q) - 1)"),
    }
    for merit, (units, what) in MERITS.items():
        made[merit] = quantity("setting", np.array([one[merit] for one in merits]), units, what)
    knobs = {
        knob: quantity(
            "setting", np.array([float(one.attrs.get(knob, np.nan)) for one in done]), UNITS[knob], f"{knob} tried"
        )
        for knob in KNOBS
    }
    coords = {
        "setting": quantity("setting", np.arange(len(done)), "1", "setting tried"),
        "knob": quantity("setting", np.array([knob for knob, _value in plan]), "", "knob that was turned"),
        **knobs,
        "q": quantity("q", q, "1/angstrom", "scattering vector"),
        "r": quantity("r", r, "angstrom", "distance"),
    }
    return xr.Dataset(made, coords)


def _merits(one: xr.Dataset, shortest: float) -> dict[str, float]:
    """Return the figures of merit of one try, NaN where there is no G(r)."""
    r, g = one["r"].values, one["g_r"].values
    found = dict.fromkeys(MERITS, np.nan)
    if not np.isfinite(g).all():
        return found
    below = r <= shortest
    slope = float(r[below] @ g[below] / max(r[below] @ r[below], 1e-30))
    found["ripple"] = float(np.sqrt(np.mean((g[below] - slope * r[below]) ** 2)))
    found["density"] = -slope / (4 * np.pi)
    found |= _first_peak(r, g, slope, shortest)
    good = np.isfinite(one["f_q"].values)
    q, f_q = one["q"].values[good], one["f_q"].values[good]
    found["tail"] = float(np.sqrt(np.mean(f_q[-max(len(q) // 10, 1) :] ** 2)))
    if "f_q_sigma" in one:
        share = (weights(q, one.attrs) * one["f_q_sigma"].values[good]) ** 2
        found["noise"] = float(np.sqrt(share.sum() / 2))
    return found


def _tops(r: np.ndarray, g: np.ndarray, begin: float) -> np.ndarray:
    """Return where G(r) has maxima beyond `begin` of at least half the height of the highest there."""
    least = max(float(g[r > begin].max(initial=0.0)) / 2, 0.0)
    inner = g[1:-1]
    return np.flatnonzero((inner >= g[:-2]) & (inner > g[2:]) & (inner >= least) & (r[1:-1] > begin)) + 1


def _first_peak(r: np.ndarray, g: np.ndarray, slope: float, shortest: float) -> dict[str, float]:
    """Return place, height and width of the first peak beyond `shortest`."""
    tops = _tops(r, g, shortest)
    if not len(tops):
        return {}
    at = int(tops[0])
    left, top, right = g[at - 1 : at + 2]
    shift = (left - right) / (2 * (left - 2 * top + right))  # of a parabola through the three
    above = g - slope * r
    half = above[at] / 2
    ends = []
    for step in (-1, 1):
        place = at
        while 0 < place < len(g) - 1 and above[place] > half:
            place += step
        share = (half - above[place]) / (above[place - step] - above[place])
        ends.append(r[place] + share * (r[place - step] - r[place]) if above[place] <= half else np.nan)
    return {
        "peak_position": float(r[at] + shift * (r[at] - r[at - 1])),
        "peak_height": float(top - (left - right) * shift / 4),
        "peak_width": float(ends[1] - ends[0]),
    }
