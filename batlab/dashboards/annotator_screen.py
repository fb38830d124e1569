"""The figures of the failure annotator: panels of techniques with boxes of marks and suggestions."""

from __future__ import annotations

from bokeh.models import BoxSelectTool, ColumnDataSource, CustomJS

from batlab.dashboards.annotator_state import AnnotatorState
from batlab.dashboards.comparison_data import ComparisonData
from batlab.dashboards.comparison_panels import Panels
from batlab.dashboards.parts import keys_text
from batlab.figures.annotator import Note, add_notes, note_columns
from batlab.figures.technique_panel import Panel


class AnnotatorScreen(Panels):
    """Panels on which dragging selects; every method sends one part."""

    drag = BoxSelectTool

    def __init__(self, data: ComparisonData, state: AnnotatorState) -> None:
        super().__init__(data, state)
        self.pressed = ColumnDataSource(data={"key": [""], "text": [""], "time": [0.0]}, name="pressed")
        self.root.tags = [self.request, self.pressed]

    def _add_annotations(self, panel: Panel) -> None:
        add_notes(panel.plot, panel.name)

    def make_documents(self) -> None:
        """Put the figures into a document with arrows and letters."""
        code = keys_text("annotator_keys.js")
        self.make_document(CustomJS(args={"root": self.root, "pressed": self.pressed}, code=code))

    def show_notes(self, notes: dict[str, list[Note]], state: AnnotatorState) -> None:
        """Draw marks and suggestions of each technique on its panel."""
        for name in self.data.names:
            columns = note_columns((note, self.box_of(name, state, note.where)) for note in notes.get(name, []))
            source = self.source(f"{self.panel(name).name}_notes")
            if columns != dict(source.data):
                source.data = columns
