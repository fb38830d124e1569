"""Total scattering of planted crystals and particles, far out in Q, counted photon by photon.

Independent of the analysis on purpose: Debye's sum over pairs of atoms with the atoms' own form factors in Q, where
the analysis works in r with numbers of electrons.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from batlab import io
from batlab.schema import check, quantity, record
from batlab.simulate.crystals import crystal

STEP = 0.01  # angstrom, of the histogram of pairs
HIGHEST_Q = 40.0  # 1/angstrom: the histogram's step then errs by (Q step / 2 pi)^4 = 2e-5 of a pair
REACH = 4.3  # over qdamp: pairs that the resolution leaves 1e-4 of
ROWS = 1000  # of the matrix of sines at a time


class _Atoms(NamedTuple):
    """One structure's pairs: how many at each r, by the elements of their ends."""

    elements: list[str]
    share: np.ndarray  # (element,)
    u: np.ndarray  # (element,) angstrom^2
    per_volume: float  # atoms/angstrom^3
    histogram: np.ndarray  # (element, element, r): partners at r of an average atom of all, over r
    nearest: float  # angstrom


def total_scattering(
    structures: Any,
    *,
    diameters: Any = None,
    fractions: Any = None,
    q: Any = None,
    u_iso: float | None = None,
    qdamp: float = 0.04,
    scale: float = 1.0,
    background: float = 20.0,
    counts: float = 1e9,
    seed: int = 0,
) -> tuple[xr.Dataset, xr.Dataset]:
    """Return X-ray patterns of a series of mixtures of crystalline particles, and what was planted, apart.

    I(Q) = scale [Σ x_p (<f²>_p + Compton_p + Σ f_i f_j exp(-(U_i + U_j) Q²/2) sin(Qr)/(Qr) s(r) e(r)) + background],
    the sum over all pairs less the mean density; s(r) = 1 - 3/2 (r/d) + 1/2 (r/d)³ cuts a ball of diameter d out of
    the crystal, e(r) = exp(-(qdamp r)²/2). Form factors are Waasmaier and Kirfel's (xraydb), Compton scattering rises
    to Z along one curve for all atoms, the background falls from `background` with two lengths in Q. What small angles
    see of the particles is left out (`small_angle` has it); so are polarization, absorption and the container. The
    detector counts photons in rings, in proportion to Q ΔQ.

    Parameters
    ----------
    structures
        A name of `crystal`, a CIF file, what ``io.structure`` makes of one, or a list of these: one a phase.
    diameters
        Of the particles in angstrom: None (bulk), one number, (frame,) or (frame, phase); infinite is bulk.
    fractions
        Parts of all atoms that belong to each phase, (phase,) or (frame, phase), each frame adding up to 1; by default
        equal parts. For one phase it may be left out.
    q
        In 1/angstrom; by default 0.5 to 25 in steps of 0.01. At most 40.
    u_iso
        Mean-square displacement of all atoms in angstrom²; by default each structure's own, else 0.006.
    qdamp
        Resolution in 1/angstrom, 0.01 to 0.2.
    scale
        Intensity over electron units per atom.
    background
        At Q = 0, in electron units.
    counts
        Photons of the first frame, all rings together; others in proportion. Infinite: no noise.
    seed
        Of the noise.

    Returns
    -------
    patterns, truth
        ``intensity`` and σ (frame, q), attribute ``composition`` of the first frame. ``diameter``, ``fraction`` (frame,
        phase); ``a``, ``bond`` (phase), the shortest distance [angstrom]; ``s_q`` (frame, q) without noise.

    Raises
    ------
    ValueError
        Shapes that do not fit, fractions that do not add up, numbers out of range, unknown names.

    Examples
    --------
    >>> patterns, truth = total_scattering(["Fe", "LiF"], diameters=[15.0, 25.0], fractions=(1 / 3, 2 / 3))
    >>> patterns["intensity"].shape, truth["bond"].values.round(2).tolist()
    ((2, 2451), [2.48, 2.01])
    """
    listed = list(structures) if isinstance(structures, (list, tuple)) else [structures]
    tables = [crystal(one) if isinstance(one, str) and "." not in one else io.structure(one) for one in listed]
    x = 0.5 + 0.01 * np.arange(2451) if q is None else np.asarray(q, float)
    if x.ndim != 1 or x.size < 8 or not 0 < x[0] <= x[-1] <= HIGHEST_Q or (np.diff(x) <= 0).any():
        raise ValueError(f"q must rise from above 0 to at most {HIGHEST_Q:g} in at least 8 steps, got {q!r:.60}")
    if not 0.01 <= qdamp <= 0.2 or not scale > 0 or not 0 <= background < np.inf or not counts > 0:
        raise ValueError(
            f"qdamp must be 0.01 to 0.2, scale and counts above 0, background 0 or more, got {qdamp}, {scale}, "
            f"{counts}, {background}"
        )
    sizes, parts = _series(diameters, fractions, len(tables))
    # Also of the smallest particles the nearest neighbours are told.
    reach = np.clip(sizes.max(axis=0), 6.0, REACH / qdamp)
    phases = [_atoms(table, u_iso, float(far)) for table, far in zip(tables, reach)]
    expected, s_q = _intensity(phases, sizes, parts, x, qdamp)
    expected = scale * (expected + background * (0.6 * np.exp(-x / 7) + 0.4 * np.exp(-((x / 18) ** 2))))
    rings = x * np.gradient(x)
    gain = counts / np.sum(expected[0] * rings)
    counted = expected * rings * gain
    if np.isfinite(gain):
        counted = np.random.default_rng(seed).poisson(counted)
        measured, sigma = counted / (rings * gain), np.sqrt(np.maximum(counted, 1)) / (rings * gain)
    else:
        measured, sigma = expected, np.zeros_like(expected)
    coords = {
        "frame": quantity("frame", np.arange(len(sizes)), "1", "frame"),
        "q": quantity("q", x, "1/angstrom", "scattering vector"),
    }
    made = {
        "intensity": quantity(("frame", "q"), measured, "1", "scattered intensity"),
        "intensity_sigma": quantity(("frame", "q"), sigma, "1", "1 sigma of the intensity"),
    }
    names = [str(table.attrs.get("phase") or number) for number, table in enumerate(tables, 1)]
    told: dict[str, Any] = {"scale": scale, "background": background, "qdamp": qdamp, "counts": counts, "seed": seed}
    patterns = xr.Dataset(made, coords, {"composition": _composition(phases, parts[0])})
    truth = _truth(tables, phases, sizes, parts, s_q).assign_coords(
        coords | {"phase": quantity("phase", np.array(names), "", "phase")}
    )
    name = "simulate.total_scattering"
    return record(check(patterns), name, **told), record(check(truth), name, **told)


