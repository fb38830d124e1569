"""Sums of detector pixels over rings: each pixel belongs whole to the bin of its centre.

A series of Eiger-4M frames (2167 x 2070 uint32, 2000 bins, overflow value, Poisson variance) takes 2.1 ms a frame on
one thread without 512-bit vectors, a frame alone 3.0, a cake of 1000 x 360 bins 3.3; pyFAI's fastest way without
splitting, CSC, took 62 ms (cake: 74) on the same machine. benchmarks/bench_azimuthal.py races whole calls.
"""

from cython.parallel cimport prange, threadid
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t

import numpy as np

from batlab._kernels.tasks cimport (
    BIN_GROUP, PIX_LINE, bin_group, bin_scratch, bin_task, bin_words, code, pix_align, pixel_t,
)

ctypedef fused index_t:
    uint16_t
    uint32_t


cdef int check(Py_ssize_t n_frames, Py_ssize_t n_pixels, Py_ssize_t n_indexed, const int32_t[::1] owner,
               Py_ssize_t n_bins, const float[:, ::1] weights, const uint8_t[:, ::1] mask,
               Py_ssize_t n_threads) except -1:
    if n_bins < 1 or not 0 < owner.shape[0] < 1 << 28:
        raise ValueError(f"n_bins and owner must be 1 or more, got {n_bins} and {owner.shape[0]}")
    if n_indexed != n_pixels or weights.shape[1] != n_pixels:
        raise ValueError(f"bins ({n_indexed}) and weights ({weights.shape[1]}) must have {n_pixels} pixels")
    if mask is not None and (mask.shape[0] != n_frames or mask.shape[1] != n_pixels):
        raise ValueError(f"mask must be ({n_frames}, {n_pixels}) as frames, got ({mask.shape[0]}, {mask.shape[1]})")
    if owner[0] < 0 or owner[owner.shape[0] - 1] >= n_bins or np.any(np.diff(owner) < 0):
        raise ValueError(f"owner must not decrease and hold 0 to {n_bins - 1}")
    if n_threads < 1:
        raise ValueError(f"n_threads must be at least 1, got {n_threads}")
    return 0


def azimuthal(const pixel_t[:, ::1] frames not None, const index_t[::1] bins not None,
              const int32_t[::1] owner not None, Py_ssize_t n_bins, const float[:, ::1] weights not None,
              const uint8_t[:, ::1] mask, const pixel_t[::1] overflow not None, bint of_variance=False,
              Py_ssize_t n_threads=1):
    """Return (signal, variance, skipped, skipped_weights) of every frame; see `reference.azimuthal`."""
    cdef Py_ssize_t n_frames = frames.shape[0], n_pixels = frames.shape[1], n_groups, g
    cdef bin_task task
    check(n_frames, n_pixels, bins.shape[0], owner, n_bins, weights, mask, n_threads)

    signal_array, variance_array, skipped_array = (np.zeros((n_frames, n_bins)) for _ in range(3))
    skipped_weights_array = np.zeros((n_frames, weights.shape[0], n_bins))
    if n_frames == 0 or n_pixels == 0:
        return signal_array, variance_array, skipped_array, skipped_weights_array
    cdef double[:, ::1] signal = signal_array, variance = variance_array, skipped = skipped_array
    cdef double[:, :, ::1] skipped_weights = skipped_weights_array
    task.n_frames, task.n_pixels, task.n_internal, task.n_bins = n_frames, n_pixels, owner.shape[0], n_bins
    task.n_weights, task.kind.n_overflow = weights.shape[0], overflow.shape[0]
    task.pixels, task.bins, task.owner = &frames[0, 0], &bins[0], &owner[0]
    task.mask = NULL if mask is None else &mask[0, 0]
    task.index_size, task.kind.type, task.of_variance = sizeof(index_t), code[pixel_t](0), of_variance
    task.weights = NULL if task.n_weights == 0 else &weights[0, 0]
    task.kind.overflow = NULL if task.kind.n_overflow == 0 else &overflow[0]
    task.kind.has_narrow_overflow = any(0 <= value < 256 for value in np.asarray(overflow))
    task.signal, task.variance, task.skipped = &signal[0, 0], &variance[0, 0], &skipped[0, 0]
    task.skipped_weights = NULL if task.n_weights == 0 else &skipped_weights[0, 0, 0]
    # Frames are shared out evenly; whatever the groups, the sums have the same bits.
    n_threads = min(n_threads, n_frames)
    n_groups = (n_frames + n_threads * BIN_GROUP - 1) // (n_threads * BIN_GROUP) * n_threads
    is_real = pixel_t is float or pixel_t is double
    cdef Py_ssize_t n_words = 0 if is_real else n_threads * bin_words(&task)
    cdef uint32_t[::1] words = np.zeros(n_words + PIX_LINE, np.uint32)
    cdef uint64_t[::1] wide_words = np.zeros(n_words + PIX_LINE, np.uint64)
    cdef double[::1] sums = np.zeros(PIX_LINE + (n_threads * (task.n_internal + 1) * BIN_GROUP if is_real else 0))
    cdef uint8_t[:, ::1] scratch = np.empty((n_threads, bin_scratch()), np.uint8)
    cdef int32_t[::1] status = np.zeros(n_groups, np.int32)
    task.words, task.wide_words = <uint32_t *>pix_align(&words[0]), <uint64_t *>pix_align(&wide_words[0])
    task.sums = <double *>pix_align(&sums[0])

    for g in prange(n_groups, schedule="static", num_threads=n_threads, nogil=True):
        status[g] = bin_group(&task, g * n_frames // n_groups, (g + 1) * n_frames // n_groups, threadid(),
                              &scratch[0, 0])
    if np.any(status):
        raise ValueError(f"bins must be 0 to {task.n_internal} (the spare one), got {np.max(bins)}")
    return signal_array, variance_array, skipped_array, skipped_weights_array
