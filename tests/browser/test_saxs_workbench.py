"""The small-angle dashboard in a real browser: windows under the mouse, sizes that follow, the series, keys, marks."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from . import pages

pytestmark = pytest.mark.browser
HERE = Path(__file__).parent


CODE = """
import batlab as bl
from small_angles import series as make

series = make()
workbench = bl.dashboards.SAXSWorkbench(series, store={store!r})
workbench.show()
"""
SHOWN = """() => {
  const d = Bokeh.documents.filter((one) => one.get_model_by_name("explorer")).at(-1);
  const model = (name) => d.get_model_by_name(name), box = (name) => [model(name).left, model(name).right];
  return {guinier: box("guinier_window"), porod: box("porod_window"), sizes: box("sizes_window"),
          radius: model("guinier").title.text, tail: model("porod").title.text, mean: model("sizes").title.text,
          title: model("loglog").title.text, bar: model("map_bar").title, cursor: model("map_cursor").location,
          bottom: model("loglog").y_range.start};
}"""


def _until(page, condition: str) -> None:
    page.wait_for_function(f"() => {{ const s = ({SHOWN})(); return {condition}; }}", timeout=30_000)


def _drag(page, figure: str, start: tuple[float, float], end: tuple[float, float], wanted: str) -> None:
    """Drag until the kernel has heard."""

    def heard() -> None:
        for _ in range(80):
            if page.evaluate(pages.RUN, f"print({wanted})") == "True":
                return
            page.wait_for_timeout(150)
        raise AssertionError(f"{wanted} is not so")

    pages.drag_until(page, lambda: [pages.place(page, figure, *start), pages.place(page, figure, *end)], heard)


def test_lab_drag_windows_apply_step_and_mark(lab, page):
    url, root = lab
    shutil.copy(HERE.parent / "dashboards" / "small_angles.py", root)
    pages.notebook(root / "saxs.ipynb", CODE.format(store=str(root / "saxs.marks.sqlite")))
    pages.open_in_lab(page, url, "saxs.ipynb")
    pages.run_all(page)
    page.wait_for_timeout(500)
    _until(page, "s.mean.startsWith('sizes by volume: mean D')")
    pages.shot(page, "saxs_first")
    before = page.evaluate(SHOWN)

    # A hand on Guinier's window, on an edge of Porod's, on the strip of the sizes.
    low, high = before["guinier"]
    _drag(page, "loglog", ((low * high) ** 0.5, 2.0), ((low * high) ** 0.5 * 1.3, 2.0),
                f"(workbench.state.guinier or (0, 0))[0] > {1.1 * low}")  # fmt: skip
    _until(page, f"s.radius !== {before['radius']!r}")
    _drag(page, "loglog", (before["porod"][0], 2.0), (before["porod"][0] * 1.4, 2.0),
                f"workbench.state.porod[0] > {1.2 * before['porod'][0]}")  # fmt: skip
    _until(page, f"s.tail !== {before['tail']!r} && s.mean.startsWith('sizes by volume')")
    foot = 1.2 * before["bottom"]  # the strip of the sizes has its own height on the screen
    _drag(page, "loglog", (before["sizes"][1], foot), (0.3, foot),
                "workbench.state.sizes is not None and abs(workbench.state.sizes[1] - 0.3) < 0.01")  # fmt: skip
    _until(page, f"s.mean !== {before['mean']!r} && s.mean.startsWith('sizes by volume')")
    pages.shot(page, "saxs_dragged")

    page.evaluate(pages.RUN, "setattr(workbench.state, 'contrast', 5.0)")
    page.get_by_role("button", name="apply to the series").click()
    page.get_by_text("computed with these settings").wait_for(timeout=60_000)
    pages.shot(page, "saxs_applied")
    page.evaluate(pages.RUN, "setattr(workbench.state, 'curve', 'sizes')")
    _until(page, "s.bar === 'D dφ/dD'")
    page.mouse.click(*pages.place(page, "map", 200, 5))
    _until(page, "s.cursor === 5 && s.title.startsWith('frame 5 ')")
    page.keyboard.press("ArrowRight")
    _until(page, "s.cursor === 6 && s.title.startsWith('frame 6 ')")
    pages.shot(page, "saxs_sizes")

    page.evaluate(pages.RUN, "setattr(workbench.state, 'curve', 'porod')")
    page.get_by_role("tab", name="Mark a region").click()
    _drag(page, "map", (0.02, 2), (0.1, 4), "workbench.state.region is not None")
    page.get_by_placeholder("mechanism").fill("pores that close")
    page.get_by_role("button", name="mark", exact=True).click()
    page.get_by_text("kept as mark 1").wait_for(timeout=30_000)
    pages.shot(page, "saxs_marked")


def test_voila_waits_for_a_hand_and_tells_what_cannot_be(voila, page, tmp_path):
    shutil.copy(HERE.parent / "dashboards" / "small_angles.py", tmp_path)
    url = voila(pages.notebook(tmp_path / "saxs.ipynb", CODE.format(store=str(tmp_path / "v.sqlite"))))
    page.goto(url, wait_until="domcontentloaded", timeout=90_000)
    pages.wait_until_painted(page)
    pages.bring_into_view(page)
    _until(page, "s.mean.startsWith('sizes by volume')")
    before = page.evaluate(SHOWN)
    middle = (before["porod"][0] * before["porod"][1]) ** 0.5
    page.wait_for_timeout(500)
    pages.drag(page, pages.place(page, "loglog", middle, 2.0), pages.place(page, "loglog", middle / 2, 2.0))
    _until(page, f"s.porod[0] < {0.6 * before['porod'][0]} && s.tail !== {before['tail']!r}")
    page.locator("label[title='Smallest diameter'] ~ input").fill("9000")
    page.keyboard.press("Tab")
    page.get_by_text("diameters must be two increasing numbers").wait_for(timeout=30_000)
    pages.shot(page, "saxs_voila")
