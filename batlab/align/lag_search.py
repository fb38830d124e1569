"""Look for the lag: near zero, around whole hours, and refuse where the signal cannot tell."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from batlab.align.lag_model import Fit, Problem, correlation_of, inflation_of
from batlab.align.lag_response import PIECES
from batlab.errors import BatlabError

NAME = "align.estimate_lag"
CLOSED = 10.8  # rise of the cost on both sides of a lag that is told: 1 in 1,000 for one number
RIVAL = 9.0  # a second lag whose cost is higher by less, 3 σ, is not excluded
CHANCE = 1e-4  # that noise alone follows the cell as well, over all lags tried
SHARE = 0.5  # of the frames that can lie on the record: fewer do not judge a lag
SPARE = 6  # frames beyond the numbers that are fitted
HOUR = 3600.0
FARTHEST = 14  # hours: no two zones differ by more from UTC
TRIALS = 1201  # lags in one sweep, at most


class LagUndecidedError(BatlabError, ValueError):
    """The signal cannot tell the lag of two clocks."""


class Sweep(NamedTuple):
    """Variance of the residuals over trial lags, and how many frames each could use."""

    lags: np.ndarray
    variance: np.ndarray
    n_frames: np.ndarray


class Well(NamedTuple):
    """A lag with the frames that judge it, the half width [s] at which the cost has closed, the noise's memory."""

    fit: Fit
    rows: np.ndarray
    half: float
    inflation: float

    @property
    def lag(self) -> float:
        """Lag at the problem's reference [s]."""
        return float(self.fit.shift[0])


class Found(NamedTuple):
    """The lag, the sweep around it, other lags that fit no worse, and the whole hour that it lies at."""

    problem: Problem
    well: Well
    sweep: Sweep
    rivals: list[float]
    hour: int


