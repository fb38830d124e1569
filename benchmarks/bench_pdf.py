"""Total scattering: G(r) of a series beside FFT, BLAS and chirp-z; the whole chain; structures and their fits.

python benchmarks/bench_pdf.py          # one thread, about a minute
"""

import os
import statistics
import time
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", os.environ["OMP_NUM_THREADS"])

import numpy as np
import scipy
import scipy.fft
import scipy.signal
import xarray as xr
from scipy.sparse import csr_array

from batlab import pdf, threads
from batlab.pdf.transform import sine_transform
from batlab.schema import quantity


def timed(function, count, repeats=5):
    """Return minimum and median of the milliseconds a frame of some calls."""
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - begin)
    return 1e3 * min(seconds) / count, 1e3 * statistics.median(seconds) / count


def row(name, times, ours=None, error=None):
    ratio = "" if ours is None else f"   {times[0] / ours[0]:.1f} of batlab's time"
    wrong = "" if error is None else f"   error {error:.0e}"
    print(f"  {name:58s}{times[0]:9.4f} ({times[1]:.4f}){ratio}{wrong}")


def transforms(frames=1000, n=3000):
    q, r = 0.01 * np.arange(1, n + 1), 0.01 * np.arange(1, n + 1)
    f_q = np.random.default_rng(0).normal(size=(frames, n))
    few = f_q[:20]
    matrix = np.sin(np.outer(q, r))
    exact = few @ matrix
    size = np.abs(exact).max()
    begin = time.perf_counter()
    plan = sine_transform(q, r)
    print(f"\nG(r): {frames} frames, {n} Q onto {n} r; ms a frame, minimum (median); the plan took "
          f"{1e3 * (time.perf_counter() - begin):.0f} ms")  # fmt: skip
    ours = timed(lambda: plan(f_q), frames)
    row("batlab: spread, small matrix, interpolate", ours, error=np.abs(plan(few) - exact).max() / size)
    row("matrix (BLAS), once it is there", timed(lambda: f_q @ matrix, frames, 3), ours)
    # Steps of 0.01 in both need 2 pi / 1e-4 = 62832 points, and then r is off by 3e-6 of itself.
    exact_r = 2 * np.pi / 62832 / 0.01 * np.arange(1, n + 1)

    def fft(values):
        return np.concatenate([
            -scipy.fft.rfft(np.pad(values[i : i + 250], ((0, 0), (1, 0))), 62832)[:, 1 : n + 1].imag
            for i in range(0, len(values), 250)
        ])  # fmt: skip

    def dst(values):
        # Type 1: sin(pi (k + 1)(n + 1) / 31416)
        return np.concatenate([
            scipy.fft.dst(values[i : i + 250], type=1, n=31415)[:, :n] / 2 for i in range(0, len(values), 250)
        ])  # fmt: skip

    on_theirs = few @ np.sin(np.outer(q, exact_r))
    row("scipy rfft, padded, in batches", timed(lambda: fft(f_q), frames, 3), ours,
        np.abs(fft(few) - on_theirs).max() / size)  # fmt: skip
    row("scipy DST, padded, in batches", timed(lambda: dst(f_q), frames, 3), ours,
        np.abs(dst(few) - on_theirs).max() / size)  # fmt: skip
    chirp = scipy.signal.CZT(n, n, w=np.exp(-1e-4j), a=np.exp(1e-4j))
    phase = np.exp(-1j * 0.01 * r)
    row("scipy chirp-z, in batches", timed(lambda: (chirp(few) * phase).imag, 20, 3), ours,
        np.abs(-(chirp(few) * phase).imag - exact).max() / size)  # fmt: skip
    band = plan.interpolate
    columns = (band.first[:, None] + np.arange(16)).ravel()
    sparse = csr_array((band.weights, columns, band.start), shape=(n, plan.middle.shape[1]))
    half = plan.spread.times(f_q) @ plan.middle
    inner = timed(lambda: band.times(half), frames)
    row("  of which interpolating", inner)
    row("  the same by scipy's sparse matrix", timed(lambda: sparse @ half.T, frames), inner)


