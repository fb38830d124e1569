"""Pixels shared out over bins: pyFAI's bounding boxes and polygons, laid out in image order as runs of weights.

Two passes over blocks of pixels: the first finds how many bins they can reach, the second writes, and what a polygon
leaves empty is closed up afterwards. For an Eiger-4M (2167 x 2070, 2000 bins) boxes take 0.09 s and polygons 0.35 s on
one thread; pyFAI's builders took 0.50 and 0.78 s in the same run (benchmarks/bench_splitting.py).
"""

from cython.parallel cimport prange, threadid
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memmove

import numpy as np

cdef enum:
    BLOCK = 2048  # pixels; `reference.SPLIT_BLOCK`

cdef extern from "splitting.h":
    ctypedef struct split_axis:
        double low, high, upper, width
        Py_ssize_t n
    ctypedef struct split_grid:
        split_axis radial, azimuth
        double seam
        int is_cake, mirrored
    ctypedef struct split_runs:
        uint32_t* first
        uint16_t* pixel
        uint16_t* length
        float* weight
        Py_ssize_t n_runs, n_entries
    ctypedef struct split_reach:
        Py_ssize_t low, high
    Py_ssize_t split_n_runs(Py_ssize_t length) nogil
    int split_bbox_reach(const split_grid*, double, double, const float*, split_reach*, split_reach*) nogil
    void split_bbox_pixel(const split_grid*, Py_ssize_t, const split_reach*, const split_reach*, split_runs*) nogil
    int split_full_reach(const split_grid*, const float*, double (*)[2], split_reach*, split_reach*) nogil
    void split_full_pixel(const split_grid*, Py_ssize_t, double (*)[2], const split_reach*, const split_reach*, float*,
                          split_runs*) nogil


ctypedef struct source_t:
    const double* centre  # NULL for polygons
    const double* azimuth
    const float* corners
    const uint8_t* used
    Py_ssize_t n


cdef bint reaches(const split_grid* grid, const source_t* source, Py_ssize_t i, double (*polygon)[2],
                  split_reach* along, split_reach* around) noexcept nogil:
    """Which bins a pixel may reach."""
    cdef double azimuth = 0
    if not source.used[i]:
        return False
    if source.centre == NULL:
        return split_full_reach(grid, source.corners + 8 * i, polygon, along, around)
    if source.azimuth != NULL:
        azimuth = source.azimuth[i]
    return split_bbox_reach(grid, source.centre[i], azimuth, source.corners + 8 * i, along, around)


cdef void count_block(const split_grid* grid, const source_t* source, Py_ssize_t start, int64_t* counts) noexcept nogil:
    """At most how many runs and weights a block makes, and how many bins one of its pixels reaches."""
    cdef double polygon[4][2]
    cdef split_reach along, around
    cdef Py_ssize_t i, columns, rows
    for i in range(start, min(start + BLOCK, source.n)):
        if reaches(grid, source, i, polygon, &along, &around):
            columns, rows = along.high - along.low + 1, around.high - around.low + 1
            counts[0] += rows * split_n_runs(columns)
            counts[1] += rows * columns
            counts[2] = max(counts[2], <int64_t>(rows * columns))


cdef void fill_block(const split_grid* grid, const source_t* source, Py_ssize_t start, float* box, split_runs runs,
                     int64_t* counts) noexcept nogil:
    cdef double polygon[4][2]
    cdef split_reach along, around
    cdef Py_ssize_t i
    for i in range(start, min(start + BLOCK, source.n)):
        if reaches(grid, source, i, polygon, &along, &around):
            if source.centre == NULL:
                split_full_pixel(grid, i - start, polygon, &along, &around, box, &runs)
            else:
                split_bbox_pixel(grid, i - start, &along, &around, &runs)
    counts[0], counts[1] = runs.n_runs, runs.n_entries


cdef split_axis axis_of(double low, double high, double n):
    """`upper` is pyFAI's edge: the outermost place falls inside the last bin."""
    cdef split_axis axis
    cdef double eps = 1.0 + float(np.finfo(np.float32).eps)
    axis.low, axis.high, axis.n = low, high, <Py_ssize_t>n
    axis.upper = high * eps if high > 0 else high / eps
    axis.width = (axis.upper - low) / n if n > 0 else 1.0
    return axis


cdef split_grid grid_of(grid, double seam, bint mirrored) except *:
    cdef split_grid made
    values = np.asarray(grid, dtype=float)
    if values.shape != (2, 3):
        raise ValueError(f"grid must be (low, high, n) of radius and azimuth, got shape {values.shape}")
    (low, high, n), (start, stop, rows) = values
    if not (0 < n < 2**32 and 0 <= rows < 2**32 and n * max(rows, 1) < 2**32 and high - low >= 0):
        raise ValueError(f"grid must have 1 to 2^32 - 1 bins and low < high, got {values.tolist()}")
    made.radial, made.azimuth = axis_of(low, high, n), axis_of(start, stop, rows)
    made.seam, made.is_cake, made.mirrored = seam, rows > 0, mirrored
    if not (made.radial.width > 0 and made.azimuth.width > 0):
        raise ValueError(f"the bins have no width: {values.tolist()}")
    return made


