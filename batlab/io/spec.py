"""SPEC files: any number of scans in one text, ``#S`` before each, columns named by ``#L``."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import ReadError
from batlab.io._text import peek, read_text
from batlab.io.frames import utc
from batlab.io.scans import ENERGY, choose_scans, clean_name, counter, over_energy, to_ev, together
from batlab.schema import quantity

NAME = "SPEC files"
HINTS = frozenset({"scan", "energy_unit", "timezone", "grid", "encoding"})

_SCAN = re.compile(r"^#S[ \t]+(\d+)[ \t]*(.*)$", re.MULTILINE)
_FILE = re.compile(r"#F [^\n]*\n(?:#[^\n]*\n|\s*\n)*?#(?:E|D|S|C|O0) ")
_MCA_LIMIT = 2**26  # numbers of multichannel spectra in one scan


@dataclass
class Scan:
    """One scan as the file has it: its header lines by letter, its numbers, its multichannel spectra."""

    name: str
    command: str
    line: int
    headers: dict[str, list[str]] = field(default_factory=dict)
    rows: list[list[float]] = field(default_factory=list)
    spectra: list[list[float]] = field(default_factory=list)

    def first(self, key: str) -> str:
        return self.headers.get(key, [""])[0]


def recognise(path: Path, head: bytes) -> bool:
    """Return whether the text begins as SPEC's do: ``#F`` and its header, or ``#S`` with ``#N``. Never raises."""
    text = peek(head).lstrip()
    if _FILE.match(text):
        return True
    return re.match(r"#S[ \t]+\d+", text) is not None and re.search(r"^#N[ \t]+\d+", text, re.MULTILINE) is not None


def read(
    paths: list[Path],
    *,
    scan: int | str | Sequence[int | str] | None = None,
    energy_unit: str | None = None,
    timezone: str | None = None,
    grid: str | None = None,
    encoding: str | None = None,
) -> xr.Dataset | xr.DataTree:
    """Return the scans of a file: one as a Dataset, several on one energy grid as a series, others as a DataTree.

    Parameters
    ----------
    paths
        One file.
    scan
        Which: a number, ``"3.2"`` for the second scan 3 of the file, or a list of them; without it all, as a DataTree
        whose children are named ``"3.1"`` (number, occurrence).
    energy_unit
        ``"eV"`` or ``"keV"``: SPEC does not say; energies from 250 up are eV by themselves.
    timezone
        Zone of the scans' ``#D`` where no ``#E`` with an ``Epoch`` column gives the time; without it taken as UTC,
        and the attribute ``clock`` says so.
    grid
        ``"first"``: interpolate the chosen scans linearly onto the energies of the first and return one series;
        ``"own"``: a series in which each keeps its energies, ``energy_measured`` over (frame, energy).
    encoding
        Of the text.

    Returns
    -------
    Dataset or DataTree
        Scans of an energy (a column so called) over ``energy`` [eV], all others over ``frame``. Counters by XDI's
        names where they are known (``i0 itrans ifluor irefer``), else by their own; ``mca`` (…, channel) [count];
        ``count_time`` [s]. Coordinates ``scan``, ``time`` (UTC, the start). Attributes ``command``,
        ``positioners`` (JSON: motor -> position), ``comments``, ``header``.

    Raises
    ------
    ReadError
        A row that is damaged, with its line; a scan that is not there or holds no points; no scan at all.

    Warns
    -----
    UserWarning
        Scans without points are left out; a scan cut inside its last row loses it; one whose energy turns back stays
        over ``frame``.
    """
    if len(paths) > 1:
        raise ReadError(f"{paths[0].name}: {len(paths)} SPEC files at once; open them one by one")
    name = paths[0].name
    text = read_text(paths[0], encoding)
    motors, epoch, places = _survey(text, name)
    chosen = choose_scans(list(places), scan, name)
    scans = [_scan(text, key, *places[key], name) for key in chosen]
    empty = [one.name for one in scans if not one.rows]
    if len(empty) == len(scans) or (scan is not None and empty):
        raise ReadError(f"{name}: scan {empty[0]} holds no points; it was stopped before the first")
    if empty:
        warnings.warn(f"{name}: scans {', '.join(empty)} hold no points and are left out", UserWarning, 2)
    parts = {}
    for one in scans:
        if one.rows:
            earlier = [(start, found) for start, found in motors if start <= places[one.name][0]]
            named = earlier[-1][1] if earlier else []
            started = [(start, found) for start, found in epoch if start <= places[one.name][0]]
            parts[one.name] = _dataset(one, named, started[-1][1] if started else None, energy_unit, timezone, name)
    if scan is None and len(places) > 1:
        return xr.DataTree.from_dict(parts)
    return together(parts, grid)


