"""A Bokeh figure as a Jupyter widget that never shows old data."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bokeh.document import Document
from bokeh.events import DocumentReady
from bokeh.models import CustomJS, LayoutDOM
from bokeh.protocol import Protocol
from jupyter_bokeh import BokehModel

PATIENCE = 10.0  # s for a browser to paint; one that was closed never does


class FigureView(BokehModel):
    """`BokehModel` with a fresh document for whoever looks later: after a reload, in a second view.

    The widget keeps its document as text made at its birth. Here the text is made anew when the browser asks for the
    widget's state, and again when a view reports that it has painted an old one. Events that pile up while the kernel
    is busy are combined; the last one always arrives.
    """

    def __init__(self, model: LayoutDOM, **kwargs: Any) -> None:
        self._changes = 0
        self._asked: float | None = None  # when a browser was last asked to paint
        self._bundled = 0
        self._batch: list[Any] | None = None
        if model.document is None:
            Document().add_root(model)
        quiet = Path(__file__).with_name("calm.js").read_text(encoding="utf-8")
        model.document.js_on_event(DocumentReady, CustomJS(code=quiet))
        super().__init__(model, combine_events=True, **kwargs)
        self._model.document.on_event(DocumentReady, self._painted)

    def get_state(self, key: Any = None, drop_defaults: bool = False) -> dict[str, Any]:
        """Return the widget's state with the document as it is now."""
        wanted = key is None or key == "render_bundle" or (not isinstance(key, str) and "render_bundle" in key)
        if wanted and getattr(self, "comm", None) is not None:
            self._trait_values["render_bundle"] = self._model_to_traits(self._model)
            self._bundled = self._changes
            self.expect_paint()
        return super().get_state(key=key, drop_defaults=drop_defaults)

    @property
    def is_stale(self) -> bool:
        """Whether Python has changed the figure since its document was last made into text."""
        return self._bundled != self._changes

    def expect_paint(self) -> None:
        """Note that a browser is about to paint the whole document."""
        self._asked = time.monotonic()

    @property
    def is_painting(self) -> bool:
        """Whether a browser is at work on the whole document: a change now would make it begin again."""
        return self._asked is not None and time.monotonic() - self._asked < PATIENCE

    def refresh(self) -> None:
        """Send the whole document, if it has changed; every view then paints it."""
        if self.is_stale:
            self.send_state("render_bundle")

    def _painted(self, _event: Any) -> None:
        self._asked = None
        self.refresh()

    def _document_patched(self, event: Any) -> None:
        if event.setter is self:
            return
        self._changes += 1
        if self._batch is None:
            super()._document_patched(event)
        else:
            self._batch.append(event)

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Send all changes made within as one message: a step that moves a dozen parts needs no dozen of them."""
        if self._batch is not None:
            yield
            return
        self._batch = []
        try:
            yield
        finally:
            events, self._batch = self._batch, None
            if events:
                self._send_patch(Protocol().create("PATCH-DOC", events))

    def _send_patch(self, message: Any) -> None:
        for part in (message.header_json, message.metadata_json, message.content_json):
            self.send({"msg": "patch", "payload": part})
        for buffer in message.buffers:
            self.send({"msg": "patch", "payload": json.dumps(buffer.ref)})
            self.send({"msg": "patch"}, [buffer.to_bytes()])
