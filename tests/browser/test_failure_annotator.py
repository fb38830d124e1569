"""The failure annotator in a real browser: mark, accept, change, refuse; a killed kernel loses nothing of it."""

from __future__ import annotations

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

SCRIPT = "<script>document.title = 'hacked'</script><img src=x onerror=\"document.title='hacked'\">"
CODE = """
import os
import batlab as bl
from batlab.failure import Evidence
from experiment import experiment

looks = {looks}
annotator = bl.dashboards.FailureAnnotator(experiment(60, 100, n_records=600), store={store!r}, suggestions=looks)
annotator.show()
print("kernel", os.getpid())
"""
LOOKS = """[
    Evidence("xrd", "second_layered_phase", "appears", 0.2, 0.01, "1", limit=0.03, confidence=0.999, frames=(10, 20),
             dataset="abc", test="planted", dose="dose not assessed"),
    Evidence("xas", "edge_charged", "down", -0.5, 0.02, "eV", limit=0.06, confidence=0.99, frames=(30, 40),
             dataset="def", test="planted", dose="dose not assessed"),
    Evidence("echem", "resistance", "none", 0.01, 0.02, "1", limit=0.06, test="planted"),
]"""
NOTES = """() => {
  const d = Bokeh.documents.filter((one) => one.get_model_by_name("explorer")).at(-1);
  return [1, 2, 3, 4].map((n) => Array.from(d.get_model_by_name(`panel_${n}_notes`).data_source.data.label));
}"""
FRAME = """() => Bokeh.documents.filter((one) => one.get_model_by_name("explorer")).at(-1)
  .get_model_by_name("map_cursor").location"""


def _prepare(folder: Path, name: str) -> tuple[Path, Path]:
    shutil.copy(HERE.parent / "dashboards" / "experiment.py", folder)
    store = folder / f"{name}.marks.sqlite"
    return pages.notebook(folder / f"{name}.ipynb", CODE.format(looks=LOOKS, store=str(store))), store


def _until(page, notes: list[list[str]]) -> None:
    """Wait until the panels have boxes with these labels."""
    page.wait_for_function(
        f"(wanted) => JSON.stringify(({NOTES})()) === JSON.stringify(wanted)", arg=notes, timeout=60_000
    )


def _drag(page, panel: str, start: tuple[float, float | None], end: tuple[float, float | None], said: str) -> None:
    """Drag a box until the form says what it holds."""
    pages.drag_until(
        page,
        lambda: [pages.place(page, panel, *point) for point in (start, end)],
        lambda: page.get_by_text(re.compile(said)).first.wait_for(timeout=10_000),
    )


def _told(page, words: str) -> None:
    page.get_by_text(re.compile(words)).first.wait_for(timeout=30_000)


def _choose_mechanism(page, title: str) -> None:
    page.locator("select").filter(has_text="mechanism: choose").select_option(label=title)


def _mark(page) -> None:
    _drag(page, "panel_3_panel", (0.5, 2.0), (1.0, 4.0), r"pdf, frames \d+–\d+, r ")
    _choose_mechanism(page, "something else …")
    page.get_by_placeholder("in your words").fill(SCRIPT)
    page.get_by_placeholder("what you see").fill(SCRIPT)
    page.get_by_role("button", name="mark (M)", exact=True).click()
    _told(page, "kept as mark 1 by")
    _until(page, [["?1"], ["?2"], ["1"], []])


def _accept_after_a_change(page) -> None:
    """By key: go to the first suggestion, give it another range, accept it."""
    page.mouse.click(*pages.place(page, "panel_1_panel", 4.0, 3.0))
    page.wait_for_function(f"() => ({FRAME})() > 0")
    page.keyboard.press("n")
    _told(page, r"Suggestion \?1")
    _told(page, "xrd, frames 10–20")
    pages.shot(page, "annotator_suggestion")
    _drag(page, "panel_1_panel", (1.0, 2.0), (1.5, 3.0), r"xrd, frames 1\d–\d+, q ")
    page.mouse.click(*pages.place(page, "panel_1_panel", 3.0, 4.0))
    page.keyboard.press("a")
    _told(page, r"suggestion \?1 accepted: kept as mark 1 by")
    _until(page, [["1"], ["?2"], ["2"], []])


def _refuse(page) -> None:
    page.mouse.click(*pages.place(page, "panel_2_panel", 3.0, 8370.0))
    page.keyboard.press("n")
    _told(page, r"Suggestion \?2")
    page.keyboard.press("r")
    page.keyboard.type(f"the foil had moved {SCRIPT}")
    page.keyboard.press("Enter")
    _told(page, r"suggestion \?2 refused by")
    _until(page, [["1"], ["×2"], ["2"], []])


