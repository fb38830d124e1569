"""From measured data to evidence in one call: the techniques one after the other, then `find`."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import refuse_unknown
from batlab.failure._deposit import deposits
from batlab.failure._find import find
from batlab.failure._knowledge import Knowledge
from batlab.failure._looks import DISCHARGED, state_of_charge
from batlab.failure._shares import shares
from batlab.failure.evidence import Evidence

FUNCTION = "failure.examine"
TECHNIQUES = ("xrd", "xas", "echem")
ELECTRODES = ("positive", "negative")
SLOW = 1 / 15  # 1/h: check-ups up to this rate count as slow enough for equilibrium


def examine(
    tree: xr.DataTree,
    *,
    structures: Mapping[str, Any] | None = None,
    standard: str | None = None,
    potentials: Mapping[str, Any] | None = None,
    false_alarm: float = 0.05,
    table: Knowledge | str | os.PathLike | None = None,
    tell: Callable[[str], None] | None = None,
) -> list[Evidence]:
    """Run the techniques on measured data and return the evidence in it; see `find` for how it is judged.

    ``/xrd`` (patterns): lines of the structures in discharged frames (`curves.fit_peaks`), the cell of the first
    structure (`xrd.refine_cell`), shares of light. ``/xas`` (spectra): energies by the reference's spectrum where there
    is one, `xas.normalize`, edge energies at half the step, and with ``mu_negative`` (μ of the negative electrode, by
    fluorescence) the metal on that. ``/echem`` (record): `echem.cycles`,
    `resistance`, `plating_signs`, and with `potentials` the losses of each electrode from slow check-ups. Frames that
    do not say their cycle get it from the record's clock.

    Parameters
    ----------
    tree
        With any of ``/xrd``, ``/xas``, ``/echem``. Others are not read.
    structures
        Name -> CIF file or structure of everything in the beam, the positive electrode first. Without them no lines
        are fitted.
    standard
        Name of the structure that does not change (``"Al"``): its lines correct the others.
    potentials
        ``{"positive": …, "negative": …}``, each what `echem.half_cell` takes.
    false_alarm, table
        See `find`.
    tell
        Is called with the name of each step before it begins: for a bar of progress.

    Returns
    -------
    list of Evidence
        As `find`.

    Raises
    ------
    TypeError, ValueError
        No tree, none of the three techniques in it, a standard without a structure, unknown words.

    Warns
    -----
    UserWarning
        Steps that the data do not allow, with the reason: what they would have shown was then not looked for. Whatever
        the techniques say.

    Examples
    --------
    >>> from batlab.simulate import virtual_cell
    >>> healthy = virtual_cell({}, n_cycles=24, techniques=["echem"])
    >>> any(item.is_seen for item in examine(healthy))
    False
    """
    if not isinstance(tree, xr.DataTree):
        raise TypeError(f"{FUNCTION} needs a DataTree, got {type(tree).__name__}; xr.DataTree.from_dict makes one")
    given = {name: tree[name].to_dataset() for name in TECHNIQUES if name in tree.children}
    if not given:
        raise ValueError(f"{FUNCTION} needs one of {', '.join(TECHNIQUES)} in the tree, got {sorted(tree.children)}")
    if standard is not None and standard not in (structures or {}):
        raise ValueError(f"standard {standard!r} must be one of the structures, got {sorted(structures or {})}")
    if potentials is not None:
        refuse_unknown(f"{FUNCTION}, potentials", potentials, ELECTRODES)
    results: list[xr.Dataset] = []
    attempt = partial(_try, tell or (lambda _name: None))
    for name in ("xrd", "xas"):
        if name in given:
            placed = _placed(attempt, given[name], given.get("echem"), name)
            results += (
                _diffraction(attempt, placed, structures, standard) if name == "xrd" else _absorption(attempt, placed)
            )
    if "echem" in given:
        results += _cycling(attempt, given["echem"], potentials)
    return find(*results, false_alarm=false_alarm, table=table)


Attempt = Callable[..., Any]


def _try(
    tell: Callable[[str], None], results: list[xr.Dataset], name: str, step: Callable[..., xr.Dataset], *args: Any,
    **words: Any,
) -> Any:  # fmt: skip
    """Append what `step` finds and return it; say why where the data do not allow it, and return None."""
    tell(name)
    try:
        found = step(*args, **words)
    except ValueError as error:
        warnings.warn(f"{FUNCTION}: {name} was left out: {error}", UserWarning, stacklevel=4)
        return None
    results.append(found)
    return found


def _placed(attempt: Attempt, series: xr.Dataset, cell: xr.Dataset | None, name: str) -> xr.Dataset:
    """Return the series with its cycle, from the cell's record where it does not say it."""
    from batlab.align import onto_frames

    if "cycle" in series.variables or cell is None or "time" not in series.coords or "time" not in cell.coords:
        return series
    placed: list[xr.Dataset] = []
    attempt(placed, f"align.onto_frames of {name}", onto_frames, series, cell)
    return placed[0] if placed else series


