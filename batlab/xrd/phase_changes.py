"""Does a lattice breathe, or does one phase turn into another?"""

from __future__ import annotations

from itertools import pairwise, permutations
from typing import NamedTuple

import numpy as np
import xarray as xr

from batlab.curves.change_points import change_points
from batlab.schema import quantity, record, require
from batlab.xrd.tracks import Track, tracks_of

Z_LEAST = 3.0  # sigma that a change over a stretch must have
PRESENT = 0.02  # of its largest amount: less of a phase is none
KEPT = ("source", "source_sha256", "history", "phase", "dose_statement")  # attributes that hold for events too


class Stretch(NamedTuple):
    """The frames between two change points, and what happens there."""

    kind: str
    what: str
    change: float
    confidence: float
    start: tuple[float, float, float]  # place, low, high
    end: tuple[float, float, float]


def phase_changes(
    data: xr.Dataset, *, min_strain: float = 2e-4, min_amount: float = 0.05, false_alarm: float = 0.05
) -> xr.Dataset:
    """Find where a phase changes continuously and where two phases coexist and exchange.

    The mean strain of each phase and, from a peak table, its relative amount (mean of its peak areas, each over its
    largest) are cut into straight stretches by ``curves.change_points``. A stretch is ``"two_phase"`` where one
    phase grows while another shrinks and both are there, ``"solid_solution"`` where a lattice moves and no phases
    exchange; other stretches are no events. Neighbouring stretches of one kind, phase and direction are one event.
    From cells alone coexistence cannot be seen: every lasting change then is a ``"solid_solution"``, a sudden one
    a ``"jump"``.

    Parameters
    ----------
    data
        Peaks from ``curves.fit_peaks`` with ``phase``, or cells from ``xrd.refine_cell``.
    min_strain
        Smallest relative change of d over an event.
    min_amount
        Smallest change of amount over a two-phase event, as a fraction of the phase's largest.
    false_alarm
        See ``curves.change_points``.

    Returns
    -------
    xarray.Dataset
        Over ``event``: ``onset`` and ``end`` [frame] with confidence limits ``_low`` and ``_high`` (equal to the
        value at the ends of the series), ``kind``, ``what`` (the phase, ``"A -> B"`` for two), ``change`` (of the
        mean strain; of the growing phase's amount for two phases), ``confidence`` (0 to 1).

    Raises
    ------
    DimensionError, SchemaError
        Neither peaks nor cells over ``frame``.
    ValueError
        A threshold that is not above 0, or no frame.

    Examples
    --------
    >>> import batlab as bl
    >>> bl.xrd.phase_changes(peaks).kind.values  # doctest: +SKIP
    array(['solid_solution', 'two_phase'], dtype='<U14')
    """
    require(data, "xrd.phase_changes", "frame", hint="pass peaks or cells of a series")
    if not (min_strain > 0 and min_amount > 0):
        raise ValueError(f"min_strain and min_amount must be above 0, got {min_strain!r} and {min_amount!r}")
    n_frames = data.sizes["frame"]
    if not n_frames:
        raise ValueError("xrd.phase_changes needs at least one frame, got none")
    tracks = tracks_of(data)
    frames = np.asarray(data["frame"].values if "frame" in data.coords else np.arange(n_frames), dtype=float)
    points = change_points(_series(tracks, frames), false_alarm=false_alarm)
    edges = _edges(points, frames)
    found = [_classify(tracks, frames, first, last, min_strain, min_amount) for first, last in pairwise(edges)]
    found += _jumps(tracks, points, frames, min_strain) if tracks[0].amount is None else []
    events = _joined([stretch for stretch in found if stretch.kind])
    attrs = {key: value for key, value in data.attrs.items() if key in KEPT}
    return record(
        _table(events, attrs),
        "xrd.phase_changes",
        data=data,
        min_strain=min_strain,
        min_amount=min_amount,
        false_alarm=false_alarm,
    )


def _series(tracks: list[Track], frames: np.ndarray) -> xr.Dataset:
    data = {}
    for number, track in enumerate(tracks):
        data[f"strain_{number}"] = quantity("frame", track.strain, "1", "strain")
        data[f"strain_{number}_sigma"] = quantity("frame", track.strain_sigma, "1", "1 sigma of the strain")
        if track.amount is not None and track.amount_sigma is not None:
            data[f"amount_{number}"] = quantity("frame", track.amount, "1", "amount")
            data[f"amount_{number}_sigma"] = quantity("frame", track.amount_sigma, "1", "1 sigma of the amount")
    return xr.Dataset(data, {"frame": quantity("frame", frames, "1", "frame")})


def _edges(points: xr.Dataset, frames: np.ndarray) -> list[tuple[float, float, float]]:
    """Return first frame, change points and last frame; points whose limits overlap are one, the best placed."""
    places = sorted(zip(*(points[name].values.tolist() for name in ("onset", "onset_low", "onset_high"))))
    groups: list[list[tuple[float, float, float]]] = []
    for place in places:
        if groups and place[1] <= max(other[2] for other in groups[-1]):
            groups[-1].append(place)
        else:
            groups.append([place])
    inner = [min(group, key=lambda place: place[2] - place[1]) for group in groups]
    return [(frames[0],) * 3, *inner, (frames[-1],) * 3]


