"""Fading of known form: parameters within their σ, the right model preferred, knees with honest limits."""

import numpy as np
import pytest
import xarray as xr

from batlab import echem
from batlab.errors import DimensionError, SchemaError
from batlab.schema import check, quantity


def table_of(y, n=None, **more):
    n = np.arange(1, len(y) + 1) if n is None else n
    variables = {"capacity_discharge": quantity("cycle", np.asarray(y, float), "Ah", "capacity")}
    for name, values in more.items():
        variables[name] = quantity("cycle", np.asarray(values), "1", name)
    return xr.Dataset(variables, {"cycle": quantity("cycle", n, "1", "cycle")})


N = np.arange(1, 301)
TRUTHS = {
    "linear": (1.1 - 5e-4 * (N - 1), {"start": 1.1, "rate": 5e-4}),
    "sqrt": (1.1 - 8e-3 * np.sqrt(N - 1), {"start": 1.1, "rate": 8e-3}),
    "power": (1.1 - 1e-6 * (N - 1) ** 2.2, {"start": 1.1, "rate": 1e-6, "exponent": 2.2}),
    "exponential": (1.1 - 2e-4 * np.expm1(0.01 * (N - 1)) / 0.01, {"start": 1.1, "rate": 2e-4, "growth": 0.01}),
    "two_piece": (
        1.1 - 2e-4 * (N - 1) - 2e-3 * np.maximum(N - 201, 0),
        {"start": 1.1, "rate": 2e-4, "rate_change": 2e-3},
    ),
}


@pytest.mark.parametrize("name", TRUTHS)
def test_the_model_that_made_it_is_preferred_and_its_parameters_come_back(name):
    y, truth = TRUTHS[name]
    table = table_of(y + np.random.default_rng(3).normal(0, 2e-3, 300))
    before = table.copy(deep=True)
    found = check(echem.fade(table))
    assert table.identical(before)
    # A model with one parameter more may tie; the one that made the data is never far behind.
    assert float(found["weight"].sel(model=name)) > 0.1
    assert float(found["weight"].sum()) == pytest.approx(1.0)
    for parameter, value in truth.items():
        got, sigma = (float(found[f"{name}_{parameter}{end}"]) for end in ("", "_sigma"))
        assert abs(got - value) < 3.5 * sigma
        assert sigma < 0.2 * value
    exact = echem.fade(table_of(y))
    for parameter, value in truth.items():
        assert float(exact[f"{name}_{parameter}"]) == pytest.approx(value, rel=1e-3)
    assert "echem.fade(" in found.attrs["history"]


def test_sigma_holds_in_repeats():
    y, truth = TRUTHS["power"]
    off = []
    for seed in range(40):
        found = echem.fade(table_of(y + np.random.default_rng(seed).normal(0, 5e-3, 300)), models=["power"])
        off.append([float((found[f"power_{p}"] - truth[p]) / found[f"power_{p}_sigma"]) for p in ("start", "exponent")])
    spread = np.std(off, axis=0)
    assert (spread > 0.75).all()
    assert (spread < 1.25).all()


def test_sigma_knows_that_neighbours_agree():
    # An autoregressive scatter of 0.8: the mean of n values is worth n/9.
    spread, stated = [], []
    for seed in range(60):
        shocks = np.random.default_rng(seed).normal(0, 1e-3, 300)
        noise = np.zeros(300)
        for k in range(1, 300):
            noise[k] = 0.8 * noise[k - 1] + shocks[k]
        found = echem.fade(table_of(TRUTHS["linear"][0] + noise), models=["linear"])
        spread.append(float(found["linear_rate"]))
        stated.append(float(found["linear_rate_sigma"]))
    assert 0.7 < np.mean(stated) / np.std(spread) < 1.4


def test_the_knee_lies_within_its_limits_as_often_as_told():
    y = TRUTHS["two_piece"][0]
    inside, confidence = [], []
    for seed in range(30):
        noisy = y + np.random.default_rng(seed).normal(0, 0.02, 300)
        found = echem.fade(table_of(noisy), models=["linear", "two_piece"])
        inside.append(float(found["knee_low"]) <= 201 <= float(found["knee_high"]))
        confidence.append(float(found["knee_confidence"]))
    assert np.mean(inside) >= 0.83  # 30 trials of 0.95: sd 0.04
    assert min(confidence) > 0.99
    assert str(found["knee_kind"].values) == "knee"


def test_noise_about_a_line_has_no_knee():
    alarms = 0
    for seed in range(60):
        y = TRUTHS["linear"][0] + np.random.default_rng(seed).normal(0, 5e-3, 300)
        found = echem.fade(table_of(y), models=["linear", "two_piece"])
        alarms += float(found["knee_confidence"]) > 0.95
    assert alarms <= 4
    elbow = echem.fade(table_of(TRUTHS["sqrt"][0]))
    assert str(elbow["knee_kind"].values) == "elbow"


