"""What a test does in a page: wait, find places on a figure, read what is shown."""

from __future__ import annotations

import json
from pathlib import Path

PAINTED = "() => window.Bokeh && Bokeh.documents.length && Bokeh.documents.every((d) => d.is_idle)"
STATE = """() => ({
  visible: document.visibilityState,
  documents: window.Bokeh ? Bokeh.documents.map((d) => [d.is_idle, d.roots().map((root) => root.type)]) : "no Bokeh",
  text: document.body.innerText.slice(0, 2000)})"""
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
PLACE = """([name, x, y]) => {
  const model = Bokeh.documents.at(-1).get_model_by_name(name);
  let view;
  const walk = (one) => { if (one.model === model) view = one; (one.child_views || []).forEach(walk); };
  Bokeh.index.roots.forEach(walk);
  const box = view.canvas_view.el.getBoundingClientRect();
  return [box.left + view.frame.x_scale.compute(x), box.top + view.frame.y_scale.compute(y)];
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


def place(page, figure: str, x: float, y: float) -> tuple[float, float]:
    """Return where on the page a point of a figure lies."""
    left, top = page.evaluate(PLACE, [figure, x, y])
    return left, top


def drag(page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Press, move, release."""
    page.mouse.move(*start)
    page.mouse.down()
    for part in (0.25, 0.5, 0.75, 1.0):
        page.mouse.move(start[0] + part * (end[0] - start[0]), start[1] + part * (end[1] - start[1]))
    page.mouse.up()
