"""Early features of cells known by algebra, a model taught by made cells, and where it refuses."""

import warnings

import numpy as np
import pytest
import xarray as xr

from batlab import echem
from batlab.errors import SchemaError
from batlab.schema import check, quantity


def ageing_cell(make_record, amount, n=12, noise=0.0, seed=0):
    """Return cycles whose discharge is V = 3 + x + f x (1 - x), f = amount (cycle - 1), x from 1 to 0 in an hour."""
    x = np.linspace(0, 1, 361)
    volts, amps, label = [], [], []
    for k in range(1, n + 1):
        f = amount * (k - 1)
        up = 3 + x + f * x * (1 - x)
        volts += [up + 0.05, up[::-1]]
        amps += [np.full(361, 1.0), np.full(361, -1.0)]
        label.append(np.full(722, k))
    volts = np.concatenate(volts)
    volts = volts + np.random.default_rng(seed).normal(0, noise, len(volts)) if noise else volts
    # Each half ends with a line and the next begins with one 1 s later.
    seconds = np.concatenate([3601.0 * k + np.linspace(0, 3600, 361) for k in range(2 * n)])
    step = np.repeat(np.arange(2 * n), 361)
    return make_record(seconds, volts, np.concatenate(amps), cycle=np.concatenate(label), step=step)


def test_features_are_those_of_algebra(make_record):
    cell = ageing_cell(make_record, 0.001)
    before = cell.copy(deep=True)
    found = check(echem.early_features(cell, pair=(2, 12)))
    assert cell.identical(before)
    # To first order dQ(V) = 0.01 v (1 - v), v = V - 3: variance 1e-4/180, mean 1/600, skewness and kurtosis of it.
    v = np.linspace(0, 1, 100001)
    bump = v * (1 - v)
    z = (bump - bump.mean()) / bump.std()
    assert float(found["delta_q_log_variance"]) == pytest.approx(np.log10(1e-4 / 180), abs=0.02)
    assert float(found["delta_q_log_mean"]) == pytest.approx(np.log10(1 / 600), abs=0.01)
    assert float(found["delta_q_skewness"]) == pytest.approx((z**3).mean(), abs=0.05)
    assert float(found["delta_q_kurtosis"]) == pytest.approx((z**4).mean() - 3, abs=0.1)
    assert float(found["capacity_first"]) == pytest.approx(1.0, rel=1e-3)
    assert float(found["charge_time"]) == pytest.approx(3600, abs=3)
    assert float(found["noise_share"]) < 0.01
    assert found.attrs["pair"] == [2, 12]


def test_a_noisy_record_is_said(make_record):
    with pytest.warns(UserWarning, match="is noise of the record"):
        found = echem.early_features(ageing_cell(make_record, 1e-7, noise=5e-3), pair=(2, 12))
    assert float(found["noise_share"]) > 0.5


def test_what_early_features_refuse(make_record):
    cell = ageing_cell(make_record, 0.001)
    with pytest.raises(ValueError, match=r"cycle 100 of the pair is not there or not complete; whole are 1 to 12"):
        echem.early_features(cell)
    with pytest.raises(ValueError, match="two cycles in order"):
        echem.early_features(cell, pair=(10, 2))
    with pytest.raises(SchemaError, match="common range"):
        echem.early_features(cell, pair=(2, 12), window=(3.5, 3.4))


def cohort(seed=0, n=30, scatter=0.05):
    """Return features and lives of made cells: log10(life) = 3 - 0.5 (f + 5) with a scatter."""
    draws = np.random.default_rng(seed)
    values = draws.uniform(-5.5, -3.5, n)
    lives = 10 ** (3 - 0.5 * (values + 5) + draws.normal(0, scatter, n))
    return [features_of(value) for value in values], lives


def features_of(value, upper=4.2, rate=1.0, pair=(10, 100)):
    scalars = {"delta_q_log_variance": value, "voltage_upper": upper, "voltage_lower": 2.8, "c_rate_charge": rate,
               "c_rate_discharge": rate}  # fmt: skip
    return xr.Dataset({k: quantity((), v, "1", k) for k, v in scalars.items()}, attrs={"pair": list(pair)})


def test_the_interval_holds_as_often_as_it_says():
    inside = []
    for seed in range(150):
        features, lives = cohort(seed, n=11)
        model = echem.life_model(features[:10], lives[:10])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            said = echem.early_warning(features[10], model, level=0.9, outside="warn")
        inside.append(float(said["life_low"]) <= lives[10] <= float(said["life_high"]))
    assert 0.84 <= np.mean(inside) <= 0.96  # 150 trials of 0.9: sd 0.024


def test_the_model_is_what_made_the_lives():
    features, lives = cohort(n=200)
    model = echem.life_model(features, lives)
    assert model.coefficients[1] / model.scale[0] == pytest.approx(-0.5, abs=0.02)
    assert model.sigma == pytest.approx(0.05, rel=0.15)
    assert model.error == pytest.approx(model.sigma, rel=0.05)
    assert "200 cells" in str(model)
    said = check(echem.early_warning(features_of(-4.5), model))
    assert float(said["life"]) == pytest.approx(10**2.75, rel=0.05)
    assert int(said["is_valid"]) == 1
    assert "delta_q_log_variance" in said.attrs["validity"]
    assert "echem.early_warning(" in said.attrs["history"]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"value": -2.0}, "delta_q_log_variance -2 outside"),
        ({"upper": 4.4}, "voltage_upper 4.4 outside 4.2 to 4.2"),
        ({"rate": 3.0}, "c_rate_charge 3 outside 1 to 1"),
        ({"pair": (10, 50)}, "cycles 10 and 50 instead of 10 and 100"),
    ],
)
def test_outside_of_its_range_it_refuses_or_warns(changed, reason):
    model = echem.life_model(*cohort())
    stranger = features_of(**{"value": -4.5, **changed})
    with pytest.raises(ValueError, match=reason):
        echem.early_warning(stranger, model)
    with pytest.warns(UserWarning, match=reason):
        said = check(echem.early_warning(stranger, model, outside="warn"))
    assert int(said["is_valid"]) == 0
    assert reason in said.attrs["reasons"]


def test_what_teaching_refuses():
    features, lives = cohort(n=6)
    with pytest.raises(ValueError, match="needs 5 cells or more for 1 features"):
        echem.life_model(features[:4], lives[:4])
    with pytest.raises(ValueError, match="one life each, got 6 cells and 5 lives"):
        echem.life_model(features, lives[:5])
    with pytest.raises(ValueError, match="did you mean 'delta_q_log_variance'"):
        echem.life_model(features, lives, use=["delta_q_log_varianc"])
    with pytest.raises(ValueError, match="positive numbers"):
        echem.life_model(features, [-1, *lives[1:]])
    with pytest.raises(ValueError, match="is the same for all cells"):
        echem.life_model(features, lives, use=["voltage_upper"])
    with pytest.raises(SchemaError, match="one pair of cycles"):
        echem.life_model([*features[:5], features_of(-4, pair=(2, 20))], lives)
    with pytest.raises(ValueError, match="does not tell it"):
        echem.life_model([*features[:5], features_of(-np.inf)], lives)
    with pytest.raises(ValueError, match="level must"):
        echem.early_warning(features[0], echem.life_model(features, lives), level=2)
