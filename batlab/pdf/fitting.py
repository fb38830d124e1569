"""Crystal structures fitted to G(r), frame by frame."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import gcd
from typing import Any

import numpy as np
import xarray as xr

from batlab import threads
from batlab.errors import choose, refuse_unknown
from batlab.pdf.band_noise import noise_waves, spectrum_of
from batlab.pdf.calculation import check_settings, displacements
from batlab.pdf.composition import MODES
from batlab.pdf.crystal import Crystal, crystal_of, lattice, lengths_of
from batlab.pdf.curves_in import Curves, curves_of
from batlab.pdf.least_squares import Found, Problem, solve
from batlab.pdf.unknowns import CELL, VARY, Unknowns, unknowns_of
from batlab.schema import quantity, record

STARTS = ("scale", "u_iso", "delta1", "delta2", "diameter", *CELL)
UNITS = {"scale": "1", "delta1": "angstrom", "delta2": "angstrom^2", "diameter": "angstrom"}
WORDS = {
    "scale": "scale of the phase",
    "delta1": "correlated motion, 1/r",
    "delta2": "correlated motion, 1/r²",
    "diameter": "diameter of the spherical particle",
}


def fit(
    series: xr.Dataset,
    structures: Any,
    *,
    vary: Sequence[str] = ("scale", "cell", "u_iso", "delta2"),
    start: Mapping[str, float] | None = None,
    rmin: float = 1.5,
    rmax: float = 20.0,
    qmax: float | None = None,
    qdamp: float = 0.0,
    qbroad: float = 0.0,
    mode: str = "xray",
    is_sequential: bool = True,
) -> xr.Dataset:
    """Fit one or several crystal structures to every G(r) of a series.

    G(r) = Σ scale_p G_p(r), each as `pdf.calculate` makes it; weighted least squares over the points of r. Cells keep
    their crystal system, atoms their site symmetry, atoms of one element share U, which is isotropic where it varies
    and as the structure has it where it does not. The atom fraction of a phase follows from scale_p = c_p <f_p>²/<f>².
    For X-rays f is the number of electrons, so that light phases beside heavy ones come out too small: LiF beside Fe
    by half, at Qmax 25.

    Parameters
    ----------
    series
        ``g_r`` (frame, r) or (r) [1/angstrom²]; ``g_r_sigma``, if there, gives the weights.
    structures
        A CIF file or structure, or a list of them, one a phase.
    vary
        Of ``"scale"``, ``"cell"``, ``"u_iso"``, ``"positions"``, ``"delta1"``, ``"delta2"``, ``"diameter"``,
        ``"qdamp"``.
    start
        Start values for all phases: ``scale``, ``u_iso``, ``delta1``, ``delta2``, ``diameter``, ``a`` … ``gamma``.
        ``u_iso`` (by default 0.005) counts where the structure gives none. What does not vary stays there.
    rmin, rmax
        Range of r [angstrom]; rmin just below the first peak.
    qmax
        Where the data end [1/angstrom]; by default as `pdf.g_of_r` left it in the attributes, else infinitely far.
    qdamp, qbroad, mode
        As in `pdf.calculate`; measure the first two on a standard.
    is_sequential
        Whether each frame starts from the end of the last one; if not, all start alike, and threads share them.

    Returns
    -------
    xarray.Dataset
        (frame, phase): ``scale``, ``atom_fraction``, ``mole_fraction`` (of formula units), ``a`` … ``gamma``,
        ``volume``, ``delta1``, ``delta2``, ``diameter`` (infinite: bulk); (frame, site): ``u_iso``, ``fract_x`` …;
        (frame): ``rw``, ``chi2_reduced`` (with σ of the data only), ``qdamp`` if it varies, ``status`` (0 ok, 1
        at_bound, 2 not_converged, 4 no_data); ``g_fit`` (frame, r); ``correlation`` (frame, parameter,
        parameter_other). What varied has σ. Up to Qmax, neighbouring points of G(r) err alike, and σ allow for it:
        as σ of F(Q) tells where `series` has ``f_q_sigma``, else as if it were the same at all Q. Without σ of the data
        they follow from the residual.

    Raises
    ------
    ValueError
        Unknown words, fewer than two points an unknown, a structure whose own data leave no start.
    SchemaError, UnitError, DimensionError
        Without ``g_r`` over ``r`` in angstrom.

    Warns
    -----
    UserWarning
        Fits at a bound or not converged, with their number.

    References
    ----------
    C. L. Farrow et al., J. Phys.: Condens. Matter 19, 335219 (2007), doi:10.1088/0953-8984/19/33/335219.

    Examples
    --------
    >>> done = fit(bl.open("Ni.gr"), "Ni.cif", qmax=25, qdamp=0.04)  # doctest: +SKIP
    >>> float(done.a[0, 0]), float(done.rw[0])  # doctest: +SKIP
    (3.528, 0.11)
    """
    arguments = {key: value for key, value in locals().items() if key != "series"}
    name = "pdf.fit"
    choose("mode", mode, MODES)
    for word in vary:
        choose("vary", word, VARY)
    begin = dict(start or {})
    refuse_unknown(name, begin, STARTS)
    check_settings(name, qdamp=qdamp, qbroad=qbroad)
    curves = curves_of(series, "g_r", "r", name, units="angstrom", hint="make it with pdf.g_of_r")
    qmax = float(series.attrs["qmax"]) if qmax is None and "qmax" in series.attrs else qmax
    used = (curves.x >= max(rmin, 1e-6)) & (curves.x <= rmax * (1 + 1e-12))
    listed = list(structures) if isinstance(structures, (list, tuple)) else [structures]
    crystals = [crystal_of(one, name) for one in listed]
    if "u_iso" in vary:
        crystals = [one.isotropic() for one in crystals]
    u = [displacements(crystal, begin.get("u_iso", 0.005), name) for crystal in crystals]
    unknowns, values = unknowns_of(crystals, u, tuple(vary), begin, qdamp)
    if used.sum() < max(2 * len(values), 8) or not len(values):
        raise ValueError(
            f"{name}: {int(used.sum())} points between rmin {rmin:g} and rmax {rmax:g} angstrom for {len(values)} "
            "unknowns; widen the range or vary fewer"
        )
    r = np.ascontiguousarray(curves.x[used])
    problem = Problem(unknowns, r, qmax, qbroad, mode, noise_waves(r, qmax, spectrum_of(series)))
    found = _frames(problem, curves, used, values, is_sequential)
    _warn(found, name)
    result = _table(problem, curves, used, found, series)
    return record(result, name, **arguments)


def _frames(problem: Problem, curves: Curves, used: np.ndarray, values: np.ndarray, is_sequential: bool) -> list[Found]:
    data = np.asarray(curves.values)[:, used].astype(float)
    sigma = None if curves.sigma is None else np.asarray(curves.sigma)[:, used].astype(float)

    def one(number: int, begin: np.ndarray, problem: Problem = problem) -> Found:
        row = data[number]
        with np.errstate(divide="ignore"):
            weights = np.ones(len(row)) if sigma is None else 1 / sigma[number] ** 2
        good = np.isfinite(row) & np.isfinite(weights)
        if good.sum() < 2 * len(values):
            empty = np.full((len(values), len(values)), np.nan)
            return Found(np.full(len(values), np.nan), empty, np.full(len(row), np.nan), np.nan, np.nan, 4)
        return solve(problem, np.where(good, row, 0.0), np.where(good, weights, 0.0), begin)

    n_workers = min(threads.effective(), len(data))
    if not is_sequential and n_workers > 1:
        alone = problem._replace(n_threads=1)
        with ThreadPoolExecutor(n_workers) as workers:
            return list(workers.map(lambda number: one(number, values, alone), range(len(data))))
    found: list[Found] = []
    begin = values
    for number in range(len(data)):
        found.append(one(number, begin))
        begin = found[-1].values if is_sequential and found[-1].status < 2 else begin
    return found


def _warn(found: list[Found], name: str) -> None:
    for status, words in ((1, "at a bound"), (2, "not converged"), (4, "without enough points")):
        bad = [number for number, one in enumerate(found) if one.status == status]
        if bad:
            warnings.warn(
                f"{name}: {len(bad)} of {len(found)} frames {words}, first frame {bad[0]}; start nearer, vary less or "
                "look at them", UserWarning, stacklevel=3,
            )  # fmt: skip


def _table(problem: Problem, curves: Curves, used: np.ndarray, found: list[Found], series: xr.Dataset) -> xr.Dataset:
    unknowns, r = problem.unknowns, problem.r
    data = np.asarray(curves.values)[:, used].astype(float)
    # Without σ of the data, the residual tells how large it is.
    covariances = [one.covariance * (1.0 if curves.sigma is not None else one.chi2 / one.n_free) for one in found]
    values = np.array([one.values for one in found]).reshape(len(found), -1)
    sigmas = np.sqrt(np.array([np.diag(one) for one in covariances])).reshape(values.shape)
    made = _per_phase(unknowns, problem.mode, values, covariances) | _per_site(unknowns, values, sigmas)
    model = np.array([one.model for one in found]).reshape(len(found), len(r))
    with np.errstate(invalid="ignore", divide="ignore"):
        rw = np.sqrt(np.nansum((data - model) ** 2, axis=1) / np.nansum(data**2, axis=1))
        correlation = np.array(covariances).reshape(len(found), *[values.shape[1]] * 2)
        correlation = correlation / (sigmas[:, :, None] * sigmas[:, None, :])
    made["rw"] = quantity("frame", np.where(np.isfinite(model).all(axis=1), rw, np.nan), "1", "Rw of the fit")
    if curves.sigma is not None:
        chi2 = np.array([one.chi2 / one.n_free for one in found])
        made["chi2_reduced"] = quantity("frame", chi2, "1", "chi² over its degrees of freedom")
    made["status"] = quantity(
        "frame", np.array([one.status for one in found], dtype=np.int8), "1", "0 where it is well"
    )
    made["g_fit"] = quantity(("frame", "r"), model, "1/angstrom^2", "G(r) of the model")
    made["correlation"] = quantity(
        ("frame", "parameter", "parameter_other"), correlation, "1", "correlation of unknowns"
    )
    kept = series.drop_dims("r")
    if curves.is_single:
        kept = kept.expand_dims("frame") if "frame" not in kept.dims else kept
    names = np.array(unknowns.names())
    coords = {
        "r": quantity("r", r, "angstrom", "distance"),
        "phase": quantity("phase", np.array([c.phase or str(i) for i, c in enumerate(unknowns.crystals)]), "", "phase"),
        "parameter": quantity("parameter", names, "", "unknown"),
        "parameter_other": quantity("parameter_other", names, "", "unknown"),
        "label": quantity("site", np.array([x for c in unknowns.crystals for x in c.labels]), "", "label of the site"),
    }
    return kept.drop_vars([*made, *coords], errors="ignore").assign_coords(coords).assign(made)


def _per_phase(unknowns: Unknowns, mode: str, values: np.ndarray, covariances: list[np.ndarray]) -> dict[str, Any]:
    n_frames, n_phases = len(values), len(unknowns.crystals)
    table = {key: np.full((n_frames, n_phases), np.nan) for key in (*UNITS, *CELL, "volume", "atom_fraction")}
    table["mole_fraction"] = np.full((n_frames, n_phases), np.nan)
    spread = {key: np.zeros((n_frames, n_phases)) for key in table}
    per_atom, per_formula = _formulas(unknowns.crystals, mode)
    for f in range(n_frames):
        if not np.isfinite(values[f]).all():
            continue

        def numbers(at: np.ndarray) -> np.ndarray:
            rows = []
            for phase in range(n_phases):
                p = unknowns.parameters(phase, at)
                scale = unknowns.first(phase, "scale", at)
                rows.append([scale, p.delta1, p.delta2, p.diameter, *p.cell, np.abs(np.linalg.det(lattice(p.cell)))])
            every = np.array(rows)
            for per in (per_atom, per_formula):
                amount = every[:, 0] / per
                every = np.column_stack([every, amount / amount.sum()])
            return every

        here = numbers(values[f])
        slopes = []
        for i, one in enumerate(unknowns.listed):
            other = values[f].copy()
            other[i] += one.nudge
            with np.errstate(invalid="ignore"):
                slopes.append(np.nan_to_num((numbers(other) - here) / one.nudge))
        slope = np.array(slopes)
        variance = np.einsum("ipk,ij,jpk->pk", slope, covariances[f], slope)
        for k, key in enumerate(table):
            table[key][f], spread[key][f] = here[:, k], np.sqrt(np.maximum(variance[:, k], 0))
    units = {**UNITS, **dict.fromkeys("abc", "angstrom"), **dict.fromkeys(CELL[3:], "degree"), "volume": "angstrom^3"}
    words = {**WORDS, "volume": "volume of the unit cell"}
    made: dict[str, Any] = {}
    for key, numbers_ in table.items():
        unit, what = units.get(key, "1"), words.get(key, key.replace("_", " "))
        made[key] = quantity(("frame", "phase"), numbers_, unit, what)
        if (spread[key] > 0).any():
            made[f"{key}_sigma"] = quantity(("frame", "phase"), spread[key], unit, f"1 sigma of {what}")
    return made


def _formulas(crystals: Sequence[Crystal], mode: str) -> tuple[np.ndarray, np.ndarray]:
    """Return what divides scales into fractions of atoms, and of formula units."""
    per_atom, per_formula = [], []
    for crystal in crystals:
        amounts = crystal.multiplicity * crystal.occupancy
        mean = float(amounts @ lengths_of(crystal, mode)) / amounts.sum()
        counts = [round(float(amounts[np.array(crystal.elements) == e].sum())) for e in dict.fromkeys(crystal.elements)]
        units = max(gcd(*counts), 1)
        per_atom.append(mean**2)
        per_formula.append(mean**2 * amounts.sum() / units)
    return np.array(per_atom), np.array(per_formula)


def _per_site(unknowns: Unknowns, values: np.ndarray, sigmas: np.ndarray) -> dict[str, Any]:
    made: dict[str, Any] = {}
    n_frames = len(values)
    sites = [(p, s) for p, crystal in enumerate(unknowns.crystals) for s in range(len(crystal.labels))]
    table = np.full((n_frames, len(sites), 4), np.nan)
    spread = np.zeros((n_frames, len(sites), 4))
    for f in range(n_frames):
        if not np.isfinite(values[f]).all():
            continue
        for column, (phase, site) in enumerate(sites):
            p = unknowns.parameters(phase, values[f])
            table[f, column] = [p.u_iso[site], *p.fract[site]]
            crystal = unknowns.crystals[phase]
            for i in unknowns.indices(phase, "u_iso"):
                if unknowns.listed[i].name == f"u_iso_{crystal.elements[site]}":
                    spread[f, column, 0] = sigmas[f, i]
            for i in unknowns.indices(phase, "positions"):
                at, direction = map(int, unknowns.listed[i].name.rpartition("@")[2].split("/"))
                if at == site:
                    moves = crystal.free[site][direction] * sigmas[f, i]
                    spread[f, column, 1:] = np.hypot(spread[f, column, 1:], moves)
    for k, (key, unit, what) in enumerate(
        (
            ("u_iso", "angstrom^2", "isotropic mean-square displacement"),
            *((f"fract_{x}", "1", f"coordinate {x}") for x in "xyz"),
        )
    ):
        made[key] = quantity(("frame", "site"), table[:, :, k], unit, what)
        if (spread[:, :, k] > 0).any():
            made[f"{key}_sigma"] = quantity(("frame", "site"), spread[:, :, k], unit, f"1 sigma of the {what}")
    return made
