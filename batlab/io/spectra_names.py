"""What the columns of an absorption scan are called, and which of them is what.

Only names decide, never numbers. A name that could be two things stays what the file calls it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from batlab.errors import ReadError, did_you_mean
from batlab.schema import UNITS

# Variable -> what it is; XDI's names first. These are also the keys that `columns=` takes, beside the axes.
LONG_NAMES = {
    "i0": "incident intensity",
    "itrans": "transmitted intensity",
    "ifluor": "fluorescence intensity",
    "irefer": "intensity behind the reference",
    "mu": "absorption",
    "mutrans": "absorption, from transmission",
    "mufluor": "absorption, from fluorescence",
    "murefer": "absorption of the reference",
    "mu_reference": "absorption of the reference",
    "deadtime_factor": "factor that corrects the counts for dead time",
    "icr": "incoming count rate",
    "ocr": "outgoing count rate",
    "chi": "EXAFS χ(k)",
}
AXES = ("energy", "angle", "k")

# Best first: a plain name before what was reached, before what was read back, before what was asked for.
_ENERGY = (
    re.compile(r"(?:energy|e|energy_ev|e_ev|ebraggenergy|mono_energy(?:_alt)?|shifted_energy)$"),
    re.compile(r".*(?:achieved.*energy|energy.*achieved)"),
    re.compile(r".*(?:energy.*(?:readback|feedback|rbv|fbk)|(?:measured|actual).*energy)"),
    re.compile(r".*(?:requested|setpoint|set|nominal).*energy|.*energy.*(?:request|set)"),
)
_ANGLE = (
    re.compile(r"angle_o$"),
    re.compile(r"(?:angle|bragg|theta|mono_angle|bragg_angle)$"),
    re.compile(r"angle_c$"),
)
# Variable -> whole names, and words of a name that say the same.
_COUNTERS: dict[str, tuple[set[str], set[str]]] = {
    "i0": ({"i0", "io", "izero"}, {"i0", "io", "izero"}),
    "itrans": ({"itrans", "it", "i1", "transmission"}, {"itrans", "it", "i1"}),
    "ifluor": ({"ifluor", "if", "ifl", "fluorescence"}, {"ifluor", "if"}),
    "irefer": ({"irefer", "iref", "ir"}, {"irefer", "iref", "ir"}),
    "mutrans": ({"mutrans", "mu_trans", "xmu_trans"}, set()),
    "mufluor": ({"mufluor", "mu_fluor", "xmu_fluor"}, set()),
    "murefer": ({"murefer", "mu_ref", "mu_refer"}, set()),
    "mu": ({"mu", "xmu"}, {"mt"}),
    "mu_reference": ({"mu_reference"}, set()),
    "chi": ({"chi", "chi_k"}, set()),
    "icr": ({"icr"}, set()),
    "ocr": ({"ocr"}, set()),
    "deadtime_factor": ({"deadtime_factor"}, set()),
}
_NOT_SIGNALS = {"icr", "ocr", "deadtime_factor"}
_NOT_RAW = {"corr", "corrected", "dark", "dt", "offset", "sigma"}
_CHANNEL = re.compile(r"(.+)_mca(\d+)$|(dtc|roi|icr|ocr|ifch|ifslow|iffast|it|ifluor|mufluor)(\d+)$")
_GROUPS = {
    "dtc": "ifluor", "ifch": "ifluor", "it": "itrans", "ifslow": "ocr", "iffast": "icr", "dtfactor": "deadtime_factor",
}  # fmt: skip
_LINE = re.compile(r"([a-z]{1,2})_[klm][abg]\d?$")
_UNITS = {
    "counts": "count", "count": "count", "cts": "count", "seconds": "s", "second": "s", "sec": "s", "s": "s",
    "ms": "ms",
    "ev": "eV", "kev": "keV", "degrees": "degree", "degree": "degree", "deg": "degree", "radians": "radian",
    "radian": "radian", "rad": "radian", "steps": "steps", "a": "A", "ma": "mA", "ua": "uA", "na": "nA", "pa": "pA",
    "v": "V", "mv": "mV", "hz": "Hz", "cps": "Hz", "k": "K",
}  # fmt: skip


@dataclass(frozen=True)
class Label:
    """A column's name and unit as the file writes them; `means` where the format itself says which it is."""

    name: str
    unit: str = ""
    means: str = ""


