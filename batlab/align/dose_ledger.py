"""How much X-ray dose each spot has had: an upper bound, kept as a ledger."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from batlab.constants import ELEMENTARY_CHARGE, HC
from batlab.errors import DimensionError, SchemaError
from batlab.schema import quantity, record, require

NOT_ASSESSED = "dose not assessed"
ENERGIES = (100.0, 800_000.0)  # eV, where the tables of xraydb (Elam) hold
MOST_SPOTS = 4  # that a statement names one by one


def dose(
    series: xr.Dataset,
    *,
    flux: Any,
    beam_size: tuple[float, float],
    composition: str,
    density: float,
    thickness: float,
    energy: Any = None,
    before: float | Mapping[Any, float] | xr.Dataset = 0.0,
) -> xr.Dataset:
    """Return the series with the dose that each frame's spot has had by the end of its exposure: an upper bound.

    Every photon that the sample takes out of the beam, by whatever process, is counted as absorbed with all its energy:
    ``dose rate = Φ E (1 - exp(-μ t)) / (ρ t A)``, with μ the total attenuation, ρ t A the irradiated mass. Scattered
    and fluorescent photons that leave carry energy away, so that the true mean dose is smaller, at high energy by
    much. It is the mean over the depth: where μ t is not small the entrance face gets up to μ t / (1 - exp(-μ t)) times
    as much, which ``dose_rate_front`` tells.

    Parameters
    ----------
    series
        Over ``frame`` in the order of exposure, with ``exposure`` [s], or ``beam_on`` [s] where the shutter was open
        for longer (between frames, while aligning). ``spot`` (frame), numbers or words, says which spot each frame
        exposed; without it there is one. Series that exposed the same spots are joined along ``frame`` first, or
        given one after the other through `before`.
    flux
        Photons per second on the sample, behind the windows; one number or one a frame. NaN: not known.
    beam_size
        Width and height of the beam at the sample [mm], of a beam taken as even; spots must not overlap.
    composition
        Chemical formula of what is irradiated, ``"LiNi0.8Co0.1Mn0.1O2"``.
    density, thickness
        In g/cm³ and µm along the beam. Only their product counts: a porous electrode may be given by its own density.
    energy
        Photon energy [eV], one number or one a frame. By default from the attribute ``wavelength``, or for spectra the
        mean over their energies, each with the same time.
    before
        Dose [Gy] that the spots had before the first frame: one number, ``{spot: dose}``, or an earlier result.

    Returns
    -------
    xarray.Dataset
        The series with the coordinates ``dose`` [Gy] (frame), summed over all exposures of the frame's spot up to the
        end of this one, ``dose_rate`` and ``dose_rate_front`` [Gy/s] (frame), and the attribute ``dose_statement``.
        ``result.dose.groupby("spot").max()`` is what each spot got. Behind a frame of unknown flux or exposure the dose
        of its spot is NaN.

    Raises
    ------
    DimensionError, SchemaError
        No frames; ``spot``, ``flux`` or ``energy`` that are not one a frame.
    ValueError
        No exposure, no energy, a formula that cannot be read, numbers out of range.

    Warns
    -----
    UserWarning
        Frames of unknown flux or exposure.

    Notes
    -----
    μ is Elam, Ravel and Sieber's (10.1016/S0969-806X(01)00227-4) through xraydb, 100 eV to 800 keV. Dose is in Gy of
    the material that is named: another phase in the beam (binder, electrolyte) has its own.

    Examples
    --------
    >>> frame = quantity("frame", [0, 1], "1", "frame")
    >>> exposure = quantity("frame", [10.0, 10.0], "s", "exposure")
    >>> known = dose(xr.Dataset(coords={"frame": frame, "exposure": exposure}), flux=1e11, beam_size=(0.5, 0.5),
    ...              energy=25e3, composition="LiNi0.8Co0.1Mn0.1O2", density=4.7, thickness=30.0)
    >>> known.dose_rate.values.round().tolist(), (known.dose.values / 1e3).round(1).tolist()
    ([1510.0, 1510.0], [15.1, 30.2])
    """
    require(series, "align.dose", "frame")
    width, height = _sizes(beam_size)
    photons = _one_a_frame("flux", flux, series)
    if (photons < 0).any():
        raise ValueError(f"flux must be photons per second, at least 0, got {np.nanmin(photons):g}")
    of_mean, of_front = _per_photon(series, energy, composition, density, thickness)
    on_area = photons / (width * height)  # per s and mm²
    rate, front = on_area * of_mean, on_area * of_front
    spots = spots_of(series, "align.dose")
    total = _sums(rate * _beam_on(series), spots, _dose_before(before, spots))
    result = series.assign_coords(
        dose=quantity("frame", total, "Gy", "dose of the spot by the end of the exposure, upper bound"),
        dose_rate=quantity("frame", rate, "Gy/s", "dose rate, mean over the depth, upper bound"),
        dose_rate_front=quantity("frame", front, "Gy/s", "dose rate at the entrance face, upper bound"),
    )
    result.attrs["dose_statement"] = _statement(total, rate, front, spots, composition, thickness)
    told = {"energy": energy, "composition": composition, "density": density, "thickness": thickness, "before": before}
    return record(result, "align.dose", flux=flux, beam_size=tuple(beam_size), **told)


def statement_of(obj: Any) -> str:
    """Return what `obj` says of its X-ray dose (attribute ``dose_statement``), or that none was assessed.

    >>> statement_of(xr.Dataset()), statement_of(xr.Dataset(attrs={"dose_statement": "laboratory tube, below 1 kGy"}))
    ('dose not assessed', 'laboratory tube, below 1 kGy')
    """
    told = str(getattr(obj, "attrs", {}).get("dose_statement", "")).strip()
    return told or NOT_ASSESSED


def spots_of(series: xr.Dataset, function: str, name: str = "spot") -> np.ndarray:
    """Return the label of each frame's spot; one label for all where the series has none of that name."""
    if name not in series.variables:
        return np.zeros(series.sizes["frame"], dtype=int)
    labels = series[name]
    if labels.dims != ("frame",):
        raise DimensionError(f"{function} needs {name!r} over ('frame',), got {tuple(map(str, labels.dims))}")
    values = np.asarray(labels.values)
    if values.dtype.kind == "O":
        values = values.astype(str)
    if values.dtype.kind == "f" and np.isnan(values).any():
        raise SchemaError(f"{name!r} is missing in frame {int(np.argmax(np.isnan(values)))}; say which spot it exposed")
    return values


