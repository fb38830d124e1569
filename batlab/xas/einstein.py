"""How a bond's length spreads with temperature: the correlated Einstein model."""

from __future__ import annotations

from typing import Any

import numpy as np

# hbar² / (2 k_B u) in angstrom² K u; CODATA 2022, hbar and k_B exact by definition.
EINSTEIN = 1e20 * 1.054571817e-34**2 / (2 * 1.380649e-23 * 1.66053906892e-27)


def einstein_sigma2(temperature: Any, theta: Any, reduced_mass: Any) -> Any:
    """Return the mean square relative displacement σ² [angstrom²] of the atoms of a path.

    ``σ² = ħ² / (2 μ k_B θ) · coth(θ / 2T)``: each bond a harmonic oscillator of one frequency. At high temperature it
    grows as T / θ², at T = 0 the zero-point motion is left. Static disorder is not in it: add a constant.

    Parameters
    ----------
    temperature
        T [K], at least 0; a number or an array.
    theta
        Einstein temperature θ [K], positive.
    reduced_mass
        μ [u], positive; ``attrs["reduced_mass"]`` of a FEFF path, 1 / Σ 1/m over its atoms. For a path of more than two
        legs that is a convention of the field rather than physics.

    Returns
    -------
    float or numpy.ndarray
        σ², of the shape that the three make together.

    Raises
    ------
    ValueError
        A negative temperature, or θ or μ that is not positive.

    References
    ----------
    E. Sevillano, H. Meuth, J. J. Rehr, Phys. Rev. B 20, 4908 (1979), doi:10.1103/PhysRevB.20.4908.

    Examples
    --------
    >>> einstein_sigma2([10, 300], 233.0, 31.773).round(5).tolist()
    [0.00328, 0.00886]
    """
    t, theta, mass = (np.asarray(one, dtype=float) for one in (temperature, theta, reduced_mass))
    if (t < 0).any() or not (theta > 0).all() or not (mass > 0).all():
        raise ValueError(
            "the Einstein model needs temperature >= 0 and positive theta and reduced mass, "
            f"got temperature {t.min():g}, theta {theta.min():g}, reduced_mass {mass.min():g}"
        )
    with np.errstate(divide="ignore"):
        result = EINSTEIN / (mass * theta * np.tanh(theta / (2 * t)))
    return float(result) if result.ndim == 0 else result


def einstein_slopes(temperature: float, theta: float, reduced_mass: float) -> tuple[float, float]:
    """Return dσ²/dT and dσ²/dθ."""
    half = np.inf if temperature == 0 else theta / (2 * temperature)
    size = EINSTEIN / (reduced_mass * theta)
    if half > 300:
        return 0.0, -size / theta
    steep = size / np.sinh(half) ** 2
    return float(steep * half / temperature), float(-size / (theta * np.tanh(half)) - steep / (2 * temperature))
