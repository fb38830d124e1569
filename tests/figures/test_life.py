"""Figures of a cell's life and clock: what they draw is what the results say, and gaps stay open."""

import numpy as np
import pytest
import xarray as xr
from bokeh.models import BoxAnnotation

from batlab.errors import DimensionError
from batlab.figures import derivative, fade, lag_profile
from batlab.schema import quantity


@pytest.fixture
def table():
    n = np.arange(1.0, 13)
    kind = np.array(["cycle"] * 12)
    kind[5] = "incomplete"
    return xr.Dataset(
        {
            "capacity_discharge": quantity("cycle", 1.1 - 0.01 * n, "Ah", "discharge capacity"),
            "kind": ("cycle", kind),
            "is_after_gap": quantity("cycle", (n == 7).astype(float), "1", "after a gap"),
        },
        {
            "cycle": quantity("cycle", n, "1", "cycle"),
            "test_time": quantity("cycle", 86400.0 * np.where(n < 7, n, n + 20), "s", "time"),
        },
    )


@pytest.fixture
def fits(table):
    curve = np.stack([1.1 - 0.01 * table.cycle.values, np.full(12, np.nan)])
    return xr.Dataset(
        {"fit": (("model", "cycle"), curve), "weight": ("model", [0.9, 0.1])},
        {"model": ["linear", "sqrt"], "cycle": table.cycle},
        {"over": "days"},
    )


def test_gap_is_shaded_and_no_line_crosses_it(table, fits):
    plot = fade(table, fits)
    (gap,) = plot.select({"type": BoxAnnotation})
    assert (gap.left, gap.right) == (5.0, 26.0)  # days since the first cycle
    lines = [one for one in plot.renderers if type(one.glyph).__name__ == "MultiLine"]
    pieces = lines[0].data_source.data["xs"]
    assert [len(piece) for piece in pieces] == [6, 6]
    assert all(max(piece) <= 5 or min(piece) >= 26 for piece in pieces)


def test_whole_and_cut_cycles_are_told_apart(table):
    points = [one for one in fade(table).renderers if type(one.glyph).__name__ == "Scatter"]
    assert [len(one.data_source.data["x"]) for one in points] == [11, 1]
    assert list(points[1].data_source.data["x"]) == [6.0]


def test_fade_names_what_it_has(table):
    with pytest.raises(DimensionError, match="capacity_discharge"):
        fade(table, variable="capacity_dischrge")


def test_lag_profile_shows_interval():
    class Found:
        lag, sigma, interval = 37.4, 1.7, (34.1, 40.8)
        dataset = xr.Dataset(
            {"cost": ("lag", ((np.arange(-100.0, 200) - 37.4) / 1.7) ** 2)}, {"lag": np.arange(-100.0, 200)}
        )

    plot = lag_profile(Found())
    (box,) = plot.select({"type": BoxAnnotation})
    assert (box.left, box.right) == (34.1, 40.8)
    assert plot.x_range.start < 34.1 < 40.8 < plot.x_range.end
    assert "37.4 ± 1.7 s" in plot.title.text


def test_derivative_draws_a_line_a_cycle():
    voltage = np.linspace(3, 4, 50)
    curves = xr.Dataset(
        {"dqdv": quantity(("cycle", "voltage"), np.ones((2, 50)), "Ah/V", "dQ/dV")},
        {
            "cycle": quantity("cycle", [1.0, 90.0], "1", "cycle"),
            "voltage": quantity("voltage", voltage, "V", "voltage"),
        },
    )
    plot = derivative(curves)
    assert len(plot.renderers) == 2
    assert [item.label.value for item in plot.legend.items] == ["cycle 1", "cycle 90"]
    assert plot.yaxis[0].axis_label == "dQ/dV (Ah/V)"
    with pytest.raises(DimensionError, match="dqdv"):
        derivative(curves.rename(dqdv="other"))
