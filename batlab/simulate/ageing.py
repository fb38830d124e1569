"""How a cell ages: what each mechanism does at full severity by the end of life, and how it grows until then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from numbers import Real

import numpy as np

from batlab.errors import did_you_mean

FIRST = 3  # cycles before the first check-up, in which nothing planted happens


@dataclass(frozen=True)
class Condition:
    """What a cell has suffered since it was built, apart from its state of charge.

    `side` is the lithium consumed by side reactions, as a part of the inventory after formation; `metal` the part of
    the inventory that lies as dead metal. `isolated`, `converted`, `blocked` and `dissolved` are parts of the positive
    material that no longer work: cut off from the current, turned to rock salt, blocked by nickel on lithium's sites,
    gone into the electrolyte. `fatigued` is the part that works only below a threshold of charge. `negative` is the
    lost part of the graphite. `spread` [lithium per C6, one σ] is how unequally the graphite is charged when half
    full, `mixing` the nickel on lithium's sites per formula unit, `strain` the added microstrain, `resistance` a
    factor less one, `plated` the metal at the end of a fast charge that goes back, as a part of the inventory.
    """

    side: float = 0.0
    metal: float = 0.0
    isolated: float = 0.0
    converted: float = 0.0
    blocked: float = 0.0
    dissolved: float = 0.0
    fatigued: float = 0.0
    negative: float = 0.0
    spread: float = 0.0
    mixing: float = 0.0
    strain: float = 0.0
    resistance: float = 0.0
    plated: float = 0.0

    @property
    def positive(self) -> float:
        """Part of the positive material that is lost."""
        return self.isolated + self.converted + self.blocked + self.dissolved


@dataclass(frozen=True)
class Mechanism:
    """Its effects at severity 1 by the end of life, the power of time with which they grow, and where sizes come from.

    What sources give are orders of magnitude for one cell and programme each; severity scales them all together. Where
    a source bears on the kind of effect and not on its size, that is said.
    """

    effects: Condition
    power: float
    source: str


MECHANISMS: dict[str, Mechanism] = {
    "lithium_plating": Mechanism(
        # Metal strips again in rest and discharge; what does not is lost, most of it as dead metal.
        Condition(side=0.14, metal=0.09, plated=0.02, resistance=0.10),
        1.5,
        "Petzl and Danzer 2014, doi:10.1016/j.jpowsour.2013.12.060; Waldmann et al. 2018, "
        "doi:10.1016/j.jpowsour.2018.02.063; Paul et al. 2021, doi:10.1039/D1EE01216A",
    ),
    "sei_growth": Mechanism(
        # Square root of time, resistance with it.
        Condition(side=0.12, resistance=0.35),
        0.5,
        "Broussely et al. 2001, doi:10.1016/S0378-7753(01)00722-4; Keil et al. 2016, doi:10.1149/2.0411609jes",
    ),
    "particle_cracking": Mechanism(
        Condition(isolated=0.15, resistance=0.30, strain=1.2e-3),
        1.0,
        "Ryu et al. 2018, doi:10.1021/acs.chemmater.7b05269",
    ),
    "fatigued_phase": Mechanism(
        # The paper's share grew to a large part of the material; its threshold is `cell_steps.FATIGUED_AT`.
        Condition(fatigued=0.45, resistance=0.15),
        1.0,
        "Xu et al. 2021, doi:10.1038/s41563-020-0767-8",
    ),
    "cation_mixing": Mechanism(
        # That nickel on lithium's sites blocks them: the source. How much of it comes in a life is judgement.
        Condition(blocked=0.07, mixing=0.05, resistance=0.15),
        1.0,
        "Ohzuku et al. 1993, doi:10.1149/1.2220730; sizes by judgement",
    ),
    "surface_reconstruction": Mechanism(
        # A shell of 5 nm on primary particles of 300 nm is a tenth of their volume.
        Condition(converted=0.10, resistance=0.50),
        0.7,
        "Jung et al. 2017, doi:10.1149/2.0021707jes; Friedrich et al. 2019, doi:10.1149/2.0821915jes; "
        "Lin et al. 2014, doi:10.1038/ncomms4529",
    ),
    "graphite_inhomogeneity": Mechanism(
        # Lithiated graphite is cut off too, and keeps its lithium.
        Condition(spread=0.22, negative=0.07, side=0.01, resistance=0.10),
        1.0,
        "Finegan et al. 2020, doi:10.1039/D0EE01191F; Paul et al. 2021, doi:10.1039/D1EE01216A",
    ),
    "transition_metal_dissolution": Mechanism(
        # Metal on the graphite spoils its interphase: more lithium is lost than nickel (the source). How much metal
        # goes no source says: far more than full cells lose, so that the edge step of absorption shows it at all.
        Condition(dissolved=0.06, side=0.08, resistance=0.10),
        1.0,
        "Jung et al. 2019, doi:10.1149/2.1151902jes; amount of metal exaggerated by judgement",
    ),
}

# What a good cell does in the same time: a thickening interphase and little else.
HEALTHY = Condition(side=0.010, isolated=0.003, negative=0.002, resistance=0.03, strain=3e-5)
HEALTHY_SPREAD = 0.25  # relative, from cell to cell
HEALTHY_POWER = 0.5


def planted(mechanisms: Mapping[str, float]) -> dict[str, float]:
    """Return `mechanisms` with severities as plain numbers, in the order of the table.

    Raises
    ------
    TypeError
        No table of severities.
    ValueError
        An unknown name; a severity that is not a number above 0 and up to 1.
    """
    if not isinstance(mechanisms, Mapping):
        raise TypeError(f"mechanisms must be {{name: severity}}, got {mechanisms!r:.80}; {{}} is a healthy cell")
    for name, severity in mechanisms.items():
        if name not in MECHANISMS:
            hint = did_you_mean(name, MECHANISMS) or f"; it knows {', '.join(MECHANISMS)}"
            raise ValueError(f"simulate.virtual_cell does not know the mechanism {name!r}{hint}")
        if isinstance(severity, bool) or not isinstance(severity, Real) or not 0 < severity <= 1:
            raise ValueError(
                f"the severity of {name!r} must be above 0 and up to 1, got {severity!r}; leave out what is not there"
            )
    return {name: float(mechanisms[name]) for name in MECHANISMS if name in mechanisms}


def condition(
    mechanisms: Mapping[str, float], healthy: Condition, n_cycles: int, done: int, *, mixing: float
) -> Condition:
    """Return the condition after `done` of `n_cycles` cycles of a cell that has `mixing` from its making."""
    part = max(0.0, (done - FIRST) / (n_cycles - FIRST))
    total = replace(_scaled(healthy, part**HEALTHY_POWER), mixing=mixing)
    for name, severity in mechanisms.items():
        one = MECHANISMS[name]
        total = _sum(total, _scaled(one.effects, severity * part**one.power))
    return total


def healthy(generator: np.random.Generator) -> Condition:
    """Return what this cell would suffer without any planted mechanism."""
    return Condition(**{
        field.name: getattr(HEALTHY, field.name) * float(np.exp(generator.normal(0, HEALTHY_SPREAD)))
        for field in fields(Condition)
    })  # fmt: skip


def _scaled(one: Condition, factor: float) -> Condition:
    return Condition(**{field.name: factor * getattr(one, field.name) for field in fields(Condition)})


def _sum(one: Condition, other: Condition) -> Condition:
    return Condition(**{name.name: getattr(one, name.name) + getattr(other, name.name) for name in fields(Condition)})