def _survey(
    text: str, name: str
) -> tuple[list[tuple[int, list[str]]], list[tuple[int, float]], dict[str, tuple[int, int]]]:
    """Return where motors are named, where ``#E`` stands, and each scan's place; a file may have several headers."""
    matches = list(_SCAN.finditer(text))
    if not matches:
        raise ReadError(f"{name}: has no scan (no line begins with '#S' and a number)")
    seen: dict[str, int] = {}
    places = {}
    ends = [match.start() for match in matches[1:]] + [len(text)]
    for match, end in zip(matches, ends, strict=True):
        number = match[1].lstrip("0") or "0"
        seen[number] = seen.get(number, 0) + 1
        following = re.compile(r"^#F ", re.MULTILINE).search(text, match.end(), end)
        places[f"{number}.{seen[number]}"] = (match.start(), following.start() if following else end)
    motors: list[tuple[int, list[str]]] = []
    for match in re.finditer(r"^#O(\d+)[ \t]*(.*)$", text, re.MULTILINE):
        words = [word for word in re.split(r"[ \t]{2,}|\t", match[2].strip()) if word]
        if int(match[1][:6]) == 0 or not motors:
            motors.append((match.start(), words))
        else:
            motors[-1][1].extend(words)
    epoch = [(match.start(), float(match[1])) for match in re.finditer(r"^#E[ \t]+(\d+(?:\.\d*)?)", text, re.MULTILINE)]
    return motors, epoch, places


def _scan(text: str, key: str, start: int, end: int, name: str) -> Scan:
    head, _, body = text[start:end].partition("\n")
    match = _SCAN.match(head)
    line = text.count("\n", 0, start) + 1
    scan = Scan(key, match[2].strip() if match else "", line)
    lines = body.split("\n")
    last = max((i for i, row in enumerate(lines) if row.strip() and row.lstrip()[0] not in "#@"), default=-1)
    at = 0
    while at < len(lines):
        row = lines[at].strip()
        if row.startswith("#"):
            letter, _, rest = row[1:].partition(" ")
            scan.headers.setdefault(letter, []).append(rest.strip())
        elif row.startswith("@"):
            while row.endswith("\\") and at + 1 < len(lines):
                at += 1
                row = row[:-1] + " " + lines[at].strip()
            scan.spectra.append(_numbers(row.partition(" ")[2].split(), name, line + at + 1))
        elif row:
            _add_row(scan, row.split(), name, line + at + 1, at == last and end == len(text))
        at += 1
    return scan


def _add_row(scan: Scan, words: list[str], name: str, line: int, is_end: bool) -> None:
    width = len(_labels(scan))
    if not width:
        raise ReadError(f"{name}: line {line}: scan {scan.name} has numbers before '#L' names its columns")
    if len(words) != width:
        told = f"line {line} has {len(words)} columns, '#L' of scan {scan.name} names {width}"
        if not (is_end and len(words) < width and scan.rows):
            raise ReadError(f"{name}: {told}; the file may be damaged")
        warnings.warn(f"{name}: {told}; the row is left out, the file may be truncated", UserWarning, 4)
        return
    scan.rows.append(_numbers(words, name, line))


def _labels(scan: Scan) -> list[str]:
    """Return the columns' names: two blanks part them; names with one blank only where ``#N`` says so."""
    label = scan.first("L")
    words = [word for word in re.split(r"[ \t]{2,}|\t", label) if word]
    stated = re.match(r"\d{1,6}", scan.first("N"))
    if stated and len(words) != int(stated[0]) == len(label.split()):
        return label.split()
    return words


