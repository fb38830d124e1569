"""A band matrix times many curves: what spreads and interpolates on either side of a small transform."""

from cython.parallel cimport prange, threadid

import numpy as np

cdef extern from "band.h" nogil:
    enum:
        BAND_TOGETHER
    void band_rows(const double *const *v, Py_ssize_t n, const Py_ssize_t *first, const Py_ssize_t *start,
                   const double *weights, Py_ssize_t m, double *side, double *const *out)


def band_product(
    const double[:, ::1] values not None,
    const Py_ssize_t[::1] first not None,
    const Py_ssize_t[::1] start not None,
    const double[::1] weights not None,
    int n_threads=1,
):
    """Return, for every frame, the sums of runs of its values, each run with weights of its own.

    ``out[f, j] = sum over t of weights[start[j] + t] values[f, first[j] + t]``, t from 0 to start[j + 1] - start[j].

    Parameters
    ----------
    values
        (n_frames, n).
    first
        (m): where the run of each output begins.
    start
        (m + 1), not falling: where its weights begin and end.
    weights
        (start[m]).
    n_threads
        At least 1.

    Returns
    -------
    out
        (n_frames, m) float64. A value that is not finite reaches every output that it enters; an empty run is 0.

    Raises
    ------
    ValueError
        A run leaves the values or the weights.

    Notes
    -----
    With a small matrix between two of them it makes G(r) of whole series; the gain over padded FFT, BLAS and chirp-z
    stands in `benchmarks/bench_pdf.py`.
    """
    cdef Py_ssize_t n_frames = values.shape[0], m = first.shape[0], n_blocks, block
    check(np.shape(values), np.asarray(first), np.asarray(start), np.shape(weights), n_threads)

    out = np.zeros((n_frames, m))
    cdef double[:, ::1] result = out, side = np.empty((n_threads, values.shape[1] * BAND_TOGETHER + 1))
    if n_frames == 0 or m == 0 or values.shape[1] == 0 or weights.shape[0] == 0:
        return out

    n_blocks = (n_frames + BAND_TOGETHER - 1) // BAND_TOGETHER
    for block in prange(n_blocks, nogil=True, schedule="static", num_threads=n_threads):
        one_block(values, first, start, weights, block, &side[threadid(), 0], result)
    return out


def check(shape, first, start, n_weights, n_threads):
    """Refuse runs that leave the arrays."""
    if n_threads < 1 or len(start) != len(first) + 1 or (np.diff(start) < 0).any():
        raise ValueError(f"{len(first)} runs need {len(first) + 1} starts that do not fall, got {len(start)}, and "
                         f"n_threads must be at least 1, got {n_threads}")
    is_outside = (first < 0).any() or (first + np.diff(start) > shape[1]).any()
    if start[0] < 0 or start[len(first)] > n_weights[0] or is_outside:
        raise ValueError(f"a run leaves the {shape[1]} values or the {n_weights[0]} weights")


cdef void one_block(const double[:, ::1] values, const Py_ssize_t[::1] first, const Py_ssize_t[::1] start,
                    const double[::1] weights, Py_ssize_t block, double *side, double[:, ::1] result) noexcept nogil:
    # A last block that is not full does its last frame several times.
    cdef const double *v[BAND_TOGETHER]
    cdef double *out[BAND_TOGETHER]
    cdef Py_ssize_t k, f
    for k in range(BAND_TOGETHER):
        f = min(block * BAND_TOGETHER + k, values.shape[0] - 1)
        v[k] = &values[f, 0]
        out[k] = &result[f, 0]
    band_rows(v, values.shape[1], &first[0], &start[0], &weights[0], first.shape[0], side, out)
