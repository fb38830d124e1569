"""What clipping has left out: which pixels, of which frames, in which rings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import numpy as np
import xarray as xr

from batlab import threads
from batlab.scattering.frames import Stack, as_stack, native
from batlab.scattering.integrator import AXES, Integrator
from batlab.scattering.plan import Plan
from batlab.scattering.rings import Quantile, reduce_block, ring_order
from batlab.schema import quantity, record

BATCH = 8  # frames in memory at once


def clipped_pixels(frames: xr.Dataset | xr.DataArray, integrator: Integrator) -> xr.Dataset:
    """Return the pixels that `SigmaClip` leaves out: spots of single crystals, cosmic rays, hot pixels.

    Frames are read in groups, so that memory does not grow with their number; the list does.

    Parameters
    ----------
    frames
        As `integrate` takes them.
    integrator
        With ``clip=SigmaClip(...)``.

    Returns
    -------
    Dataset over ``pixel``, by frame and place: ``frame`` (its label), ``y``, ``x`` [pixel], ``intensity`` (as stored),
    and the place of the ring that has most of the pixel: ``q`` [1/angstrom], ``two_theta`` or ``radius``, in a cake
    ``azimuth`` [degree], too.

    Raises
    ------
    ValueError
        The integrator does not clip, or averages between quantiles, which leave out most pixels by design.
    DimensionError
        Frames and geometry do not fit.

    Examples
    --------
    >>> from batlab.io.poni import Geometry
    >>> from batlab.scattering import SigmaClip
    >>> flat_detector = Geometry(0.2, 0.005, 0.005, wavelength=1.0, shape=(100, 100),
    ...     detector_config='{"pixel1": 1e-4, "pixel2": 1e-4, "max_shape": [100, 100]}')
    >>> counts = np.random.default_rng(0).poisson(100, (2, 100, 100)).astype(np.uint16)
    >>> counts[1, 40, 60] = 5000
    >>> frames = xr.DataArray(counts, dims=("frame", "y", "x"))
    >>> spots = clipped_pixels(frames, Integrator(flat_detector, n_bins=20, clip=SigmaClip(5.0)))
    >>> [int(spots[name][0]) for name in ("frame", "y", "x", "intensity")]
    [1, 40, 60, 5000]
    """
    clip = integrator.settings.clip
    if isinstance(clip, Quantile):
        raise ValueError(
            f"clipped_pixels lists the outliers of SigmaClip, got {clip}, which leaves out "
            f"{100 * (1 - clip.high + clip.low):.0f} % of all pixels by design; see clipped_mask"
        )
    stack, plan = _prepared("clipped_pixels", frames, integrator)
    dataset = stack.dataset
    labels = dataset["frame"].values if "frame" in dataset.coords else np.arange(len(stack.data))
    rows, places, values = [np.empty(0, int)], [np.empty(0, int)], [np.empty(0, stack.data.dtype)]
    for start, pixels, clipped in _clipped(stack, plan, integrator):
        row, place = np.nonzero(clipped)
        rows.append(row + start)
        places.append(place)
        values.append(pixels[row, place])
    frame, place = np.concatenate(rows), np.concatenate(places)
    y, x = np.divmod(place, stack.shape[1])
    units = str(dataset["intensity"].attrs.get("units", "count"))
    variables = {
        "frame": quantity("pixel", np.asarray(labels)[frame], "1", "frame"),
        "y": quantity("pixel", y, "pixel", "detector row"),
        "x": quantity("pixel", x, "pixel", "detector column"),
        "intensity": quantity("pixel", np.concatenate(values), units, "counts of the pixel"),
    }
    dim, *axis = AXES[integrator.settings.unit]
    bins = _bins_of(plan, place)
    variables[dim] = quantity("pixel", plan.radial[bins % len(plan.radial)], *axis)
    if plan.azimuth is not None:
        azimuth = plan.azimuth[bins // len(plan.radial)]
        variables["azimuth"] = quantity("pixel", azimuth, "degree", "azimuth from +x towards +y")
    number = quantity("pixel", np.arange(len(place)), "1", "outlier")
    kept = {key: value for key, value in dataset.attrs.items() if key != "overflow"}
    return record(xr.Dataset(variables, {"pixel": number}, kept), "scattering.clipped_pixels", clip=clip)


def clipped_mask(frames: xr.Dataset | xr.DataArray, integrator: Integrator) -> xr.DataArray:
    """Return which pixels the integrator's `clip` leaves out, as images, computed when they are looked at.

    Parameters
    ----------
    frames
        As `integrate` takes them.
    integrator
        With `clip`.

    Returns
    -------
    DataArray (frame, y, x) of truth values, lazy; True where a pixel is left out of any bin. `integrate` takes it as
    ``mask``.

    Raises
    ------
    ValueError
        The integrator does not clip.
    DimensionError
        Frames and geometry do not fit.

    Examples
    --------
    >>> clipped_mask(frames, integrator).isel(frame=47).compute()  # doctest: +SKIP
    """
    import dask.array as da

    stack, plan = _prepared("clipped_mask", frames, integrator)
    images = stack.data if hasattr(stack.data, "dask") else da.from_array(stack.data, (BATCH, -1, -1), name=False)
    images = images.rechunk({1: -1, 2: -1})
    beside = [
        None if image is None or image.shape[0] != len(images) else da.asarray(image).rechunk(images.chunks)
        for image in (stack.varying_mask, stack.variance)
    ]
    given = [array for array in beside if array is not None]

    def work(pixels: np.ndarray, *others: np.ndarray) -> np.ndarray:
        left = iter(others)
        mask, variance = (None if array is None else next(left) for array in beside)
        return _marks(plan, integrator, stack, pixels, mask, variance, 1).reshape(pixels.shape)

    # A name of its own spares dask the hashing of the plan.
    named: dict[str, Any] = {"name": f"clipped-{uuid4().hex}", "dtype": bool, "meta": np.empty((0, 0, 0), bool)}
    marks = da.map_blocks(work, images, *given, **named)
    coords = {name: one.variable for name, one in stack.dataset.coords.items() if one.dims == ("frame",)}
    told = {"units": "1", "long_name": "left out as outlier"}
    result = xr.DataArray(marks, coords, ("frame", "y", "x"), "clipped", told)
    return record(result, "scattering.clipped_mask", clip=integrator.settings.clip)


def _prepared(function: str, frames: xr.Dataset | xr.DataArray, integrator: Integrator) -> tuple[Stack, Plan]:
    wish = integrator.settings
    if wish.clip is None:
        raise ValueError(f"{function} needs an Integrator that clips: Integrator(..., clip=SigmaClip(5.0))")
    stack = as_stack(frames, wish.mask, wish.variance)
    return stack, integrator.plan(stack)[1]


def _clipped(stack: Stack, plan: Plan, integrator: Integrator) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield the first frame, the counts (frame, pixel) and what is clipped of them, group by group."""
    for start in range(0, len(stack.data), BATCH):
        rows = slice(start, start + BATCH)
        pixels = np.asarray(stack.data[rows])
        mask = None if stack.varying_mask is None else stack.varying_mask[rows]
        variance = None if stack.variance is None or stack.one_variance is not None else stack.variance[rows]
        clipped = _marks(plan, integrator, stack, pixels, mask, variance, threads.effective())
        yield start, pixels.reshape(clipped.shape), clipped


def _marks(
    plan: Plan, integrator: Integrator, stack: Stack, pixels: np.ndarray, mask: Any, variance: Any, n_threads: int
) -> np.ndarray:
    flat = native(pixels)
    parts = reduce_block(
        plan,
        flat,
        mask=None if mask is None else np.asarray(mask, bool).reshape(flat.shape),
        overflow=stack.overflow,
        monitor=None,
        error_model=integrator.settings.error_model,
        clip=integrator.settings.clip,
        variance=stack.one_variance if variance is None else np.asarray(variance, float).reshape(flat.shape),
        n_threads=n_threads,
        marks=True,
    )
    return parts["clipped"]


def _bins_of(plan: Plan, places: np.ndarray) -> np.ndarray:
    """Return the bin that has most of each pixel."""
    order = ring_order(plan)
    wanted = np.zeros(plan.weights.shape[1], bool)
    wanted[places] = True
    entry = np.flatnonzero(wanted[order.pixel])
    if order.coefficient is not None:
        entry = entry[np.argsort(order.coefficient[entry], kind="stable")]
    main = np.zeros(len(wanted), int)
    main[order.pixel[entry]] = np.searchsorted(order.start, entry, side="right") - 1
    return main[places]
