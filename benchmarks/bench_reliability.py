"""How far probabilities of failure.assess can be trusted: virtual cells with planted mechanisms, a reliability curve.

python benchmarks/bench_reliability.py                       # 200 cells, about ten minutes on one core
python benchmarks/bench_reliability.py --cells 50 --first 10000 --keep cells.jsonl    # others, their evidence kept

Each cell has one to three of the eight mechanisms that simulate.virtual_cell knows, with severities between 0.3 and 1.
Seeds from 10,000 on were used to choose the numbers of the table of knowledge; seeds below 1,000 never were.
"""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import argparse
import json
import tempfile
import time
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np

from batlab import failure, simulate

EIGHT = (
    "lithium_plating", "sei_growth", "particle_cracking", "fatigued_phase", "cation_mixing", "surface_reconstruction",
    "graphite_inhomogeneity", "transition_metal_dissolution",
)  # fmt: skip
MATERIALS = ("layered_oxide", "graphite")
BEAM = ("NMC811", "Al", "Cu", "graphite", "Li")
SEVERITIES = (0.3, 1.0)
EDGES = (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0)


def drawn(seed):
    """Return the mechanisms planted in the cell of this seed, with severities."""
    generator = np.random.default_rng([2026, seed])
    chosen = generator.choice(len(EIGHT), int(generator.integers(1, 4)), replace=False)
    return {EIGHT[k]: float(generator.uniform(*SEVERITIES)) for k in chosen}


def evidence(mechanisms, seed, structures):
    """Return what failure.examine finds in one virtual cell."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        cell = simulate.virtual_cell(mechanisms, seed=seed)
        return failure.examine(
            cell, structures={name: structures[name] for name in BEAM}, standard="Al",
            potentials=simulate.virtual_potentials(),
        )  # fmt: skip


def answers(rows):
    """Return the assessment of every cell."""
    return [failure.assess(found, materials=MATERIALS) for _, found in rows]


def judged(rows, said_of=None, names=EIGHT):
    """Return probability and truth of each of `names` in every cell, and whether all true ones lead the ranking."""
    said, true, led = [], [], []
    for (planted, _), answer in zip(rows, said_of or answers(rows), strict=True):
        said.append([answer[name].probability for name in names])
        true.append([name in planted for name in names])
        led.append(set(planted) <= set(answer.ranking[:3]))
    return np.array(said), np.array(true), np.array(led)


def calibration_error(said, true, edges=EDGES):
    """Return the pooled calibration error: mean |said - true| over bins of what was said, weighted by their counts."""
    place = np.clip(np.searchsorted(edges, said, side="right") - 1, 0, len(edges) - 2).ravel()
    counts = np.bincount(place, minlength=len(edges) - 1)
    gap = np.bincount(place, said.ravel() - true.ravel(), minlength=len(edges) - 1)
    return float(np.abs(gap).sum() / counts.sum())


def middle_error(said, true, low=0.2, high=0.8):
    """Return the calibration error of what was said between `low` and `high`, where an answer is doubt; NaN if none."""
    inside = (said >= low) & (said < high)
    return calibration_error(said[inside], true[inside]) if inside.any() else np.nan


def interval(said, true, n=2000, level=0.95, error=calibration_error):
    """Return limits of an error: cells drawn again with replacement."""
    generator = np.random.default_rng(1)
    errors = []
    for _ in range(n):
        cells = generator.integers(0, len(said), len(said))
        errors.append(error(said[cells], true[cells]))
    return np.nanquantile(errors, [(1 - level) / 2, (1 + level) / 2])


def curve(said, true):
    """Print the reliability curve with its calibration errors."""
    print("said from    to    n    mean said   true share")
    for low, high in pairwise(EDGES):
        inside = (said >= low) & ((said < high) | (high == 1.0))
        if inside.any():
            print(
                f"{low:8.2f}  {high:4.2f} {inside.sum():5d}   {said[inside].mean():8.3f}   {true[inside].mean():8.3f}"
            )
    for name, error in (("pooled calibration error", calibration_error), ("said 0.2 to 0.8 only", middle_error)):
        low, high = interval(said, true, error=error)
        print(f"{name} {error(said, true):.3f} (95 %: {low:.3f} to {high:.3f})")


def told(rows):
    """Print the reliability curves and what they come to."""
    said_of = answers(rows)
    said, true, led = judged(rows, said_of)
    print(f"{len(rows)} cells with 1 to 3 of 8 mechanisms, {true.sum()} planted in all; {said.size} probabilities\n")
    curve(said, true)
    every = [one.name for one in said_of[0].candidates]
    print(f"\nall {len(every)} candidates, those too that were never planted:")
    curve(*judged(rows, said_of, every)[:2])
    print()
    print(
        f"Brier score {np.mean((said - true) ** 2):.3f}; always saying the mean: {true.mean() * (1 - true.mean()):.3f}"
    )
    print(f"all true mechanisms among the first three of the ranking: {led.sum()} of {len(led)} ({led.mean():.3f})")
    for k, name in enumerate(EIGHT):
        means = [part.mean() if part.size else np.nan for part in (said[true[:, k], k], said[~true[:, k], k])]
        planted = f"planted {true[:, k].sum():3d}"
        print(f"  {name:29s} {planted}, said {means[0]:.2f} where it is, {means[1]:.2f} where it is not")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--keep", type=Path, help="write the evidence of each cell as a line of JSON, or go on with it")
    options = parser.parse_args()
    structures = simulate.virtual_structures(tempfile.mkdtemp())
    rows, begin = [], time.perf_counter()
    kept = {}
    if options.keep and options.keep.exists():
        kept = {row["seed"]: row for row in map(json.loads, options.keep.read_text().splitlines())}
    for seed in range(options.first, options.first + options.cells):
        planted = drawn(seed)
        if seed not in kept:
            found = evidence(planted, seed, structures)
            if options.keep:
                with options.keep.open("a") as file:
                    file.write(json.dumps({"seed": seed, "evidence": [item.as_dict() for item in found]}) + "\n")
        else:
            found = kept[seed]["evidence"]
        rows.append((planted, found))
    print(f"{(time.perf_counter() - begin) / len(rows):.2f} s a cell\n")
    told(rows)


if __name__ == "__main__":
    main()
