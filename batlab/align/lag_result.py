"""A lag with its interval, its drift, and how it was judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr


def decimals(sigma: float) -> int:
    """Return how many decimals a number with this σ deserves: to its first digit, or to the second below 3.55 (PDG).

    >>> [decimals(sigma) for sigma in (51.0, 5.1, 2.6, 0.83, 0.012)]
    [0, 0, 1, 1, 3]
    """
    if not (np.isfinite(sigma) and sigma > 0):
        return 3
    first = int(np.floor(np.log10(sigma)))
    return max(0, (sigma < 3.55 * 10.0**first) - first)


@dataclass(frozen=True)
class Lag:
    """What `estimate_lag` found: ``print`` shows it; numbers and profile stand in `dataset`.

    Called with moments it is the clock model for ``offset=``: the seconds to add to the frames' clock. A drift that is
    not seen (below its own 95 % limit) is not applied.
    """

    dataset: xr.Dataset

    @property
    def lag(self) -> float:
        """Seconds to add to the frames' clock, at `reference`."""
        return float(self.dataset["offset"])

    @property
    def sigma(self) -> float:
        """1 σ of `lag` [s]."""
        return float(self.dataset["offset_sigma"])

    @property
    def interval(self) -> tuple[float, float]:
        """Where the cost says that the lag lies, 95 % [s]."""
        return float(self.dataset["offset_low"]), float(self.dataset["offset_high"])

    @property
    def drift(self) -> float:
        """Parts per million by which the frames' clock loses; NaN where it was not asked for or cannot be told."""
        return float(self.dataset["drift"])

    @property
    def drift_sigma(self) -> float:
        """1 σ of `drift` [ppm]."""
        return float(self.dataset["drift_sigma"])

    @property
    def drift_limit(self) -> float:
        """What the drift's size does not exceed, 95 % [ppm]."""
        return float(self.dataset["drift_limit"])

    @property
    def is_drift_seen(self) -> bool:
        """The drift differs from zero at 95 %."""
        return bool(self.dataset.attrs["is_drift_seen"])

    @property
    def reference(self) -> np.datetime64 | float:
        """Moment, by the frames' clock, at which lag and drift are told independently; seconds without dates."""
        told = self.dataset.attrs["reference"]
        return np.datetime64(told, "ns") if isinstance(told, str) else float(told)

    @property
    def rivals(self) -> tuple[float, ...]:
        """Other lags, around whole hours, that fit no worse [s]."""
        return tuple(float(one) for one in self.dataset.attrs["rivals"])

    def __call__(self, moments: Any) -> np.ndarray:
        """Return the seconds to add to the frames' clock at its `moments` (datetime64, or seconds)."""
        moments, reference = np.asarray(moments), self.reference
        if (moments.dtype.kind == "M") != isinstance(reference, np.datetime64):
            kinds = ("dates", "seconds") if isinstance(reference, np.datetime64) else ("seconds", "dates")
            raise TypeError(f"this lag was found by a clock of {kinds[0]}, got {kinds[1]}; give the series' own times")
        if not self.is_drift_seen:
            return np.full(moments.shape, self.lag)
        passed = moments - reference
        if passed.dtype.kind == "m":
            passed = np.where(np.isnat(passed), np.nan, passed / np.timedelta64(1, "s"))
        return self.lag + 1e-6 * self.drift * passed

    def __str__(self) -> str:
        ds, attrs = self.dataset, self.dataset.attrs
        low, high = self.interval
        when = str(self.reference)[:19] if isinstance(self.reference, np.datetime64) else f"{self.reference:.6g} s"
        n = decimals(self.sigma)
        told = f"{self.lag:.{n}f} ± {self.sigma:.{n}f} s"
        lines = [f"Lag: add {told} to the frames' clock (95 %: {low:.{n}f} to {high:.{n}f} s)"]
        lines[0] += f", at {when}"
        if attrs["hour"]:
            lines.append(f"  of which {attrs['hour']:+d} h: daylight saving, or another time zone")
        lines.append(f"Drift: {self._drift()}")
        lines.append(
            f"Signal: {attrs['signal']} against {attrs['against']}, {attrs['response']}"
            + (f" ({attrs['n_parameters']} parameters)" if attrs["response"] != "linear" else "")
            + f", {attrs['model'].replace('_', ' ')} of {float(np.nanmedian(ds['exposure'])):.4g} s"
        )
        lines.append(
            f"Judged by {attrs['n_frames']} of {ds.sizes['frame']} frames; residuals {100 * attrs['noise']:.2g} % of "
            f"the signal's swing, correlated {attrs['correlation']:.2f} from one to the next (σ times "
            f"{np.sqrt(attrs['inflation']):.2f})"
        )
        if "n_switches_open" in attrs:
            lines.append(
                f"Switched between records: {attrs['n_switches_open']} times, up to {attrs['switch_interval']:.3g} s "
                f"apart; σ allows {attrs['switch_sigma']:.2g} s for when"
            )
        if self.rivals:
            told = ", ".join(f"{one:.1f}" for one in self.rivals)
            lines.append(f"Not excluded: {told} s, which fit no worse")
        return "\n".join(lines)

    def _drift(self) -> str:
        if np.isnan(self.drift):
            return "taken as none" if not self.dataset.attrs["with_drift"] else "the signal cannot tell; taken as none"
        if self.is_drift_seen:
            return f"{self.drift:.0f} ± {self.drift_sigma:.0f} ppm"
        return (
            f"not seen: {self.drift:.0f} ± {self.drift_sigma:.0f} ppm, at most {self.drift_limit:.0f} ppm (95 %); "
            "taken as none"
        )
