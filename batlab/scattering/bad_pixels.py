"""Pixels that cannot be trusted, found from a stack: dead, cold, hot, stuck, noisy."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from batlab.scattering.frames import as_stack
from batlab.schema import quantity, record

KINDS = ("good", "masked", "lost", "dead", "cold", "hot", "stuck", "noisy")
LIKELY = 1e-9  # chance that a sound pixel is taken for a bad one
APART = 6.5  # standard deviations; both sides of a normal distribution beyond: 8e-11
AT_A_TIME = 4  # frames in memory
BAND = 256  # rows that are compared with their neighbours at a time


def find_bad_pixels(
    frames: xr.Dataset | xr.DataArray, *, mask: Any = None, most_frames: int = 200, factor: float = 3.0
) -> xr.Dataset:
    """Tell from a stack of frames which pixels cannot be trusted, and why.

    A pixel is compared with the eight around it: rings and spots spread over several pixels, a bad one stands alone
    (or in twos). All limits follow from Poisson statistics, so that a stack of few counts accuses nobody.

    Parameters
    ----------
    frames
        ``intensity`` (frame, y, x) in counts, as `io.open` returns it; its ``mask`` and ``overflow`` are respected.
    mask
        A further mask (y, x), True where excluded.
    most_frames
        Of a longer series so many are read, evenly spread.
    factor
        How many times more (or less) than its neighbours a pixel must count to be called hot (or cold).

    Returns
    -------
    Dataset over (y, x): ``mask`` (True where not good), ``kind`` (see its attributes ``flag_values`` and
    ``flag_meanings``), ``mean`` [count]; attributes ``n_dead`` … with the number of each kind.

    - masked: excluded before; lost: overflow, NaN or infinite in more than half of the frames;
    - dead: no count at all where its neighbours' number makes that less likely than 1e-9;
    - cold, hot: less or more than its second lowest or highest neighbour, so that one bad neighbour excuses nobody, by
      `factor` and by 6.5 σ;
    - stuck: the same number in every frame, where chance of that is below 1e-9;
    - noisy: scatters more than Poisson noise at 1e-9, and three times more than its second noisiest neighbour; its
      highest frame left out, so that one cosmic ray condemns no pixel.

    Raises
    ------
    ValueError
        No frames, or limits that make no sense.

    Notes
    -----
    A single-pixel spot that stays in all frames looks like a hot pixel. Stuck and noisy need five frames or more.

    Examples
    --------
    >>> counts = np.random.default_rng(0).poisson(20, (10, 32, 32))
    >>> counts[:, 5, 7], counts[:, 9, 9] = 0, 400
    >>> found = find_bad_pixels(xr.DataArray(counts, dims=("frame", "y", "x")))
    >>> found.attrs["n_dead"], found.attrs["n_hot"] + found.attrs["n_stuck"], int(found.mask.sum())
    (1, 1, 2)
    """
    stack = as_stack(frames, mask)
    if isinstance(most_frames, bool) or int(most_frames) != most_frames or most_frames < 1:
        raise ValueError(f"most_frames must be a whole number of at least 1, got {most_frames!r}")
    if not factor > 1:
        raise ValueError(f"factor must be above 1, got {factor!r}")
    n = len(stack.data)
    if not n:
        raise ValueError("find_bad_pixels needs at least one frame, got none")
    wanted = np.unique(np.linspace(0, n - 1, min(n, int(most_frames))).round().astype(int))
    sums = _Sums(stack.shape)
    for start in range(0, len(wanted), AT_A_TIME):
        rows = wanted[start : start + AT_A_TIME]
        block = np.asarray(stack.data[rows])
        lost = np.isin(block, np.array(stack.overflow)) if stack.overflow else np.zeros(block.shape, bool)
        if stack.varying_mask is not None:
            lost |= np.asarray(stack.varying_mask[rows])
        for image, gone in zip(block, lost, strict=True):
            sums.add(image, gone)
    kind = _kinds(sums, stack.mask, factor)
    return _dataset(kind, sums, stack.dataset.attrs, n_frames=len(wanted), factor=factor)


class _Sums:
    """Running sums over frames of every pixel."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.n_frames = 0
        self.n = np.zeros(shape, np.int32)
        self.total, self.squares = np.zeros(shape), np.zeros(shape)
        self.low, self.high = np.full(shape, np.inf), np.full(shape, -np.inf)

    def add(self, image: np.ndarray, gone: np.ndarray) -> None:
        values = image.astype(float)
        gone = gone | ~np.isfinite(values)
        values[gone] = 0
        self.n_frames += 1
        self.n += ~gone
        self.total += values
        self.squares += values * values
        np.minimum(self.low, np.where(gone, np.inf, values), out=self.low)
        np.maximum(self.high, np.where(gone, -np.inf, values), out=self.high)

    @property
    def mean(self) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return np.where(self.n > 0, self.total / np.maximum(self.n, 1), np.nan)


