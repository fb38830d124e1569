"""The ad hoc correction of F(Q) by a polynomial, linear in F: one operator for a whole series."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Polynomial(NamedTuple):
    """F - basis diag(shares) basisᵀ F, with a basis orthonormal over the points of q."""

    basis: np.ndarray  # (q, coefficient)
    shares: np.ndarray

    def removed_from(self, f_q: np.ndarray) -> np.ndarray:
        """Return F(Q) (frame, q) without its smooth part."""
        return f_q - (f_q @ self.basis * self.shares) @ self.basis.T


def polynomial(q: np.ndarray, qmaxinst: float, rpoly: float) -> Polynomial:
    """Return the operator that takes Q p(Q) out of F(Q), p being fitted by least squares over all `q`.

    Q p(Q) is of degree n = rpoly qmaxinst / π, p of one less: with its zero at Q = 0 it has n zeros up to qmaxinst,
    as a wave of period 2π/rpoly has, so that what it follows lies below r = rpoly in G(r). Between two whole degrees
    their corrections are mixed in proportion. Juhás et al., 10.1107/S0021889813005190.
    """
    degree = rpoly * qmaxinst / np.pi - 1
    whole = int(np.floor(degree))
    columns = q[:, None] * np.polynomial.legendre.legvander(2 * q / qmaxinst - 1, whole + 1)
    basis = np.linalg.qr(columns)[0]
    shares = np.ones(whole + 2)
    shares[-1] = degree - whole
    return Polynomial(np.ascontiguousarray(basis), shares)
