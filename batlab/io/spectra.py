"""Absorption scans as columns of numbers, in the dialects of the beamlines, plain or gzip; one file or a series.

The columns are found by their names, or given by the user; nothing is told from the numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import xarray as xr

from batlab.errors import ReadError
from batlab.io._text import peek
from batlab.io.spectra_labels import Facts, dialect_of
from batlab.io.spectra_names import Label, listing
from batlab.io.spectra_scan import HINTS, Scan, Table, check_hints, head_text, read_block, scan_of
from batlab.io.spectra_series import dataset

__all__ = ["HINTS", "NAME", "read", "recognise"]

NAME = "absorption spectra in columns"


def recognise(path: Path, head: bytes) -> bool:
    """Return whether the file is a scan in a known dialect, or names energy and a counter. Never raises."""
    return dialect_of(peek(head_text(head))) is not None


def read(paths: list[Path], **hints: Any) -> xr.Dataset:
    """Return one scan over ``energy``, or several as a series over (frame, energy).

    Parameters
    ----------
    paths
        Text files, plain or gzip, with the same columns.
    **hints
        ``columns``: which column is what, by number from 1 or by name, ``{"energy": 1, "i0": 3, "ifluor": [8, 9]}``
        (several: channels); keys are energy or angle, i0, itrans, ifluor, irefer, mu, mutrans, mufluor, murefer,
        mu_reference, deadtime_factor, icr, ocr. ``energy_unit`` "eV" or "keV" where the file does not say;
        ``mono_d_spacing`` [angstrom] for angles; ``timezone`` of a clock that states none, "Europe/Paris";
        ``grid="first"`` interpolates a series of unequal points linearly onto those of the first scan, ``grid="own"``
        keeps each scan's (``energy_measured`` over (frame, energy), NaN behind the last); ``sort=True``
        sorts a scan that goes back; ``encoding``; ``decimal`` "," or ".".

    Returns
    -------
    Dataset
        Counters over (frame,) (channel,) energy, named ``i0 itrans ifluor irefer mu …`` where the file's names say so,
        other columns by their own names in lower case; ``chi`` over ``k``. Coordinates ``time`` (start of the scan,
        UTC), ``exposure`` [s], ``file``. Attributes as far as stated: ``element``, ``edge``, ``edge_energy`` [eV],
        ``mono``, ``mono_d_spacing`` [angstrom], ``sample``, ``energy_column``, ``header``.

    Raises
    ------
    ReadError
        Naming the file; columns that cannot be told are listed.

    Warns
    -----
    UserWarning
        For a last line that was cut, repeated energies, and a series whose clock states no zone.
    """
    check_hints(hints)
    return dataset([_read_one(path, hints) for path in paths], hints)


def _read_one(path: Path, hints: dict[str, Any]) -> Scan:
    header, block = read_block(path, hints)
    width = block.values.shape[1]
    function = dialect_of(header)
    facts = function(header.split("\n"), width) if function else Facts()
    labels = facts.labels
    if len(labels) != width and "columns" in hints:
        labels = [Label(f"column {i}") for i in range(1, width + 1)]
    if len(labels) != width:
        raise ReadError(
            f"{path.name}: line {block.line} has {width} columns, the header names {len(labels)}; the file may be "
            f"truncated, or pass columns= with their numbers{listing(labels)}"
        )
    table = Table(
        path.name, block.values, block.line, labels, facts.attrs, facts.numbers, facts.start, facts.exposure, header
    )
    return scan_of(table, hints)
