"""The failure board in a real browser: choose by mouse and keys, rate, filter, export, and lose the kernel between."""

from __future__ import annotations

import json
import os
import re
import signal

import pytest

from . import pages

pytestmark = pytest.mark.browser

MAKE = """
import os
import batlab as bl
from batlab.failure import Evidence, Store, worksheet

store = Store("board.sqlite")
if not store.worksheets():
    looks = [
        Evidence("xrd", "lithium_metal_line", "appears", 0.02, 0.002, "1", limit=0.004, confidence=0.99,
                 cycles=(51, 100), test="share of the line of lithium metal"),
        Evidence("echem", "stripping", "appears", 0.31, 0.02, "1", limit=0.05, confidence=0.95, cycles=(41, 80)),
        Evidence("echem", "resistance", "none", 0.003, 0.02, "ohm", limit=0.06, cycles=(1, 100)),
        Evidence("xrd", "second_layered_phase", "appears", 0.2, 0.01, "1", limit=0.03, confidence=1.0, cycles=(9, 10)),
    ]
    by_hand = [
        {"component": "separator", "mode": "internal short", "mechanism": "<script>window.hacked = 1</script> dendrite",
         "cause": "<img src=x onerror='window.hacked = 1'> fast charging in the cold", "severity": 7, "occurrence": 4,
         "detection": 5},
        {"component": "tab", "mode": "open circuit", "mechanism": "weld fatigue"},
    ]
    said = bl.failure.assess(looks, materials=["layered_oxide", "graphite"])
    store.add_evidence(*looks, author="ada")
    sheet = store.keep_worksheet(worksheet(said, title="cell 7", author="ada", rows=by_hand), author="ada")
    mark = store.add("abc", author="bob", frames=(48, 52), category="electrochemical", mechanism="lithium plating",
                     confidence=0.6, text="<b>shoulder</b> at the graphite line")
    plating = next(row for row in sheet.rows if "plating" in row.mechanism)
    store.link(mark, "supports", plating, author="bob", text="same cycles")
"""
SHOW = """
board = bl.dashboards.FailureBoard(store)
board.form.author.value = "cy"
board.show()
"""
# What is on the page: the lines of the table with their cells, the line that is chosen, and what was told.
SHOWN = """() => {
  const rows = [...document.querySelectorAll(".batlab-board-table tr[data-row]")];
  const style = document.querySelector("style[data-selected]");
  const chosen = style ? style.dataset.selected : "";
  return {rows: rows.map((one) => [...one.cells].map((cell) => cell.innerText.trim())),
          chosen: rows.findIndex((one) => one.dataset.row === chosen),
          told: document.querySelector("[role=status]").innerText,
          pictures: document.querySelectorAll(".batlab-board-table svg").length};
}"""
RPN = 7


def _until(page, what: str) -> dict:
    page.wait_for_function(f"() => {{ const s = ({SHOWN})(); return {what}; }}", timeout=60_000)
    return page.evaluate(SHOWN)


def _ready(page) -> None:
    page.wait_for_selector(".batlab-board[tabindex]", timeout=90_000)
    pages.wait_until_painted(page, 60_000)
    page.evaluate("() => document.querySelector('.batlab-board').scrollIntoView()")


def _run_all(page) -> None:
    page.evaluate("() => jupyterapp.commands.execute('application:toggle-left-area')")
    page.evaluate("() => jupyterapp.commands.execute('notebook:run-all-cells')")
    _ready(page)


def _type(page, label: str, words: str) -> None:
    field = page.get_by_label(label, exact=True)
    field.fill(words)
    field.blur()


