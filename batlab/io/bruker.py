"""Bruker `.brml`: a zip of XML files, one `RawData*.xml` a measurement; the old binary `.raw` is refused."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import xarray as xr

from batlab.errors import ReadError
from batlab.schema import quantity

NAME = "Bruker measurements"
HINTS = frozenset[str]()

RAW_MAGIC = (b"RAW1.01", b"RAW2", b"RAW4.00", b"RAW5")
SIZE_LIMIT = 512 * 2**20  # bytes of one unpacked member; a zip bomb declares or unpacks to more
RATIO_LIMIT = 1000  # of unpacked to packed size; text of numbers reaches about 30
_RAW = re.compile(r"(?:^|/)RawData(\d+)\.xml$")
_DECLARATION = re.compile(rb"<!\s*(?:DOCTYPE|ENTITY)", re.IGNORECASE)


@dataclass(frozen=True)
class Scan:
    """One measured range: 2θ [degree], counts, exposure a point [s], start in UTC, and the tube's lines."""

    name: str
    two_theta: np.ndarray
    counts: np.ndarray
    exposure: float
    time: np.datetime64
    attrs: dict[str, Any]


def recognise(path: Path, head: bytes) -> bool:
    """Return whether the file is a ``.brml`` or an old binary ``.raw``. Never raises."""
    if head.startswith(RAW_MAGIC):
        return True
    if not head.startswith(b"PK\x03\x04"):
        return False
    if path.suffix.lower() == ".brml":
        return True
    try:
        with zipfile.ZipFile(path) as archive:
            return any(_RAW.search(name) for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def read(paths: list[Path], **hints: Any) -> xr.Dataset:
    """Return every 2θ range of the files over (frame, two_theta), counts as the detector gave them.

    Returns
    -------
    Dataset
        ``intensity`` [count], ``intensity_sigma`` = sqrt(counts); coordinates ``two_theta`` [degree], ``time`` (UTC,
        the start of the range), ``exposure`` [s] per point, ``file``; attributes ``wavelength``, ``wavelength_alpha2``
        [angstrom], ``alpha2_ratio``, ``sample``.

    Raises
    ------
    ReadError
        A damaged or hostile archive (too large when unpacked, with a DOCTYPE), a measurement cut short, unequal
        ranges, or an old binary ``.raw``.
    """
    scans = [scan for path in paths for scan in _read_one(path)]
    first = scans[0]
    for scan in scans[1:]:
        if not np.array_equal(scan.two_theta, first.two_theta):
            raise ReadError(
                f"{scan.name}: its 2θ range differs from that of {first.name}; open the files apart and bring them "
                "onto one grid with curves.regrid"
            )
        if scan.attrs.get("wavelength") != first.attrs.get("wavelength"):
            raise ReadError(f"{scan.name}: its wavelength differs from that of {first.name}")
    counts = np.stack([scan.counts for scan in scans])
    dims = ("frame", "two_theta")
    return xr.Dataset(
        {
            "intensity": quantity(dims, counts, "count", "diffracted intensity"),
            "intensity_sigma": quantity(dims, np.sqrt(counts), "count", "1 sigma of the diffracted intensity"),
        },
        {
            "frame": quantity("frame", np.arange(len(scans)), "1", "frame"),
            "two_theta": quantity("two_theta", first.two_theta, "degree", "scattering angle 2θ"),
            "time": quantity("frame", np.array([scan.time for scan in scans]), "", "start of the scan, UTC"),
            "exposure": quantity("frame", np.array([scan.exposure for scan in scans]), "s", "exposure of a point"),
            "file": quantity("frame", np.array([scan.name for scan in scans]), "", "file"),
        },
        first.attrs,
    )


def _read_one(path: Path) -> list[Scan]:
    with path.open("rb") as file:
        head = file.read(8)
    if head.startswith(RAW_MAGIC):
        raise ReadError(
            f"{path.name}: is a binary Bruker RAW file ({head[:7].decode('ascii', 'replace')}), which is not read; "
            "export it as .brml or .xye"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if _RAW.search(info.filename)]
            members.sort(key=lambda info: int(_RAW.search(info.filename)[1]))  # type: ignore[index]
            roots = [_parse(archive, info, path.name) for info in members]
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise ReadError(f"{path.name}: the archive is damaged ({error}); the file may be truncated") from error
    scans = [scan for root in roots for scan in _scans(root, path.name)]
    if not scans:
        raise ReadError(f"{path.name}: holds no measured 2θ range")
    return scans


def _parse(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> ElementTree.Element:
    where = f"{name}: {info.filename}"
    if info.file_size > SIZE_LIMIT or info.file_size > RATIO_LIMIT * max(info.compress_size, 1):
        raise ReadError(f"{where} unpacks from {info.compress_size} to {info.file_size} bytes; refused as a zip bomb")
    with archive.open(info) as member:
        raw = member.read(SIZE_LIMIT + 1)
    if len(raw) > SIZE_LIMIT:
        raise ReadError(f"{where} unpacks to more than {SIZE_LIMIT} bytes; refused as a zip bomb")
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raw = raw.decode("utf-16", "replace").encode()
        raw = re.sub(rb"^<\?xml[^>]*\?>", b"", raw)
    if _DECLARATION.search(raw) or b"\0" in raw[:64]:
        raise ReadError(f"{where} declares a DOCTYPE or an entity; refused")
    try:
        return ElementTree.parse(io.BytesIO(raw)).getroot()
    except ElementTree.ParseError as error:
        raise ReadError(f"{where}: is no valid XML ({error})") from error


def _scans(root: ElementTree.Element, name: str) -> list[Scan]:
    attrs = _attributes(root)
    begun = root.findtext("TimeStampStarted")
    scans = []
    for route in root.iter("DataRoute"):
        datums = [element.text or "" for element in route.findall("Datum")]
        view = _columns(route)
        if not datums or view is None:
            continue
        angle, counter = view
        try:
            table = np.array([row.split(",") for row in datums], dtype=float)
            two_theta, counts = table[:, angle], table[:, counter]
        except (ValueError, IndexError) as error:
            raise ReadError(f"{name}: a <Datum> is not as its <DataViews> say ({error})") from error
        planned = route.findtext("ScanInformation/MeasurementPoints")
        if planned and int(planned) != len(table):
            raise ReadError(f"{name}: states {planned} points, {len(table)} follow; the measurement was cut short")
        if not (np.diff(two_theta) > 0).all():
            raise ReadError(f"{name}: 2θ does not increase; only 2θ scans are read")
        exposure = route.findtext("ScanInformation/TimePerStepEffective") or route.findtext(
            "ScanInformation/TimePerStep"
        )
        scans.append(Scan(name, two_theta, counts, float(exposure or "nan"), _utc(begun, name), attrs))
    return scans


def _columns(route: ElementTree.Element) -> tuple[int, int] | None:
    """Return the columns of 2θ and of the counter in a ``Datum``, or None where the route scans something else."""
    angle = counter = None
    for view in route.iter("RawDataView"):
        start = int(view.get("Start", "0"))
        fields = [field.get("FieldName") for field in view.iter("FieldDefinitions")]
        if "TwoTheta" in fields:
            angle = start + fields.index("TwoTheta")
        recording = view.find("Recording")
        if recording is not None and recording.get("LogicName") == "ScanCounter":
            counter = start
    return None if angle is None or counter is None else (angle, counter)


def _utc(stamp: str | None, name: str) -> np.datetime64:
    if not stamp:
        return np.datetime64("NaT", "ns")
    try:
        # .NET writes seven decimals of a second, Python reads six.
        moment = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", stamp))
    except ValueError as error:
        raise ReadError(f"{name}: the start {stamp!r} is no time") from error
    if moment.tzinfo is None:
        raise ReadError(f"{name}: the start {stamp!r} states no time zone")
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "ns")


def _attributes(root: ElementTree.Element) -> dict[str, Any]:
    attrs: dict[str, Any] = {}
    for key, tag in (
        ("wavelength", "WaveLengthAlpha1"),
        ("wavelength_alpha2", "WaveLengthAlpha2"),
        ("alpha2_ratio", "WaveLengthRatio"),
    ):
        element = next(root.iter(tag), None)
        if element is not None:
            attrs[key] = float(element.get("Value", "nan"))
    for item in root.iter("InfoItem"):
        if item.get("Name") == "SampleName" and item.get("Value"):
            attrs["sample"] = item.get("Value")
    return attrs
