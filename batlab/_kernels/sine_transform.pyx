"""Sine and cosine transforms by direct sums: any grid for any frame, onto any outputs."""

from cython.parallel cimport prange, threadid
from libc.math cimport fabs, isfinite

import numpy as np

cdef extern from "sine_transform.h" nogil:
    double SINE_FAR
    void sine_near(const double *x, const double *wy, Py_ssize_t n, const double *X, Py_ssize_t n_out,
                   double *sine, double *cosine)
    void sine_far(const double *x, const double *wy, Py_ssize_t n, const double *X, Py_ssize_t n_out,
                  double *sine, double *cosine)

ctypedef fused real:
    float
    double


def sine_transform(
    const real[:, :] y not None,
    const double[:, :] x not None,
    const double[::1] x_out not None,
    const double[:, :] weights=None,
    int n_threads=1,
):
    """Return sums of weight y sin(x x_out) and weight y cos(x x_out) over the finite points of every frame.

    Parameters
    ----------
    y
        (n_frames, n_points), float32 or float64.
    x
        (n_frames, n_points), or (1, n_points) for all frames.
    x_out
        (n_out), finite, in any order.
    weights
        Like `x`; without them those of the trapezoid rule over the finite points, whose x must then increase.
    n_threads
        At least 1.

    Returns
    -------
    sine, cosine
        (n_frames, n_out) float64. A frame without a finite point (two for the trapezoid rule) is NaN, and so is one
        whose x do not increase where they must.

    Notes
    -----
    The error is some 1e-16 of the sum of \\|weight y\\| for angles up to 1e3, and grows with the angle as that of its
    product does. One thread, a grid for each frame: 16 to 23 times as fast as numpy's sines and cosines. On one grid
    for many frames a matrix (BLAS) or, where the grid is even, a padded FFT is quicker: use those there
    (`benchmarks/bench_sine.py`).
    """
    cdef Py_ssize_t n_frames = y.shape[0], n = y.shape[1], n_out = x_out.shape[0], f
    check(y, x, x_out, weights, n_threads)

    sines, cosines = np.full((n_frames, n_out), np.nan), np.full((n_frames, n_out), np.nan)
    cdef const double[:, :] w = np.empty((0, n)) if weights is None else weights
    cdef double[:, ::1] sine = sines, cosine = cosines, work = np.empty((n_threads, 2 * n + 1))

    if n_frames == 0 or n_out == 0:
        return sines, cosines
    for f in prange(n_frames, nogil=True, schedule="static", num_threads=n_threads):
        one_frame(y, x, x_out, w, f, &work[threadid(), 0], &sine[f, 0], &cosine[f, 0])
    return sines, cosines


def check(y, x, x_out, weights, n_threads):
    """Refuse arrays that do not fit together."""
    shape = np.shape(y)
    if np.shape(x) not in (shape, (1, shape[1])) or n_threads < 1:
        raise ValueError(f"y {shape} and x {np.shape(x)} must agree, x may have one row, and n_threads be at least 1, "
                         f"got {n_threads}")
    if weights is not None and np.shape(weights) not in (shape, (1, shape[1])):
        raise ValueError(f"weights must have the shape of y {shape} or one row, got {np.shape(weights)}")
    if not np.isfinite(x_out).all():
        raise ValueError("x_out must be finite")


cdef void one_frame(const real[:, :] y, const double[:, :] x, const double[::1] x_out, const double[:, :] weights,
                    Py_ssize_t f, double *work, double *sine, double *cosine) noexcept nogil:
    cdef Py_ssize_t rows = f if x.shape[0] > 1 else 0, own = f if weights.shape[0] > 1 else 0, n = 0, i
    cdef double *px = work
    cdef double *wy = work + y.shape[1]
    cdef double before, step, farthest = 0.0, widest = 0.0
    cdef bint given = weights.shape[0] > 0
    for i in range(y.shape[1]):
        if isfinite(y[f, i]) and isfinite(x[rows, i]) and (not given or isfinite(weights[own, i])):
            if not given and n > 0 and x[rows, i] <= px[n - 1]:
                return
            px[n] = x[rows, i]
            wy[n] = y[f, i] * weights[own, i] if given else y[f, i]
            farthest = max(farthest, fabs(px[n]))
            n = n + 1
    if n < (1 if given else 2):
        return
    if not given:
        before = 0.0
        for i in range(n):
            step = px[i + 1] - px[i] if i < n - 1 else 0.0
            wy[i] = wy[i] * 0.5 * (before + step)
            before = step
    for i in range(x_out.shape[0]):
        widest = max(widest, fabs(x_out[i]))
        sine[i] = 0.0
        cosine[i] = 0.0
    if farthest * widest > SINE_FAR:
        sine_far(px, wy, n, &x_out[0], x_out.shape[0], sine, cosine)
    else:
        sine_near(px, wy, n, &x_out[0], x_out.shape[0], sine, cosine)
