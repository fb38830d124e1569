"""Pixels shared out over bins: kernel beside oracle, and what must hold whatever the geometry."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batlab._kernels import reference
from batlab._kernels.splitting import split_bbox, split_full

# The kernel rounds areas to float32 where pyFAI does, far from azimuth 0 up to some 1e-4 of a pixel.
ROUNDING = 1e-3


def scene(rows=24, columns=31, origin=(-7.3, 12.2), flipped=False):
    """Return centre, azimuth, corners and used of a flat detector that the beam meets at `origin` (row, column)."""
    y, x = np.arange(rows + 1.0) - origin[0], np.arange(columns + 1.0) - origin[1]
    y = y[::-1] if flipped else y
    grid_y, grid_x = np.meshgrid(y, x, indexing="ij")
    edge = np.stack([np.hypot(grid_x, grid_y), np.arctan2(grid_y, grid_x)], axis=-1).astype(np.float32)
    corners = np.stack([edge[:-1, :-1], edge[1:, :-1], edge[1:, 1:], edge[:-1, 1:]], axis=2).reshape(-1, 4, 2)
    mid_y, mid_x = np.meshgrid(0.5 * (y[1:] + y[:-1]), 0.5 * (x[1:] + x[:-1]), indexing="ij")
    used = np.ones(rows * columns, np.uint8)
    used[5::17] = 0
    return np.hypot(mid_x, mid_y).ravel(), np.arctan2(mid_y, mid_x).ravel(), np.ascontiguousarray(corners), used


def grids(centre):
    top = float(centre.max()) + 1
    yield "curve", [[0, top, 40], [-np.inf, np.inf, 0]], 0.0
    yield "fine curve", [[0, top, 700], [-np.inf, np.inf, 0]], 0.0
    yield "part", [[8.3, 20.1, 25], [-np.inf, np.inf, 0]], 0.0
    yield "sector", [[0, top, 30], [-1.1, 0.7, 0]], 0.0
    yield "sector across", [[0, top, 30], [-0.4, 0.4, 0]], np.pi
    yield "cake", [[0, top, 15], [-np.pi, np.pi, 12]], 0.0
    yield "fine cake", [[0, top, 45], [-np.pi, np.pi, 50]], 0.0
    yield "part of a cake", [[8.3, 20.1, 9], [-1.1, 0.7, 7]], 0.0
    yield "cake across", [[0, top, 15], [-0.5, 0.5, 4]], 3.0


def dense(runs, n_pixels, n_bins):
    first, pixel, length, weight, run_start, entry_start = runs
    assert [array.dtype for array in runs] == [np.uint32, np.uint16, np.uint16, np.float32, np.int64, np.int64]
    assert len(run_start) == len(entry_start) == -(-n_pixels // 2048) + 1
    table, entry = np.zeros((n_pixels, n_bins)), 0
    for block, (start, stop) in enumerate(itertools.pairwise(run_start)):
        assert entry == entry_start[block]
        assert (np.diff(pixel[start:stop].astype(int)) >= 0).all()
        for where, low, n in zip(*(array[start:stop].tolist() for array in (pixel, first, length)), strict=True):
            table[block * 2048 + where, low : low + n] += weight[entry : entry + n]
            entry += n
    assert entry == len(weight) == entry_start[-1]
    return table


def both(kernels, case, grid, seam, flipped=False, n_threads=1):
    bbox, full = kernels
    centre, azimuth, corners, used = case
    return bbox(centre, azimuth, corners, used, grid, seam, n_threads), full(
        corners, used, grid, seam, flipped, n_threads
    )


KERNEL, ORACLE = (split_bbox, split_full), (reference.split_bbox, reference.split_full)


def n_bins(grid):
    return int(grid[0][2] * max(grid[1][2], 1))


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("origin", [(-7.3, 12.2), (10.4, 12.7), (10.0, 40.0)])
def test_it_equals_the_oracle(origin, flipped):
    case = scene(origin=origin, flipped=flipped)
    for name, grid, seam in grids(case[0]):
        ours, theirs = both(KERNEL, case, grid, seam, flipped), both(ORACLE, case, grid, seam, flipped)
        for one, other, tolerance in zip(ours, theirs, (1e-6, ROUNDING), strict=True):
            got, want = (dense(runs, len(case[3]), n_bins(grid)) for runs in (one, other))
            np.testing.assert_allclose(got, want, atol=tolerance, err_msg=f"{name} {origin} {flipped}")


@pytest.mark.parametrize("origin", [(-7.3, 12.2), (10.4, 12.7)])
def test_the_parts_of_a_pixel_add_up_to_one(origin):
    case = scene(origin=origin)
    for name, grid, seam in grids(case[0]):
        for runs in both(KERNEL, case, grid, seam):
            parts = dense(runs, len(case[3]), n_bins(grid)).sum(axis=1)
            there = parts != 0
            np.testing.assert_allclose(parts[there], 1, atol=1e-5, err_msg=name)
            assert not parts[case[3] == 0].any()
            if name in ("curve", "cake", "fine curve", "fine cake"):
                assert (there == (case[3] != 0)).all()


def test_a_pixel_square_to_the_radius_is_shared_by_its_length():
    """Far out along +x a pixel is a rectangle: 0.25 of it below an edge of the bins, 0.75 above, in both schemes."""
    radius, azimuth = np.array([1000.25]), np.array([0.0])
    corners = np.array([[[999.75, -5e-4], [999.75, 5e-4], [1000.75, 5e-4], [1000.75, -5e-4]]], np.float32)
    grid = [[990, 1010 / (1 + float(np.finfo(np.float32).eps)), 20], [-np.inf, np.inf, 0]]
    for runs in (
        split_bbox(radius, azimuth, corners, np.ones(1, np.uint8), grid),
        split_full(corners, np.ones(1, np.uint8), grid),
    ):
        np.testing.assert_array_equal(runs[0], [9])
        np.testing.assert_allclose(runs[3], [0.25, 0.75], rtol=1e-6)


def test_a_triangle_in_a_curve_has_the_area_of_its_pieces():
    """Corners at radius 0, 0, 2, 2 and azimuths that make a triangle: a quarter of the area lies beyond the middle."""
    corners = np.array([[[0, -1], [0, 1], [2, 0], [2, 0]]], np.float32)
    for oracle in (split_full, reference.split_full):
        runs = oracle(corners, np.ones(1, np.uint8), [[0, 2, 2], [-np.inf, np.inf, 0]])
        np.testing.assert_allclose(runs[3], [0.75, 0.25], rtol=1e-6)


@pytest.mark.parametrize("n_pixels", [0, 1, 2047, 2048, 2049])
def test_few_and_no_pixels(n_pixels):
    case = [array[:n_pixels] for array in scene(34, 61)]
    for _, grid, seam in grids(scene(34, 61)[0]):
        for runs in both(KERNEL, case, grid, seam):
            parts = dense(runs, n_pixels, n_bins(grid)).sum(axis=1)
            np.testing.assert_allclose(parts[parts != 0], 1, atol=1e-5)
    case[3] = np.zeros(n_pixels, np.uint8)
    for runs in both(KERNEL, case, grid, seam):
        assert len(runs[0]) == len(runs[3]) == 0


def test_any_number_of_threads_gives_the_same_bits():
    case = scene(130, 140, (60.3, 70.8))
    for _, grid, seam in grids(case[0]):
        one, two, four = (both(KERNEL, case, grid, seam, n_threads=n) for n in (1, 2, 4))
        for arrays in zip(*one, *two, *four, strict=True):
            for k in range(2):
                assert arrays[k].tobytes() == arrays[k + 2].tobytes() == arrays[k + 4].tobytes()


def test_places_that_are_no_numbers_are_left_out():
    centre, azimuth, corners, used = scene()
    corners[100, 2, 0], corners[200, 1, 1], centre[300], azimuth[400] = np.nan, np.inf, np.nan, -np.inf
    for name, grid, seam in grids(scene()[0]):
        for runs, lost in zip(
            both(KERNEL, (centre, azimuth, corners, used), grid, seam), ((300,), (200,)), strict=True
        ):
            parts = dense(runs, len(used), n_bins(grid)).sum(axis=1)
            assert np.isfinite(parts).all(), name
            assert not parts[list(lost)].any(), name


def test_a_pixel_wider_than_a_run_can_tell():
    centre, corners = np.array([5.0]), np.array([[[0, 0], [0, 0.1], [10, 0.1], [10, 0]]], np.float32)
    grid, used = [[0, 10, 200_000], [-np.inf, np.inf, 0]], np.ones(1, np.uint8)
    for runs in (split_bbox(centre, None, corners, used, grid), split_full(corners, used, grid, 0.0, True)):
        assert runs[2].tolist() == [65535, 65535, 65535, 3395]
        np.testing.assert_allclose(runs[3].sum(dtype=float), 1, rtol=1e-6)
        np.testing.assert_array_equal(runs[0], np.arange(4) * 65535)


def test_read_only_input_is_taken_and_left_unchanged():
    case = scene()
    copies = [array.copy() for array in case]
    for array in case:
        array.setflags(write=False)
    both(KERNEL, case, [[0, 30, 40], [-np.pi, np.pi, 8]], 0.0)
    for before, after in zip(copies, case, strict=True):
        np.testing.assert_array_equal(before, after)


def test_what_does_not_fit_is_refused():
    centre, azimuth, corners, used = scene()
    good = [[0, 30, 40], [-np.pi, np.pi, 8]]
    for kernel in (split_bbox, reference.split_bbox):
        for arguments in (
            (centre[:-1], azimuth, corners, used, good),
            (centre, azimuth[:-1], corners, used, good),
            (centre, None, corners, used, good),
            (centre, None, corners, used, [[0, 30, 40], [-1, 1, 0]]),
            (centre, azimuth, corners[:-1], used, good),
            (centre, azimuth, corners, used, good, 0.0, 0),
        ):
            with pytest.raises(ValueError):
                kernel(*arguments)
    for kernel in (split_full, reference.split_full):
        for grid in (
            [[0, 30, 0], [-1, 1, 8]],
            [[0, 30, 2**33], [-1, 1, 0]],
            [[0, 30, 2**20], [-1, 1, 2**20]],
            [[30, 0, 5], [-1, 1, 8]],
            [[0, 30, 5]],
        ):
            with pytest.raises(ValueError):
                kernel(corners, used, grid)
    with pytest.raises(ValueError, match="contiguous"):
        split_full(corners[::2], used[::2], good)


@settings(max_examples=40, deadline=None)
@given(
    row=st.floats(-40, 40),
    column=st.floats(-40, 40),
    n=st.integers(1, 60),
    n_azimuth=st.integers(0, 40),
    start=st.floats(-3.1, 3.0),
    width=st.floats(0.05, 6.0),
    low=st.floats(0, 20),
    seam=st.sampled_from([0.0, 1.0, -2.5, np.pi]),
    flipped=st.booleans(),
)
def test_random_scenes(row, column, n, n_azimuth, start, width, low, seam, flipped):
    case = scene(9, 13, (row, column), flipped)
    stop = min(start + width, np.pi)
    grid = [[low, low + 25, n], [start, stop, n_azimuth]]
    boxes, polygons = both(KERNEL, case, grid, seam, flipped)
    theirs = dense(both(ORACLE, case, grid, seam, flipped)[0], len(case[3]), n_bins(grid))
    np.testing.assert_allclose(dense(boxes, len(case[3]), n_bins(grid)), theirs, atol=1e-6)
    parts = dense(polygons, len(case[3]), n_bins(grid)).sum(axis=1)
    np.testing.assert_allclose(parts[parts != 0], 1, atol=1e-4)
