"""Pair distribution of crystals: Gaussian peaks of all pairs of atoms, for many models at once."""

from cython.parallel cimport prange

import numpy as np

cdef extern from "pairs.h" nogil:
    ctypedef struct pairs_task:
        const double *cell
        const double *centres
        const double *centre_u
        const double *centre_w
        const double *others
        const double *other_u
        const double *other_w
        Py_ssize_t n_centres
        Py_ssize_t n_others
        double delta1
        double delta2
        double qbroad
        double step
        Py_ssize_t n_points
        double *out
    void pairs_model(const pairs_task *t)

MOST_PAIRS = 2e9  # of a model: beyond, a cell is absurdly small or the reach absurdly far


def pair_density(
    const double[:, :, ::1] cells not None,
    const double[:, :, ::1] centres not None,
    const double[:, :, ::1] others not None,
    const double[:, ::1] shapes not None,
    double step,
    Py_ssize_t n_points,
    int n_threads=1,
):
    """Return, for every model, the sum over pairs of weight times a Gaussian at their distance, on an even grid.

    A pair joins a centre with another atom or any of its images under the lattice; atoms closer than 1e-3 angstrom are
    none. Its variance is that of both atoms along the line between them, times 1 - δ1/r - δ2/r² + Qbroad² r²,
    and at least step²/36.

    Parameters
    ----------
    cells
        (n_models, 3, 3): the rows are a, b and c, cartesian.
    centres, others
        (n_models, n, 10): x, y, z; U as xx, yy, zz, xy, xz, yz; weight. The weight of a pair is the product.
    shapes
        (n_models, 3): δ1, δ2, Qbroad.
    step, n_points
        The grid 0, step, 2 step ...; pairs count as far as it goes.
    n_threads
        At least 1.

    Returns
    -------
    density
        (n_models, n_points). A model with a number that is not finite, or without volume, is NaN.

    Raises
    ------
    ValueError
        Shapes disagree, or a model has more than 2e9 pairs.

    Notes
    -----
    Pairs of one distance and variance (to 1e-10 angstrom) are drawn as one peak. One thread: nickel to 30 angstrom,
    10,000 pairs, 0.3 ms; 3 to 4 times as long where each pair is drawn (`benchmarks/bench_pdf.py`).
    """
    cdef Py_ssize_t n_models = cells.shape[0], f
    good = check(np.asarray(cells), np.asarray(centres), np.asarray(others), np.asarray(shapes), step, n_points,
                 n_threads)

    density = np.where(good[:, None], np.zeros((n_models, n_points)), np.nan)
    cdef double[:, ::1] out = density
    cdef const unsigned char[::1] is_good = good.astype(np.uint8)
    parts = [np.ascontiguousarray(table[:, :, part]) for table in (np.asarray(centres), np.asarray(others))
             for part in (slice(0, 3), slice(3, 9), slice(9, 10))]
    cdef const double[:, :, ::1] xyz = parts[0], u = parts[1], w = parts[2], xyz_2 = parts[3], u_2 = parts[4]
    cdef const double[:, :, ::1] w_2 = parts[5]
    if n_models == 0 or n_points == 0 or centres.shape[1] == 0 or others.shape[1] == 0:
        return density

    for f in prange(n_models, nogil=True, schedule="static", num_threads=n_threads):
        if is_good[f]:
            one_model(cells, xyz, u, w, xyz_2, u_2, w_2, shapes, step, n_points, f, &out[f, 0])
    return density


def check(cells, centres, others, shapes, step, n_points, n_threads):
    """Refuse arrays that do not fit together; return which models are finite and have a volume."""
    n = len(cells)
    if cells.shape[1:] != (3, 3) or centres.shape[0::2] != (n, 10) or others.shape[0::2] != (n, 10):
        raise ValueError(f"cells {cells.shape}, centres {centres.shape} and others {others.shape} must be (n, 3, 3), "
                         "(n, centres, 10) and (n, others, 10)")
    if shapes.shape != (n, 3) or not 0 < step < np.inf or n_points < 0 or n_threads < 1:
        raise ValueError(f"shapes {shapes.shape} must be ({n}, 3), step {step} positive, n_points {n_points} and "
                         f"n_threads {n_threads} at least 0 and 1")
    good = np.isfinite(cells).all(axis=(1, 2)) & np.isfinite(shapes).all(axis=1)
    good &= np.isfinite(centres).all(axis=(1, 2)) & np.isfinite(others).all(axis=(1, 2))
    volumes = np.zeros(n)
    volumes[good] = np.abs(np.linalg.det(cells[good]))
    good &= volumes > 1e-3
    reach = step * n_points
    lengths = np.linalg.norm(np.where(good[:, None, None], cells, 0), axis=2).max(axis=1, initial=0)
    pairs = 4.2 * (reach + 2 * lengths) ** 3 * centres.shape[1] * others.shape[1]
    if (pairs > MOST_PAIRS * np.maximum(volumes, 1e-3)).any():
        raise ValueError(f"a model has {(pairs[good] / volumes[good]).max(initial=0):.2g} pairs within {reach:g}, more "
                         f"than {MOST_PAIRS:.0g}")
    return good


cdef void one_model(const double[:, :, ::1] cells, const double[:, :, ::1] xyz, const double[:, :, ::1] u,
                    const double[:, :, ::1] w, const double[:, :, ::1] xyz_2, const double[:, :, ::1] u_2,
                    const double[:, :, ::1] w_2, const double[:, ::1] shapes, double step, Py_ssize_t n_points,
                    Py_ssize_t f, double *out) noexcept nogil:
    cdef pairs_task task
    task.cell, task.n_centres, task.n_others = &cells[f, 0, 0], xyz.shape[1], xyz_2.shape[1]
    task.centres, task.centre_u, task.centre_w = &xyz[f, 0, 0], &u[f, 0, 0], &w[f, 0, 0]
    task.others, task.other_u, task.other_w = &xyz_2[f, 0, 0], &u_2[f, 0, 0], &w_2[f, 0, 0]
    task.delta1, task.delta2, task.qbroad = shapes[f, 0], shapes[f, 1], shapes[f, 2]
    task.step, task.n_points, task.out = step, n_points, out
    pairs_model(&task)
