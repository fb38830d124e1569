"""A series (frame, axis) as few components: how many, which, and how well the data decide."""

from typing import Any as _Any

from batlab.errors import did_you_mean as _did_you_mean

# Public name -> module that holds it: one line a name; loaded when first asked for.
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


def __getattr__(name: str) -> _Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"batlab.decompose.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'batlab.decompose' has no attribute {name!r}{_did_you_mean(name, __all__)}")


def __dir__() -> list[str]:
    return list(__all__)