cdef source_t source_of(const double[::1] centre, const double[::1] azimuth, const float[:, :, ::1] corners,
                        const uint8_t[::1] used) except *:
    cdef source_t source
    source.n = used.shape[0]
    if corners.shape[0] != source.n or corners.shape[1] != 4 or corners.shape[2] != 2:
        raise ValueError(f"corners must be ({source.n}, 4, 2), got {np.shape(corners)}")
    if (centre is not None and centre.shape[0] != source.n) or (azimuth is not None and azimuth.shape[0] != source.n):
        raise ValueError(f"centre and azimuth must have {source.n} pixels as used")
    source.centre = NULL if centre is None or not source.n else &centre[0]
    source.azimuth = NULL if azimuth is None or not source.n else &azimuth[0]
    source.corners = NULL if not source.n else &corners[0, 0, 0]
    source.used = NULL if not source.n else &used[0]
    return source


cdef tuple split(source_t source, split_grid grid, Py_ssize_t n_threads):
    cdef Py_ssize_t n_blocks = (source.n + BLOCK - 1) // BLOCK, b
    if n_threads < 1:
        raise ValueError(f"n_threads must be at least 1, got {n_threads}")
    counts_array, room_array = np.zeros((n_blocks, 3), np.int64), np.zeros((n_blocks + 1, 2), np.int64)
    cdef int64_t[:, ::1] counts = counts_array, room = room_array
    for b in prange(n_blocks, schedule="static", num_threads=n_threads, nogil=True):
        count_block(&grid, &source, b * BLOCK, &counts[b, 0])

    np.cumsum(counts_array[:, :2], axis=0, out=room_array[1:])
    n_runs, n_entries = (int(n) for n in room_array[n_blocks])
    first_array, pixel_array = np.empty(n_runs + 1, np.uint32), np.empty(n_runs + 1, np.uint16)
    length_array, weight_array = np.empty(n_runs + 1, np.uint16), np.empty(n_entries + 1, np.float32)
    cdef uint32_t[::1] first = first_array
    cdef uint16_t[::1] pixel = pixel_array, length = length_array
    cdef float[::1] weight = weight_array
    cdef float[:, ::1] boxes = np.zeros((n_threads, int(counts_array[:, 2].max(initial=1))), np.float32)
    for b in prange(n_blocks, schedule="static", num_threads=n_threads, nogil=True):
        fill_block(&grid, &source, b * BLOCK, &boxes[threadid(), 0],
                   runs_at(&first[room[b, 0]], &pixel[room[b, 0]], &length[room[b, 0]], &weight[room[b, 1]]),
                   &counts[b, 0])

    # What polygons left empty is closed up; blocks only move down.
    ends_array = np.zeros((n_blocks + 1, 2), np.int64)
    np.cumsum(counts_array[:, :2], axis=0, out=ends_array[1:])
    cdef int64_t[:, ::1] ends = ends_array
    for b in range(n_blocks):
        if ends[b, 0] != room[b, 0]:
            memmove(&first[ends[b, 0]], &first[room[b, 0]], counts[b, 0] * sizeof(uint32_t))
            memmove(&pixel[ends[b, 0]], &pixel[room[b, 0]], counts[b, 0] * sizeof(uint16_t))
            memmove(&length[ends[b, 0]], &length[room[b, 0]], counts[b, 0] * sizeof(uint16_t))
        if ends[b, 1] != room[b, 1]:
            memmove(&weight[ends[b, 1]], &weight[room[b, 1]], counts[b, 1] * sizeof(float))
    n_runs, n_entries = (int(n) for n in ends_array[n_blocks])
    kept = first_array[:n_runs], pixel_array[:n_runs], length_array[:n_runs], weight_array[:n_entries]
    return *(np.array(array) for array in kept), ends_array[:, 0].copy(), ends_array[:, 1].copy()


cdef split_runs runs_at(uint32_t* first, uint16_t* pixel, uint16_t* length, float* weight) noexcept nogil:
    cdef split_runs runs
    runs.first, runs.pixel, runs.length, runs.weight = first, pixel, length, weight
    runs.n_runs = runs.n_entries = 0
    return runs


def split_bbox(const double[::1] centre not None, const double[::1] azimuth, const float[:, :, ::1] corners not None,
               const uint8_t[::1] used not None, grid, double seam=0.0, Py_ssize_t n_threads=1):
    """Return (first, pixel, length, weight, run_start, entry_start); see `reference.split_bbox`."""
    cdef split_grid made = grid_of(grid, seam, False)
    if azimuth is None and (made.is_cake or np.isfinite(made.azimuth.low)):
        raise ValueError("a cake or a sector needs the azimuth of the centres")
    return split(source_of(centre, azimuth, corners, used), made, n_threads)


def split_full(const float[:, :, ::1] corners not None, const uint8_t[::1] used not None, grid, double seam=0.0,
               bint mirrored=False, Py_ssize_t n_threads=1):
    """Return (first, pixel, length, weight, run_start, entry_start); see `reference.split_full`."""
    return split(source_of(None, None, corners, used), grid_of(grid, seam, mirrored), n_threads)
