"""Fits of pseudo-Voigts in windows of patterns: Levenberg-Marquardt, analytic derivatives, any number of windows."""

from cython.parallel cimport prange, threadid
from libc.math cimport INFINITY, isfinite
from libc.stdint cimport int64_t, int8_t

import numpy as np

cdef extern from "peaks.h" nogil:
    ctypedef struct peaks_task:
        const double *x
        const double *y
        const double *v
        double *basis
        double *columns
        double *weighted
        double *w
        double *w_trial
        double *p
        double *p_trial
        double *low
        double *high
        double *step
        double *diagonal
        double *normal
        double *normal_trial
        double *factor
        double *gradient
        double *gradient_trial
        Py_ssize_t n
        Py_ssize_t padded
        Py_ssize_t n_peaks
        Py_ssize_t n_background
        Py_ssize_t size
        double gain
        double ratio
        double scale
    Py_ssize_t peaks_padded(Py_ssize_t n)
    Py_ssize_t peaks_scratch(Py_ssize_t n, Py_ssize_t n_peaks, Py_ssize_t n_background)
    int peaks_fit(peaks_task *t, int max_iterations, unsigned char *frozen, double *chi2, int *n_iterations)
    int peaks_sigma(peaks_task *t, unsigned char *frozen, double *out, double *strength)


def fit_pseudo_voigts(
    const double[::1] x not None,
    const double[:, :] intensity not None,
    const double[:, :] variance not None,
    const double[::1] gain not None,
    const int64_t[:, ::1] tasks not None,
    const double[:, ::1] start not None,
    const double[:, ::1] lower not None,
    const double[:, ::1] upper not None,
    int n_background=2,
    double second_ratio=0.0,
    double second_scale=1.0,
    int max_iterations=100,
    int n_threads=1,
):
    """Fit groups of pseudo-Voigts on polynomial backgrounds.

    The variance of a point is ``variance + gain * model``: with ``gain`` 0 the weights are the given ones, with
    ``variance`` 0 and ``gain`` 1 they are those of counts, taken from the model and not from the noisy count
    (1/N weights pull every fit down by one count a point). Heights and background start from their exact linear
    solution. Points where intensity or variance is not finite, or the variance negative, are left out.

    Parameters
    ----------
    x
        (n_points), increasing.
    intensity, variance
        (n_frames, n_points).
    gain
        (n_frames), at least 0.
    tasks
        (n_tasks, 4): frame, first point, point after the last, number of peaks. Tasks own the rows of `start` in
        order.
    start, lower, upper
        (n_rows, 3), (n_rows, 4), (n_rows, 4): position, fwhm, eta; bounds of position, height, fwhm, eta.
    n_background
        Coefficients of the polynomial background, 0 to 6.
    second_ratio, second_scale
        Intensity and wavelength of a second line over those of the first, `x` then being 2theta in degrees.
    max_iterations, n_threads
        Both at least 1.

    Returns
    -------
    values, sigmas
        (n_rows, 5): position, height, fwhm, eta, area of the first line.
    strength
        (n_rows): height over its sigma at fixed positions and shapes, the root of the chi2 that the peak saves.
    at_bound
        (n_rows) int8, bits 1, 2, 4, 8 for position, height, fwhm, eta.
    quality
        (n_tasks, 3): chi2, points used, iterations.
    state
        (n_tasks) int8: 0 converged, 1 not, 2 too few points.

    Notes
    -----
    One thread, against scipy's `curve_fit`: 55 to 71 times as fast on one peak in 120 points (36 times with an analytic
    Jacobian there), 34 to 64 times with an analytic Jacobian on 12 peaks in 3000 points, where an lmfit composite
    model takes 3000 times as long (`benchmarks/bench_peaks.py`). Any number of threads gives the same bits.
    """
    cdef Py_ssize_t n_tasks = tasks.shape[0], n_rows = start.shape[0], most, widest, size, i
    check(x, intensity, variance, gain, tasks, start, lower, upper, n_background, max_iterations, n_threads)

    firsts = np.concatenate([[0], np.cumsum(np.asarray(tasks)[:, 3])]).astype(np.int64)
    widest = max(1, (np.asarray(tasks)[:, 2] - np.asarray(tasks)[:, 1]).max(initial=1))
    most = max(1, np.asarray(tasks)[:, 3].max(initial=1))
    size = peaks_scratch(widest, most, n_background)
    found, spread = np.full((n_rows, 5), np.nan), np.full((n_rows, 5), np.nan)
    strong, bound = np.full(n_rows, np.nan), np.zeros(n_rows, np.int8)
    told, state = np.full((n_tasks, 3), np.nan), np.full(n_tasks, 2, np.int8)
    cdef double[:, ::1] work = np.zeros((n_threads, size)), values = found, sigmas = spread, quality = told
    cdef double[::1] strength = strong
    cdef unsigned char[:, ::1] flags = np.zeros((n_threads, n_background + 4 * most), np.uint8)
    cdef int8_t[::1] at_bound = bound, states = state
    cdef const int64_t[::1] first = firsts

    if n_tasks == 0 or n_rows == 0:
        return found, spread, strong, bound, told, state
    for i in prange(n_tasks, nogil=True, schedule="static", num_threads=n_threads):
        one_task(x, intensity, variance, gain, tasks, start, lower, upper, n_background, second_ratio, second_scale,
                 max_iterations, i, first[i], &work[threadid(), 0], &flags[threadid(), 0],
                 values, sigmas, strength, at_bound, quality, states)
    return found, spread, strong, bound, told, state


