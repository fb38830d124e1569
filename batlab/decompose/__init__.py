"""A series (frame, axis) as few components: how many, which, and how well the data decide."""

from batlab.lazy import names as _names

# Public name -> module that holds it: one line a name.
_HOMES: dict[str, str] = {
    "bands": "_bands",
    "Constraints": "constraints",
    "mcr_als": "_mcr_als",
    "MCRResult": "mcr_result",
    "pca": "_pca",
    "Rank": "_rank",
    "lcf": "_lcf",
    "rank": "_rank",
    "efa": "_efa",
    "simplisma": "_simplisma",
    "nmf": "_nmf",
    "target_transform": "target",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605
__getattr__, __dir__ = _names(__name__, _HOMES)
