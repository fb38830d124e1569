"""Headers of absorption scans as beamlines write them: names of the columns, start, exposure, monochromator.

One function a dialect: header text -> `Facts`. Where a program does not name its columns, neither does this module.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from batlab.io.spectra_names import _ENERGY, Label, clean
from batlab.io.spectra_scan import Number

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_ZONES = {"UTC": "+00:00", "GMT": "+00:00"}  # only what is not ambiguous
_US_ZONES = {"EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7}
_NUMBER = r"([-+]?\d*\.?\d+(?:[eE][-+]?\d+)?)"
_LINE_LIMIT = 10_000


@dataclass
class Facts:
    """What a header says."""

    labels: list[Label] = field(default_factory=list)
    attrs: dict[str, Any] = field(default_factory=dict)
    numbers: dict[str, Number] = field(default_factory=dict)
    start: str = ""
    exposure: float | None = None


def dialect_of(text: str) -> Callable[[list[str], int], Facts] | None:
    """Return the function that reads this header, or None. Never raises."""
    lines = [line[:_LINE_LIMIT] for line in text.split("\n")]
    for pattern, function in DIALECTS:
        if any(pattern.match(line) for line in lines[:2]):
            return function
    return _plain if _label_line(lines) else None


def _float(pattern: str, text: str) -> float | None:
    found = re.search(pattern, text, re.MULTILINE)
    return float(found[1]) if found else None


def moment(text: str, us_zones: bool = False) -> str:
    """Return a moment as ISO text, "" where it is none: "Tue Jul  9 15:35:15 2019", "7/9/2019 1:00:29 PM" (m/d/y).

    >>> moment("Tue Jul  9 15:35:15 2019 CDT", us_zones=True), moment("6/27/11 at 2:22:40 PM")
    ('2019-07-09T15:35:15-05:00', '2011-06-27T14:22:40')
    >>> moment("Mar 14, 2024 03:00:55.941426")
    '2024-03-14T03:00:55.941426'
    """
    words = re.search(r"([A-Z][a-z]{2})\s+(\d\d?)\s+(\d\d?:\d\d:\d\d)\s+(\d{4})(?:\s+([A-Z]{3}))?", text)
    if words and words[1].lower() in _MONTHS:
        zone = _ZONES.get(words[5] or "", "")
        if us_zones and words[5] in _US_ZONES:
            zone = f"{_US_ZONES[words[5]]:+03d}:00"
        return f"{words[4]}-{_MONTHS.index(words[1].lower()) + 1:02d}-{int(words[2]):02d}T{words[3]:0>8}{zone}"
    words = re.search(r"([A-Z][a-z]{2})\s+(\d\d?),\s+(\d{4})\s+(\d\d:\d\d:\d\d)(\.\d{1,6})?", text)
    if words and words[1].lower() in _MONTHS:
        return f"{words[3]}-{_MONTHS.index(words[1].lower()) + 1:02d}-{int(words[2]):02d}T{words[4]}{words[5] or ''}"
    words = re.search(r"(\d\d?)/(\d\d?)/(\d{4}|\d\d)\s+(?:at\s+)?(\d\d?):(\d\d)(?::(\d\d))?\s*([AP]M)?", text)
    if not words:
        return ""
    year = int(words[3]) + (0 if len(words[3]) == 4 else 1900 if int(words[3]) > 69 else 2000)
    hour = int(words[4]) % 12 + 12 * (words[7] == "PM") if words[7] else int(words[4])
    return f"{year}-{int(words[1]):02d}-{int(words[2]):02d}T{hour:02d}:{words[5]}:{words[6] or '00'}"


def _words(line: str) -> list[str]:
    return re.split(r"[\t,;]\s*|\s+", line.strip().strip("#;").strip())


def _last(lines: list[str]) -> str:
    return next((line for line in reversed(lines) if line.strip()), "")


def _xdac(lines: list[str], width: int) -> Facts:
    """XDAC of NSLS and MRCAT of APS: the labels stand last, above the numbers."""
    text = "\n".join(lines[:20])
    stamp = re.search(r"created .*", text)
    facts = Facts([Label(word, _xdac_unit(word)) for word in _words(_last(lines))])
    facts.start = moment(stamp[0], us_zones=True) if stamp else ""
    _mono(facts, re.search(r"Diffraction element=\s*([A-Z][a-z]?\s*\(\d+\))", text))
    edge = _float(rf"^E0=\s*{_NUMBER}", text)
    if edge:
        facts.attrs["edge_energy"] = edge
    return facts


def _xdac_unit(word: str) -> str:
    return {"energy": "eV", "inttime": "s"}.get(word.lower(), "counts" if word[:1] == "I" else "")


def _mono(facts: Facts, found: re.Match[str] | None) -> None:
    if found:
        facts.attrs["mono"] = re.sub(r"\s+", "", found[1])


def _epics(lines: list[str], width: int) -> Facts:
    """Scans of APS 13 BM: ``; P1 = {Energy} --> 13BMA:E:Energy.VAL``, one line a column."""
    text = "\n".join(lines)
    named = re.findall(r"^; *([PD]\d+) = \{([^}\n]*)\}", text, re.MULTILINE)
    # Energies are driven in eV by this program; its scaler's counts are counts.
    labels = [
        Label(name, "eV" if name == "Energy" else "s" if "Time" in name else "counts" if kind[0] == "D" else "")
        for kind, name in named
    ]
    begin, end = (re.search(rf"^; scan {word} at time: (.*)$", text, re.MULTILINE) for word in ("began", "ended"))
    facts = Facts(labels, start=moment(begin[1]) if begin else "")
    facts.exposure = _seconds(facts.start, moment(end[1]) if end else "")
    edge = _float(rf"E0 =\s*{_NUMBER}", text)
    if edge:
        facts.attrs["edge_energy"] = edge
    return facts


def _seconds(start: str, end: str) -> float | None:
    """Return the seconds between two ISO times, None where they make no sense.

    >>> _seconds("2008-04-10T16:50:32", "2008-04-10T17:00:25")
    593.0
    """
    from datetime import datetime

    try:
        length = (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
    except (ValueError, TypeError):
        return None
    return length if length > 0 else None


def _labview(lines: list[str], width: int) -> Facts:
    """LabVIEW of APS 9 and 20: labels in fields of 21 characters, the long ones cut, so that two may touch."""
    text = "\n".join(lines)
    line = _last(lines)[1:]
    names = [line[i : i + 21].strip() for i in range(0, len(line), 21)]
    labels = [Label(name, _labview_unit(name)) for name in names if name]
    facts = Facts(labels, start=moment(lines[0]))
    length = re.search(r"Scan time (\d+) hrs (\d+) min (\d+) sec", lines[0])
    if length:
        facts.exposure = float(int(length[1]) * 3600 + int(length[2]) * 60 + int(length[3]))
    edge = _float(rf"E0:\s*{_NUMBER} eV", text)
    if edge:
        facts.attrs["edge_energy"] = edge
    return facts


def _labview_unit(name: str) -> str:
    if name.startswith("Mono Energy"):
        return "eV"
    return "" if "time" in name.lower() or "Integratio" in name or "Gap" in name else "counts"


def _cls(lines: list[str], width: int) -> Facts:
    """CLS HXMA: event 1 is the scan; its names stand in quotes, or in a list of columns."""
    named = [line for line in lines if line.startswith("#(1)")]
    quoted = re.findall(r'"([^"]*)"', named[-1]) if named else []
    if named and not named[-1].strip().startswith('#(1)\t"'):
        quoted = ["Event-ID", *quoted]
    # The two settings of the energy differ from what was reached; all three are in eV at this beamline.
    labels = [Label(name, "eV" if "Energy" in name else "") for name in quoted]
    stamp = next((moment(line) for line in lines[:4] if moment(line)), "")
    return Facts(labels, start=stamp)


def _ssrl(lines: list[str], width: int) -> Facts:
    """SSRL's Data Collector: one label a line after ``Data:``."""
    start = next((i for i, line in enumerate(lines) if line.strip() == "Data:"), len(lines)) + 1
    names = [line.strip() for line in lines[start : start + width] if line.strip()]
    labels = [Label(n, "eV" if "Energy" in n else "s" if "clock" in n else "counts") for n in names]
    facts = Facts(labels, start=moment(lines[1]) if len(lines) > 1 else "")
    mono = re.search(r"([A-Z][a-z]?\(\d+\))\s+(\d\.\d+)", "\n".join(lines[:10]))
    _mono(facts, mono)
    if mono:
        facts.attrs["mono_d_spacing"] = float(mono[2])
    return facts


