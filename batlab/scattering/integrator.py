"""Azimuthal integration: detector frames to patterns and cakes."""

from __future__ import annotations

import ctypes
import os
import warnings
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from batlab.io.poni import Geometry
from batlab.scattering.digest import geometry_digest, plan_digest, reduction_digest
from batlab.scattering.frames import Stack, as_stack, pixel_image
from batlab.scattering.geometry import as_geometry, check_shape, pixel_arrays, resolve_wavelength
from batlab.scattering.plan import Plan, make_plan
from batlab.scattering.plan_cache import cached_plan
from batlab.scattering.series import integrate_series
from batlab.scattering.settings import Settings, settings_of, takes_settings
from batlab.scattering.work import Work
from batlab.schema import quantity, record

# unit -> dimension of the result, its unit and name. In batlab `r` is a distance between atoms.
AXES = {
    "q": ("q", "1/angstrom", "scattering vector"),
    "two_theta": ("two_theta", "degree", "scattering angle"),
    "r": ("radius", "mm", "distance from the beam"),
}
# True only of frames, not of the patterns made from them.
OF_FRAMES = ("overflow", "pixel_size_y", "pixel_size_x")


class Integrator:
    """A reusable plan: built once at the first frames, then called on any number of series.

    Parameters are those of `integrate`. A plan for 4 million pixels takes about a second and 27 MB, 60 to 120 MB where
    pixels are split; it is kept on disk for the next session (`scattering.plan_cache`). What is pickled is geometry and
    settings, not the plan.

    Attributes
    ----------
    settings
        As given; a mask of one image is copied, so that later changes to the original do not count.
    digest
        64 hexadecimal digits that name geometry and settings, the same in every process.

    Examples
    --------
    >>> from batlab.io.poni import Geometry
    >>> flat_detector = Geometry(0.2, 0.005, 0.005, wavelength=1.0, shape=(100, 100),
    ...     detector_config='{"pixel1": 1e-4, "pixel2": 1e-4, "max_shape": [100, 100]}')
    >>> plan = Integrator(flat_detector, n_bins=20, n_azimuth=36, split="bbox")
    >>> dict(plan(xr.DataArray(np.ones((3, 100, 100), np.uint16), dims=("frame", "y", "x"))).sizes)
    {'frame': 3, 'azimuth': 36, 'q': 20}
    """

    @takes_settings
    def __init__(self, geometry: Any, **keywords: Any) -> None:
        self.settings = _own_mask(settings_of("scattering.Integrator", keywords))
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
        stack = as_stack(frames, wish.mask, wish.variance)
        geometry, plan = self.plan(stack)
        work = Work(plan, stack.shape, stack.overflow, wish.error_model, wish.clip, stack.one_variance)
        describe = partial(_patterns, wish, stack, geometry, plan)
        return integrate_series(stack, work, wish.monitor, describe, store=store, on_error=on_error, client=client)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_last": None}

    @property
    def digest(self) -> str:
        """Return 64 hexadecimal digits that name geometry and settings."""
        return reduction_digest(self.geometry, self.settings)

    def plan(self, stack: Stack) -> tuple[Geometry, Plan]:
        """Return geometry and plan for these frames; the last plan is kept.

        Warns
        -----
        UserWarning
            More than 40 % of the pixels between the limits are masked.
        """
        geometry = resolve_wavelength(self.geometry, stack.dataset.attrs.get("wavelength"))
        key = (stack.shape, geometry.wavelength, stack.mask is None)
        last = self._last  # other threads may call the same integrator
        if last is None or last[0] != key or not _same(last[1], stack.mask):
            self._last = last = (key, _own(stack.mask), self._find(geometry, stack))
            _give_back_memory()
            if last[2].doubt:
                warnings.warn(last[2].doubt, UserWarning, stacklevel=2)
        return geometry, last[2]

    def _find(self, geometry: Geometry, stack: Stack) -> Plan:
        wish = self.settings
        check_shape(geometry, stack.shape)
        dark, flat = pixel_image(wish.dark, "dark", stack.shape), pixel_image(wish.flat, "flat", stack.shape)

        def build() -> Plan:
            pixels = pixel_arrays(
                geometry,
                stack.shape,
                unit=wish.unit,
                polarization=wish.polarization,
                solid_angle=wish.solid_angle,
                azimuth=wish.azimuth_range is not None or wish.n_azimuth is not None,
                corners=wish.split != "no",
            )
            return make_plan(
                pixels,
                n_bins=int(wish.n_bins),
                n_azimuth=None if wish.n_azimuth is None else int(wish.n_azimuth),
                split=wish.split,
                masks=[stack.mask],
                dark=dark,
                flat=flat,
                dark_variance=wish.variance is None,
                limits=wish.limits(geometry),
                azimuth_range=wish.azimuth_range,
            )

        n_pixels = int(np.prod(stack.shape))
        return cached_plan(plan_digest(geometry, wish, stack.shape, [stack.mask, dark, flat]), n_pixels, build)


