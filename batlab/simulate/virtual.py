"""One virtual cell that ages as it is told, seen by diffraction, absorption and electrochemistry."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import choose
from batlab.schema import quantity, record
from batlab.simulate import absorption, ageing, cell_life, diffraction
from batlab.simulate.cell import GRAPHITE_VOLTAGE, NMC_VOLTAGE
from batlab.simulate.cell_life import Life
from batlab.simulate.structures import write_cif
from batlab.simulate.virtual_truth import EXPOSURES, LAG, moments, virtual_truth

FUNCTION = "simulate.virtual_cell"
TECHNIQUES = ("xrd", "xas", "echem")
START = np.datetime64("2024-03-05T09:00:00", "ns")
LEAST_CYCLES = 12
# What differs from cell to cell (relative, 1 σ): sizes of both electrodes, resistance, nickel on lithium's sites.
CELLS = {"positive": 0.01, "negative": 0.01, "resistance": 0.05, "mixing": 0.08}
MIXING = 0.03
# Noise and drift, 1 σ: of readings [V, A, degC], of where the sample lies and of the flux (parts), of the energy [eV],
# of μ in transmission and in fluorescence, of how much nickel the beam meets.
READING = {"voltage": 2e-4, "current": 2e-6, "temperature": 0.05}
PLACE = {"session": 1e-4, "frame": 1e-5}
FLUX = 0.005
CALIBRATION = {"session": 0.10, "frame": 0.02}
MU, MU_DEPOSIT, SPOT = 1.0e-3, 2.0e-4, 0.006


def virtual_cell(
    mechanisms: Mapping[str, float],
    *,
    n_cycles: int = 100,
    seed: int = 0,
    techniques: Sequence[str] = TECHNIQUES,
    noise: float = 1.0,
) -> xr.DataTree:
    """Return the measurements of one NMC811/graphite cell of 50 mAh that ages by the `mechanisms`.

    Lithium is counted: a charge takes it from the oxide and brings it to the graphite, less what side reactions eat;
    material that is lost keeps what is in it. Lithium per unit in both electrodes gives the voltage, the cells and
    shares of the phases in the beam, and the valence of nickel. Two formation cycles at C/10, then `n_cycles` of
    ageing (charge at C/2 up to 4.2 V, held; discharge at 1C down to 3.0 V), among them five check-ups: a cycle with
    pulses and one at C/20. In the first, the third and the last of them 22 moments are seen by X-rays, 10 in charge,
    one at rest, 10 in discharge, one at rest. The first check-up comes before anything planted.

    Every cell differs a little by its `seed`, and ages a little without any mechanism: a thickening interphase. The
    measurements have Poisson noise, a sample that does not lie in its old place after each visit to the beamline
    (the lines of the copper foil tell), a monochromator that reads off by about 0.1 eV (the nickel foil tells),
    and a beam that meets more or less of the electrode. Diffraction sees the whole cell; absorption the positive
    electrode in transmission, through a hole in the graphite, and in fluorescence the graphite beside it, where metal
    that dissolved lies: far too little to be missed in the positive electrode. Such a measurement in a working cell:
    Mantouvalou et al. 2025 (doi:10.1002/smll.202502460).

    **Of what kind it is.** A test of the analysis, not of nature: the half cells (`virtual_potentials`) and the phases
    (`virtual_structures`) that an analysis is given are exactly those that made the data, lines have the shape that is
    fitted, noise is independent, and every mechanism acts alike in every cell but for its severity. Inverting a model
    with itself flatters whoever does it ("inverse crime": Kaipio and Somersalo, J. Comput. Appl. Math. 198, 493
    (2007), doi:10.1016/j.cam.2005.09.027). What is found here is an upper bound of what real cells allow; a
    calibration on these cells holds for these cells.

    Parameters
    ----------
    mechanisms
        Name -> severity, above 0 and up to 1; ``{}`` is a healthy cell. ``"lithium_plating"``, ``"sei_growth"``,
        ``"particle_cracking"``, ``"fatigued_phase"``, ``"cation_mixing"``, ``"surface_reconstruction"``,
        ``"graphite_inhomogeneity"``, ``"transition_metal_dissolution"``. What severity 1 does by the last cycle each
        cell draws from ranges that papers report: `virtual_sources`, with DOI. Nothing else is planted.
    n_cycles
        Cycles of ageing, at least 12. However many: the end of life is the last of them.
    seed
        Same seed, same bits.
    techniques
        Which of ``"xrd"``, ``"xas"``, ``"echem"`` are measured. The others' noise does not depend on it.
    noise
        Factor of all noise and drift, and of the σ that are stated; 0 for none, with σ as for 1.

    Returns
    -------
    xarray.DataTree
        ``/xrd``: ``intensity`` [count] with σ over (``frame``, ``q``); attribute ``wavelength``. ``/xas``: ``mu``,
        ``mu_reference`` and ``mu_negative`` with σ over (``frame``, ``energy``). Both have on ``frame`` what the record
        says at the middle of the exposure: ``cycle``, ``voltage``, ``capacity`` (charge passed in the cycle),
        ``state_of_charge`` (that over what this cycle's charge took), and ``time``, ``exposure``. ``/echem``: a
        cycler's record. ``/truth``, never to be read by an analysis: over ``cycle`` the losses since the first
        check-up, sizes of electrodes [Ah], inventory, resistance; over ``frame`` cells, shares, shift of the edge;
        attributes ``mechanisms`` (severities) and ``sizes`` (what came of them by the last cycle), JSON.

    Raises
    ------
    TypeError
        `mechanisms` without severities.
    ValueError
        An unknown mechanism or technique; a severity, `n_cycles` or `noise` out of range.

    See Also
    --------
    virtual_sources : whence the sizes. virtual_potentials : the half cells. virtual_structures : the phases as CIF.

    Examples
    --------
    >>> cell = virtual_cell({"lithium_plating": 0.5}, n_cycles=12, techniques=["echem"])
    >>> sorted(cell.children), round(float(cell["/truth"]["lli"][-1]), 1)
    (['echem', 'truth'], 0.1)
    """
    severities = ageing.planted(mechanisms)
    chosen = _checked(n_cycles, techniques, noise)
    cell, *others = (np.random.default_rng(one) for one in np.random.SeedSequence(seed).spawn(4))
    told: dict[str, Any] = {"n_cycles": n_cycles, "seed": seed, "noise": noise}
    life, fate = _life(severities, cell, n_cycles)
    makers = {"xrd": _xrd, "xas": _xas, "echem": _echem}
    nodes = {}
    for name, generator in zip(TECHNIQUES, others, strict=True):
        if name in chosen:
            nodes[f"/{name}"] = _signed(makers[name](life, generator, noise), name, told)
    truth = virtual_truth(life)
    truth.attrs.update(mechanisms=json.dumps(severities), sizes=json.dumps(fate.sizes))
    nodes["/truth"] = record(truth, FUNCTION, mechanisms=severities, techniques=list(chosen), **told)
    return xr.DataTree.from_dict(nodes)


def virtual_structures(folder: str | Path) -> dict[str, Path]:
    """Write a CIF of every phase that may be in a virtual cell into `folder` and return the files by phase.

    Examples
    --------
    >>> import tempfile
    >>> sorted(virtual_structures(tempfile.mkdtemp()))
    ['Al', 'Cu', 'Li', 'LiC12', 'LiC6', 'NMC811', 'NiO', 'graphite']
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    return {name: write_cif(one, Path(folder)) for name, one in diffraction.EVERY.items()}


def virtual_sources() -> list[dict[str, object]]:
    """Return where the size of everything that is planted in a virtual cell comes from.

    Returns
    -------
    list of dict
        One for each effect of each mechanism, and of a healthy cell: ``mechanism``, ``effect``, ``what`` (with its
        unit: parts unless it says otherwise), ``size`` by the last cycle at severity 1 (low, high: each cell draws its
        own), ``of`` (the effect of which it is a part), ``kind`` (``"stated"`` by the source, ``"derived"`` from it,
        or ``"bound"``: the source shows the effect, not its size), ``says`` (what the source says, and how the size
        follows), ``doi``. The table is ``batlab/simulate/ageing.toml``.

    Examples
    --------
    >>> for row in virtual_sources():
    ...     if row["kind"] == "stated":
    ...         print(row["mechanism"], row["effect"], row["size"])
    transition_metal_dissolution dissolved (0.0016, 0.0016)
    """
    return ageing.sources()


def virtual_potentials() -> dict[str, tuple[tuple[float, ...], tuple[float, ...]]]:
    """Return the half cells of the virtual cell, ``"positive"`` and ``"negative"``: (lithiation, potential [V]).

    As measured on fresh electrodes of the same making; what `echem.half_cell` takes.

    Examples
    --------
    >>> lithiation, potential = virtual_potentials()["negative"]
    >>> lithiation[0], potential[0]
    (0.0, 0.8)
    """
    return {"positive": NMC_VOLTAGE, "negative": GRAPHITE_VOLTAGE}


def _checked(n_cycles: Any, techniques: Sequence[str], noise: Any) -> list[str]:
    if isinstance(n_cycles, bool) or not isinstance(n_cycles, Integral) or n_cycles < LEAST_CYCLES:
        raise ValueError(f"n_cycles must be a whole number of at least {LEAST_CYCLES}, got {n_cycles!r}")
    if isinstance(noise, bool) or not isinstance(noise, Real) or not 0 <= float(noise) < np.inf:
        raise ValueError(f"noise must be 0 (none), 1 (usual) or any number above, got {noise!r}")
    chosen = [techniques] if isinstance(techniques, str) else list(techniques)
    if not chosen:
        raise ValueError(f"techniques must name at least one of {', '.join(TECHNIQUES)}, got none")
    for one in chosen:
        choose("techniques", one, TECHNIQUES)
    return chosen


def _life(severities: Mapping[str, float], generator: np.random.Generator, n_cycles: int) -> tuple[Life, ageing.Fate]:
    scale = tuple(1 + CELLS[name] * generator.normal() for name in ("positive", "negative", "resistance"))
    mixing = MIXING * (1 + CELLS["mixing"] * generator.normal())
    fate = ageing.fate(severities, mixing, generator)
    return cell_life.live(fate, n_cycles, scale=(scale[0], scale[1], scale[2])), fate


def _xrd(life: Life, generator: np.random.Generator, noise: float) -> xr.Dataset:
    sessions = _sessions(life)
    place = noise * PLACE["session"] * generator.normal(size=sessions.max() + 1)[sessions]
    place += noise * PLACE["frame"] * generator.normal(size=len(sessions))
    flux = 1 + noise * FLUX * generator.normal(size=len(sessions))
    there = moments(life, EXPOSURES["xrd"] / 2)
    mean = np.array([
        bright * diffraction.expected(diffraction.seen(y, x, told, metal), told, stretch=stretch)
        for (y, x, told, metal), stretch, bright in zip(there, place, flux, strict=True)
    ])  # fmt: skip
    counts = mean + noise * (generator.poisson(mean) - mean) if noise else mean
    # With other noise than Poisson's, counts do not tell their own σ.
    sigma = np.sqrt(np.maximum(counts if noise == 1 else mean, 1.0)) * (noise or 1.0)
    dims = ("frame", "q")
    return xr.Dataset(
        {
            "intensity": quantity(dims, counts, "count", "intensity"),
            "intensity_sigma": quantity(dims, sigma, "count", "σ of the intensity"),
        },
        {**_frame_coordinates(life, "xrd"), "q": quantity("q", diffraction.Q, "1/angstrom", "scattering vector")},
        {"wavelength": diffraction.WAVELENGTH},
    )


def _xas(life: Life, generator: np.random.Generator, noise: float) -> xr.Dataset:
    sessions = _sessions(life)
    drift = noise * CALIBRATION["session"] * generator.normal(size=sessions.max() + 1)[sessions]
    drift += noise * CALIBRATION["frame"] * generator.normal(size=len(sessions))
    spot = 1 + noise * SPOT * generator.normal(size=sessions.max() + 1)[sessions]
    there = moments(life, LAG + EXPOSURES["xas"] / 2)
    pairs = [absorption.expected(y, told, drift=off) for (y, _, told, _), off in zip(there, drift, strict=True)]
    mu, foil = (np.array(rows) for rows in zip(*pairs, strict=True))
    mu = mu * spot[:, None] + noise * MU * generator.normal(size=mu.shape)
    foil = foil + noise * MU * generator.normal(size=foil.shape)
    deposit = np.array([absorption.deposit(told, drift=off) for (_, _, told, _), off in zip(there, drift, strict=True)])
    deposit = deposit + noise * MU_DEPOSIT * generator.normal(size=deposit.shape)
    dims, sigma = ("frame", "energy"), np.full(mu.shape, MU * (noise or 1.0))
    weak = np.full(mu.shape, MU_DEPOSIT * (noise or 1.0))
    return xr.Dataset(
        {
            "mu": quantity(dims, mu, "1", "absorption of the positive electrode"),
            "mu_sigma": quantity(dims, sigma, "1", "σ of the absorption"),
            "mu_reference": quantity(dims, foil, "1", "absorption of the nickel foil"),
            "mu_reference_sigma": quantity(dims, sigma.copy(), "1", "σ of the absorption of the foil"),
            "mu_negative": quantity(dims, deposit, "1", "absorption of what lies on the negative electrode"),
            "mu_negative_sigma": quantity(dims, weak, "1", "σ of the absorption of the deposit"),
        },
        {**_frame_coordinates(life, "xas"), "energy": quantity("energy", absorption.ENERGY, "eV", "energy")},
        {"element": "Ni", "edge": "K"},
    )


def _sessions(life: Life) -> np.ndarray:
    return np.unique([look.cycle for look in life.looks], return_inverse=True)[1]


def _frame_coordinates(life: Life, technique: str) -> dict[str, xr.Variable]:
    """Return what the cell's record says at the middle of each exposure."""
    exposure = EXPOSURES[technique]
    begins = np.array([look.seconds for look in life.looks]) + (LAG if technique == "xas" else 0.0)
    seconds, voltage, _, charge, cycle, _ = life.record
    middle = begins + exposure / 2
    charge_there = np.interp(middle, seconds, charge)
    cycles = np.array([look.cycle for look in life.looks])
    tops = np.array([charge[cycle == one].max() for one in cycles])
    time = START + np.round(begins * 1e9).astype("timedelta64[ns]")
    return {
        "frame": quantity("frame", np.arange(len(begins)), "1", "frame"),
        "time": quantity("frame", time, "", "start of exposure (UTC)"),
        "exposure": quantity("frame", np.full(len(begins), exposure), "s", "exposure"),
        "cycle": quantity("frame", cycles, "1", "number of the cycle"),
        "voltage": quantity("frame", np.interp(middle, seconds, voltage), "V", "voltage of the cell"),
        "capacity": quantity("frame", charge_there, "Ah", "charge passed in the cycle"),
        "state_of_charge": quantity("frame", charge_there / tops, "1", "charge over that of this cycle's charge"),
    }


def _echem(life: Life, generator: np.random.Generator, noise: float) -> xr.Dataset:
    seconds, voltage, current, charge, cycle, step = life.record
    n = len(seconds)
    resting = current == 0
    voltage = voltage + noise * READING["voltage"] * generator.normal(size=n)
    read = np.where(resting, 0.0, current + noise * READING["current"] * generator.normal(size=n))
    warm = 25.0 + 20.0 * np.abs(current) + noise * READING["temperature"] * generator.normal(size=n)
    time = START + np.round(seconds * 1e9).astype("timedelta64[ns]")
    return xr.Dataset(
        {
            "voltage": quantity("record", voltage, "V", "voltage"),
            "current": quantity("record", read, "A", "current, positive on charge"),
            "capacity": quantity("record", charge, "Ah", "charge passed in the cycle"),
            "cycle": quantity("record", cycle, "1", "number of the cycle"),
            "step": quantity("record", step, "1", "step of the programme"),
            "temperature": quantity("record", warm, "degC", "temperature of the cell"),
        },
        {
            "record": quantity("record", np.arange(n), "1", "line of the record"),
            "test_time": quantity("record", seconds, "s", "time since the start of the test"),
            "time": quantity("record", time, "", "time (UTC)"),
        },
    )


def _signed(node: xr.Dataset, name: str, told: Mapping[str, Any]) -> xr.Dataset:
    """Return a node that names itself by its values, as a file would, and does not say what was planted."""
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(one.values).tobytes() for one in node.data_vars.values()))
    node.attrs.update(source=f"virtual cell, {name}", source_sha256=digest.hexdigest())
    return record(node, FUNCTION, **told)
