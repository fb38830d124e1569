"""How a cell ages: what each mechanism does by the end of life, where the sizes come from, how it grows until then."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from numbers import Real
from pathlib import Path

import numpy as np

from batlab.errors import did_you_mean

FIRST = 3  # cycles before the first check-up, in which nothing planted happens
HEALTHY = "healthy"
TABLE = Path(__file__).with_name("ageing.toml")


@dataclass(frozen=True)
class Condition:
    """What a cell has suffered since it was built, apart from its state of charge.

    `side` is the lithium consumed by side reactions, as a part of the inventory after formation; `metal` the part of
    the inventory that lies as dead metal. `isolated`, `converted`, `blocked` and `dissolved` are parts of the positive
    material that no longer work: cut off from the current, turned to rock salt, blocked by nickel on lithium's sites,
    gone to the negative electrode. `fatigued` is the part that works only below a threshold of charge. `negative` is
    the lost part of the graphite. `spread` [lithium per C6, one σ] is how unequally the graphite is charged when half
    full, `mixing` the nickel on lithium's sites per formula unit, `resistance` a factor less one, `plated` the metal
    at the end of a fast charge that goes back, as a part of the inventory.
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
    resistance: float = 0.0
    plated: float = 0.0

    @property
    def positive(self) -> float:
        """Part of the positive material that is lost."""
        return self.isolated + self.converted + self.blocked + self.dissolved


@dataclass(frozen=True)
class Effect:
    """One effect of a mechanism by the last cycle at severity 1; see the head of ``ageing.toml`` for each field."""

    what: str
    size: tuple[float, float]
    kind: str
    says: str
    doi: tuple[str, ...]
    of: str = ""


@dataclass(frozen=True)
class Mechanism:
    """Its effects, and the power of time with which they grow."""

    effects: Mapping[str, Effect]
    grows: float

    def drawn(self, generator: np.random.Generator) -> dict[str, float]:
        """Return the sizes of one cell."""
        sizes: dict[str, float] = {}
        for name, one in self.effects.items():
            sizes[name] = float(generator.uniform(*one.size)) * (sizes[one.of] if one.of else 1.0)
        return sizes


@dataclass(frozen=True)
class Fate:
    """What one cell has before it by its last cycle: sizes of effects by mechanism, severities included.

    `mixing` is nickel on lithium's sites from its making.
    """

    sizes: Mapping[str, Mapping[str, float]]
    mixing: float = field(default=0.0)

    def condition(self, n_cycles: int, done: int) -> Condition:
        """Return the condition after `done` of `n_cycles` cycles."""
        part = max(0.0, (done - FIRST) / (n_cycles - FIRST))
        total = dict.fromkeys((one.name for one in fields(Condition)), 0.0) | {"mixing": self.mixing}
        for name, effects in self.sizes.items():
            for effect, size in effects.items():
                total[effect] += size * part ** EVERY[name].grows
        return Condition(**total)


def _read(path: Path) -> dict[str, Mechanism]:
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    return {
        name: Mechanism(
            {key: Effect(**one | {"size": tuple(one["size"]), "doi": tuple(one["doi"])})
             for key, one in body.items() if isinstance(one, dict)},
            body["grows"],
        )
        for name, body in table.items()
    }  # fmt: skip


EVERY: dict[str, Mechanism] = _read(TABLE)
MECHANISMS: dict[str, Mechanism] = {name: one for name, one in EVERY.items() if name != HEALTHY}


def sources() -> list[dict[str, object]]:
    """Return where the size of every effect comes from: a row each, ``size`` at severity 1 from low to high.

    Examples
    --------
    >>> rows = [row for row in sources() if row["mechanism"] == "transition_metal_dissolution"]
    >>> rows[0]["effect"], rows[0]["size"], rows[0]["doi"][0]
    ('dissolved', (0.0016, 0.0016), '10.1039/D0JA00491J')
    """
    return [
        {"mechanism": name, "effect": effect, "what": one.what, "size": one.size, "of": one.of, "kind": one.kind,
         "says": one.says, "doi": one.doi}
        for name, mechanism in EVERY.items() for effect, one in mechanism.effects.items()
    ]  # fmt: skip


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


def fate(severities: Mapping[str, float], mixing: float, generator: np.random.Generator) -> Fate:
    """Return what lies before a cell; its sizes do not depend on what else is planted."""
    drawn = {name: one.drawn(generator) for name, one in EVERY.items()}
    sizes = {HEALTHY: drawn[HEALTHY]}
    for name, severity in severities.items():
        # A part of another effect is scaled with that one.
        sizes[name] = {effect: severity * size for effect, size in drawn[name].items()}
    return Fate(sizes, mixing)