def _classify(
    tracks: list[Track],
    frames: np.ndarray,
    first: tuple[float, float, float],
    last: tuple[float, float, float],
    min_strain: float,
    min_amount: float,
) -> Stretch:
    inside = (frames >= first[0]) & (frames <= last[0])
    moved = [_change(frames[inside], track.strain[inside], track.strain_sigma[inside]) for track in tracks]
    grown = [
        (0.0, 0.0, 0.0)
        if track.amount is None or track.amount_sigma is None
        else _change(frames[inside], track.amount[inside], track.amount_sigma[inside])
        for track in tracks
    ]
    best: tuple[float, float, str] | None = None
    for one, other in permutations(range(len(tracks)), 2):
        z = min(grown[one][1], grown[other][1])
        exchange = grown[one][0] > min_amount and grown[other][0] < -min_amount and z > Z_LEAST
        together = _present(tracks[one], inside) and _present(tracks[other], inside)
        if exchange and together and (best is None or z > best[1]):
            best = grown[one][0], z, f"{tracks[other].phase} -> {tracks[one].phase}"
    if best is not None:
        return Stretch("two_phase", best[2], best[0], _confidence(best[1]), first, last)
    moving = [place for place, change in enumerate(moved) if abs(change[0]) > min_strain and change[1] > Z_LEAST]
    if not moving:
        return Stretch("", "", 0.0, 0.0, first, last)
    most = max(moving, key=lambda place: moved[place][1])
    change, z, _ = moved[most]
    return Stretch("solid_solution", tracks[most].phase, change, _confidence(z), first, last)


def _change(frames: np.ndarray, values: np.ndarray, sigma: np.ndarray) -> tuple[float, float, float]:
    """Return the change of a straight line over the frames, how many σ that is, and the σ."""
    known = np.isfinite(values) & np.isfinite(sigma) & (sigma > 0)
    if known.sum() < 3:
        return 0.0, 0.0, 0.0
    x, y, weight = frames[known], values[known], sigma[known] ** -2.0
    away = x - np.average(x, weights=weight)
    spread = (weight * away**2).sum()
    slope = (weight * away * y).sum() / spread
    rest = y - np.average(y, weights=weight) - slope * away
    scale = np.sqrt(max(1.0, (weight * rest**2).sum() / max(known.sum() - 2, 1)))
    length = frames[-1] - frames[0]
    error = scale / np.sqrt(spread) * length
    return float(slope * length), float(abs(slope * length) / error), float(error)


def _present(track: Track, inside: np.ndarray) -> bool:
    return track.amount is not None and bool(np.nanmax(track.amount[inside], initial=0.0) > PRESENT)


def _confidence(z: float) -> float:
    from scipy.special import erf

    return float(erf(z / np.sqrt(2)))


def _jumps(tracks: list[Track], points: xr.Dataset, frames: np.ndarray, min_strain: float) -> list[Stretch]:
    """Return the steps of a cell between two frames."""
    found = []
    for event in range(points.sizes["event"]):
        one = points.isel(event=event)
        if str(one["kind"].item()) != "step":
            continue
        place = float(one["onset"]), float(one["onset_low"]), float(one["onset_high"])
        strain = tracks[0].strain[np.isfinite(tracks[0].strain)]
        known = frames[np.isfinite(tracks[0].strain)]
        before, after = strain[known < place[0]][-3:], strain[known > place[0]][:3]
        if before.size and after.size and abs(change := float(np.median(after) - np.median(before))) > min_strain:
            found.append(Stretch("jump", tracks[0].phase, change, float(one["confidence"]), place, place))
    return found


def _joined(found: list[Stretch]) -> list[Stretch]:
    joined: list[Stretch] = []
    for stretch in sorted(found, key=lambda one: one.start[0]):
        last = joined[-1] if joined else None
        same = last is not None and (last.kind, last.what, last.end) == (stretch.kind, stretch.what, stretch.start)
        if last is not None and same and last.change * stretch.change > 0:
            sure = max(last.confidence, stretch.confidence)
            joined[-1] = last._replace(change=last.change + stretch.change, confidence=sure, end=stretch.end)
        else:
            joined.append(stretch)
    return joined


def _table(events: list[Stretch], attrs: dict) -> xr.Dataset:
    def numbers(values: list[float], told: str) -> xr.Variable:
        return quantity("event", np.array(values, dtype=float), "1", told)

    def words(values: list[str], told: str) -> xr.Variable:
        return quantity("event", np.array(values, dtype=str if values else "<U1"), "1", told)

    data = {}
    for name, part in (("onset", "start"), ("end", "end")):
        for place, (suffix, told) in enumerate((("", ""), ("_low", "lower limit of "), ("_high", "upper limit of "))):
            data[name + suffix] = numbers([getattr(one, part)[place] for one in events], f"{told}the {name}, in frames")
    data["what"] = words([one.what for one in events], "phase")
    data["kind"] = words([one.kind for one in events], "kind of change")
    data["change"] = numbers([one.change for one in events], "change of strain, or of amount for two phases")
    data["confidence"] = numbers([one.confidence for one in events], "probability that this is no noise")
    return xr.Dataset(data, {"event": quantity("event", np.arange(len(events)), "1", "event")}, attrs)
