"""What the failure annotator shows, as plain numbers and words."""

from __future__ import annotations

from traitlets import Unicode

from batlab.dashboards.comparison_state import ComparisonState


class AnnotatorState(ComparisonState):
    """The state of a `FailureAnnotator`: that of a comparison of techniques, and what the form is about.

    Attributes
    ----------
    about
        ``"evidence:…"`` for a suggestion, ``"mark:…"`` for a mark that is there, ``""`` for a new mark.
    """

    about = Unicode("")