class Search:
    """One search: its limits, and what each lag is judged by."""

    def __init__(self, problem: Problem, max_lag: float, step: float, signal: str, against: str) -> None:
        self.problem, self.max_lag, self.step = problem, max_lag, max(step, 2 * max_lag / (TRIALS - 1))
        self.signal, self.against = signal, against
        # Numbers that agree to rounding are no noise: their variance is never taken to be below this.
        self.floor = 1e-20 * float(np.sum((problem.signal * problem.weight) ** 2)) / problem.signal.size
        self.fewest = 0

    def run(self, hours: bool, with_drift: bool) -> Found:
        """Return the lag.

        Raises
        ------
        LagUndecidedError
            No lag, or more than one within the limit, or one at the limit.
        """
        near: Well | LagUndecidedError
        sweep = self._first_sweep()
        try:
            near = self._settle(sweep)
        except LagUndecidedError as error:
            if not hours:
                raise
            near = error
        if isinstance(near, Well):
            self._refuse_rivals(near, sweep)
        others = self._hours(near) if hours else []
        if isinstance(near, Well):
            best, hour = near, 0
            for one, at in others:
                if self._rise(one, best) < -RIVAL:
                    best, hour = one, at
        elif others:
            best, hour = min(others, key=lambda other: other[0].fit.variance)
        else:
            raise near
        told = [(one, at) for one, at in [(near, 0), *others] if isinstance(one, Well) and at != hour]
        rivals = [one.lag for one, _ in told if self._rise(one, best) < RIVAL]
        if hour:
            sweep = self._sweep(hour * HOUR)
        if with_drift:
            best = self._with_drift(best)
        return Found(self.problem, best, sweep, rivals, hour)

    def _first_sweep(self) -> Sweep:
        """Return the sweep about zero, with as many pieces of the response as the signal asks for."""
        sweep = self._sweep(0.0)
        kind = self.problem.response
        if kind.degree == 1 or not np.isfinite(sweep.variance).any():
            return sweep
        shift = np.array([sweep.lags[np.nanargmin(sweep.variance)], 0.0])
        rows = self.problem.usable(shift, self.step)
        n_frames = int(rows.sum())
        scores = {}
        for n_pieces in PIECES:
            trial = kind._replace(n_pieces=n_pieces)
            if trial.n_columns > max(4, n_frames // 8) or n_frames <= trial.n_columns + SPARE:
                continue
            fit = self.problem.with_response(trial).refine(shift, rows, False, self.step / 4)
            rss = max(fit.solution.rss, self.floor * n_frames)
            scores[n_pieces] = n_frames * np.log(rss) + np.log(n_frames) * fit.solution.n_parameters
        if scores:
            best = min(scores, key=lambda n_pieces: scores[n_pieces])
            self.problem = self.problem.with_response(kind._replace(n_pieces=best))
        return self._sweep(0.0)

    def _sweep(self, about: float, coarser: float = 1.0) -> Sweep:
        count = int(np.ceil(self.max_lag / (self.step * coarser)))
        lags = about + np.linspace(-self.max_lag, self.max_lag, 2 * max(count, 2) + 1)
        usable = [self.problem.usable(np.array([lag, 0.0])) for lag in lags]
        n_frames = np.array([int(rows.sum()) for rows in usable])
        if about == 0.0:
            least = self.problem.response.n_columns + self.problem.free.shape[1] + SPARE
            self.fewest = max(least, int(SHARE * n_frames.max()))
        variance = np.full(lags.size, np.nan)
        for at in np.flatnonzero(n_frames >= self.fewest):
            solution = self.problem.solution(np.array([lags[at], 0.0]), usable[at])
            variance[at] = solution.rss / max(n_frames[at] - solution.n_parameters, 1)
        return Sweep(lags, variance, n_frames)

    def _settle(self, sweep: Sweep) -> Well:
        """Return the lag at the least of a sweep, refuse one that the signal does not tell or that lies at its end."""
        if not np.isfinite(sweep.variance).any():
            raise LagUndecidedError(
                f"{NAME}: at most {sweep.n_frames.max()} frames with a number in {self.signal!r} lie on the record "
                f"(without its gaps) at lags of {sweep.lags[0]:.0f} to {sweep.lags[-1]:.0f} s, {self.fewest} are "
                "needed; look at the dates of both, their zones, or give start="
            )
        well = self._well(float(sweep.lags[np.nanargmin(sweep.variance)]))
        self._refuse_chance(well, sweep.lags.size)
        if not sweep.lags[0] <= well.lag <= sweep.lags[-1]:
            raise LagUndecidedError(
                f"{NAME}: {self.signal!r} fits best at {well.lag:.4g} s, beyond the limit of ±{self.max_lag:g} s; "
                "give a larger max_lag="
            )
        return well

    def _well(self, lag: float) -> Well:
        """Widen the view about a lag until the cost has risen on both sides."""
        shift, half = np.array([lag, 0.0]), 2 * self.step
        while True:
            rows = self.problem.usable(shift, half)
            if rows.sum() < self.fewest:
                half = 1.01 * self.max_lag
                break
            fit = self.problem.refine(shift, rows, False, self.step / 4)
            shift = fit.shift
            inflation = inflation_of(correlation_of(fit.solution.residual), fit.jacobian[:, 0])
            noise = max(fit.variance, self.floor) * inflation
            walls = [self.problem.solution(shift + [side * half, 0.0], rows).rss for side in (-1, 1)]
            rise = (min(walls) - fit.solution.rss) / noise
            if rise > CLOSED:
                return Well(fit, rows, half, inflation)
            if half >= self.max_lag:
                break
            half = min(1.6 * half, self.max_lag)
        told = (
            f"rises by only {max(rise, 0.0):.2g} times the noise" if rows.sum() >= self.fewest else "cannot be followed"
        )
        raise LagUndecidedError(
            f"{NAME}: {self.signal!r} against {self.against!r} cannot tell the lag: around {shift[0]:.4g} s the sum of "
            f"squares {told} within ±{half:.4g} s ({CLOSED} on both sides are needed); it takes a signal that turns, "
            "steps or ends a ramp while it is watched, or a response that is better known (response='linear')"
        )

    def _refuse_chance(self, well: Well, n_trials: int) -> None:
        from scipy.special import chdtri

        weight = self.problem.weight[well.rows]
        free = np.linalg.qr(self.problem.free[well.rows] * weight[:, None])[0]
        aim = self.problem.signal[well.rows] * weight
        before = float(np.sum((aim - free @ (free.T @ aim)) ** 2))
        solution = well.fit.solution
        inflation = inflation_of(correlation_of(solution.residual))
        noise = max(well.fit.variance, self.floor) * inflation
        gain = (before - solution.rss) / noise
        n_columns = solution.n_parameters - free.shape[1] + 1
        if gain < chdtri(n_columns, CHANCE / n_trials):
            share = 100 * (1 - solution.rss / before) if before > 0 else 0.0
            alike = ""
            if inflation > 2:
                alike = f" (as good as {solution.residual.size / inflation:.0f}: residuals resemble their neighbours)"
            raise LagUndecidedError(
                f"{NAME}: {self.signal!r} does not follow {self.against!r}: the best lag, {well.lag:.4g} s, explains "
                f"{share:.2g} % of its variance in {solution.residual.size} frames{alike}, no more than chance would; "
                "choose another signal= or against=, or baseline=1 where the signal creeps"
            )

    def _refuse_rivals(self, well: Well, sweep: Sweep) -> None:
        """Refuse a second lag within the limit that fits no worse."""
        inner = sweep.variance[1:-1]
        with np.errstate(invalid="ignore"):
            valley = (inner <= sweep.variance[:-2]) & (inner <= sweep.variance[2:])
            near = inner < self._reach(well)
        for lag in sweep.lags[1:-1][valley & near & (np.abs(sweep.lags[1:-1] - well.lag) > well.half)]:
            try:
                other = self._well(float(lag))
            except LagUndecidedError:
                continue
            if abs(other.lag - well.lag) > max(well.half, other.half) and self._rise(other, well) < RIVAL:
                raise LagUndecidedError(
                    f"{NAME}: {self.signal!r} fits at {other.lag:.4g} s as well as at {well.lag:.4g} s; give a smaller "
                    f"max_lag= than {self.max_lag:g} s, or say how it must go with response='rising' or 'falling'"
                )

    def _reach(self, well: Well) -> float:
        """Return the variance up to which a trial lag may turn out to be as good as the best."""
        noise = max(well.fit.variance, self.floor) * max(1.0, well.inflation)
        return 1.5 * max(well.fit.variance, self.floor) + 4 * RIVAL * noise / max(well.fit.degrees, 1)

    def _rise(self, other: Well, well: Well) -> float:
        """Return how much worse another lag fits, in units of the noise, by the frames that both can use."""
        rows = other.rows & well.rows
        if rows.sum() < self.fewest // 2 or rows.sum() <= well.fit.solution.n_parameters + SPARE:
            return 0.0
        sums = [self.problem.solution(one.fit.shift, rows).rss for one in (other, well)]
        degrees = rows.sum() - well.fit.solution.n_parameters - 1
        noise = max(min(sums) / degrees, self.floor) * max(well.inflation, other.inflation)
        return float((sums[0] - sums[1]) / noise)

    def _hours(self, near: Well | LagUndecidedError) -> list[tuple[Well, int]]:
        """Return lags around whole hours that fit about as well: daylight saving, a wrong zone."""
        found = []
        limit = self._reach(near) if isinstance(near, Well) else np.inf
        first = int(np.floor(self.max_lag / HOUR)) + 1
        for hour in [sign * n for n in range(first, FARTHEST + 1) for sign in (1, -1)]:
            sweep = self._sweep(hour * HOUR, coarser=4.0)
            if not (np.isfinite(sweep.variance).any() and np.nanmin(sweep.variance) < limit):
                continue
            try:
                found.append((self._settle(sweep), hour))
            except LagUndecidedError:
                continue
        return found

    def _with_drift(self, well: Well) -> Well:
        """Return the same lag with its drift, judged by the frames that lie on the record with it."""
        fit = self.problem.refine(well.fit.shift, well.rows, True, self.step / 4)
        rows = self.problem.usable(fit.shift, well.half)
        if rows.sum() >= self.fewest:
            fit = self.problem.refine(fit.shift, rows, True, self.step / 4)
        else:
            rows = well.rows
        inflation = inflation_of(correlation_of(fit.solution.residual), fit.jacobian[:, 0])
        return Well(fit, rows, well.half, inflation)
