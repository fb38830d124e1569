"""Crystal structures from CIF, through gemmi: cell, space group in its own setting, sites."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from batlab.errors import ReadError, did_you_mean
from batlab.io._text import peek, read_text
from batlab.schema import quantity

if TYPE_CHECKING:
    import gemmi

NAME = "crystal structures (CIF)"
HINTS = frozenset({"phase", "block", "encoding"})

_CELL = (("a", "length"), ("b", "length"), ("c", "length"), ("alpha", "angle"), ("beta", "angle"), ("gamma", "angle"))
TENSOR = ("11", "22", "33", "12", "13", "23")
_TAGS = re.compile(r"^\s*(?:_cell_|_cell\.|_symmetry_|_space_group_|_atom_site_|_chemical_|loop_)", re.MULTILINE)
_DATA = re.compile(r"^\s*data_", re.MULTILINE | re.IGNORECASE)


def recognise(path: Path, head: bytes) -> bool:
    """Return whether the file is a CIF. Never raises."""
    text = peek(head)
    return bool(_DATA.search(text)) and (bool(_TAGS.search(text)) or path.suffix.lower() == ".cif")


def read(paths: list[Path], **hints: Any) -> xr.Dataset:
    """Return the structure in one CIF over ``site``, the asymmetric unit as the file lists it.

    Parameters
    ----------
    paths
        One file.
    **hints
        ``phase``: a short name (else the file's stem up to the first ``_``); ``block``: which data block, needed
        where several hold a structure; ``encoding``.

    Returns
    -------
    Dataset
        Scalars ``a b c`` [angstrom], ``alpha beta gamma`` [degree], ``volume`` [angstrom^3]; over ``site``: ``label``,
        ``element``, ``fract_x fract_y fract_z``, ``occupancy`` [1], ``u_iso`` [angstrom^2] (NaN where not given), and
        where any site has anisotropic displacements ``u_11`` ... ``u_23`` [angstrom^2] (NaN for other sites).
        Attributes ``space_group`` (Hermann-Mauguin, with ``:1``, ``:2`` or ``:R`` where the usual choice is not
        meant), ``space_group_hall``, ``space_group_number``, ``crystal_system``, ``phase``, ``formula``, ``title``.

    Raises
    ------
    ReadError
        With file and line for a syntax error; for a missing or impossible cell, space group or site; for a space
        group that contradicts the cell or the listed operations.

    Warns
    -----
    UserWarning
        The formula names an element that no site holds.
    """
    if len(paths) > 1:
        raise ReadError(f"{paths[1].name}: a structure is one file; open CIF files one by one")
    path = paths[0]
    block = _block(path, hints)
    cell = _cell(block, path.name)
    try:
        return _dataset(block, cell, _group(block, cell, path.name), path, hints)
    except (RuntimeError, IndexError) as error:
        # gemmi's words for an operation or a number that is none.
        raise ReadError(f"{path.name}: block {block.name!r}: {error}; the file may be truncated") from error


def _block(path: Path, hints: dict[str, Any]) -> gemmi.cif.Block:
    import gemmi

    text = read_text(path, hints.get("encoding"))
    # gemmi refuses bytes beyond ASCII outside of strings and comments, not within; line numbers stay.
    try:
        document = gemmi.cif.read_string(text)
    except (ValueError, RuntimeError) as error:
        raise ReadError(f"{path.name}: {_with_line(str(error))}") from error
    blocks = {block.name: block for block in document if block.find_value("_cell_length_a")}
    if not blocks:
        raise ReadError(f"{path.name}: no data block has a unit cell (_cell_length_a)")
    wanted = hints.get("block")
    if wanted is not None:
        if wanted not in blocks:
            raise ReadError(f"{path.name}: has no block {wanted!r}{did_you_mean(wanted, blocks)}")
        return blocks[wanted]
    if len(blocks) > 1:
        raise ReadError(f"{path.name}: holds {len(blocks)} structures; pass block={' or '.join(map(repr, blocks))}")
    return next(iter(blocks.values()))


def _with_line(message: str) -> str:
    """``string:58:0(1234): expected …`` in the house's words: ``line 58: expected …``."""
    found = re.search(r"(?:^|string):(\d+):\d+(?:\(\d+\))?:?\s*(.*)", message, re.DOTALL)
    return f"line {found[1]}: {found[2].strip()}" if found else message


def _number(text: str | None) -> float:
    """Return a CIF number without its uncertainty (``2.824(1)``); NaN for ``?``, ``.`` and nothing."""
    import gemmi

    return float(gemmi.cif.as_number(text)) if text else float("nan")


def _line(block: gemmi.cif.Block, tag: str) -> str:
    item = block.find_pair_item(tag)
    return f"line {item.line_number}: " if item is not None else ""


def _cell(block: gemmi.cif.Block, name: str) -> gemmi.UnitCell:
    import gemmi

    values = []
    for axis, kind in _CELL:
        tag = f"_cell_{kind}_{axis}"
        text = block.find_value(tag)
        value = _number(text)
        limit = 1000.0 if kind == "length" else 180.0
        if not 0 < value < limit:
            raise ReadError(f"{name}: {_line(block, tag)}{tag} must be above 0 and below {limit:g}, got {text}")
        values.append(value)
    cell = gemmi.UnitCell(*values)
    if not cell.volume > 0:
        raise ReadError(f"{name}: the cell {values} encloses no volume")
    stated = _number(block.find_value("_cell_volume"))
    if np.isfinite(stated) and abs(stated / cell.volume - 1) > 0.01:
        raise ReadError(
            f"{name}: {_line(block, '_cell_volume')}states {stated:g} angstrom^3, the cell's edges give "
            f"{cell.volume:.6g}; one of them is wrong"
        )
    return cell


def _group(block: gemmi.cif.Block, cell: gemmi.UnitCell, name: str) -> gemmi.SpaceGroup:
    import gemmi

    small = gemmi.make_small_structure_from_block(block)
    group, symbol = small.spacegroup, small.spacegroup_hm.strip()
    number = _stated_number(block)
    if group is None:
        told = repr(symbol) if symbol else f"number {number} without a symbol" if number else "none"
        raise ReadError(
            f"{name}: the space group ({told}, {len(small.symops)} operations listed) is not known; give a "
            "Hermann-Mauguin symbol or all operations of one"
        )
    by_symbol = gemmi.find_spacegroup_by_name(symbol, cell.alpha, cell.gamma) if symbol else None
    for what, other in (("number", number), ("symbol", by_symbol.number if by_symbol else None)):
        if other and other != group.number:
            raise ReadError(
                f"{name}: its operations are those of {group.xhm()} ({group.number}), its space group {what} says "
                f"{other}; one of them is wrong"
            )
    if small.symops and _triplets(small.symops) != _triplets(op.triplet() for op in group.operations()):
        raise ReadError(f"{name}: the {len(small.symops)} operations listed are not those of {group.xhm()}")
    if not small.symops and not block.find_value("_symmetry_space_group_name_Hall"):
        _one_setting(symbol, group, name)
    if not cell.is_compatible_with_spacegroup(group, 0.002):
        raise ReadError(f"{name}: the cell {_told(cell)} cannot have the space group {group.xhm()}")
    return group


def _stated_number(block: gemmi.cif.Block) -> int | None:
    import gemmi

    for tag in ("_space_group_IT_number", "_symmetry_Int_Tables_number"):
        value = gemmi.cif.as_string(block.find_value(tag) or "")
        if value.isdecimal():
            return int(value)
    return None


def _triplets(operations: Iterable[str]) -> set[str]:
    import gemmi

    return {gemmi.Op(operation).wrap().triplet() for operation in operations}


def _one_setting(symbol: str, group: gemmi.SpaceGroup, name: str) -> None:
    """Refuse a symbol with two choices of origin where nothing tells which."""
    import gemmi

    choices = [other.xhm() for other in gemmi.spacegroup_table() if other.hm == group.hm and other.ext in ("1", "2")]
    if ":" not in symbol and len(choices) > 1:
        raise ReadError(
            f"{name}: {symbol!r} has two choices of origin ({' and '.join(choices)}) and the file lists no "
            "operations; write the choice behind the symbol"
        )


def _told(cell: gemmi.UnitCell) -> str:
    return ", ".join(f"{value:g}" for value in cell.parameters)


def short_symbol(group: gemmi.SpaceGroup) -> str:
    """Return the symbol without its extension where gemmi takes it for the same setting, else with it.

    >>> import gemmi
    >>> [short_symbol(gemmi.SpaceGroup(s)) for s in ("R -3 m:H", "F d -3 m:1", "F d -3 m:2")]
    ['R -3 m', 'F d -3 m', 'F d -3 m:2']
    """
    import gemmi

    usual = gemmi.find_spacegroup_by_name(group.hm)
    return group.hm if usual is not None and usual.hall == group.hall else group.xhm()


def _dataset(
    block: gemmi.cif.Block, cell: gemmi.UnitCell, group: gemmi.SpaceGroup, path: Path, hints: dict[str, Any]
) -> xr.Dataset:
    import gemmi

    sites = _sites(block, cell, path.name)
    scalars = {
        name: quantity((), np.float64(value), "angstrom" if name in "abc" else "degree", f"cell parameter {name}")
        for name, value in zip(("a", "b", "c", "alpha", "beta", "gamma"), cell.parameters, strict=True)
    }
    scalars["volume"] = quantity((), np.float64(cell.volume), "angstrom^3", "volume of the unit cell")

    def said(*tags: str) -> str:
        found = (gemmi.cif.as_string(block.find_value(tag) or "").strip() for tag in tags)
        return next((" ".join(text.split()) for text in found if text and text not in "?."), "")

    attrs = {
        "space_group": short_symbol(group),
        "space_group_hall": group.hall,
        "space_group_number": group.number,
        "crystal_system": group.crystal_system_str(),
        "phase": str(hints.get("phase") or path.stem.split("_")[0]),
        "formula": said("_chemical_formula_sum", "_chemical_formula_moiety"),
        "title": said(
            "_chemical_name_mineral", "_chemical_name_common", "_chemical_name_systematic", "_amcsd_formula_title"
        ),
    }
    return xr.Dataset(scalars | sites, attrs=attrs)


def _sites(block: gemmi.cif.Block, cell: gemmi.UnitCell, name: str) -> dict[str, xr.Variable]:
    import gemmi

    columns = ["label", "?type_symbol", "fract_x", "fract_y", "fract_z"]
    columns += ["?occupancy", "?U_iso_or_equiv", "?B_iso_or_equiv"]
    table = block.find("_atom_site_", columns)
    if len(table) == 0:
        raise ReadError(f"{name}: lists no atom with fractional coordinates (_atom_site_fract_x)")
    tensors = _tensors(block)
    aniso = {label: float(cell.calculate_u_eq(gemmi.SMat33d(*u))) for label, u in tensors.items()}
    formula = re.findall(r"[A-Z][a-z]?", gemmi.cif.as_string(block.find_value("_chemical_formula_sum") or ""))
    rows: dict[str, list[Any]] = {key: [] for key in ("label", "element", "x", "y", "z", "occupancy", "u_iso")}
    for row in table:
        for key, value in zip(rows, _site(row, formula, aniso, name), strict=True):
            rows[key].append(value)
    missing = sorted(set(formula) - set(rows["element"]))
    if missing:
        warnings.warn(
            f"{name}: the formula names {', '.join(missing)}, no site holds it; the file may be incomplete",
            UserWarning,
            stacklevel=2,
        )
    blank = [float("nan")] * len(TENSOR)
    u = np.array([tensors.get(label, blank) for label in rows["label"]])
    anisotropic = zip(TENSOR, u.T) if tensors else ()
    return {
        "label": quantity("site", np.array(rows["label"]), "", "label of the site"),
        "element": quantity("site", np.array(rows["element"]), "", "chemical element"),
        **{f"fract_{k}": quantity("site", np.array(rows[k]), "1", f"fractional coordinate {k}") for k in "xyz"},
        "occupancy": quantity("site", np.array(rows["occupancy"]), "1", "occupancy of the site"),
        "u_iso": quantity("site", np.array(rows["u_iso"]), "angstrom^2", "isotropic mean-square displacement"),
        **{
            f"u_{ij}": quantity("site", values, "angstrom^2", f"mean-square displacement {ij}")
            for ij, values in anisotropic
        },
    }


def _site(row: gemmi.cif.Table.Row, formula: list[str], aniso: dict[str, float], name: str) -> tuple[Any, ...]:
    """Return label, element, x, y, z, occupancy and U_iso of one atom."""
    label = row.str(0)
    stated = row.str(1) if row.has(1) and row.str(1) not in ("", "?", ".") else ""
    element = _element(stated or label, [] if stated else formula, f"{name}: site {label!r}")
    place = [_number(row[i]) for i in (2, 3, 4)]
    if not np.isfinite(place).all():
        raise ReadError(f"{name}: site {label!r} has no coordinates ({row[2]}, {row[3]}, {row[4]})")
    occupancy = _number(row[5]) if row.has(5) else 1.0
    occupancy = 1.0 if np.isnan(occupancy) else occupancy
    if not 0 <= occupancy <= 1.05:
        raise ReadError(f"{name}: site {label!r} has the occupancy {occupancy:g}; it must be 0 to 1")
    u_iso = _number(row[6]) if row.has(6) else float("nan")
    if np.isnan(u_iso) and row.has(7):
        u_iso = _number(row[7]) / (8 * np.pi**2)
    u_iso = aniso.get(label, float("nan")) if np.isnan(u_iso) else u_iso
    return (label, element, *place, occupancy, u_iso)


def _element(word: str, formula: list[str], where: str) -> str:
    """Return the element that a type symbol (``Fe3+``) or a label (``FeM1``, ``OH1``, ``Wat2``) means.

    A label may mean two elements (``HO1``); the `formula` decides.
    """
    import gemmi

    letters = re.match(r"[A-Za-z]*", word.strip())[0]  # type: ignore[index]
    options = ["O"] if letters.lower().startswith(("wat", "ow")) else [letters[:2].capitalize(), letters[:1].upper()]
    known = [option for option in options if option and gemmi.Element(option).atomic_number > 0]
    known = [option for option in known if not formula or option in formula]
    if not known:
        raise ReadError(f"{where}: {word!r} tells no element" + (f" of {' '.join(formula)}" if formula else ""))
    return known[0]


def _tensors(block: gemmi.cif.Block) -> dict[str, list[float]]:
    """Return U_11, U_22, U_33, U_12, U_13, U_23 of each site with anisotropic displacements."""
    result = {}
    for kind, factor in (("U", 1.0), ("B", 1 / (8 * np.pi**2))):
        for row in block.find("_atom_site_aniso_", ["label", *(f"{kind}_{ij}" for ij in TENSOR)]):
            result[row.str(0)] = [_number(text) * factor for text in list(row)[1:]]
    return result