@dataclass
class Roles:
    """Which column is the axis, and variable -> columns (more than one: its channels)."""

    axis: str
    index: int
    columns: dict[str, list[int]] = field(default_factory=dict)


def clean(name: str) -> str:
    """Return a column's name as one word in lower case.

    >>> clean("$(EnergyFeedback)"), clean("PreKB-I0"), clean("chi(k)")
    ('energyfeedback', 'prekb_i0', 'chi_k')
    """
    return re.sub(r"[^0-9a-z]+", "_", name.lower()[:80]).strip("_")


def clean_unit(text: str) -> str:
    """Return a unit that is known, else "1".

    >>> clean_unit("counts"), clean_unit("nA"), clean_unit("dead-time corrected count rate")
    ('count', 'nA', '1')
    """
    return _UNITS.get(text.strip().lower(), "1")


def listing(labels: list[Label]) -> str:
    """Return the columns for a message, numbered as `columns=` counts them."""
    shown = [f"{i} {label.name[:40]!r}" for i, label in enumerate(labels[:40], 1)]
    return "; columns found: " + ", ".join([*shown, "…"] if len(labels) > 40 else shown)


def assign(labels: list[Label], values: np.ndarray, hints: dict[str, Any], element: str, name: str) -> Roles:
    """Return which column is what: first as the user says, then as the format says, then by name.

    Raises
    ------
    ReadError
        No energy, two that could be it, or no counter and nothing said of them; the columns are listed.
    TypeError, ValueError
        ``columns=`` is no dict, or names something that is not there.
    """
    given = _given(labels, hints.get("columns"), name)
    names = [clean(label.name) for label in labels]
    axis, index = _axis(labels, names, given, name)
    taken = {index, *(i for columns in given.values() for i in columns)}
    found = {role: columns for role, columns in given.items() if role not in AXES}
    for i, label in enumerate(labels):
        if label.means and label.means not in AXES and label.means not in found and i not in taken:
            found[label.means] = [i]
            taken.add(i)
    _channels(names, found, taken, element)
    for role, (whole, words) in _COUNTERS.items():
        if role not in found:
            match = _one(names, values, taken, whole, words)
            if match is not None:
                found[role] = [match]
                taken.add(match)
    told = (LONG_NAMES.keys() & found.keys()) - _NOT_SIGNALS
    if "columns" not in hints and not told and not any(own.startswith("mu_") for own in names):
        raise ReadError(
            f"{name}: no column's name says which is i0, itrans, ifluor or mu; pass columns={{'energy': {index + 1}, "
            f"'i0': ..., 'itrans': ...}} with their numbers (from 1) or names{listing(labels)}"
        )
    for i, own in enumerate(names):
        if i not in taken:
            is_sigma = own.endswith("_sigma") and own.removesuffix("_sigma") in names and own not in found
            found[own if is_sigma else _free(own or f"column_{i + 1}", found)] = [i]
    return Roles(axis, index, found)


def _given(labels: list[Label], columns: Any, name: str) -> dict[str, list[int]]:
    if columns is None:
        return {}
    if not isinstance(columns, dict):
        raise TypeError(f"columns must be a dict such as {{'energy': 1, 'i0': 3}}, got {type(columns).__name__}")
    result = {}
    for role, wanted in columns.items():
        known = (*AXES[:2], *LONG_NAMES)
        if role not in known:
            raise ValueError(f"columns= knows {', '.join(known)}, got {role!r}{did_you_mean(role, known)}")
        several = wanted if isinstance(wanted, (list, tuple)) else [wanted]
        result[role] = [i for item in several for i in _find(labels, item, role, name)]
        if role in AXES and len(result[role]) != 1:
            raise ValueError(f"columns={{{role!r}: …}} takes one column, got {wanted!r}")
    both = [i for columns in result.values() for i in columns]
    if len(set(both)) < len(both):
        raise ValueError(f"{name}: columns= names a column twice, got {columns!r}")
    return result


