"""What a sample is made of, and how strongly its atoms scatter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from batlab.errors import choose

MODES = ("xray", "neutron")
HIGHEST_Q = 75.0  # 1/angstrom, where Waasmaier and Kirfel's form factors end


class Power(NamedTuple):
    """Scattering per atom against Q: X-rays in electron units, neutrons in fm²."""

    square_of_mean: np.ndarray  # <f>²
    mean_of_square: np.ndarray  # <f²>
    compton: np.ndarray  # 0 for neutrons


def fractions(composition: str | Mapping[str, float], function: str) -> dict[str, float]:
    """Return element -> share of the atoms of ``"Mg2SiO4"``, ``"Cd Se"`` or ``{"Cd": 1, "Se": 1}``.

    >>> fractions("SiO2", "pdf.g_of_r")
    {'Si': 0.3333333333333333, 'O': 0.6666666666666666}
    """
    import xraydb

    try:
        parts = xraydb.chemparse(composition.strip()) if isinstance(composition, str) else dict(composition)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{function}: composition {composition!r} is no formula; write it like 'Mg2SiO4'") from error
    for element in parts:
        try:
            xraydb.atomic_number(element)
        except (ValueError, AttributeError, TypeError, KeyError) as error:
            raise ValueError(f"{function}: composition names {element!r}, which is no element") from error
    amounts = np.array(list(parts.values()), dtype=float)
    if not len(amounts) or not np.isfinite(amounts).all() or (amounts <= 0).any():
        raise ValueError(f"{function}: composition must give every element an amount above 0, got {composition!r}")
    return {element: float(share) for element, share in zip(parts, amounts / amounts.sum())}


def scattering_length(element: str) -> float:
    """Return the bound coherent scattering length of the natural element in fm (Neutron News 3, 1992, by gemmi).

    >>> scattering_length("Ni")
    10.3
    """
    import gemmi

    return round(float(gemmi.Element(element).neutron92.calculate_sf(0.0)), 6)


def scattering_power(shares: Mapping[str, float], q: np.ndarray, mode: str, wavelength: float | None = None) -> Power:
    """Return <f>², <f²> and <Compton> of atoms with these `shares`.

    X-ray form factors are Waasmaier and Kirfel's (10.1107/S0108767394013292), with a `wavelength` also f′ and f″ of
    Chantler, all through xraydb.
    """
    choose("mode", mode, MODES)
    share = np.array(list(shares.values()))
    f = scattering_factors(shares, q, mode, wavelength)
    square_of_mean, mean_of_square = np.abs(share @ f) ** 2, share @ np.abs(f) ** 2
    if mode == "neutron":
        return Power(square_of_mean, mean_of_square, np.zeros(len(q)))
    from batlab.pdf.compton import compton

    incoherent = np.array([compton(element, q) for element in shares])
    return Power(square_of_mean, mean_of_square, share @ incoherent)


def scattering_factors(
    elements: Iterable[str], q: np.ndarray, mode: str, wavelength: float | None = None
) -> np.ndarray:
    """Return f of every element (element, q): X-rays in electrons, complex with a `wavelength`; neutrons in fm."""
    if mode == "neutron":
        return np.array([[scattering_length(element)] for element in elements]) * np.ones(len(q))
    if q.max(initial=0) > HIGHEST_Q:
        raise ValueError(f"X-ray form factors end at {HIGHEST_Q:g} 1/angstrom, q reaches {q.max():g}; lower qmax")
    import xraydb

    from batlab.constants import HC

    f = np.array([xraydb.f0(element, q / (4 * np.pi)) for element in elements]).astype(complex)
    if wavelength is None:
        return f.real
    energy = HC / wavelength
    return f + np.array([[xraydb.f1_chantler(e, energy) + 1j * xraydb.f2_chantler(e, energy)] for e in elements])
