"""The corrections of I(Q) one by one, as the alternative to a polynomial."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from batlab.constants import HC
from batlab.errors import choose
from batlab.pdf.composition import fractions, scattering_power
from batlab.pdf.curves_in import background_of, curves_of, warn_negative
from batlab.schema import record

SHAPES = (None, "plate", "capillary")
REST = 510998.95069  # eV, of an electron


def correct(
    patterns: xr.Dataset,
    composition: str | Mapping[str, float],
    *,
    wavelength: float,
    background: xr.Dataset | None = None,
    bgscale: float = 1.0,
    shape: str | None = None,
    thickness: float | None = None,
    mass_density: float | None = None,
    is_polarized: bool = False,
    damping: float = 0.0,
    qmax: float | None = None,
) -> xr.Dataset:
    """Correct X-ray intensities step by step, bring them into electron units, and take Compton scattering out.

    In this order: what stands behind and before the sample (`background`, weakened by it); the sample's own
    absorption; polarization; the scale from ∫Q²I/<f>² dQ = ∫Q²(<f²> + C)/<f>² dQ - 2π²ρ, each integrand times
    exp(-damping Q²) (Krogh-Moe [1]_, Norman [2]_); Compton scattering C with the recoil's (E'/E)². Multiple scattering
    is not corrected: it matters for samples that scatter more than a few per cent of the beam. Go on with
    ``pdf.g_of_r(…, rpoly=None, normalization=None)``, or with an `rpoly` for what these corrections leave.

    Parameters
    ----------
    patterns
        ``intensity`` (frame, q) or (q), with its σ if known; solid angle and flat field corrected.
    composition
        ``"Mg2SiO4"`` or a mapping.
    wavelength
        [angstrom]
    background
        Air and empty container, on exactly the same grid.
    bgscale
        Its factor, for monitor counts, before absorption.
    shape, thickness, mass_density
        None: no absorption. ``"plate"``: normal to the beam, in transmission; ``"capillary"``: a cylinder bathed in the
        beam, whose axis is normal to the plane of scattering. Thickness or diameter in mm, density in g/cm³.
    is_polarized
        Whether the polarization is still in the data: azimuthal means are divided by (1 + cos² 2θ)/2, which holds
        for whole rings whatever the beam's polarization.
    damping
        [angstrom²]; 0.01 quiets a noisy end.
    qmax
        End of the integrals for the scale [1/angstrom].

    Returns
    -------
    xarray.Dataset
        `patterns` with ``intensity`` [1: electron units, coherent], its σ, and ``scale`` (frame).

    Raises
    ------
    ValueError
        Q that the wavelength cannot reach, a shape without its size, a composition that is none.
    SchemaError, UnitError, DimensionError
        As `pdf.g_of_r`.

    References
    ----------
    .. [1] J. Krogh-Moe, Acta Cryst. 9, 951 (1956), doi:10.1107/S0365110X56002655.
    .. [2] N. Norman, Acta Cryst. 10, 370 (1957), doi:10.1107/S0365110X57001085.

    Examples
    --------
    >>> from batlab.schema import quantity
    >>> q = np.linspace(0.5, 20, 500)
    >>> power = scattering_power({"Si": 1.0}, q, "xray")
    >>> seen = 7 * (power.mean_of_square + power.compton)
    >>> pattern = xr.Dataset({"intensity": quantity("q", seen, "1", "I")}, {"q": quantity("q", q, "1/angstrom", "q")})
    >>> bool(abs(7 * correct(pattern, "Si", wavelength=0.2).scale - 1) < 0.05)
    True
    """
    arguments = {key: value for key, value in locals().items() if key != "patterns"}
    name = "pdf.correct"
    choose("shape", shape, SHAPES)
    shares = fractions(composition, name)
    curves = curves_of(patterns, "intensity", "q", name, units="1/angstrom")
    under = background_of(patterns, background, bgscale, name)
    two_theta = scattering_angle(curves.x, wavelength, name)
    own, behind = _absorption(shape, thickness, mass_density, composition, wavelength, two_theta, name)
    own = own * ((1 + np.cos(two_theta) ** 2) / 2 if is_polarized else 1.0)
    net = np.array(curves.values, dtype=float)
    variance = None if curves.sigma is None else np.asarray(curves.sigma, dtype=float) ** 2
    if under is not None:
        net = net - bgscale * behind * under.values
        if variance is not None and under.sigma is not None:
            variance = variance + (bgscale * behind * under.sigma) ** 2
    warn_negative(net, curves.x, name)
    power = scattering_power(shares, curves.x, "xray", wavelength)
    recoil = 1 / (1 + HC / wavelength / REST * (1 - np.cos(two_theta)))
    inelastic = power.compton * recoil**2
    weight = curves.x**2 / power.square_of_mean * np.exp(-damping * curves.x**2)
    weight = np.where(curves.x <= (np.inf if qmax is None else qmax), weight, 0.0)
    good = np.isfinite(net)
    aim = np.trapezoid(weight * (power.mean_of_square + inelastic) * good, curves.x)
    scale = (aim / np.trapezoid(weight * np.where(good, net / own, 0.0), curves.x))[:, None]
    kept = patterns.drop_vars(["intensity", "intensity_sigma"], errors="ignore")
    made = {"intensity": curves.variable("q", scale * net / own - inelastic, "1", "coherent intensity, electron units")}
    if variance is not None:
        made["intensity_sigma"] = curves.variable(
            "q", np.abs(scale / own) * np.sqrt(variance), "1", "1 sigma of the coherent intensity"
        )
    made["scale"] = curves.number(scale[:, 0], "1", "factor from intensity to electron units")
    return record(kept.assign(made), name, **arguments)


def scattering_angle(q: np.ndarray, wavelength: float, name: str) -> np.ndarray:
    """Return 2θ in radian.

    >>> scattering_angle(np.array([6.0]), 1.0, "pdf.correct").round(3).tolist()
    [0.996]
    """
    if not 0 < wavelength * q[-1] < 4 * np.pi:
        raise ValueError(
            f"{name}: q reaches {q[-1]:g} 1/angstrom, a wavelength of {wavelength!r} angstrom only "
            f"{4 * np.pi / wavelength if wavelength > 0 else float('nan'):g}; is the unit right?"
        )
    return 2 * np.arcsin(wavelength * q / (4 * np.pi))


def _absorption(
    shape: str | None,
    thickness: float | None,
    mass_density: float | None,
    composition: str | Mapping[str, float],
    wavelength: float,
    two_theta: np.ndarray,
    name: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Return how much of the sample's scattering, and of that around it, comes out."""
    if shape is None:
        return np.ones(len(two_theta)), np.ones(len(two_theta))
    if thickness is None or mass_density is None or not (thickness > 0 and mass_density > 0):
        raise ValueError(
            f"{name}: shape {shape!r} needs thickness (mm) and mass_density (g/cm^3) above 0, got {thickness!r}, "
            f"{mass_density!r}"
        )
    if two_theta[-1] >= np.pi / 2:
        raise ValueError(f"{name}: absorption in transmission ends at 2θ = 90 degrees, q reaches beyond")
    depth = attenuation(composition, wavelength, mass_density) * thickness / 10
    if shape == "plate":
        longer = depth * (1 / np.cos(two_theta) - 1)
        own = np.exp(-depth) * -np.expm1(-longer) / np.maximum(longer, 1e-12)
        own = np.where(longer < 1e-9, np.exp(-depth), own)
        return own, (np.exp(-depth) + np.exp(-depth / np.cos(two_theta))) / 2
    own = capillary(depth, two_theta)
    return own, own