def test_gaps_are_said_and_not_bridged():
    y = np.concatenate([1.1 - 1e-4 * np.arange(50), 0.8 - 4e-3 * np.arange(50)])
    gap = np.zeros(100, int)
    gap[50] = 1
    days = np.concatenate([np.arange(50), 200 + np.arange(50)])
    table = table_of(y, is_after_gap=gap)
    table = table.assign_coords(test_time=quantity("cycle", 86400.0 * days, "s", "time"))
    with pytest.warns(UserWarning, match="1 ends of files where cycles may be missing|the rate changes"):
        found = check(echem.fade(table))
    assert found.attrs["n_gaps"] == 1
    assert found["fit"].sizes["cycle"] == 100  # at cycles that are there, at no others
    with pytest.warns(UserWarning, match="the rate changes between 49 and 200, where cycles are missing") as told:
        by_day = check(echem.fade(table, over="days"))
    assert len(told) == 1  # days go on through a gap: nothing else is to be said
    assert np.isnan(by_day["knee"])
    assert float(by_day["knee_low"]) <= 49
    assert float(by_day["knee_high"]) >= 200
    assert by_day.attrs["last_x"] == 249
    with pytest.warns(UserWarning, match="may be missing"):
        end = check(echem.life(table, share=0.85))
    assert str(end["status"].values) == "in a gap"
    assert np.isnan(end["life"])
    assert (float(end["life_low"]), float(end["life_high"])) == (50, 51)


def test_only_wanted_kinds_are_fitted_and_others_left_nan():
    y = TRUTHS["linear"][0].copy()
    kind = np.full(300, "cycle", dtype="<U10")
    y[::50], kind[::50] = 2.0, "check_up"
    table = table_of(y)
    table["kind"] = quantity("cycle", kind, "", "kind")
    found = check(echem.fade(table))
    assert found.attrs["n_used"] == 294
    assert np.isnan(found["fit"].sel(cycle=1)).all()
    assert float(found["linear_rate"]) == pytest.approx(5e-4, rel=1e-9)


def test_other_axes(make_programme):
    halves = [part for k in range(1, 9) for part in ((0.5, 1 - 0.02 * k, k), (-0.5, 1 - 0.02 * k, k))]
    cell = make_programme(halves, voltage=lambda x: 3.5 + 0 * x)
    table = echem.cycles(cell)
    found = check(echem.fade(table, models=["linear"]))
    assert float(found["linear_rate"]) == pytest.approx(0.01, rel=1e-6)
    passed = np.cumsum(2 * 0.5 * (1 - 0.02 * np.arange(1, 9)))
    by_charge = check(echem.fade(table, models=["linear"], over="throughput"))
    assert by_charge.attrs["last_x"] == pytest.approx(passed[-1], rel=1e-6)
    assert by_charge["linear_rate"].attrs["units"] == "Ah/Ah"


def test_what_is_refused():
    table = table_of(TRUTHS["linear"][0])
    with pytest.raises(DimensionError, match="needs dimension 'cycle'"):
        echem.fade(table.rename(cycle="frame"))
    for keyword, wrong in (("models", ["lineal"]), ("over", "cycles"), ("criterion", "aic"), ("kinds", ["cycles"]),
                           ("variable", "capacity_discharg")):  # fmt: skip
        with pytest.raises(ValueError, match="did you mean"):
            echem.fade(table, **{keyword: wrong})
    with pytest.raises(ValueError, match="level must"):
        echem.fade(table, level=1.0)
    with pytest.raises(SchemaError, match="needs 5 cycles of kind cycle with 'capacity_discharge', got 4"):
        echem.fade(table.isel(cycle=slice(0, 4)))
    with pytest.raises(SchemaError, match="got 0"):
        echem.fade(table * np.nan)
    holes = table.copy(deep=True)
    holes["capacity_discharge"][10:40] = np.nan
    assert echem.fade(holes).attrs["n_used"] == 270


def test_life_is_seen_where_it_was():
    found = check(echem.life(table_of(TRUTHS["two_piece"][0]), share=0.9))
    # 1.1 - 2e-4 (n-1) - 2e-3 (n-201) = 0.99 -> n = (0.11 + 2e-4 + 0.402) / 2.2e-3
    assert float(found["life"]) == pytest.approx((0.11 + 2e-4 + 0.402) / 2.2e-3, abs=1e-6)
    assert str(found["status"].values) == "seen"
    dips = TRUTHS["linear"][0].copy()
    dips[50] = 0.5  # one bad cycle ends no life
    assert float(echem.life(table_of(dips), share=0.9)["life"]) == pytest.approx(1 + 0.11 / 5e-4, abs=0.02)


def test_life_carried_on_has_limits_that_hold():
    inside = 0
    for seed in range(10):
        y = 1.0 - 1e-3 * (N - 1) ** 0.9 + np.random.default_rng(seed).normal(0, 3e-3, 300)
        with pytest.warns(UserWarning, match="carried on"):
            found = check(echem.life(table_of(y), share=0.75, of=1.0))
        truth = 1 + 250 ** (1 / 0.9)
        inside += float(found["life_low"]) <= truth <= float(found["life_high"])
    assert inside >= 7  # 10 trials of 0.9
    with pytest.warns(UserWarning, match="beyond reach"):
        far = check(echem.life(table_of(1 - 1e-4 * N + 1e-5 * np.sin(N)), share=0.5))
    assert np.isnan(far["life"])
    assert float(far["life_low"]) >= 300
    with pytest.raises(ValueError, match="share must"):
        echem.life(table_of(TRUTHS["linear"][0]), share=80)
