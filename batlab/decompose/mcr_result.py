"""What `mcr_als` and `bands` return: components, how well they fit, and how far they could move at the same fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from batlab.decompose.augment import Whole
from batlab.decompose.constraints import Constraints, Rules
from batlab.schema import quantity, record

WIDE = 0.1  # a concentration that may lie anywhere within more than this is no single number


@dataclass(frozen=True, eq=False, repr=False)
class MCRResult:
    """Components of a series.

    Attributes
    ----------
    dataset
        ``concentration`` (frame, component), ``spectra`` (component, axis) [unit of the series]; for series that share
        concentrations ``spectra_<name>`` each; ``residual_rms`` (frame). After ``decompose.bands`` also
        ``concentration_low``, ``concentration_high`` and ``_sigma``, and the same of the spectra. Attributes:
        ``lack_of_fit`` [%] of the data, ``lack_of_fit_pca`` [%] of the data without their noise,
        ``explained_variance`` [%], ``n_iterations``, ``convergence`` (lack of fit after each), ``stop_reason``.
    constraints
        What the components were made to keep.
    """

    dataset: xr.Dataset
    constraints: Constraints
    whole: Whole
    rules: Rules

    @property
    def has_bands(self) -> bool:
        """Whether ``decompose.bands`` has been at work."""
        return "concentration_low" in self.dataset

    @property
    def n_components(self) -> int:
        """Number of components."""
        return self.dataset.sizes["component"]

    def widths(self) -> np.ndarray:
        """Return the width of each component's widest place in concentration; NaN without bands."""
        if not self.has_bands:
            return np.full(self.n_components, np.nan)
        return widest(self.dataset)[0]

    def to_table(self) -> xr.Dataset:
        """Return one line a component: where its concentration peaks, in which band, and how wide the band gets.

        Variables over ``component``: ``peak`` (concentration), ``peak_frame``, ``peak_low``, ``peak_high``,
        ``widest`` and ``widest_frame`` of the band, ``is_single_valued`` (1 where no band is wider than 0.1 of the
        closure, or of the largest concentration). Bands are NaN, and ``is_single_valued`` 0, where they were not
        computed.
        """
        data = self.dataset
        values = data["concentration"].values
        top = np.nanargmax(values, axis=0)
        each = np.arange(self.n_components)
        low, high = (
            data[f"concentration_{side}"].values[top, each] if self.has_bands else np.full(len(each), np.nan)
            for side in ("low", "high")
        )
        width, where = widest(data) if self.has_bands else (np.full(len(each), np.nan), np.full(len(each), np.nan))
        frame = np.asarray(data["frame"].values if "frame" in data.coords else np.arange(len(values)), dtype=float)
        at = np.where(np.isfinite(where), frame[np.nan_to_num(where).astype(int)], np.nan)
        single = (width <= WIDE * scale(data)).astype(np.int8)
        columns = {
            "peak": (values[top, each], "largest concentration"),
            "peak_frame": (frame[top], "frame of the largest concentration"),
            "peak_low": (low, "least concentration there at the same fit"),
            "peak_high": (high, "largest concentration there at the same fit"),
            "widest": (width, "width of the band of concentrations where it is widest"),
            "widest_frame": (at, "frame where the band is widest"),
            "is_single_valued": (single, "no band is wider than 0.1"),
        }
        made = xr.Dataset(
            {name: quantity("component", column, "1", told) for name, (column, told) in columns.items()},
            {"component": data["component"]},
            {name: one for name, one in data.attrs.items() if name != "convergence"},
        )
        return record(made, "decompose.MCRResult.to_table")

    def __str__(self) -> str:
        told = self.dataset.attrs
        sets = (
            f", sharing {self.whole.share}: {', '.join(b.name for b in self.whole.blocks)}" if self.whole.share else ""
        )
        frames, points = self.whole.values.shape
        lines = [
            f"{self.n_components} components of {frames} frames x {points} points{sets}",
            f"lack of fit {told['lack_of_fit']:.4g} % of the data, {told['lack_of_fit_pca']:.4g} % of the data without "
            f"noise (PCA); {told['explained_variance']:.6g} % of the variance",
            f"{told['n_iterations']} iterations: {told['stop_reason']}",
            f"constraints: {self.constraints}",
        ]
        if not self.has_bands:
            return "\n".join(
                [*lines, "bands: not computed, so that these profiles are one choice of many: see decompose.bands"]
            )
        lines.append(
            f"bands at lack of fit <= {told['bands_lack_of_fit']:.4g} % (tolerance {told['bands_tolerance']:.3g}) "
            f"and noise at {100 * told['bands_level']:g} % for all points together:"
        )
        return "\n".join([*lines, *self._bands()])

    __repr__ = __str__

    def _bands(self) -> list[str]:
        table, unit = self.to_table(), scale(self.dataset)
        lines = []
        for row in range(self.n_components):
            one = {name: float(table[name].values[row]) for name in table.data_vars}
            kind = "single-valued" if one["is_single_valued"] else "NOT single-valued: show the band, no line"
            lines.append(
                f"  component {row}: peak {one['peak_low']:.3f} to {one['peak_high']:.3f} at frame "
                f"{one['peak_frame']:g}; band up to {one['widest'] / unit:.3f} wide (frame {one['widest_frame']:g}); "
                f"{kind}"
            )
        told = exchange(self.dataset)
        return [*lines, f"  {told}"] if told else lines


def exchange(data: xr.Dataset) -> str:
    """Return in words which components may change places within the bands of a result; nothing where none may."""
    pairs = data.attrs.get("bands_exchangeable", "none")
    if pairs == "none":
        return ""
    return (
        f"components {pairs} may change places at the same fit: each band holds both; a known spectrum or a pure frame "
        "keeps them apart"
    )


def scale(data: xr.Dataset) -> float:
    """Return what a concentration is compared with: the closure, or else the largest one."""
    return float(data.attrs.get("closure", 0.0)) or float(np.nanmax(data["concentration"].values)) or 1.0


def widest(data: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return the width of the widest place of each component's band, and which frame it is."""
    width = data["concentration_high"].values - data["concentration_low"].values
    place = np.nanargmax(width, axis=0)
    return width[place, np.arange(width.shape[1])], place
