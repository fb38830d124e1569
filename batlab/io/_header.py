"""What the header of a pattern in columns says: the axis and its unit, wavelength, sample, time of export."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from batlab.errors import ReadError

_ANGSTROM = r"(?:a\b|å|angstrom|\\aa)"
# Label at the start of a header line -> axis and unit; the first that fits, on the last line that has one.
_LABELS: tuple[tuple[str, str, str | None], ...] = (
    (r"2th_rad\b", "two_theta", "radian"),
    (r"2th_deg\b", "two_theta", "degree"),
    (r"q_nm\^-1", "q", "1/nm"),
    (r"q_a\^-1", "q", "1/angstrom"),
    (r"q\b.{0,20}(?:inverse|1/|per)?.{0,3}(?:nm|nanomet)", "q", "1/nm"),
    (rf"q\b.{{0,20}}{_ANGSTROM}", "q", "1/angstrom"),
    (r"q\b[ _-]*(?:vector|space|i\b|i\(|intens|s\(|f\(|$|[,;\t])", "q", None),
    (r"r\b.{0,3}\(?.{0,3}g\b", "r", "angstrom"),
    (rf"r\b\W{{0,3}}{_ANGSTROM}", "r", "angstrom"),
    (r"(?:2|two)[ _-]*(?:th(?:eta)?\b|θ).{0,12}rad", "two_theta", "radian"),
    (r"(?:2|two)[ _-]*(?:th(?:eta)?\b|θ)", "two_theta", "degree"),
    (r"(?:ttheta|tth)\b", "two_theta", "degree"),
)
_INTRODUCTION = re.compile(
    r"(?:[\s\d:.,=()-]|col(?:umn)?s?\b|axis|angle|scattering|diffraction|abscissa|x\b|units?\b)*", re.IGNORECASE
)
_COMPILED = tuple((re.compile(label, re.IGNORECASE), axis, units) for label, axis, units in _LABELS)
# A Bruker "Locked Coupled" scan moves θ and 2θ together; GADDS integrated over χ leaves 2θ.
_TWO_THETA_SCAN = re.compile(r'scantype:\s*"[^"]*coupled|GADDS PLOTSO FILE: Chi integration', re.IGNORECASE)
_MARKS = re.compile(r"^(?:[\s#!;'\"%*/@]|L(?=\s)|x:)+")
_NUMBER = r"([-+]?\d+(?:[.,]\d*)?(?:[eE][-+]?\d+)?)"


@dataclass(frozen=True)
class Header:
    """The header's facts; what it does not say is None or absent."""

    axis: str | None = None
    units: str | None = None
    sigma_column: int | None = None  # 0 is the axis
    is_counts: bool = False
    has_copy: bool = False
    attrs: dict[str, str | float] = field(default_factory=dict)


def read_header(text: str, name: str) -> Header:
    """Return what the `text` above the numbers says."""
    lines = [line for line in text.split("\n") if line.strip()]
    axis, units, label = _find_axis(lines)
    if axis is None and _TWO_THETA_SCAN.search(text):
        axis, units = "two_theta", "degree"
    return Header(
        axis,
        units,
        _sigma_column(label),
        bool(re.search(r"\bcounts\b|YCounts", text, re.IGNORECASE)),
        bool(re.search(r"^Lambda1\s*=", text, re.MULTILINE) and re.search(r"^line\S*\s+\d+\s*;", text, re.MULTILINE)),
        _attributes(text, name),
    )


def _find_axis(lines: list[str]) -> tuple[str | None, str | None, str]:
    for line in reversed(lines):
        label = _MARKS.sub("", line)
        for pattern, axis, units in _COMPILED:
            if pattern.match(label) or (axis == "two_theta" and units == "degree" and _inside(pattern, label)):
                return axis, units, label
    return None, None, ""


def _inside(pattern: re.Pattern[str], label: str) -> bool:
    """2θ may follow words that introduce a column, but neither prose nor a setting (``dataformat = twotheta``)."""
    found = pattern.search(label)
    return bool(found) and _INTRODUCTION.fullmatch(label[: found.start()] if found else "") is not None


def _sigma_column(label: str) -> int | None:
    words = re.split(r"[\t,;]\s*|\s+", label.strip())
    for i, word in enumerate(words):
        if i > 1 and re.match(r"(?:sigma|err|error|esd|e\.s\.d\.|std|dg|d_g|di\b|idev)", word, re.IGNORECASE):
            return i
    return None


def _attributes(text: str, name: str) -> dict[str, str | float]:
    attrs: dict[str, str | float] = {}
    gadds = re.search(rf"Wavelengths\s+{_NUMBER}\s+{_NUMBER}\s+{_NUMBER}", text)
    if gadds:
        attrs["wavelength"], attrs["wavelength_alpha2"] = _float(gadds[2]), _float(gadds[3])
    for key, label in (("wavelength", "Lambda1"), ("wavelength_alpha2", "Lambda2"), ("alpha2_ratio", "R")):
        found = re.search(rf"^{label}\s*=\s*{_NUMBER}\s*$", text, re.MULTILINE)
        if found and (label != "R" or "wavelength" in attrs):
            attrs[key] = _float(found[1])
    pyfai = re.search(rf"^\W*Wavelength\s*[:=]\s*{_NUMBER}[ ]*(\w*)", text, re.MULTILINE | re.IGNORECASE)
    if pyfai and "wavelength" not in attrs:
        value = _float(pyfai[1])
        # pyFAI writes metres, with or without the unit; PDF programs write angstrom.
        attrs["wavelength"] = float(f"{value * 1e10:.12g}") if value < 1e-6 else value
    if attrs.get("wavelength") == 0:
        raise ReadError(f"{name}: states the wavelength 0; pass wavelength=… in angstrom")
    for key, label in (("sample", r"Образец|Sample(?:Name)?|Title/SampleName"), ("anode", "Anode")):
        found = re.search(
            rf"(?:{label})\s*:\s*(?:\"([^\"\n]*)\"|([^\n\"]+?))(?=\s{{2}}|\s\w+:|\s*$)", text, re.MULTILINE
        )
        if found and (found[1] or found[2]):
            attrs[key] = (found[1] or found[2]).strip()
    identity = re.search(r'\bId:\s*"([^"]+)"', text)
    if identity and "sample" not in attrs:
        attrs["sample"] = identity[1]
    stamp = re.match(r"\s*(\d{4})[.-](\d\d)[.-](\d\d)[ T](\d\d:\d\d:\d\d)\s*$", text.split("\n", 1)[0])
    if stamp:
        attrs["exported"] = f"{stamp[1]}-{stamp[2]}-{stamp[3]}T{stamp[4]}"
    return attrs


def _float(word: str) -> float:
    return float(word.replace(",", "."))
