"""Figures of components: bands are shaded, and what is not single-valued gets no line."""

import numpy as np
import pytest
import xarray as xr

from batlab import figures
from batlab.decompose import Constraints, mcr_als, rank
from batlab.decompose import bands as banded
from batlab.errors import DimensionError
from batlab.schema import quantity


@pytest.fixture(scope="module")
def result():
    """Two edges whose shares run from 0.2 to 0.8: neither pure spectrum is in the series."""
    energy, share = np.linspace(0, 1, 40), np.linspace(0.2, 0.8, 12)[:, None]
    values = share * (0.1 + energy) + (1 - share) * (1.1 - energy)
    values += np.random.default_rng(0).normal(0, 1e-3, values.shape)
    series = xr.Dataset(
        {"mu_norm": quantity(("frame", "energy"), values, "1", "normalised absorption")},
        {"frame": quantity("frame", np.arange(12), "1", "frame"), "energy": quantity("energy", energy, "eV", "energy")},
    )
    return mcr_als(series, 2, constraints=Constraints(closure=1))


@pytest.fixture(scope="module")
def wide(result):
    return banded(result, points=4)


@pytest.fixture
def cell(result):
    voltage = quantity("frame", np.linspace(3, 4.2, 12), "V", "voltage")
    return xr.Dataset({"voltage": voltage}, {"frame": result.dataset["frame"]})


def _names(plot):
    return {one.name for one in plot.renderers}


def test_a_wide_band_is_shaded_and_has_no_line(wide):
    assert (wide.widths() > 0.1).all()
    plot = figures.component_concentrations(wide)
    assert _names(plot) == {"component_0_band", "component_1_band"}
    assert "component 0, 1" in plot.title.text
    data = plot.select_one({"name": "component_1_band"}).data_source.data
    assert np.allclose(data["low"], wide.dataset["concentration_low"].values[:, 1])
    assert np.allclose(data["high"], wide.dataset["concentration_high"].values[:, 1])
    spectra = figures.component_spectra(wide)
    assert _names(spectra) == {"component_0_band", "component_1_band"}
    assert spectra.xaxis[0].axis_label == "energy (eV)"


def test_a_narrow_band_has_its_line(result, wide):
    data = wide.dataset.copy()
    for side in ("low", "high"):
        data[f"concentration_{side}"] = data["concentration"] + (0.02 if side == "high" else -0.02)
    plot = figures.component_concentrations(data)
    assert {"component_0_line", "component_0_band"} <= _names(plot)
    assert plot.title.text in (None, "")


def test_without_bands_lines_are_dashed_and_the_title_says_so(result):
    for plot in (figures.component_concentrations(result), figures.component_spectra(result)):
        assert "bands not computed" in plot.title.text
        assert plot.select_one({"name": "component_0_line"}).glyph.line_dash != []


def test_voltage_stands_beside_on_its_own_axis(wide, cell):
    plot = figures.component_concentrations(wide, cell=cell)
    line = plot.select_one({"name": "voltage_line"})
    assert line.y_range_name == "voltage"
    assert plot.right[0].axis_label == "voltage (V)"
    with pytest.raises(DimensionError, match="same 12 frames"):
        figures.component_concentrations(wide, cell=cell.isel(frame=slice(3)))


def test_against_time_is_a_time_axis(wide):
    times = np.datetime64("2026-01-01T00:00:00", "ns") + np.arange(12) * np.timedelta64(60, "s")
    timed = wide.dataset.assign_coords(time=("frame", times, {"long_name": "start of the exposure"}))
    plot = figures.component_concentrations(timed, against="time")
    assert plot.xaxis[0].axis_label.startswith("start")
    with pytest.raises(DimensionError, match="needs 'capacity'"):
        figures.component_concentrations(wide, against="capacity")
    with pytest.raises(ValueError, match="did you mean 'frame'"):
        figures.component_concentrations(wide, against="frames")


def test_rank_evidence_marks_the_least_indicator():
    rng = np.random.default_rng(1)
    values = rng.uniform(size=(30, 3)) @ rng.uniform(size=(3, 80)) + rng.normal(0, 0.01, (30, 80))
    found = rank(xr.DataArray(values, dims=("frame", "energy"), name="mu"), center=False)
    grid = figures.rank_evidence(found)
    plots = [one[0] for one in grid.children if hasattr(one[0], "renderers")]
    assert len(plots) == 4
    marked = next(
        plot.select_one({"name": "indicator_least"}) for plot in plots if plot.select({"name": "indicator_least"})
    )
    assert marked.data_source.data["x"][0] == found.votes["indicator"] == 3
    with pytest.raises(DimensionError, match=r"decompose\.rank"):
        figures.rank_evidence(xr.Dataset())


def test_what_is_no_result_is_refused(cell):
    with pytest.raises(DimensionError, match="needs 'concentration'"):
        figures.component_concentrations(cell)
    with pytest.raises(DimensionError, match="needs 'spectra'"):
        figures.component_spectra(cell)
