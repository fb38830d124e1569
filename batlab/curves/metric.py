"""The metric tensor: what a space group leaves free in it, and the cell it stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import gemmi

LENGTHS = ("a", "b", "c")
ANGLES = ("alpha", "beta", "gamma")
CELL = (*LENGTHS, *ANGLES, "volume")
_PAIRS = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
_OPPOSITE = ((1, 2), (0, 2), (0, 1))  # alpha lies between b and c, ...


def miller(hkl: list[str]) -> np.ndarray:
    """Return (n, 3) Miller indices of texts such as ``"1 0 -4"``.

    Raises
    ------
    ValueError
        A text is not three whole numbers.

    Examples
    --------
    >>> miller(["1 0 -4"]).tolist()
    [[1.0, 0.0, -4.0]]
    """
    rows = []
    for text in hkl:
        parts = str(text).replace(",", " ").split()
        try:
            rows.append([float(int(part)) for part in parts])
        except ValueError as error:
            raise ValueError(f"hkl must be three whole numbers such as '1 0 -4', got {text!r}") from error
        if len(parts) != 3:
            raise ValueError(f"hkl must be three whole numbers such as '1 0 -4', got {text!r}")
    return np.array(rows).reshape(-1, 3)


def terms(indices: np.ndarray) -> np.ndarray:
    """Return (n, 6) factors of the reciprocal metric G*: ``1/d² = h G* hᵀ``, written as ``terms @ (G11 … G12)``."""
    products = [indices[:, i] * indices[:, j] * (1 if i == j else 2) for i, j in _PAIRS]
    return np.stack(products, axis=-1)


def free_parameters(group: gemmi.SpaceGroup) -> np.ndarray:
    """Return (6, p): the reciprocal metrics that every operation of the space group leaves as they are.

    One rule for all crystal systems and settings: cubic p = 1; hexagonal, trigonal (both axes), tetragonal 2;
    orthorhombic 3; monoclinic, whichever axis is unique, 4; triclinic 6.
    """
    mean = np.zeros((6, 6))
    rotations = [np.array(op.rot, dtype=float) / op.DEN for op in group.operations().sym_ops]
    for column, (i, j) in enumerate(_PAIRS):
        metric = np.zeros((3, 3))
        metric[i, j] = metric[j, i] = 1.0
        turned = np.mean([rotation @ metric @ rotation.T for rotation in rotations], axis=0)
        mean[:, column] = [turned[pair] for pair in _PAIRS]
    basis: list[np.ndarray] = []
    for image in mean.T:
        rest = image.copy()
        for other in basis:
            rest -= (image @ other) / (other @ other) * other
        if np.abs(rest).max() > 1e-9:
            basis.append(rest / np.abs(rest).max())
    return np.stack(basis, axis=1)


def reciprocal_metric(cell: np.ndarray) -> np.ndarray:
    """Return (…, 6) reciprocal metrics [1/angstrom²] of (…, 6) cells: a, b, c [angstrom], alpha, beta, gamma [°]."""
    cell = np.asarray(cell, dtype=float)
    direct = np.empty((*cell.shape[:-1], 3, 3))
    for axis in range(3):
        direct[..., axis, axis] = cell[..., axis] ** 2
        i, j = _OPPOSITE[axis]
        direct[..., i, j] = direct[..., j, i] = cell[..., i] * cell[..., j] * np.cos(np.radians(cell[..., 3 + axis]))
    inverse = np.linalg.inv(direct)
    return np.stack([inverse[..., i, j] for i, j in _PAIRS], axis=-1)


def direct_cell(parameters: np.ndarray, covariance: np.ndarray, free: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return cells and their 1 σ from fitted metrics.

    Parameters
    ----------
    parameters, covariance
        (frame, p) and (frame, p, p) in the basis `free` (6, p) of the reciprocal metric.

    Returns
    -------
    tuple of ndarray
        (frame, 7) each, in the order of `CELL`; NaN where the metric is not positive definite.
    """
    n_frames, n_free = parameters.shape
    reciprocal = _square(parameters @ free.T)
    known = np.isfinite(reciprocal).all(axis=(1, 2))
    known[known] &= np.linalg.eigvalsh(reciprocal[known])[:, 0] > 0
    values, sigma = np.full((2, n_frames, 7), np.nan)
    metric = np.linalg.inv(reciprocal[known])
    slopes = np.stack([-metric @ _square(free[:, one]) @ metric for one in range(n_free)], axis=1)
    cell, gradient = np.empty((len(metric), 7)), np.empty((len(metric), n_free, 7))
    for axis in range(3):
        cell[:, axis] = np.sqrt(metric[:, axis, axis])
        gradient[..., axis] = slopes[..., axis, axis] / (2 * cell[:, None, axis])
    for axis, (i, j) in enumerate(_OPPOSITE):
        product = cell[:, i] * cell[:, j]
        cosine = metric[:, i, j] / product
        change = slopes[..., i, j] / product[:, None] - cosine[:, None] * (
            gradient[..., i] / cell[:, None, i] + gradient[..., j] / cell[:, None, j]
        )
        cell[:, 3 + axis] = np.degrees(np.arccos(cosine))
        gradient[..., 3 + axis] = -np.degrees(change) / np.sqrt(1 - cosine**2)[:, None]
    cell[:, 6] = np.sqrt(np.linalg.det(metric))
    gradient[..., 6] = cell[:, None, 6] / 2 * np.einsum("fij,fpji->fp", reciprocal[known], slopes)
    fixed = np.abs(gradient[..., 3:6]).max(axis=(0, 1), initial=0.0) < 1e-9 * _largest(gradient)
    cell[:, 3:6] = np.where(fixed, np.round(cell[:, 3:6], 6), cell[:, 3:6])
    gradient[..., 3:6] *= ~fixed
    values[known] = cell
    sigma[known] = np.sqrt(np.maximum(np.einsum("fpc,fpq,fqc->fc", gradient, covariance[known], gradient), 0))
    return values, sigma


def _square(packed: np.ndarray) -> np.ndarray:
    full = np.empty((*packed.shape[:-1], 3, 3))
    for position, (i, j) in enumerate(_PAIRS):
        full[..., i, j] = full[..., j, i] = packed[..., position]
    return full


def _largest(gradient: np.ndarray) -> float:
    return float(np.abs(gradient).max(initial=0.0)) or 1.0
