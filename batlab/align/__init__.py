"""Clocks and exposure windows, lag and drift: everything on one time axis."""

from typing import Any as _Any

from batlab.errors import did_you_mean as _did_you_mean

# Public name -> module that holds it: one line a name; loaded when first asked for.
_HOMES: dict[str, str] = {
    "beam_damage": "damage",
    "correlation": "correlated",
    "Lithium": "lithium",
    "dose": "dose_ledger",
    "estimate_lag": "lag",
    "local_to_utc": "zones",
    "mend_clock": "zones",
    "onto": "_onto",
    "undo": "_onto",
    "Lag": "lag_result",
    "LagUndecidedError": "lag_search",
    "onto_frames": "frames",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> _Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"batlab.align.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'batlab.align' has no attribute {name!r}{_did_you_mean(name, __all__)}")


def __dir__() -> list[str]:
    return list(__all__)
