"""Physical constants in the units of the data model (CODATA 2022; the first three are exact by definition)."""

PLANCK = 6.62607015e-34  # J s
LIGHT_SPEED = 299792458.0  # m/s
ELEMENTARY_CHARGE = 1.602176634e-19  # C
ELECTRON_MASS = 9.1093837139e-31  # kg, measured

# Photon energy times wavelength, eV angstrom: lambda = HC / E.
HC = PLANCK * LIGHT_SPEED / ELEMENTARY_CHARGE * 1e10

# Photoelectron: E - E0 = KTOE k^2 (3.81 eV angstrom^2); k = sqrt(ETOK (E - E0)), 0.2625 per eV angstrom^2.
KTOE = (PLANCK / 6.283185307179586) ** 2 / (2 * ELECTRON_MASS) / ELEMENTARY_CHARGE * 1e20
ETOK = 1 / KTOE