def _truth(
    tables: Sequence[xr.Dataset], phases: Sequence[_Atoms], sizes: np.ndarray, parts: np.ndarray, s_q: np.ndarray
) -> xr.Dataset:
    edges = np.array([float(table["a"]) for table in tables])
    return xr.Dataset({
        "diameter": quantity(("frame", "phase"), sizes, "angstrom", "planted diameter of the particles"),
        "fraction": quantity(("frame", "phase"), parts, "1", "planted part of all atoms"),
        "a": quantity("phase", edges, "angstrom", "planted cell edge"),
        "bond": quantity("phase", np.array([one.nearest for one in phases]), "angstrom", "planted shortest distance"),
        "s_q": quantity(("frame", "q"), s_q, "1", "planted S(Q)"),
    })  # fmt: skip


def _series(diameters: Any, fractions: Any, n_phases: int) -> tuple[np.ndarray, np.ndarray]:
    """Return diameters and fractions over (frame, phase)."""
    d = np.asarray(np.inf if diameters is None else diameters, float)
    d = d[:, None] if d.ndim == 1 else np.atleast_2d(d)
    x = np.full(n_phases, 1 / n_phases) if fractions is None else np.asarray(fractions, float)
    x = np.atleast_2d(x)
    try:
        d, x = np.broadcast_arrays(d, x)
    except ValueError:
        raise ValueError(
            f"diameters {d.shape} and fractions {x.shape} must agree in frames and phases, of which there are "
            f"{n_phases}"
        ) from None
    if d.ndim != 2 or d.shape[1] != n_phases:
        raise ValueError(f"diameters and fractions must be over (frame, phase) with {n_phases} phases, got {d.shape}")
    if not (d > 0).all() or not (x >= 0).all() or not np.allclose(x.sum(axis=1), 1, atol=1e-6):
        raise ValueError("diameters must be above 0 in angstrom and fractions 0 or more, each frame adding up to 1")
    return d.copy(), x.copy()


def _atoms(table: xr.Dataset, u_iso: float | None, reach: float) -> _Atoms:
    import gemmi

    cell = gemmi.UnitCell(*(float(table[key]) for key in ("a", "b", "c", "alpha", "beta", "gamma")))
    # Fractional coordinates times `rows` are cartesian.
    rows = np.array(cell.orth.mat.tolist()).T
    operations = list(gemmi.SpaceGroup(str(table.attrs["space_group"])).operations())
    names = [str(one) for one in table["element"].values]
    elements = list(dict.fromkeys(names))
    places, kind, weight, centres = [], [], [], []
    fract = np.stack([table[f"fract_{axis}"].values for axis in "xyz"], axis=1)
    for name, place, occupancy in zip(names, fract, table["occupancy"].values):
        images = np.array([one.apply_to_xyz(place.tolist()) for one in operations]) % 1.0
        images = images[np.unique(np.round(images, 4) % 1.0, axis=0, return_index=True)[1]]
        centres.append((images[0], elements.index(name), occupancy * len(images)))
        places.append(images)
        kind += [elements.index(name)] * len(images)
        weight += [occupancy] * len(images)
    every, kinds, weights = np.concatenate(places), np.array(kind), np.array(weight, float)
    n_atoms = weights.sum()
    share = np.bincount(kinds, weights, len(elements)) / n_atoms
    stated = table["u_iso"].values.astype(float)
    own = np.array([np.nanmean([u for u, n in zip(stated, names) if n == e] or [np.nan]) for e in elements])
    u = np.full(len(elements), u_iso) if u_iso is not None else np.where(np.isfinite(own), own, 0.006)
    if not (u > 0).all():
        raise ValueError(f"u_iso must be above 0 angstrom^2, got {u.tolist()}")
    n_r = int(reach / STEP) + 4
    histogram, nearest = np.zeros((len(elements), len(elements), n_r)), np.inf
    # As many cells as the planes' distances ask for.
    counts = np.ceil(reach * np.linalg.norm(np.linalg.inv(rows), axis=0)).astype(int) + 1
    shifts = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in counts), indexing="ij"), axis=-1).reshape(-1, 3)
    lattice = shifts @ rows
    for centre, one, amount in centres:
        for place, other, part in zip(every, kinds, weights):
            r = np.linalg.norm(lattice + (place - centre) @ rows, axis=1)
            r = r[(r > 1e-3) & (r < reach)]
            nearest = min(nearest, float(r.min(initial=np.inf)))
            _spread(histogram[one, other], r, amount * part / n_atoms)
    return _Atoms(elements, share, u, float(n_atoms / cell.volume), histogram, nearest)


