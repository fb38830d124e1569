"""A report in a real browser: opened without a network, and printed without cutting anything."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from batlab import report

pytestmark = pytest.mark.browser
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
bench = pytest.importorskip("bench_report")
sys.path.pop(0)
SHOTS = os.environ.get("BATLAB_SCREENSHOTS")
FIGURES = 7  # timeline; map, pattern; a, c, volume; cycling
PAPER = 680  # pixels of CSS between the margins of an A4 page
WIDTHS = """() => [...document.querySelectorAll("section:not(.wide) table, canvas.still")]
  .filter((one) => one.offsetParent).map((one) => one.getBoundingClientRect().width)"""


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    made = bench.experiment(300, 400)
    with bench.marks(made["patterns"], folder, 12) as store:
        return report.write(folder / "x.html", *made.values(), store=store, worksheet=bench.worksheet())


def opened(page, path):
    page.context.set_offline(True)
    page.goto(path.as_uri())
    page.wait_for_function(bench.DRAWN, timeout=60_000)


def test_it_opens_without_a_network_and_draws_every_figure(page, path):
    opened(page, path)
    roots = page.evaluate("document.querySelectorAll('figure [data-root-id]').length")
    assert roots == page.evaluate("document.querySelectorAll('figure').length") == FIGURES
    if SHOTS:
        page.screenshot(path=str(Path(SHOTS) / "report.png"), full_page=True)


def test_on_paper_figures_stand_still_and_nothing_is_cut(page, path):
    opened(page, path)
    page.emulate_media(media="print")
    page.set_viewport_size({"width": PAPER, "height": 1000})
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("canvas.still").count() == FIGURES
    assert page.evaluate("[...document.querySelectorAll('details')].every((one) => one.open)")
    assert max(page.evaluate(WIDTHS)) <= PAPER + 1
    # A figure that was copied is not blank: there is more than one colour on it.
    colours = """() => [...document.querySelectorAll("canvas.still")].map((one) => {
      const data = one.getContext("2d").getImageData(0, 0, one.width, one.height).data;
      return new Set(new Uint32Array(data.buffer)).size; })"""
    assert min(page.evaluate(colours)) > 3
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("canvas.still").count() == 0


def test_long_tables_stay_out_of_a_print_and_wide_sections_turn_the_page(page, path):
    opened(page, path)
    printed = page.pdf(prefer_css_page_size=True)
    boxes = [tuple(map(float, box)) for box in re.findall(rb"/MediaBox ?\[0 0 ([\d.]+) ([\d.]+)\]", printed)]
    assert {width > height for width, height in boxes} == {True, False}
    assert len(boxes) <= 14  # 300 rows of every frame alone would be five more
    if SHOTS:
        (Path(SHOTS) / "report.pdf").write_bytes(printed)
