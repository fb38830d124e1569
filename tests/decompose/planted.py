"""Planted series with known components, made from smooth edges and from lines: what components are tested against."""

from __future__ import annotations

from itertools import permutations
from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy.special import erf

from batlab.decompose import Constraints
from batlab.schema import quantity

ENERGY = np.linspace(8325.0, 8425.0, 101)
NOISE = 0.001
CLOSED = Constraints(closure=1)


class Planted(NamedTuple):
    """A noisy series and the truth behind it."""

    series: xr.DataArray
    concentration: np.ndarray  # (frame, component)
    spectra: np.ndarray  # (component, axis)


def edge(energy, e0, white_line, ripple):
    """Return a Ni K-like edge of unit step: an error function, a white line behind it and one slow wave above."""
    step = 0.5 * (1 + erf((energy - e0) / 2.4))
    line = white_line * np.exp(-(((energy - e0 - 6.0) / 5.0) ** 2))
    return step * (1 + ripple * np.sin((energy - e0) / 9.0) * np.exp(-(energy - e0) / 60.0)) + line


def nickel(energy=ENERGY):
    """Return three Ni K-like spectra: the edge climbs, the white line falls."""
    return np.array(
        [edge(energy, 8340.5, 0.42, 0.08), edge(energy, 8342.5, 0.45, 0.10), edge(energy, 8344.5, 0.30, 0.06)]
    )


def three_steps(n_frames=60, reach=0.73):
    """Return concentrations of A -> B -> C that sum to one; B peaks at 0.80 in no pure frame, A and C end at zero."""
    x = np.linspace(0, 1, n_frames)
    first = np.clip(1 - x / reach, 0, None) ** 2
    last = np.clip(1 - (1 - x) / reach, 0, None) ** 2
    return np.column_stack([first, 1 - first - last, last])


def table(values, axis=ENERGY, name="energy", units="eV", of="mu_norm"):
    """Return numbers as a series (frame, axis)."""
    coords = {
        "frame": quantity("frame", np.arange(len(values)), "1", "frame"),
        name: quantity(name, axis, units, name.replace("_", " ")),
    }
    held = quantity(("frame", name), values, "1", "signal")
    return xr.DataArray(held, coords, name=of)


def lines():
    """Return an axis and three spectra of lines that overlap, on a background: the range of their mixtures is small."""
    x = np.linspace(0.0, 10.0, 120)

    def line(centre, width):
        return np.exp(-(((x - centre) / width) ** 2))

    return x, 0.05 + np.array(
        [line(2, 1) + 0.3 * line(5, 1.2), line(4, 1) + 0.4 * line(7, 1), line(6, 1.2) + 0.5 * line(2.5, 1)]
    )


def planted(seed=0, noise=NOISE, concentration=None, spectra=None, axis=ENERGY, **named):
    """Return the Ni K series of a seed, or another one: white noise; by default no pure middle component."""
    concentration = three_steps() if concentration is None else concentration
    spectra = nickel() if spectra is None else spectra
    exact = concentration @ spectra
    noisy = exact + np.random.default_rng(seed).normal(0, noise, exact.shape)
    return Planted(table(noisy, axis, **named), concentration, spectra)


def known(*numbers):
    """Return closure and true spectra of some components."""
    spectra = nickel()
    return Constraints(closure=1, known_spectra={number: spectra[number] for number in numbers})


def outside(result, truth):
    """Return how far the truth lies outside the bands of concentration at most, whichever way components are named."""
    data = result.dataset
    own = data["concentration"].values
    free = not result.constraints.known_spectra
    orders = list(permutations(range(truth.shape[1]))) if free else [tuple(range(truth.shape[1]))]
    order = list(min(orders, key=lambda one: np.abs(own - truth[:, one]).sum()))
    low, high = data["concentration_low"].values, data["concentration_high"].values
    return max((low - truth[:, order]).max(), (truth[:, order] - high).max())
