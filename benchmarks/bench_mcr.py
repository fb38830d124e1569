"""MCR-ALS beside pyMCR with non-negative least squares: 500 frames, 1000 points, 4 components, to one lack of fit.

python benchmarks/bench_mcr.py                                        # batlab alone
BATLAB_ORACLES=/path/to/python python benchmarks/bench_mcr.py         # an interpreter that has pyMCR
"""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import xarray as xr

from batlab import decompose
from batlab.schema import quantity

FRAMES, POINTS, COMPONENTS, NOISE = 500, 1000, 4, 0.002
TARGET = 10.0
# One round at a time, so that the peer stops as soon as it fits as well as we do.
PEER = """
import json, sys, time
import numpy as np
from pymcr.constraints import ConstraintNonneg
from pymcr.mcr import McrAR
from pymcr.regressors import NNLS

def lack_of_fit(c, st, d, fitted):
    return 100 * np.linalg.norm(d - fitted) / np.linalg.norm(d)

data, goal = np.load(sys.argv[1]), float(sys.argv[2])
seconds = []
for _ in range(1):
    begin, rounds, spectra, reached = time.perf_counter(), 0, data["start"], np.inf
    while rounds < 200 and reached > goal:
        one = McrAR(max_iter=1, c_regr=NNLS(), st_regr=NNLS(), c_constraints=[ConstraintNonneg()],
                    st_constraints=[ConstraintNonneg()], err_fcn=lack_of_fit)
        one.fit(data["values"], ST=spectra)
        spectra, reached, rounds = one.ST_opt_, one.err[-1], rounds + 1
    seconds.append(time.perf_counter() - begin)
print(json.dumps({"seconds": min(seconds), "rounds": rounds, "lack_of_fit": float(reached)}))
"""


def problem(seed=0):
    """Return a series of overlapping lines on a background, from mixtures that come near no pure component."""
    rng = np.random.default_rng(seed)
    x = np.linspace(0.0, 10.0, POINTS)
    spectra = np.array(
        [sum(a * np.exp(-(((x - c) / 0.9) ** 2)) for a, c in zip(rng.uniform(0.3, 1, 4), rng.uniform(0, 10, 4)))
         for _ in range(COMPONENTS)]
    )  # fmt: skip
    content = rng.dirichlet(np.ones(COMPONENTS), FRAMES)
    values = content @ (0.02 + spectra)
    values += rng.normal(0, NOISE, values.shape)
    coords = {
        "frame": quantity("frame", np.arange(FRAMES), "1", "frame"),
        "q": quantity("q", x, "1/angstrom", "scattering vector"),
    }
    return xr.DataArray(quantity(("frame", "q"), values, "1", "intensity"), coords, name="intensity")


def timed(function, repeats):
    spent = []
    for _ in range(repeats):
        begin = time.perf_counter()
        result = function()
        spent.append(time.perf_counter() - begin)
    return min(spent), result


def peer(values, start, goal):
    """Return what the peer measured, or None where it is not installed."""
    interpreter = os.environ.get("BATLAB_ORACLES")
    if not interpreter:
        return None
    with tempfile.TemporaryDirectory() as folder:
        held = Path(folder) / "series.npz"
        np.savez(held, values=values, start=start)
        command = [interpreter, "-W", "ignore", "-c", PEER, str(held), repr(float(goal))]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    if "No module named" in done.stderr:
        return None
    done.check_returncode()
    return json.loads(done.stdout.strip().splitlines()[-1])


def main():
    series = problem()
    start = series.values[np.random.default_rng(1).choice(FRAMES, COMPONENTS, replace=False)]
    seconds, found = timed(lambda: decompose.mcr_als(series, COMPONENTS, init=start), 5)
    told = found.dataset.attrs
    print(f"Python {platform.python_version()}, numpy {np.__version__}, {platform.machine()}, one thread")
    print(f"{FRAMES} x {POINTS} x {COMPONENTS}, whole calls, minimum")
    print(f"  {'batlab, decompose.mcr_als':28s}{1e3 * seconds:9.1f} ms, lack of fit {told['lack_of_fit']:.6f} %, "
          f"{told['n_iterations']} iterations")  # fmt: skip
    goal = told["lack_of_fit"] * (1 + 1e-4)
    theirs = peer(series.values, start, goal)
    if theirs is None:
        print(f"  {'pyMCR, NNLS':28s}not installed (set BATLAB_ORACLES to an interpreter that has it)")
    else:
        ratio = theirs["seconds"] / seconds
        print(f"  {'pyMCR, NNLS':28s}{1e3 * theirs['seconds']:9.1f} ms, lack of fit {theirs['lack_of_fit']:.6f} %, "
              f"{theirs['rounds']} iterations: {ratio:.0f} x, target {TARGET:.0f}")  # fmt: skip
        if ratio < TARGET or theirs["lack_of_fit"] < told["lack_of_fit"] * (1 - 1e-3):
            sys.exit("below target: pyMCR")
    spent, banded = timed(lambda: decompose.bands(found, points=8), 1)
    widths = ", ".join(f"{one:.3f}" for one in banded.widths())
    print(f"  {'batlab, decompose.bands':28s}{1e3 * spent:9.1f} ms, 8 points a profile; bands up to {widths} wide")


if __name__ == "__main__":
    main()
