"""The slit: exact integrals, there and back with its σ, and nine samples smeared and desmeared at the beamline."""

import numpy as np
import pytest

from batlab import datasets, io
from batlab.saxs import desmear, smear, sphere
from batlab.schema import check

Q = np.geomspace(0.001, 0.3, 150)


def test_a_power_law_is_smeared_exactly(made):
    length = 0.03
    got = check(smear(made.curves(Q, 1e-6 * Q**-4), length))
    # 1/l ∫ dx / (q² + x²)² in closed form
    exact = (length / (2 * Q**2 * (Q**2 + length**2)) + np.arctan(length / Q) / (2 * Q**3)) / length * 1e-6
    np.testing.assert_allclose(got["intensity"][0], exact, rtol=1e-6)
    assert got.attrs["slit_length"] == length
    with pytest.raises(ValueError, match="smeared already"):
        smear(got, length)


def test_desmearing_returns_the_planted_curve_with_its_sigma(made):
    radii = np.linspace(30, 70, 41)
    weight = np.exp(-0.5 * ((radii - 50) / 8) ** 2)
    true = sphere(Q[:, None], radii) @ weight + 20.0
    blurred = smear(made.curves(Q, true), 0.03)["intensity"].values[0]
    table = made.noisy(Q, blurred, 0.01, 20)
    table.attrs["slit_length"] = 0.03
    before = table.copy(deep=True)
    got = check(desmear(table))
    pulls = ((got["intensity"] - true) / got["intensity_sigma"]).values[:, :130]
    assert 0.7 < pulls.std() < 1.4
    assert np.abs(got["intensity"].mean("frame").values[:130] / true[:130] - 1).max() < 0.05
    assert "slit_length" not in got.attrs
    assert table.identical(before)
    with pytest.raises(ValueError, match="needs slit_length="):
        desmear(made.curves(Q, true, 0.01 * true))
    with pytest.raises(ValueError, match="at least 8"):
        desmear(table, n_replicates=2)


@pytest.mark.data
def test_usaxs_is_desmeared_as_at_the_beamline():
    agreeing = 0
    for number in (1, 12, 13, 23):
        path = datasets.path("usaxs_12ide") / f"sample{number}.h5"
        given, blurred = io.open(path, smeared=False), io.open(path, smeared=True)
        inside = (blurred["q"].values > 3e-4) & (blurred["q"].values < 0.2)
        got = desmear(blurred, n_replicates=10).isel(q=inside)
        other = given.interp(q=got["q"])
        sigma = np.hypot(got["intensity_sigma"].values[0], other["intensity_sigma"].values[0])
        pulls = (got["intensity"].values[0] - other["intensity"].values[0]) / sigma
        agreeing += np.nanmedian(np.abs(pulls)) < 1.0
        assert np.nanmean(np.abs(pulls) < 3) > 0.85, number
    assert agreeing >= 3
