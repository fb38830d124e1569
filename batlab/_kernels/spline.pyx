"""Cubic splines through the points of every frame, any grid for any frame, evaluated at any other."""

from cython.parallel cimport prange, threadid
from libc.math cimport NAN, isfinite

import numpy as np

ctypedef fused real:
    float
    double


def cubic_spline(
    const real[:, :] y not None,
    const double[:, :] x not None,
    const double[:, :] x_out not None,
    int n_threads=1,
):
    """Return the not-a-knot cubic spline through the finite points of every frame, at the points `x_out`.

    Beyond its ends a spline goes on as its last piece. A frame with fewer than 4 finite points, or whose finite points
    do not increase in x, is NaN; so is an output at NaN or infinity.

    Parameters
    ----------
    y
        (n_frames, n_points), float32 or float64.
    x
        (n_frames, n_points), or (1, n_points) for all frames.
    x_out
        (n_frames, n_out), or (1, n_out) for all frames; in any order, quickest where increasing.
    n_threads
        At least 1.

    Returns
    -------
    (n_frames, n_out) float64.

    Notes
    -----
    One thread, 350 points onto 350 others, a grid for each frame: scipy's `make_interp_spline` takes 30 to 37 times as
    long. Where all frames share both grids a matrix is as quick (`benchmarks/bench_spline.py`).
    """
    cdef Py_ssize_t n_frames = y.shape[0], n = y.shape[1], n_out = x_out.shape[1], f
    check(y, x, x_out, n_threads)

    out = np.full((n_frames, n_out), np.nan)
    cdef double[:, ::1] result = out, work = np.empty((n_threads, 4 * n + 1))

    if n_frames == 0 or n_out == 0:
        return out
    for f in prange(n_frames, nogil=True, schedule="static", num_threads=n_threads):
        one_frame(y, x, x_out, f, &work[threadid(), 0], &result[f, 0])
    return out


def check(y, x, x_out, n_threads):
    """Refuse arrays that do not fit together."""
    n_frames, n = np.shape(y)
    if np.shape(x) not in ((n_frames, n), (1, n)) or np.shape(x_out)[0] not in (n_frames, 1) or n_threads < 1:
        raise ValueError(f"y {np.shape(y)}, x {np.shape(x)} and x_out {np.shape(x_out)} must agree in frames (or have "
                         f"one) and points, and n_threads be at least 1, got {n_threads}")


cdef void one_frame(const real[:, :] y, const double[:, :] x, const double[:, :] x_out, Py_ssize_t f, double *work,
                    double *out) noexcept nogil:
    cdef Py_ssize_t rows = f if x.shape[0] > 1 else 0, goal = f if x_out.shape[0] > 1 else 0, n = 0, i
    cdef double *px = work
    cdef double *py = px + y.shape[1]
    for i in range(y.shape[1]):
        if isfinite(y[f, i]) and isfinite(x[rows, i]):
            if n > 0 and x[rows, i] <= px[n - 1]:
                return
            px[n], py[n] = x[rows, i], y[f, i]
            n = n + 1
    if n < 4:
        return
    curvatures(px, py, n, py + y.shape[1], py + 2 * y.shape[1])
    evaluate(px, py, py + y.shape[1], n, x_out, goal, out)


cdef void curvatures(const double *x, const double *y, Py_ssize_t n, double *m, double *up) noexcept nogil:
    """Set the second derivatives m at the points: the tridiagonal system, its ends folded into their neighbours."""
    cdef Py_ssize_t i
    cdef double h0, h1, low, diagonal, high, right
    for i in range(1, n - 1):
        h0, h1 = x[i] - x[i - 1], x[i + 1] - x[i]
        low, diagonal, high = h0, 2.0 * (h0 + h1), h1
        right = 6.0 * ((y[i + 1] - y[i]) / h1 - (y[i] - y[i - 1]) / h0)
        if i == 1:
            low, diagonal, high = 0.0, diagonal + h0 * (1.0 + h0 / h1), high - h0 * h0 / h1
        if i == n - 2:
            high, diagonal, low = 0.0, diagonal + h1 * (1.0 + h1 / h0), low - h1 * h1 / h0
        if i > 1:
            diagonal = diagonal - low * up[i - 1]
            right = right - low * m[i - 1]
        diagonal = 1.0 / diagonal
        up[i], m[i] = high * diagonal, right * diagonal
    for i in range(n - 3, 0, -1):
        m[i] = m[i] - up[i] * m[i + 1]
    m[0] = m[1] + (x[1] - x[0]) / (x[2] - x[1]) * (m[1] - m[2])
    m[n - 1] = m[n - 2] + (x[n - 1] - x[n - 2]) / (x[n - 2] - x[n - 3]) * (m[n - 2] - m[n - 3])


cdef void evaluate(const double *x, const double *y, const double *m, Py_ssize_t n, const double[:, :] x_out,
                   Py_ssize_t goal, double *out) noexcept nogil:
    cdef Py_ssize_t j, i = 0
    cdef double at, h, t, slope
    for j in range(x_out.shape[1]):
        at = x_out[goal, j]
        if not isfinite(at):
            out[j] = NAN
            continue
        while i < n - 2 and at >= x[i + 1]:
            i = i + 1
        while i > 0 and at < x[i]:
            i = i - 1
        h, t = x[i + 1] - x[i], at - x[i]
        slope = (y[i + 1] - y[i]) / h - h * (2.0 * m[i] + m[i + 1]) / 6.0
        out[j] = y[i] + t * (slope + t * (0.5 * m[i] + t * (m[i + 1] - m[i]) / (6.0 * h)))
