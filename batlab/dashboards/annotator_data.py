"""The experiment behind the failure annotator: where marks and evidence lie on its techniques."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import ClassVar

from batlab.dashboards.annotator_state import AnnotatorState
from batlab.dashboards.comparison_data import ComparisonData
from batlab.dashboards.comparison_state import ComparisonState
from batlab.failure import Evidence
from batlab.figures.annotator import frames_of, technique_of
from batlab.schema import identity


@dataclass(eq=False)
class AnnotatorData(ComparisonData):
    """Techniques, each of which can be marked: frames of a series, records of a cycler."""

    WHO: ClassVar[str] = "dashboards.FailureAnnotator"
    STATE: ClassVar[type[ComparisonState]] = AnnotatorState

    @property
    def markable(self) -> list[str]:
        """Every technique."""
        return self.names

    @property
    def experiment_name(self) -> str:
        """The name of the tree, else one made of the identities of its members: the same whenever it is opened."""
        if self.tree.name:
            return str(self.tree.name)
        told = "".join(sorted(identity(self.given(name)) for name in self.names))
        return f"experiment {hashlib.sha256(told.encode()).hexdigest()[:8]}"

    def place_of(self, evidence: Evidence) -> tuple[str, int, int, None, None] | None:
        """Return technique and frames that evidence speaks of; None where no technique on the screen has them."""
        name = technique_of(evidence, self.names)
        span = frames_of(evidence, self.experiment.tables[name]) if name else None
        return None if name is None or span is None else (name, *span, None, None)
