"""The cell's life from its cycler: cycles, voltage curves, fade, loss of inventory and of active material."""

from typing import Any as _Any

from batlab.errors import did_you_mean as _did_you_mean

# Public name -> module that holds it: one line a name; loaded when first asked for.
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


def __getattr__(name: str) -> _Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"batlab.echem.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'batlab.echem' has no attribute {name!r}{_did_you_mean(name, __all__)}")


def __dir__() -> list[str]:
    return list(__all__)
