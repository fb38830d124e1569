"""Bonds in G(r): how long, how many, how wide, frame by frame."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import xarray as xr

from batlab.errors import SchemaError, choose, did_you_mean
from batlab.pdf.band_noise import noise_waves, spectrum_of, spread_of
from batlab.pdf.composition import MODES, fractions, scattering_length
from batlab.pdf.curves_in import curves_of
from batlab.schema import quantity, record

# Where bonds of battery materials are looked for, angstrom.
BONDS: dict[str, tuple[float, float]] = {
    "O-O (peroxide)": (1.40, 1.55),
    "Si-O": (1.55, 1.70),
    "C-S": (1.70, 1.86),
    "P-S": (1.95, 2.12),
    "S-S": (1.98, 2.15),
    "Mn-O": (1.82, 2.25),
    "Co-O": (1.86, 2.15),
    "Ni-O": (1.84, 2.12),
    "Fe-O": (1.85, 2.20),
    "Li-O": (1.90, 2.25),
    "Li-S": (2.35, 2.60),
    "O-O": (2.30, 2.85),
    "Fe-Fe": (2.40, 2.60),
    "Ni-Ni": (2.42, 2.56),
    "Mn-Mn": (2.80, 3.15),
    "Co-Co": (2.75, 3.00),
}
WIDTHS = (0.03, 0.40)  # angstrom, of a peak's standard deviation
BESIDE = 0.25  # angstrom of G(r) on either side of where bonds may lie


def bonds(
    series: xr.Dataset,
    expected: Sequence[str] | Mapping[str, Sequence[float]] | xr.Dataset,
    composition: str | Mapping[str, float] | None = None,
    *,
    density: float | None = None,
    qmax: float | None = None,
    mode: str = "xray",
) -> xr.Dataset:
    """Fit bonds in every G(r): Gaussians in r G(r) = Σ A gauss(r; position, width) - 4πρr².

    Bonds whose ranges lie within 0.5 angstrom of each other are fitted together. The area A gives the coordination
    number of the first element of a bond by the second, N = A <f>²/(2 c f f') (like atoms: A <f>²/(c f²)), if the
    `composition` is known and G(r) is on an absolute scale; f is the number of electrons or the neutron length. The end
    of the data at Qmax broadens peaks: the width is that seen. An uneven sum of bonds is one peak: name its parts.

    Parameters
    ----------
    series
        ``g_r`` (frame, r) or (r) [1/angstrom²], with σ if known.
    expected
        Names of `pdf.BONDS`; or name → (from, to) [angstrom], the name being like ``"Si-O"``, with anything in
        brackets after it; or the table that `pdf.pairs` makes of a CIF.
    composition
        For coordination numbers; by default they are left out.
    density
        ρ in atoms/angstrom³; by default it is fitted, one for each group.
    qmax
        Where the data end [1/angstrom], for σ: neighbouring points err alike. By default from the attributes, else
        every point is taken as independent.
    mode
        ``"xray"`` or ``"neutron"``.

    Returns
    -------
    xarray.Dataset
        (frame, peak): ``position``, ``width`` (standard deviation) [angstrom], ``area``, ``coordination`` [1], each
        with σ; ``status`` (0 ok, 1 at_bound, 2 not_converged, 3 no_peak, 4 no_data; numbers are NaN from 2 up);
        coordinate ``bond`` (peak).

    Raises
    ------
    ValueError
        Unknown names, ranges that do not rise or leave the data, elements that the composition lacks.

    Warns
    -----
    UserWarning
        Frames whose bonds stay at a bound.

    Examples
    --------
    >>> r = np.arange(1, 4, 0.01)
    >>> g = 4 * np.exp(-((r - 1.63) ** 2) / 0.01) / np.sqrt(0.01 * np.pi) / r - 4 * np.pi * 0.07 * r
    >>> glass = xr.Dataset({"g_r": quantity("r", g, "1/angstrom^2", "G(r)")}, {"r": quantity("r", r, "angstrom", "r")})
    >>> bonds(glass, ["Si-O"], {"Si": 1, "O": 2}, mode="neutron").position.values.round(4).tolist()
    [[1.63]]
    """
    arguments = {key: value for key, value in locals().items() if key != "series"}
    name = "pdf.bonds"
    choose("mode", mode, MODES)
    curves = curves_of(series, "g_r", "r", name, units="angstrom", hint="make it with pdf.g_of_r")
    ranges = _ranges(expected, curves.x, name)
    per_area = _numbers(list(ranges), composition, mode, name)
    qmax = series.attrs.get("qmax") if qmax is None else qmax
    keys = ("position", "width", "area")
    n_frames = len(curves.values)
    found = {key: np.full((n_frames, len(ranges)), np.nan) for key in (*keys, *(f"{key}_sigma" for key in keys))}
    status = np.full((n_frames, len(ranges)), 4, np.int8)
    values = np.asarray(curves.values, dtype=float)
    sigma = None if curves.sigma is None else np.asarray(curves.sigma, dtype=float)
    for group in _groups(list(ranges.values())):
        limits = np.array([list(ranges.values())[i] for i in group])
        used = (curves.x >= limits.min() - BESIDE) & (curves.x <= limits.max() + BESIDE)
        waves = noise_waves(curves.x[used], qmax, spectrum_of(series))
        for frame in range(n_frames):
            weight = None if sigma is None else sigma[frame, used]
            answer = _fit(curves.x[used], values[frame, used], weight, limits, density, waves)
            status[frame, group] = answer[0]
            if answer[0].min() < 2:
                for key, numbers in zip(found, answer[1:]):
                    found[key][frame, group] = np.where(answer[0] < 2, numbers, np.nan)
    if (status == 1).any():
        frames = (status == 1).any(axis=1)
        warnings.warn(
            f"{name}: bonds stay at a bound in {int(frames.sum())} of {n_frames} frames, first in frame "
            f"{int(np.argmax(frames))}; widen their range or name their neighbours",
            UserWarning,
            stacklevel=2,
        )
    table = _table(found, status, per_area, list(ranges), series, curves.is_single)
    return record(table, name, **arguments)


def _ranges(
    expected: Sequence[str] | Mapping[str, Sequence[float]] | xr.Dataset, r: np.ndarray, name: str
) -> dict[str, tuple[float, float]]:
    asked: Mapping[str, Sequence[float]]
    if isinstance(expected, xr.Dataset):
        if not {"bond", "low", "high"} <= set(expected.variables):
            raise SchemaError(f"{name}: a table of bonds needs 'bond', 'low' and 'high'; pdf.pairs makes it of a CIF")
        columns = (expected[key].values.tolist() for key in ("bond", "low", "high"))
        asked = {word: (low, high) for word, low, high in zip(*columns)}
    elif isinstance(expected, Mapping):
        asked = cast(Mapping[str, Sequence[float]], expected)  # a Dataset is a mapping too
    else:
        words = [expected] if isinstance(expected, str) else list(expected)
        for word in words:
            if word not in BONDS:
                raise ValueError(
                    f"{name} knows no bond {word!r}{did_you_mean(word, BONDS)}; or pass {{name: (from, to)}}"
                )
        asked = {word: BONDS[word] for word in words}
    made = {}
    for word, limits in asked.items():
        low, high = (float(one) for one in limits)
        if not r[0] <= low < high <= r[-1]:
            raise ValueError(
                f"{name}: {word!r} from {low:g} to {high:g} angstrom must rise and lie in the data, "
                f"{r[0]:g} to {r[-1]:g}"
            )
        made[word] = (low, high)
    if not made:
        raise ValueError(f"{name}: expected names no bond")
    return dict(sorted(made.items(), key=lambda item: sum(item[1])))


def _groups(limits: list[tuple[float, float]]) -> list[list[int]]:
    """Return the bonds that are fitted together, by their places in the (sorted) list."""
    groups = [[0]]
    for i in range(1, len(limits)):
        if limits[i][0] - max(limits[k][1] for k in groups[-1]) < 2 * BESIDE:
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups


def _numbers(names: list[str], composition: Any, mode: str, name: str) -> np.ndarray | None:
    """Return the coordination number that an area of 1 stands for, bond by bond."""
    if composition is None:
        return None
    import xraydb

    shares = fractions(composition, name)
    f = {e: scattering_length(e) if mode == MODES[1] else float(xraydb.atomic_number(e)) for e in shares}
    mean = sum(share * f[element] for element, share in shares.items())
    per = []
    for bond in names:
        ends = re.match(r"([A-Z][a-z]?)\s*[-\u2013]\s*([A-Z][a-z]?)", bond)
        if ends is None or any(end not in shares for end in ends.groups()):
            raise ValueError(f"{name}: {bond!r} is no bond between elements of {dict(shares)}; name it like 'Si-O'")
        one, two = ends.groups()
        per.append(mean**2 / ((1 if one == two else 2) * shares[one] * f[one] * f[two]))
    return np.array(per)


def _fit(
    r: np.ndarray,
    g: np.ndarray,
    sigma: np.ndarray | None,
    limits: np.ndarray,
    density: float | None,
    waves: np.ndarray | None,
) -> tuple[np.ndarray, ...]:
    """Return status, position, width, area and their σ of the bonds of one group in one frame."""
    from scipy.optimize import least_squares

    n = len(limits)
    good = np.isfinite(g) & (np.isfinite(sigma) & (sigma > 0) if sigma is not None else True)
    none = np.full(n, np.nan)
    if good.sum() < 3 * n + 4:
        return (np.full(n, 4, np.int8), *[none] * 6)
    r, y = r[good], r[good] * g[good]
    weight = np.ones(len(r)) if sigma is None else 1 / (r * sigma[good])
    weight = weight / weight.mean()
    lower = np.concatenate([limits[:, 0], np.full(n, WIDTHS[0]), np.full(n, -np.inf), [0.0]])
    upper = np.concatenate([limits[:, 1], np.full(n, WIDTHS[1]), np.full(n, np.inf), [1.0]])
    base = 0.05 if density is None else density
    centres = []
    for low, high in limits:
        inside = np.flatnonzero((r >= low) & (r <= high))
        top = r[inside[np.argmax(y[inside])]] if len(inside) else (low + high) / 2
        centres.append(np.clip(top, low + 1e-4, high - 1e-4))
    area = [max(np.interp(c, r, y) + 4 * np.pi * base * c * c, 0.1) * 0.1 * 2.5 for c in centres]
    start = np.concatenate([centres, np.full(n, 0.1), area, [base]])
    free = np.ones(3 * n + 1, bool)
    free[-1] = density is None

    def residual(numbers: np.ndarray) -> np.ndarray:
        every = start.copy()
        every[free] = numbers
        place, width, size = every[: 3 * n].reshape(3, n)[:, :, None]
        peaks = size * np.exp(-((r - place) ** 2) / (2 * width**2)) / (np.sqrt(2 * np.pi) * width)
        return (peaks.sum(axis=0) - 4 * np.pi * every[-1] * r**2 - y) * weight

    done = least_squares(residual, start[free], bounds=(lower[free], upper[free]), x_scale="jac", max_nfev=200)
    every = start.copy()
    every[free] = done.x
    told = spread_of(done.jac.T, None if waves is None else waves[good], len(r))
    level = 2 * done.cost / told.n_free if sigma is None else 1 / np.mean(1 / (r * sigma[good])) ** 2
    covariance = told.covariance * level
    spread = np.zeros(3 * n + 1)
    spread[free] = np.sqrt(np.maximum(np.diag(covariance), 0))
    status = np.full(n, 0 if done.status > 0 else 2, np.int8)
    # scipy stays a little inside its bounds.
    near = np.min([every[:n] - limits[:, 0], limits[:, 1] - every[:n]], axis=0) < 1e-3 * (limits[:, 1] - limits[:, 0])
    near |= (every[n : 2 * n] < WIDTHS[0] + 1e-3) | (every[n : 2 * n] > WIDTHS[1] - 1e-3)
    status[near & (status == 0)] = 1
    status[every[2 * n : 3 * n] <= 0] = 3
    return (status, *every[: 3 * n].reshape(3, n), *spread[: 3 * n].reshape(3, n))


def _table(
    found: dict[str, np.ndarray],
    status: np.ndarray,
    per_area: np.ndarray | None,
    names: list[str],
    series: xr.Dataset,
    is_single: bool,
) -> xr.Dataset:
    dims = ("frame", "peak")
    words = {"position": ("angstrom", "length of the bond"), "width": ("angstrom", "standard deviation of the bond"),
             "area": ("1", "area of the bond in r G(r)"), "coordination": ("1", "coordination number")}  # fmt: skip
    if per_area is not None:
        found["coordination"] = found["area"] * per_area
        found["coordination_sigma"] = found["area_sigma"] * np.abs(per_area)
    made = {}
    for key, numbers in found.items():
        unit, what = words[key.removesuffix("_sigma")]
        made[key] = quantity(dims, numbers, unit, f"1 sigma of the {what}" if key.endswith("_sigma") else what)
    made["status"] = quantity(dims, status, "1", "0 where it is well")
    kept = series.drop_dims([dim for dim in ("r", "q") if dim in series.dims])
    kept = kept.expand_dims("frame") if is_single and "frame" not in kept.dims else kept
    coords = {
        "peak": quantity("peak", np.arange(len(names)), "1", "bond"),
        "bond": quantity("peak", np.array(names), "", "bond"),
    }
    return kept.drop_vars([*made, *coords], errors="ignore").assign_coords(coords).assign(made)
