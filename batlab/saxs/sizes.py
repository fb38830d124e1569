"""Size distributions of a whole series: as smooth, or as little committed, as the noise allows."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from batlab import threads
from batlab.errors import choose
from batlab.saxs.forms import sphere
from batlab.saxs.inverse import Problem, entropy, least_squares, search
from batlab.saxs.series import curves_of, frame_quantity, need_absolute, on_frames, sigma_or_scatter, with_sigma
from batlab.saxs.slit import smeared
from batlab.schema import quantity, record

SUBSTEPS = 4  # of each bin, so that ripples of large sizes average as they do within it
CHUNK = 128  # frames at once, so that memory does not grow with the series


def size_distribution(
    patterns: xr.Dataset,
    diameters: tuple[float, float],
    *,
    n_sizes: int = 50,
    form: str | Callable[[np.ndarray, float], np.ndarray] = "sphere",
    contrast: float = 1.0,
    method: str = "smooth",
    background: bool = True,
    ranges: Sequence[tuple[float, float]] | None = None,
    window: tuple[float, float] | None = None,
    alpha: float | None = None,
    n_replicates: int = 20,
    seed: int = 0,
    n_threads: int | None = None,
) -> xr.Dataset:
    """Return how much volume scatters at each size, frame by frame, without a shape of the distribution assumed.

    ``I(q) = ∑ φ_j · form(q, D_j) + B`` with φ_j ≥ 0 over sizes even in log D; 0 beyond both ends. ``"smooth"``: the
    least ``χ² + α |second differences of φ|²``; ``"entropy"``: the least ``χ² / 2 - α S`` with the entropy S of φ
    against an even distribution. α is the largest for which χ² is the number of points; where no distribution comes so
    close (an imperfect model, σ too small), the one for which χ² is above its least by the share √(2/n).

    Parameters
    ----------
    patterns
        ``intensity`` (frame, q) [1/cm for volume fractions], ``intensity_sigma``. Slit-smeared where the attribute
        ``slit_length`` says so: the form is then smeared alike.
    diameters
        (smallest, largest) in angstrom; of use from about π / q_max to 2π / q_min.
    n_sizes
        At most 200.
    form
        ``"sphere"``, or a function of (q, diameter) that returns 1/cm for a volume fraction of 1 and a contrast of 1:
        any of `saxs.form`, with shells, cylinders and all shapes of sasmodels.
    contrast
        In 1e-6/angstrom².
    method
        ``"smooth"`` or ``"entropy"``.
    background
        Fit a constant.
    ranges
        Limits of populations, [(low, high), …] in angstrom, whose volume and mean size are wanted each.
    window
        (low, high) in 1/angstrom.
    alpha
        Fixed, relative to ∑ of the design; None: found.
    n_replicates
        Noisy copies of the fit, 0 for none; α is kept. The bands are their scatter, so that what smoothing hides is not
        in them; σ of volumes and mean sizes hold also by how much copies come out off the fit. Pulls of smooth fits are
        then of size 1 (0.85 to 1.2), of entropy's, which adds 1 to 3 % of volume
        at other sizes, still 2.
    seed, n_threads
        Of the noise; of the kernel.

    Returns
    -------
    Dataset
        Over (frame, size): ``volume_distribution`` dφ/dD [1/angstrom] with ``_low`` and ``_high`` (16 and 84 %),
        ``surface_distribution`` and ``number_distribution`` (each with ∫ = 1). Over frame: ``volume_fraction``,
        ``mean_diameter`` (by volume) with σ; ``mean_diameter_number``, ``background``, ``chi2_reduced``, ``strength``,
        ``status`` (0 ok, 1 χ² above the number of points, 2 no data). With `ranges` over (frame, peak)
        ``range_volume_fraction`` and ``range_mean_diameter`` with σ. ``intensity_fit`` (frame, q).

    Raises
    ------
    ValueError
        Diameters that do not rise from above 0, a range outside them, an unknown word.
    UnitError
        A `contrast` is given and the intensity is not in 1/cm.

    Notes
    -----
    Surface and number weights hold for compact forms (D² and D³). 1,000 frames of 200 points and 50 sizes take 2.6
    s on one thread; the box-constrained minimum is found by the kernel `bounded_least_squares`, for all frames.

    References
    ----------
    J. A. Potton et al., J. Appl. Cryst. 21, 663 (1988), doi:10.1107/S0021889888004819 (maximum entropy);
    A. N. Tikhonov, Sov. Math. 4, 1035 (1963).
    """
    choose("method", method, ["smooth", "entropy"])
    if contrast != 1.0:
        need_absolute(patterns, "saxs.size_distribution")
    q, values, sigma = curves_of(patterns, "saxs.size_distribution", window)
    sigma = sigma_or_scatter(q, values, sigma, "saxs.size_distribution")
    sizes = _sizes(diameters, n_sizes)
    inside = _ranges(ranges, sizes)
    columns = design(q, sizes, form, patterns.attrs.get("slit_length")) * contrast**2
    solver = least_squares if method == "smooth" else entropy
    rng, n_used = np.random.default_rng(seed), threads.effective(n_threads)
    parts = []
    for start in range(0, len(values), CHUNK):
        at = slice(start, start + CHUNK)
        problem = Problem.of(columns, values[at], sigma[at], background, n_used)
        parts.append(_solve(problem, solver, alpha, n_replicates, rng, sizes, inside))
    found = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    _warn(found, sizes)
    variables = _variables(found, sizes, ranges, n_replicates)
    fit = found["volume"] @ columns.T + found["background"][:, None]
    units = patterns["intensity"].attrs.get("units", "1")
    variables["intensity_fit"] = quantity(("frame", "q"), fit, units, "intensity of the fit")
    done = on_frames(patterns, variables, method=method, contrast=float(contrast))
    done = done.assign_coords(
        size=quantity("size", sizes, "angstrom", "diameter"), q=quantity("q", q, "1/angstrom", "scattering vector")
    )
    told = form if isinstance(form, str) else getattr(form, "__name__", "function")
    return record(
        done, "saxs.size_distribution", diameters=diameters, n_sizes=n_sizes, form=told, contrast=contrast,
        method=method, background=background, ranges=ranges, window=window, alpha=alpha, n_replicates=n_replicates,
        seed=seed,
    )  # fmt: skip


def design(
    q: np.ndarray, sizes: np.ndarray, form: str | Callable[[np.ndarray, float], np.ndarray], slit_length: float | None
) -> np.ndarray:
    """Return (q, size): what volume spread around each size, as a triangle over log D to its neighbours, scatters."""
    if isinstance(form, str):
        choose("form", form, ["sphere"])

        def form(u: np.ndarray, diameter: float) -> np.ndarray:
            return sphere(u, diameter / 2)

    def mean(u: np.ndarray, near: np.ndarray) -> np.ndarray:
        return sum((w * form(u, d) for w, d in zip(share, near, strict=True)), start=np.zeros_like(u))

    step = np.log(sizes[1] / sizes[0])
    offsets = np.arange(1 - SUBSTEPS, SUBSTEPS) / SUBSTEPS
    share = (1 - np.abs(offsets)) / SUBSTEPS
    columns = np.zeros((q.size, sizes.size))
    for j, size in enumerate(sizes):
        near = size * np.exp(step * offsets)
        columns[:, j] = smeared(partial(mean, near=near), q, slit_length)
    return columns


def _sizes(diameters: tuple[float, float], n_sizes: int) -> np.ndarray:
    low, high = (float(one) for one in diameters)
    if not (0 < low < high and np.isfinite(high)) or not 8 <= n_sizes <= 200:
        raise ValueError(
            "diameters must be (smallest, largest) above 0 in angstrom and n_sizes 8 to 200, "
            f"got {diameters} and {n_sizes}"
        )
    return np.geomspace(low, high, n_sizes)


def _ranges(ranges: Sequence[tuple[float, float]] | None, sizes: np.ndarray) -> np.ndarray:
    """Return (range, size): which share of the volume at each size belongs to each range."""
    rows = [np.ones(sizes.size)]
    for low, high in ranges or ():
        if not (low < high and ((sizes >= low) & (sizes < high)).any()):
            raise ValueError(
                f"range {low:g} to {high:g} angstrom holds none of the sizes {sizes[0]:g} to {sizes[-1]:g}"
            )
        rows.append(((sizes >= low) & (sizes < high)).astype(float))
    return np.stack(rows)


def _solve(
    problem: Problem, solver: Callable, alpha: float | None, n_replicates: int, rng: np.random.Generator,
    sizes: np.ndarray, inside: np.ndarray,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Return the distributions of some frames, their moments, and the same of noisy copies of their fits."""
    x, chosen, chi2, state = search(problem, solver, alpha)
    found: dict[str, np.ndarray] = {
        "volume": x[:, : sizes.size], "background": x[:, sizes.size] if problem.has_background else np.zeros(len(x)),
        "alpha": chosen, "chi2": chi2 / np.maximum(problem.n_points, 1), "state": state, **_moments(x, sizes, inside),
    }  # fmt: skip
    if n_replicates:
        copies = [solver(problem.noisy(x, rng), chosen, x) for _ in range(n_replicates)]
        rows = np.stack([copy[:, : sizes.size] for copy in copies])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # frames without data are NaN throughout
            found["low"], found["high"] = np.nanpercentile(rows, [16, 84], axis=0)
            moments = [_moments(copy, sizes, inside) for copy in copies]
            for key in ("total", "mean"):
                ends = np.nanpercentile([one[key] for one in moments], [16, 50, 84], axis=0)  # not drawn by odd copies
                # What smoothing did to the copies it has done to the data's own, of which it is the only witness.
                half = 0.5 * (ends[2] - ends[0])
                chance = np.pi / 2 * half**2 / n_replicates  # variance of a median
                found[f"{key}_sigma"] = np.sqrt(half**2 + np.maximum((ends[1] - found[key]) ** 2 - chance, 0.0))
    return found