def attenuation(composition: str | Mapping[str, float], wavelength: float, mass_density: float) -> float:
    """Return µ in 1/cm, after Elam (xraydb).

    >>> bool(1 < attenuation("SiO2", 0.5, 2.2) < 5)
    True
    """
    import xraydb

    shares = fractions(composition, "pdf.correct")
    masses = {element: share * xraydb.atomic_mass(element) for element, share in shares.items()}
    energy = HC / wavelength
    per_gram = sum(mass * float(xraydb.mu_elam(element, energy)) for element, mass in masses.items())
    return float(mass_density * per_gram / sum(masses.values()))


def capillary(depth: float, two_theta: np.ndarray, n: int = 48) -> np.ndarray:
    """Return the mean transmission of a cylinder of `depth` = µ diameter, by quadrature over its section.

    >>> capillary(0.0, np.array([0.0, 1.0])).tolist()
    [1.0, 1.0]
    """
    nodes, weights = np.polynomial.legendre.leggauss(n)
    radius, angle = np.sqrt((nodes + 1) / 2), np.pi * (np.arange(2 * n) + 0.5) / n
    x, y = radius[:, None] * np.cos(angle), radius[:, None] * np.sin(angle)
    into = x + np.sqrt(1 - y**2)
    # Along the direction (cos 2θ, sin 2θ) to the rim of the unit circle.
    along = x[..., None] * np.cos(two_theta) + y[..., None] * np.sin(two_theta)
    out = -along + np.sqrt(np.maximum(along**2 + 1 - (x**2 + y**2)[..., None], 0))
    passed = np.exp(-depth / 2 * (into[..., None] + out))
    return (weights[:, None] / 2 * passed.mean(axis=1)).sum(axis=0)
