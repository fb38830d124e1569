"""dQ/dV and dV/dQ of curves known by algebra, and of published half-cell potentials."""

import warnings

import numpy as np
import pytest

import batlab as bl
from batlab import echem
from batlab.errors import SchemaError
from batlab.schema import check


def two_plateaus(x):
    """Return Q(V) of two Gaussian steps at 3.45 and 3.75 V and a slope, as V(x): the inverse is tabulated."""
    from scipy.special import ndtr

    v = np.linspace(3.0, 4.2, 40001)
    q = 0.2 * (v - 3.0) / 1.2 + 0.4 * ndtr((v - 3.45) / 0.02) + 0.4 * ndtr((v - 3.75) / 0.03)
    return np.interp(x, (q - q[0]) / (q[-1] - q[0]), v)


@pytest.fixture(scope="module")
def cell(make_programme):
    steps = [part for k in (1, 2, 3) for part in ((0.5, 2, k), (0, 0.1, k), (-0.5, 2, k))]
    return make_programme(steps, interval=5.0, resistance=0.02, voltage=lambda x: two_plateaus(np.clip(x, 0, 1)))


def noisy(cell, sigma=1e-3, seed=0):
    noise = np.random.default_rng(seed).normal(0, sigma, cell.sizes["record"])
    result = cell.copy()
    result["voltage"] = ("record", cell["voltage"].values + noise, cell["voltage"].attrs)
    return result


@pytest.mark.parametrize("half", ["charge", "discharge"])
@pytest.mark.parametrize("smoothing", [None, 0.005, 0.02])
def test_area_is_the_capacity(cell, half, smoothing):
    for one in (cell, noisy(cell)):
        before = one.copy(deep=True)
        curve = check(echem.dqdv(one, half=half, smoothing=smoothing))
        assert one.identical(before)
        area = curve["dqdv"].sum("voltage") * 2e-3
        np.testing.assert_allclose(area, 1.0, rtol=1e-6)
        np.testing.assert_allclose(curve["capacity_used"], 1.0, rtol=1e-9)
        assert curve.attrs["smoothing"] == (smoothing or 0.0)
        assert "echem.dqdv(" in curve.attrs["history"]


def test_peaks_stand_where_they_were_put(cell):
    # Plateaus at 3.45 and 3.75 V, moved by I R = 10 mV; widths 2.3548 x 20 and 30 mV, widened by 10 mV smoothing.
    curve = echem.dqdv(noisy(cell))
    found = check(echem.peaks(curve))
    assert found.sizes["peak"] == 2
    np.testing.assert_allclose(found["position"].values, [[3.46, 3.76]] * 3, atol=1e-3)
    np.testing.assert_allclose(found["fwhm"].values, [[np.hypot(0.0471, 0.01), np.hypot(0.0706, 0.01)]] * 3, rtol=0.06)
    np.testing.assert_allclose(found["area"].values, 0.4, rtol=0.08)
    assert found["cycle"].values.tolist() == [1, 2, 3]
    assert found["position"].attrs["units"] == "V"
    np.testing.assert_allclose(echem.peaks(echem.dqdv(cell, half="discharge"), near=[3.44, 3.74])["position"],
                               [[3.44, 3.74]] * 3, atol=1e-3)  # fmt: skip


def test_sigma_is_the_scatter_of_repeats(cell):
    curves = np.array([echem.dqdv(noisy(cell, seed=seed), cycle=1)["dqdv"].sel(voltage=slice(3.1, 4.1)).values[0]
                       for seed in range(40)])  # fmt: skip
    told = np.array([echem.dqdv(noisy(cell, seed=seed), cycle=1)["dqdv_sigma"].sel(voltage=slice(3.1, 4.1)).values[0]
                     for seed in range(10)])  # fmt: skip
    actual, stated = np.sqrt(curves.var(axis=0).mean()), np.sqrt((told**2).mean())
    assert 0.6 < stated / actual < 1.6


def test_slope_of_a_known_curve(make_programme):
    # V = 3 + x^2: dV/dQ = 2 q, positive in both directions; q counts from the start of the half.
    cell = make_programme([(0.5, 2, 1), (-0.5, 2, 1)], interval=2.0, voltage=lambda x: 3 + x**2)
    charge = check(echem.dvdq(cell, half="charge", smoothing=0))
    np.testing.assert_allclose(charge["dvdq"][0], 2 * charge["capacity"], atol=2e-3)
    discharge = check(echem.dvdq(cell, half="discharge"))
    inner = discharge.sel(capacity=slice(0.05, 0.95))
    np.testing.assert_allclose(inner["dvdq"][0], 2 * (1 - inner["capacity"]), atol=2e-3)
    step = discharge.attrs["spacing"]
    assert float(discharge["dvdq"].sum() * step) == pytest.approx(1.0, abs=1e-3)
    assert discharge.attrs["smoothing"] == pytest.approx(0.01)


