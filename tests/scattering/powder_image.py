"""An image of a powder's rings from rotation matrices and vectors alone: nothing of pyFAI or batlab is used."""

import numpy as np

LAB6 = 4.156826  # angstrom, NIST SRM 660c
EIGER_4M = (2167, 2070)
PIXEL = 75e-6


def cubic_primitive(n_rings, a=LAB6):
    """Spacings of a primitive cubic lattice, largest first."""
    sums = {h * h + k * k + l * l for h in range(9) for k in range(9) for l in range(9)}  # noqa: E741
    return a / np.sqrt(np.array(sorted(sums - {0})[:n_rings], float))


def two_theta(shape, distance, poni, rotation, y, x, pixel=PIXEL):
    """Scattering angle [rad] of places on a detector (0 is the centre of the first pixel), after the .poni paper."""
    one, two, three = rotation
    turn1 = np.array([[1, 0, 0], [0, np.cos(one), np.sin(one)], [0, -np.sin(one), np.cos(one)]])
    turn2 = np.array([[np.cos(two), 0, -np.sin(two)], [0, 1, 0], [np.sin(two), 0, np.cos(two)]])
    turn3 = np.array([[np.cos(three), -np.sin(three), 0], [np.sin(three), np.cos(three), 0], [0, 0, 1]])
    flat = np.stack(np.broadcast_arrays((y + 0.5) * pixel - poni[0], (x + 0.5) * pixel - poni[1], distance), axis=-1)
    ray = flat @ (turn3 @ turn2 @ turn1).T
    return np.arctan2(np.hypot(ray[..., 0], ray[..., 1]), ray[..., 2])


def powder_image(
    seed, *, shape=EIGER_4M, distance=0.3, poni=(0.081, 0.0775), rotation=(0.006, -0.004, 0.0), wavelength=0.2,
    spacings=None, height=60.0, ground=8.0, width=1.2, pixel=PIXEL,
):  # fmt: skip
    """Poisson counts of rings `width` pixels (sigma) broad on a falling ground."""
    generator = np.random.default_rng(seed)
    spacings = cubic_primitive(26) if spacings is None else spacings
    rings = 2 * np.arcsin(wavelength / 2 / spacings)
    sigma = width * pixel / distance
    counts = np.empty(shape)
    for first in range(0, shape[0], 256):
        y = np.arange(first, min(first + 256, shape[0]))[:, None]
        angle = two_theta(shape, distance, poni, rotation, y, np.arange(shape[1])[None, :], pixel)
        counts[y[:, 0]] = ground * (1 + np.exp(-angle / 0.1))
        for number, ring in enumerate(rings):
            peak = np.exp(-0.5 * np.minimum(np.abs(angle - ring) / sigma, 30) ** 2)
            counts[y[:, 0]] += height / (1 + 0.05 * number) * peak
    return generator.poisson(counts).astype(np.uint32)