def check(x, intensity, variance, gain, tasks, start, lower, upper, n_background, max_iterations, n_threads):
    """Refuse arrays that do not fit together, before any of them is read by address."""
    tasks, shape = np.asarray(tasks), np.shape(intensity)
    if np.shape(variance) != shape or shape[1] != len(x) or shape[0] != len(gain):
        raise ValueError(f"intensity {shape}, variance {np.shape(variance)}, x ({len(x)},), gain ({len(gain)},) "
                         "must agree in frames and points")
    if tasks.shape[1] != 4 or np.shape(start)[1] != 3 or np.shape(lower)[1] != 4 or np.shape(upper)[1] != 4:
        raise ValueError("tasks needs 4 columns, start 3, lower and upper 4")
    if not len(start) == len(lower) == len(upper) == tasks[:, 3].sum() or (tasks[:, 3] < 1).any():
        raise ValueError("the tasks must own all rows of start, lower and upper, each at least one")
    inside = (tasks[:, 0] >= 0) & (tasks[:, 0] < shape[0]) & (tasks[:, 1] >= 0) & (tasks[:, 2] <= shape[1])
    if not (inside & (tasks[:, 1] <= tasks[:, 2])).all():
        raise ValueError("a task lies outside the frames or points")
    if not (np.isfinite(start).all() and (np.asarray(start)[:, 1] > 0).all() and (np.asarray(lower)[:, 2] > 0).all()):
        raise ValueError("start must be finite, and widths and their lower bounds positive")
    if not (np.asarray(lower) <= np.asarray(upper)).all() or not (np.asarray(gain) >= 0).all():
        raise ValueError("lower must not exceed upper, and gain must be at least 0")
    if not 0 <= n_background <= 6 or max_iterations < 1 or n_threads < 1:
        raise ValueError("n_background must be 0 to 6, max_iterations and n_threads at least 1")


