"""The cell's life from its cycler: cycles, voltage curves, fade, loss of inventory and of active material."""

from batlab.lazy import names as _names

# Public name -> module that holds it: one line a name.
_HOMES: dict[str, str] = {
    "cycles": "cycling",
    "early_features": "life_features",
    "early_warning": "foretelling",
    "life": "end_of_life",
    "life_model": "foretelling",
    "LifeModel": "foretelling",
    "plating_signs": "plating",
    "voltage_decay": "voltage_fade",
    "fade": "fading",
    "relaxation": "rests",
    "resistance": "pulses",
    "degradation_modes": "degradation",
    "dqdv": "derivatives",
    "dvdq": "derivatives",
    "half_cell": "half_cells",
    "HalfCell": "half_cells",
    "peaks": "curve_peaks",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605
__getattr__, __dir__ = _names(__name__, _HOMES)
