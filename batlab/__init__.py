"""batlab: interactive analysis of synchrotron X-ray data on batteries that fail.

>>> import batlab as bl
>>> bl.constants.HC > 12398
True
"""

from importlib import import_module as _import_module
from typing import Any as _Any

_MODULES = frozenset(
    {
        "align", "constants", "curves", "dashboards", "datasets", "decompose", "echem", "errors", "failure", "figures",
        "io", "pdf", "report", "saxs", "scattering", "schema", "simulate", "threads", "xas", "xrd",
    }
)  # fmt: skip
_NAMES = {"follow": "scattering", "open": "io", "save": "io"}

__all__ = sorted(_MODULES | _NAMES.keys() | {"__version__"})  # noqa: PLE0605


def __getattr__(name: str) -> _Any:
    """Load a module or function when it is first asked for, so that ``import batlab`` costs nothing."""
    if name in _NAMES:
        return getattr(_import_module(f"batlab.{_NAMES[name]}"), name)
    if name in _MODULES:
        return _import_module(f"batlab.{name}")
    if name == "__version__":
        return _import_module("batlab.schema").version()
    from batlab.errors import did_you_mean

    raise AttributeError(f"module 'batlab' has no attribute {name!r}{did_you_mean(name, __all__)}")


def __dir__() -> list[str]:
    return list(__all__)
