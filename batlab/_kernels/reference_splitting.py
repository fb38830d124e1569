"""The oracle of the kernels in splitting.pyx in plain numpy; part of `reference`."""

from __future__ import annotations

import numpy as np

SPLIT_BLOCK = 2048  # pixels of a block of runs
Runs = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def split_bbox(
    centre: np.ndarray,
    azimuth: np.ndarray | None,
    corners: np.ndarray,
    used: np.ndarray,
    grid: np.ndarray,
    seam: float = 0.0,
    n_threads: int = 1,
) -> Runs:
    """Share out pixels over the bins that their box covers: centre -+ the farthest corner, in both coordinates.

    A pixel that reaches into the range counts whole: what sticks out goes to the bins at the edge.

    Parameters
    ----------
    centre, azimuth
        (pixel,) position of the centre, and its azimuth [rad]; None where the grid has none.
    corners
        (pixel, 4, 2) float32: position and azimuth of the corners, -π to π, in the order of the contour.
    used
        (pixel,) uint8: 0 where a pixel has no part in anything.
    grid
        ((low, high, n) of the position, the same of the azimuth): lowest and highest place, and number of bins. An
        azimuth with n = 0 is a curve, where it picks the pixels that reach between low and high, perhaps -inf and inf.
    seam
        Azimuths are taken within half a turn of this direction.
    n_threads
        At least 1; the result does not depend on it.

    Returns
    -------
    first (uint32), pixel, length (uint16)
        Of each run: first bin (rows of equal azimuth, one after the other), pixel within its block of 2048, number of
        bins. Runs stand in image order; a pixel of a cake has one for each azimuth.
    weight
        (entry,) float32: the part of the pixel in each bin of the runs; it adds up to 1 for each pixel.
    run_start, entry_start
        (n_blocks + 1,) int64.

    Raises
    ------
    ValueError
        Shapes disagree, or the grid has no or too many bins, or bins of no width.
    """
    radial, around = _split_axes(grid, n_threads)
    n = len(used)
    if centre.shape != (n,) or corners.shape != (n, 4, 2) or (azimuth is not None and azimuth.shape != (n,)):
        raise ValueError(f"centre {centre.shape}, corners {corners.shape}, used {used.shape}")
    if azimuth is None and (around.n or np.isfinite(around.low)):
        raise ValueError("a cake or a sector needs the azimuth of the centres")
    cells = []
    for i in np.flatnonzero(used).tolist():
        reach = np.abs(corners[i, :, 0] - centre[i]).max()
        row = {0: 1.0}
        if azimuth is not None:
            turned = (azimuth[i] - seam + np.pi) % (2 * np.pi) - np.pi if seam else azimuth[i]
            gap = np.abs(corners[i, :, 1] - azimuth[i])
            wide = np.minimum(gap, 2 * np.pi - gap).max()
            if not around.n and (turned + wide < around.low or turned - wide > around.high):
                continue
            row = around.shares(turned - wide, turned + wide) if around.n else row
        column = radial.shares(centre[i] - reach, centre[i] + reach)
        cells.append((i, {(r, c): a * b for r, a in row.items() for c, b in column.items()}))
    return _split_runs(cells, n, radial.n)


def split_full(
    corners: np.ndarray,
    used: np.ndarray,
    grid: np.ndarray,
    seam: float = 0.0,
    mirrored: bool = False,
    n_threads: int = 1,
) -> Runs:
    """Share out pixels by the area of the polygon of their corners in position and azimuth.

    A pixel that reaches into the range counts whole, shared by what lies in the range. In a cake the area under each
    side is piled up in a column of bins at its mean height. The kernel rounds sums to float32 on the way, as pyFAI.

    Parameters
    ----------
    corners, used, grid, seam, n_threads
        As in `split_bbox`.
    mirrored
        Whether the contour runs the other way round, as in a flipped image: so the polygons that the seam has torn
        are found.

    Returns
    -------
    As `split_bbox`.
    """
    radial, around = _split_axes(grid, n_threads)
    if corners.shape != (len(used), 4, 2):
        raise ValueError(f"corners {corners.shape}, used {used.shape}")
    cells = []
    for i in np.flatnonzero(used).tolist():
        v = corners[i].astype(float)
        if seam:
            v[:, 1] = (v[:, 1] - seam + np.pi) % (2 * np.pi) - np.pi
        v = _mended(v, mirrored, 360.0 if around.n else 2 * np.pi)
        low, high = v.min(axis=0), v.max(axis=0)
        if high[0] < radial.low or low[0] > radial.upper or high[1] < around.low or low[1] > around.high:
            continue
        if not around.n:
            column = radial.areas((v[:, 0] - radial.low) / radial.width, v[:, 1])
            cells.append((i, {(0, c): a for c, a in column.items()}))
            continue
        x = (np.clip(v[:, 0], radial.low, radial.high) - radial.low) / radial.width
        y = (np.clip(v[:, 1], around.low, around.high) - around.low) / around.width
        cells.append((i, _piled(x, y, radial.n)))
    return _split_runs(cells, len(used), radial.n)


