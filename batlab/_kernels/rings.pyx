"""Rings whose pixels must be seen together: their scatter, their outliers, their quantiles.

An Eiger-4M frame (2000 bins, no splitting, one thread) clipped at 5 sigma takes 42 to 48 ms, pyFAI's sigma_clip 101 to
131 ms in the same run; quantiles 84 ms beside 258, scatter 39 beside 91 (benchmarks/bench_rings.py).
"""

from cython.parallel cimport prange, threadid
from libc.math cimport fabs
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

import numpy as np

cdef extern from "rings.h" nogil:
    ctypedef struct rings_ring:
        double* x
        double* omega
        double* signal
        double* variance
        int32_t* where
        uint64_t* keys
        uint64_t* spare
    ctypedef struct rings_wish:
        int model
        int clip
        int max_iterations
        double low
        double high
    enum:
        RINGS_PROPAGATED
        RINGS_AZIMUTHAL
        RINGS_HYBRID
    void rings_reduce(const rings_ring* ring, Py_ssize_t n, const rings_wish* wish, const uint32_t* pixel,
                      const float* coefficient, uint8_t* clipped, double* out) noexcept

ctypedef fused pixel_t:
    uint8_t
    uint16_t
    uint32_t
    int16_t
    int32_t
    float
    double

cdef struct Images:
    Py_ssize_t n_pixels
    const float* weights  # normalisation, and where there is a dark image that and its variance
    bint has_dark
    bint has_variance
    const double* variance
    const uint8_t* mask


cdef bint is_left_out(pixel_t value, const pixel_t* overflow, Py_ssize_t n_overflow) noexcept nogil:
    cdef Py_ssize_t k
    if pixel_t is float or pixel_t is double:
        if not (value - value == 0):
            return True
    for k in range(n_overflow):
        if value == overflow[k]:
            return True
    return False


cdef Py_ssize_t gather(const pixel_t* pixels, const Images* images, const uint32_t* pixel, const float* coefficient,
                       Py_ssize_t n, const pixel_t* overflow, Py_ssize_t n_overflow,
                       const rings_ring* ring) noexcept nogil:
    """Collect the usable pixels of a ring, in image order; return their number."""
    cdef Py_ssize_t i, p, kept = 0
    cdef pixel_t value
    cdef double c = 1.0, signal, square, norm
    for i in range(n):
        p = pixel[i]
        value = pixels[p]
        norm = images.weights[p]
        if norm == 0 or is_left_out(value, overflow, n_overflow) or (images.mask != NULL and images.mask[p]):
            continue
        signal = value
        if images.has_variance:
            # max(signal, 1) without a branch
            square = 0.5 * (signal + 1.0 + fabs(signal - 1.0)) if images.variance == NULL else images.variance[p]
            if not (square - square == 0):
                continue
            if images.has_dark:
                square += images.weights[2 * images.n_pixels + p]
        if images.has_dark:
            signal -= images.weights[images.n_pixels + p]
        if coefficient != NULL:
            c = coefficient[i]
            if c == 0:
                continue
        if images.has_variance:
            ring.variance[kept] = c * c * square
        ring.signal[kept] = c * signal
        ring.omega[kept] = c * norm
        ring.where[kept] = <int32_t>i
        kept += 1
    return kept


cdef void one_frame(const pixel_t* pixels, Py_ssize_t n_pixels, const float* weights, Py_ssize_t n_weights,
                    const double* variance, const uint8_t* mask, const int64_t* start, Py_ssize_t n_bins,
                    const uint32_t* pixel, const float* coefficient, const pixel_t* overflow, Py_ssize_t n_overflow,
                    const rings_wish* wish, double* scratch, uint64_t* keys, Py_ssize_t longest, uint8_t* clipped,
                    double* sums) noexcept nogil:
    """All rings of one frame; `sums` (5, bin)."""
    cdef Images images
    cdef rings_ring ring
    cdef double out[5]
    cdef const float* part = NULL
    cdef Py_ssize_t b, k, n
    images.n_pixels, images.weights, images.has_dark = n_pixels, weights, n_weights == 3
    images.has_variance = wish.model == RINGS_PROPAGATED or wish.model == RINGS_HYBRID
    images.variance, images.mask = variance, mask
    ring.x, ring.omega = scratch, scratch + longest
    ring.signal, ring.variance = scratch + 2 * longest, scratch + 3 * longest
    ring.where = <int32_t*>(scratch + 4 * longest)
    ring.keys, ring.spare = keys, keys + longest
    for b in range(n_bins):
        if coefficient != NULL:
            part = coefficient + start[b]
        n = gather(pixels, &images, pixel + start[b], part, start[b + 1] - start[b], overflow, n_overflow, &ring)
        rings_reduce(&ring, n, wish, pixel + start[b], part, clipped, out)
        for k in range(5):
            sums[k * n_bins + b] = out[k]


