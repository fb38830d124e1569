"""Structure factors and the fine one-dimensional powder pattern of a crystal.

Independent of the analysis on purpose: reflections come from a plain sum over all h, k, l, not from symmetry.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from batlab.constants import HC
from batlab.simulate.structures import Structure


@dataclass(frozen=True)
class Reflections:
    """Families of reflections with one d-spacing each.

    `first` and `second` are the quadratic forms: ``1/d**2 = first * 4/(3 a**2) + second / c**2`` (hexagonal) or
    ``first / a**2`` (cubic); `strength` is the sum of |F|^2 over the family in electrons^2 per cell^2.
    """

    first: np.ndarray
    second: np.ndarray
    strength: np.ndarray
    hkl: tuple[str, ...]

    def d(self, structure: Structure) -> np.ndarray:
        """Return the spacings in angstrom for the cell of `structure`."""
        if structure.is_cubic:
            return structure.a / np.sqrt(self.first)
        return 1 / np.sqrt(self.first * 4 / (3 * structure.a**2) + self.second / structure.c**2)


def reflections(structure: Structure, *, wavelength: float, q_max: float) -> Reflections:
    """Return the allowed families of `structure` up to `q_max` (1/angstrom), strongest spelling first.

    F = sum of occupancy (f0 + f1 + i f2) exp(2 pi i h r) exp(-8 pi^2 u s^2), s = 1/(2d), over the whole cell; f0 after
    Waasmaier and Kirfel (10.1107/S0108767394013292), f1 and f2 after Chantler, both through xraydb. `wavelength` is in
    angstrom.
    """
    hkl = _all_indices(structure, q_max)
    h, k, l = hkl.T  # noqa: E741
    if structure.is_cubic:
        first, second = h * h + k * k + l * l, np.zeros_like(h)
    else:
        first, second = h * h + h * k + k * k, l * l
    family = Reflections(first, second, np.ones(len(h)), ())
    s = 0.5 / family.d(structure)
    keep = (s > 0) & (4 * np.pi * s <= q_max)
    hkl, first, second, s = hkl[keep], first[keep], second[keep], s[keep]
    intensity = np.abs(_structure_factor(structure, hkl, s, HC / wavelength)) ** 2
    keys, where = np.unique(np.stack([first, second]), axis=1, return_inverse=True)
    strength = np.bincount(where.ravel(), weights=intensity, minlength=keys.shape[1])
    allowed = np.flatnonzero(strength > 1e-6 * strength.max())
    names = [_name(hkl[where.ravel() == index], intensity[where.ravel() == index]) for index in allowed]
    return Reflections(keys[0][allowed], keys[1][allowed], strength[allowed], tuple(names))


def pattern(
    structure: Structure,
    lines: Reflections,
    two_theta: np.ndarray,
    *,
    wavelength: float,
    fwhm: float,
    microstrain: float,
    reach: float = 60.0,
) -> np.ndarray:
    """Return the scattering of one phase per solid angle on the fine grid `two_theta` (degree), arbitrary scale.

    Per family: strength / V^2 / (sin theta sin 2 theta), spread by a pseudo-Voigt (a third Lorentzian) in 2 theta. The
    width in degree is `fwhm` (instrument) and 4 `microstrain` tan theta added in squares. No polarisation, no pixel:
    the detector adds them. A profile ends `reach` widths from its centre.
    """
    sine = wavelength / (2 * lines.d(structure))
    theta = np.arcsin(sine[sine < np.sin(np.deg2rad(two_theta[-1] / 2 + 0.5))])
    weight = lines.strength[sine < np.sin(np.deg2rad(two_theta[-1] / 2 + 0.5))] / structure.volume**2
    weight = weight / (np.sin(theta) * np.sin(2 * theta))
    widths = np.hypot(fwhm, np.rad2deg(4 * microstrain * np.tan(theta)))
    total = np.zeros_like(two_theta)
    for centre, area, width in zip(np.rad2deg(2 * theta), weight, widths):
        low, high = np.searchsorted(two_theta, (centre - reach * width, centre + reach * width))
        total[low:high] += area * _pseudo_voigt(two_theta[low:high] - centre, width)
    return total


def _pseudo_voigt(distance: np.ndarray, fwhm: float, lorentzian: float = 1 / 3) -> np.ndarray:
    """Unit area; `lorentzian` is the Lorentzian's share."""
    squared = (2 * distance / fwhm) ** 2
    gauss = np.exp(-np.log(2) * squared) * (2 / fwhm * np.sqrt(np.log(2) / np.pi))
    return (1 - lorentzian) * gauss + lorentzian * (2 / (np.pi * fwhm)) / (1 + squared)


def _all_indices(structure: Structure, q_max: float) -> np.ndarray:
    reach = [int(np.ceil(q_max * length / (2 * np.pi))) + 1 for length in (structure.a, structure.a, structure.c)]
    grids = np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij")
    every = np.stack([grid.ravel() for grid in grids], axis=1)
    return every[np.any(every != 0, axis=1)]


def _structure_factor(structure: Structure, hkl: np.ndarray, s: np.ndarray, energy: float) -> np.ndarray:
    import gemmi
    import xraydb

    operations = list(gemmi.SpaceGroup(structure.space_group).operations())
    total = np.zeros(len(hkl), dtype=complex)
    scattering: dict[str, np.ndarray] = {}
    for site in structure.sites:
        if site.element not in scattering:
            anomalous = xraydb.f1_chantler(site.element, energy) + 1j * xraydb.f2_chantler(site.element, energy)
            scattering[site.element] = xraydb.f0(site.element, s) + anomalous
        images = np.array([op.apply_to_xyz(list(site.fract)) for op in operations]) % 1.0
        images = np.unique(np.round(images, 5) % 1.0, axis=0)
        phase = np.exp(2j * np.pi * (hkl @ images.T)).sum(axis=1)
        damping = np.exp(-8 * np.pi**2 * site.u_iso * s**2)
        total += site.occupancy * scattering[site.element] * damping * phase
    return total


def _name(hkl: np.ndarray, intensity: np.ndarray) -> str:
    """Return the usual spelling: the strongest, non-negative where it can be, largest first index."""
    strong = hkl[intensity > 0.5 * intensity.max()]
    order = sorted(strong.tolist(), key=lambda index: (sum(value < 0 for value in index), [-value for value in index]))
    return " ".join(str(value) for value in order[0])
