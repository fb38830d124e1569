"""Edges of absorption spectra: the energy of the steepest rise, and normalisation by the fits before and after it.

Any grid for any frame. On spectra of 408 points and one thread numpy takes over 100 times as long as either, larch's
find_e0 15 times as long as `steepest`, its pre_edge, which also guesses the element, over 200 times as long as
`pre_edge` (benchmarks/bench_edge.py). Any number of threads gives the same bits.
"""

from cython.parallel cimport prange, threadid
from libc.math cimport isfinite, sqrt

import numpy as np

cdef extern from "edge.h" nogil:
    enum:
        EDGE_MOST
        EDGE_ALL
    ctypedef struct edge_task:
        double e0
        double low[2]
        double high[2]
        int n_coefficients
        int nvict
        double step
        double step_variance
        Py_ssize_t n_pre
        Py_ssize_t n_post
    double edge_steepest(const double* e, const double* y, const double* variance, Py_ssize_t n, double spacing,
                         double* scratch, double* sigma)
    void edge_normalize(edge_task* t, const double* e, const double* y, const double* variance, Py_ssize_t n,
                        double* norm, double* flat, double* norm_sigma, double* flat_sigma, double* scratch)

ctypedef fused real:
    float
    double


cdef Py_ssize_t gather(const double[:, ::1] energy, const real[:, :] mu, const real[:, :] sigma, Py_ssize_t f,
                       double* e, double* y, double* variance) noexcept nogil:
    """Collect the points of frame f whose energy and mu are finite; return their number."""
    cdef Py_ssize_t p, n = 0, row = f if energy.shape[0] > 1 else 0
    cdef bint has_sigma = sigma.shape[0] > 0
    for p in range(mu.shape[1]):
        e[n] = energy[row, p]
        y[n] = mu[f, p]
        if has_sigma:
            variance[n] = <double>sigma[f, p] * sigma[f, p]
        if isfinite(e[n]) and isfinite(y[n]):
            n = n + 1
    return n


cdef void one_edge(const double[:, ::1] energy, const real[:, :] mu, const real[:, :] sigma, double spacing,
                   Py_ssize_t f, double* work, double[:, ::1] found) noexcept nogil:
    cdef Py_ssize_t size = mu.shape[1] + 1, n
    n = gather(energy, mu, sigma, f, work, work + size, work + 2 * size)
    found[f, 0] = edge_steepest(work, work + size, work + 2 * size if sigma.shape[0] > 0 else NULL, n, spacing,
                                work + 3 * size, &found[f, 1])


cdef void one_frame(const double[:, ::1] energy, const real[:, :] mu, const real[:, :] sigma, double e0,
                    const double[::1] windows, int nnorm, int nvict, Py_ssize_t f, double* work, real[:, ::1] norm,
                    real[:, ::1] flat, real[:, ::1] norm_sigma, real[:, ::1] flat_sigma,
                    double[:, ::1] found) noexcept nogil:
    cdef Py_ssize_t size = mu.shape[1] + 1, row = f if energy.shape[0] > 1 else 0, n, p, i = 0
    cdef bint has_sigma = sigma.shape[0] > 0, has_flat = flat.shape[0] > 0
    cdef double* e = work
    cdef double* results = work + 3 * size
    cdef edge_task t
    t.e0, t.n_coefficients, t.nvict = e0, nnorm + 1, nvict
    t.low[0], t.high[0], t.low[1], t.high[1] = windows[0], windows[1], windows[2], windows[3]
    n = gather(energy, mu, sigma, f, e, e + size, e + 2 * size)
    edge_normalize(&t, e, e + size, e + 2 * size if has_sigma else NULL, n, results,
                   results + size if has_flat else NULL, results + 2 * size, results + 3 * size, results + 4 * size)
    found[f, 0], found[f, 1], found[f, 2], found[f, 3] = t.step, sqrt(t.step_variance), t.n_pre, t.n_post
    for p in range(mu.shape[1]):
        if isfinite(energy[row, p]) and isfinite(mu[f, p]):
            norm[f, p] = <real>results[i]
            if has_flat:
                flat[f, p] = <real>results[size + i]
            if has_sigma:
                norm_sigma[f, p] = <real>results[2 * size + i]
            if has_sigma and has_flat:
                flat_sigma[f, p] = <real>results[3 * size + i]
            i = i + 1