def _kinds(sums: _Sums, mask: np.ndarray | None, factor: float) -> np.ndarray:
    """Return the number of its kind for each pixel; of several that fit the last in `KINDS` but for dead."""
    out = np.zeros(sums.n.shape, np.uint8)
    masked = np.zeros(out.shape, bool) if mask is None else mask
    lost = ~masked & (sums.n < 0.5 * sums.n_frames)
    usable = ~masked & ~lost
    mean = np.where(usable, sums.mean, np.nan)
    second_low, typical, second_high = _ranks(mean)
    expected, total = typical * sums.n, sums.total
    with np.errstate(invalid="ignore", divide="ignore"):
        dead = usable & (total == 0) & (expected > -np.log(LIKELY))
        spread = np.sqrt(np.maximum(total, 1) + np.maximum(second_low * sums.n, 1))
        cold = usable & (mean * factor < second_low) & (second_low * sums.n - total > APART * spread)
        spread = np.sqrt(np.maximum(total, 1) + np.maximum(second_high * sums.n, 1))
        hot = usable & (mean > factor * second_high) & (total - second_high * sums.n > APART * spread)
    for name, found in (("cold", cold), ("hot", hot), ("stuck", _stuck(sums, usable)), ("noisy", _noisy(sums, usable))):
        out[found] = KINDS.index(name)
    out[dead] = KINDS.index("dead")
    out[lost] = KINDS.index("lost")
    out[masked] = KINDS.index("masked")
    return out


def _ranks(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return second lowest, middle, second highest of the eight neighbours; NaN where fewer than four have a value."""
    found = tuple(np.full(values.shape, np.nan) for _ in range(3))
    padded = np.pad(values, 1, constant_values=np.nan)
    ny, nx = values.shape
    for top in range(0, ny, BAND):
        rows = min(BAND, ny - top)
        shifts = [(i, j) for i in range(3) for j in range(3) if (i, j) != (1, 1)]
        around = np.sort([padded[top + i : top + i + rows, j : j + nx] for i, j in shifts], axis=0)  # NaN come last
        n = np.isfinite(around).sum(axis=0)
        places = (np.minimum(1, n - 1), (n - 1) // 2, np.maximum(n - 2, 0))
        for out, place in zip(found, places, strict=True):
            one = np.take_along_axis(around, np.maximum(place, 0)[None], axis=0)[0]
            out[top : top + rows] = np.where(n >= 4, one, np.nan)
    return found  # type: ignore[return-value]


def _stuck(sums: _Sums, usable: np.ndarray) -> np.ndarray:
    """Whether a number stays where Poisson noise would move it: the likeliest number n has the chance 1/sqrt(2πn)."""
    value = np.maximum(sums.low, 1)
    with np.errstate(invalid="ignore"):
        chance = (sums.n - 1) * 0.5 * np.log(2 * np.pi * value)
        return usable & (sums.n >= 5) & (sums.low == sums.high) & (sums.low >= 1) & (chance > -np.log(LIKELY))


def _noisy(sums: _Sums, usable: np.ndarray) -> np.ndarray:
    """Whether the variance between frames, the highest left out, is beyond Poisson's and beyond the neighbours'."""
    from scipy.stats import gamma

    n = sums.n - 1
    with np.errstate(invalid="ignore", divide="ignore"):
        high = np.where(usable, sums.high, 0)
        total, squares = sums.total - high, sums.squares - high**2
        mean = total / n
        index = (squares - n * mean**2) / (n - 1) / mean
        index = np.where(usable & (n >= 5) & (total >= 10), index, np.nan)
    candidates = np.nan_to_num(index) > 1.5
    if not candidates.any():
        return candidates
    _, _, second_high = _ranks(index)
    # (n-1) times the index has mean n-1 and variance (n-1)(2 + 1/mean); a gamma distribution of these.
    freedom, spread = n[candidates] - 1.0, (n[candidates] - 1.0) * (2 + 1 / mean[candidates])
    limit = gamma.isf(LIKELY, freedom**2 / spread, scale=spread / freedom)
    found = candidates.copy()
    found[candidates] = index[candidates] * freedom > limit
    with np.errstate(invalid="ignore"):
        return found & (index > 3 * np.where(np.isfinite(second_high), np.maximum(second_high, 1), np.inf))


def _dataset(kind: np.ndarray, sums: _Sums, attrs: dict[str, Any], **arguments: Any) -> xr.Dataset:
    flags = {"flag_values": list(range(len(KINDS))), "flag_meanings": " ".join(KINDS)}
    variables = {
        "mask": quantity(("y", "x"), kind > 0, "1", "pixel is excluded"),
        "kind": quantity(("y", "x"), kind, "1", "what is wrong with the pixel", **flags),
        "mean": quantity(("y", "x"), sums.mean, "count", "mean of the frames"),
    }
    kept = {key: value for key, value in attrs.items() if key.startswith(("source", "history"))}
    numbers = np.bincount(kind.ravel(), minlength=len(KINDS))
    kept |= {f"n_{name}": int(number) for name, number in zip(KINDS, numbers, strict=True)}
    return record(xr.Dataset(variables, attrs=kept), "scattering.find_bad_pixels", **arguments)