def _photon_factory(lines: list[str], width: int) -> Facts:
    """PF 9809: angles and numbered counters; the line ``Mode`` says what a counter is (1: I0, 2: It, 3: If)."""
    text = "\n".join(lines)
    heads = next((re.split(r"\s{2,}", line.strip()) for line in lines if "Angle(c)" in line), [])
    mode = next((line.split()[1:] for line in lines if line.split()[:1] == ["Mode"]), [])
    means = {"1": "i0", "2": "itrans", "3": "ifluor"}
    told = [*[""] * (len(heads) - len(mode)), *mode]
    labels = [
        Label(head, *_pf_meaning(head, means.get(role, ""))) for head, role in zip(heads, told, strict=len(mode) > 0)
    ]
    facts = Facts(labels)
    mono = re.search(r"Mono :\s*([A-Z]+)\s*(\(\d+\))", text)
    if mono:
        facts.attrs["mono"] = f"{mono[1].capitalize()}{mono[2]}"
    d = _float(rf"D=\s*{_NUMBER}\s*A\b", text)
    if d:
        facts.attrs["mono_d_spacing"] = d
    if len(lines) > 2 and lines[2].strip():
        facts.attrs["sample"] = lines[2].strip()[:200]
    # "07.05.12" may be 2007 or 2012: the moment is left in the header.
    return facts


def _pf_meaning(head: str, role: str) -> tuple[str, str]:
    if head.startswith("Angle"):
        return "degree", ""
    return ("s", "") if head.startswith("time") else ("counts", role)


