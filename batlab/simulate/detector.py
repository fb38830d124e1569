"""A flat pixel detector traced by vectors: where each pixel looks, how much it sees, which pixels are blind.

Written from the published convention of the .poni file (10.1107/S1600576715004306) and nothing of the program that
the analysis uses. A pixel is its centre: the pattern is sampled there, not averaged over the pixel's area.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from batlab.errors import choose

# Dectris pixel_mask bits (Eiger file format): gap, dead, noisy.
GAP, DEAD, NOISY = 1, 2, 16
OVERFLOW = 2**32 - 1


@dataclass(frozen=True)
class Detector:
    """A detector where it stands: lengths in metre, rotations in radian, `fwhm` of the instrument in degree."""

    name: str
    shape: tuple[int, int]
    module: tuple[int, int]
    gap: tuple[int, int]
    pixel: float
    distance: float
    poni: tuple[float, float]
    rotation: tuple[float, float, float]
    fwhm: float

    def axes(self) -> np.ndarray:
        """Return rows, columns and normal of the detector as columns of a 3 x 3 matrix (up, sideways, along the beam).

        The first two rotations of the convention turn left-handed, the third right-handed.
        """
        first, second, third = self.rotation
        turns = ((2, third), (1, -second), (0, -first))
        matrix = np.eye(3)
        for axis, angle in turns:
            matrix = matrix @ _turn(axis, angle)
        return matrix

    def rays(self) -> np.ndarray:
        """Return the vector from the sample to each pixel's centre, in metre, shape (y, x, 3)."""
        rows = (np.arange(self.shape[0]) + 0.5) * self.pixel - self.poni[0]
        columns = (np.arange(self.shape[1]) + 0.5) * self.pixel - self.poni[1]
        up, side, normal = self.axes().T
        return rows[:, None, None] * up + columns[None, :, None] * side + self.distance * normal

    def beam_centre(self) -> tuple[float, float, float]:
        """Return row and column where the direct beam meets the detector's plane, and the way there in metre."""
        beam = np.linalg.solve(self.axes(), np.array([0.0, 0.0, 1.0]))
        way = self.distance / beam[2]
        return (
            (way * beam[0] + self.poni[0]) / self.pixel,
            (way * beam[1] + self.poni[1]) / self.pixel,
            float(way),
        )

    def gaps(self) -> np.ndarray:
        """Return True on the pixels between the modules, shape (y, x)."""
        rows = np.arange(self.shape[0]) % (self.module[0] + self.gap[0]) >= self.module[0]
        columns = np.arange(self.shape[1]) % (self.module[1] + self.gap[1]) >= self.module[1]
        return rows[:, None] | columns[None, :]


def _turn(axis: int, angle: float) -> np.ndarray:
    """Rotation matrix about one axis, right-handed (Rodrigues' formula)."""
    cross = np.cross(np.eye(3)[axis], np.eye(3)).T
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


# Eiger2 modules and gaps after the maker's drawings; "small" is a strip with the full radial range, for tests.
_LAYOUTS: dict[str, tuple[tuple[int, int], tuple[int, int], tuple[int, int]]] = {
    "eiger1m": ((1062, 1028), (512, 1028), (38, 12)),
    "eiger4m": ((2162, 2068), (512, 1028), (38, 12)),
    "small": ((128, 1028), (60, 1028), (8, 12)),
}


def place(detector: str | tuple[int, int]) -> Detector:
    """Return a detector by name, or one of the given shape (rows, columns), put where q = 1.1 to 5 1/angstrom meets it.

    The beam passes beside the detector, a third of its width before the first column, which needs no beam stop and
    gives the lines of a battery the best separation. The instrument's width is two pixels.
    """
    if isinstance(detector, str):
        choose("detector", detector, _LAYOUTS)
        name, (shape, module, gap) = detector, _LAYOUTS[detector]
    else:
        shape = _shape(detector)
        name, module, gap = "custom", (max(1, (shape[0] - 4) // 2), shape[1]), (4, 4)
    pixel = 75e-6
    distance = 0.635 * shape[1] / 1028
    return Detector(
        name=name,
        shape=shape,
        module=module,
        gap=gap,
        pixel=pixel,
        distance=distance,
        poni=(0.42 * shape[0] * pixel, -0.27 * pixel * shape[1]),
        rotation=(0.004, -0.003, 0.02),
        fwhm=2.0 * np.rad2deg(pixel / distance),
    )


def _shape(detector: tuple[int, int]) -> tuple[int, int]:
    sizes = tuple(detector)
    if len(sizes) != 2 or any(isinstance(n, bool) or int(n) != n or not 16 <= n <= 8192 for n in sizes):
        raise ValueError(
            f"detector must be a name ({', '.join(_LAYOUTS)}) or (rows, columns), each 16 to 8192, got {detector!r}"
        )
    return int(sizes[0]), int(sizes[1])


def scattering_angles(rays: np.ndarray) -> np.ndarray:
    """Return 2 theta in degree of each ray."""
    return np.rad2deg(np.arctan2(np.hypot(rays[..., 0], rays[..., 1]), rays[..., 2]))


def efficiency(detector: Detector, rays: np.ndarray, polarization: float) -> np.ndarray:
    """Return solid angle times polarisation of each pixel, relative to a pixel at the foot of the normal.

    Solid angle: area times cosine of incidence over distance squared. Polarisation: 1 - (1+P)/2 h^2 - (1-P)/2 v^2 with
    h and v the scattered direction's components along the horizontal and the vertical, P = 1 for a horizontal field.
    """
    length = np.linalg.norm(rays, axis=-1)
    unit = rays / length[..., None]
    incidence = unit @ detector.axes()[:, 2]
    solid = incidence * (detector.distance / length) ** 2
    polarised = 1 - (1 + polarization) / 2 * unit[..., 1] ** 2 - (1 - polarization) / 2 * unit[..., 0] ** 2
    return solid * polarised


def blemishes(detector: Detector, generator: np.random.Generator) -> np.ndarray:
    """Return the pixel mask (uint32, Dectris bits): gaps, one pixel in 10,000 dead, one in 20,000 noisy."""
    mask = np.where(detector.gaps(), GAP, 0).astype(np.uint32)
    n_pixels = mask.size
    n_dead, n_noisy = max(2, n_pixels // 10_000), max(1, n_pixels // 20_000)
    chosen = generator.choice(np.flatnonzero(mask.ravel() == 0), n_dead + n_noisy, replace=False)
    mask.ravel()[chosen[:n_dead]] |= DEAD
    mask.ravel()[chosen[n_dead:]] |= NOISY
    return mask