def check(energy, mu, sigma, per_frame, n_threads):
    """Refuse arrays that do not fit together, before any of them is read by address."""
    shape = tuple(mu.shape)
    if tuple(energy.shape) not in ((1, shape[1]), shape):
        raise ValueError(f"energy must be (1 or {shape[0]}, {shape[1]}), got {tuple(energy.shape)}")
    if tuple(sigma.shape) not in ((0, shape[1]), shape):
        raise ValueError(f"sigma must be (0 or {shape[0]}, {shape[1]}), got {tuple(sigma.shape)}")
    if per_frame.shape[0] != shape[0]:
        raise ValueError(f"one number a frame is needed, got {per_frame.shape[0]} for {shape[0]} frames")
    if n_threads < 1:
        raise ValueError(f"n_threads must be at least 1, got {n_threads}")


def steepest(const double[:, ::1] energy not None, const real[:, :] mu not None, const real[:, :] sigma not None,
             const double[::1] spacing not None, int n_threads=1):
    """Return (frame, 2): the energy of the steepest rise and its sigma; see `reference.steepest`."""
    cdef Py_ssize_t n_frames = mu.shape[0], size = mu.shape[1] + 1, f
    check(np.asarray(energy), np.asarray(mu), np.asarray(sigma), np.asarray(spacing), n_threads)

    result = np.full((n_frames, 2), np.nan)
    cdef double[:, ::1] found = result, work = np.empty((n_threads, 7 * size))

    if n_frames == 0 or size == 1:
        return result
    for f in prange(n_frames, schedule="static", num_threads=n_threads, nogil=True):
        one_edge(energy, mu, sigma, spacing[f], f, &work[threadid(), 0], found)
    return result


def pre_edge(const double[:, ::1] energy not None, const real[:, :] mu not None, const real[:, :] sigma not None,
             const double[::1] e0 not None, const double[::1] windows not None, int nnorm, int nvict=0,
             bint flatten=True, int n_threads=1):
    """Return norm, flat, their sigmas and (frame, 4) step, its sigma, points used; see `reference.pre_edge`."""
    cdef Py_ssize_t n_frames = mu.shape[0], n_points = mu.shape[1], f
    check(np.asarray(energy), np.asarray(mu), np.asarray(sigma), np.asarray(e0), n_threads)
    if windows.shape[0] != 4 or not np.isfinite(windows).all() or windows[0] > windows[1] or windows[2] > windows[3]:
        raise ValueError(f"windows must be four finite numbers, each pair in order, got {np.asarray(windows)}")
    if not 0 <= nnorm < EDGE_MOST or not 0 <= nvict <= 4:
        raise ValueError(f"nnorm must be 0 to {EDGE_MOST - 1} and nvict 0 to 4, got {nnorm} and {nvict}")

    kind = np.asarray(mu).dtype
    rows = [n_frames, n_frames if flatten else 0, sigma.shape[0], sigma.shape[0] if flatten else 0]
    arrays = [np.full((n, n_points), np.nan, kind) for n in rows]
    numbers = np.tile([np.nan, np.nan, 0.0, 0.0], (n_frames, 1))
    cdef real[:, ::1] norm = arrays[0], flat = arrays[1], norm_sigma = arrays[2], flat_sigma = arrays[3]
    cdef double[:, ::1] found = numbers
    cdef double[:, ::1] work = np.empty((n_threads, (7 + (EDGE_ALL if sigma.shape[0] else 0)) * (n_points + 1)))

    if n_frames == 0 or n_points == 0:
        return (*arrays, numbers)
    for f in prange(n_frames, schedule="static", num_threads=n_threads, nogil=True):
        one_frame(energy, mu, sigma, e0[f], windows, nnorm, nvict, f, &work[threadid(), 0], norm, flat, norm_sigma,
                  flat_sigma, found)
    return (*arrays, numbers)
