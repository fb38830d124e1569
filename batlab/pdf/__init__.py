"""Total scattering: S(Q), F(Q) and G(r) of whole series, and the structures behind them."""

from batlab.lazy import names as _names

# Public name -> module that holds it: one line a name.
_HOMES: dict[str, str] = {
    "BONDS": "bond_lengths",
    "bonds": "bond_lengths",
    "calculate": "calculation",
    "cluster": "clusters",
    "covariance": "covariances",
    "debye": "clusters",
    "correct": "explicit",
    "difference": "comparison",
    "fit": "fitting",
    "g_of_r": "reduction",
    "pairs": "pair_list",
    "termination_window": "operator",
    "similarity": "comparison",
    "scattering_power": "composition",
    "Tuner": "tuning",
    "tune": "tuning",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605
__getattr__, __dir__ = _names(__name__, _HOMES)
