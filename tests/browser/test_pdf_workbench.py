"""The total-scattering dashboard in a real browser: a slider, Qmax and ruler under the mouse, the series, keys."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from . import pages

pytestmark = pytest.mark.browser
HERE = Path(__file__).parent

SHOTS = os.environ.get("BATLAB_SCREENSHOTS")
CODE = """
import batlab as bl
import pairs

series = pairs.series(12)
empty = pairs.background(series["q"].values)
workbench = bl.dashboards.PDFWorkbench(series, "Ni", {store!r}, background=empty)
workbench.show()
"""
MODELS = (
    "const d = Bokeh.documents.find((one) => one.get_model_by_name('explorer')), m = (n) => d.get_model_by_name(n);"
)
SHOWN = f"""() => {{ {MODELS}
  const tall = Math.max(...m("g_r_y").data_source.data.y);
  return {{tall, qmax: m("qmax_line").location, title: m("g_r").title.text, bar: m("map_bar").title,
          ruler: [m("ruler").left, m("ruler").right], bond: m("panel_bond").visible}};
}}"""
# Milliseconds from a press of a key on the slider until the figure has painted what follows from it, twenty times.
TIMED = f"""async () => {{ {MODELS}
  const source = m("g_r_y").data_source, times = [], frame = () => new Promise((done) => requestAnimationFrame(done));
  const handle = document.querySelectorAll(".batlab-explorer .noUi-handle")[1];
  for (let n = 0; n < 20; n++) {{
    const before = source.data.y, start = performance.now(), key = n < 10 ? "ArrowLeft" : "ArrowRight";
    handle.dispatchEvent(new KeyboardEvent("keydown", {{key, bubbles: true}}));
    while (source.data.y === before && performance.now() - start < 5000) await frame();
    while (!d.is_idle && performance.now() - start < 5000) await frame();
    await frame();
    times.push(performance.now() - start);
    await new Promise((done) => setTimeout(done, 60));
  }}
  return times;
}}"""


def _told(page, expression: str) -> str:
    return page.evaluate(pages.RUN, f"print({expression})")


def _until(page, expression: str) -> None:
    """Wait until an expression is true in the kernel."""
    for _ in range(80):
        if (told := _told(page, expression)) == "True":
            return
        page.wait_for_timeout(150)
    raise AssertionError(f"{expression} is {told!r}")


def _drag(page, figure: str, start: tuple[float, float], end: tuple[float, float], wanted: str) -> None:
    """Drag until the kernel has heard."""
    pages.drag_until(
        page,
        lambda: [pages.place(page, figure, *start), pages.place(page, figure, *end)],
        lambda: _until(page, wanted),
    )


def test_lab_slide_drag_apply_measure_and_mark(lab, page):
    url, root = lab
    shutil.copy(HERE.parent / "dashboards" / "pairs.py", root)
    pages.notebook(root / "pairs.ipynb", CODE.format(store=str(root / "pairs.marks.sqlite")))
    pages.open_in_lab(page, url, "pairs.ipynb")
    pages.run_all(page)
    pages.shot(page, "pdf_first")
    before = page.evaluate(SHOWN)
    assert before["qmax"] == pytest.approx(23.9)
    if SHOTS:
        times = sorted(page.evaluate(TIMED))
        told = f"slider to paint: median {times[10]:.0f} ms, of 20 {times[0]:.0f} to {times[-1]:.0f}"
        Path(SHOTS, "pdf_slider.txt").write_text(told)

    # Ten steps of the slider of Qmax with a real key.
    page.locator(".batlab-explorer .noUi-handle").nth(1).focus()
    for _ in range(10):
        page.keyboard.press("ArrowLeft")
    _until(page, "abs(workbench.state.qmax - 22.9) < 0.01")
    page.wait_for_function(f"() => Math.abs(({SHOWN})().qmax - 22.9) < 0.01", timeout=30_000)
    _drag(page, "intensity", (22.9, 150), (18, 150), "abs(workbench.state.qmax - 18) < 0.3")
    page.wait_for_function(f"() => Math.abs(({SHOWN})().qmax - 18) < 0.3", timeout=30_000)  # nothing has pushed it back
    assert page.evaluate(SHOWN)["tall"] < 0.98 * before["tall"]  # peaks are wider
    low, high = before["ruler"]
    _drag(
        page, "g_r", ((low + high) / 2, 1), ((low + high) / 2 + 1, 1), f"abs(workbench.state.ruler[0] - {low} - 1) < .1"
    )
    page.get_by_text("top 3.5").wait_for(timeout=30_000)
    pages.shot(page, "pdf_dragged")

    page.get_by_role("button", name="apply to the series").click()
    _until(page, "workbench.result is not None and workbench.is_current")
    page.get_by_text("computed with these settings").wait_for(timeout=30_000)
    _told(page, "(setattr(workbench.state, 'bond', 'Ni-Ni'), setattr(workbench.state, 'ruler', (2.3, 2.7)))")
    page.get_by_role("button", name="measure all frames").click()
    _until(page, "workbench.is_measured")
    page.get_by_text("neighbours").wait_for(timeout=30_000)
    page.get_by_role("tab", name="Bond").click()
    page.get_by_role("button", name="minus frame").click()
    page.wait_for_function(f"() => ({SHOWN})().bar.endsWith('minus frame 0') && ({SHOWN})().bond", timeout=30_000)
    page.mouse.click(*pages.place(page, "map", 5, 7))
    _until(page, "workbench.state.frame == 7")
    page.keyboard.press("ArrowRight")
    page.wait_for_function(f"() => ({SHOWN})().title.startsWith('frame 8 ')", timeout=30_000)
    pages.shot(page, "pdf_measured")

    page.get_by_role("tab", name="Mark", exact=True).click()
    _drag(page, "map", (2, 3), (4, 6), "workbench.state.region is not None")
    page.get_by_placeholder("mechanism").fill("amorphization")
    page.get_by_role("button", name="mark", exact=True).click()
    page.get_by_text("kept as mark 1").wait_for(timeout=30_000)
    pages.shot(page, "pdf_marked")
    page.get_by_role("tab", name="Tune").click()
    page.get_by_role("button", name="try values").click()
    _until(page, "workbench.tried is not None")
    page.get_by_text("shortest bond from").wait_for(timeout=30_000)
    pages.shot(page, "pdf_tuned")
    # What cannot be computed is told in words.
    _told(page, "setattr(workbench.state, 'qmaxinst', 12.0)")
    page.get_by_text("no G(r): pdf.g_of_r: qmax").wait_for(timeout=30_000)
    pages.shot(page, "pdf_refused")


def test_voila_shows_a_series_and_follows_a_slider(voila, page, tmp_path):
    shutil.copy(HERE.parent / "dashboards" / "pairs.py", tmp_path)
    notebook = pages.notebook(tmp_path / "pairs.ipynb", CODE.format(store=str(tmp_path / "pairs.marks.sqlite")))
    page.goto(voila(notebook), wait_until="domcontentloaded", timeout=90_000)
    pages.wait_until_painted(page)
    pages.bring_into_view(page)
    before = page.evaluate(SHOWN)
    handle = page.locator(".batlab-explorer .noUi-handle").nth(1)
    handle.focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_function(f"() => Math.abs(({SHOWN})().qmax - 23.8) < 0.01", timeout=30_000)
    page.get_by_role("button", name="apply to the series").click()
    page.get_by_text("computed with these settings").wait_for(timeout=30_000)
    page.wait_for_function(f"() => ({SHOWN})().bar.startsWith('G(r)')", timeout=30_000)
    assert page.evaluate(SHOWN)["tall"] != before["tall"]
    pages.shot(page, "pdf_voila")