def chain(frames=1000, n=3000):
    q = np.linspace(0.01, 30, n)
    counts = np.random.default_rng(0).poisson(1e4, (frames, n)).astype(float)
    made = {"intensity": quantity(("frame", "q"), counts, "1", "intensity")}
    frame = quantity("frame", np.arange(frames), "1", "frame")
    bare = xr.Dataset(made, {"q": quantity("q", q, "1/angstrom", "q"), "frame": frame})
    full = bare.assign(intensity_sigma=quantity(("frame", "q"), np.sqrt(counts), "1", "sigma"))
    print(f"\nI(Q) to G(r), {frames} frames of {n} points onto 3001 r, plan included; ms a frame, minimum (median)")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        row("without sigma", timed(lambda: pdf.g_of_r(bare, "Ni"), frames, 3))
    row("with sigma of I, S, F and G", timed(lambda: pdf.g_of_r(full, "Ni"), frames, 3))


def cubic(a, group, sites):
    made = {key: quantity((), a, "angstrom", key) for key in "abc"}
    made |= {key: quantity((), 90.0, "degree", key) for key in ("alpha", "beta", "gamma")}
    for name, values, unit in (
        ("label", [s[0] for s in sites], ""), ("element", [s[0] for s in sites], ""),
        *((f"fract_{axis}", [float(s[k]) for s in sites], "1") for k, axis in enumerate("xyz", 1)),
        ("occupancy", [1.0] * len(sites), "1"), ("u_iso", [0.005] * len(sites), "angstrom^2"),
    ):  # fmt: skip
        made[name] = quantity("site", np.array(values), unit, name)
    return xr.Dataset(made, attrs={"space_group": group, "phase": "x"})


def structures():
    """Beside diffpy, ms: srreal 1.4.0 PDFCalculator Ni 26, LiNiO2 87; pdffit2 1.5.1 one fit of Ni 650 to 1,200.

    DebyeCalculator 1.1.1, ms: 1,256 atoms 31.
    """
    r = np.arange(0.5, 30.0, 0.01)
    nickel = cubic(3.52, "F m -3 m", [("Ni", 0, 0, 0)])
    layered = cubic(4.06, "F m -3 m", [("Ni", 0, 0, 0), ("O", 0.5, 0, 0)])
    print("\nStructures; ms a call, minimum (median)")
    row("pdf.calculate, Ni to 30 angstrom, Qmax 25", timed(lambda: pdf.calculate(nickel, r, qmax=25), 1, 20))
    row("pdf.calculate, rocksalt NiO to 30 angstrom, Qmax 25", timed(lambda: pdf.calculate(layered, r, qmax=25), 1, 20))
    ball = pdf.cluster(nickel, 29.8)
    q = np.linspace(0.5, 25, 2000)
    atoms = ball.sizes["site"]
    row(f"pdf.debye, {atoms} atoms of Ni, 2,000 Q", timed(lambda: pdf.debye(ball, q), 1, 5))
    short = np.arange(1.5, 20.005, 0.01)
    cells = [cubic(3.52 + 2e-4 * i, "F m -3 m", [("Ni", 0, 0, 0)]) for i in range(100)]
    g = np.stack([pdf.calculate(one, short, qmax=25, qdamp=0.05, delta2=1.9).g_r.values for one in cells])
    g += np.random.default_rng(0).normal(0, 0.05, g.shape)
    series = xr.Dataset({"g_r": quantity(("frame", "r"), g, "1/angstrom^2", "G(r)")},
                        {"r": quantity("r", short, "angstrom", "r")})  # fmt: skip
    fit = timed(lambda: pdf.fit(series, nickel, qmax=25, qdamp=0.04,
                                vary=("scale", "cell", "u_iso", "delta2", "qdamp")), 100, 2)  # fmt: skip
    row("pdf.fit, 100 frames of Ni, 5 unknowns, 1851 points; a frame", fit)


def main():
    print(f"numpy {np.__version__}, scipy {scipy.__version__}, {threads.effective()} thread(s)")
    transforms()
    chain()
    structures()


if __name__ == "__main__":
    main()
