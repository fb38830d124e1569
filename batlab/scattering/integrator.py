"""Azimuthal integration: detector frames to patterns."""

from __future__ import annotations

import hashlib
import os
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from batlab.io.poni import Geometry
from batlab.scattering.frames import Stack, as_stack, pixel_image
from batlab.scattering.geometry import as_geometry, check_shape, pixel_arrays, resolve_wavelength
from batlab.scattering.plan import Plan, make_plan
from batlab.scattering.series import integrate_series
from batlab.scattering.settings import Settings
from batlab.scattering.work import Work
from batlab.schema import quantity, record

AXES = {"q": ("1/angstrom", "scattering vector"), "two_theta": ("degree", "scattering angle")}
# True only of frames, not of the patterns made from them.
OF_FRAMES = ("overflow", "pixel_size_y", "pixel_size_x")


class Integrator:
    """A reusable plan: built once at the first frames, then called on any number of series.

    Parameters are those of `integrate`. It holds 6 bytes a pixel (14 with a dark image) and can be pickled.

    Examples
    --------
    >>> from batlab.io.poni import Geometry
    >>> flat_detector = Geometry(0.2, 0.005, 0.005, wavelength=1.0, shape=(100, 100),
    ...     detector_config='{"pixel1": 1e-4, "pixel2": 1e-4, "max_shape": [100, 100]}')
    >>> plan = Integrator(flat_detector, n_bins=20)
    >>> plan(xr.DataArray(np.ones((3, 100, 100), np.uint16), dims=("frame", "y", "x"))).sizes["q"]
    20
    """

    def __init__(
        self,
        geometry: Any,
        *,
        n_bins: int,
        unit: str = "q",
        mask: Any = None,
        dark: Any = None,
        flat: Any = None,
        monitor: Any = None,
        polarization: float | None = 0.99,
        solid_angle: bool = True,
        error_model: str | None = "poisson",
        split: str = "no",
        q_range: tuple[float, float] | None = None,
        azimuth_range: tuple[float, float] | None = None,
    ) -> None:
        self.settings = Settings(
            n_bins,
            unit,
            mask,
            dark,
            flat,
            monitor,
            polarization,
            solid_angle,
            error_model,
            split,
            q_range,
            azimuth_range,
        )
        self.geometry = as_geometry(geometry)
        self._last: tuple[tuple[Any, ...], np.ndarray | None, Plan] | None = None

    def __call__(
        self,
        frames: xr.Dataset | xr.DataArray,
        *,
        store: str | os.PathLike | None = None,
        on_error: str = "raise",
        client: Any = None,
    ) -> xr.Dataset:
        """Return the patterns of `frames`; see `integrate`."""
        wish = self.settings
        stack = as_stack(frames, wish.mask)
        geometry, plan = self.plan(stack)
        work = Work(plan, stack.shape, stack.overflow, has_sigma=wish.error_model is not None)
        describe = partial(_patterns, wish, stack, geometry, plan)
        return integrate_series(stack, work, wish.monitor, describe, store=store, on_error=on_error, client=client)

    def plan(self, stack: Stack) -> tuple[Geometry, Plan]:
        """Return geometry and plan for these frames; the last plan is kept."""
        geometry = resolve_wavelength(self.geometry, stack.dataset.attrs.get("wavelength"))
        key = (stack.shape, geometry.wavelength, stack.mask is None)
        last = self._last  # other threads may call the same integrator
        if last is None or last[0] != key or not _same(last[1], stack.mask):
            self._last = last = (key, stack.mask, self._build(geometry, stack))
        return geometry, last[2]

    def _build(self, geometry: Geometry, stack: Stack) -> Plan:
        wish = self.settings
        check_shape(geometry, stack.shape)
        dark, flat = pixel_image(wish.dark, "dark", stack.shape), pixel_image(wish.flat, "flat", stack.shape)
        pixels = pixel_arrays(
            geometry,
            stack.shape,
            unit=wish.unit,
            polarization=wish.polarization,
            solid_angle=wish.solid_angle,
            azimuth=wish.azimuth_range is not None,
        )
        return make_plan(
            pixels,
            n_bins=int(wish.n_bins),
            masks=[stack.mask],
            dark=dark,
            flat=flat,
            limits=wish.limits(geometry.wavelength),
            azimuth_range=wish.azimuth_range,
        )


