"""A series of frames that is still being written: which files belong to it, and its next frames in order."""

from __future__ import annotations

import glob
import math
import os
import re
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr

from batlab.errors import ReadError, UnsafePathError
from batlab.io import detector, images
from batlab.io._open import _natural
from batlab.io.detector_facts import MASK_BITS, Facts, facts_of, overflow_values
from batlab.io.folders import Folders
from batlab.io.frames import frames_dataset
from batlab.io.growing import ABSENT, BUSY, TOLD, GrowingImage, GrowingStack, Stillness, hdf5_state, opened
from batlab.io.hdf5_files import H5_ERRORS, SIGNATURE
from batlab.io.links import Contents, Found, survey
from batlab.io.physical_units import positive
from batlab.schema import quantity

SUFFIXES = frozenset({".tif", ".tiff", ".cbf", ".edf", ".gfrm"})  # of images in a folder
LISTING = 0.1  # s between two looks for new files
AHEAD = 1000  # files whose stillness is watched before their turn
HEAD = 512  # bytes that tell a format
STUCK = 10  # times `settle` after which a file that is not whole, but followed by others, is given up
Part = GrowingStack | GrowingImage
Source = str | os.PathLike | Iterable[str | os.PathLike]


class GrowingSeries:
    """Frames in the order and with the numbers that `io.open` gives those of the finished series.

    Parameters
    ----------
    source
        One HDF5 file, an Eiger's master file, a folder of images, a glob, or a list of files that will come.
    settle
        For how many seconds a file or chunk must stay the same where nothing else tells that it is finished.
    path, mask_bits, allow_links, wavelength
        As for `io.open`.
    """

    def __init__(
        self,
        source: Source,
        *,
        settle: float,
        path: str | None = None,
        mask_bits: int = MASK_BITS,
        allow_links: Any = (),
        wavelength: float | None = None,
    ) -> None:
        self.source = source
        self.still = Stillness(settle)
        self.path = None if path is None else "/" + path.strip("/")
        self.mask_bits, self.allow_links = mask_bits, allow_links
        self.wavelength = None if wavelength is None else positive("wavelength", wavelength)
        self.parts: list[Part] = []
        self.facts: Facts | None = None
        self.shape: tuple[Any, ...] | None = None
        self.total: int | None = None  # frames that the master states
        self.number = 0  # of the next frame
        self.lost: list[int] = []
        self.reasons: list[str] = []
        self.reason = f"{self} is not there"
        self._known: dict[tuple[Path, str], Part] = {}
        self._master: Path | None = None
        self._master_look: Any = None
        self._part, self._row = 0, 0
        self._listed = -math.inf
        self._last: Path | None = None  # the file that the newest frame came from
        self._stuck = Stillness(STUCK * settle)

    def __str__(self) -> str:
        one = isinstance(self.source, (str, os.PathLike))
        return os.fspath(self.source) if one else ", ".join(map(os.fspath, self.source))  # type: ignore[arg-type]

    @property
    def is_over(self) -> bool:
        """Whether all frames have been read that the writer announced, or the writer has closed its only file."""
        if self.total is not None:
            return self.number >= self.total
        only = self.parts[0] if len(self.parts) == 1 and self._master is None else None
        return only is not None and only.is_finished and 0 < only.n <= self._row

    def next(self, most: int, *, at_end: bool = False) -> xr.Dataset | None:
        """Return the next whole frames, at most so many; None where there are none yet.

        `at_end`: nothing more is expected, so that frames that are not whole are given up (`lost`).

        Raises
        ------
        ReadError
            The files hold something else than frames of one kind, or lead outside their folder.
        """
        while True:
            if self._part >= len(self.parts):
                self._discover()
            if self._part >= len(self.parts):
                return None
            part = self.parts[self._part]
            part.look(self._row, at_end=at_end)
            if part.firm > self._row:
                pixels = part.read(self._row, most)
                if len(pixels):
                    return self._deliver(part, pixels)
            if not self._advance(part, at_end):
                self.reason = part.reason
                return None

    def _advance(self, part: Part, at_end: bool) -> bool:
        """Go to the next file, or past a frame that is lost; False where there is nothing but to wait."""
        self._discover()
        if self._part < len(self.parts) and self.parts[self._part] is not part:
            return True  # a file has come that stands before
        followed = any(self._has_begun(later) for later in self.parts[self._part + 1 :])
        if part.is_closed and self._row >= part.n > 0:
            if not followed or not (at_end or self._is_next(part, self.parts[self._part + 1])):
                return False
            self._part, self._row = self._part + 1, 0
            return True
        if not (at_end or (followed and (part.is_closed or self._is_stuck(part)))):
            return False
        return (bool(part.n) or followed) and self._give_up(part)

    def _give_up(self, part: Part) -> bool:
        """Go past the frames that are not whole, to the next one that is."""
        n = part.n or max((known.n for known in self.parts[: self._part]), default=1)
        reason = part.reason
        later = part.next_whole(self._row) if part.n else n
        if later > self._row:
            self.lost += range(self.number, self.number + later - self._row)
            self.reasons.append(reason)
        self.number += later - self._row
        self._row = later
        if later >= n:
            self._part, self._row = self._part + 1, 0
        return self._part < len(self.parts)

    def _is_next(self, part: Part, other: Part) -> bool:
        """Whether no file is missing between two, as far as their numbers tell; a gap is waited for a while."""
        if self._master is not None:
            return self._has_begun(other) or self._is_stuck(other)
        numbers = [re.findall(r"\d+", one.path.stem)[-1:] for one in (part, other)]
        if not all(numbers) or int(numbers[1][0]) - int(numbers[0][0]) <= 1:
            return True
        return self.still.holds(("gap", other.path), True)

    def _is_stuck(self, part: Part) -> bool:
        look = part.path.stat().st_size if part.path.exists() else None
        return self._stuck.holds(part.path, (look, self._row))

    def _has_begun(self, part: Part) -> bool:
        if isinstance(part, GrowingStack):
            return hdf5_state(part.path, self.still) != ABSENT
        return part.path.exists()

    def _deliver(self, part: Part, pixels: np.ndarray) -> xr.Dataset:
        kind = (pixels.shape[1:], pixels.dtype)
        if self.facts is None:
            self.facts = self._facts(part, pixels)
            self.shape = kind
        if self.shape is not None and kind != self.shape:
            raise ReadError(
                f"{part.path.name}: frames of {kind[0]} {kind[1]}, the series began with {self.shape[0]} "
                f"{self.shape[1]}; follow them apart"
            )
        numbers = np.arange(self.number, self.number + len(pixels))
        result = frames_dataset(pixels, numbers, replace(self.facts, overflow=()), lost=[])
        result.attrs["overflow"] = [int(value) for value in self.facts.overflow]
        if isinstance(part, GrowingImage):
            result = _with_header(result, part.path)
        self._row += len(pixels)
        self.number += len(pixels)
        self._last = part.path
        return result.assign_attrs(source=str(self))

    def _facts(self, part: Part, pixels: np.ndarray) -> Facts:
        """Return what the file says of the detector, and which marks its first frame lets one believe."""
        if isinstance(part, GrowingImage):
            attrs = {key: value for key, value in images.header_facts(part.path).items() if key != "exposure"}
            facts = Facts(attrs=attrs, overflow=overflow_values(pixels.dtype, None))
        else:
            where = self._master or part.path
            contents = survey(where, self._folders(where))
            name = part.inner if self._master is None else self._master_name(contents, part)
            frames = Found(name, str(part.path), part.inner, (part.n, *pixels.shape[1:]), pixels.dtype)
            facts = facts_of(contents, frames, self.mask_bits)
            # A monitor still grows, and without a period only a single frame's time is known.
            facts = replace(facts, monitor=None, start=facts.start if facts.period is not None else None)
            self.total = _announced(contents, name) if self.total is None else self.total
        if self.wavelength is not None:
            facts.attrs["wavelength"] = self.wavelength
        first = frames_dataset(pixels[:1], np.zeros(1, np.int64), facts, lost=[])
        return replace(facts, overflow=tuple(first.attrs["overflow"]))

    def _master_name(self, contents: Contents, part: GrowingStack) -> str:
        names = [found.name for found in contents.arrays.values() if Path(found.file) == part.path]
        return names[0] if names else part.inner

    def _folders(self, where: Path) -> Folders:
        return Folders.of(where, self.allow_links)

    def _discover(self) -> None:
        """Add the files that have come since; a folder of many is not listed for every frame."""
        now = time.monotonic()
        if self._part + 1 < len(self.parts) and now - self._listed < LISTING:
            return
        self._listed = now
        if self._master is not None:
            self._read_master(self._master)
            return
        seen = {file for file, _ in self._known}
        for file in self._files():
            if file in seen:
                continue
            if self._last is not None and _natural(file) < _natural(self._last):
                raise ReadError(
                    f"{file.name}: came after {self._last.name} had been read, which follows it; wait longer for "
                    f"files that come out of order, with settle= above {self.still.settle:g} s"
                )
            if not self._add(file):
                return
        if self._master is None:
            self.parts = [self._known[key] for key in sorted(self._known, key=lambda key: _natural(key[0]))]
        # Their stillness counts from when they are first seen, not from when their turn comes.
        for part in self.parts[self._part : self._part + AHEAD]:
            part.notice()

    def _files(self) -> list[Path]:
        if not isinstance(self.source, (str, os.PathLike)):
            return sorted(map(Path, self.source), key=_natural)
        one = Path(self.source).expanduser()
        if one.is_dir():
            found = [file for file in one.iterdir() if file.suffix.lower() in SUFFIXES and file.name[0] != "."]
            return sorted(found, key=_natural)
        if any(sign in str(one) for sign in "*?[") and not one.exists():
            return sorted(map(Path, glob.glob(str(one), recursive=True)), key=_natural)
        return [one] if one.exists() else []

    def _add(self, file: Path) -> bool:
        """Take a file in; False where it does not say yet what it is."""
        if any(isinstance(part, GrowingImage) for part in self.parts):
            self._known[file, ""] = GrowingImage(file, self.still)
            return True
        try:
            with file.open("rb") as opened_file:
                head = opened_file.read(HEAD)
        except OSError:
            head = b""
        if images.recognise(file, head):
            self._known[file, ""] = GrowingImage(file, self.still)
            return True
        if len(head) == HEAD and not head.startswith(SIGNATURE):
            raise ReadError(f"{file.name}: is neither HDF5 nor an image (it starts with {head[:8]!r})")
        state = hdf5_state(file, self.still)
        if state in (ABSENT, BUSY):
            self.reason = f"{file.name} is {TOLD[state]}"
            return False
        return self._add_hdf5(file, state)

    def _add_hdf5(self, file: Path, state: str) -> bool:
        try:
            contents = survey(file, self._folders(file))
            groups = [self.path] if self.path else detector.eiger_groups(contents)
            if groups and groups[0] in contents.groups and _links(file, state, groups[0]):
                return self._begin_master(file)
            found, _gaps = detector.choose_frames(contents, self.path)
        except UnsafePathError:
            raise
        except (ReadError, *H5_ERRORS) as error:
            if "several arrays" in str(error):
                raise
            self.reason = str(error)
            return False
        for one in found:
            self._known[file, one.name] = GrowingStack(Path(one.file), one.inner, self.still)
        return True

    def _begin_master(self, file: Path) -> bool:
        if self._known or len(self._files()) > 1:
            raise ReadError(f"{file.name}: is the master of data files; follow it alone, or the data files without it")
        self._master = file
        self._read_master(file)
        return bool(self.parts)

    def _read_master(self, file: Path) -> None:
        """Read the links of a master anew where it has changed."""
        state = hdf5_state(file, self.still)
        if state in (ABSENT, BUSY):
            return
        status = file.stat()
        look = (status.st_size, status.st_mtime_ns)
        if self._master_look == look:
            return
        folders = self._folders(file)
        try:
            contents = survey(file, folders)
            group = self.path or detector.eiger_groups(contents)[0]
            links = _links(file, state, group)
            self.total = _announced(contents, group)
        except H5_ERRORS as error:
            self.reason = f"{file.name}: {error}"
            return
        for name, (where, inner) in links.items():
            target = folders.locate(where, file, f"the external link {name}") if where else file
            self._known.setdefault((target, inner), GrowingStack(target, inner, self.still))
        self.parts = list(self._known.values())
        self._master_look = look