def _find(labels: list[Label], item: Any, role: str, name: str) -> list[int]:
    if isinstance(item, (int, np.integer)) and not isinstance(item, bool) and 1 <= item <= len(labels):
        return [int(item) - 1]
    if isinstance(item, str):
        names = [clean(label.name) for label in labels]
        exact = [i for i, label in enumerate(labels) if label.name == item] or [
            i for i, own in enumerate(names) if own == clean(item)
        ]
        if len(exact) == 1:
            return exact
        channels = _grouped(names, set()).get(clean(item))
        if channels:
            return channels
    raise ReadError(f"{name}: columns= says {role!r} is {item!r}, which is not one of its columns{listing(labels)}")


def _axis(labels: list[Label], names: list[str], given: dict[str, list[int]], name: str) -> tuple[str, int]:
    for axis in ("energy", "angle"):
        if axis in given:
            return axis, given[axis][0]
        for i, label in enumerate(labels):
            if label.means == axis and not given.keys() & set(AXES):
                return axis, i
    taken = {i for columns in given.values() for i in columns}
    if names[:1] == ["k"] and "chi" in (names[1:2] or [""])[0]:
        return "k", 0
    for axis, ranks in (("energy", _ENERGY), ("angle", _ANGLE)):
        for rank in ranks:
            matches = [i for i, own in enumerate(names) if rank.match(own) and i not in taken]
            if len(matches) == 1:
                return axis, matches[0]
            if matches:
                raise ReadError(
                    f"{name}: {len(matches)} columns could be the {axis}; pass columns={{{axis!r}: …}}{listing(labels)}"
                )
    raise ReadError(
        f"{name}: no column's name says which is the energy; pass e.g. columns={{'energy': 1, 'i0': 2, 'itrans': 3}} "
        f"with the columns' numbers (from 1) or names{listing(labels)}"
    )


def _grouped(names: list[str], taken: set[int]) -> dict[str, list[int]]:
    """Return base name -> its columns for those that are numbered 1 to n, n at least 2."""
    numbered: dict[str, dict[int, int]] = {}
    for i, own in enumerate(names):
        match = _CHANNEL.match(own)
        if match and i not in taken:
            base, number = (match[1], match[2]) if match[1] else (match[3], match[4])
            numbered.setdefault(base, {})[int(number[:6])] = i
    groups = {}
    for base, channels in numbered.items():
        if len(channels) > 1 and sorted(channels) == list(range(1, len(channels) + 1)):
            groups[base] = [channels[number] for number in sorted(channels)]
    return groups


def _channels(names: list[str], found: dict[str, list[int]], taken: set[int], element: str) -> None:
    """Enter the columns that are channels of one detector; the element's own line is the fluorescence."""
    groups = _grouped(names, taken)
    lines = [base for base in groups if _LINE.match(base)]
    own = [base for base in lines if base.split("_")[0] == element.lower()]
    line = own[0] if len(own) == 1 else lines[0] if len(lines) == 1 else ""
    for base, columns in groups.items():
        role = "ifluor" if base == line else _GROUPS.get(base, base)
        if role in found or (role == "ifluor" and "ifluor" in names):
            role = _free(base, found)
        found[role] = columns
        taken.update(columns)
    # Ion chambers side by side: I0, I02, I03 … stand before It1, It2, It3 …
    several = [names.index(word) for word in ("i0", *(f"i0{n}" for n in range(2, 100))) if word in names]
    if "it" in groups and "i0" not in found and len(several) == len(groups["it"]) and not taken & set(several):
        found["i0"] = several
        taken.update(several)


def _one(names: list[str], values: np.ndarray, taken: set[int], whole: set[str], words: set[str]) -> int | None:
    """Return the one column so named; copies of the same numbers count as one."""
    free = [(i, own) for i, own in enumerate(names) if i not in taken]
    matches = [i for i, own in free if own in whole]
    if not matches:
        matches = [i for i, own in free if set(own.split("_")) & words and not set(own.split("_")) & _NOT_RAW]
    if matches and all(np.array_equal(values[:, matches[0]], values[:, i], equal_nan=True) for i in matches[1:]):
        return matches[0]
    return None


def _free(own: str, found: dict[str, list[int]]) -> str:
    """Return `own`, or a name like it that is neither taken nor one that the data model gives a unit."""
    if own in UNITS or own in LONG_NAMES or own in ("time", "file") or own.endswith("_sigma") or own[0].isdigit():
        own = f"column_{own}"
    free, n = own, 1
    while free in found:
        n += 1
        free = f"{own}_{n}"
    return free
