"""Size distributions of a series: smooth and entropy, one thread; beside scipy's nnls at one known strength.

python benchmarks/bench_saxs.py
BATLAB_ORACLES=/path/to/python python benchmarks/bench_saxs.py     # an interpreter that has McSAS3, for the comparison
"""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import subprocess
import tempfile
import time  # the processor's: other work on the machine does not count

import numpy as np
from scipy.optimize import nnls

from batlab import saxs, simulate
from batlab.saxs.sizes import design

FRAMES, SIZES = 1000, 50
MCSAS3 = 5.2  # s, McSAS3 1.0.6, one repetition of one curve of 200 points with sasmodels, measured apart
STEPS = 300  # of McSAS3, which needs thousands and some ten repetitions for its bands: a lower limit of its time
SCRIPT = """
import contextlib, io, sys, tempfile, time
from pathlib import Path
import numpy as np
from mcsas3.mc_hat import McHat
q, y, s = np.loadtxt(sys.argv[1]).T
hat = McHat(modelName="mcsas_sphere", nContrib=300, fitParameterLimits={"radius": (0.75, 45.0)}, nRep=1, nCores=1,
            staticParameters={"sld": 1.0, "sld_solvent": 0.0}, maxIter=int(sys.argv[2]), convCrit=1.0, seed=1)
begin = time.process_time()
with contextlib.redirect_stdout(io.StringIO()):
    hat.run({"Q": [10 * q], "I": 100 * y, "ISigma": 100 * s}, Path(tempfile.mkdtemp()) / "out.h5")
print("took", time.process_time() - begin)
"""


def mcsas3(patterns):
    """Return the seconds of `STEPS` steps of McSAS3 on one curve, NaN where there is none."""
    interpreter = os.environ.get("BATLAB_ORACLES")
    if not interpreter or subprocess.run([interpreter, "-c", "import mcsas3"], capture_output=True).returncode:
        return np.nan
    one = patterns.isel(frame=0)
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "curve.txt")
        np.savetxt(path, np.column_stack([one["q"], one["intensity"], one["intensity_sigma"]]))
        done = subprocess.run(
            [interpreter, "-c", SCRIPT, path, str(STEPS)], capture_output=True, text=True, env=clean, check=True
        )
    return float(done.stdout.split("took")[-1])


def main():
    grow = np.linspace(60, 240, FRAMES)
    patterns, truth = simulate.small_angle(grow, 0.02, q=np.geomspace(0.003, 0.4, 200), counts=2e6)
    seconds = {}
    for n_replicates in (0, 10):
        begin = time.process_time()
        found = saxs.size_distribution(patterns, (15, 900), n_sizes=SIZES, n_replicates=n_replicates, n_threads=1)
        seconds[n_replicates] = time.process_time() - begin
    off = np.abs(found["mean_diameter"].values / truth["diameter"].values[:, 0] - 1)
    begin = time.process_time()
    saxs.size_distribution(
        patterns.isel(frame=slice(0, 50)), (15, 900), n_sizes=SIZES, method="entropy", n_replicates=0
    )
    entropy = (time.process_time() - begin) / 50
    few = 20
    columns = design(patterns["q"].values, found["size"].values, "sphere", None)
    rows, sigma = patterns["intensity"].values[:few], patterns["intensity_sigma"].values[:few]
    bend = np.diff(np.pad(np.eye(SIZES), ((1, 1), (0, 0))), 2, axis=0)
    begin = time.process_time()
    for y, s, strength in zip(rows, sigma, found["strength"].values):
        weighted = columns / s[:, None]
        scale = np.sqrt(strength * np.sum(weighted**2) / SIZES)
        nnls(np.concatenate([weighted, scale * bend]), np.concatenate([y / s, np.zeros(len(bend))]))
    single = (time.process_time() - begin) / few
    times = MCSAS3 * FRAMES / seconds[0]
    peer = mcsas3(patterns)
    if np.isfinite(peer):
        print(f"McSAS3: {peer:.2f} s for the first {STEPS} steps of one repetition of one frame: over "
              f"{peer * FRAMES / seconds[0]:.0f} x as long")  # fmt: skip
    else:
        print("McSAS3 not installed (name its interpreter in BATLAB_ORACLES)")
    print(f"{FRAMES} frames x 200 q x {SIZES} sizes, one thread: smooth {seconds[0]:.2f} s with its strength found "
          f"(McSAS3 {MCSAS3} s a frame: {times:.0f} x), {seconds[10]:.2f} s with 10 replicates")  # fmt: skip
    print(f"entropy {1e3 * entropy:.0f} ms a frame; scipy nnls at one known strength {1e3 * single:.2f} ms a frame; "
          f"mean diameters off by {np.median(off):.1%} in the middle, {off.max():.1%} at most")  # fmt: skip


if __name__ == "__main__":
    main()