def _links(file: Path, state: str, group: str) -> dict[str, tuple[str, str]]:
    """Return the file and path that each ``data_…`` of a group links to, in order; empty where none leads outside."""
    with opened(file, state) as opened_file:
        here = opened_file[group]
        names = sorted((name for name in here if detector.EIGER.match(name)), key=lambda name: int(name.split("_")[1]))
        links = {name: here.get(name, getlink=True) for name in names}
    if not any(isinstance(link, h5py.ExternalLink) for link in links.values()):
        return {}
    return {
        name: (link.filename, link.path) if isinstance(link, h5py.ExternalLink) else ("", f"{group}/{name}")
        for name, link in links.items()
    }


def _announced(contents: Contents, name: str) -> int | None:
    """Return the number of images that the detector was told to take; None where the file does not say."""
    entry = "/" + name.strip("/").split("/")[0]
    numbers = [contents.value(f"{entry}/instrument/detector/detectorSpecific/{key}") for key in ("nimages", "ntrigger")]
    return int(numbers[0]) * int(numbers[1] or 1) if isinstance(numbers[0], int) and numbers[0] > 0 else None


def _with_header(frames: xr.Dataset, file: Path) -> xr.Dataset:
    """Add file and, where its header says so, exposure."""
    n = frames.sizes["frame"]
    frames = frames.assign_coords(file=quantity("frame", np.full(n, file.name), "", "file"))
    exposure = images.header_facts(file).get("exposure")
    if exposure is None:
        return frames
    return frames.assign_coords(exposure=quantity("frame", np.full(n, exposure), "s", "exposure time"))