def integrate(
    frames: xr.Dataset | xr.DataArray,
    geometry: Any,
    *,
    n_bins: int,
    unit: str = "q",
    mask: Any = None,
    dark: Any = None,
    flat: Any = None,
    monitor: Any = None,
    polarization: float | None = 0.99,
    solid_angle: bool = True,
    error_model: str | None = "poisson",
    split: str = "no",
    q_range: tuple[float, float] | None = None,
    azimuth_range: tuple[float, float] | None = None,
    store: str | os.PathLike | None = None,
    on_error: str = "raise",
) -> xr.Dataset:
    """Average detector frames over rings.

    Frames are read and binned group by group, several at a time where there are several cores; only the patterns stay
    in memory, with `store` not even those. Slow series show a progress bar. Under an active client of dask.distributed
    the same call runs on its workers: tasks of some 30 frames, named by file and number, go out to them.

    Parameters
    ----------
    frames
        ``intensity`` (frame, y, x) in counts, as `io.open` returns it: integers or real numbers. NaN, infinities,
        pixels equal to a value in the attribute ``overflow`` and those under ``mask`` are left out, frame by frame.
    geometry
        The path of a ``.poni``, a `Geometry`, or pyFAI's object. Where it has no wavelength the frames' is used.
    n_bins
        1 to 65535 bins of equal width, from the innermost to the outermost pixel centre or over `q_range`.
    unit
        ``"q"`` [1/angstrom] or ``"two_theta"`` [degree].
    mask
        True where a pixel is left out, (y, x) or (frame, y, x), beside the frames' own and the detector's gaps.
    dark
        Counts (y, x) without beam in the same exposure, subtracted; its Poisson variance is added.
    flat
        Relative efficiency (y, x); a pixel with 0 or NaN is left out.
    monitor
        Beam intensity of each frame, a number for each or one for all, or the name of a variable in `frames`.
    polarization
        (I_horizontal - I_vertical) / sum, -1 to 1; 0.99 suits a bending magnet or undulator, 0 a laboratory tube, None
        leaves the correction out.
    solid_angle
        Whether to correct for pixels seen at an angle, relative to normal incidence.
    error_model
        ``"poisson"``: a pixel of N counts has the variance max(N, 1), as in pyFAI; or None for no uncertainty.
    split
        ``"no"``: a pixel belongs whole to the bin of its centre.
    q_range
        Lowest and highest q [1/angstrom], for either unit.
    azimuth_range
        From and to [degree], counted from +x towards +y as pyFAI does; (170, 190) crosses the seam.
    store
        A folder ``….zarr`` that takes the patterns as they come. Stopped by Ctrl-C, an error or a crash, the same call
        goes on where it stopped, and ends with the same bits; once whole, it is returned at once, and `io.open` opens
        it too. Memory does not grow with the number of frames then.
    on_error
        What a frame that cannot be read (a damaged chunk, a missing file) does: ``"raise"`` ends with an error that
        names file and frame, ``"nan"`` makes its pattern NaN, warns, and lists it in the attribute ``unread_frames``.

    Returns
    -------
    Dataset over (frame, q) or (frame, two_theta): ``intensity`` = signal / normalization and its ``intensity_sigma`` =
    sqrt(variance) / normalization; ``signal`` (counts, exact for integers), ``variance``, ``normalization`` (sum of
    flat, polarization, solid angle and monitor) and ``n_pixels``. A bin without a pixel is NaN.

    Raises
    ------
    DimensionError
        Frames, mask, dark or flat do not fit each other or the geometry.
    ValueError
        An unknown word, an impossible number, no wavelength, or no pixel left.
    ReadError
        A frame cannot be read.
    OtherJobError, LockedError
        `store` holds the patterns of other frames or settings, or another process is writing to it.
    RuntimeError
        In a process forked after its parent had integrated; an `Integrator` that was called before runs there.

    Warns
    -----
    UserWarning
        More than 40 % of the pixels are masked, always or in some frames; frames could not be read; a monitor is not
        positive; an old ``.poni`` does not state the orientation.

    Notes
    -----
    Bins and result are those of pyFAI's ``("no", "histogram", "cython")`` [1]_ within 1e-6, except that a pixel below
    `q_range` never counts (pyFAI puts those less than one bin below into the first).

    References
    ----------
    .. [1] Kieffer et al., J. Synchrotron Rad. 27, 558 (2020). doi:10.1107/S1600577520000776

    Examples
    --------
    >>> from batlab.io.poni import Geometry
    >>> flat_detector = Geometry(0.2, 0.005, 0.005, wavelength=1.0, shape=(100, 100),
    ...     detector_config='{"pixel1": 1e-4, "pixel2": 1e-4, "max_shape": [100, 100]}')
    >>> frames = xr.DataArray(np.full((1, 100, 100), 9, np.uint32), dims=("frame", "y", "x"))
    >>> pattern = integrate(frames, flat_detector, n_bins=10, polarization=None, solid_angle=False)
    >>> pattern.intensity.values.round(6).tolist()[0][:3]
    [9.0, 9.0, 9.0]
    """
    integrator = Integrator(
        geometry,
        n_bins=n_bins,
        unit=unit,
        mask=mask,
        dark=dark,
        flat=flat,
        monitor=monitor,
        polarization=polarization,
        solid_angle=solid_angle,
        error_model=error_model,
        split=split,
        q_range=q_range,
        azimuth_range=azimuth_range,
    )
    return integrator(frames, store=store, on_error=on_error)


