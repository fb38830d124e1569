"""A dashboard that grows in a real browser while a detector writes, and a kernel that answers meanwhile."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from . import pages

pytestmark = pytest.mark.browser
HERE = Path(__file__).parent

N = 40
CODE = """
import batlab as bl
from batlab.io import Geometry
config = '{{"pixel1": 1e-4, "pixel2": 1e-4, "max_shape": [64, 96]}}'
geometry = Geometry(0.2, 0.003, 0.004, wavelength=1.0, shape=(64, 96), detector_config=config)
plan = bl.scattering.Integrator(geometry, n_bins=40)
explorer = bl.dashboards.CycleExplorer(live=bl.follow({path!r}, plan, timeout=60, settle=2.0))
explorer.show()
painted = []
explorer.screen.root.document.on_event("document_ready", lambda _event: painted.append(len(explorer.series.frame)))
"""
# Of the map in the browser: how many rows hold colours from the bottom up, and the sum of all levels.
MAP = """() => {
  const d = Bokeh.documents.filter((one) => one.get_model_by_name("explorer")).at(-1);
  const image = d.get_model_by_name("map_image").data_source.data.image[0];
  const [rows, columns] = image.shape;
  let filled = 0, sum = 0;
  for (let i = 0; i < image.length; i++) {
    sum += image[i];
    if (image[i] > 0) filled = Math.max(filled, Math.floor(i / columns) + 1);
  }
  return {filled, sum, rows, top: d.get_model_by_name("map").y_range.end};
}"""
SUM = "print(int(explorer.screen.source('map_image').data['image'][0].sum(dtype=int)))"


def test_a_series_grows_in_the_browser_while_the_kernel_answers(lab, page):
    url, root = lab
    counts = np.random.default_rng(8).poisson(30, (N, 64, 96)).astype(np.uint32)
    radius = np.hypot(*np.mgrid[-30:34, -40:56])
    for frame in range(N):  # a ring that walks outwards
        counts[frame] += (300 * np.exp(-(((radius - 15 - frame / 4) / 2) ** 2))).astype(np.uint32)
    np.save(root / "frames.npy", counts)
    writer = HERE.parent / "scattering" / "live_writer.py"
    words = [sys.executable, writer, "swmr", root, root / "frames.npy", 1, 1.2]
    pages.notebook(root / "live.ipynb", CODE.format(path=str(root / "live.h5")))
    pages.open_in_lab(page, url, "live.ipynb")
    process = subprocess.Popen(list(map(str, words)))
    try:
        pages.run_all(page)
        page.wait_for_function(f"() => ({MAP})().filled >= 5", timeout=60_000)
        early = page.evaluate(MAP)
        assert early["filled"] < N
        # The kernel works while the series grows.
        assert page.evaluate(pages.RUN, "print(6 * 7, explorer.series.sizes['frame'] < 40)") == "42 True"
        pages.shot(page, "live_growing")
        page.wait_for_function(f"() => ({MAP})().filled >= {early['filled'] + 3}", timeout=60_000)
        assert process.wait(120) == 0
    finally:
        process.kill()
    page.get_by_text("40 frames; ended: complete").wait_for(timeout=60_000)
    page.wait_for_function(f"() => ({MAP})().rows === {N}", timeout=30_000)
    pages.wait_for_frame(page, N - 1)
    end = page.evaluate(MAP)
    assert (end["filled"], end["top"]) == (N, N - 0.5)
    # The ranges come to rest in the browser, which draws anew once or twice; then both hold the same map.
    for _ in range(40):
        held, shown = int(page.evaluate(pages.RUN, SUM)), page.evaluate(MAP)["sum"]
        if held == shown:
            break
        page.wait_for_timeout(250)
    assert shown == held
    # The whole document travelled once, for the first picture.
    assert len(page.evaluate(pages.RUN, "print(painted)").split(",")) == 1
    pages.shot(page, "live_ended")