cdef void one_task(
    const double[::1] x, const double[:, :] intensity, const double[:, :] variance, const double[::1] gain,
    const int64_t[:, ::1] tasks, const double[:, ::1] start, const double[:, ::1] lower, const double[:, ::1] upper,
    int n_background, double second_ratio, double second_scale, int max_iterations, Py_ssize_t i, Py_ssize_t first,
    double *work, unsigned char *flags, double[:, ::1] values, double[:, ::1] sigmas, double[::1] strength,
    int8_t[::1] at_bound, double[:, ::1] quality, int8_t[::1] states,
) noexcept nogil:
    cdef peaks_task t
    cdef Py_ssize_t frame = tasks[i, 0], n = 0, m = peaks_padded(tasks[i, 2] - tasks[i, 1]), j, a, k
    cdef double *px = work
    cdef double *py = px + m
    cdef double *pv = py + m
    cdef double *bound
    cdef double chi2 = 0.0
    cdef int n_iterations = 0, failed
    for j in range(tasks[i, 1], tasks[i, 2]):
        pv[n] = variance[frame, j]
        if isfinite(intensity[frame, j]) and isfinite(pv[n]) and (pv[n] > 0.0 or (pv[n] == 0.0 and gain[frame] > 0.0)):
            px[n], py[n] = x[j], intensity[frame, j]
            n = n + 1
    t.n_peaks, t.n_background = tasks[i, 3], n_background
    k = n_background + 4 * t.n_peaks
    quality[i, 1] = n
    if n <= k:
        return
    t.n, t.padded, t.size = n, peaks_padded(n), k
    for j in range(n, t.padded):
        px[j], py[j], pv[j] = px[n - 1], 0.0, 1.0
    t.x, t.y, t.v = px, py, pv
    t.gain, t.ratio, t.scale = gain[frame], second_ratio, second_scale
    t.w = pv + m
    t.w_trial = t.w + m
    t.basis = t.w_trial + m
    t.columns = t.basis + n_background * m
    t.weighted = t.columns + 256 * t.n_peaks
    t.p = t.weighted + 256
    t.p_trial = t.p + k
    t.low, t.high, t.step = t.p_trial + k, t.p_trial + 2 * k, t.p_trial + 3 * k
    t.gradient, t.gradient_trial = t.p_trial + 4 * k, t.p_trial + 5 * k
    t.diagonal = t.p_trial + 6 * k
    t.normal = t.p_trial + 7 * k
    t.normal_trial, t.factor = t.normal + k * k, t.normal + 2 * k * k
    fill(&t, start, lower, upper, first)
    failed = peaks_fit(&t, max_iterations, flags, &chi2, &n_iterations)
    for j in range(t.n_peaks):
        for a in range(4):
            values[first + j, a] = t.p[n_background + 4 * j + a]
            bound = &t.p[n_background + 4 * j + a]
            if bound[0] <= lower[first + j, a] or bound[0] >= upper[first + j, a]:
                at_bound[first + j] |= <int8_t> (1 << a)
        bound = &t.p[n_background + 4 * j]
        values[first + j, 4] = bound[1] * bound[2] * (bound[3] * 1.5707963267948966
                                                      + (1.0 - bound[3]) * 1.0644670194312262)
    if not failed:
        failed = not peaks_sigma(&t, flags, &sigmas[first, 0], &strength[first])
    quality[i, 0], quality[i, 2] = chi2, n_iterations
    states[i] = 1 if failed else 0


cdef void fill(
    peaks_task *t, const double[:, ::1] start, const double[:, ::1] lower, const double[:, ::1] upper, Py_ssize_t first,
) noexcept nogil:
    """Set the starting parameters, their bounds, and Legendre polynomials over the window."""
    cdef Py_ssize_t nb = t.n_background, i, j, a, b
    cdef double middle = 0.5 * (t.x[0] + t.x[t.n - 1]), half = 0.5 * (t.x[t.n - 1] - t.x[0]), s
    if half <= 0.0:
        half = 1.0
    if nb > 0:
        for i in range(t.padded):
            t.basis[i] = 1.0
    if nb > 1:
        for i in range(t.padded):
            t.basis[t.padded + i] = (t.x[i] - middle) / half
    for b in range(2, nb):
        for i in range(b * t.padded, (b + 1) * t.padded):
            s = t.basis[t.padded + i - b * t.padded]
            t.basis[i] = ((2 * b - 1) * s * t.basis[i - t.padded] - (b - 1) * t.basis[i - 2 * t.padded]) / b
    for b in range(nb):
        t.p[b], t.low[b], t.high[b] = 0.0, -INFINITY, INFINITY
    for j in range(t.n_peaks):
        for a in range(4):
            i = nb + 4 * j + a
            t.low[i], t.high[i] = lower[first + j, a], upper[first + j, a]
            s = 1.0 if a == 1 else start[first + j, a if a == 0 else a - 1]
            t.p[i] = min(max(s, t.low[i]), t.high[i])
