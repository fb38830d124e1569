"""The reduction of blocks of frames: in memory or lazily, frames with the same missing points together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from batlab.pdf.composition import Power, scattering_power
from batlab.pdf.curves_in import Curves, warn_negative
from batlab.pdf.operator import Operator, Settings, operator
from batlab.pdf.spread_of_error import Variance, variance_of

TOGETHER = 64  # frames: a block of them stays in the cache
FEWEST = 0.5  # of the points; frames with fewer are NaN


@dataclass
class Blocks:
    """A series with all that its reduction needs; `parts` gives every result as (frame, point)."""

    curves: Curves
    background: Curves | None
    bgscale: float
    shares: Mapping[str, float]
    mode: str
    wavelength: float | None
    settings: Settings
    r: np.ndarray
    plans: dict[bytes, tuple[Operator, Variance | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        q = self.curves.x
        self.window = slice(*np.searchsorted(q, (self.settings.qmin, self.settings.qmaxinst * (1 + 1e-12))))
        self.q = q[self.window]
        self.q_used = self.q[self.q <= self.settings.qmax]
        self.power = scattering_power(self.shares, self.q, self.mode, self.wavelength)

    def sizes(self) -> dict[str, int]:
        """Return the width of every result, in the order in which they lie side by side."""
        n_q, n_r = len(self.q_used), len(self.r)
        names = {"i_q": n_q, "s_q": n_q, "f_q": n_q, "g_r": n_r}
        if self.curves.sigma is not None:
            names |= {f"{key}_sigma": size for key, size in names.items()}
        return {**names, "scale": 1}

    def parts(self) -> dict[str, Any]:
        """Return every result (frame, point): numpy, or dask where the patterns are."""
        values, sigma = self.curves.values, self.curves.sigma
        sizes = self.sizes()
        if isinstance(values, np.ndarray):
            warn_negative(self._net(values, 0), self.q, "pdf.g_of_r")
            return self.reduce(values, None if sigma is None else np.asarray(sigma), 0)
        import dask.array as da

        numbers = da.from_array(np.arange(len(values))[:, None], chunks=(values.chunks[0], 1))
        beside = [] if sigma is None else [da.asarray(sigma).rechunk(values.chunks)]
        total = sum(sizes.values())
        whole = da.map_blocks(
            self._side_by_side, values, numbers, *beside, dtype=float, chunks=(values.chunks[0], (total,)),
            meta=np.empty((0, 0)),
        )  # fmt: skip
        ends = np.cumsum([0, *sizes.values()])
        return {key: whole[:, begin:end] for key, begin, end in zip(sizes, ends[:-1], ends[1:])}

    def _side_by_side(self, values: np.ndarray, numbers: np.ndarray, sigma: np.ndarray | None = None) -> np.ndarray:
        return np.concatenate(list(self.reduce(values, sigma, int(numbers[0, 0])).values()), axis=1)

    def _net(self, values: np.ndarray, first: int) -> np.ndarray:
        net = values[:, self.window].astype(float)
        if self.background is not None:
            under = self.background.values
            under = under if len(under) == 1 else under[first : first + len(values)]
            net -= self.bgscale * under[:, self.window]
        return net

    def reduce(self, values: np.ndarray, sigma: np.ndarray | None, first: int) -> dict[str, np.ndarray]:
        """Return the results of frames `first` and following."""
        out = {key: np.full((len(values), size), np.nan) for key, size in self.sizes().items()}
        for start in range(0, len(values), TOGETHER):
            rows = slice(start, start + TOGETHER)
            net = self._net(values[rows], first + start)
            variance = None if sigma is None else self._variance(sigma[rows], first + start)
            for which, good in self._alike(net, variance):
                if good.mean() >= FEWEST:
                    self._group(net, variance, which, good, {key: part[rows] for key, part in out.items()})
        return out

    def _variance(self, sigma: np.ndarray, first: int) -> np.ndarray:
        variance = sigma[:, self.window].astype(float) ** 2
        if self.background is not None and self.background.sigma is not None:
            under = self.background.sigma
            under = under if len(under) == 1 else under[first : first + len(sigma)]
            variance += (self.bgscale * under[:, self.window]) ** 2
        return variance

    @staticmethod
    def _alike(net: np.ndarray, variance: np.ndarray | None) -> Iterator[tuple[Any, np.ndarray]]:
        """Give the frames that have the same finite points, with these points."""
        good = np.isfinite(net) if variance is None else np.isfinite(net) & np.isfinite(variance)
        if good.all():
            yield slice(None), good[0]
            return
        patterns, owner = np.unique(good, axis=0, return_inverse=True)
        for number, pattern in enumerate(patterns):
            yield np.flatnonzero(owner.ravel() == number), pattern

    def plan(self, good: np.ndarray) -> tuple[Operator, Variance | None]:
        """Return the operator for these points, made once."""
        key = np.packbits(good).tobytes()
        if key not in self.plans:
            if len(self.plans) > 64:
                self.plans.clear()
            power = Power(*(part[good] for part in self.power))
            made = operator(self.q[good], power, self.r, self.settings)
            self.plans[key] = made, None if self.curves.sigma is None else variance_of(made)
        return self.plans[key]

    def _group(
        self, net: np.ndarray, variance: np.ndarray | None, which: Any, good: np.ndarray, out: dict[str, np.ndarray]
    ) -> None:
        plan, spread = self.plan(good)
        is_whole = bool(good.all())
        intensity = net if is_whole and isinstance(which, slice) else net[which][:, good]
        scale = plan.scale(intensity)
        f_all = plan.f_of_q(intensity, scale)
        n_used = plan.n_used
        q, square = plan.q[:n_used], plan.power.square_of_mean[:n_used]
        f_q = f_all[:, :n_used]
        self._keep(out["f_q"], which, good, f_q)
        level = f_q * (1 / q)
        self._keep(out["s_q"], which, good, level + 1)
        self._keep(out["i_q"], which, good, level * square + plan.power.mean_of_square[:n_used])
        out["g_r"][which] = plan.transform(f_q)
        out["scale"][which] = scale
        if variance is None or spread is None:
            return
        chosen = variance if is_whole and isinstance(which, slice) else variance[which][:, good]
        f_variance = chosen * (plan.q / plan.power.square_of_mean) ** 2
        f_variance *= scale**2
        out["g_r_sigma"][which] = np.sqrt(spread(f_variance))
        sigma = np.sqrt(f_variance[:, :n_used])
        self._keep(out["f_q_sigma"], which, good, sigma)
        sigma = sigma * (1 / q)
        self._keep(out["s_q_sigma"], which, good, sigma)
        self._keep(out["i_q_sigma"], which, good, sigma * square)

    def _keep(self, target: np.ndarray, which: Any, good: np.ndarray, values: np.ndarray) -> None:
        """Write values at the good points of the chosen frames."""
        if good.all() and isinstance(which, slice):
            target[:] = values
            return
        whole = np.full((len(values), target.shape[1]), np.nan)
        whole[:, good[: target.shape[1]]] = values
        target[which] = whole