def _numbers(words: list[str], name: str, line: int) -> list[float]:
    try:
        return [float(word) for word in words]
    except ValueError as error:
        raise ReadError(f"{name}: line {line}: {error}; the file may be damaged") from error


def _dataset(
    scan: Scan, motors: list[str], epoch: float | None, energy_unit: str | None, timezone: str | None, file: str
) -> xr.Dataset:
    where = f"{file}: scan {scan.name}"
    labels, table = _labels(scan), np.array(scan.rows)
    index = next((i for i, label in enumerate(labels) if ENERGY.fullmatch(re.sub(r"\W+", "_", label))), None)
    variables: dict[str, xr.Variable] = {}
    for i, label in enumerate(labels):
        if i != index:
            name = clean_name(label, variables)
            variables[name] = counter(name, label, table[:, i])
    if scan.spectra:
        _add_spectra(variables, scan, len(table), where)
    coords = {
        "frame": quantity("frame", np.arange(len(table), dtype=np.int64), "1", "frame"),
        "scan": quantity((), np.array(scan.name), "", "number of the scan"),
    }
    if "mca" in variables:
        coords["channel"] = quantity("channel", np.arange(variables["mca"].shape[1]), "1", "channel")
    attrs: dict[str, Any] = {
        "command": scan.command,
        "header": "\n".join(_header(scan)),
        "comments": "\n".join(scan.headers.get("C", [])),
    }
    time, clock = _start(scan, labels, table, epoch, timezone, where)
    if time is not None:
        coords["time"] = quantity((), np.array(time), "", "start of the scan, UTC")
    if clock:
        attrs["clock"] = clock
    positions = _positions(scan, motors)
    if positions:
        attrs["positioners"] = json.dumps(positions)
    result = xr.Dataset(variables, coords, attrs)
    if index is None or len(table) < 2:
        return result
    values = to_ev(table[:, index], "", energy_unit, where)
    return over_energy(result, quantity("frame", values, "eV", "photon energy"), where)


def _add_spectra(variables: dict[str, xr.Variable], scan: Scan, n_points: int, where: str) -> None:
    sizes = {len(spectrum) for spectrum in scan.spectra}
    per_point = len(scan.spectra) / n_points
    if len(sizes) != 1 or per_point != 1 or n_points * max(sizes) > _MCA_LIMIT:
        raise ReadError(
            f"{where} has {len(scan.spectra)} multichannel spectra of {min(sizes)} to {max(sizes)} channels for "
            f"{n_points} points; one of one length a point is read"
        )
    name = clean_name("mca", variables)
    variables[name] = quantity(("frame", "channel"), np.array(scan.spectra), "count", "multichannel spectrum")


def _header(scan: Scan) -> list[str]:
    return [f"#S {scan.command}", *(f"#{key} {line}" for key, lines in scan.headers.items() for line in lines)]


def _positions(scan: Scan, motors: list[str]) -> dict[str, float]:
    words = [word for i in range(len(scan.headers)) if f"P{i}" in scan.headers for word in scan.first(f"P{i}").split()]
    try:
        return {motor: float(word) for motor, word in zip(motors, words, strict=False)}
    except ValueError:
        return {}


def _start(
    scan: Scan, labels: list[str], table: np.ndarray, epoch: float | None, timezone: str | None, where: str
) -> tuple[np.datetime64 | None, str]:
    """Return when the scan began in UTC, and what was assumed for it."""
    if "Epoch" in labels and np.isfinite(table[0, labels.index("Epoch")]):
        first = table[0, labels.index("Epoch")]
        seconds = first if first > 1e8 else first + epoch if epoch is not None else np.nan
        if 0 < seconds < 1e11:
            return np.datetime64(round(seconds * 1e9), "ns") if seconds < 9e9 else None, ""
    stated = " ".join(scan.first("D").split())
    for layout in ("%a %b %d %H:%M:%S %Y", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"):
        try:
            when = datetime.strptime(stated, layout).isoformat()
        except ValueError:
            continue
        told = "" if timezone else "local time without a zone, taken as UTC"
        return utc(when, timezone or "UTC"), told
    return None, ""
