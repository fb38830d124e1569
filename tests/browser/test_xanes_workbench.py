"""The absorption dashboard in a real browser: windows and E0 under the mouse, the series, its trend, keys."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from . import pages

pytestmark = pytest.mark.browser
HERE = Path(__file__).parent

CODE = """
import batlab as bl
from spectra import series as make

series = make(24)
workbench = bl.dashboards.XANESWorkbench(series, store={store!r})
workbench.show()
"""
SHOWN = """() => {
  const d = Bokeh.documents.filter((one) => one.get_model_by_name("explorer")).at(-1);
  const model = (name) => d.get_model_by_name(name);
  const [pre, post] = [model("pre_window"), model("post_window")];
  return {pre: [pre.left, pre.right], post: [post.left, post.right], e0: model("e0_line").location,
          flat: Array.from(model("mu_flat_y").data_source.data.y), title: model("mu").title.text};
}"""

# What the map's colours mean, and whether the panel of edge energies stands beside it.
MAP = """() => {
  const d = Bokeh.documents.filter((one) => one.get_model_by_name("explorer")).at(-1);
  return `${d.get_model_by_name("map_bar").title} ${d.get_model_by_name("panel_e0").visible}`;
}"""


def _told(page, expression: str) -> str:
    return page.evaluate(pages.RUN, f"print({expression})")


def _until(page, expression: str) -> None:
    """Wait until an expression is true in the kernel."""
    for _ in range(80):
        if (told := _told(page, expression)) == "True":
            return
        page.wait_for_timeout(250)
    raise AssertionError(f"{expression} is {told!r}")


def _drag(page, figure: str, start: tuple[float, float], end: tuple[float, float], wanted: str) -> None:
    """Drag until the kernel has heard: a gesture is lost where the page is laid out anew under the headless mouse."""
    for attempt in range(3):
        pages.wait_until_painted(page, 30_000)
        page.mouse.move(*pages.place(page, figure, *start))
        page.wait_for_timeout(200)
        pages.drag(page, pages.place(page, figure, *start), pages.place(page, figure, *end))
        try:
            _until(page, wanted)
        except AssertionError:
            if attempt == 2:
                raise
        else:
            return


def test_lab_drag_windows_apply_step_and_mark(lab, page):
    url, root = lab
    shutil.copy(HERE.parent / "dashboards" / "spectra.py", root)
    pages.notebook(root / "xanes.ipynb", CODE.format(store=str(root / "xanes.marks.sqlite")))
    pages.open_in_lab(page, url, "xanes.ipynb")
    pages.run_all(page)
    page.wait_for_timeout(500)
    pages.shot(page, "xanes_first")
    before = page.evaluate(SHOWN)
    assert before["e0"] == pytest.approx(8333.0, abs=1.0)
    assert before["pre"][0] == pytest.approx(before["e0"] - 180, abs=2)

    # The whole window, then one of its edges.
    middle = sum(before["pre"]) / 2
    _drag(page, "mu", (middle, 0.8), (middle + 40, 0.8), "abs(workbench.state.pre[0] + 140) < 4")
    _drag(page, "mu", (before["post"][0], 0.8), (before["post"][0] + 100, 0.8),
          "abs(workbench.state.post[0] - 125) < 6 and workbench.state.post[1] > 700")  # fmt: skip
    dragged = page.evaluate(SHOWN)
    assert dragged["flat"] != before["flat"]
    step = float(_told(page, "float(workbench.spectrum.edge_step)"))
    page.get_by_text(f"edge step {step:.4g}").wait_for(timeout=30_000)
    _drag(page, "mu", (before["e0"], 0.8), (before["e0"] + 30, 0.8), "abs((workbench.state.e0 or 0) - 8363) < 4")
    away = dragged["pre"][0] - dragged["e0"]  # the windows go with E0
    page.wait_for_function(
        f"() => {{ const s = ({SHOWN})(); return s.e0 > 8358 && Math.abs(s.pre[0] - s.e0 - {away}) < 0.2; }}",
        timeout=30_000,
    )
    pages.shot(page, "xanes_dragged")
    page.get_by_role("button", name="auto", exact=True).click()
    _until(page, "workbench.state.e0 is None")

    page.get_by_role("button", name="apply to the series").click()
    _until(page, "workbench.result is not None and workbench.is_current")
    page.get_by_text("computed with these settings").wait_for(timeout=30_000)
    pages.shot(page, "xanes_applied")
    page.wait_for_function(f"() => ({MAP})() === 'normalised μ true'", timeout=30_000)
    assert _told(page, "(workbench.state.e0, workbench.state.kmax)") == "(None, None)"
    voltage, edge = eval(_told(page, "(float(workbench.series.voltage[9]), float(workbench.result.e0[9]))"))
    page.mouse.click(*pages.place(page, "trend", voltage, edge))
    _until(page, "workbench.state.frame in (9, 14)")
    page.mouse.click(*pages.place(page, "map", 8350, 5))
    _until(page, "workbench.state.frame == 5")
    page.keyboard.press("ArrowRight")
    _until(page, "workbench.state.frame == 6")
    page.wait_for_function(f"() => ({SHOWN})().title.startsWith('frame 6 ')", timeout=30_000)

    page.get_by_role("tab", name="Mark a region").click()
    _drag(page, "map", (8330, 3), (8350, 8), "workbench.state.region is not None")
    page.get_by_placeholder("mechanism").fill("beam damage")
    page.get_by_role("button", name="mark", exact=True).click()
    page.get_by_text("kept as mark 1").wait_for(timeout=30_000)
    pages.shot(page, "xanes_marked")

    # What cannot be computed is told in words.
    _told(page, "setattr(workbench.state, 'pre', (-300, -290))")
    page.get_by_text("not normalised: xas.normalize: window pre").wait_for(timeout=30_000)
    pages.shot(page, "xanes_refused")
    page.get_by_role("tab", name="Code").click()
    _until(page, "'xas.normalize' in workbench.marking.script.value")
    pages.shot(page, "xanes_code")


def test_lab_reload_shows_the_present(lab, page):
    url, root = lab
    shutil.copy(HERE.parent / "dashboards" / "spectra.py", root)
    notebook = pages.notebook(root / "again.ipynb", CODE.format(store=str(root / "again.marks.sqlite")))
    pages.open_in_lab(page, url, "again.ipynb")
    pages.run_all(page)
    _told(page, "(setattr(workbench.state, 'frame', 7), setattr(workbench.state, 'pre', (-120.0, -60.0)))")
    page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
    page.wait_for_function("() => !jupyterapp.shell.currentWidget.context.model.dirty")
    assert notebook.stat().st_size < 300_000
    page.reload(wait_until="domcontentloaded")
    page.wait_for_function(pages.KERNEL_IDLE, timeout=90_000)
    pages.wait_until_painted(page)
    pages.bring_into_view(page)
    shown = page.evaluate(SHOWN)
    assert shown["title"].startswith("frame 7 ")
    assert shown["pre"][1] - shown["e0"] == pytest.approx(-60, abs=0.2)
