"""Small angles: sizes, surfaces, volumes and order of a series, each with its uncertainty."""

from batlab.lazy import names as _names

# Public name -> module that holds it: one line a name.
_HOMES: dict[str, str] = {
    "subtract": "reduction",
    "absolute": "reduction",
    "merge": "merging",
    "guinier": "radius",
    "porod": "tails",
    "invariant": "tails",
    "kratky": "radius",
    "peak": "pores",
    "volume_change": "pores",
    "sphere": "forms",
    "core_shell": "forms",
    "cylinder": "forms",
    "size_distribution": "sizes",
    "smear": "slit",
    "pair_distance": "transform",
    "unified": "levels",
    "fit": "models",
    "form": "models",
    "desmear": "slit",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605
__getattr__, __dir__ = _names(__name__, _HOMES)
