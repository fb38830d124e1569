"""Spectra of many points on the grid of a step scan."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy.sparse import csr_array

from batlab.constants import ETOK
from batlab.errors import SchemaError
from batlab.schema import quantity, record
from batlab.xas.edge import edge_energy
from batlab.xas.grids import OWN, energies_of, same_grids

FUNCTION = "xas.rebin"


def rebin(
    series: xr.Dataset,
    *,
    e0: float | None = None,
    pre1: float | None = None,
    pre2: float = -30.0,
    pre_step: float = 2.0,
    xanes_step: float | None = None,
    exafs1: float = 15.0,
    exafs2: float | None = None,
    exafs_kstep: float = 0.05,
) -> xr.Dataset:
    """Return the series on a grid of three regions: before the edge, XANES, and EXAFS in even steps of k.

    A new point is the mean of the old ones that are nearest to it, brought from their mean energy to its own by a line
    to the next mean (larch leaves it, up to half an old step off); where there are none it is interpolated linearly
    between the two about it. Missing points are left out. With all σ equal to s the mean of n points has about s/√n.
    Frames with grids of their own (``energy_measured``) come onto one, over the range that all of them reach.

    Parameters
    ----------
    series
        Anything over ``energy`` in eV; what does not run over it is passed on.
    e0
        Edge energy in eV; without it the median of ``e0`` of `series`, or of the steepest rises of ``mu``.
    pre1, pre2, exafs1, exafs2
        Where the regions begin and end, in eV relative to E0: pre1 to pre2 before the edge, then XANES up to exafs1,
        EXAFS up to exafs2. Without pre1 and exafs2 the spectrum's ends.
    pre_step, xanes_step
        In eV; xanes_step without a word E0/25000 rounded down to 0.05 eV, at least 0.05.
    exafs_kstep
        In 1/angstrom.

    Returns
    -------
    xarray.Dataset
        Means over the new ``energy``, σ propagated from ``…_sigma``; a ``mask`` is True where any point of a bin is
        excluded. Attribute ``rebin_e0``.

    Raises
    ------
    ValueError
        Regions out of order or outside the spectrum, steps that are not positive, frames of fewer than two points.
    DimensionError, SchemaError
        Without ``energy``; energies that do not increase; a variable over ``energy`` alone where grids differ.

    References
    ----------
    B. Ravel, M. Newville, J. Synchrotron Rad. 12, 537 (2005), doi:10.1107/S0909049505012719

    Examples
    --------
    >>> energy = np.arange(8100.0, 8900.0, 0.1)
    >>> scan = xr.Dataset({"mu": quantity("energy", np.arctan(energy - 8333.0), "1", "absorption")},
    ...                   {"energy": quantity("energy", energy, "eV", "energy")})
    >>> rebin(scan, e0=8333.0).sizes["energy"] < 500
    True
    """
    energy = energies_of(series, FUNCTION)
    few = np.isfinite(energy).sum(axis=1) < 2
    if few.any():
        raise ValueError(f"{FUNCTION}: frame {few.argmax()} has fewer than two energies; leave it out with isel")
    first, last = float(np.nanmin(energy, axis=1).max()), float(np.nanmax(energy, axis=1).min())
    if e0 is None:
        e0 = float(np.nanmedian((series if "e0" in series else edge_energy(series))["e0"].values))
    if not first < e0 < last:
        raise ValueError(f"{FUNCTION}: e0 = {e0:g} eV lies outside the spectrum, {first:g} to {last:g} eV")
    step = 0.05 * max(1, int(e0 / 1250.0)) if xanes_step is None else xanes_step
    # Even steps from E0 on, so that spectra that begin elsewhere have common points.
    start = pre_step * int((first - e0) / pre_step) if pre1 is None and pre_step > 0 else pre1
    ends = (start, pre2, exafs1, last - e0 if exafs2 is None else exafs2)
    new = e0 + three_regions(ends, (pre_step, step, exafs_kstep), (first - e0, last - e0))
    grids = [(points, frames, _Map.of(energy[frames[0], points], new)) for points, frames in same_grids(energy)]
    variables = {
        str(name): _over_grids(str(name), variable, grids) if "energy" in variable.dims else variable
        for name, variable in series.variables.items()
        if name not in ("energy", OWN)
    }
    told = "photon energy" if OWN in series.variables else series["energy"].attrs.get("long_name", "photon energy")
    coords = {str(name): variables.pop(str(name)) for name in series.coords if str(name) in variables}
    coords["energy"] = quantity("energy", new, "eV", told)
    result = xr.Dataset(variables, coords, dict(series.attrs) | {"rebin_e0": float(e0)})
    return record(
        result, FUNCTION, e0=e0, pre1=pre1, pre2=pre2, pre_step=pre_step, xanes_step=step, exafs1=exafs1, exafs2=exafs2,
        exafs_kstep=exafs_kstep,
    )  # fmt: skip


def three_regions(
    ends: tuple[float | None, float, float, float], steps: tuple[float, float, float], limits: tuple[float, float]
) -> np.ndarray:
    """Return energies relative to E0: even steps before pre2 and up to exafs1, even steps of k beyond."""
    if not all(np.isfinite(step) and step > 0 for step in steps):
        raise ValueError(f"{FUNCTION}: pre_step, xanes_step and exafs_kstep must be positive, got {steps}")
    first, second, third, last = ends[0], ends[1], ends[2], ends[3]
    if first is None or not first < second < third < last or third <= 0:
        raise ValueError(f"{FUNCTION}: pre1 < pre2 < exafs1 < exafs2 and exafs1 > 0 are needed, got {ends} eV about E0")
    if second <= limits[0] or third >= limits[1]:
        raise ValueError(
            f"{FUNCTION}: XANES from {second:g} to {third:g} eV about E0 must lie inside the spectrum, "
            f"{limits[0]:.1f} to {limits[1]:.1f} eV; pass other pre2 and exafs1"
        )
    first, last = max(first, limits[0]), min(last, limits[1])

    def even(start: float, stop: float, step: float) -> np.ndarray:
        return np.linspace(start, stop, 1 + max(1, int(0.1 + (stop - start) / step)))

    k = even(np.sqrt(ETOK * third), np.sqrt(ETOK * last), steps[2])
    return np.concatenate([even(first, second, steps[0])[:-1], even(second, third, steps[1])[:-1], k**2 / ETOK])


class _Map(NamedTuple):
    """How one old grid becomes the new one."""

    old: np.ndarray
    new: np.ndarray
    weights: csr_array
    between: tuple[np.ndarray, np.ndarray]

    @classmethod
    def of(cls, old: np.ndarray, new: np.ndarray) -> _Map:
        return cls(old, new, _weights(old, new), _between(old, new))


def _over_grids(name: str, variable: xr.Variable, grids: list[tuple[np.ndarray, np.ndarray, _Map]]) -> xr.Variable:
    """Return a variable on the new grid; each of the old ones has its points and its frames."""
    if len(grids) == 1:
        return _binned(name, variable.isel(energy=grids[0][0]), grids[0][2])
    if "frame" not in variable.dims:
        raise SchemaError(f"{FUNCTION}: grids differ from frame to frame, but {name!r} has no frames; drop it")
    parts = [_binned(name, variable.isel(frame=frames, energy=points), way) for points, frames, way in grids]
    order = np.argsort(np.concatenate([frames for _, frames, _ in grids]))
    return xr.Variable.concat(parts, "frame").isel(frame=order)


def _weights(old: np.ndarray, new: np.ndarray) -> csr_array:
    """Return (new, old): 1 where an old point is nearest to the new one."""
    middles = 0.5 * (new[1:] + new[:-1])
    ends = (1.5 * new[0] - 0.5 * new[1], 1.5 * new[-1] - 0.5 * new[-2])
    inside = np.flatnonzero((old >= ends[0]) & (old <= ends[1]))
    owner = np.searchsorted(middles, old[inside], side="right")
    return csr_array((np.ones(len(inside)), (owner, inside)), shape=(len(new), len(old)))


def _between(old: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    left = np.clip(np.searchsorted(old, new, side="right") - 1, 0, len(old) - 2)
    return left, np.clip((new - old[left]) / (old[left + 1] - old[left]), 0.0, 1.0)


def _binned(name: str, variable: xr.Variable, way: _Map) -> xr.Variable:
    order = [*[dim for dim in variable.dims if dim != "energy"], "energy"]
    values = np.asarray(variable.transpose(*order).values)
    flat = values.reshape(-1, values.shape[-1]).T.astype(float)
    known = np.isfinite(flat)
    filled, n = np.where(known, flat, 0.0), way.weights @ known.astype(float)
    (left, part), is_sigma = way.between, name.endswith("_sigma")
    part = part[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        if name.endswith("mask"):
            binned = (way.weights @ filled > 0) | ((n == 0) & ((flat[left] > 0) | (flat[left + 1] > 0)))
        elif is_sigma:
            alone = np.hypot((1 - part) * flat[left], part * flat[left + 1])
            binned = np.where(n > 0, np.sqrt(way.weights @ filled**2) / n, alone)
        else:
            binned = np.where(n > 0, (way.weights @ filled) / n, (1 - part) * flat[left] + part * flat[left + 1])
        if not name.endswith("mask"):
            centres = np.where(n > 0, (way.weights @ (known * way.old[:, None])) / n, way.new[:, None])
            binned = _centred(binned, centres, way.new, is_sigma)
    kind = values.dtype if values.dtype.kind == "f" else binned.dtype
    shaped = binned.T.reshape(*values.shape[:-1], -1).astype(kind, copy=False)
    return xr.Variable(order, shaped, variable.attrs).transpose(*variable.dims)


def _centred(means: np.ndarray, centres: np.ndarray, new: np.ndarray, is_sigma: bool) -> np.ndarray:
    """Return means (new, row) of points about `centres` at the new energies, by a line to the neighbour beyond.

    The points nearest to a new energy lie about it unevenly: of a scan with steps like the new ones all may lie half a
    step to one side, and the spectrum would be moved by as much.
    """
    gap = new[:, None] - centres
    row = np.arange(len(new))[:, None]
    beyond = np.clip(row + np.sign(gap).astype(int), 0, len(new) - 1)
    reach = np.take_along_axis(centres, beyond, 0) - centres
    part = np.divide(gap, reach, out=np.zeros_like(gap), where=reach != 0)
    other = np.take_along_axis(means, beyond, 0)
    part = np.where(np.isfinite(other), part, 0.0)
    other = np.where(np.isfinite(other), other, 0.0)
    return np.hypot((1 - part) * means, part * other) if is_sigma else (1 - part) * means + part * other