def test_a_held_voltage_is_left_out_and_told(make_record):
    t = np.arange(0, 6600.0, 5)
    held = t >= 3600
    current = np.where(held, np.exp(-(t - 3600) / 600), 1.0)
    voltage = np.where(held, 4.2, 3.2 + t / 3600)
    cell = make_record(t, voltage, current)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        curve = check(echem.dqdv(cell))
    assert float(curve["capacity_used"][0]) == pytest.approx(1.0, abs=0.01)
    passed = float(np.trapezoid(current, t) / 3600)
    assert float((curve["capacity_used"] + curve["capacity_held"])[0]) == pytest.approx(passed, rel=1e-6)
    full = echem.dqdv(cell, hold=True)
    assert float(full["capacity_used"][0]) == pytest.approx(passed, rel=1e-6)


def test_rests_within_a_half_add_nothing(make_programme):
    steps = [part for _ in range(10) for part in ((0.5, 0.2, 1), (0, 0.2, 1))]
    cell = make_programme([*steps, (-0.5, 2, 1)], interval=5.0)
    curve = echem.dqdv(cell)
    assert float(curve["dqdv"].sum() * 2e-3) == pytest.approx(1.0, rel=1e-6)
    slope = echem.dvdq(cell, half="charge").sel(capacity=slice(0.05, 0.95))
    np.testing.assert_allclose(slope["dvdq"], 1.0, atol=1e-6)


def test_what_is_refused_or_nan(cell, make_record, make_programme):
    with pytest.raises(ValueError, match="did you mean 'charge'"):
        echem.dqdv(cell, half="charging")
    with pytest.raises(ValueError, match=r"cycle must be among 1 to 3, got .*7"):
        echem.dqdv(cell, cycle=7)
    for keyword in ("spacing", "smoothing"):
        with pytest.raises(ValueError, match=f"{keyword} must be positive"):
            echem.dqdv(cell, **{keyword: -1.0})
    with pytest.raises(SchemaError, match="no cycle has 8 lines"):
        echem.dqdv(make_record([0, 1], [3, 3.1], [1, 1]))
    with pytest.warns(UserWarning, match="1 of 2 cycles have fewer than 8 lines"):
        curve = check(echem.dqdv(make_programme([(0.5, 1, 1), (-0.5, 1, 1), (-0.5, 1, 2)])))
    assert np.isnan(curve["dqdv"].sel(cycle=2)).all()
    assert not np.isnan(curve["dqdv"].sel(cycle=1)).any()
    with pytest.raises(SchemaError, match="needs 'dqdv' or 'dvdq'"):
        echem.peaks(cell)
    with pytest.raises(SchemaError, match="is NaN in all"):
        echem.peaks(curve.sel(cycle=[2]))


def chen2020():
    """Return charge [Ah] and voltage of an LG M50 from 4.2 to 2.5 V at rest, finely, by its published potentials."""
    positive, negative = echem.half_cell("chen2020_nmc811"), echem.half_cell("chen2020_graphite_siox")
    x = np.linspace(0.005, 0.95, 200001)[::-1]  # of 5.7241 Ah; the cathode has 7.7845 Ah, both hold 7.2310 Ah
    y = (7.2310 - 5.7241 * x) / 7.7845
    inside = (y >= 0.2) & (y <= 1)
    x, voltage = x[inside], positive(y[inside]) - negative(x[inside])
    within = (voltage <= 4.2) & (voltage >= 2.5)
    return 5.7241 * (x[within][0] - x[within]), voltage[within]


def test_a_published_cell_with_noise_of_a_millivolt(make_record):
    charge, voltage = chen2020()
    # The capacity that its authors' parameters give, 5.0169 Ah.
    assert charge[-1] == pytest.approx(5.0169, abs=1e-3)
    q = np.linspace(0, charge[-1], 6000)
    noise = np.random.default_rng(5).normal(0, 1e-3, len(q))
    volts = np.interp(q, charge, voltage) + noise
    cell = make_record(q / 0.25 * 3600, volts, np.full(len(q), -0.25))
    curve = check(echem.dqdv(cell, half="discharge", smoothing=0.02))
    assert float(curve["dqdv"].sum() * 2e-3) == pytest.approx(charge[-1], rel=5e-3)
    exact = -np.gradient(charge, voltage)
    from scipy.signal import find_peaks

    tops, _ = find_peaks(exact, prominence=0.05 * exact.max())
    assert len(tops) == 3  # 3.451, 3.646 and 4.095 V; two weaker ones are shoulders
    found = echem.peaks(curve, near=voltage[tops], width=0.03, window=0.06)
    np.testing.assert_allclose(found["position"][0], np.sort(voltage[tops]), atol=5e-3)
    for place in voltage[tops]:
        around = curve["dqdv"][0].sel(voltage=slice(place - 0.03, place + 0.03))
        assert abs(float(around.idxmax()) - place) < 5e-3


@pytest.mark.data
def test_peaks_of_a_real_record_keep_the_area():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cell = bl.open(bl.datasets.path("lno_rock") / "EC" / "220726cell4operandoxas_C06.mpt", timezone="Europe/Paris")
        curve = check(echem.dqdv(cell))
    area = curve["dqdv"].sum("voltage") * 2e-3
    good = np.isfinite(curve["dqdv"]).all("voltage")
    assert good.any()
    np.testing.assert_allclose(area[good], curve["capacity_used"][good], rtol=5e-3)
