"""Peak fits beside scipy and lmfit: one thread each, same data, same weights, same starting values.

python benchmarks/bench_peaks.py
"""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import platform
import statistics
import sys
import time

import lmfit
import numpy as np
import scipy
import xarray as xr
from scipy.optimize import curve_fit

from batlab import curves
from batlab._kernels import peaks as kernel
from batlab.schema import quantity

LN2 = np.log(2.0)


def shapes(x, x0, width):
    u = (x - x0) / width
    return u, 1 / (1 + 4 * u * u), np.exp(-4 * LN2 * u * u)


def model(x, *p):
    total = p[0] + p[1] * (x - x[0])
    for i in range(2, len(p), 4):
        _, lorentz, gauss = shapes(x, p[i], p[i + 2])
        total = total + p[i + 1] * (p[i + 3] * lorentz + (1 - p[i + 3]) * gauss)
    return total


def jacobian(x, *p):
    columns = np.empty((len(p), len(x)))
    columns[0], columns[1] = 1.0, x - x[0]
    for i in range(2, len(p), 4):
        height, width, eta = p[i + 1 : i + 4]
        u, lorentz, gauss = shapes(x, p[i], width)
        change = 8 * u * height / width * (eta * lorentz * lorentz + (1 - eta) * LN2 * gauss)
        columns[i], columns[i + 1] = change, eta * lorentz + (1 - eta) * gauss
        columns[i + 2], columns[i + 3] = u * change, height * (lorentz - gauss)
    return columns.T


def problem(n, n_peaks, frames, seed=1):
    """Return x, counts, true σ, true peaks, and starting values: 0.03 off, 30 % too wide, half Lorentzian."""
    rng = np.random.default_rng(seed)
    x = 10 + 0.01 * np.arange(n)
    centres = x[0] + (x[-1] - x[0]) * (np.arange(n_peaks) + 0.5) / n_peaks
    truth = [[c, rng.uniform(300, 3000), rng.uniform(0.1, 0.2), rng.uniform(0.2, 0.8)] for c in centres]
    expected = model(x, 200.0, -20 / (x[-1] - x[0]), *np.ravel(truth))
    start = np.array(truth) * [1, 0.7, 1.3, 0] + [0.03, 0, 0, 0.5]
    return x, rng.poisson(expected, (frames, n)).astype(float), np.sqrt(expected), np.array(truth), start


def timed(function, repeats):
    """Return minimum and median of the seconds of some calls, and the last result."""
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        result = function()
        seconds.append(time.perf_counter() - begin)
    return min(seconds), statistics.median(seconds), result


def kernel_call(x, counts, sigma, start):
    frames, n_peaks = len(counts), len(start)
    tasks = np.array([[frame, 0, len(x), n_peaks] for frame in range(frames)], dtype=np.int64)
    begin = np.ascontiguousarray(np.tile(start[:, [0, 2, 3]], (frames, 1)))
    lower, upper = np.zeros((len(begin), 4)), np.ones((len(begin), 4))
    lower[:, 0], upper[:, 0] = begin[:, 0] - 0.5, begin[:, 0] + 0.5
    lower[:, 2], upper[:, 1] = 0.02, np.inf
    variance = np.ascontiguousarray(np.broadcast_to(sigma**2, counts.shape))
    return lambda: kernel.fit_pseudo_voigts(x, counts, variance, np.zeros(frames), tasks, begin, lower, upper)


def lmfit_call(x, counts, sigma, start):
    composite = lmfit.models.LinearModel()
    for i in range(len(start)):
        composite = composite + lmfit.models.PseudoVoigtModel(prefix=f"p{i}_")
    guess = composite.make_params(slope=0, intercept=200)
    for i, (x0, height, width, eta) in enumerate(start):
        area = height * width * (eta * np.pi / 2 + (1 - eta) * np.sqrt(np.pi / LN2) / 2)
        for name, value in zip(("center", "amplitude", "sigma", "fraction"), (x0, area, width / 2, eta)):
            guess[f"p{i}_{name}"].set(value)
    return lambda: composite.fit(counts[0], guess, x=x, weights=1 / sigma, scale_covar=False)


def series_call(x, counts, start):
    patterns = xr.Dataset(
        {"intensity": quantity(("frame", "q"), counts, "count", "intensity")},
        {"q": quantity("q", x, "1/angstrom", "scattering vector")},
    )
    return lambda: curves.fit_peaks(patterns, near=start[:, 0], width=0.15, window=2.0, n_threads=1)


def compare(n, n_peaks, frames, targets):
    x, counts, sigma, _, start = problem(n, n_peaks, frames)
    guess = [200.0, 0.0, *start.ravel()]
    ours = timed(kernel_call(x, counts, sigma, start), 5)
    series = timed(series_call(x, counts, start), 3)
    keywords = {"sigma": sigma, "absolute_sigma": True}
    slow = {
        "curve_fit, analytic Jacobian": timed(
            lambda: curve_fit(model, x, counts[0], guess, jac=jacobian, **keywords), 7
        ),
        "curve_fit": timed(lambda: curve_fit(model, x, counts[0], guess, **keywords), 5),
        "lmfit composite": timed(lmfit_call(x, counts, sigma, start), 3 if n_peaks == 1 else 2),
    }
    one = [seconds / frames for seconds in ours[:2]]
    best, covariance = slow["curve_fit, analytic Jacobian"][2]
    off = np.abs(ours[2][0][:n_peaks, :4].ravel() - best[2:]) / np.sqrt(np.diag(covariance))[2:]
    print(f"\n{n} points, {n_peaks} peaks: times for one pattern in ms, minimum (median)")
    print(
        f"  {'kernel, cold start':32s}{1e3 * one[0]:10.4f} ({1e3 * one[1]:.4f})   {off.max():.1e} sigma from curve_fit"
    )
    print(f"  {'curves.fit_peaks, whole call':32s}{1e3 * series[0] / frames:10.4f} ({1e3 * series[1] / frames:.4f})")
    missed = []
    for name, (least, median, _) in slow.items():
        ratios = least / one[0], median / one[1]
        target = targets.get(name)
        told = f", target {target}" if target else ""
        print(f"  {name:32s}{1e3 * least:10.4f} ({1e3 * median:.4f})   {ratios[0]:.0f} x ({ratios[1]:.0f} x){told}")
        if target and ratios[0] < target:
            missed.append(name)
    return missed


def main():
    print(
        f"Python {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}, "
        f"lmfit {lmfit.__version__}, {platform.machine()}, one thread"
    )
    missed = compare(120, 1, 300, {"curve_fit": 50})
    missed += compare(3000, 12, 20, {"curve_fit, analytic Jacobian": 8, "lmfit composite": 300})
    if missed:
        sys.exit(f"below target: {', '.join(missed)}")


if __name__ == "__main__":
    main()