def _patterns(
    wish: Settings, stack: Stack, geometry: Geometry, plan: Plan, sums: dict[str, Any], unread: list[int]
) -> xr.Dataset:
    """Return the results (frame, bin) as a Dataset."""
    dims = ("frame", wish.unit)
    counts = "count" if wish.monitor is None else "1"
    told = {
        "intensity": (counts, "intensity"),
        "intensity_sigma": (counts, "standard uncertainty of intensity"),
        "signal": ("count", "sum of counts"),
        "variance": ("count^2", "sum of variances"),
        "normalization": ("1", "sum of pixel weights"),
        "n_pixels": ("1", "number of pixels"),
    }
    variables = {name: quantity(dims, sums[name], *told[name]) for name in told if name in sums}
    coords = _of_each_frame(stack.dataset, is_coordinate=True)
    coords.setdefault("frame", quantity("frame", np.arange(len(stack.data), dtype=np.int64), "1", "frame"))
    coords[wish.unit] = quantity(wish.unit, plan.axis, *AXES[wish.unit])
    attrs = {key: value for key, value in stack.dataset.attrs.items() if key not in OF_FRAMES}
    if unread:
        attrs["unread_frames"] = unread
    beside = _of_each_frame(stack.dataset, is_coordinate=False)
    result = xr.Dataset(variables | beside, coords, attrs | _account(geometry, wish))
    told_geometry = f"{geometry.source or geometry.detector} sha256 {_geometry_digest(geometry)}"
    return record(result, "scattering.integrate", geometry=told_geometry, **wish.told)


def _of_each_frame(frames: xr.Dataset, *, is_coordinate: bool) -> dict[Any, xr.Variable]:
    """Return what stands beside the pixels: time, exposure, monitor, file."""
    return {
        name: variable
        for name, variable in frames.variables.items()
        if variable.dims == ("frame",) and (name in frames.coords) == is_coordinate
    }


def _account(geometry: Geometry, wish: Settings) -> dict[str, Any]:
    account: dict[str, Any] = {
        "split": wish.split,
        "error_model": wish.error_model or "none",
        "polarization": "none" if wish.polarization is None else wish.polarization,
        "solid_angle": int(wish.solid_angle),
        "geometry": geometry.source or geometry.detector,
        "geometry_sha256": _geometry_digest(geometry),
        "detector_orientation": geometry.orientation,
    }
    return account if geometry.wavelength is None else account | {"wavelength": geometry.wavelength}


def _geometry_digest(geometry: Geometry) -> str:
    return geometry.source_sha256 or hashlib.sha256(repr(geometry).encode()).hexdigest()


def _same(first: np.ndarray | None, second: np.ndarray | None) -> bool:
    return first is second or (first is not None and second is not None and np.array_equal(first, second))