def test_rate_filter_and_export_with_a_kernel_killed_between(lab, page):
    url, root = lab
    pages.notebook(root / "board.ipynb", MAKE, SHOW)
    pages.open_in_lab(page, url, "board.ipynb")
    _run_all(page)
    first = _until(page, "s.rows.length > 5 && s.chosen === 0")
    numbers = [int(row[RPN]) for row in first["rows"] if row[RPN] != "–"]
    assert numbers == sorted(numbers, reverse=True)
    assert first["pictures"] >= 2
    assert any(row[2] == "<script>window.hacked = 1</script> dendrite" for row in first["rows"])
    assert any(row[8].startswith("judgement") for row in first["rows"])
    assert page.evaluate("() => window.hacked") is None
    pages.shot(page, "board_first")
    page.get_by_text("lithium plating and dead lithium").first.click()
    plating = next(n for n, row in enumerate(first["rows"]) if "plating" in row[2])
    _until(page, f"s.chosen === {plating}")
    for key, place in (("ArrowDown", plating + 1), ("ArrowUp", plating), ("Home", 0), ("End", len(first["rows"]) - 1)):
        page.keyboard.press(key)
        _until(page, f"s.chosen === {place}")
    page.get_by_text("lithium plating and dead lithium").first.click()
    _until(page, f"s.chosen === {plating}")
    pages.shot(page, "board_row")
    page.keyboard.press("Enter")  # to the first rating
    assert page.evaluate("() => document.activeElement.closest('.batlab-board-first') !== null")
    page.get_by_label("occurrence").select_option(index=3)
    page.get_by_role("button", name="keep", exact=True).click()
    _until(page, "s.told.includes('reason must not be empty')")
    page.get_by_placeholder("why? (is kept with the change)").fill("slow charging only")
    page.keyboard.press("Control+s")
    _until(page, "s.told.startsWith('kept')")
    os.kill(int(page.evaluate(pages.RUN, "print(os.getpid())")), signal.SIGKILL)  # the moment after
    pages.open_in_lab(page, url, "board.ipynb")
    _run_all(page)
    again = _until(page, "s.rows.length > 5 && s.rows.some((row) => row[5].startsWith('9 3'))")
    plating = next(n for n, row in enumerate(again["rows"]) if "plating" in row[2])
    assert again["rows"][plating][5].split() == ["9", "3", "judg.", "✎"]  # what was computed stays beside it
    page.get_by_text("lithium plating and dead lithium").first.click()
    _until(page, f"s.chosen === {plating}")
    page.get_by_text("computed 9").wait_for(timeout=30_000)
    page.get_by_role("tab", name="History").click()
    page.get_by_text("(slow charging only)").wait_for(timeout=30_000)
    pages.shot(page, "board_history")
    page.get_by_role("tab", name="Evidence & marks").click()
    page.get_by_text("<b>shoulder</b> at the graphite line").first.wait_for(timeout=30_000)
    pages.shot(page, "board_marks")
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type("dendrite")
    page.keyboard.press("Enter")
    _until(page, "s.rows.length === 1 && s.rows[0][7] === '140'")
    page.get_by_role("button", name="all rows").click()
    _until(page, f"s.rows.length === {len(again['rows'])}")
    page.get_by_role("tab", name="Sign & files").click()
    page.get_by_role("button", name="save file").click()
    _until(page, "s.told.startsWith('written') && s.told.includes('cell_7.xlsx')")
    pages.shot(page, "board_files")
    page.get_by_role("button", name="sign version 1").click()
    _until(page, "s.told.includes('not rated in full')")
    page.get_by_role("tab", name="Code").click()
    page.wait_for_timeout(300)
    pages.shot(page, "board_code")
    told = page.evaluate(pages.RUN, (
        "import json; from batlab.failure import read_worksheet; same = read_worksheet('cell_7.xlsx') == board.sheet; "
        "print(json.dumps([same, len(board.rows), 'sheet.ranked' in board.code()]))"
    ))  # fmt: skip
    assert json.loads(told) == [True, len(again["rows"]), True]
    assert page.evaluate("() => window.hacked") is None


def test_voila_shows_and_keeps_the_board(voila, page, tmp_path):
    start = f"import os; os.chdir({str(tmp_path)!r}); print('kernel', os.getpid())"
    notebook = pages.notebook(tmp_path / "board.ipynb", start, MAKE, SHOW)
    page.goto(voila(notebook), wait_until="domcontentloaded", timeout=120_000)
    _ready(page)
    first = _until(page, "s.rows.length > 5 && s.chosen === 0")
    page.get_by_text("weld fatigue").first.click()
    _until(page, f"s.chosen === {len(first['rows']) - 1}")
    for name, at in (("severity", 5), ("occurrence", 2), ("detection", 4)):
        page.get_by_label(name).select_option(index=at)
    page.get_by_placeholder("why? (is kept with the change)").fill("as agreed")
    page.get_by_role("button", name="keep", exact=True).click()
    _until(page, "s.told.startsWith('kept')")
    pages.shot(page, "board_voila")
    page.get_by_role("tab", name="Sign & files").click()
    page.get_by_role("button", name="sign version 1").click()
    _until(page, "s.told.startsWith('signed')")
    pages.shot(page, "board_voila_signed")
    assert page.evaluate("() => window.hacked") is None
    os.kill(int(re.search(r"kernel (\d+)", page.inner_text("body")).group(1)), signal.SIGKILL)
    again = page.context.new_page()  # by another server, which has nothing of the first one's kernels
    again.goto(voila(notebook), wait_until="domcontentloaded", timeout=120_000)
    again.bring_to_front()
    _ready(again)
    last = _until(again, "s.rows.length > 5")
    weld = next(row for row in last["rows"] if "weld" in row[2])
    assert (weld[RPN], weld[9]) == ("40", "signed")
