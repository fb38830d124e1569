"""The report of a long experiment: how large, how long to write, how long a browser without a network takes to open it.

python benchmarks/bench_report.py                           # 10,000 patterns of 2,000 points: about a minute
python benchmarks/bench_report.py --keep long.html --shots shots   # the file, and what the browser shows of it

Opened means: parsed, and every figure drawn. Aims: below 3 s and at most 15 MB.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import batlab as bl
from batlab import failure
from batlab.schema import quantity, record

MOST_SECONDS, MOST_BYTES = 3.0, 15e6
START = np.datetime64("2026-03-01T10:00:00", "ns")
STEP = 60.0  # s from one pattern to the next
DRAWN = """() => {
  const roots = document.querySelectorAll("[data-root-id]");
  if (document.readyState !== "complete" || window.Bokeh === undefined || !Bokeh.documents.length) return false;
  const drawn = new Set([...Bokeh.index.roots].map((one) => one.model.id));
  return Bokeh.documents.every((one) => one.is_idle) && [...roots].every((one) => drawn.has(one.dataset.rootId));
}"""


def experiment(n_frames: int = 10_000, n_points: int = 2_000) -> dict[str, xr.Dataset]:
    """Return patterns, spectra, cells, events and a cycler's record of one long experiment."""
    rng = np.random.default_rng(0)
    frame = np.arange(n_frames)
    seconds = STEP * frame + 1800.0 * (frame > n_frames // 2)  # a pause in the middle
    time_of = START + np.round(seconds * 1e9).astype("timedelta64[ns]")
    charge = np.abs((seconds / 36_000.0) % 2 - 1)
    coords = {
        "frame": quantity("frame", frame, "1", "frame"),
        "time": quantity("frame", time_of, "", "start of exposure (UTC)"),
        "exposure": quantity("frame", np.full(n_frames, 50.0), "s", "exposure"),
    }
    attrs = {"source": "long.h5", "source_sha256": "1" * 64}
    a = 8.27 - 0.09 * (1 - charge) - 1e-6 * frame + rng.normal(0, 4e-4, n_frames)
    cells = {"a": (a, 4e-4, "angstrom"), "c": (1.7 * a, 8e-4, "angstrom"), "volume": (1.7 * a**3, 0.2, "angstrom^3")}
    made = {"patterns": _patterns(charge, n_points, rng, coords, attrs)}
    made["cells"] = record(
        xr.Dataset(
            {name: quantity("frame", v, u, name) for name, (v, _, u) in cells.items()}
            | {f"{name}_sigma": quantity("frame", np.full(n_frames, s), u, "1 σ") for name, (_, s, u) in cells.items()},
            coords, {**attrs, "phase": "LiNiO2"},
        ),
        "xrd.refine_cell", structure="lno.cif",
    )  # fmt: skip
    made["events"] = bl.curves.change_points(made["cells"][["a", "a_sigma"]].isel(frame=slice(0, n_frames, 50)))
    made["cell"] = _record(seconds[-1], rng)
    return made


def _patterns(charge: np.ndarray, n_points: int, rng: np.random.Generator, coords: Any, attrs: Any) -> xr.Dataset:
    q = np.linspace(1.0, 6.0, n_points)
    intensity = np.full((len(charge), n_points), 50.0, dtype=np.float32)
    for place, height in zip(np.linspace(1.4, 5.8, 14), rng.uniform(200, 2000, 14), strict=True):
        middle = place * (1 + 0.01 * charge)
        intensity += (height * np.exp(-(((q - middle[:, None]) / 0.015) ** 2))).astype(np.float32)
    intensity += np.sqrt(intensity) * rng.standard_normal(intensity.shape, dtype=np.float32)
    axis = {"q": quantity("q", q, "1/angstrom", "scattering vector")}
    values = {"intensity": quantity(("frame", "q"), intensity, "count", "intensity")}
    made = xr.Dataset(values, {**coords, **axis}, attrs)
    return record(record(made, "io.open", path="long.h5"), "scattering.integrate", geometry="long.poni", split="no")


def _record(seconds: float, rng: np.random.Generator) -> xr.Dataset:
    clock = np.arange(0.0, seconds, 10.0)
    turns = clock / 36_000.0
    volts = 4.2 - 1.2 * np.abs(turns % 2 - 1) + rng.normal(0, 1e-4, len(clock))
    made = xr.Dataset(
        {
            "voltage": quantity("record", volts, "V", "voltage"),
            "current": quantity("record", 1e-3 * np.where(turns % 2 < 1, 1.0, -1.0), "A", "current"),
            "cycle": quantity("record", 1 + (turns // 2).astype(int), "1", "number of the cycle"),
        },
        {
            "record": quantity("record", np.arange(len(clock)), "1", "record"),
            "test_time": quantity("record", clock, "s", "time since the start"),
            "time": quantity("record", START + np.round(clock * 1e9).astype("timedelta64[ns]"), "", "time (UTC)"),
        },
        {"source": "long.mpr", "source_sha256": "2" * 64},
    )  # fmt: skip
    return record(made, "io.open", path="long.mpr")


def marks(series: xr.Dataset, folder: Path, n: int = 40) -> failure.Store:
    """Return a store with marks on the series, some edited."""
    store = failure.Store(folder / "long.marks.sqlite")
    rng = np.random.default_rng(1)
    last = series.sizes["frame"] - 1
    for k in range(n):
        first = int(rng.integers(0, last))
        where = float(rng.uniform(1.2, 5.0))
        mark = store.add(
            series, author="Ada" if k % 2 else "Bob", frames=(first, min(first + int(rng.integers(1, 200)), last)),
            axis_range=(where, where + 0.2), category="chemical", mechanism="second phase", confidence=0.6,
            text="a shoulder at the line of the layers",
        )  # fmt: skip
        if k % 5 == 0:
            store.edit(mark.id, author=mark.author, confidence=0.8)
    return store


def worksheet() -> failure.Worksheet:
    """Return a signed worksheet with computed and judged ratings."""
    look = failure.Evidence
    seen = [
        look("xrd", "second_layered_phase", "appears", 0.2, 0.01, "1", limit=0.03, confidence=1.0, frames=(8000, 9999)),
        look("echem", "capacity", "down", -0.12, 0.01, "1", limit=0.02, confidence=0.999, cycles=(1, 8)),
        look("echem", "inventory_loss", "up", 0.09, 0.01, "1", limit=0.02, confidence=0.99, cycles=(1, 8)),
        look("echem", "resistance", "none", 0.01, 0.02, "1", limit=0.06, cycles=(1, 8)),
    ]  # fmt: skip
    said = failure.assess(seen, materials=["layered_oxide", "graphite"])
    by_hand = {"component": "separator", "mode": "internal short", "mechanism": "dendrite", "cause": "plating",
               "severity": 7, "occurrence": 4, "detection": 5}  # fmt: skip
    made = failure.worksheet(said, title="long", author="Ada", rows=[by_hand])
    made = made.rate(made.rows[0], severity=9, reason="the cells are stacked", author="Bob")
    return made.sign(author="Ada")


def write(path: Path, made: dict[str, xr.Dataset], folder: Path) -> tuple[float, int]:
    """Write the report and return how long that took [s] and how large it is [byte]."""
    sheet = worksheet()
    with marks(made["patterns"], folder) as store:
        begin = time.perf_counter()
        bl.report.write(path, *made.values(), store=store, worksheet=sheet, title="A long experiment")
        return time.perf_counter() - begin, path.stat().st_size


def opened(path: Path, shots: Path | None = None, repeats: int = 3) -> tuple[list[float], list[str]]:
    """Return how long each opening took [s], and what the page asked a network for."""
    from playwright.sync_api import sync_playwright

    where = Path(__file__).parents[1] / "tests" / "browser" / "chromium.py"
    spec = importlib.util.spec_from_file_location("batlab_bench_chromium", where)
    chromium = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(chromium)  # type: ignore[union-attr]
    taken, asked = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.choose(), args=list(chromium.FLAGS))
        for number in range(repeats):
            context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
            page = context.new_page()
            page.on("request", lambda one: asked.append(one.url) if one.url.startswith("http") else None)
            begin = time.perf_counter()
            page.goto(path.resolve().as_uri())
            page.wait_for_function(DRAWN, timeout=60_000, polling=20)
            taken.append(time.perf_counter() - begin)
            if shots and not number:
                shots.mkdir(parents=True, exist_ok=True)
                page.screenshot(path=shots / "report.png", full_page=True)
                page.pdf(path=shots / "report.pdf", prefer_css_page_size=True, print_background=True)
            context.close()
        browser.close()
    return taken, asked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--points", type=int, default=2_000)
    parser.add_argument("--keep", type=Path, help="where to leave the report")
    parser.add_argument("--shots", type=Path, help="folder for a picture and a PDF")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.keep or Path(folder) / "long.html"
        written, size = write(path, experiment(options.frames, options.points), Path(folder))
        taken, asked = opened(path, options.shots)
    print(f"{options.frames} patterns of {options.points} points, cells, events, 40 marks, a worksheet")
    print(f"written in {written:.1f} s, {size / 1e6:.2f} MB (aim: at most {MOST_BYTES / 1e6:.0f})")
    times = ", ".join(f"{one:.2f}" for one in taken)
    print(f"opened, every figure drawn: {times} s (aim: below {MOST_SECONDS:g}); asked a network {len(asked)} times")


if __name__ == "__main__":
    main()
