"""Sums of detector pixels over rings: each pixel belongs whole to the bin of its centre.

A series of Eiger-4M frames (2167 x 2070 uint32, 2000 bins, overflow value, Poisson variance) takes 5.5 ms a frame on
one thread; pyFAI's fastest way without splitting, CSC, took 52 ms in the same run (benchmarks/bench_azimuthal.py).
"""

from cython.parallel cimport prange, threadid
from libc.math cimport fabs
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

import numpy as np

ctypedef fused pixel_t:
    uint8_t
    uint16_t
    uint32_t
    int16_t
    int32_t
    float
    double

# Neighbouring pixels share a bin: with four lanes an addition need not wait for the one before it.
cdef enum:
    LANES = 4
    BLOCK = 4096  # pixels and their bins fit a first-level cache of 32 kB
    TILE = 1 << 17  # a lane takes TILE / LANES pixels below 2^32 between two flushes: counts stay below 2^47
    SHIFT = 48  # above the counts stands the number of zeros, at most 2^15


cdef bint is_special(const pixel_t* pixels, const uint16_t* bins, const uint8_t* mask, Py_ssize_t n, uint16_t spare,
                     const pixel_t* overflow, Py_ssize_t n_overflow) noexcept nogil:
    """Whether any pixel in a ring is masked, overflowing, not finite or negative; plain loops, which vectorise."""
    cdef uint32_t found = 0
    cdef Py_ssize_t i, k
    cdef pixel_t limit
    if mask != NULL:
        for i in range(n):
            found |= (mask[i] != 0) & (bins[i] != spare)
    for k in range(n_overflow):
        limit = overflow[k]
        for i in range(n):
            found |= (pixels[i] == limit) & (bins[i] != spare)
    if pixel_t is float or pixel_t is double:
        for i in range(n):
            found |= (not (pixels[i] - pixels[i] == 0)) & (bins[i] != spare)
    elif pixel_t is int16_t or pixel_t is int32_t:
        for i in range(n):
            found |= (pixels[i] < 0) & (bins[i] != spare)
    return found != 0


cdef bint is_left_out(pixel_t value, const pixel_t* overflow, Py_ssize_t n_overflow) noexcept nogil:
    cdef Py_ssize_t k
    if pixel_t is float or pixel_t is double:
        if not (value - value == 0):
            return True
    for k in range(n_overflow):
        if value == overflow[k]:
            return True
    return False


cdef inline void add_word(uint64_t* lane, pixel_t value) noexcept nogil:
    lane[0] += <uint64_t><uint32_t>value + (<uint64_t>(value == 0) << SHIFT)


cdef inline void add_pair(double* lane, pixel_t value) noexcept nogil:
    cdef double exact = value
    lane[0] += exact
    # max(value, 1) without a branch: on float32 counts a mispredicted one takes three times as long.
    lane[1] += 0.5 * (exact + 1.0 + fabs(exact - 1.0))


cdef void add_one(pixel_t value, Py_ssize_t b, uint64_t* counts, double* sums) noexcept nogil:
    """Add a pixel to the totals of its bin: (sum, sum of what lacks to one count)."""
    if pixel_t is float or pixel_t is double:
        add_pair(sums + 2 * b, value)
    else:
        counts[2 * b] += <uint64_t><int64_t>value
        if value < 1:
            counts[2 * b + 1] += <uint64_t>(1 - <int64_t>value)


cdef void add_many(const pixel_t* pixels, const uint16_t* bins, Py_ssize_t n, uint64_t* words,
                   double* sums) noexcept nogil:
    """Add `n` ordinary pixels, a multiple of LANES, to the lanes of their bins."""
    cdef Py_ssize_t i
    for i in range(0, n, 4):
        if pixel_t is float or pixel_t is double:
            add_pair(sums + 8 * <Py_ssize_t>bins[i], pixels[i])
            add_pair(sums + 8 * <Py_ssize_t>bins[i + 1] + 2, pixels[i + 1])
            add_pair(sums + 8 * <Py_ssize_t>bins[i + 2] + 4, pixels[i + 2])
            add_pair(sums + 8 * <Py_ssize_t>bins[i + 3] + 6, pixels[i + 3])
        else:
            add_word(words + 4 * <Py_ssize_t>bins[i], pixels[i])
            add_word(words + 4 * <Py_ssize_t>bins[i + 1] + 1, pixels[i + 1])
            add_word(words + 4 * <Py_ssize_t>bins[i + 2] + 2, pixels[i + 2])
            add_word(words + 4 * <Py_ssize_t>bins[i + 3] + 3, pixels[i + 3])


cdef void flush(Py_ssize_t n_bins, uint64_t* lanes, uint64_t* counts) noexcept nogil:
    cdef Py_ssize_t b, k
    cdef uint64_t low = (<uint64_t>1 << SHIFT) - 1
    cdef uint64_t word
    for b in range(n_bins):
        for k in range(<Py_ssize_t>LANES):
            word = lanes[LANES * b + k]
            counts[2 * b] += word & low
            counts[2 * b + 1] += word >> SHIFT
            lanes[LANES * b + k] = 0


