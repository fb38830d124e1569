"""The calibration dashboard in a real browser: draw a mask with the mouse, fit, save."""

from __future__ import annotations

import pytest

import batlab as bl

from . import pages

pytestmark = pytest.mark.browser

CODE = """
from dataclasses import replace

import batlab as bl
from batlab.simulate.calibrant import Rings, eiger4m, expose

detector = replace(eiger4m(distance=0.3, tilt=(0.004, -0.003, 0.0), pixel=3e-4), shape=(540, 517), module=(128, 257),
                   gap=(9, 3), poni=(0.0785, 0.0789))
image = expose(detector, Rings(0.2, 0.12, 400.0, 10.0, samples=2), seed=2)
config = '{"pixel1": 3e-4, "pixel2": 3e-4, "orientation": 3}'
guess = bl.io.Geometry(0.3021, 0.0785 - 1.2e-3, 0.0789 - 1.2e-3, 0, 0, 0, 0.2, "Detector", config, 3e-4, 3e-4,
                       (540, 517), 3, True)
calibrator = bl.dashboards.Calibrator(image, guess, "LaB6_SRM660c")
calibrator.show()
"""
ACTIVATE = """(kind) => {
  for (const d of Bokeh.documents) {
    const plot = d.get_model_by_name("calibration");
    if (plot) plot.toolbar.active_drag = plot.toolbar.tools.find((one) => one.type === kind);
  }
}"""


def _told(page, code: str) -> str:
    return page.evaluate(pages.RUN, code)


def _until(page, code: str, wanted: str) -> None:
    for _ in range(60):
        if (told := _told(page, code)) == wanted:
            return
        page.wait_for_timeout(250)
    raise AssertionError(f"{code} says {told!r} and not {wanted!r}")


def _draw(page, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.evaluate(ACTIVATE, "BoxSelectTool")
    pages.wait_until_painted(page, 30_000)
    pages.drag(page, pages.place(page, "calibration", *start), pages.place(page, "calibration", *end))


def test_draw_a_mask_fit_and_save(lab, page):
    url, root = lab
    pages.notebook(root / "calibrate.ipynb", CODE)
    pages.open_in_lab(page, url, "calibrate.ipynb")
    page.evaluate("() => jupyterapp.commands.execute('application:toggle-left-area')")
    page.evaluate("() => jupyterapp.commands.execute('notebook:run-all-cells')")
    page.wait_for_selector(".batlab-calibrator canvas, .batlab-calibrator .bk-Figure", timeout=90_000)
    pages.wait_until_painted(page)
    page.evaluate("() => document.querySelector('.batlab-calibrator').scrollIntoView()")
    page.wait_for_timeout(500)
    pages.shot(page, "calibrate_first")
    page.mouse.move(*pages.place(page, "calibration", 300, 200))
    page.get_by_text("y 200, x 300:").wait_for(timeout=30_000)
    _draw(page, (250, 20), (290, 120))
    _until(page, "print(len(calibrator.state.shapes))", "1")
    _draw(page, (20, 400), (120, 480))
    _until(page, "print(len(calibrator.state.shapes))", "2")
    page.get_by_text("Mask and save").click()
    page.get_by_role("button", name="undo", exact=True).click()
    _until(page, "print(len(calibrator.state.shapes))", "1")
    pages.shot(page, "calibrate_mask")
    page.get_by_role("tab", name="Fit").click()
    page.get_by_role("button", name="fit", exact=True).click()
    page.get_by_text("pixel rms").wait_for(timeout=120_000)
    pages.wait_until_painted(page, 30_000)
    page.wait_for_timeout(500)
    pages.shot(page, "calibrate_fit")
    page.get_by_text("Mask and save").click()
    for name, file in (("save poni", "detector.poni"), ("save mask", "mask.edf")):
        page.get_by_role("button", name=name).click()
        page.get_by_text(f"kept {file}").wait_for(timeout=30_000)
    pages.shot(page, "calibrate_saved")
    kept = bl.open(root / "detector.poni")
    assert kept.distance == pytest.approx(0.3, abs=1e-4)
    assert (kept.rot1, kept.rot2) == pytest.approx((0.004, -0.003), abs=1e-3)
    mask = bl.scattering.open_mask(root / "mask.edf", shape=(540, 517)).values
    rows, columns = mask.any(axis=1).nonzero()[0], mask.any(axis=0).nonzero()[0]
    assert (columns[0], columns[-1], rows[0], rows[-1]) == pytest.approx((250, 290, 20, 120), abs=3)
    page.get_by_role("tab", name="Code").click()
    page.wait_for_timeout(500)
    pages.shot(page, "calibrate_code")
    assert "bl.scattering.calibrate(image" in _told(page, "print(calibrator.code())")
