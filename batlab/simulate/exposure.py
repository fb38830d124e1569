"""The exposures: one fine pattern a frame, looked up at every pixel, and Poisson's dice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from batlab.simulate.cell import Phases
from batlab.simulate.detector import DEAD, GAP, NOISY, OVERFLOW, Detector, efficiency, scattering_angles
from batlab.simulate.powder import Reflections, pattern, reflections
from batlab.simulate.structures import STRUCTURES, Structure

# Counts in a pixel of the largest line of each phase at full amount on the 1-Mpix detector, the instrument's width.
STRONGEST = {"NMC811": 40.0, "graphite": 30.0, "LiC12": 30.0, "LiC6": 30.0, "Al": 8.0, "Cu": 20.0, "Li": 20.0}
AIR, HALO, NOISE = 5.0, 4.0, 20_000.0  # counts: air scatter, electrolyte's halo, a noisy pixel
POLARIZATION = 0.99
STEPS_PER_WIDTH = 20  # linear look-up then errs by less than 1e-3 of a peak's height


@dataclass(frozen=True)
class Scene:
    """All that stays the same from frame to frame, and the phases that do not.

    Structure factors are those of the fresh crystals: only cells, widths and amounts change.
    """

    wavelength: float
    fwhm: float
    brightness: float
    grid: np.ndarray
    lower: np.ndarray
    share: np.ndarray
    seen: np.ndarray
    mask: np.ndarray
    phases: Phases
    lines: dict[str, Reflections]
    constant: dict[str, np.ndarray]
    scale: dict[str, float]

    def curve(self, index: int) -> np.ndarray:
        """Return the expected counts of frame `index` on the grid, before solid angle and polarisation."""
        total = _background(self.grid, self.wavelength)
        for column, name in enumerate(self.phases.names):
            fraction = self.phases.fraction[index, column]
            if fraction == 0:
                continue
            one = self.constant.get(name)
            if one is None:
                crystal = STRUCTURES[name].with_cell(self.phases.a[index, column], self.phases.c[index, column])
                one = self.scale[name] * self._pattern(crystal, self.phases.microstrain[index, column])
            total += fraction * one
        return self.brightness * total

    def _pattern(self, crystal: Structure, microstrain: float) -> np.ndarray:
        how = {"wavelength": self.wavelength, "fwhm": self.fwhm, "microstrain": microstrain}
        return pattern(crystal, self.lines[crystal.phase], self.grid, **how)

    def expected(self, index: int) -> np.ndarray:
        """Return the expected counts of every pixel of frame `index`, shape (y, x)."""
        curve = self.curve(index)
        steps = np.diff(curve, append=curve[-1])
        counts = steps[self.lower]
        counts *= self.share
        counts += curve[self.lower]
        counts *= self.seen
        return counts

    def expose(self, index: int, seed: np.random.SeedSequence) -> np.ndarray:
        """Return frame `index` as the detector writes it: uint32, gaps at 2^32 - 1, dead pixels at 0."""
        counts = np.random.default_rng(seed).poisson(self.expected(index)).astype(np.uint32)
        counts[self.mask == NOISY] += np.random.default_rng(seed.spawn(1)[0]).poisson(NOISE)
        counts[self.mask == DEAD] = 0
        counts[self.mask == GAP] = OVERFLOW
        return counts


def scene(detector: Detector, phases: Phases, mask: np.ndarray, *, wavelength: float) -> Scene:
    """Trace the pixels, compute structure factors and the patterns that never change."""
    rays = detector.rays()
    angles = scattering_angles(rays)
    step = detector.fwhm / STEPS_PER_WIDTH
    grid = np.arange(max(step, angles.min() - 2 * step), angles.max() + 2 * step, step)
    position = (angles - grid[0]) / step
    lower = position.astype(np.int32)
    q_max = 4 * np.pi / wavelength * np.sin(np.deg2rad(grid[-1] / 2 + 0.2))
    lines, constant, scale = {}, {}, {}
    for column, name in enumerate(phases.names):
        fresh = STRUCTURES[name]
        lines[name] = reflections(fresh, wavelength=wavelength, q_max=q_max)
        how = {"wavelength": wavelength, "fwhm": detector.fwhm, "microstrain": float(phases.microstrain[0, column])}
        one = pattern(fresh, lines[name], grid, **how)
        scale[name] = STRONGEST[name] / one.max()
        if name not in ("NMC811", "graphite"):
            constant[name] = scale[name] * one
    return Scene(
        wavelength=wavelength,
        fwhm=detector.fwhm,
        brightness=float(np.clip(1062 / detector.shape[0], 1, 8)),
        grid=grid,
        lower=lower,
        share=position - lower,
        seen=efficiency(detector, rays, POLARIZATION),
        mask=mask,
        phases=phases,
        lines=lines,
        constant=constant,
        scale=scale,
    )


def _background(two_theta: np.ndarray, wavelength: float) -> np.ndarray:
    """Air falls with q; electrolyte and separator add two broad halos."""
    q = 4 * np.pi / wavelength * np.sin(np.deg2rad(two_theta / 2))
    halos = np.exp(-(((q - 1.4) / 0.35) ** 2)) + 0.4 * np.exp(-(((q - 2.9) / 0.7) ** 2))
    return AIR * (0.3 + np.exp(-q / 1.5)) + HALO * halos
