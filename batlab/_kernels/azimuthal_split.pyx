"""Sums of detector pixels over rings: each pixel shared out over the bins that it covers.

A series of Eiger-4M frames takes 6.5 ms a frame on one thread without 512-bit vectors (a frame alone 24); pyFAI's CSC
took 82 ms for the same boxes and for the same polygons. benchmarks/bench_azimuthal.py races whole calls.
"""

from cython.parallel cimport prange, threadid
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t

import numpy as np

from batlab._kernels.tasks cimport (
    PIX_BLOCK, PIX_LINE, RUN_GROUP, code, pix_align, pixel_t, run_group, run_scratch, run_sums, run_task,
)


cdef int check(Py_ssize_t n_frames, Py_ssize_t n_pixels, Py_ssize_t n_bins, const float[:, ::1] weights,
               Py_ssize_t n_powers, const uint8_t[:, ::1] mask, Py_ssize_t n_threads) except -1:
    if not 0 < n_bins < 1 << 31:
        raise ValueError(f"n_bins must be 1 or more, got {n_bins}")
    if weights.shape[1] != n_pixels or weights.shape[0] != n_powers:
        raise ValueError(f"weights must be ({n_powers}, {n_pixels}), got ({weights.shape[0]}, {weights.shape[1]})")
    if mask is not None and (mask.shape[0] != n_frames or mask.shape[1] != n_pixels):
        raise ValueError(f"mask must be ({n_frames}, {n_pixels}) as frames, got ({mask.shape[0]}, {mask.shape[1]})")
    if n_threads < 1:
        raise ValueError(f"n_threads must be at least 1, got {n_threads}")
    return 0


cdef int check_starts(const int64_t[::1] starts, Py_ssize_t n_pixels, Py_ssize_t n_items, str name) except -1:
    cdef Py_ssize_t n_blocks = (n_pixels + PIX_BLOCK - 1) // PIX_BLOCK
    if starts.shape[0] != n_blocks + 1 or starts[0] != 0 or starts[n_blocks] != n_items or np.any(np.diff(starts) < 0):
        raise ValueError(f"{name} must have {n_blocks + 1} values and rise from 0 to {n_items}")
    return 0


def azimuthal_split(const pixel_t[:, ::1] frames not None, const uint32_t[::1] first not None,
                    const uint16_t[::1] pixel not None, const uint16_t[::1] length not None,
                    const float[::1] weight not None, const int64_t[::1] run_start not None,
                    const int64_t[::1] entry_start not None, Py_ssize_t n_bins, const float[:, ::1] weights not None,
                    const uint8_t[::1] powers not None, const uint8_t[:, ::1] mask,
                    const pixel_t[::1] overflow not None, bint of_variance=False, Py_ssize_t n_threads=1):
    """Return (signal, variance, skipped, skipped_weights) of every frame; see `reference.azimuthal_split`."""
    cdef Py_ssize_t n_frames = frames.shape[0], n_pixels = frames.shape[1], n_groups, g
    cdef run_task task
    check(n_frames, n_pixels, n_bins, weights, powers.shape[0], mask, n_threads)
    check_starts(run_start, n_pixels, first.shape[0], "run_start")
    check_starts(entry_start, n_pixels, weight.shape[0], "entry_start")
    if not first.shape[0] == pixel.shape[0] == length.shape[0]:
        raise ValueError(f"first ({first.shape[0]}), pixel ({pixel.shape[0]}), length ({length.shape[0]}) must agree")

    signal_array, variance_array, skipped_array = (np.zeros((n_frames, n_bins)) for _ in range(3))
    skipped_weights_array = np.zeros((n_frames, weights.shape[0], n_bins))
    if n_frames == 0 or n_pixels == 0 or first.shape[0] == 0:
        return signal_array, variance_array, skipped_array, skipped_weights_array
    cdef double[:, ::1] signal = signal_array, variance = variance_array, skipped = skipped_array
    cdef double[:, :, ::1] skipped_weights = skipped_weights_array
    task.n_frames, task.n_pixels, task.n_bins, task.n_weights = n_frames, n_pixels, n_bins, weights.shape[0]
    task.kind.type, task.kind.n_overflow = code[pixel_t](0), overflow.shape[0]
    task.kind.overflow = NULL if task.kind.n_overflow == 0 else &overflow[0]
    task.kind.has_narrow_overflow = any(0 <= value < 256 for value in np.asarray(overflow))
    task.pixels, task.mask, task.of_variance = &frames[0, 0], NULL if mask is None else &mask[0, 0], of_variance
    task.first, task.pixel, task.length = &first[0], &pixel[0], &length[0]
    task.weight = NULL if weight.shape[0] == 0 else &weight[0]
    task.run_start, task.entry_start = &run_start[0], &entry_start[0]
    task.weights = NULL if task.n_weights == 0 else &weights[0, 0]
    task.powers = NULL if task.n_weights == 0 else &powers[0]
    task.signal, task.variance, task.skipped = &signal[0, 0], &variance[0, 0], &skipped[0, 0]
    task.skipped_weights = NULL if task.n_weights == 0 else &skipped_weights[0, 0, 0]
    n_threads = min(n_threads, n_frames)
    n_groups = (n_frames + n_threads * RUN_GROUP - 1) // (n_threads * RUN_GROUP) * n_threads
    cdef double[::1] sums = np.zeros(n_threads * run_sums(n_bins) + PIX_LINE)
    cdef uint8_t[:, ::1] scratch = np.empty((n_threads, run_scratch()), np.uint8)
    cdef int32_t[::1] status = np.zeros(n_groups, np.int32)
    task.sums = <double *>pix_align(&sums[0])

    for g in prange(n_groups, schedule="static", num_threads=n_threads, nogil=True):
        status[g] = run_group(&task, g * n_frames // n_groups, (g + 1) * n_frames // n_groups, threadid(),
                              &scratch[0, 0])
    if np.any(status):
        raise ValueError("runs must stay inside their block, the bins and the weights, with pixels in order")
    return signal_array, variance_array, skipped_array, skipped_weights_array
