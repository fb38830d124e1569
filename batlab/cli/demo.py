"""The whole path at one go: a simulated cell with known truth, then the LiCoVO4 data where they are at hand."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from rich import box
from rich.markup import escape
from rich.table import Table

import batlab as bl
from batlab.cli.messages import console
from batlab.errors import DatasetUnavailableError

N_BINS = 2000
# Lithium metal is left out: the simulated cell does not plate.
PHASES = ("NMC811", "graphite", "LiC12", "LiC6", "Al", "Cu")
PRESENT = 0.3  # share of its electrode from which a phase is compared with its planted cell
SECONDS_PER_PATTERN = 1140.0  # LiCoVO4, stated by its authors
# The file gives no unit: 39 over 15 h is 0.6 mAh in µA, a laboratory cell. It charges at 39 and discharges at 19.
LICOVO4_RECORD = {"current_unit": "uA", "current_sign": {39: 1, 19: -1}}


def run(folder: Path, *, n_frames: int = 200, detector: str = "eiger1m", seed: int = 0) -> None:
    """Write both experiments below `folder` and print what was planted beside what was found."""
    folder.mkdir(parents=True, exist_ok=True)
    begun = time.perf_counter()
    console.rule(f"A virtual cell, {n_frames} frames")
    console.print(simulated(folder / "simulated", n_frames=n_frames, detector=detector, seed=seed))
    console.rule("LiCoVO4, measured")
    try:
        data, structures = (bl.datasets.path(name, download=False) for name in ("licovo4_operando", "cif"))
    except DatasetUnavailableError:
        console.print("The data are not at hand; put them where BATLAB_DATA says to see them here.")
    else:
        console.print(measured(folder / "licovo4", data, structures))
    reports = ", ".join(str(path) for path in sorted(folder.glob("*/report.html")))
    console.print(f"Done in {time.perf_counter() - begun:.0f} s. Open {escape(reports)} in a browser.", soft_wrap=True)


def simulated(folder: Path, *, n_frames: int, detector: str, seed: int) -> Table:
    """Simulate, reduce, track, align and report one experiment; return planted beside found cells."""
    folder.mkdir(exist_ok=True)
    with _step("simulate the beamline"):
        made = bl.simulate.operando_cell(
            folder / "raw", n_frames=n_frames, detector=detector, seed=seed, overwrite=True
        )
    with _step("integrate the frames"):
        patterns = bl.scattering.integrate(bl.open(made.master), made.poni, n_bins=N_BINS)
    with _step("put the cycler's record on the frames"):
        cell = bl.open(made.cycler)
        patterns = bl.align.onto_frames(patterns, cell)
    with _step("fit and follow the peaks"):
        peaks = bl.curves.fit_peaks(patterns, near={name: made.structures[name] for name in PHASES})
    with _step("refine the cells"):
        cells = {name: bl.xrd.refine_cell(peaks, made.structures[name]) for name in PHASES}
    _finish(folder, patterns, peaks, cells, cell, title="A virtual cell")
    return compared(bl.open(made.truth), cells)


def measured(folder: Path, data: Path, structures: Path) -> Table:
    """Do the same for the LiCoVO4 series; return its cell at the start, fully charged, and discharged."""
    folder.mkdir(exist_ok=True)
    phase, foil = (next(structures.glob(f"{name}_*.cif")) for name in ("LiCoVO4", "Al"))
    with _step("read patterns and record"):
        patterns = bl.open(sorted(path for path in data.glob("*.txt") if path.stem.isdigit()))
        cell = bl.open(data / "charge.txt", **LICOVO4_RECORD)
        patterns = bl.align.onto_frames(patterns, cell, start=0.0, interval=SECONDS_PER_PATTERN)
    with _step("fit and follow the peaks"):
        peaks = bl.curves.fit_peaks(patterns, near=[phase, foil])
    with _step("refine the cells"):
        # Near full charge (400) lies on a line that never moves, at 44.5 degrees: its cell stands beside that of all.
        cells = {
            "LiCoVO4": bl.xrd.refine_cell(peaks, phase),
            "LiCoVO4_400": bl.xrd.refine_cell(peaks, phase, lines=["4 0 0"]).assign_attrs(phase="LiCoVO4, (400) alone"),
            "Al": bl.xrd.refine_cell(peaks, foil),
        }
    _finish(folder, patterns, peaks, cells, cell, title="LiCoVO4 half cell, one charge and discharge")
    return extremes(cells, patterns)


def _finish(
    folder: Path, patterns: xr.Dataset, peaks: xr.Dataset, cells: dict[str, xr.Dataset], cell: xr.Dataset, *, title: str
) -> None:
    main = next(iter(cells.values()))
    with _step("find the changes"):
        events = bl.xrd.phase_changes(main)
    with _step("save results, figures and report"):
        results = {"patterns": patterns, "peaks": peaks, "events": events}
        results |= {f"cells_{name}": found for name, found in cells.items()}
        for name, result in results.items():
            bl.save(result, folder / f"{name}.nc", overwrite=True)
        bl.report.write(
            folder / "report.html", patterns, cell, peaks, events, *cells.values(), title=title, overwrite=True
        )
        _draw(folder / "map.html", bl.figures.heat_map(patterns, scale="sqrt"))
        _draw(folder / "cell_a.html", bl.figures.track(main, "a"))


def compared(truth: xr.Dataset, cells: dict[str, xr.Dataset]) -> Table:
    """Return planted and found cell parameters, at the frame where each phase is most abundant and over all frames."""
    table = Table(title="Planted and found cells; in brackets 1 σ", title_justify="left", box=box.SIMPLE, padding=0)
    for column in ("phase", "", "frame", "planted (Å)", "found (Å)", "Δ/σ", "frames", "within 3 σ"):
        table.add_column(column, justify="left" if column in ("phase", "") else "right", no_wrap=True)
    for phase, found in cells.items():
        planted = truth.sel(phase=phase)
        for name in ("a", "c") if bool((planted.a != planted.c).any()) else ("a",):
            sigma = found[f"{name}_sigma"].values
            pull = (found[name].values - planted[name].values) / np.where(sigma > 0, sigma, np.nan)
            used = np.isfinite(pull) & (planted.fraction.values >= PRESENT)
            if not used.any():
                table.add_row(phase, name, "", "", "not found", "", "0", "")
                continue
            at = int(np.argmax(np.where(used, planted.fraction.values, -1)))
            text = bl.report.with_sigma(float(found[name][at]), float(sigma[at]))
            share = float((abs(pull[used]) <= 3).mean())
            planted_text = f"{float(planted[name][at]):.5f}"
            table.add_row(
                phase, name, str(at), planted_text, text, f"{pull[at]:+.1f}", str(int(used.sum())), f"{share:.0%}"
            )
    return table


def extremes(cells: dict[str, xr.Dataset], patterns: xr.Dataset) -> Table:
    """Return the cell parameter a at the first frame, at its least, and at the last frame with the cell on."""
    title = "Cell parameter a (Å), from positions as measured; in brackets 1 σ"
    table = Table(title=title, title_justify="left", box=box.SIMPLE, padding=0)
    for column in ("phase", "lines", "pattern", "voltage (V)", "a"):
        table.add_column(column, justify="left" if column in ("phase", "lines") else "right")
    running = np.flatnonzero(np.isfinite(patterns.voltage.values))
    least = int(np.nanargmin(cells["LiCoVO4"].a.values))
    for name, found in cells.items():
        phase, _, line = name.partition("_")
        for at in (0, least, int(running[-1])):
            text = bl.report.with_sigma(float(found.a[at]), float(found.a_sigma[at]))
            table.add_row(phase, line or "all", str(at + 1), f"{float(patterns.voltage[at]):.3f}", text)
    return table


def _draw(path: Path, plot: Any) -> None:
    """Write one figure as a page of its own."""
    from bokeh.embed import file_html
    from bokeh.resources import INLINE

    path.write_text(file_html(plot, INLINE, title=path.stem), encoding="utf-8")


@contextmanager
def _step(words: str) -> Iterator[None]:
    begun = time.perf_counter()
    with console.status(words):
        yield
    console.print(f"  {words} [dim]{time.perf_counter() - begun:5.1f} s[/]")
