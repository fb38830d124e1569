"""Counters become absorption."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import DimensionError, SchemaError, choose
from batlab.schema import quantity, record, require
from batlab.xas.grids import OWN, is_lazy

FUNCTION = "xas.mu"
MODES = {
    "transmission": ("i0", "itrans", "mutrans"),
    "fluorescence": ("i0", "ifluor", "mufluor"),
    "reference": ("itrans", "irefer", "murefer"),
}


def mu(
    ds: xr.Dataset,
    mode: str = "transmission",
    *,
    deadtime: str | float | Sequence[float] | None = "auto",
    bad_channels: Sequence[int] = (),
    counting: bool | None = None,
) -> xr.Dataset:
    """Return the dataset with its absorption as ``mu``.

    ``"transmission"``: ln(i0/itrans). ``"fluorescence"``: Σ cⱼ ifluorⱼ / i0 over the good channels j. ``"reference"``:
    ln(itrans/irefer), the foil behind the sample. What a file holds as ready ``mutrans``, ``mufluor`` or ``murefer`` is
    taken where the counters are missing. In the first mode ``mu_reference`` is made too where there is ``irefer``.

    Parameters
    ----------
    ds
        Counters over (``frame``,) ``energy``, fluorescence also over ``channel``, as `batlab.open` gives them.
    mode
        One of the three.
    deadtime
        Correction cⱼ of fluorescence: ``"auto"`` takes the beamline's ``deadtime_factor`` where there is one;
        ``"rates"`` takes ``icr``/``ocr``; a number, or one a channel, is a dead time τ in s of a counter that does not
        paralyse, c = 1 / (1 - τ ocr/t) with all counts ``ocr`` of the channel (else ``ifluor``) in the time t per
        point (``inttime``, ``counttime`` or ``exposure_point`` in s); None leaves counts as they are.
    bad_channels
        Labels of channels to leave out. Where `ds` has ``mask`` over ``channel``, those it excludes are left out too.
    counting
        Whether counters are counts of photons, which gives ``mu_sigma``: for transmission 1/i0 + 1/itrans, for
        fluorescence μ² (1/i0 + Σ cⱼ² Nⱼ / (Σ cⱼ Nⱼ)²). Without a word it is so for counters in units of "count". The
        number that a voltage-to-frequency converter makes of an ion chamber's current is not one of photons: say
        False there, and take σ from repeats (`merge`).

    Returns
    -------
    xarray.Dataset
        All of `ds`, with ``mu`` [1], ``mu_sigma`` where it can be had, and attributes ``mu_mode``, ``deadtime``.

    Raises
    ------
    SchemaError
        The counters of that mode are missing.
    ValueError
        Unknown words or channels, no channel left, a dead time that the rate exceeds.

    Warns
    -----
    UserWarning
        Points without intensity, whose ``mu`` is NaN (not said of lazy data); factors below 1.

    Examples
    --------
    >>> counters = {name: quantity("energy", np.array(values), "count", name)
    ...             for name, values in {"i0": [1e6, 1e6], "itrans": [5e5, 2e5]}.items()}
    >>> scan = xr.Dataset(counters, {"energy": quantity("energy", [8320.0, 8360.0], "eV", "energy")})
    >>> mu(scan).mu.values.round(3).tolist()
    [0.693, 1.609]
    """
    choose("mode", mode, MODES)
    require(ds, FUNCTION, "energy", hint="open the scan with batlab.open")
    if mode != "fluorescence" and (deadtime not in ("auto", None) or len(bad_channels)):
        raise ValueError(f"{FUNCTION}: deadtime and bad_channels belong to mode='fluorescence', got mode={mode!r}")
    above, below, ready = MODES[mode]
    told = "none"
    if above in ds and below in ds:
        if mode == "fluorescence":
            signal, square, told = _fluorescence(ds, deadtime, bad_channels)
            value, variance = _ratio(ds, signal, square, counting)
        else:
            value, variance = _logarithm(ds, above, below, counting)
    elif ready in ds or (mode == "reference" and "mu_reference" in ds):
        value, variance = ds[ready if ready in ds else "mu_reference"], None
        value = _over_channels(ds, value, bad_channels) if "channel" in value.dims else value
    else:
        have = ", ".join(map(str, ds.data_vars))
        raise SchemaError(f"{FUNCTION} needs {above!r} and {below!r} (or {ready!r}) for mode={mode!r}, got {have}")
    result = ds.drop_vars(["mu", "mu_sigma"], errors="ignore")
    order = [dim for dim in ("frame", "energy") if dim in value.dims]
    value = value.transpose(*order)
    long_name = "absorption of the reference" if mode == "reference" else "absorption"
    dims = tuple(map(str, order))
    result["mu"] = quantity(dims, value.data, "1", long_name)
    if variance is not None:
        spread = (variance**0.5).transpose(*order)
        result["mu_sigma"] = quantity(dims, spread.data, "1", f"σ of the {long_name}")
    if mode == "transmission" and "irefer" in ds and "itrans" in ds and "mu_reference" not in ds:
        reference = _logarithm(ds, "itrans", "irefer", counting=False, quiet=True)[0].transpose(*order)
        result["mu_reference"] = quantity(
            tuple(map(str, reference.dims)), reference.data, "1", "absorption of the reference"
        )
    _warn_of_lost(result["mu"], ds)
    result.attrs |= {"mu_mode": mode} | ({"deadtime": told} if mode == "fluorescence" else {})
    arguments: dict[str, Any] = (
        {"deadtime": deadtime, "bad_channels": list(bad_channels)} if mode == "fluorescence" else {}
    )
    return record(result, FUNCTION, mode=mode, **arguments, counting=counting)


def _positive(counter: xr.DataArray) -> xr.DataArray:
    return counter.where((counter > 0) & np.isfinite(counter))


def _are_counts(ds: xr.Dataset, names: Sequence[str], counting: bool | None) -> list[str]:
    """Return those of the counters that count photons."""
    if counting is not None:
        return list(names) if counting else []
    return [name for name in names if ds[name].attrs.get("units") == "count"]


def _logarithm(
    ds: xr.Dataset, above: str, below: str, counting: bool | None, quiet: bool = False
) -> tuple[xr.DataArray, xr.DataArray | None]:
    first, second = _positive(ds[above]), _positive(ds[below])
    for one, name in ((first, above), (second, below)):
        if "channel" in one.dims:
            raise DimensionError(f"{FUNCTION}: {name!r} has channels; choose one with isel(channel=…)")
    counts = [] if quiet else _are_counts(ds, (above, below), counting)
    variance = 1.0 / first + 1.0 / second if len(counts) == 2 else None
    return xr.DataArray(np.log(first / second)), variance


def _ratio(
    ds: xr.Dataset, signal: xr.DataArray, square: xr.DataArray, counting: bool | None
) -> tuple[xr.DataArray, xr.DataArray | None]:
    i0 = _positive(ds["i0"])
    value = signal / i0
    if "ifluor" not in _are_counts(ds, ("ifluor",), counting):
        return value, None
    variance = square / i0**2
    if _are_counts(ds, ("i0",), counting):
        variance = variance + value**2 / i0
    return value, variance


def _good_channels(ds: xr.Dataset, bad: Sequence[int]) -> np.ndarray:
    labels = ds["channel"].values if "channel" in ds.coords else np.arange(ds.sizes["channel"])
    unknown = [one for one in bad if one not in labels]
    if unknown:
        raise ValueError(f"{FUNCTION}: channel {unknown[0]!r} is none of {labels.tolist()}")
    good = ~np.isin(labels, list(bad))
    if "mask" in ds and ds["mask"].dims == ("channel",):
        good &= ~ds["mask"].values.astype(bool)
    if not good.any():
        raise ValueError(f"{FUNCTION}: all {len(labels)} channels are left out; keep at least one")
    return good


def _over_channels(ds: xr.Dataset, value: xr.DataArray, bad: Sequence[int]) -> xr.DataArray:
    return value.isel(channel=np.flatnonzero(_good_channels(ds, bad))).sum("channel", skipna=False)


def _fluorescence(
    ds: xr.Dataset, deadtime: str | float | Sequence[float] | None, bad: Sequence[int]
) -> tuple[xr.DataArray, xr.DataArray, str]:
    """Return the corrected sum over good channels, its variance if they count, and what was corrected."""
    counts = ds["ifluor"]
    factor, told = _factor(ds, deadtime)
    if "channel" not in counts.dims:
        if len(bad):
            raise ValueError(f"{FUNCTION}: bad_channels given, but 'ifluor' has no channels")
        return counts * factor, counts.clip(min=1.0) * factor**2, told
    keep = np.flatnonzero(_good_channels(ds, bad))
    counts = counts.isel(channel=keep)
    if isinstance(factor, xr.DataArray) and "channel" in factor.dims:
        factor = factor.isel(channel=keep)
    if isinstance(factor, xr.DataArray) and not is_lazy(factor) and float(factor.min()) < 0.999:
        warnings.warn(
            f"{FUNCTION}: dead-time factors from {float(factor.min()):.4f}; below 1 they are not what corrects counts",
            UserWarning,
            stacklevel=4,
        )
    total = (counts * factor).sum("channel", skipna=False)
    return total, (counts.clip(min=1.0) * factor**2).sum("channel", skipna=False), told


def _factor(ds: xr.Dataset, deadtime: str | float | Sequence[float] | None) -> tuple[xr.DataArray | float, str]:
    if deadtime is None or (isinstance(deadtime, str) and deadtime == "auto" and "deadtime_factor" not in ds):
        return 1.0, "none"
    if isinstance(deadtime, str):
        choose("deadtime", deadtime, ["auto", "rates", None])
        if deadtime == "auto":
            return ds["deadtime_factor"], "deadtime_factor"
        missing = [name for name in ("icr", "ocr") if name not in ds]
        if missing:
            raise SchemaError(f"{FUNCTION}: deadtime='rates' needs 'icr' and 'ocr', {missing[0]!r} is missing")
        return ds["icr"] / _positive(ds["ocr"]), "icr/ocr"
    times = [name for name in ("inttime", "counttime", "exposure_point") if name in ds]
    if not times:
        raise SchemaError(f"{FUNCTION}: a dead time needs the time per point as 'inttime' or 'counttime' in s")
    tau = np.asarray(deadtime, dtype=float)
    n_channels = ds.sizes.get("channel", 1)
    if tau.ndim > 1 or tau.size not in (1, n_channels) or not (np.isfinite(tau) & (tau >= 0)).all():
        raise ValueError(f"{FUNCTION}: deadtime must be one time in s or {n_channels}, not negative, got {deadtime!r}")
    one = xr.DataArray(tau, dims=("channel",)) if tau.size > 1 else float(tau.ravel()[0])
    busy = one * ds["ocr" if "ocr" in ds else "ifluor"] / _positive(ds[times[0]])
    if not is_lazy(busy) and float(busy.max()) >= 1:
        raise ValueError(
            f"{FUNCTION}: with a dead time of {tau.max():.3g} s the detector is busy {float(busy.max()):.2f} of the "
            "time at the highest rate, which must stay below 1; is it in seconds?"
        )
    return 1.0 / (1.0 - busy), f"not paralysed, {tau.min():.3g} to {tau.max():.3g} s"


def _warn_of_lost(value: xr.DataArray, ds: xr.Dataset) -> None:
    if is_lazy(value):
        return
    missing = ~np.isfinite(value)
    if OWN in ds.variables:  # behind the last point of a frame there was nothing to lose
        missing = missing & np.isfinite(ds[OWN])
    lost = int(missing.sum())
    if lost:
        warnings.warn(
            f"{FUNCTION}: {lost} of {value.size} points have no intensity (zero, negative or missing counts); their mu "
            "is NaN",
            UserWarning,
            stacklevel=3,
        )
