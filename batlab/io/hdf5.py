"""HDF5 files: batlab's own, NeXus patterns and spectra, BLISS scans, detector stacks; told apart by what they hold."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import xarray as xr

from batlab.errors import ReadError, choose
from batlab.io.physical_units import positive

NAME = "HDF5 and NeXus"
HINTS = frozenset(
    {
        "path", "chunks", "allow_links", "mask_bits", "timezone", "axis_unit", "wavelength", "scan", "energy_unit",
        "grid", "smeared",
    }
)  # fmt: skip
SIGNATURE = b"\x89HDF\r\n\x1a\n"


def recognise(path: Path, head: bytes) -> bool:
    """HDF5's signature, at the start or after a user block of 512, 1024 or 2048 bytes."""
    return any(head[at : at + 8] == SIGNATURE for at in (0, 512, 1024, 2048))


def read(
    paths: list[Path],
    *,
    path: str | None = None,
    chunks: int = 1,
    allow_links: str | os.PathLike | Iterable[str | os.PathLike] = (),
    mask_bits: int = 0xFFFF,
    timezone: str | None = None,
    axis_unit: str | None = None,
    wavelength: float | None = None,
    scan: int | str | Sequence[int | str] | None = None,
    energy_unit: str | None = None,
    grid: str | None = None,
    smeared: bool | None = None,
) -> xr.Dataset | xr.DataTree:
    """Return patterns (frame, axis), spectra over energy, lazy frames (frame, y, x), or what batlab saved.

    Parameters
    ----------
    paths
        One file, or several that hold one series.
    path
        Group or array inside the file, ``"/entry/data/data"``, where several could be meant.
    chunks
        Frames in one piece of the lazy array.
    allow_links
        Folders, besides the file's own, that links in the file may lead to.
    mask_bits
        Which bits of a NeXus pixel mask exclude a pixel; the standard says the lower 16.
    timezone
        Zone of a start time that states none.
    axis_unit
        Unit of a pattern's axis where the file has none: ``"1/nm"``, ``"degree"`` …
    wavelength
        In angstrom, where the file has none.
    scan
        Of a BLISS file (ESRF) the scan ``4`` or ``"4.1"``, or a list of them; such a file without images is a DataTree
        of its scans, one with images is read as frames unless a scan is asked for.
    energy_unit
        ``"eV"`` or ``"keV"`` where an energy of a scan states no unit.
    grid
        ``"first"``: interpolate scans linearly onto the energies of the first; ``"own"``: a series in which each keeps
        its energies, ``energy_measured`` over (frame, energy).
    smeared
        Of NXcanSAS files that hold both, only the slit-smeared curves (True) or only the desmeared ones (False).

    Raises
    ------
    ReadError
        A file is damaged, holds none of these, or several things without saying which one is meant.
    UnsafePathError
        A link leads outside the file's folder.
    """
    from batlab.io import detector, netcdf, nexus, nxcansas, nxxas
    from batlab.io.folders import Folders
    from batlab.io.links import survey
    from batlab.io.text_heaps import NAMED, check_heaps

    if isinstance(chunks, bool) or not isinstance(chunks, int) or chunks < 1:
        raise ValueError(f"chunks must be a number of frames of at least 1, got {chunks!r}")
    check_heaps(paths, NAMED)
    if netcdf.is_own(paths[0]) and path is None:
        if len(paths) > 1:
            raise ReadError(f"{paths[0].name}: was saved by batlab; open such files one by one")
        return netcdf.read(paths[0], Folders.of(paths[0], allow_links))
    if path is None or scan is not None:
        found = _scans(paths, allow_links, scan, energy_unit, grid)
        if found is not None:
            return found
    surveys = [survey(one, Folders.of(one, allow_links), _entry(one, path)) for one in paths]
    if any(nxxas.entries(contents, path) for contents in surveys):
        _only_one(paths)
        return nxxas.read(surveys[0], path=path, energy_unit=energy_unit, timezone=timezone, grid=grid)
    if smeared is not None or any(nxcansas.data_groups(contents, path) for contents in surveys):
        choose("smeared", smeared, [None, True, False])
        return _with_wavelength(nxcansas.read(surveys, path=path, smeared=smeared), wavelength)
    holds_patterns = [bool(nexus.pattern_groups(contents, path)) for contents in surveys]
    if len(set(holds_patterns)) > 1:
        one, other = paths[holds_patterns.index(True)].name, paths[holds_patterns.index(False)].name
        raise ReadError(
            f"{one}: holds patterns, {other} does not; open them apart, with a glob that leaves one kind out"
        )
    if holds_patterns[0]:
        result = nexus.read(surveys, path=path, axis_unit=axis_unit)
    else:
        result = detector.read(surveys, path=path, chunks=chunks, mask_bits=mask_bits, timezone=timezone)
    return _with_wavelength(result, wavelength)


def _scans(
    paths: list[Path],
    allow_links: str | os.PathLike | Iterable[str | os.PathLike],
    scan: int | str | Sequence[int | str] | None,
    energy_unit: str | None,
    grid: str | None,
) -> xr.Dataset | xr.DataTree | None:
    """Return the scans of a BLISS file, None where it holds something else and no scan is asked for."""
    from batlab.io import bliss
    from batlab.io.folders import Folders

    files = [bliss.File.of(one, Folders.of(one, allow_links)) for one in paths]
    if scan is None and not any(file.holds_only_scans() for file in files):
        return None
    _only_one(paths)
    return bliss.read(files[0], scan=scan, energy_unit=energy_unit, grid=grid)


def _entry(file: Path, path: str | None) -> list[str] | None:
    """Return the one entry that `path` leads to where there are many scans, which together may be too many to visit."""
    from batlab.io import bliss
    from batlab.io.links import root_keys

    first = (path or "").strip("/").split("/")[0]
    return [first] if bliss.is_name(first) and first in root_keys(file) else None


def _only_one(paths: list[Path]) -> None:
    if len(paths) > 1:
        raise ReadError(f"{paths[0].name}: {len(paths)} files of spectra at once; open them one by one")


def _with_wavelength(result: xr.Dataset | xr.DataTree, wavelength: float | None) -> xr.Dataset | xr.DataTree:
    if wavelength is None:
        return result
    value = positive("wavelength", wavelength)
    if isinstance(result, xr.DataTree):
        return result.map_over_datasets(lambda part: part.assign_attrs(wavelength=value) if part.sizes else part)
    return result.assign_attrs(wavelength=value)