def _put_into_the_basket(page) -> None:
    page.keyboard.press("b")
    page.get_by_role("tab", name="Basket (1)").wait_for(timeout=30_000)
    page.get_by_role("tab", name="Basket (1)").click()
    page.get_by_role("button", name="put all in").click()
    page.get_by_role("tab", name="Basket (3)").wait_for(timeout=30_000)
    page.get_by_role("button", name="weigh", exact=True).click()
    _told(page, "looks saw something")


def _assert_kept(path: Path) -> None:
    with Store(path) as store:
        marks = {mark.source: mark for mark in store.marks()}
        assert len(marks) == 2
        first, other = marks["planted patterns"], marks["planted distances"]
        assert (other.mechanism, other.text) == (SCRIPT, SCRIPT)
        assert other.axis_range == pytest.approx((2.0, 4.0), abs=0.2)
        assert first.frames != (10, 20)
        assert first.axis_range == pytest.approx((2.0, 3.0), abs=0.1)
        (support,) = store.links(first)
        assert support.relation == "supports"
        (refusal,) = store.links(relation="refuses")
        assert refusal.text == f"the foil had moved {SCRIPT}"
        assert len(store.links(relation="accepts")) == 3  # the basket


def _assert_shown_again(page) -> None:
    _until(page, [["1"], ["×2"], ["2"], []])
    options = page.locator(".batlab-list select").first.locator("option").all_inner_texts()
    found = [option.replace("\xa0", " ") for option in options]
    assert found[0].startswith("✓1  accepted by")
    assert found[1].startswith("×2  refused by")
    page.get_by_role("tab", name="Basket (3)").wait_for(timeout=30_000)
    page.locator(".batlab-list select").first.select_option(index=1)
    _told(page, "the foil had moved <script>")  # as text
    assert page.evaluate("() => document.title !== 'hacked' && !document.querySelector('img[src=x]')")


def test_lab_mark_accept_refuse_and_kill(lab, page):
    url, root = lab
    notebook, store = _prepare(root, "annotator")
    first = shutil.copy(notebook, root / "as_it_was.txt")
    pages.open_in_lab(page, url, "annotator.ipynb")
    pages.run_all(page)
    _until(page, [["?1"], ["?2"], [], []])
    pages.shot(page, "annotator_first")
    _mark(page)
    pages.shot(page, "annotator_marked")
    _accept_after_a_change(page)
    _refuse(page)
    pages.shot(page, "annotator_refused")
    _put_into_the_basket(page)
    pages.shot(page, "annotator_basket")
    page.get_by_role("tab", name="Code").click()
    page.wait_for_timeout(500)
    assert "bl.figures.add_annotations(" in page.evaluate(pages.RUN, "print(annotator.lists.script.value)")
    os.kill(int(page.evaluate(pages.RUN, "print(os.getpid())")), signal.SIGKILL)
    _assert_kept(store)

    # Another notebook: in the first one Lab would look for the widgets of the kernel that is dead.
    shutil.copy(first, root / "annotator_again.ipynb")
    pages.open_in_lab(page, url, "annotator_again.ipynb")
    page.evaluate("() => jupyterapp.commands.execute('notebook:run-all-cells')")
    pages.wait_until_painted(page)
    pages.bring_into_view(page)
    _assert_shown_again(page)
    pages.shot(page, "annotator_again")
    page.get_by_role("button", name="find suggestions").click()
    page.get_by_role("button", name="stop", exact=True).wait_for(timeout=30_000)
    pages.shot(page, "annotator_search")
    page.get_by_role("button", name="stop", exact=True).click()
    _told(page, "stopped")
    assert page.evaluate(pages.RUN, "print(len(annotator.found.items))") == "3"


def test_voila_mark_accept_refuse_and_kill(voila, page, tmp_path):
    notebook, store = _prepare(tmp_path, "served")
    page.goto(voila(notebook), wait_until="domcontentloaded", timeout=90_000)
    pages.wait_until_painted(page)
    pages.bring_into_view(page)
    _mark(page)
    _accept_after_a_change(page)
    _refuse(page)
    _put_into_the_basket(page)
    pages.shot(page, "annotator_voila")
    said = page.get_by_text(re.compile(r"kernel \d+")).first.inner_text()
    os.kill(int(re.search(r"kernel (\d+)", said).group(1)), signal.SIGKILL)
    _assert_kept(store)
    # By another server: the first one starts the dead kernel anew while the first page still asks for it.
    again = page.context.new_page()
    again.goto(voila(notebook), wait_until="domcontentloaded", timeout=90_000)
    again.bring_to_front()
    pages.wait_until_painted(again)
    pages.bring_into_view(again)
    _assert_shown_again(again)
