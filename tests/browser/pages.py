"""What a test does in a page: wait, find places on a figure, read what is shown."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Every figure that can be seen is painted; one in a tab that is not open may wait until it is.
HIDDEN = """(d) => {
  const views = Bokeh.index.roots.filter((one) => one.model.document === d);
  return views.length > 0 && views.every((one) => one.el.getClientRects().length === 0);
}"""
PAINTED = f"""() => window.Bokeh && Bokeh.documents.some((d) => d.is_idle)
  && Bokeh.documents.every((d) => d.is_idle || ({HIDDEN})(d))"""
STATE = f"""() => ({{
  visible: document.visibilityState,
  documents: window.Bokeh ? Bokeh.documents.map(
    (d) => [d.is_idle ? "painted" : ({HIDDEN})(d) ? "hidden" : "waits", d.roots().map((root) => root.name ?? root.type)]
  ) : "no Bokeh",
  text: document.body.innerText.slice(0, 2000)}})"""
KERNEL_IDLE = """() => {
  const panel = window.jupyterapp && jupyterapp.shell.currentWidget;
  const session = panel && panel.sessionContext && panel.sessionContext.session;
  return session && session.kernel && session.kernel.status === "idle";
}"""
SHOWN = """() => {
  const d = Bokeh.documents.filter((one) => one.get_model_by_name("explorer")).at(-1);
  const readout = document.querySelector(".batlab-explorer .widget-readout");
  return {title: Number(d.get_model_by_name("pattern").title.text.split(" ")[1]),
          map: d.get_model_by_name("map_cursor").location,
          panel: d.get_model_by_name("panel_cursor_1").location,
          slider: readout ? Number(readout.innerText) : NaN};
}"""
# Where a point of a figure lies on the page, whichever document it is in; without y, halfway up.
PLACE = """([name, x, y]) => {
  let found;
  const walk = (one) => {
    if (one.model.name === name && one.frame) found = one;
    (one.child_views || []).forEach(walk);
  };
  Bokeh.index.roots.forEach(walk);
  const box = found.canvas_view.el.getBoundingClientRect(), inner = found.frame.bbox;
  const top = y === null ? (inner.top + inner.bottom) / 2 : found.frame.y_scale.compute(y);
  return [box.left + found.frame.x_scale.compute(x), box.top + top];
}"""
RUN = """async (code) => {
  const panel = Array.from(jupyterapp.shell.widgets("main")).find((one) => one.sessionContext);
  const kernel = panel.sessionContext.session.kernel;
  const future = kernel.requestExecute({code, store_history: false});
  let said = "";
  future.onIOPub = (message) => {
    if (message.header.msg_type === "stream") said += message.content.text;
    if (message.header.msg_type === "error") said += message.content.traceback.join("\\n");
  };
  await future.done;
  return said.trim();
}"""


RESET = """() => {
  const model = Bokeh.documents.at(-1).get_model_by_name("map");
  const walk = (one) => { if (one.model === model) one.reset(); (one.child_views || []).forEach(walk); };
  Bokeh.index.roots.forEach(walk);
}"""


def notebook(path: Path, *cells: str) -> Path:
    """Write a notebook of code cells."""
    written = [
        {
            "id": f"cell{n}",
            "cell_type": "code",
            "metadata": {},
            "execution_count": None,
            "outputs": [],
            "source": source,
        }
        for n, source in enumerate(cells)
    ]
    kernel = {"name": "python3", "display_name": "Python 3"}
    path.write_text(
        json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": kernel}, "cells": written})
    )
    return path


def open_in_lab(page, url: str, name: str) -> None:
    """Open a notebook in JupyterLab and wait for its kernel."""
    page.goto(f"{url}/lab/tree/{name}?reset", wait_until="domcontentloaded")
    page.wait_for_function(KERNEL_IDLE, timeout=90_000)


def run_all(page) -> None:
    """Run every cell and wait until the figures are painted; then show the dashboard whole."""
    page.evaluate("() => jupyterapp.commands.execute('application:toggle-left-area')")
    page.evaluate("() => jupyterapp.commands.execute('notebook:run-all-cells')")
    wait_until_painted(page)
    bring_into_view(page)


def wait_until_painted(page, timeout: float = 90_000) -> None:
    """Wait until every figure is painted; where that does not come, say what the page has instead."""
    from playwright.sync_api import TimeoutError as PlaywrightTimeout

    try:
        page.wait_for_function(PAINTED, timeout=timeout)
    except PlaywrightTimeout as error:
        raise AssertionError(f"no figure was painted in {timeout / 1000:.0f} s: {page.evaluate(STATE)}") from error


def bring_into_view(page) -> None:
    """Scroll to the dashboard and wait until it listens to keys."""
    page.wait_for_selector(".batlab-explorer[tabindex]", timeout=30_000)
    page.evaluate("() => document.querySelector('.batlab-explorer').scrollIntoView()")


def wait_for_frame(page, frame: int) -> None:
    """Wait until slider, title and both cursors say `frame`."""
    page.wait_for_function(
        f"() => {{ const s = ({SHOWN})(); return Object.values(s).every((one) => one === {frame}); }}", timeout=30_000
    )


def place(page, figure: str, x: float, y: float | None = None) -> tuple[float, float]:
    """Return where on the page a point of a figure lies; without `y`, halfway up."""
    left, top = page.evaluate(PLACE, [figure, x, y])
    return left, top


def shot(page, name: str) -> None:
    """Keep a picture of the page in the folder that `BATLAB_SCREENSHOTS` names, if it names one."""
    folder = os.environ.get("BATLAB_SCREENSHOTS")
    if folder:
        wait_until_painted(page, 30_000)
        page.evaluate("() => document.querySelector('.batlab-explorer')?.scrollIntoView()")
        page.wait_for_timeout(500)
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


def drag(page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Press, move, release."""
    page.mouse.move(*start)
    page.mouse.down()
    for part in (0.25, 0.5, 0.75, 1.0):
        page.mouse.move(start[0] + part * (end[0] - start[0]), start[1] + part * (end[1] - start[1]))
    page.mouse.up()


def drag_until(page, ends: Callable[[], list[tuple[float, float]]], done: Callable[[], Any]) -> Any:
    """Drag from the first of `ends` to the second until `done` returns.

    A gesture is lost where the page is laid out anew under the headless mouse.
    """
    from playwright.sync_api import TimeoutError as PlaywrightTimeout

    for attempt in range(3):
        wait_until_painted(page, 30_000)
        start, end = ends()
        page.mouse.move(*start)
        page.wait_for_timeout(200)  # for the part below it to know that it is pointed at
        drag(page, start, end)
        try:
            return done()
        except (PlaywrightTimeout, AssertionError):
            if attempt == 2:
                raise
    raise AssertionError("unreachable")
