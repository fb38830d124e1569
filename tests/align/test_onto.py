"""Several techniques on one axis: exact means, corrections that are told and can be taken off again."""

import numpy as np
import pytest
import xarray as xr

import batlab as bl
from batlab import schema
from batlab.align import LagUndecidedError, Lithium, estimate_lag, onto, onto_frames, undo
from batlab.errors import DimensionError, SchemaError
from batlab.schema import quantity

ZERO = np.datetime64("2026-01-01T00:00:00", "ns")


def dates(seconds):
    return ZERO + np.round(np.asarray(seconds) * 1e9).astype("timedelta64[ns]")


def series_of(name, units, start, exposure):
    start = np.asarray(start, dtype=float)
    return xr.Dataset(
        {name: quantity("frame", np.linspace(0, 1, start.size), units, name)},
        {
            "frame": quantity("frame", np.arange(start.size), "1", "frame"),
            "time": quantity("frame", dates(start), "", "start of exposure, UTC"),
            "exposure": quantity("frame", np.full(start.size, float(exposure)), "s", "exposure"),
        },
    )


@pytest.fixture
def tree():
    """0.1 A for ten hours, 20 to 40 degC; diffraction 41 s late, absorption right, a gas record, a still picture."""
    seconds = np.arange(0, 36001, 10.0)
    cell = xr.Dataset(
        {
            "current": quantity("record", np.full(seconds.size, 0.1), "A", "current"),
            "capacity": quantity("record", 0.1 * seconds / 3600, "Ah", "capacity"),
            "temperature": quantity("record", 20 + 20 * seconds / 36000, "degC", "temperature"),
        },
        {
            "time": quantity("record", dates(seconds), "", "time, UTC"),
            "test_time": quantity("record", seconds, "s", "time of the test"),
        },
    )
    gas = xr.Dataset(
        {"pressure": quantity("record", [1.0, 2.0, 3.0], "Pa", "pressure")},
        {"time": quantity("record", dates([7200.0, 18000.0, 99999.0]), "", "time, UTC")},
    )
    picture = xr.Dataset({"image": quantity(("y", "x"), np.zeros((2, 2)), "1", "picture")})
    parts = {
        "/echem": cell,
        "/xrd": series_of("a", "angstrom", 3600 * np.arange(1, 9) - 41.0, 60.0),
        "/xas": series_of("e0", "eV", 1800 + 3600 * np.arange(8), 120.0),
        "/gas": gas,
        "/sem": picture,
    }
    experiment = xr.DataTree.from_dict(parts, name="cell7")
    experiment.attrs["title"] = "cell 7"
    return experiment


def test_capacity_is_the_mean_of_the_charge_in_each_exposure(tree):
    before = tree.copy(deep=True)
    joined = schema.check(onto(tree, "capacity", offsets={"xrd": 41.0}))
    assert tree.identical(before)
    np.testing.assert_allclose(joined["xrd/capacity"], 0.1 * (np.arange(1, 9) + 30 / 3600))
    np.testing.assert_allclose(joined["xas/capacity"], 0.1 * (0.5 + np.arange(8) + 60 / 3600))
    np.testing.assert_allclose(joined["gas/capacity"], [0.2, 0.5, np.nan])
    np.testing.assert_allclose(joined["echem/capacity"], 0.1 * np.arange(0, 36001, 10.0) / 3600, atol=1e-12)
    assert joined["sem"].to_dataset().identical(tree["sem"].to_dataset())
    assert (joined["xrd"].time.values - tree["xrd"].time.values == np.timedelta64(41, "s")).all()
    assert joined["xrd"].attrs["onto_offset"] == 41.0
    assert joined["xas"].attrs["onto_offset"] == 0.0
    assert "align.onto(axis='capacity'" in joined.attrs["history"]
    assert joined.name == "cell7"


@pytest.mark.parametrize("axis", ["time", "capacity", "temperature", "lithium"])
def test_everything_is_taken_off_again(tree, axis, tmp_path):
    lithium = Lithium(mass=6.0, molar_mass=97.63) if axis == "lithium" else None
    joined = onto(tree, axis, offsets={"xrd": lambda moments: np.linspace(40, 42, 8)}, lithium=lithium)
    back = undo(joined)
    history = back.attrs.pop("history")
    assert back.identical(tree)
    assert "align.undo" in history
    bl.save(joined, tmp_path / "cell.nc")
    again = undo(bl.open(tmp_path / "cell.nc"))
    np.testing.assert_array_equal(again["xrd"].time, tree["xrd"].time)
    assert set(again["xrd"].coords) == set(tree["xrd"].coords)


