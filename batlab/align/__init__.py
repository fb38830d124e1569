"""Clocks and exposure windows, lag and drift: everything on one time axis."""

from batlab.lazy import names as _names

# Public name -> module that holds it: one line a name.
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
__getattr__, __dir__ = _names(__name__, _HOMES)