@takes_settings
def integrate(
    frames: xr.Dataset | xr.DataArray,
    geometry: Any,
    *,
    store: str | os.PathLike | None = None,
    on_error: str = "raise",
    **keywords: Any,
) -> xr.Dataset:
    """Average detector frames over rings, or over pieces of rings.

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
        Bins of equal width along `unit`, over `q_range` or over what the pixels reach: centres with ``split="no"``,
        edges else. At most 2^24 bins, over azimuth too.
    unit
        ``"q"`` [1/angstrom], ``"two_theta"`` [degree], or ``"r"``, the distance from the beam on a plane square to it
        [mm]; dimension ``radius``, as ``r`` is a distance between atoms.
    n_azimuth
        Makes cakes (frame, azimuth, q) with so many bins of equal width over `azimuth_range`, or over what the pixels
        reach between -180 and 180 degree.
    mask
        True where a pixel is left out, (y, x) or (frame, y, x), beside the frames' own and the detector's gaps.
    dark
        Counts (y, x) without beam in the same exposure, subtracted; its Poisson variance is added.
    flat
        Relative efficiency (y, x); a pixel with 0 or NaN is left out.
    monitor
        Beam intensity of each frame, a number for each or one for all, or the name of a variable in `frames`.
    variance
        Of the counts, (y, x) or (frame, y, x), in memory or lazy, where they are no plain counts; it stands for all,
        a dark's too. Pixels without a finite one are left out.
    polarization
        (I_horizontal - I_vertical) / sum, -1 to 1; 0.99 suits a bending magnet or undulator, 0 a laboratory tube, None
        leaves the correction out.
    solid_angle
        Whether to correct for pixels seen at an angle, relative to normal incidence.
    error_model
        ``"poisson"``: a pixel of N counts has the variance max(N, 1), as in pyFAI. ``"azimuthal"``: from the scatter
        around the ring, NaN in a bin of one pixel. ``"hybrid"``: outliers by that scatter, uncertainty by the counts.
        None: no uncertainty.
    split
        ``"no"``: a pixel belongs whole to the bin of its centre. ``"bbox"``: it is shared out over the bins that the
        box around its corners covers; ``"full"``: by the area of the polygon of its corners. Splitting smooths curves
        of few pixels a bin, and makes neighbouring bins share noise: see ``sigma_inflation``.
    clip
        `SigmaClip` or `Quantile`: leaves out outliers of a ring, such as spots of single crystals and cosmic rays; in
        each bin for itself. ``n_clipped`` says how many, `clipped_pixels` and `clipped_mask` which.
    q_range
        Lowest and highest q [1/angstrom], for 2θ too. A split pixel that reaches into the range counts whole.
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
    Dataset over (frame, q), (frame, two_theta) or (frame, radius), or with ``azimuth`` in between: ``intensity`` =
    signal / normalization and its ``intensity_sigma`` = sqrt(variance) / normalization; ``signal`` (counts, exact for
    integers where nothing is split), ``variance``, ``normalization`` (sum of flat, polarization, solid angle and
    monitor) and ``n_pixels``, a real number where pixels are split. A bin without a pixel is NaN.

    Where pixels are split, ``sigma_inflation`` of a bin: σ of a sum or fit over several neighbouring bins is by this
    factor larger than independent ``intensity_sigma`` say, because bins share pixels (for even counts, the square root
    of the row sum of their covariance over their variance).

    ``q_mean`` (``two_theta_mean``, ``radius_mean``) is where the pixels of a bin lie on average: beside its centre
    where it holds few, or where rings end at the detector's edge. `curves.fit_peaks` fits the curve there.

    Raises
    ------
    DimensionError
        Frames, mask, dark, flat or variance do not fit each other or the geometry.
    TypeError
        A keyword is unknown.
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
        More than 40 % of the pixels are masked, always or in some frames; clipping leaves out more than 10 % of a frame
        or a whole ring; frames could not be read; a monitor is not positive; an old ``.poni`` does not state the
        orientation.

    Notes
    -----
    Bins, result and σ are those of pyFAI's method of the same `split` in Cython [1]_ within 1e-6, with three
    exceptions. A pixel outside a given range never counts (pyFAI puts those less than one bin below it into the first
    bin, if it is not split or by its box). A sector may cross ±180 degree. The scatter around a ring is that about its
    mean; pyFAI adds it up pixel by pixel, which depends on their order where weights differ (σ off by up to 0.2 %
    without splitting, 1.4 % with it, 5 % in small bins of cakes). Curves of different `split` differ by up to 10 %.

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
    settings_of("scattering.integrate", keywords)
    return Integrator(geometry, **keywords)(frames, store=store, on_error=on_error)


def _patterns(
    wish: Settings, stack: Stack, geometry: Geometry, plan: Plan, sums: dict[str, Any], unread: list[int]
) -> xr.Dataset:
    """Return the results (frame, bin) as a Dataset."""
    dim, *axis = AXES[wish.unit]
    coords = _of_each_frame(stack.dataset, is_coordinate=True)
    coords.setdefault("frame", quantity("frame", np.arange(len(stack.data), dtype=np.int64), "1", "frame"))
    coords[dim] = quantity(dim, plan.radial, *axis)
    if plan.azimuth is not None:
        coords["azimuth"] = quantity("azimuth", plan.azimuth, "degree", "azimuth from +x towards +y")
    attrs = {key: value for key, value in stack.dataset.attrs.items() if key not in OF_FRAMES}
    if unread:
        attrs["unread_frames"] = unread
    beside = _of_each_frame(stack.dataset, is_coordinate=False)
    result = xr.Dataset(_variables(wish, plan, sums) | beside, coords, attrs | _account(geometry, wish))
    told = f"{geometry.source or geometry.detector} sha256 {geometry_digest(geometry)}"
    return record(result, "scattering.integrate", geometry=told, **wish.told)


def _variables(wish: Settings, plan: Plan, sums: dict[str, Any]) -> dict[Any, xr.Variable]:
    dims = (AXES[wish.unit][0],) if plan.azimuth is None else ("azimuth", AXES[wish.unit][0])
    sizes = (len(plan.radial),) if plan.azimuth is None else (len(plan.azimuth), len(plan.radial))
    counts = "count" if wish.monitor is None else "1"
    named = {
        "intensity": (counts, "intensity"),
        "intensity_sigma": (counts, "standard uncertainty of intensity"),
        "signal": ("count", "sum of counts"),
        "variance": ("count^2", "sum of variances"),
        "normalization": ("1", "sum of pixel weights"),
        "n_pixels": ("1", "number of pixels"),
        "n_clipped": ("1", "number of pixels left out as outliers"),
    }
    variables: dict[Any, xr.Variable] = {}
    for name in named:
        if name in sums:
            values = sums[name].reshape(len(sums[name]), *sizes)
            variables[name] = quantity(("frame", *dims), values, *named[name])
    if plan.inflation is not None:
        told = "factor on the uncertainty of what spans several bins"
        variables["sigma_inflation"] = quantity(dims, plan.inflation.reshape(sizes), "1", told)
    axis, units, told = AXES[wish.unit]
    variables[f"{axis}_mean"] = quantity(dims, plan.mean.reshape(sizes), units, f"mean {told} of the pixels in the bin")
    return variables


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
        "error_model": wish.errors,
        "clip": "none" if wish.clip is None else str(wish.clip),
        "polarization": "none" if wish.polarization is None else wish.polarization,
        "solid_angle": int(wish.solid_angle),
        "geometry": geometry.source or geometry.detector,
        "geometry_sha256": geometry_digest(geometry),
        "detector_orientation": geometry.orientation,
    }
    return account if geometry.wavelength is None else account | {"wavelength": geometry.wavelength}


def _same(first: np.ndarray | None, second: np.ndarray | None) -> bool:
    """Whether two masks of one shape are equal, the first our own; looked at in words of eight, as every call asks."""
    if first is second or first is None or second is None:
        return first is second
    one, two = (np.ascontiguousarray(mask).view(np.uint8).ravel() for mask in (first, second))
    whole = one.size & ~7
    return np.array_equal(one[:whole].view(np.uint64), two[:whole].view(np.uint64)) and np.array_equal(
        one[whole:], two[whole:]
    )


def _own(mask: np.ndarray | None) -> np.ndarray | None:
    """Return a copy that nobody can change; one that is such already as it is."""
    if mask is None or (not mask.flags.writeable and mask.flags.owndata):
        return mask
    copied = mask.copy()
    copied.flags.writeable = False
    return copied


def _own_mask(settings: Settings) -> Settings:
    """Return settings whose mask of one image is our own, so that it need not be compared at every call."""
    mask = settings.mask
    if not isinstance(mask, np.ndarray) or mask.ndim != 2:
        return settings
    return replace(settings, mask=_own(np.array(mask, bool)))


def _give_back_memory() -> None:
    """Return to the system what making the plan has freed: glibc keeps it, 30 to 50 MB for 4 Mpix."""
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