def _spread(histogram: np.ndarray, r: np.ndarray, weight: float) -> None:
    """Add 1/r of pairs at r to the even grid by cubic B-splines, whose transform is known."""
    at = np.floor(r / STEP).astype(int)
    t = r / STEP - at
    splines = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    for offset, values in zip((-1, 0, 1, 2), splines):
        histogram += np.bincount(at + offset, values / r, len(histogram)) * (weight / 6)


def _intensity(
    phases: Sequence[_Atoms], sizes: np.ndarray, parts: np.ndarray, q: np.ndarray, qdamp: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the intensity per atom without background, and S(Q), (frame, q)."""
    total, mean, square = np.zeros((3, len(sizes), len(q)))
    coherent = np.zeros((len(sizes), len(q)))
    for number, one in enumerate(phases):
        f = np.array([_form_factor(element, q) for element in one.elements])
        compton = one.share @ np.array([_compton(element, q) for element in one.elements])
        found, where = np.unique(sizes[:, number], return_inverse=True)
        waves = _waves(one, found, f, q, qdamp)[where.ravel()]
        part = parts[:, number, None]
        coherent += part * (one.share @ f**2 + waves)
        total += part * compton
        mean += part * (one.share @ f)
        square += part * (one.share @ f**2)
    s_q = (coherent - square + mean**2) / mean**2
    return total + coherent, s_q


def _waves(one: _Atoms, diameters: np.ndarray, f: np.ndarray, q: np.ndarray, qdamp: float) -> np.ndarray:
    """Return what pairs add to the intensity of an average atom, (diameter, q)."""
    r = STEP * np.arange(one.histogram.shape[-1])
    ratio = np.minimum(r / diameters[:, None], 1.0)
    kept = (1 - 1.5 * ratio + 0.5 * ratio**3) * np.exp(-((qdamp * r) ** 2) / 2)
    n = len(one.elements)
    mean_density = 4 * np.pi * one.per_volume * r * STEP * np.multiply.outer(one.share, one.share)[..., None]
    pairs = [(a, b) for a in range(n) for b in range(n)]
    held = np.stack([kept * (one.histogram[a, b] - mean_density[a, b]) for a, b in pairs])
    sums = np.zeros((len(pairs), len(diameters), len(q)))
    for start in range(1, len(r), ROWS):
        rows = slice(start, start + ROWS)
        sums += held[:, :, rows] @ np.sin(np.outer(r[rows], q))
    sums /= q * np.sinc(q * STEP / (2 * np.pi)) ** 4
    out = np.zeros((len(diameters), len(q)))
    for (a, b), part in zip(pairs, sums):
        out += f[a] * f[b] * np.exp(-(one.u[a] + one.u[b]) * q**2 / 2) * part
    return out


def _form_factor(element: str, q: np.ndarray) -> np.ndarray:
    import xraydb

    return np.asarray(xraydb.f0(element, q / (4 * np.pi)), float)


def _compton(element: str, q: np.ndarray) -> np.ndarray:
    """Return an atom's inelastic scattering: one curve of Q/Z^(2/3) for all, as in the atom of Thomas and Fermi.

    Its two numbers follow Hubbell's tables within 0.1 Z from Li to Pt, Ni's within 0.02 Z.
    """
    import xraydb

    z = xraydb.atomic_number(element)
    ratio = (q / (0.75 * z ** (2 / 3))) ** 1.37
    return np.asarray(z * ratio / (1 + ratio))


def _composition(phases: Sequence[_Atoms], parts: np.ndarray) -> str:
    amounts: dict[str, float] = {}
    for one, part in zip(phases, parts):
        for element, share in zip(one.elements, one.share):
            amounts[element] = amounts.get(element, 0.0) + part * share
    return " ".join(f"{element}{amount:.6g}" for element, amount in amounts.items() if amount > 0)