def test_temperature_and_more_than_one_axis(tree):
    warm = onto(onto(tree, "temperature", offsets={"xrd": 41.0}), "capacity")
    np.testing.assert_allclose(warm["xrd/temperature"], 20 + 2 * (np.arange(1, 9) + 30 / 3600))
    np.testing.assert_allclose(warm["xrd/capacity"], 0.1 * (np.arange(1, 9) + 30 / 3600))
    assert list(warm["xrd"].attrs["onto_axes"]) == ["temperature", "capacity"]
    assert warm["xrd"].attrs["onto_offset"] == 41.0
    back = undo(warm)
    back.attrs.pop("history")
    assert back.identical(tree)
    with pytest.raises(ValueError, match=r"would add up.*align.undo"):
        onto(warm, "time", offsets={"xrd": 41.0})


def test_lithium_leaves_the_positive_and_enters_the_negative_electrode(tree):
    """1.0 Ah is one lithium in 1 Ah of material: x from 1 to 0; graphite the other way round."""
    cathode = Lithium(mass=4.0, theoretical_capacity=0.25)
    x = onto(tree, "lithium", lithium=cathode)
    np.testing.assert_allclose(x["xas/lithium"], 1 - 0.1 * (0.5 + np.arange(8) + 60 / 3600))
    anode = Lithium(mass=4.0, theoretical_capacity=0.25, start=0.0, electrode="negative")
    np.testing.assert_allclose(onto(tree, "lithium", lithium=anode)["xas/lithium"], 1 - x["xas/lithium"])
    # Faraday's constant from CODATA: one mole of LiNiO2, 26.8015 Ah.
    assert Lithium(mass=97.63, molar_mass=97.63).charge_of_one == pytest.approx(96485.33212 / 3600, rel=1e-9)
    with pytest.warns(UserWarning, match=r"lithium runs from -1\.00 to 1\.00"):
        onto(tree, "lithium", lithium=Lithium(mass=2.0, theoretical_capacity=0.25))


def test_a_lag_with_its_sigma_stands_in_the_attributes(tree):
    corners, volts = 3600.0 * np.arange(0, 11), [3, 4, 3, 3.5, 3, 4, 4, 3.2, 3.6, 3, 4]
    seconds = np.arange(0, 36001, 10.0)
    cell = (
        tree["echem"]
        .to_dataset()
        .assign(voltage=quantity("record", np.interp(seconds, corners, volts), "V", "voltage"))
    )
    start = 900 + 60.0 * np.arange(500)
    fine = np.interp(start[:, None] + np.linspace(0, 30, 31), corners, volts)
    signal = np.trapezoid(fine, dx=1.0, axis=1) / 30 + np.random.default_rng(0).normal(0, 0.01, 500)
    xrd = series_of("a", "angstrom", start - 41.0, 30.0)
    xrd = xrd.assign(a=xrd.a.copy(data=signal))
    lag = estimate_lag(xrd, cell, signal="a", against="voltage", response="linear")
    joined = onto(xr.DataTree.from_dict({"/echem": cell, "/xrd": xrd}), "capacity", offsets={"xrd": lag})
    schema.check(joined)
    attrs = joined["xrd"].attrs
    assert abs(attrs["onto_offset"] - 41.0) < 3 * attrs["onto_offset_sigma"] < 10
    assert attrs["onto_drift"] == 0.0
    np.testing.assert_allclose(joined["xrd/capacity"], onto_frames(xrd, cell, offset=lag).charge_passed)


def test_without_a_current_the_counter_counts(tree):
    bare = tree.copy()
    bare["echem"] = xr.DataTree(tree["echem"].to_dataset().drop_vars("current"))
    np.testing.assert_allclose(onto(bare, "capacity")["xas/capacity"], 0.1 * (0.5 + np.arange(8) + 60 / 3600))
    neither = tree.copy()
    neither["echem"] = xr.DataTree(tree["echem"].to_dataset().drop_vars(["current", "capacity", "temperature"]))
    with pytest.raises(SchemaError, match="needs a current or a capacity"):
        onto(neither, "capacity")
    with pytest.raises(SchemaError, match="axis='temperature' needs it"):
        onto(neither, "temperature")


def test_without_dates_the_cells_test_time_is_the_clock(tree):
    cell = tree["echem"].to_dataset().drop_vars("time")
    xas = tree["xas"].to_dataset().drop_vars("time")
    xas = xas.assign_coords(test_time=quantity("frame", 1800 + 3600.0 * np.arange(8), "s", "start of exposure"))
    plain = xr.DataTree.from_dict({"/echem": cell, "/xas": xas})
    joined = schema.check(onto(plain, "capacity", offsets={"xas": 60.0}))
    np.testing.assert_allclose(joined["xas/capacity"], 0.1 * (0.5 + np.arange(8) + 120 / 3600))
    np.testing.assert_allclose(joined["xas/test_time"], 1860 + 3600.0 * np.arange(8))
    assert undo(joined)["xas"].to_dataset().identical(xas)


