"""Normalisation of blocks of spectra: one matrix product where grid and E0 are shared, the kernel elsewhere. Arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from batlab._kernels.edge import pre_edge
from batlab.xas import edge_finders
from batlab.xas.edge_windows import Windows, points

# Products of this size stay in the cache and, with OpenBLAS, in one thread; blocks of always as many rows, whole tiles
# of its own, give the same bits however a series is cut.
PRODUCT = 250_000
TILE = 16


@dataclass(frozen=True)
class Plan:
    """How every frame of a series is normalised; `energy` is None where each frame brings its own."""

    energy: np.ndarray | None
    method: str
    windows: Windows
    nvict: int
    flatten: bool
    n_threads: int
    operators: dict[float, Operator] = field(default_factory=dict)

    def work(self, block: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the results for a block of frames: mu_norm, mu_flat, edge_step, e0, their σ, rises."""
        energy = np.ascontiguousarray(block.get("energy", self.energy), dtype=float)
        mu, sigma = block["mu"], block.get("sigma")
        mu = mu if mu.dtype in (np.float32, np.float64) else mu.astype(float)
        sigma = None if sigma is None else sigma.astype(mu.dtype, copy=False)
        rises = np.zeros(len(mu))
        if "e0" in block:
            e0, e0_sigma = block["e0"].astype(float), np.zeros(len(mu))
        else:
            e0, e0_sigma = edge_finders.derivative(energy, mu, sigma, self.n_threads)
            if self.method != "derivative":
                first = self._normalized(energy, mu, sigma, e0, flatten=False)
                spread = None if sigma is None else first["mu_norm_sigma"]
                if self.method == "half_step":
                    e0, e0_sigma, rises = edge_finders.half_step(energy, first["mu_norm"], spread)
                else:
                    e0, e0_sigma = edge_finders.integral(energy, first["mu_norm"], spread)
        results = self._normalized(energy, mu, sigma, e0, flatten=self.flatten)
        return {**results, "e0": e0, "e0_sigma": e0_sigma, "rises": rises}

    def _normalized(
        self, energy: np.ndarray, mu: np.ndarray, sigma: np.ndarray | None, e0: np.ndarray, flatten: bool
    ) -> dict[str, np.ndarray]:
        shared = len(energy) == 1 and sigma is None and len(e0) > 1 and (e0 == e0[0]).all()
        arrays = self._by_product(energy[0], mu, float(e0[0]), flatten) if shared else None
        if arrays is None:
            arrays = self._by_kernel(energy, mu, sigma, e0, flatten)
        norm, flat, norm_sigma, flat_sigma, numbers = arrays
        return {
            "mu_norm": norm,
            "mu_flat": flat,
            "mu_norm_sigma": norm_sigma,
            "mu_flat_sigma": flat_sigma,
            "edge_step": numbers[:, 0],
            "edge_step_sigma": numbers[:, 1],
        }

    def _by_kernel(
        self, energy: np.ndarray, mu: np.ndarray, sigma: np.ndarray | None, e0: np.ndarray, flatten: bool
    ) -> tuple[np.ndarray, ...]:
        spread = np.empty((0, mu.shape[1]), mu.dtype) if sigma is None else sigma
        windows = self.windows
        return pre_edge(
            energy, mu, spread, np.ascontiguousarray(e0), windows.edges(), windows.nnorm, self.nvict, flatten,
            self.n_threads,
        )  # fmt: skip

    def _by_product(self, energy: np.ndarray, mu: np.ndarray, e0: float, flatten: bool) -> tuple | None:
        if e0 not in self.operators:
            self.operators[e0] = Operator.of(energy, e0, self.windows, self.nvict)
        return self.operators[e0].apply(energy, mu, flatten, self)

    def rest(self, energy: np.ndarray, mu: np.ndarray, e0: float, flatten: bool) -> tuple[np.ndarray, ...]:
        """Return by the kernel what the product cannot: frames with missing points."""
        return self._by_kernel(energy[None], mu, None, np.full(len(mu), e0), flatten)


@dataclass(frozen=True)
class Operator:
    """What follows linearly from mu for one grid and one E0."""

    e0: float
    fit: np.ndarray  # (point, 2 + n): line and polynomial
    line: np.ndarray  # (2, point)
    curve: np.ndarray  # (n, point from E0 on)
    jump: np.ndarray  # (n,)

    @classmethod
    def of(cls, energy: np.ndarray, e0: float, windows: Windows, nvict: int) -> Operator:
        """Return the operator; least squares as in `batlab._kernels.edge.pre_edge`."""
        pre, post = (
            points(energy, e0 + low, e0 + high)
            for low, high in ((windows.pre1, windows.pre2), (windows.norm1, windows.norm2))
        )
        power, x = (energy / e0) ** nvict, (energy - e0) / 100.0
        line = np.vander(x, 2).T / power
        fit_line = np.zeros((len(energy), 2))
        fit_line[pre] = (np.linalg.pinv(np.vander(x[pre], 2)) * power[pre]).T
        middle, half = energy[post].mean(), np.ptp(energy[post]) / 2
        basis = np.vander((energy - middle) / half, windows.nnorm + 1)
        solve = np.linalg.pinv(basis[post])
        fit_curve = -fit_line @ (line[:, post] @ solve.T)
        fit_curve[post] += solve.T
        jump = np.vander([(e0 - middle) / half], windows.nnorm + 1)[0]
        return cls(e0, np.hstack([fit_line, fit_curve]), line, np.ascontiguousarray(basis[energy >= e0].T), jump)

    def apply(self, energy: np.ndarray, mu: np.ndarray, flatten: bool, plan: Plan) -> tuple[np.ndarray, ...]:
        """Return what the kernel would, frames with missing points left to it."""
        norm = np.empty(mu.shape, mu.dtype)
        flat = np.empty(mu.shape if flatten else (0, mu.shape[1]), mu.dtype)
        numbers = np.full((len(mu), 4), np.nan)
        after = len(energy) - self.curve.shape[1]
        n_rows = max(TILE, min(128, PRODUCT // self.fit.size) // TILE * TILE)
        for at in range(0, len(mu), n_rows):
            rows = slice(at, min(at + n_rows, len(mu)))
            part = np.zeros((n_rows, len(energy)))
            part[: rows.stop - at] = mu[rows]
            with np.errstate(invalid="ignore"):
                found = part @ self.fit
                step = found[:, 2:] @ self.jump
                numbers[rows, 0] = step[: rows.stop - at]
                scale = 1.0 / np.where(step > 0, step, np.nan)[:, None]
                part -= found[:, :2] @ self.line
                part *= scale
                norm[rows] = part[: rows.stop - at]
                if flatten:
                    part[:, after:] -= (found[:, 2:] * scale) @ self.curve - 1.0
                    flat[rows] = part[: rows.stop - at]
        # A missing point anywhere makes its frame's fit NaN, even where its weight is 0.
        poor = np.flatnonzero(~np.isfinite(numbers[:, 0]))
        if len(poor):
            again = plan.rest(energy, np.ascontiguousarray(mu[poor]), self.e0, flatten)
            norm[poor], numbers[poor] = again[0], again[4]
            if flatten:
                flat[poor] = again[1]
        nothing = np.empty((0, mu.shape[1]), mu.dtype)
        return norm, flat, nothing, nothing, numbers
