"""A whole operando diffraction experiment on a virtual cell, written as a beamline writes it."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from batlab import io, threads
from batlab.constants import HC
from batlab.schema import record
from batlab.simulate.cell import DURATION, phases, state
from batlab.simulate.cycler import write_bdf
from batlab.simulate.detector import Detector, blemishes, place
from batlab.simulate.eiger import write_data, write_master, write_poni
from batlab.simulate.exposure import POLARIZATION, Scene, scene
from batlab.simulate.structures import STRUCTURES, write_cif
from batlab.simulate.truth import planted

NAME = "operando"
WAVELENGTH = HC / 60_000  # angstrom: 60 keV
START = 1709629200.0  # 2024-03-05 09:00:00 UTC, a plausible shift
UNFINISHED = ".batlab-unfinished"


@dataclass(frozen=True)
class Experiment:
    """Where everything lies: master file, calibration, cycler's record, planted truth, and one CIF a phase."""

    folder: Path
    master: Path
    poni: Path
    cycler: Path
    truth: Path
    structures: dict[str, Path]


def operando_cell(
    folder: str | Path,
    *,
    n_frames: int = 200,
    detector: str | tuple[int, int] = "eiger1m",
    seed: int = 0,
    plating: bool = False,
    clock_offset: float = 0.0,
    overwrite: bool = False,
    progress: bool = True,
) -> Experiment:
    """Simulate charge, discharge and half a charge of an NMC811/graphite pouch cell in a 60 keV beam; write the files.

    The forward model shares no geometry, binning or peak code with the analysis. Each frame is the sum of the phases'
    powder patterns (NMC811 whose c axis collapses, graphite, LiC12, LiC6, aluminium, copper, lithium metal if it
    plates), air and electrolyte, looked up at each pixel's centre, times solid angle and polarisation, with Poisson
    noise. Aluminium and copper are plain powders here, without a foil's texture.

    Parameters
    ----------
    folder
        New or empty. ``operando_master.h5`` with its data files, ``operando.poni``, ``operando.bdf.csv``,
        ``structures/*.cif`` and ``truth/truth.nc`` are written into it.
    n_frames
        Exposures, evenly spaced over the 5.7 hours of the test, at most 30 s each.
    detector
        ``"eiger1m"`` (1062 x 1028), ``"eiger4m"`` (2162 x 2068), ``"small"`` (128 x 1028, the full radial range) or
        (rows, columns). All see about q = 1.1 to 5 1/angstrom; the width of the lines is two pixels.
    seed
        Same seed, same counts, whatever the number of threads.
    plating
        Whether lithium plates late in charge; 30 % of it stays as dead lithium.
    clock_offset
        Seconds by which the cycler's clock is ahead of the detector's, which is right.
    overwrite
        Replace an experiment that this function wrote. Anything else in `folder` is never touched.
    progress
        Show a bar on stderr.

    Returns
    -------
    Experiment
        The paths.

    Raises
    ------
    FileExistsError
        `folder` holds something else, or an experiment and `overwrite` is False.
    ValueError
        An argument is out of range.

    Examples
    --------
    >>> import tempfile
    >>> made = operando_cell(tempfile.mkdtemp(), n_frames=2, detector=(32, 64), progress=False)
    >>> made.master.name, sorted(made.structures)[:2]
    ('operando_master.h5', ['Al', 'Cu'])
    """
    if isinstance(n_frames, bool) or int(n_frames) != n_frames or n_frames < 1:
        raise ValueError(f"n_frames must be a whole number of at least 1, got {n_frames!r}")
    placed = place(detector)
    target = Path(folder)
    _make_room(target, overwrite)
    scratch = target / UNFINISHED
    scratch.mkdir(parents=True)
    told = {"n_frames": n_frames, "detector": detector, "seed": seed, "plating": plating, "clock_offset": clock_offset}
    try:
        _write_all(scratch, placed, told, progress)
        for part in sorted(scratch.iterdir()):
            part.rename(target / part.name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    structures = {path.stem.split("_")[0]: path for path in sorted((target / "structures").iterdir())}
    return Experiment(
        target,
        target / f"{NAME}_master.h5",
        target / f"{NAME}.poni",
        target / f"{NAME}.bdf.csv",
        target / "truth" / "truth.nc",
        structures,
    )


def _make_room(folder: Path, overwrite: bool) -> None:
    """Leave `folder` free of an earlier experiment, or refuse."""
    if not folder.exists():
        return
    shutil.rmtree(folder / UNFINISHED, ignore_errors=True)
    held = sorted(path.name for path in folder.iterdir())
    own = [name for name in held if name.startswith(f"{NAME}_") or name.startswith(f"{NAME}.")]
    own += [name for name in ("structures", "truth") if name in held and own]
    if set(held) - set(own) and not (own and overwrite):
        raise FileExistsError(f"{folder} is not empty (it holds {held[0]!r}); name a new or an empty folder")
    if own and not overwrite:
        raise FileExistsError(f"{folder} holds an experiment already; pass overwrite=True to replace it")
    for name in own:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _write_all(folder: Path, detector: Detector, told: dict[str, Any], progress: bool) -> None:
    n_frames, plating, clock_offset = told["n_frames"], told["plating"], float(told["clock_offset"])
    seeds = np.random.SeedSequence(told["seed"]).spawn(3)
    period = np.floor(1000 * DURATION / n_frames) / 1000
    exposure = float(min(30.0, 0.9 * period))
    middles = np.arange(n_frames) * period + exposure / 2
    mask = blemishes(detector, np.random.default_rng(seeds[0]))
    crystals = phases(state(middles, plating=plating), plating=plating)
    stage = scene(detector, crystals, mask, wavelength=WAVELENGTH)
    data = write_data(folder, NAME, _frames(stage, seeds[1], progress), detector, n_frames)
    timing = (n_frames, exposure, float(period))
    common = {"wavelength": WAVELENGTH, "start": START}
    write_master(folder / f"{NAME}_master.h5", data, detector, mask=mask, timing=timing, **common)
    write_poni(folder / f"{NAME}.poni", detector, **common)
    noise = np.random.default_rng(seeds[2])
    write_bdf(folder / f"{NAME}.bdf.csv", start=START + clock_offset, plating=plating, generator=noise)
    (folder / "structures").mkdir()
    for structure in STRUCTURES.values():
        write_cif(structure, folder / "structures")
    (folder / "truth").mkdir()
    truth = planted(middles, start=START, exposure=exposure, plating=plating)
    truth = truth.assign_attrs(wavelength=WAVELENGTH, polarization=POLARIZATION, clock_offset=clock_offset)
    io.save(record(truth, "simulate.operando_cell", **told), folder / "truth" / "truth.nc")


def _frames(stage: Scene, seed: np.random.SeedSequence, progress: bool) -> Iterator[np.ndarray]:
    """Yield the frames in order; some are computed ahead, each from its own seed."""
    from tqdm.auto import tqdm

    seeds = seed.spawn(len(stage.phases.fraction))
    n_workers = threads.effective()
    waiting: deque = deque()
    with (
        ThreadPoolExecutor(n_workers) as pool,
        tqdm(total=len(seeds), unit=" frames", mininterval=0.5, disable=not progress) as bar,
    ):
        try:
            for index, one in enumerate(seeds):
                waiting.append(pool.submit(stage.expose, index, one))
                if len(waiting) > n_workers:
                    yield waiting.popleft().result()
                    bar.update()
            while waiting:
                yield waiting.popleft().result()
                bar.update()
        finally:
            for ahead in waiting:
                ahead.cancel()
