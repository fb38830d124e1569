"""The component dashboard in a real browser: change the number, freeze, compute bands, drag a region."""

from __future__ import annotations

import pytest

from . import pages

pytestmark = pytest.mark.browser

CODE = """
import numpy as np
import xarray as xr

import batlab as bl
from batlab.schema import quantity

rng = np.random.default_rng(0)
energy, frame = np.linspace(8320, 8400, 160), np.arange(40)
unit, along = (energy - 8320) / 80, frame / 39
pure = [0.5 + np.arctan((unit - 0.3 - 0.03 * n) / 0.02) / np.pi
        + (0.5 + 0.1 * n) * np.exp(-0.5 * ((unit - 0.36 - 0.05 * n) / 0.03) ** 2) for n in range(3)]
bumps = np.array([np.exp(-0.5 * ((along - at) / 0.28) ** 2) for at in (0, 0.5, 1)])
values = (bumps / bumps.sum(axis=0)).T @ np.array(pure) + rng.normal(0, 2e-3, (40, 160))
series = xr.Dataset(
    {"mu_norm": quantity(("frame", "energy"), values, "1", "normalised absorption"),
     "voltage": quantity("frame", 3.4 + 0.9 * along ** 0.6, "V", "voltage")},
    {"frame": quantity("frame", frame, "1", "frame"), "energy": quantity("energy", energy, "eV", "energy"),
     "time": ("frame", np.datetime64("2026-01-01", "ns") + frame * np.timedelta64(90, "s"))},
)
explorer = bl.dashboards.ComponentExplorer(series, of="mu_norm", store="marks.sqlite")
explorer.show()
"""
# What is on the page: lines and bands that are visible, the title, the cursors, the values of one band.
SHOWN = """() => {
  const d = Bokeh.documents.filter((one) => one.get_model_by_name("explorer")).at(-1);
  const seen = (kind) => [0, 1, 2, 3].filter((n) => d.get_model_by_name(`concentration_${n}_${kind}`).visible);
  return {lines: seen("line"), bands: seen("band"), title: d.get_model_by_name("concentration").title.text,
          cursor: d.get_model_by_name("concentration_cursor").location,
          residual: d.get_model_by_name("residual").title.text};
}"""


def _until(page, what: str) -> None:
    page.wait_for_function(f"() => {{ const s = ({SHOWN})(); return {what}; }}", timeout=60_000)


def test_change_the_number_freeze_and_compute_bands(lab, page):
    url, root = lab
    pages.notebook(root / "components.ipynb", CODE)
    pages.open_in_lab(page, url, "components.ipynb")
    pages.run_all(page)
    _until(page, "s.lines.length === 3 && s.bands.length === 0")
    assert "bands not computed" in page.evaluate(SHOWN)["title"]
    pages.shot(page, "components_first")
    number = page.locator(".batlab-explorer input[type=number]").first
    number.fill("2")
    number.press("Enter")
    _until(page, "s.lines.length === 2")
    number.fill("3")
    number.press("Enter")
    _until(page, "s.lines.length === 3")
    page.mouse.click(*pages.place(page, "concentration", 17.2))
    _until(page, "s.cursor === 17 && s.residual.includes('frame 17')")
    page.keyboard.press("ArrowRight")
    _until(page, "s.cursor === 18")
    page.get_by_role("button", name="freeze", exact=True).first.click()
    page.get_by_role("button", name="frozen", exact=True).wait_for(timeout=30_000)
    page.get_by_role("button", name="compute bands", exact=True).click()
    _until(page, "s.bands.length === 3 && s.title.includes('anywhere within its band')")
    widths = page.evaluate(pages.RUN, "print(*(explorer.result.widths() > 0.1))").split()
    assert "True" in widths
    narrow = [n for n, wide in enumerate(widths) if wide == "False"]
    _until(page, f"JSON.stringify(s.lines) === '{str(narrow).replace(' ', '')}'")
    pages.shot(page, "components_bands")
    pages.drag_until(
        page,
        lambda: [pages.place(page, "concentration", x) for x in (4.6, 9.2)],
        lambda: page.get_by_text("frames 5–9").wait_for(state="attached", timeout=10_000),
    )
    page.get_by_role("tab", name="Mark a region").click()
    page.get_by_text("frames 5–9").wait_for(timeout=30_000)
    pages.shot(page, "components_mark")
    page.get_by_role("button", name="mark", exact=True).click()
    page.get_by_text("mechanism must not be empty").wait_for(timeout=30_000)
    page.get_by_placeholder("mechanism").fill("phase transition")
    page.get_by_role("button", name="mark", exact=True).click()
    page.get_by_text("kept as mark 1").wait_for(timeout=30_000)
    page.get_by_role("tab", name="Code").click()
    pages.shot(page, "components_code")
    assert "bl.decompose.bands(found" in page.evaluate(pages.RUN, "print(explorer.code())")