def _diffraction(
    attempt: Attempt, patterns: xr.Dataset, structures: Mapping[str, Any] | None, standard: str | None
) -> list[xr.Dataset]:
    from batlab.curves import fit_peaks
    from batlab.xrd import phase_changes, refine_cell

    results: list[xr.Dataset] = []
    if "q" in patterns.dims:
        results.append(shares(patterns))
    if not structures:
        return results
    state = state_of_charge(patterns)
    chosen = patterns if state is None else patterns.isel(frame=np.flatnonzero(state <= DISCHARGED[1]))
    peaks = attempt(results, "curves.fit_peaks", fit_peaks, chosen, near=dict(structures))
    if peaks is None:
        return results
    first = next(iter(structures))
    held = structures[standard] if standard else None
    cells = attempt(results, "xrd.refine_cell", refine_cell, peaks, structures[first], phase=first, standard=held)
    if state is None and cells is not None:
        attempt(results, "xrd.phase_changes", phase_changes, cells)
    return results


def _absorption(attempt: Attempt, spectra: xr.Dataset) -> list[xr.Dataset]:
    from batlab.xas import align_energy, edge_energy, mu, normalize

    results: list[xr.Dataset] = []
    if "mu" not in spectra:
        made: list[xr.Dataset] = []
        if attempt(made, "xas.mu", mu, spectra) is None:
            return results
        spectra = made[0]
    if "mu_reference" in spectra and "energy_alignment" not in spectra.attrs:
        aligned: list[xr.Dataset] = []
        attempt(aligned, "xas.align_energy", align_energy, spectra)
        spectra = aligned[0] if aligned else spectra
    if not spectra.attrs.get("is_normalized"):
        normal = attempt(results, "xas.normalize", normalize, spectra)
        if normal is None:
            return results
        spectra = normal
    edges = attempt(results, "xas.edge_energy", edge_energy, spectra, method="half_step")
    if edges is not None and "mu_negative" in spectra and np.isfinite(edges["e0"]).any():
        attempt(results, "xas of the negative electrode", deposits, spectra, float(np.nanmedian(edges["e0"])))
    return results


def _cycling(attempt: Attempt, cell: xr.Dataset, potentials: Mapping[str, Any] | None) -> list[xr.Dataset]:
    from batlab.echem import cycles, degradation_modes, plating_signs, resistance

    results: list[xr.Dataset] = []
    table = attempt(results, "echem.cycles", cycles, cell)
    attempt(results, "echem.resistance", resistance, cell)
    attempt(results, "echem.plating_signs", plating_signs, cell)
    if table is not None and potentials is not None:
        is_slow = (table["kind"].values.astype(str) == "check_up") & (table["c_rate_charge"].values <= SLOW)
        slow = [float(label) for label in table["cycle"].values[is_slow]]
        if len(slow) > 1:
            attempt(results, "echem.degradation_modes", degradation_modes, cell, cycle=slow, **potentials)
    return results
