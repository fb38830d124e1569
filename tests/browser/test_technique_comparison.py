"""The comparison of techniques in a real browser: cursor, zoom and lag handle, in JupyterLab and in Voila."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from . import pages

pytestmark = pytest.mark.browser
HERE = Path(__file__).parent

PLANTED = 300.0  # s by which the clock of the diffraction is late
CODE = """
import batlab as bl
from experiment import experiment

comparison = bl.dashboards.TechniqueComparison(experiment(160, 200, late={late}), store={store!r})
comparison.show()
"""
SHOWN = """() => {
  const d = Bokeh.documents.filter((one) => one.get_model_by_name("explorer")).at(-1);
  const model = (name) => d.get_model_by_name(name);
  const map = model("panel_1_map").data_source.data, range = model("panel_1_panel").x_range;
  const readout = document.querySelector(".batlab-explorer .widget-readout");
  return {frame: model("map_cursor").location, slider: readout ? Number(readout.innerText) : NaN,
          cursors: ["panel_1", "panel_2", "panel_3", "panel_4", "overlay"].map((n) => model(`${n}_cursor`).location),
          words: [1, 2, 3, 4].map((n) => model(`panel_${n}_words`).text), map: [map.x[0], map.dw[0]],
          range: [range.start, range.end], handle: model("panel_1_handle").location,
          band: model("panel_1_band").visible, visible: model("panel_1_map").visible};
}"""

# Counts what the page tells the kernel's widgets.
COUNT = """() => {
  const panel = Array.from(jupyterapp.shell.widgets("main")).find((one) => one.sessionContext);
  panel.sessionContext.session.kernel.anyMessage.connect((_, {msg, direction}) => {
    if (direction === "send" && msg.header.msg_type === "comm_msg") window.batlabSent += 1;
  });
}"""

SLOW = """
import time
change = comparison._change
comparison._change = lambda **traits: (time.sleep(1.5), change(**traits))
"""


def _until(page, what: str, timeout: float = 60_000) -> dict:
    """Wait until something holds of what is shown, and return that."""
    page.wait_for_function(f"() => {{ const s = ({SHOWN})(); return {what}; }}", timeout=timeout)
    return page.evaluate(SHOWN)


def _same(frame: int) -> str:
    return (
        f"s.frame === {frame} && s.slider === {frame} && s.cursors.every((one) => Math.abs(one - s.cursors[0]) < 1e-9)"
    )


def _prepare(folder: Path, name: str) -> Path:
    shutil.copy(HERE.parent / "dashboards" / "experiment.py", folder)
    store = folder / f"{name}.marks.sqlite"
    return pages.notebook(folder / f"{name}.ipynb", CODE.format(late=PLANTED, store=str(store)))


def _move_one_cursor(page) -> None:
    """A click in a map, keys, a click in a trace: each moves all cursors."""
    first = _until(page, _same(0))
    page.mouse.click(*pages.place(page, "panel_2_panel", 2.0, 8360.0))
    clicked = _until(page, "s.frame > 40 && s.frame === s.slider")
    assert clicked["cursors"][0] == pytest.approx(2.0, abs=0.03)
    assert clicked["cursors"][0] > first["cursors"][0]
    assert f"frame {clicked['frame']}" in clicked["words"][0]
    page.keyboard.press("ArrowRight")
    _until(page, _same(clicked["frame"] + 1))
    page.keyboard.press("PageUp")
    _until(page, _same(clicked["frame"] + 11))
    page.mouse.click(*pages.place(page, "panel_4_panel", 1.0))
    _until(page, f"{_same(0).split('&&')[0].replace('=== 0', '< 40')} && s.frame === s.slider && s.frame > 0")


def _keys_do_not_wait(page) -> None:
    """The cursors move while the kernel is busy, the last key counts, and nothing is sent back that Python has sent."""
    before = page.evaluate(SHOWN)
    page.evaluate("() => { window.batlabSent = 0; }")
    page.evaluate(COUNT)
    page.evaluate(pages.RUN, SLOW)
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    ahead = page.evaluate(SHOWN)
    assert ahead["frame"] == before["frame"]  # Python has not heard of it
    assert ahead["cursors"][0] > before["cursors"][0]
    assert ahead["cursors"] == pytest.approx([ahead["cursors"][0]] * 5)
    after = _until(page, _same(before["frame"] + 3))
    assert after["cursors"] == pytest.approx(ahead["cursors"])
    page.wait_for_timeout(1000)
    assert 1 <= page.evaluate("() => window.batlabSent") <= 3  # three presses, no echo
    page.evaluate(pages.RUN, "comparison._change = change")


def _zoom(page) -> None:
    """Control and wheel in one panel zoom all; a finer map is sent."""
    before = page.evaluate(SHOWN)
    page.mouse.move(*pages.place(page, "panel_3_panel", 1.2))
    page.keyboard.down("Control")
    for _ in range(2):
        page.mouse.wheel(0, -400)
    page.keyboard.up("Control")
    zoomed = _until(page, f"s.range[1] - s.range[0] < {(before['range'][1] - before['range'][0]) / 1.5} && "
                          f"s.map[1] < {before['map'][1] / 1.5}")  # fmt: skip
    assert zoomed["range"][0] < 1.2 < zoomed["range"][1]
    assert zoomed["map"][0] <= zoomed["range"][0] + 0.05


def _agree(page) -> None:
    """Wait until the kernel has heard of every turn of the wheel: a late one would zoom what comes next."""
    calm = 0
    for _ in range(120):
        low, high = eval(page.evaluate(pages.RUN, "print(comparison.state.x_range)"))
        shown = page.evaluate(SHOWN)["range"]
        calm = calm + 1 if shown == pytest.approx([low, high], rel=1e-9) else 0
        if calm == 3:
            return
        page.wait_for_timeout(300)
    raise AssertionError(f"the page shows {shown}, the kernel has {(low, high)}")


def _a_drag_zooms(page) -> None:
    """Dragging does what the tool bar shows as active, and nothing beside it: no plot pans."""
    low, high = page.evaluate(SHOWN)["range"]
    start, end = (low + part * (high - low) for part in (0.3, 0.6))
    near = 0.02 * (high - low)
    pages.drag_until(
        page,
        lambda: [pages.place(page, "panel_3_panel", *point) for point in ((start, 2.0), (end, 8.0))],
        lambda: _until(
            page, f"Math.abs(s.range[0] - {start}) < {near} && Math.abs(s.range[1] - {end}) < {near}", 10_000
        ),
    )
    _agree(page)


def _drag_the_lag(page) -> dict:
    """Drag the handle of the first technique by a tenth of an hour, and move it on by keys."""
    before = page.evaluate(SHOWN)
    together = f"Math.abs(s.map[0] - {before['map'][0]} - s.handle + {before['handle']}) < 1e-3"
    moved = pages.drag_until(
        page,
        lambda: [pages.place(page, "panel_1_panel", before["handle"] + by) for by in (0, 0.1)],
        lambda: _until(page, f"Math.abs(s.handle - {before['handle'] + 0.1}) < 0.02 && {together}", 20_000),
    )
    page.get_by_text("by hand, σ unknown").first.wait_for(timeout=30_000)
    page.wait_for_function(
        "(lag) => Math.abs(Number(document.querySelector('.batlab-explorer input[type=number]').value) - lag) < 2",
        arg=3600 * (moved["handle"] - before["handle"]), timeout=30_000,
    )  # fmt: skip
    page.keyboard.press(".")
    _until(page, f"s.handle > {moved['handle']} + 1e-4")
    return moved


def _draw_a_box(page) -> None:
    pages.drag_until(
        page,
        lambda: [pages.place(page, "panel_2_panel", *point) for point in ((1.0, 8340.0), (2.0, 8370.0))],
        lambda: page.get_by_text("xas, frames").wait_for(timeout=10_000),
    )


def _lag(page) -> float:
    return float(page.locator(".batlab-explorer input[type=number]").first.input_value())


def test_lab_cursor_zoom_lag_and_reload(lab, page):
    url, root = lab
    notebook = _prepare(root, "comparison")
    pages.open_in_lab(page, url, "comparison.ipynb")
    pages.run_all(page)
    pages.shot(page, "comparison_first")
    _move_one_cursor(page)
    _keys_do_not_wait(page)
    _drag_the_lag(page)
    pages.shot(page, "comparison_lag")
    page.get_by_role("button", name="estimate", exact=True).first.click()
    page.get_by_text("Lag: add").wait_for(timeout=60_000)
    _until(page, "s.band")
    lag, sigma = eval(page.evaluate(pages.RUN, "e = comparison.estimates['xrd']; print((e.lag, e.sigma))"))
    assert abs(lag - PLANTED) < 4 * sigma
    assert _lag(page) == pytest.approx(lag, abs=0.5)  # in whole seconds: σ is seconds
    _zoom(page)
    _agree(page)
    pages.shot(page, "comparison_zoomed")
    _a_drag_zooms(page)
    page.evaluate(pages.RUN, "comparison.state.axis = 'capacity'")
    _until(page, "s.range[1] - s.range[0] < 1")
    _agree(page)
    pages.shot(page, "comparison_capacity")
    page.evaluate(pages.RUN, "comparison.state.axis = 'time'")
    _until(page, "s.range[1] - s.range[0] > 5")
    _agree(page)

    page.get_by_title("Select a region to mark").first.click()
    _draw_a_box(page)
    pages.shot(page, "comparison_selected")
    page.get_by_placeholder("mechanism").fill("phase transition")
    page.get_by_role("button", name="mark", exact=True).click()
    page.get_by_text("kept as mark 1").wait_for(timeout=30_000)
    page.get_by_role("tab", name="Code").click()
    page.wait_for_timeout(500)
    pages.shot(page, "comparison_marked")
    assert "bl.align.onto(" in page.evaluate(pages.RUN, "print(comparison.marking.script.value)")
    _reload_shows_the_present(page, notebook)


def _reload_shows_the_present(page, notebook: Path) -> None:
    page.evaluate(
        pages.RUN, "comparison.state.frame = 33; comparison.state.lags = {'xrd': 90.0, 'xas': 0.0, 'pdf': 0.0}"
    )
    before = _until(page, _same(33))
    page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
    page.wait_for_function("() => !jupyterapp.shell.currentWidget.context.model.dirty")
    assert notebook.stat().st_size < 300_000
    page.reload(wait_until="domcontentloaded")
    page.wait_for_function(pages.KERNEL_IDLE, timeout=90_000)
    pages.wait_until_painted(page)
    pages.bring_into_view(page)
    after = _until(page, _same(33))
    assert after["handle"] == pytest.approx(before["handle"])
    assert after["map"] == pytest.approx(before["map"])


def test_voila_cursor_zoom_and_lag(voila, page, tmp_path):
    page.goto(voila(_prepare(tmp_path, "served")), wait_until="domcontentloaded", timeout=90_000)
    pages.wait_until_painted(page)
    pages.bring_into_view(page)
    _move_one_cursor(page)
    _drag_the_lag(page)
    page.get_by_role("button", name="estimate", exact=True).first.click()
    page.get_by_text("Lag: add").wait_for(timeout=60_000)
    _until(page, "s.band")
    page.wait_for_function(
        f"() => Math.abs(document.querySelector('.batlab-explorer input[type=number]').value - {PLANTED}) < 60"
    )
    _zoom(page)
    pages.shot(page, "comparison_voila")