def _mda2ascii(lines: list[str], width: int) -> Facts:
    """EPICS scans as text: the first positioner in eV is the axis."""
    labels: list[Label] = []
    for line in lines:
        found = re.match(r"#\s+\d+\s+\[([^\]]*)\]\s*(.*)$", line)
        if not found:
            continue
        kind, parts = found[1].strip(), [part.strip() for part in found[2].split(",")]
        if kind.startswith("1-D Positioner"):
            unit = parts[3] if len(parts) > 3 else ""
            is_axis = unit == "eV" and not any(label.means for label in labels)
            labels.append(
                Label(parts[1] if len(parts) > 1 and parts[1] else parts[0], unit, "energy" if is_axis else "")
            )
        elif kind == "Index":
            labels.append(Label("index"))
        else:
            labels.append(Label((parts[1] if len(parts) > 1 else "") or parts[0], parts[2] if len(parts) > 2 else ""))
    stamp = next((line for line in lines if line.startswith("# Scan time =")), "")
    return Facts(labels, start=moment(stamp))


def _rock(lines: list[str], width: int) -> Facts:
    """Normalized spectra of SOLEIL ROCK (extranormal).

    The offset beside the start is the mean moment of the averaged spectra, hence half the length of the exposure.
    """
    text = "\n".join(lines)
    means = {
        "shifted energy": Label("shifted energy", "eV", "energy"),
        "normalized": Label("normalized", "", "mu"),
        "reference": Label("reference", "", "mu_reference"),
        "ref.derivative": Label("ref.derivative"),
        "I0": Label("I0", "", "i0"),
    }
    labels = [means.get(word.strip(), Label(word)) for word in _last(lines).lstrip("# ").split("\t")]
    facts = Facts(labels, {"is_normalized": 1})
    stamp = re.search(r"Time at start=(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d{1,6})?)", text)
    facts.start = f"{stamp[1]}T{stamp[2]}" if stamp else ""
    offset = _float(rf"Time from start \(seconds\)={_NUMBER}", text)
    facts.exposure = 2 * offset if offset else None
    for name, pattern, units, told in (
        ("energy_shift", r"Eshift=", "eV", "shift that the beamline applied to the energy"),
        ("edge_jump", r"I jump at E0_pivot =\s*", "1", "edge jump that the beamline divided by"),
        ("temperature", r"Sample temperature \(C\)=", "degree_Celsius", "temperature of the sample"),
    ):
        value = _float(pattern + _NUMBER, text)
        if value is not None:
            facts.numbers[name] = Number(value, units, told)
    edge = _float(rf"# E0={_NUMBER}", text)
    if edge:
        facts.attrs["edge_energy"] = edge
    return facts


def _label_line(lines: list[str]) -> list[str]:
    """Return the labels of the last line above the numbers if they are those of a spectrum, else []."""
    above = [i for i, line in enumerate(lines) if re.match(rf"\s*{_NUMBER}[\s,;]+{_NUMBER}", line)]
    header = lines[: above[0]] if above else lines
    words = _words(_last(header))
    names = [clean(word) for word in words]
    if len(names) < 2:
        return []
    if names[0] == "k" and names[1] in ("chi", "chi_k"):
        return words
    counters = re.compile(r"(?:i0|it|i1|if|itrans|ifluor|irefer|x?mu|mutrans|mufluor|murefer|mt)(?:_|$)")
    if _ENERGY[0].match(names[0]) and any(counters.match(name) for name in names[1:]):
        return words
    return []


def _plain(lines: list[str], width: int) -> Facts:
    """Labels above the numbers and nothing else, or ``#%name: value`` lines of the UWXAFS era."""
    labels = [Label(word, "eV" if clean(word).endswith("_ev") else "") for word in _label_line(lines)]
    facts = Facts(labels)
    for key, name in (("name", "sample"), ("edge", "edge")):
        found = next((line for line in lines if re.match(rf"#%{key}:\s*\S", line)), "")
        if found:
            facts.attrs[name] = found.split(":", 1)[1].strip()[:200]
    atom = next((re.match(r"#%atom:\s*([A-Z][a-z]?)\s*$", line) for line in lines if line.startswith("#%atom")), None)
    if atom:
        facts.attrs["element"] = atom[1]
    stamp = next((line for line in lines if line.startswith("#%date:")), "")
    facts.start = moment(stamp)
    return facts


DIALECTS: tuple[tuple[re.Pattern[str], Callable[[list[str], int], Facts]], ...] = (
    (re.compile(r"(?:XDAC|MRCAT_XAFS) V"), _xdac),
    (re.compile(r";\s*Epics Scan"), _epics),
    (re.compile(r"#\s*1-D Scan File created"), _labview),
    (re.compile(r"#\s*CLS Data Acquisition"), _cls),
    (re.compile(r"SSRL\s+EXAFS Data Collector"), _ssrl),
    (re.compile(r"\s*9809\s+KEK-PF"), _photon_factory),
    (re.compile(r"## mda2ascii"), _mda2ascii),
    (re.compile(r"#.*\bextranormal\b"), _rock),
)
