"""The dashboard in a real browser: one cursor for slider, mouse and keys; marks that outlive their kernel."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from batlab.failure import Store

from . import pages

pytestmark = pytest.mark.browser
HERE = Path(__file__).parent

CODE = """
import os
from series import cells, patterns
import batlab as bl
series = patterns()
explorer = bl.dashboards.CycleExplorer(series, cells(series), store={store!r})
explorer.show()
print("kernel", os.getpid())
"""


def _prepare(folder: Path, name: str) -> tuple[Path, Path]:
    shutil.copy(HERE.parent / "dashboards" / "series.py", folder)
    store = folder / f"{name}.marks.sqlite"
    return pages.notebook(folder / f"{name}.ipynb", CODE.format(store=str(store))), store


def _slide(page, by: float) -> int:
    """Drag the slider to the right and return the frame that it shows."""
    handle = page.locator(".batlab-explorer .noUi-handle").first.bounding_box()
    middle = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
    pages.drag(page, middle, (middle[0] + by, middle[1]))
    return int(page.locator(".batlab-explorer .widget-readout").first.inner_text())


def _move_one_cursor(page) -> None:
    """Slider, click on the map, click on the voltage, keys: each moves all cursors."""
    frame = _slide(page, 150)
    assert frame > 5
    pages.wait_for_frame(page, frame)
    page.mouse.click(*pages.place(page, "map", 3.0, 20))
    pages.wait_for_frame(page, 20)
    page.keyboard.press("ArrowRight")
    pages.wait_for_frame(page, 21)
    for _ in range(12):
        page.keyboard.press("ArrowLeft")
    pages.wait_for_frame(page, 9)
    page.keyboard.press("PageUp")
    pages.wait_for_frame(page, 19)
    page.mouse.click(*pages.place(page, "panel_1", 3.5, 40))
    pages.wait_for_frame(page, 40)
    page.keyboard.press("ArrowDown")
    pages.wait_for_frame(page, 39)


def _mark(page) -> None:
    from playwright.sync_api import TimeoutError as PlaywrightTimeout

    region = page.get_by_text(re.compile("frames 1[01]–"))
    for _ in range(3):  # a gesture is lost where the page is laid out anew under the headless mouse
        pages.wait_until_painted(page, 30_000)
        pages.drag(page, pages.place(page, "map", 1.8, 10), pages.place(page, "map", 2.6, 30))
        with contextlib.suppress(PlaywrightTimeout):
            region.wait_for(timeout=10_000)
            break
    assert region.is_visible()
    page.get_by_placeholder("mechanism").fill("lattice collapse")
    page.get_by_placeholder("what you see").fill("<b>turns</b> here")
    page.get_by_role("button", name="mark", exact=True).click()
    page.get_by_text("kept as mark 1").wait_for(timeout=30_000)


def _assert_kept(store: Path) -> None:
    (mark,) = Store(store).marks()
    assert (mark.mechanism, mark.text, mark.category) == ("lattice collapse", "<b>turns</b> here", "electrochemical")
    assert mark.frames in {(10, 30), (11, 30), (10, 29), (11, 29)}
    assert mark.axis_range == pytest.approx((1.8, 2.6), abs=0.02)


def test_lab_cursor_mark_and_kill(lab, page):
    url, root = lab
    _, store = _prepare(root, "mark")
    pages.open_in_lab(page, url, "mark.ipynb")
    pages.run_all(page)
    pages.shot(page, "lab_first")
    _move_one_cursor(page)
    _mark(page)
    pages.shot(page, "lab_marked")
    os.kill(int(page.evaluate(pages.RUN, "print(os.getpid())")), signal.SIGKILL)
    _assert_kept(store)


def test_lab_reload_shows_the_same_frame_and_the_notebook_is_small(lab, page):
    url, root = lab
    notebook, _ = _prepare(root, "reload")
    pages.open_in_lab(page, url, "reload.ipynb")
    pages.run_all(page)
    page.mouse.click(*pages.place(page, "map", 3.0, 33))
    pages.wait_for_frame(page, 33)
    page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
    page.wait_for_function("() => !jupyterapp.shell.currentWidget.context.model.dirty")
    assert notebook.stat().st_size < 300_000
    assert "batlab/bokehjs/" in notebook.read_text()
    page.reload(wait_until="domcontentloaded")
    page.wait_for_function(pages.KERNEL_IDLE, timeout=90_000)
    pages.wait_until_painted(page)
    pages.bring_into_view(page)
    pages.wait_for_frame(page, 33)
    page.mouse.click(*pages.place(page, "map", 3.0, 12))
    pages.wait_for_frame(page, 12)


def test_lab_second_view_shows_the_present(lab, page):
    url, root = lab
    _prepare(root, "second")
    pages.open_in_lab(page, url, "second.ipynb")
    pages.run_all(page)
    page.mouse.click(*pages.place(page, "map", 3.0, 44))
    pages.wait_for_frame(page, 44)
    page.evaluate("() => jupyterapp.commands.execute('notebook:create-output-view')")
    count = "() => Bokeh.documents.filter((d) => d.get_model_by_name('explorer')).length"
    page.wait_for_function(f"() => ({count})() >= 2", timeout=30_000)
    frames = "() => Bokeh.documents.map((d) => d.get_model_by_name('explorer') && " \
             "d.get_model_by_name('map_cursor').location).filter((one) => one != null)"  # fmt: skip
    page.wait_for_function(f"() => ({frames})().every((one) => one === 44)", timeout=30_000)
    page.evaluate(pages.RUN, "explorer.state.frame = 7")
    page.wait_for_function(f"() => ({frames})().every((one) => one === 7)", timeout=30_000)


def test_lab_zoom_sends_a_finer_map(lab, page):
    url, root = lab
    _prepare(root, "zoom")
    pages.open_in_lab(page, url, "zoom.ipynb")
    pages.run_all(page)
    page.mouse.move(*pages.place(page, "map", 4.0, 30))
    page.keyboard.down("Control")
    page.mouse.wheel(0, -400)
    page.keyboard.up("Control")
    page.wait_for_function(
        "() => Bokeh.documents.at(-1).get_model_by_name('map_image').data_source.data.dw[0] < 3.9", timeout=30_000
    )
    low, high = eval(page.evaluate(pages.RUN, "print(explorer.state.axis_range)"))
    assert 1.0 < low < 4.0 < high < 5.0
    page.evaluate(pages.RESET)
    page.wait_for_function(
        "() => Bokeh.documents.at(-1).get_model_by_name('map_image').data_source.data.dw[0] > 3.9", timeout=30_000
    )


def test_notebook_7_moves_one_cursor(lab, page):
    url, root = lab
    _prepare(root, "seven")
    page.goto(f"{url}/notebooks/seven.ipynb", wait_until="domcontentloaded")
    page.locator(".jp-Cell").first.click(timeout=90_000)
    page.get_by_text("Run", exact=True).first.click()
    page.get_by_text("Run All Cells", exact=True).click()
    pages.wait_until_painted(page)
    pages.bring_into_view(page)
    page.mouse.click(*pages.place(page, "map", 3.0, 20))
    pages.wait_for_frame(page, 20)
    page.keyboard.press("ArrowRight")
    pages.wait_for_frame(page, 21)
    pages.shot(page, "notebook_7")


def test_voila_cursor_mark_and_kill(voila, page, tmp_path):
    notebook, store = _prepare(tmp_path, "served")
    page.goto(voila(notebook), wait_until="domcontentloaded", timeout=90_000)
    pages.wait_until_painted(page)
    pages.bring_into_view(page)
    _move_one_cursor(page)
    _mark(page)
    pages.shot(page, "voila_marked")
    said = page.get_by_text(re.compile(r"kernel \d+")).first.inner_text()
    os.kill(int(re.search(r"kernel (\d+)", said).group(1)), signal.SIGKILL)
    _assert_kept(store)
