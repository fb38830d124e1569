"""What the total-scattering dashboard knows of itself, and tells in words."""

from __future__ import annotations

import numpy as np
import xarray as xr

from batlab.dashboards.events import Dashboard
from batlab.dashboards.pdf_controls import BAD, DOUBTFUL, PLAIN
from batlab.dashboards.pdf_data import Scattering
from batlab.dashboards.pdf_state import PDFState
from batlab.dashboards.pdf_steps import Applied, Measured, Settings, settings_of
from batlab.dashboards.xanes_steps import Done


class PDFWords(Dashboard):
    """How pattern, series, ruler and tries stand."""

    state: PDFState
    data: Scattering
    _shown: Done
    _applied: Applied | None
    _measured: Measured | None
    _tried: tuple[Settings, xr.Dataset] | None
    _reading: tuple[float, float] | None

    @property
    def result(self) -> xr.Dataset | None:
        """The whole series as it was computed last."""
        return None if self._applied is None else self._applied.done.dataset

    @property
    def is_current(self) -> bool:
        """Whether the series was computed with the settings on the screen, or came as G(r)."""
        if self._applied is None:
            return False
        return self._applied.settings is None or self._applied.settings == settings_of(self.state)

    @property
    def is_measured(self) -> bool:
        """Whether the bond under the ruler was measured in the series as it is."""
        done, state = self._measured, self.state
        return done is not None and done.series is self.result and (done.ruler, done.bond) == (state.ruler, state.bond)

    def _words(self) -> list[tuple[str, str]]:
        """Return how pattern and series stand, doubts and problems, each with a colour."""
        lines: list[tuple[str, str]] = []
        if not self.data.is_patterns:
            series = "the series came as G(r): compare and measure it"
        elif self._applied is None:
            series = "the map shows I(Q) as measured: apply the settings to the series to see all G(r)"
        elif not self.is_current:
            series = "the map was computed with other settings: apply these to renew it"
        else:
            series = "the series was computed with these settings"
        if self._shown.dataset is not None:
            lines.append((f"{self._numbers()}{series}", PLAIN))
        if self._shown.problem:
            lines.append((f"no G(r): {self._shown.problem}", BAD))
        lines += [(doubt, DOUBTFUL) for doubt in self._shown.doubts]
        if self.is_current and self._applied is not None:
            lines += [(doubt, DOUBTFUL) for doubt in self._applied.done.doubts]
        return lines

    def _numbers(self) -> str:
        one = self._shown.dataset
        if one is None or "g_r" not in one or not np.isfinite(one["g_r"].values).any():
            return f"frame {self.state.frame} holds no G(r): too few points, or no positive scale; "
        if "scale" not in one:
            return ""
        sigma = "" if "f_q_sigma" in one else ", σ unknown"
        return f"scale {float(one['scale']):.4g}{sigma}; "

    def _ruler_words(self) -> list[tuple[str, str]]:
        """Return what the ruler reads here, and what was fitted in the series."""
        lines: list[tuple[str, str]] = []
        if self._reading is None:
            lines.append(("no peak under the ruler", DOUBTFUL))
        else:
            lines.append((f"top {self._reading[0]:.3f} Å", PLAIN))
        if not self.is_current:
            return [*lines, ("apply to the series, then measure it in all frames", PLAIN)]
        if self._measured is None or not self.is_measured:
            return lines if self._measured is None else [*lines, ("measured with other settings before", DOUBTFUL)]
        one = self._measured.lengths.sel(frame=self.state.frame)
        if float(one["status"]) >= 2 or not np.isfinite(float(one["position"])):
            return [*lines, ("the fit found no bond in this frame", DOUBTFUL)]
        lines.append((f"fit {_with_sigma(one, 'position')} Å", PLAIN))
        lines.append((f"width {_with_sigma(one, 'width')} Å", PLAIN))
        if "coordination" in one:
            lines.append((f"neighbours {_with_sigma(one, 'coordination')}", PLAIN))
        if float(one["status"]) == 1:
            lines.append(("at a bound: widen the ruler", DOUBTFUL))
        return lines

    def _tune_words(self, is_tried: bool) -> str:
        if not self.data.is_patterns:
            return "the series came as G(r)"
        if self._tried is None:
            return "what does a knob do? try values of it on this frame"
        if not is_tried:
            return f"tried on frame {self._tried[0]['frame']} with other settings; try again"
        if self.state.knob not in self._tried[1]["knob"].values:
            return "without a background there is nothing to scale"
        return f"frame {self._tried[0]['frame']}; shortest bond from {self._tried[1].attrs['shortest']:.2f} Å"


def _with_sigma(one: xr.Dataset, name: str) -> str:
    value, sigma = float(one[name]), float(one[f"{name}_sigma"])
    if not np.isfinite(sigma) or sigma <= 0:
        return f"{value:.4g} ± ?"
    digits = max(0, -int(np.floor(np.log10(sigma))))
    return f"{value:.{digits}f} ± {sigma:.{digits}f}"
