"""Least squares with weights in a box and a given sum, exactly, for all spectra at once."""

from cython.parallel cimport prange, threadid
from libc.math cimport INFINITY, NAN, isfinite
from libc.stdint cimport int8_t

import numpy as np

cdef extern from "nnls.h" nogil:
    ctypedef struct nnls_task:
        const double *gram
        const double *c
        const double *lower
        const double *upper
        double *w
        double *gradient
        double *noise
        double *step
        double *factor
        Py_ssize_t *order
        unsigned char *is_free
        unsigned char *rejected
        Py_ssize_t m
        double total
        int tied
    Py_ssize_t nnls_scratch(Py_ssize_t m)
    int nnls_solve(nnls_task *t)


def bounded_least_squares(
    const double[:, :, ::1] gram not None,
    const double[:, ::1] projection not None,
    const double[::1] lower not None,
    const double[::1] upper not None,
    double total=INFINITY,
    int n_threads=1,
):
    """Minimise ``|A w - y|²`` for every frame with ``lower <= w <= upper`` and, if wished, ``sum(w) = total``.

    A primal active set on the normal equations: the minimum itself, not an iterate near it; Karush, Kuhn and Tucker's
    conditions hold to rounding. Normal equations square the condition of A: its columns must differ by more than 1e-6
    of their size. Of columns that do not, one alone is used, the first that is tried; the misfit is then still the
    least, the weights are not unique.

    Parameters
    ----------
    gram
        (1, m, m): AᵀA for all frames; or (n_frames, m, m), one each.
    projection
        (n_frames, m): Aᵀy.
    lower, upper
        (m): may be infinite.
    total
        Sum of the weights; infinite (default) where it is free.
    n_threads
        At least 1; the result does not depend on it.

    Returns
    -------
    weights
        (n_frames, m); NaN where projection or Gram matrix hold a number that is not finite.
    state
        (n_frames) int8: 0 minimum found, 1 not within 100 + 30 m passes (not seen yet), 2 no data.

    Raises
    ------
    ValueError
        Shapes disagree, or no weights keep the constraints.

    Notes
    -----
    One thread: 0.29 us a spectrum with 3 weights, 2.2 us with 8, 17 us with 20; `scipy.optimize.nnls`, given the
    Cholesky factor of the Gram matrix and without upper bounds or sum, takes 31, 6 and 3 times as long, `lsq_linear`
    370, 94 and 33 times (`benchmarks/bench_nnls.py`).
    """
    cdef Py_ssize_t n_frames = projection.shape[0], m = projection.shape[1], each, i
    check(gram, projection, lower, upper, total, n_threads)

    found, states = np.full((n_frames, m), np.nan), np.full(n_frames, 2, np.int8)
    if n_frames == 0:
        return found, states
    each = 1 if gram.shape[0] > 1 else 0
    cdef double[:, ::1] weights = found, work = np.zeros((n_threads, nnls_scratch(m)))
    cdef Py_ssize_t[:, ::1] order = np.zeros((n_threads, m), np.intp)
    cdef unsigned char[:, ::1] flags = np.zeros((n_threads, 2 * m), np.uint8)
    cdef int8_t[::1] state = states

    for i in prange(n_frames, nogil=True, schedule="static", num_threads=n_threads):
        state[i] = one_frame(&gram[each * i, 0, 0], &projection[i, 0], &lower[0], &upper[0], total, m, &weights[i, 0],
                             &work[threadid(), 0], &order[threadid(), 0], &flags[threadid(), 0])
    return found, states


def check(gram, projection, lower, upper, total, n_threads):
    """Refuse arrays that do not fit together, and constraints that nothing keeps."""
    n_frames, m = np.shape(projection)
    if np.shape(gram) not in ((1, m, m), (n_frames, m, m)) or len(lower) != m or len(upper) != m or m < 1:
        raise ValueError(f"gram {np.shape(gram)}, projection {n_frames, m}, lower ({len(lower)},), "
                         f"upper ({len(upper)},) must agree in frames and weights")
    low, high = np.asarray(lower), np.asarray(upper)
    if not ((low <= high) & (low < np.inf) & (high > -np.inf)).all():
        raise ValueError("lower must not exceed upper, and neither may exclude every number")
    if np.isnan(total) or total == -np.inf or n_threads < 1:
        raise ValueError(f"total must be a number or inf, n_threads at least 1, got {total}, {n_threads}")
    slack = 1e-12 * max(1.0, abs(total))
    if np.isfinite(total) and not low.sum() - slack <= total <= high.sum() + slack:
        raise ValueError(f"no weights between the bounds sum to {total}: they reach {low.sum()} to {high.sum()}")


cdef int8_t one_frame(
    const double *gram, const double *c, const double *lower, const double *upper, double total, Py_ssize_t m,
    double *weights, double *work, Py_ssize_t *order, unsigned char *flags,
) noexcept nogil:
    cdef nnls_task t
    cdef Py_ssize_t i
    cdef int8_t state
    for i in range(m):
        if not isfinite(c[i]):
            return 2
    for i in range(m * m):
        if not isfinite(gram[i]):
            return 2
    t.gram, t.c, t.lower, t.upper, t.total, t.m = gram, c, lower, upper, total, m
    t.tied = isfinite(total)
    t.w, t.gradient, t.noise, t.step, t.factor = weights, work, work + m, work + 2 * m, work + 3 * m
    t.order, t.is_free, t.rejected = order, flags, flags + m
    state = nnls_solve(&t)
    for i in range(m):
        if not isfinite(weights[i]):
            state = 2
    if state == 2:
        for i in range(m):
            weights[i] = NAN
    return state