cdef void bin_frame(const pixel_t* pixels, const uint16_t* bins, const uint8_t* mask, Py_ssize_t n_pixels,
                    Py_ssize_t n_bins, const float* weights, Py_ssize_t n_weights, const pixel_t* overflow,
                    Py_ssize_t n_overflow, uint64_t* words, double* sums, double* signal, double* variance,
                    int32_t* skipped, double* skipped_weights) noexcept nogil:
    """One frame. `words` and `sums` are scratch: lanes of every bin and the spare one, then two totals a bin."""
    cdef Py_ssize_t size = (n_bins + 1) * LANES
    cdef uint64_t* counts = words + size
    cdef double* totals = sums + 2 * size
    cdef uint16_t spare = <uint16_t>n_bins
    cdef Py_ssize_t start, n, i, k, b
    cdef const uint8_t* block_mask
    for i in range((n_bins + 1) * (LANES + 2)):
        words[i] = 0
    for i in range((n_bins + 1) * (2 * LANES + 2)):
        sums[i] = 0
    start = 0
    while start < n_pixels:
        n = min(<Py_ssize_t>BLOCK, n_pixels - start)
        block_mask = NULL if mask == NULL else mask + start
        i = 0
        if not is_special(pixels + start, bins + start, block_mask, n, spare, overflow, n_overflow):
            i = n - n % LANES
            add_many(pixels + start, bins + start, i, words, sums)
        for i in range(start + i, start + n):
            b = bins[i]
            if b == n_bins:
                continue
            if (mask != NULL and mask[i]) or is_left_out(pixels[i], overflow, n_overflow):
                skipped[b] += 1
                for k in range(n_weights):
                    skipped_weights[k * n_bins + b] += weights[k * n_pixels + i]
            else:
                add_one(pixels[i], b, counts, totals)
        start += n
        if start % TILE == 0 or start == n_pixels:
            flush(n_bins + 1, words, counts)
    for b in range(n_bins):
        if pixel_t is float or pixel_t is double:
            for k in range(<Py_ssize_t>LANES):
                totals[2 * b] += sums[2 * (LANES * b + k)]
                totals[2 * b + 1] += sums[2 * (LANES * b + k) + 1]
            signal[b] = totals[2 * b]
            variance[b] = totals[2 * b + 1]
        else:
            signal[b] = <double><int64_t>counts[2 * b]
            variance[b] = <double><int64_t>(counts[2 * b] + counts[2 * b + 1])


def azimuthal(const pixel_t[:, ::1] frames not None, const uint16_t[::1] bins not None, Py_ssize_t n_bins,
              const float[:, ::1] weights not None, const uint8_t[:, ::1] mask, const pixel_t[::1] overflow not None,
              Py_ssize_t n_threads=1):
    """Return (signal, variance, skipped, skipped_weights) of every frame; see `reference.azimuthal`."""
    cdef Py_ssize_t n_frames = frames.shape[0], n_pixels = frames.shape[1], n_weights = weights.shape[0]
    cdef Py_ssize_t n_overflow = overflow.shape[0], f
    if not 0 < n_bins < 65536:
        raise ValueError(f"n_bins must be 1 to 65535, got {n_bins}")
    if bins.shape[0] != n_pixels or weights.shape[1] != n_pixels:
        raise ValueError(f"bins ({bins.shape[0]}) and weights ({weights.shape[1]}) must have {n_pixels} pixels")
    if mask is not None and (mask.shape[0] != n_frames or mask.shape[1] != n_pixels):
        raise ValueError(f"mask must be ({n_frames}, {n_pixels}) as frames, got ({mask.shape[0]}, {mask.shape[1]})")
    if n_pixels and int(np.max(bins)) > n_bins:
        raise ValueError(f"bins must be 0 to {n_bins} (the spare one), got {np.max(bins)}")
    if n_threads < 1:
        raise ValueError(f"n_threads must be at least 1, got {n_threads}")

    signal_array, variance_array = np.zeros((n_frames, n_bins)), np.zeros((n_frames, n_bins))
    skipped_array = np.zeros((n_frames, n_bins), np.int32)
    skipped_weights_array = np.zeros((n_frames, n_weights, n_bins))
    cdef double[:, ::1] signal = signal_array, variance = variance_array
    cdef int32_t[:, ::1] skipped = skipped_array
    cdef double[:, :, ::1] skipped_weights = skipped_weights_array
    cdef uint64_t[:, ::1] words = np.empty((n_threads, (n_bins + 1) * (LANES + 2)), np.uint64)
    cdef double[:, ::1] sums = np.empty((n_threads, (n_bins + 1) * (2 * LANES + 2)))

    if n_pixels == 0 or n_frames == 0:
        return signal_array, variance_array, skipped_array, skipped_weights_array
    for f in prange(n_frames, schedule="static", num_threads=n_threads, nogil=True):
        bin_frame(&frames[f, 0], &bins[0], NULL if mask is None else &mask[f, 0], n_pixels, n_bins,
                  NULL if n_weights == 0 else &weights[0, 0], n_weights, NULL if n_overflow == 0 else &overflow[0],
                  n_overflow, &words[threadid(), 0], &sums[threadid(), 0], &signal[f, 0], &variance[f, 0],
                  &skipped[f, 0], NULL if n_weights == 0 else &skipped_weights[f, 0, 0])
    return signal_array, variance_array, skipped_array, skipped_weights_array