def check(frames, start, pixel, coefficient, weights, variance, mask, model, clip, low, high, max_iterations,
          n_threads):
    """Refuse arguments that do not fit each other."""
    n_frames, n_pixels = frames.shape
    if n_threads < 1 or max_iterations < 0 or model not in (0, 1, 2, 3) or clip not in (0, 1, 2):
        raise ValueError(f"n_threads {n_threads}, max_iterations {max_iterations}, model {model}, clip {clip}")
    if weights.shape[0] not in (1, 3) or weights.shape[1] != n_pixels:
        raise ValueError(f"weights must be (1 or 3, {n_pixels}), got ({weights.shape[0]}, {weights.shape[1]})")
    for name, image in (("mask", mask), ("variance", variance)):
        rows = (n_frames,) if name == "mask" else (1, n_frames)
        if image is not None and (image.shape[0] not in rows or image.shape[1] != n_pixels):
            raise ValueError(f"{name} must be ({n_frames}, {n_pixels}), got ({image.shape[0]}, {image.shape[1]})")
    n = pixel.shape[0]
    if start.shape[0] < 1 or start[0] != 0 or start[start.shape[0] - 1] != n or (np.diff(start) < 0).any() or np.diff(
            start).max(initial=0) >= 2**31:
        raise ValueError(f"start must lead from 0 to the {n} places, never down")
    if (coefficient is not None and coefficient.shape[0] != n) or (n and int(np.max(pixel)) >= n_pixels):
        raise ValueError(f"coefficient must have {n} places, pixel must lie below {n_pixels}")
    if not low >= 0 or (clip == 2 and not low <= high <= 1):
        raise ValueError(f"the threshold must be at least 0, quantiles 0 to 1 and in order, got {low}, {high}")


def rings(const pixel_t[:, ::1] frames not None, const int64_t[::1] start not None, const uint32_t[::1] pixel not None,
          const float[::1] coefficient, const float[:, ::1] weights not None, const double[:, ::1] variance,
          const uint8_t[:, ::1] mask, const pixel_t[::1] overflow not None, int model, int clip, double low,
          double high, int max_iterations, bint marks=False, Py_ssize_t n_threads=1):
    """Return (sums, clipped) of every frame; see `reference.rings`."""
    cdef Py_ssize_t n_frames = frames.shape[0], n_pixels = frames.shape[1], n_bins = start.shape[0] - 1, f
    cdef Py_ssize_t n_overflow = overflow.shape[0]
    check(np.asarray(frames), np.asarray(start), np.asarray(pixel), coefficient, weights, variance, mask, model, clip,
          low, high, max_iterations, n_threads)
    cdef Py_ssize_t longest = np.diff(start).max(initial=0)

    sums_array = np.zeros((n_frames, 5, n_bins))
    clipped_array = np.zeros((n_frames, n_pixels if marks else 0), np.uint8)
    cdef double[:, :, ::1] sums = sums_array
    cdef uint8_t[:, ::1] clipped = clipped_array
    cdef double[:, ::1] scratch = np.empty((n_threads, 5 * longest))
    cdef uint64_t[:, ::1] keys = np.empty((n_threads, 2 * longest if clip else 0), np.uint64)
    cdef rings_wish wish = rings_wish(model, clip, max_iterations, low, high)

    if n_frames == 0 or longest == 0:
        return sums_array, clipped_array
    for f in prange(n_frames, schedule="static", num_threads=n_threads, nogil=True):
        one_frame(&frames[f, 0], n_pixels, &weights[0, 0], weights.shape[0],
                  NULL if variance is None else &variance[f % variance.shape[0], 0],
                  NULL if mask is None else &mask[f, 0], &start[0], n_bins, &pixel[0],
                  NULL if coefficient is None else &coefficient[0], NULL if n_overflow == 0 else &overflow[0],
                  n_overflow, &wish, &scratch[threadid(), 0],
                  NULL if clip == 0 else &keys[threadid(), 0], longest,
                  NULL if not marks else &clipped[f, 0], &sums[f, 0, 0])
    return sums_array, clipped_array
