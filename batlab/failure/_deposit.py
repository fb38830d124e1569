"""How much of the positive electrode's metal lies on the negative one, by absorption spectra of both."""

from __future__ import annotations

import numpy as np
import xarray as xr

from batlab.schema import quantity, record

NEAR = (-30.0, 60.0)  # eV about the edge, where species differ: left out
LEAST = 10  # energies on either side
MU, NEGATIVE = "mu", "mu_negative"


def deposits(spectra: xr.Dataset, e0: float) -> xr.Dataset:
    """Return for every frame how much metal lies on the negative electrode, part of that in the positive one, with σ.

    Away from the edge at `e0` [eV], ``mu_negative`` is fitted by least squares with ``mu`` times that part and a
    straight line: what the metal is bound to changes its spectrum near the edge only. Both must be in the same units of
    μ; a fluorescence yield is brought to them by a film of known mass.
    """
    energy = spectra["energy"].values
    used = (energy < e0 + NEAR[0]) | (energy > e0 + NEAR[1])
    if min((energy < e0 + NEAR[0]).sum(), (energy > e0 + NEAR[1]).sum()) < LEAST:
        raise ValueError(
            f"failure.examine needs {LEAST} energies more than {-NEAR[0]:g} eV below and {NEAR[1]:g} eV above the edge "
            f"at {e0:.6g} eV for the metal on the negative electrode, got {energy.min():.6g} to {energy.max():.6g} eV"
        )
    rows = [_part(energy[used] - e0, strong[used], weak[used])
            for strong, weak in zip(spectra[MU].values, spectra[NEGATIVE].values, strict=True)]  # fmt: skip
    part, sigma = np.array(rows).reshape(-1, 2).T
    kept = {str(name): one.variable for name, one in spectra.coords.items() if one.dims in ((), ("frame",))}
    variables = {
        "metal_on_anode": quantity("frame", part, "1", "metal on the negative electrode, part of the positive one's"),
        "metal_on_anode_sigma": quantity("frame", sigma, "1", "standard uncertainty"),
    }
    return record(xr.Dataset(variables, kept, dict(spectra.attrs)), "failure.examine", found="metal on the anode")


def _part(distance: np.ndarray, strong: np.ndarray, weak: np.ndarray) -> tuple[float, float]:
    """Return the multiple of `strong` in `weak` and its σ, which is that of the scatter about the fit."""
    known = np.isfinite(strong) & np.isfinite(weak)
    if known.sum() < 2 * LEAST:
        return np.nan, np.nan
    design = np.stack([strong[known], np.ones(known.sum()), distance[known] / 100], axis=1)
    found, rest, rank, _ = np.linalg.lstsq(design, weak[known], rcond=None)
    if rank < 3:
        return np.nan, np.nan
    variance = float(rest[0]) / (known.sum() - 3) if rest.size else 0.0
    return float(found[0]), float(np.sqrt(variance * np.linalg.inv(design.T @ design)[0, 0]))