def as_gray(value: float) -> str:
    """Return a dose in words: ``"1.51 kGy"``.

    >>> as_gray(1510.4), as_gray(2.5e6), as_gray(float("nan"))
    ('1.51 kGy', '2.5 MGy', 'unknown dose')
    """
    if not np.isfinite(value):
        return "unknown dose"
    for size, unit in ((1e9, "GGy"), (1e6, "MGy"), (1e3, "kGy")):
        if abs(value) >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g} Gy"


def _per_photon(
    series: xr.Dataset, energy: Any, composition: str, density: float, thickness: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the dose of one photon per mm² [Gy mm²], mean over the depth and at the front, for each frame or all."""
    for name, value in (("density", density), ("thickness", thickness)):
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be a number above 0, got {value!r}")
    electronvolts = _energies(series, energy)
    known = electronvolts[np.isfinite(electronvolts)]
    if known.size and not (known.min() >= ENERGIES[0] and known.max() <= ENERGIES[1]):
        raise ValueError(
            f"energy must be photon energies in eV, {ENERGIES[0]:g} to {ENERGIES[1]:g}, got {known.min():g} to "
            f"{known.max():g}; keV are converted by a factor of 1000"
        )
    each, back = np.unique(electronvolts, return_inverse=True)
    attenuation = _attenuation(composition, each, density)[back].reshape(electronvolts.shape)  # 1/mm
    depth = thickness * 1e-3
    per_mass = electronvolts * ELEMENTARY_CHARGE / (density * 1e-6)  # J/kg of one photon in 1 mm³
    mean = per_mass * -np.expm1(-attenuation * depth) / depth
    return mean.mean(axis=1), (per_mass * attenuation).mean(axis=1)


def _attenuation(composition: str, energies: np.ndarray, density: float) -> np.ndarray:
    import xraydb

    try:
        parts = xraydb.chemparse(composition)
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"composition must be a formula such as 'LiNi0.8Co0.1Mn0.1O2', got {composition!r}") from error
    if not parts:
        raise ValueError("composition must be a formula such as 'LiNi0.8Co0.1Mn0.1O2', got an empty text")
    masses = {element: n * xraydb.atomic_mass(element) for element, n in parts.items()}
    known = np.isfinite(energies)
    if not known.any():
        return np.full(energies.shape, np.nan)
    per_mass = sum(
        mass * np.asarray(xraydb.mu_elam(element, energies[known], kind="total")) for element, mass in masses.items()
    ) / sum(masses.values())  # cm²/g
    result = np.full(energies.shape, np.nan)
    result[known] = per_mass * density / 10
    return result


def _energies(series: xr.Dataset, energy: Any) -> np.ndarray:
    """Return the photon energies as (frame or 1, energies of one frame)."""
    if energy is not None:
        return _one_a_frame("energy", energy, series)[:, None]
    if "energy" in series.dims and "energy" in series.coords and series.sizes["energy"]:
        return np.asarray(series["energy"].values, dtype=float)[None]
    if "wavelength" in series.attrs:
        return np.array([[HC / float(series.attrs["wavelength"])]])
    raise ValueError("align.dose needs the photon energy: the series has no 'wavelength'; give energy= in eV")


def _one_a_frame(name: str, value: Any, series: xr.Dataset) -> np.ndarray:
    n_frames = series.sizes["frame"]
    values = np.asarray(getattr(value, "values", value), dtype=float)
    if values.shape not in ((), (n_frames,)):
        raise DimensionError(f"{name} must be one number, or one for each of {n_frames} frames, got {values.shape}")
    return np.broadcast_to(values, (n_frames,)).astype(float)


def _sizes(beam_size: Any) -> tuple[float, float]:
    sizes = np.asarray(beam_size, dtype=float)
    if sizes.shape != (2,) or not (np.isfinite(sizes).all() and (sizes > 0).all()):
        raise ValueError(f"beam_size must be (width, height) in mm, both above 0, got {beam_size!r}")
    return float(sizes[0]), float(sizes[1])


def _beam_on(series: xr.Dataset) -> np.ndarray:
    name = next((name for name in ("beam_on", "exposure") if name in series.variables), None)
    if name is None:
        raise ValueError("align.dose needs how long the beam was on: assign 'exposure' or 'beam_on' in s to the series")
    seconds = np.broadcast_to(np.asarray(series[name].values, dtype=float), series.sizes["frame"])
    if (seconds < 0).any():
        raise ValueError(f"{name!r} must be at least 0 s, got {np.nanmin(seconds):g}")
    return seconds


def _dose_before(before: Any, spots: np.ndarray) -> dict[Any, float]:
    labels = list(dict.fromkeys(spots.tolist()))
    if isinstance(before, xr.Dataset):
        if "dose" not in before.variables or before["dose"].dims != ("frame",):
            raise SchemaError("before= takes a result of align.dose, with 'dose' over ('frame',); this one has none")
        earlier = spots_of(before, "align.dose").tolist()
        before = {spot: float(value) for spot, value in zip(earlier, before["dose"].values, strict=True)}  # the last
    elif isinstance(before, Mapping):
        strange = [spot for spot in before if spot not in labels]
        if strange:
            raise ValueError(f"before names spot {strange[0]!r}, the series has {', '.join(map(repr, labels))}")
    else:
        before = dict.fromkeys(labels, float(before))
    wrong = {spot: value for spot, value in before.items() if not (np.isnan(value) or 0 <= value < np.inf)}
    if wrong:
        raise ValueError(f"before must be doses in Gy, at least 0, got {wrong}")
    return {spot: float(before.get(spot, 0.0)) for spot in labels}


def _sums(steps: np.ndarray, spots: np.ndarray, before: Mapping[Any, float]) -> np.ndarray:
    unknown = int(np.isnan(steps).sum())
    if unknown:
        warnings.warn(
            f"align.dose: {unknown} of {len(steps)} frames have no flux, exposure or energy; the dose of their spots "
            "is not known from there on",
            UserWarning,
            stacklevel=3,
        )
    total = np.full(steps.shape, np.nan)
    for spot, start in before.items():
        here = spots == spot
        total[here] = start + np.cumsum(steps[here])
    return total


def _statement(
    total: np.ndarray, rate: np.ndarray, front: np.ndarray, spots: np.ndarray, composition: str, thickness: float
) -> str:
    bound = "upper bound from attenuation: every photon taken out of the beam counts with all its energy"
    last = dict(zip(spots.tolist(), total.tolist(), strict=True))
    if not last:
        return f"no exposures ({bound})"
    if len(last) == 1:
        told = f"at most {as_gray(next(iter(last.values())))}"
    elif len(last) <= MOST_SPOTS:
        told = "at most " + ", ".join(f"{as_gray(value)} on spot {spot}" for spot, value in last.items())
    else:
        told = f"at most {as_gray(float(np.max(list(last.values()))))} on any of {len(last)} spots"
    speed = ""
    if np.isfinite(rate).any():
        speed = (
            f", up to {as_gray(float(np.nanmax(rate)))}/s ({as_gray(float(np.nanmax(front)))}/s at the entrance face)"
        )
    return f"{told}{speed}, mean over {thickness:g} µm of {composition} ({bound})"
