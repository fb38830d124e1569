"""From the sums of all bins to their means and uncertainties, in one pass.

numpy makes ten passes over arrays of the results' size; with this the whole call on eight cakes of 1000 x 360 bins went
from 13.1 to 11.1 ms a frame on one thread of an AMD EPYC (Zen 3). benchmarks/bench_azimuthal.py times whole calls.
"""

from cython.parallel cimport prange
from libc.stdint cimport int32_t

import numpy as np

cdef extern from "means.h" nogil:
    void means_of_whole(Py_ssize_t n, const double *signal, const double *variance, const double *skipped,
                        const double *skipped_weight, const double *n_pixels, const double *total, double monitor,
                        double residue, double *mean, double *sigma, double *normalization, int32_t *left)
    void means_of_parts(Py_ssize_t n, const double *signal, const double *variance, const double *skipped,
                        const double *skipped_weight, const double *n_pixels, const double *total, double monitor,
                        double residue, double *mean, double *sigma, double *normalization, double *left)


def azimuthal_means(const double[:, ::1] signal not None, const double[:, ::1] variance not None,
                    const double[:, ::1] skipped not None, const double[:, ::1] skipped_weight not None,
                    const double[::1] n_pixels not None, const double[::1] total not None,
                    const double[::1] monitor not None, bint is_whole=True, double residue=0.0,
                    Py_ssize_t n_threads=1):
    """Return (mean, sigma, normalization, left) of every frame; see `reference.azimuthal_means`."""
    cdef Py_ssize_t n_frames = signal.shape[0], n_bins = signal.shape[1], f
    for name, one in (("variance", variance), ("skipped", skipped), ("skipped_weight", skipped_weight)):
        if one.shape[0] != n_frames or one.shape[1] != n_bins:
            raise ValueError(f"{name} must be ({n_frames}, {n_bins}) as signal, got ({one.shape[0]}, {one.shape[1]})")
    if n_pixels.shape[0] != n_bins or total.shape[0] != n_bins or monitor.shape[0] != n_frames:
        raise ValueError(
            f"n_pixels ({n_pixels.shape[0]}) and total ({total.shape[0]}) must have {n_bins} bins, "
            f"monitor ({monitor.shape[0]}) {n_frames} frames"
        )
    if n_threads < 1:
        raise ValueError(f"n_threads must be at least 1, got {n_threads}")

    mean_array, sigma_array, normalization_array = (np.empty((n_frames, n_bins)) for _ in range(3))
    left_array = np.empty((n_frames, n_bins), np.int32 if is_whole else np.float64)
    if n_frames == 0 or n_bins == 0:
        return mean_array, sigma_array, normalization_array, left_array
    cdef double[:, ::1] mean = mean_array, sigma = sigma_array, normalization = normalization_array
    cdef int32_t[:, ::1] whole = left_array if is_whole else None
    cdef double[:, ::1] parts = None if is_whole else left_array

    for f in prange(n_frames, schedule="static", num_threads=min(n_threads, n_frames), nogil=True):
        if is_whole:
            means_of_whole(n_bins, &signal[f, 0], &variance[f, 0], &skipped[f, 0], &skipped_weight[f, 0], &n_pixels[0],
                           &total[0], monitor[f], residue, &mean[f, 0], &sigma[f, 0], &normalization[f, 0],
                           &whole[f, 0])
        else:
            means_of_parts(n_bins, &signal[f, 0], &variance[f, 0], &skipped[f, 0], &skipped_weight[f, 0], &n_pixels[0],
                           &total[0], monitor[f], residue, &mean[f, 0], &sigma[f, 0], &normalization[f, 0],
                           &parts[f, 0])
    return mean_array, sigma_array, normalization_array, left_array