def _moments(x: np.ndarray, sizes: np.ndarray, inside: np.ndarray) -> dict[str, np.ndarray]:
    volume = x[:, None, : sizes.size] * inside
    total = volume.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {"total": total, "mean": volume @ sizes / total}


def _warn(found: dict[str, np.ndarray], sizes: np.ndarray) -> None:
    poor = found["chi2"] > 1.5
    if poor.any():
        text = f"saxs.size_distribution: no distribution comes close to the data in {poor.sum()} of {poor.size} frames"
        warnings.warn(f"{text} (reduced chi2 up to {np.nanmax(found['chi2']):.1f}); see 'status'", stacklevel=3)
    with np.errstate(invalid="ignore", divide="ignore"):
        ends = found["volume"][:, [0, 1, -2, -1]].reshape(-1, 2, 2).sum(axis=2) / found["total"][:, :1]
    for side, name, size in ((0, "smallest", sizes[0]), (1, "largest", sizes[-1])):
        many = ends[:, side] > 0.1
        if many.any():
            text = f"saxs.size_distribution: in {many.sum()} frames over 10 % of the volume lies at the {name} size"
            warnings.warn(f"{text}, {size:.4g} angstrom; widen diameters=", stacklevel=3)


def _variables(
    found: dict[str, np.ndarray], sizes: np.ndarray, ranges: Any, n_replicates: int
) -> dict[str, xr.Variable]:
    """Return the volume per bin as densities over the diameter, and what is told of each frame."""
    width = sizes * np.log(sizes[1] / sizes[0])
    dims = ("frame", "size")
    made = {"volume_distribution": quantity(dims, found["volume"] / width, "1/angstrom", "volume distribution")}
    for key in ("low", "high"):
        if key in found:
            told = f"{key} end of the 16 to 84 % band of the volume distribution"
            made[f"volume_distribution_{key}"] = quantity(dims, found[key] / width, "1/angstrom", told)
    with np.errstate(invalid="ignore", divide="ignore"):
        for power, name in ((1, "surface"), (3, "number")):
            part = found["volume"] / sizes**power
            part = part / part.sum(axis=1, keepdims=True)
            told = f"{name} distribution, of integral 1"
            made[f"{name}_distribution"] = quantity(dims, part / width, "1/angstrom", told)
        by_number = part @ sizes
    nothing = np.full_like(found["total"], np.nan)
    spread = {key: found.get(f"{key}_sigma", nothing) for key in ("total", "mean")}
    for name, key, unit, told in (
        ("volume_fraction", "total", "1", "volume fraction"),
        ("mean_diameter", "mean", "angstrom", "mean diameter by volume"),
    ):
        made.update(with_sigma(name, found[key][:, 0], spread[key][:, 0], unit, told))
        if ranges:
            made[f"range_{name}"] = quantity(("frame", "peak"), found[key][:, 1:], unit, f"{told} of a range")
            made[f"range_{name}_sigma"] = quantity(
                ("frame", "peak"), spread[key][:, 1:], unit, f"1 sigma of the {told}"
            )
    made["mean_diameter_number"] = frame_quantity(by_number, "angstrom", "mean diameter by number")
    made["background"] = frame_quantity(found["background"], "1/cm", "constant background")
    made["chi2_reduced"] = frame_quantity(found["chi2"], "1", "chi squared per point")
    made["strength"] = frame_quantity(found["alpha"], "1", "strength of the regularisation")
    made["status"] = frame_quantity(found["state"], "1", "state", flag_meanings="ok chi2_too_large no_data")
    return made
