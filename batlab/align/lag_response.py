"""What a signal may be of a quantity of the cell: a straight line, a smooth curve, one that only rises or falls."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# Word -> (degree of the spline, sign that its steps must have; 0: either).
RESPONSES = {"linear": (1, 0), "smooth": (3, 0), "rising": (3, 1), "falling": (3, -1)}
PIECES = (1, 2, 3, 5, 8, 12)  # of a smooth curve; Schwarz's criterion takes one

RANK = 1e-10  # of the largest singular value: below it a column adds nothing


class Response(NamedTuple):
    """A spline of `degree` in `n_pieces` equal pieces of [low, high], constant outside; `sign` of its steps."""

    degree: int
    sign: int
    n_pieces: int
    low: float
    high: float

    @property
    def n_columns(self) -> int:
        """Columns beside the constant."""
        return self.n_pieces + self.degree - 1

    def columns(self, values: np.ndarray) -> np.ndarray:
        """Return (value, column): integrals of B-splines, each rising from 0 to 1, without the constant.

        A sum of them with positive factors rises everywhere.

        Examples
        --------
        >>> Response(1, 0, 1, 0.0, 4.0).columns(np.array([0.0, 1.0, 4.0, 5.0])).ravel().tolist()
        [0.0, 0.25, 1.0, 1.0]
        """
        span = (self.high - self.low) or 1.0
        at = np.clip((values - self.low) / span, 0.0, 1.0)
        if self.degree == 1 and self.n_pieces == 1:
            return at[:, None]
        from scipy.interpolate import BSpline

        inner = np.linspace(0.0, 1.0, self.n_pieces + 1)
        knots = np.concatenate([np.zeros(self.degree), inner, np.ones(self.degree)])
        bells = BSpline.design_matrix(at, knots, self.degree).toarray()
        return np.cumsum(bells[:, ::-1], axis=1)[:, -2::-1]


class Solution(NamedTuple):
    """Least squares of the frames used: weighted residuals, factors of the columns, and what they were made with."""

    residual: np.ndarray
    factors: np.ndarray
    free_factors: np.ndarray
    basis: np.ndarray

    @property
    def n_parameters(self) -> int:
        """How many numbers were fitted."""
        return self.basis.shape[1]

    @property
    def rss(self) -> float:
        """Weighted sum of squares of the residuals."""
        return float(self.residual @ self.residual)


def solve(columns: np.ndarray, free: np.ndarray, values: np.ndarray, sign: int) -> Solution:
    """Fit `values` by columns whose factors have `sign` (0: any) beside free columns; all are weighted already."""
    ortho, triangle = np.linalg.qr(free)
    inner = columns - ortho @ (ortho.T @ columns)
    aim = values - ortho @ (ortho.T @ values)
    used = inner
    if sign:
        from scipy.optimize import nnls

        factors = sign * nnls(sign * inner, aim)[0]
        used = inner[:, factors != 0]
    left, sizes, right = np.linalg.svd(used, full_matrices=False)
    rank = int((sizes > RANK * sizes.max(initial=0.0)).sum())
    left = left[:, :rank]
    if not sign:
        factors = right[:rank].T @ ((left.T @ aim) / sizes[:rank])
    residual = aim - inner @ factors
    free_factors = np.linalg.lstsq(triangle, ortho.T @ (values - columns @ factors), rcond=None)[0]
    return Solution(residual, factors, free_factors, np.concatenate([ortho, left], axis=1))
