"""Physical constants in the units of the data model (CODATA 2022; the three below are exact by definition)."""

PLANCK = 6.62607015e-34  # J s
LIGHT_SPEED = 299792458.0  # m/s
ELEMENTARY_CHARGE = 1.602176634e-19  # C

# Photon energy times wavelength, eV angstrom: lambda = HC / E.
HC = PLANCK * LIGHT_SPEED / ELEMENTARY_CHARGE * 1e10
