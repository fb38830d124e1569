"""Plans on disk, so that a second process or session need not build them again.

They lie in ``plans`` below the folder that the environment variable ``BATLAB_CACHE`` names, else below the user's
cache folder (``~/.cache/batlab``, `XDG_CACHE_HOME`, or the platform's own); ``BATLAB_CACHE=off`` keeps none. A plan is
a folder named by its content hash: one ``.npy`` an array, read without copying, and checksums. At most 2 GB are kept.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from batlab.scattering.bins import BLOCK, FULLEST, PixelBins, PixelRuns
from batlab.scattering.plan import VERSION, Plan

VARIABLE = "BATLAB_CACHE"
SMALLEST = 2**18  # pixels; smaller plans are built faster than they are found
LIMIT = 2 * 10**9  # bytes
STALE = 3600.0  # seconds after which a half-written plan was left by a process that died
KINDS = {"PixelBins": PixelBins, "PixelRuns": PixelRuns}
LOG = logging.getLogger("batlab")


def folder() -> Path | None:
    """Return where plans are kept, or None where that is switched off."""
    stated = os.environ.get(VARIABLE)
    if stated is not None:
        return None if stated.lower() in ("", "off", "0", "no") else Path(stated) / "plans"
    import pooch

    return Path(pooch.os_cache("batlab")) / "plans"


def cached_plan(digest: str, n_pixels: int, build: Callable[[], Plan]) -> Plan:
    """Return the plan called `digest`, from disk where it is there and whole, else built and kept.

    A plan that is damaged is built again, and one that cannot be written is not kept; the log says so.
    """
    place = folder()
    if place is None or n_pixels < SMALLEST:
        return build()
    found = read(place / digest)
    if found is not None:
        return found
    plan = build()
    write(plan, place / digest)
    return plan


def read(path: Path) -> Plan | None:
    """Return the plan in a folder, or None where there is none or a damaged one."""
    if not path.is_dir():
        return None
    try:
        told = json.loads((path / "plan.json").read_text(encoding="utf-8"))
        if told["version"] != VERSION:
            raise ValueError(f"version {told['version']}, expected {VERSION}")
        arrays = {name: _load(path / f"{name}.npy", checksum) for name, checksum in told["arrays"].items()}
        own = {name.removeprefix("index_"): arrays.pop(name) for name in list(arrays) if name.startswith("index_")}
        whole: dict[str, Any] = {"azimuth": None, "inflation": None, **arrays}
        whole |= {"n_bins": int(told["n_bins"]), "index": KINDS[told["index"]](**own), "doubt": str(told["doubt"])}
        plan = Plan(**whole)
        check(plan)
        os.utime(path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError) as error:
        LOG.warning("the cached plan %s is damaged and is built again: %s", path, error)
        return None
    LOG.info("the plan was read from %s", path)
    return plan


def write(plan: Plan, path: Path) -> None:
    """Keep a plan: written beside its place and moved there at once, so that nobody sees half of it."""
    draft = path.parent / f".draft-{uuid4().hex}"
    try:
        draft.mkdir(parents=True)
        told: dict[str, Any] = {"version": VERSION, "n_bins": plan.n_bins, "index": type(plan.index).__name__}
        told |= {"doubt": plan.doubt, "arrays": {}}
        for name, array in _arrays(plan).items():
            np.save(draft / f"{name}.npy", array, allow_pickle=False)
            told["arrays"][name] = _checksum(array)
        (draft / "plan.json").write_text(json.dumps(told), encoding="utf-8")
        if path.exists():
            path.rename(draft.with_suffix(".old"))
            shutil.rmtree(draft.with_suffix(".old"), ignore_errors=True)
        draft.rename(path)
        prune(path.parent, keep=path)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        if not path.is_dir():
            LOG.warning("the plan is not kept in %s: %s", path.parent, error)


def prune(place: Path, *, keep: Path | None = None, limit: int | None = None) -> None:
    """Remove the plans that were used longest ago until the rest is within `limit` bytes (2 GB)."""
    limit = LIMIT if limit is None else limit
    entries = []
    for path in place.iterdir():
        try:
            used = path.stat().st_mtime
            if path.name.startswith(".draft-") and time.time() - used > STALE:
                shutil.rmtree(path, ignore_errors=True)
            elif len(path.name) == 64 and (path / "plan.json").is_file():
                entries.append((used, sum(file.stat().st_size for file in path.iterdir()), path))
        except OSError:
            continue  # another process was faster
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= limit:
            break
        if path != keep:
            shutil.rmtree(path, ignore_errors=True)
            total -= size


def check(plan: Plan) -> None:
    """Refuse a plan whose numbers point outside its arrays: kernels follow them without looking.

    Raises
    ------
    ValueError
        With what is wrong.
    """
    n_pixels, index, n_bins = plan.weights.shape[1], plan.index, plan.n_bins
    rows = len(plan.radial) * (1 if plan.azimuth is None else len(plan.azimuth))
    good = rows == n_bins and plan.totals.shape == (len(plan.weights), n_bins) and plan.n_pixels.shape == (n_bins,)
    good = good and plan.weights.dtype == np.float32 and plan.powers.shape == (len(plan.weights),)
    if good and isinstance(index, PixelBins):
        owner = index.owner.astype(np.int64)
        good = index.bins.shape == (n_pixels,) and int(index.bins.max(initial=0)) <= len(owner)
        good = good and bool(owner.min(initial=0) >= 0 and owner.max(initial=0) < n_bins)
        good = good and bool((np.diff(owner) >= 0).all())
        # A kernel's word would overflow.
        good = good and bool((np.bincount(index.bins)[: len(owner)] <= FULLEST).all())
    elif good and isinstance(index, PixelRuns):
        good = _are_sound(index, n_pixels, n_bins)
    if not good:
        raise ValueError("its arrays do not fit each other")


def _are_sound(index: PixelRuns, n_pixels: int, n_bins: int) -> bool:
    runs, parts = index.run_start, index.entry_start
    n_blocks = -(-n_pixels // BLOCK)
    if not (len(runs) == len(parts) == n_blocks + 1 and runs[0] == parts[0] == 0):
        return False
    if (np.diff(runs) < 0).any() or runs[-1] != len(index.first) or parts[-1] != len(index.weight):
        return False
    if not len(index.first) == len(index.pixel) == len(index.length):
        return False
    ends = np.concatenate([[0], np.cumsum(index.length, dtype=np.int64)])
    last = index.first.astype(np.int64) + index.length
    in_last = index.pixel[runs[-2] :] if n_blocks else index.pixel
    return bool(
        (ends[runs] == parts).all()
        and last.max(initial=0) <= n_bins
        and index.pixel.max(initial=0) < BLOCK
        and in_last.max(initial=0) < n_pixels - BLOCK * (n_blocks - 1)
    )


def _arrays(plan: Plan) -> dict[str, np.ndarray]:
    own = {f"index_{name}": array for name, array in vars(plan.index).items()}
    named = ("radial", "azimuth", "weights", "powers", "totals", "n_pixels", "inflation", "mean")
    return {name: getattr(plan, name) for name in named if getattr(plan, name) is not None} | own


def _load(path: Path, checksum: int) -> np.ndarray:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if _checksum(array) != checksum:
        raise ValueError(f"{path.name} has another checksum")
    return array.view(np.ndarray)


def _checksum(array: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array).view(np.uint8).reshape(-1).data)
