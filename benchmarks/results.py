"""Run every benchmark and write benchmarks/RESULTS.md: what `make bench` does.

python benchmarks/results.py                    # about half an hour on two cores, 2.5 GB in the temporary folder
python benchmarks/results.py --only stack       # one part anew, the others as they stand
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TARGET = HERE / "RESULTS.md"
PEERS = ("batlab", "numpy", "pyFAI", "h5py", "hdf5plugin", "bitshuffle", "scipy", "lmfit", "azint", "pyarrow", "pandas")
TEXTS = {
    "decode": "bench_decode.py",
    "splitting": "bench_splitting.py",
    "rings": "bench_rings.py",
    "peaks": "bench_peaks.py",
    "xas": "bench_xas.py",
    "edge": "bench_edge.py",
    "sine": "bench_sine.py",
    "pdf": "bench_pdf.py",
    "spline": "bench_spline.py",
    "nnls": "bench_nnls.py",
    "lcf": "bench_lcf.py",
    "mcr": "bench_mcr.py",
    "rows": "bench_rows.py",
    "saxs": "bench_saxs.py",
    "comparison": "bench_comparison.py",
    "reliability": "bench_reliability.py",
    "report": "bench_report.py",
}
TITLES = {
    "azimuthal": "Binning frames in memory",
    "stack": "Compressed stacks, from file to patterns",
    "decode": "Unpacking compressed frames",
    "splitting": "Sharing pixels out over bins: building the plan [s]",
    "rings": "Outliers and scatter within rings",
    "peaks": "Peak fits",
    "xas": "Series of absorption spectra (beside larch where BATLAB_ORACLES names its Python)",
    "edge": "Edges and their step, spectrum by spectrum",
    "sine": "Sine and cosine transforms",
    "pdf": "Total scattering",
    "spline": "Backgrounds of absorption spectra",
    "nnls": "Bounded least squares",
    "lcf": "Linear combination fits (beside larch)",
    "mcr": "Resolution into components (beside pyMCR)",
    "saxs": "Size distributions from small angles",
    "rows": "Cyclers' text files of 700,000 rows [s]",
    "comparison": "Comparison of techniques in a browser: from key to paint [ms]",
    "reliability": "Probabilities of mechanisms against planted truth",
    "report": "The report of 10,000 frames: size, and time to open it in a browser without a network",
}
INTRODUCTION = """# Benchmarks

Written by `make bench` (`benchmarks/results.py`); every part can be run alone, see the head of its file. Times are
milliseconds a frame (a pattern, for peaks) unless a title says otherwise. Ratios compare minima within one run on one
machine and mean "so many times batlab's time"; times of other machines or runs cannot be compared with these.
"""


def machine() -> str:
    """Return processor, cores, versions and date."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    told = []
    for name in PEERS:
        try:
            told.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            told.append(f"{name} not installed")
    when = datetime.now(UTC).date()
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}, {when}: {', '.join(told)}."


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a Markdown table; numbers with three digits."""
    lines = ["| " + " | ".join(head) + " |", "|" + "|".join("---" for _ in head) + "|"]
    lines += ["| " + " | ".join(one if isinstance(one, str) else f"{one:.3g}" for one in row) + " |" for row in rows]
    return "\n".join(lines)


def azimuthal() -> str:
    import bench_azimuthal

    parts = []
    for detector in bench_azimuthal.DETECTORS:
        runs = {threads: bench_azimuthal.measured(detector, threads, 5) for threads in (1, 2)}
        rows = []
        for one, two in zip(runs[1], runs[2], strict=True):
            ours = next((row for row in runs[1] if row.work == one.work and row.way.startswith("batlab")), None)
            ratio = "" if ours is None or one.way.startswith("batlab") else f"{one.minimum / ours.minimum:.1f}"
            rows.append((one.work, one.way, one.minimum, one.median, two.minimum, two.median, ratio))
        head = (
            "splitting",
            "way",
            "1 thread: min",
            "median",
            "2 threads: min",
            "median",
            "ratio to our series, 1 thread",
        )
        shape = bench_azimuthal.DETECTORS[detector]
        parts.append(f"**{detector}** {shape[1][0]} × {shape[1][1]} uint32, {shape[2]} bins; cake 1000 × 360\n")
        parts.append(table(head, rows))
    return "\n\n".join(parts)


def stack() -> str:
    import bench_stack

    parts = []
    for detector in bench_stack.WORK:
        rows = bench_stack.collect([detector], 400 if detector == "eiger_4m" else 200, 3, [1, 2])
        ours = {row["threads"]: row["minimum"] for row in rows if row["way"].startswith("batlab")}
        shown = [
            (str(row["threads"]), row["way"], row["minimum"], row["median"], f"{1e3 / row['minimum']:.0f}",
             f"{row['minimum'] / ours[row['threads']]:.2f}")
            for row in rows
        ]  # fmt: skip
        parts.append(f"**{detector}**, bitshuffle-LZ4, {bench_stack.WORK[detector][2]} bins\n")
        parts.append(table(("threads", "way", "min", "median", "frames/s", "ratio to ours, same threads"), shown))
    return "\n\n".join(parts)


def text(script: str) -> str:
    command = [sys.executable, "-W", "ignore", str(HERE / script)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return f"```\n{done.stdout.strip()}\n```"


def sections(content: str) -> dict[str, str]:
    """Return title -> section of a RESULTS.md."""
    return {part.split("\n", 1)[0].strip(): part.split("\n", 1)[1].strip() for part in content.split("\n## ")[1:]}


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the benchmarks, write RESULTS.md.")
    parser.add_argument("--only", nargs="+", choices=list(TITLES), default=list(TITLES))
    options = parser.parse_args()
    os.environ |= {"TQDM_DISABLE": "1", "BATLAB_CACHE": "off"}
    known = sections(TARGET.read_text()) if TARGET.exists() else {}
    for name in options.only:
        print(f"{TITLES[name]} …", flush=True)
        body = text(TEXTS[name]) if name in TEXTS else {"azimuthal": azimuthal, "stack": stack}[name]()
        known[TITLES[name]] = f"{machine()}\n\n{body}"
        ordered = [f"## {title}\n\n{known[title]}" for title in TITLES.values() if title in known]
        TARGET.write_text("\n".join([INTRODUCTION, "\n\n".join(ordered), ""]))
    print(TARGET.read_text())


if __name__ == "__main__":
    main()
