"""How many components a series has: five ways to ask, their answers side by side."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import xarray as xr

from batlab.decompose._pca import components
from batlab.decompose.table import as_table
from batlab.schema import quantity, record

SHOWN = 20  # components that are judged at most; a series with more is not one of few components
FOLDS = 4  # groups of points, and of the frames of a long series, that are left out in turn
ALONE = 12  # frames up to which each is left out by itself
WAYS = {
    "indicator": "IND (least)",
    "f_test": "F-test",
    "cross_validation": "cross-validation",
    "broken_stick": "broken stick",
    "real_error": "real error (noise reached)",
}


@dataclass(frozen=True)
class Rank:
    """What `rank` found: the table as `dataset`, each method's answer in `votes`; ``print`` shows both."""

    dataset: xr.Dataset

    @property
    def votes(self) -> dict[str, int | None]:
        """Number of components by each method; None where a method had nothing to judge by."""
        return json.loads(self.dataset.attrs["votes"])

    @property
    def is_unanimous(self) -> bool:
        """All methods that could judge gave one number."""
        return len({vote for vote in self.votes.values() if vote is not None}) == 1

    def __str__(self) -> str:
        ds, lines = self.dataset, []
        mean = "the mean spectrum counts as one" if ds.attrs["is_centered"] else "not centred"
        lines.append(f"How many components: {ds.attrs['n_frames']} frames, {ds.attrs['n_points']} points, {mean}")
        lines.append("  n  eigenvalue  real error         IND   F-test p    CV error  share / broken stick")
        for row in range(ds.sizes["component"]):
            one = ds.isel(component=row)
            numbers = [one[name].item() for name in ("real_error", "indicator", "f_significance", "cv_error")]
            lines.append(
                f"{int(one.component):3d}{one.eigenvalue.item():12.4g}"
                + "".join(f"{'-':>12s}" if np.isnan(x) else f"{x:12.4g}" for x in numbers[:2])
                + "".join(f"{'-':>11s}" if np.isnan(x) else f"{x:11.3g}" for x in numbers[2:3])
                + "".join(f"{'-':>12s}" if np.isnan(x) else f"{x:12.4g}" for x in numbers[3:])
                + ("" if np.isnan(one.share.item()) else f"{one.share.item():11.4f} / {one.broken_stick.item():.4f}")
            )
        told = {name: "no answer" if vote is None else str(vote) for name, vote in self.votes.items()}
        lines += [f"{WAYS[name]}: {answer}{self._beside(name)}" for name, answer in told.items()]
        found = [vote for vote in self.votes.values() if vote is not None]
        if self.is_unanimous:
            lines.append(f"All say {found[0]}.")
        else:
            lines.append(f"They disagree: {min(found)} to {max(found)}. Look at the loadings before you choose.")
        return "\n".join(lines)

    def _beside(self, name: str) -> str:
        """Return how near the second best number comes, or at which limit a test was made."""
        if name == "f_test":
            return f" (at {100 * self.dataset.attrs['significance']:g} %)"
        if name == "real_error":
            noise = self.dataset.attrs.get("noise")
            return " (give noise=, or a series with sigma)" if noise is None else f" (noise {noise:.3g})"
        if name == "cross_validation":
            return f" (least error: {int(self.dataset.component[np.nanargmin(self.dataset.cv_error.values)])})"
        if name != "indicator":
            return ""
        numbers = self.dataset["indicator"].to_series().dropna().sort_values()
        if len(numbers) < 2:
            return ""
        return f" (next {int(numbers.index[1])}, {100 * (numbers.iloc[1] / numbers.iloc[0] - 1):.1f} % above)"


