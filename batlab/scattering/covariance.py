"""How the intensities of bins that share pixels vary together."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from batlab.scattering.frames import as_stack, native, overflow_in
from batlab.scattering.integrator import Integrator
from batlab.scattering.rings import ring_order


def covariance(frame: xr.Dataset | xr.DataArray, integrator: Integrator) -> Any:
    """Return the covariance of the intensities of one frame, bin by bin.

    A pixel i that gives the parts w to the bins k and l makes their sums vary together: C = Σ w_ik w_il σ_i² over
    the product of their normalisations. The diagonal is ``intensity_sigma`` squared. Without splitting nothing else
    is there. A sum over bins has the variance of the sum of its block; ``sigma_inflation`` is the short form of it.

    Parameters
    ----------
    frame
        One image (y, x), or a series of one frame.
    integrator
        With any `split` and any error model but None; without `clip`.

    Returns
    -------
    scipy.sparse.csr_array (bin, bin), in the unit of the intensity squared; the bins of a cake row by row of equal
    azimuth, as ``intensity.values.ravel()``. Empty bins have no entries.

    Raises
    ------
    ValueError
        More than one frame, no error model, or a `clip`.

    References
    ----------
    https://github.com/silx-kit/pyFAI/issues/2774

    Examples
    --------
    >>> from batlab.io.poni import Geometry
    >>> flat_detector = Geometry(0.2, 0.005, 0.005, wavelength=1.0, shape=(100, 100),
    ...     detector_config='{"pixel1": 1e-4, "pixel2": 1e-4, "max_shape": [100, 100]}')
    >>> image = xr.DataArray(np.full((100, 100), 50, np.uint16), dims=("y", "x"))
    >>> integrator = Integrator(flat_detector, n_bins=60, split="bbox")
    >>> matrix = covariance(image, integrator)
    >>> bool(np.allclose(matrix.diagonal(), integrator(image).intensity_sigma[0] ** 2))
    True
    """
    from scipy.sparse import csr_array, diags_array

    wish = integrator.settings
    if wish.error_model is None or wish.clip is not None:
        raise ValueError(f"covariance needs an error model and no clip, got {wish.error_model!r} and {wish.clip}")
    stack = as_stack(frame, wish.mask, wish.variance)
    if len(stack.data) != 1:
        raise ValueError(f"covariance is that of one frame, got {len(stack.data)}; select one with isel(frame=[0])")
    pattern = integrator(frame)
    plan = integrator.plan(stack)[1]
    pixels = native(np.asarray(stack.data))[0]
    usable = np.isfinite(pixels) & ~np.isin(pixels, overflow_in(stack.overflow, pixels.dtype))
    if stack.varying_mask is not None:
        usable &= ~np.asarray(stack.varying_mask).ravel().astype(bool)
    counts = np.where(usable, pixels, 0).astype(float)
    square = np.maximum(counts, 1) if stack.variance is None else np.asarray(stack.variance, float).ravel()
    norm = plan.weights[0].astype(float)
    if len(plan.weights) == 3:
        counts, square = counts - plan.weights[1], square + plan.weights[2]
    usable &= np.isfinite(square)
    order = ring_order(plan)
    pixel, shape = order.pixel.astype(np.int64), (plan.n_bins, len(counts))
    part = np.ones(len(pixel)) if order.coefficient is None else order.coefficient.astype(float)
    part = np.where(usable[pixel], part, 0.0)
    if wish.error_model == "azimuthal":
        weight = csr_array((part * norm[pixel], pixel, order.start), shape=shape).sum(axis=1)
        mean = pattern["signal"].values.ravel() / np.where(weight > 0, weight, np.inf)
        deviation = counts[pixel] - norm[pixel] * np.repeat(mean, np.diff(order.start))
    else:
        deviation = np.sqrt(np.where(usable, square, 0))[pixel]
    spread = csr_array((part * deviation, pixel, order.start), shape=shape)
    scale = pattern["normalization"].values.ravel()
    with np.errstate(divide="ignore"):
        inverse = diags_array(np.where(scale > 0, 1 / scale, 0.0))
    return csr_array(inverse @ (spread @ spread.T) @ inverse)