class _SplitAxis:
    def __init__(self, low: float, high: float, n: float):
        eps = 1 + float(np.finfo(np.float32).eps)
        self.low, self.high, self.n = low, high, int(n)
        self.upper = high * eps if high > 0 else high / eps
        self.width = (self.upper - low) / self.n if self.n else 1.0

    def shares(self, start: float, stop: float) -> dict[int, float]:
        """Return bin -> part of the line from `start` to `stop`; what sticks out goes to the first or last bin."""
        start, stop = (start - self.low) / self.width, (stop - self.low) / self.width
        if stop < 0 or start >= self.n:
            return {}
        first, last = max(0, int(start)), min(self.n - 1, int(stop))
        if first == last:
            return {first: 1.0}
        edges = np.array([start, *range(first + 1, last + 1), stop])
        return dict(zip(range(first, last + 1), np.diff(edges) / (stop - start), strict=True))

    def areas(self, x: np.ndarray, y: np.ndarray) -> dict[int, float]:
        """Return bin -> signed area of the polygon, as a part of what lies in the range."""
        first, last = max(0, int(np.floor(x.min()))), min(self.n - 1, int(np.floor(x.max())))
        if first >= self.n or last < 0:
            return {}
        if np.floor(x.min()) == np.floor(x.max()):
            return {first: 1.0}
        areas = {c: sum(width * height for width, height in _sides(x, y, c)) for c in range(first, last + 1)}
        total = sum(areas.values())
        return {c: area / total for c, area in areas.items()} if total else {}


def _split_axes(grid: np.ndarray, n_threads: int) -> tuple[_SplitAxis, _SplitAxis]:
    values = np.asarray(grid, dtype=float)
    if values.shape != (2, 3) or n_threads < 1:
        raise ValueError(f"grid must be (low, high, n) of position and azimuth, got {values.shape}")
    radial, around = (_SplitAxis(*row) for row in values)
    if not (radial.n > 0 and around.n >= 0 and radial.n * max(around.n, 1) < 2**32):
        raise ValueError(f"bins {radial.n} x {around.n}")
    if not (radial.width > 0 and around.width > 0):
        raise ValueError("the bins have no width")
    return radial, around


def _sides(x: np.ndarray, y: np.ndarray, column: int) -> list[tuple[float, float]]:
    """Return signed width and mean height of each side of a polygon within one column."""
    found = []
    for a, b, p, q in zip(x, np.roll(x, -1), y, np.roll(y, -1), strict=True):
        start, stop = np.clip([a, b], column, column + 1)
        if start != stop:
            slope = (q - p) / (b - a)
            found.append((stop - start, p + slope * (0.5 * (start + stop) - a)))
    return found


def _piled(x: np.ndarray, y: np.ndarray, n_columns: int) -> dict[tuple[int, int], float]:
    first, base = int(np.floor(x.min())), int(np.floor(y.min()))
    columns, rows = range(first, int(np.ceil(x.max()))), range(int(np.ceil(y.max())) - base)
    areas = {}
    for c in columns:
        for r in rows:
            parts = [width * np.clip(height - base - r, 0, 1) for width, height in _sides(x, y, c)]
            areas[base + r, c] = float(sum(parts))
    total = sum(areas.values())
    return {cell: area / total for cell, area in areas.items()} if total else {}


def _mended(v: np.ndarray, mirrored: bool, turn: float) -> np.ndarray:
    """Return the corners with the seam's tear mended: there the contour runs backwards."""
    (a0, a1), (b0, b1), (c0, c1), (d0, d1) = v
    area = 0.5 * (c0 - a0) * (d1 - b1) - (c1 - a1) * (d0 - b0)
    if (-area if mirrored else area) > 0:
        v[v[:, 1] < 0, 1] += turn
        if v[:, 1].mean() > turn / 2:
            v[:, 1] -= turn
    return v


def _split_runs(cells: list[tuple[int, dict[tuple[int, int], float]]], n_pixels: int, n_columns: int) -> Runs:
    runs, weight = [], []
    for pixel, parts in cells:
        for row in sorted({row for row, _ in parts}):
            columns = [c for r, c in parts if r == row and parts[r, c] != 0]
            if columns:
                span = range(min(columns), max(columns) + 1)
                runs.append((pixel, row * n_columns + span[0], len(span)))
                weight += [parts[row, c] for c in span]
    table = np.array(runs, dtype=np.int64).reshape(-1, 3)
    starts = np.arange(-(-n_pixels // SPLIT_BLOCK) + 1) * SPLIT_BLOCK
    run_start = np.searchsorted(table[:, 0], starts)
    ends = np.concatenate([[0], np.cumsum(table[:, 2])])
    return (
        table[:, 1].astype(np.uint32), (table[:, 0] % SPLIT_BLOCK).astype(np.uint16), table[:, 2].astype(np.uint16),
        np.array(weight, dtype=np.float32), run_start.astype(np.int64), ends[run_start].astype(np.int64),
    )  # fmt: skip