def rank(
    data: xr.DataArray | xr.Dataset,
    *,
    of: str | None = None,
    center: bool = True,
    significance: float = 0.05,
    noise: float | None = None,
) -> Rank:
    """Ask five methods how many components a series has, and show where they disagree.

    With r the larger and c the smaller side of the table and eigenvalues λ (squares of singular values):

    - real error ``RE(n) = sqrt(Σ_{j>n} λ_j / (r (c - n)))``; it answers with the first n that reaches `noise`;
    - Malinowski's indicator ``IND(n) = RE(n) / (c - n)²``, least at the answer; an empirical function;
    - Malinowski's F-test of λ_n against the pooled smaller ones, each over (r - j + 1)(c - j + 1), with 1 and c - n
      degrees of freedom, begun from below: the last component of the larger half that is significant (the smallest
      eigenvalues of noise fall off faster than the test supposes). Fewer spectra than points will do, and more;
    - bi-cross-validation (Owen and Perry): blocks of frames and points are left out together and foretold from the
      rest by n components: the smallest n that is no worse than the best by more than one standard error;
    - broken stick: the leading components whose share exceeds that of the longest pieces of a stick broken at random;
      a coarse one, which sees large components only.

    All suppose independent noise of one size; correlated noise and drifting energies look like components.

    Parameters
    ----------
    data
        Over (frame, axis), at least three frames; gaps as in `pca`.
    of
        Variable of a Dataset.
    center
        True takes the mean off and counts it as one component: right where the parts of a mixture have a constant sum,
        as in normalised spectra. The sides of the table lose one frame. False judges the raw table.
    significance
        Limit of the F-test, 0 to 1.
    noise
        1 σ of a point, in units of the data; by default the root mean square of ``<name>_sigma``, if there is one.

    Returns
    -------
    Rank
        ``.votes``; ``.dataset`` over ``component`` (the number kept, the mean included): ``eigenvalue``,
        ``real_error``, ``indicator``, ``f_value``, ``f_significance``, ``cv_error``, ``share``, ``broken_stick``.

    Raises
    ------
    DimensionError
        Fewer than three frames.
    ValueError
        `significance` or `noise` out of range.

    References
    ----------
    Malinowski, Anal. Chem. 49, 612 (1977), doi:10.1021/ac50012a027; J. Chemometrics 3, 49 (1989),
    doi:10.1002/cem.1180030106; Owen and Perry, Ann. Appl. Stat. 3, 564 (2009), doi:10.1214/08-AOAS227; Jackson,
    Ecology 74, 2204 (1993), doi:10.2307/1939574.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> mixed = rng.uniform(size=(30, 3)) @ rng.uniform(size=(3, 80)) + rng.normal(0, 0.01, (30, 80))
    >>> found = rank(xr.DataArray(mixed, dims=("frame", "energy")), center=False, noise=0.0105)
    >>> found.votes["indicator"], found.votes["f_test"], found.votes["cross_validation"], found.votes["real_error"]
    (3, 3, 3, 3)
    """
    table = as_table(data, of, "decompose.rank", frames=3)
    if not 0 < significance < 1:
        raise ValueError(f"significance must lie between 0 and 1, got {significance!r}")
    if noise is not None and not noise > 0:
        raise ValueError(f"noise must be positive, one σ of a point, got {noise!r}")
    rows, columns = table.known("decompose.rank")
    values = table.values if rows.all() and columns.all() else table.values[np.ix_(rows, columns)]
    if noise is None and table.sigma is not None:
        noise = float(np.sqrt(np.nanmean(table.sigma**2)))
    mean = values.mean(axis=0) if center else np.zeros(values.shape[1])
    sides = (len(values) - bool(center), values.shape[1])
    squares = components(values, mean, min(sides))[1] ** 2
    if not squares[0] > 0:
        raise ValueError("decompose.rank: the series does not vary at all; there is nothing to count")
    shown = min(SHOWN, min(sides) - 1)
    errors, indicators = real_errors(squares, max(sides))
    f_values, chances = f_test(squares, max(sides))
    shares, sticks = squares / squares.sum(), np.cumsum(1 / np.arange(len(squares), 0, -1))[::-1] / len(squares)
    squares_left, press = cross_validation(values, center, shown)
    own = int(center)  # the mean is the first component
    first = len(values) * float(mean @ mean)
    votes = {
        "indicator": int(np.argmin(indicators[1 - own :])) + 1,
        "f_test": own + last(chances[: max(1, min(shown, len(squares) // 2))] <= significance),
        "cross_validation": frugal(squares_left[:, 1 - own :]) + 1,
        "broken_stick": own + run(shares > sticks),
        "real_error": None if noise is None or not (errors <= noise).any() else own + int(np.argmax(errors <= noise)),
    }

    def column(kept: np.ndarray, tested: bool, units: str, long_name: str) -> xr.Variable:
        """`kept` counts from no component, `tested` from the first."""
        full = np.concatenate([[np.nan], kept]) if tested else kept
        return quantity("component", full[1 - own : shown + 1], units, long_name)

    eigenvalues = np.concatenate([[first], squares])
    data_vars = {
        "eigenvalue": column(eigenvalues, False, "1", "eigenvalue of the last component kept"),
        "real_error": column(errors, False, table.units, "real error"),
        "indicator": column(indicators, False, table.units, "Malinowski's indicator"),
        "f_value": column(f_values, True, "1", "F of the last component kept"),
        "f_significance": column(chances, True, "1", "probability of that F without the component"),
        "cv_error": column(press, False, table.units, "error of cross-validation (root mean square)"),
        "share": column(shares, True, "1", "part of the sum of squares"),
        "broken_stick": column(sticks, True, "1", "part expected of a broken stick"),
    }
    attrs = {"is_centered": own, "significance": significance, "votes": json.dumps(votes)}
    attrs |= {"n_frames": len(values), "n_points": values.shape[1]} | ({} if noise is None else {"noise": float(noise)})
    result = table.result(data_vars, frames=False, axis=False, **attrs)
    result = result.assign_coords(
        component=quantity("component", np.arange(1, 1 + len(result.component)), "1", "number")
    )
    return Rank(record(
        result, "decompose.rank", of=table.name, center=center, significance=significance, noise=noise
    ))  # fmt: skip


def run(is_true: np.ndarray) -> int:
    """Return how many come true one after another from the first."""
    return int(np.argmin(np.append(is_true, False)))


def last(is_true: np.ndarray) -> int:
    """Return the number of the last that is true, 0 without one."""
    return int(np.flatnonzero(np.append(True, is_true))[-1])


def real_errors(squares: np.ndarray, longer: int) -> tuple[np.ndarray, np.ndarray]:
    """Return real error and indicator with 0, 1 … c - 1 components kept."""
    left = len(squares) - np.arange(len(squares))
    rest = np.cumsum(squares[::-1])[::-1]
    errors = np.sqrt(rest / (longer * left))
    return errors, errors / left**2


def f_test(squares: np.ndarray, longer: int) -> tuple[np.ndarray, np.ndarray]:
    """Return Malinowski's F of the components 1 … c - 1 and the probability of more without them."""
    from scipy.special import fdtrc

    n = np.arange(1, len(squares) + 1)
    room = (longer - n + 1.0) * (len(squares) - n + 1.0)
    later = np.cumsum(room[::-1])[::-1][1:]
    rest = np.cumsum(squares[::-1])[::-1][1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        f_values = np.where(rest > 0, later / room[:-1] * squares[:-1] / rest, np.inf)
    return f_values, fdtrc(1, len(squares) - n[:-1], f_values)


def frugal(squares: np.ndarray) -> int:
    """Return the first column (of blocks, columns) that is worse than the best by no more than one standard error."""
    sums = squares.sum(axis=0)
    worse = squares - squares[:, [int(np.nanargmin(sums))]]
    doubt = worse.std(axis=0, ddof=1) * np.sqrt(len(squares))
    return int(np.argmax(worse.sum(axis=0) <= doubt))


def cross_validation(values: np.ndarray, center: bool, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return squares left of every block with 0 … `most` components (NaN beyond what can be), and the error of all."""
    n_frames, n_points = values.shape
    n_groups = n_frames if n_frames <= ALONE else FOLDS
    squares = []
    for group in range(n_groups):
        out = np.arange(n_frames) % n_groups == group
        mean = values[~out].mean(axis=0) if center else 0.0
        train, test = values[~out] - mean, values[out] - mean
        wide = len(train) < n_points
        gram = train @ train.T if wide else train.T @ train
        for part in range(min(FOLDS, n_points)):
            held = np.arange(n_points) % FOLDS == part
            squares.append(_foretold(train, test, held, gram, most))
    return np.stack(squares), np.sqrt(np.sum(squares, axis=0) / values.size)


def _foretold(train: np.ndarray, test: np.ndarray, held: np.ndarray, gram: np.ndarray, most: int) -> np.ndarray:
    """Return the squares that 0 … `most` components of the kept block leave of the block held out."""
    kept, lost = train[:, ~held], train[:, held]
    wide = len(gram) == len(train) and len(train) < train.shape[1]
    inner = gram - lost @ lost.T if wide else gram[np.ix_(~held, ~held)]
    n = min(most, len(inner))
    weights, vectors = scipy.linalg.eigh(inner, subset_by_index=(len(inner) - n, len(inner) - 1))
    weights, vectors = weights[::-1], vectors[:, ::-1]
    if wide:
        near, far = test[:, ~held] @ (kept.T @ vectors), vectors.T @ lost
    else:
        near, far = test[:, ~held] @ vectors, vectors.T @ gram[np.ix_(~held, held)]
    residual = test[:, held].copy()
    left = np.full(most + 1, np.nan)
    left[0] = (residual**2).sum()
    for k in range(n):
        if not weights[k] > 1e-13 * weights[0]:  # beyond what a Gram matrix holds
            break
        residual -= np.outer(near[:, k], far[k] / weights[k])
        left[k + 1] = (residual**2).sum()
    return left