def test_wrong_words_are_refused(tree):
    with pytest.raises(ValueError, match="did you mean 'capacity'"):
        onto(tree, "capacty")
    with pytest.raises(DimensionError, match="did you mean 'echem'"):
        onto(tree, cell="echen")
    with pytest.raises(DimensionError, match="name the record"):
        onto(tree, cell="xrd")
    with pytest.raises(DimensionError, match="DataTree"):
        onto(tree["xrd"].to_dataset())
    with pytest.raises(ValueError, match="did you mean 'xrd'"):
        onto(tree, offsets={"xrdd": 1.0})
    with pytest.raises(ValueError, match="has no offset"):
        onto(tree, offsets={"echem": 1.0})
    with pytest.raises(ValueError, match=r"needs lithium=align\.Lithium"):
        onto(tree, "lithium")
    with pytest.raises(ValueError, match="takes no lithium"):
        onto(tree, "time", lithium=Lithium(mass=1.0, molar_mass=97.63))
    late = tree.copy()
    late["xas"] = xr.DataTree(tree["xas"].to_dataset().drop_vars(["time", "exposure"]))
    with pytest.raises(ValueError, match=r"'xas'.*no time"):
        onto(late, "capacity")
    with pytest.raises(SchemaError, match="nothing to take off"):
        undo(tree)
    for words in ({}, {"molar_mass": 97.0, "theoretical_capacity": 0.2}):
        with pytest.raises(ValueError, match="one of them"):
            Lithium(mass=1.0, **words)
    with pytest.raises(ValueError, match="divide mAh/g"):
        Lithium(mass=1.0, theoretical_capacity=274.0)
    with pytest.raises(ValueError, match="above 0"):
        Lithium(mass=0.0, molar_mass=97.0)


@pytest.mark.data
def test_rock_on_one_axis():
    """LiNiO2 at ROCK: by how much the edge comes behind the charge, then lithium for both techniques.

    At equal charge the edge lies 0.1 to 0.2 eV higher on discharge: the spot in the beam, or the path, comes behind
    what the potentiostat counts. The oracle is numpy alone: the shift at which a cubic of the charge and a line in
    time leave least. Mass 4.44 * 1.54 mg by the authors' notebook, LiNiO2 97.63 g/mol.
    """
    folder = bl.datasets.path("lno_rock")
    series = bl.open(folder / "XAS_normalized" / "*.txt", timezone="Europe/Paris")
    cell = bl.open(folder / "EC" / "*.mpt", timezone="Europe/Paris")
    edge = bl.xas.edge_energy(series, method="half_step")
    with pytest.warns(UserWarning, match="resemble their neighbours"):
        lag = estimate_lag(edge, cell, signal="e0", baseline=1, drift=False, max_lag=5400.0, hours=False)
    low, high = lag.interval
    assert -3000 < low < lag.lag < high < -1000
    assert 150 < lag.sigma < 500
    assert abs(lag.lag - _shift_by_numpy(edge, cell)) < lag.sigma
    with pytest.raises(LagUndecidedError, match="max_lag="):  # no lag of the clocks' own size fits
        estimate_lag(edge, cell, signal="e0", baseline=2, hours=False)
    lno = Lithium(mass=4.44 * 1.54e-3, molar_mass=97.63)
    tree = xr.DataTree.from_dict({"/echem": cell, "/xas": edge})
    for offsets, least in ((None, -0.95), ({"xas": lag}, -0.97)):
        joined = schema.check(onto(tree, "lithium", offsets=offsets, lithium=lno))
        x, e0 = joined["xas/lithium"].values[1:50], edge.e0.values[1:50]  # the first charge and discharge
        assert x.min() == pytest.approx(1 - 1.614 / 1.877, abs=0.03)
        assert np.corrcoef(x, e0)[0, 1] < least


def _shift_by_numpy(edge, cell):
    seconds = (cell.time.values - cell.time.values[0]) / np.timedelta64(1, "s")
    current = cell.current.values
    charge = np.concatenate([[0.0], np.cumsum(np.diff(seconds) * (current[1:] + current[:-1]) / 2)])
    middle = (edge.time.values - cell.time.values[0]) / np.timedelta64(1, "s") + edge.exposure.values / 2
    rows = slice(4, 112)
    left = []
    for shift in np.arange(-5000.0, 2000.0, 20.0):
        q = np.interp(middle[rows] + shift, seconds, charge) / 6
        table = np.stack([np.ones(q.size), q, q**2, q**3, middle[rows] / 1e5], axis=1)
        left.append(np.linalg.lstsq(table, edge.e0.values[rows], rcond=None)[1][0])
    return -5000.0 + 20.0 * int(np.argmin(left))
