"""Bands: they contain the truth and all that fits as well, and they say when a profile is not single-valued."""

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy.optimize import linprog

from batlab.decompose import Constraints, bands, mcr_als
from batlab.schema import check

_spec = importlib.util.spec_from_file_location("batlab_planted", Path(__file__).with_name("planted.py"))
planted = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(planted)
CLOSED, known, outside = planted.CLOSED, planted.known, planted.outside


def exact_middle(content, spectra):
    """Return the exact range of the middle peak of a series without noise, both ends known: a linear program.

    The middle spectrum may be any ``(s + b s0 + c s2) / (1 + b + c)``; its share is then ``(1 + b + c)`` times the true
    one, and b and c take their shares off the ends.
    """
    rows = np.vstack(
        [
            np.outer(content[:, 1], [1, 0]),
            np.outer(content[:, 1], [0, 1]),
            -np.column_stack([spectra[0], spectra[2]]),
        ]
    )
    limits = np.concatenate([content[:, 0], content[:, 2], spectra[1]])
    ends = [linprog([sign, sign], rows, limits, bounds=(None, None)).fun * sign for sign in (1, -1)]
    return tuple((1 + end) * content[:, 1].max() for end in ends)


@cache
def fitted(*numbers):
    """Return the fit of the planted series of seed 0, the spectra of these components known."""
    return mcr_als(planted.planted(0).series, 3, constraints=known(*numbers))


@cache
def of_seed(seed):
    """Return the bands of a planted series of which nothing is known but the closure."""
    return bands(mcr_als(planted.planted(seed).series, 3, constraints=CLOSED), points=4)


@pytest.mark.parametrize("seed", range(10))
def test_the_band_contains_the_truth(seed):
    result = of_seed(seed)
    assert result.dataset.attrs["lack_of_fit"] < 0.105
    assert outside(result, planted.planted(seed).concentration) <= 1e-9


def test_components_that_may_change_places_are_named():
    result = of_seed(0)
    pairs = result.dataset.attrs["bands_exchangeable"]
    one, other = map(int, pairs.split(", ")[0].split(" and "))
    assert f"components {pairs} may change places" in str(result)
    # What is said is true: with the two exchanged the profiles lie in the bands, and fit as they did.
    data = result.dataset.transpose("frame", "component", ...)
    order = list(range(3))
    order[one], order[other] = other, one
    for name in ("concentration", "spectra"):
        axis = data[name].dims.index("component")
        moved = np.take(data[name].values, order, axis=axis)
        assert (moved >= data[f"{name}_low"].values - 1e-6).all()
        assert (moved <= data[f"{name}_high"].values + 1e-6).all()
    # No spectrum is known of those two: a pair with a known one keeps its places.
    held = bands(fitted(0, 2), points=2)
    assert held.dataset.attrs["bands_exchangeable"] == "none"
    assert "change places" not in str(held)


def test_two_known_ends_leave_the_middle_open_and_the_result_says_so():
    given = planted.planted(0)
    result = bands(fitted(0, 2), points=8)
    table = check(result.to_table())
    assert float(table["peak_low"][1]) < 0.12
    assert 0.80 <= float(table["peak_high"][1]) < 0.84
    assert table["is_single_valued"].values[1] == 0
    assert "component 1" in str(result)
    assert "NOT single-valued" in str(result)
    assert "1" in result.dataset.attrs["bands_not_single_valued"]
    assert result.dataset.attrs["bands_widest"][1] > 0.6
    assert outside(result, given.concentration) <= 1e-9


def test_a_known_middle_closes_the_band():
    given = planted.planted(0)
    result = bands(fitted(0, 1, 2))
    assert (result.widths() < 0.02).all()
    assert outside(result, given.concentration) <= 1e-3
    assert str(result).count("; single-valued") == 3
    assert result.dataset.attrs["bands_not_single_valued"] == "none"


@pytest.mark.parametrize("noise", [0.0, 1e-5])
def test_the_range_is_that_of_the_linear_program(noise):
    content, spectra = planted.three_steps(), planted.nickel()
    low, high = exact_middle(content, spectra)
    given = planted.planted(0, noise=noise)
    table = bands(mcr_als(given.series, 3, constraints=known(0, 2)), points=8).to_table()
    found = float(table["peak_low"][1]), float(table["peak_high"][1])
    # Wider by the tolerance and the noise, never narrower.
    assert low - 2e-3 < found[0] <= low + 1e-6
    assert high - 1e-6 <= found[1] < high + 2e-3


def test_two_components_have_the_range_of_the_textbook():
    # Shares 0.2 to 0.8 of two spectra that are zero at one end each: neither is in the series.
    x = np.linspace(0, 1, 50)
    share = np.linspace(0.2, 0.8, 13)
    spectra = np.array([x, 1 - x])
    given = planted.planted(0, 0.0, np.column_stack([share, 1 - share]), spectra, x, name="r", units="angstrom")
    result = bands(mcr_als(given.series, 2, constraints=CLOSED), tolerance=1e-6)
    data = result.dataset
    rising = int(data["concentration"].values[-1, 0] < data["concentration"].values[0, 0])
    # Spectra on the line s(a) = a x + (1 - a)(1 - x), one with 0.8 <= a <= 1, the other with 0 <= b <= 0.2; the share
    # of the first is (share - b) / (a - b).
    low, high = data["concentration_low"].values[:, rising], data["concentration_high"].values[:, rising]
    a, b = np.meshgrid([0.8, 1.0], [0.0, 0.2])
    corners = (share[:, None] - b.ravel()) / (a - b).ravel()
    assert np.allclose(low, corners.min(axis=1), atol=2e-3)
    assert np.allclose(high, corners.max(axis=1), atol=2e-3)


def random_walk(result, steps, seed):
    """Yield concentrations and spectra of random T that fit within the stated lack of fit, by brute force."""
    rng = np.random.default_rng(seed)
    values, k = result.whole.values, result.n_components
    loadings = np.linalg.svd(values, full_matrices=False)[2][:k]
    scores = values @ loadings.T
    turn = result.dataset["spectra"].values @ loadings.T
    closed = result.constraints.closure is not None
    normal = np.linalg.lstsq(scores, np.ones(len(scores)), rcond=None)[0] if closed else scores.mean(axis=0)
    heights = turn @ normal
    for _ in range(steps):
        step = rng.choice([0.01, 0.03, 0.1, 0.3]) * rng.normal(size=turn.shape) * np.abs(turn).max()
        trial = turn + step * (rng.random((k, 1)) < 0.5)
        trial *= (heights / (trial @ normal))[:, None]
        spectra = np.maximum(trial @ loadings, 0)
        content = result.rules.concentration(values, spectra)
        misfit = 100 * np.linalg.norm(values - content @ spectra) / np.linalg.norm(values)
        if misfit <= result.dataset.attrs["bands_lack_of_fit"]:
            turn = trial
            yield content, spectra


@pytest.mark.parametrize("constraints", [CLOSED, Constraints()], ids=["closure", "free scale"])
def test_no_decomposition_that_fits_as_well_leaves_the_bands(constraints):
    axis, spectra = planted.lines()
    content = np.random.default_rng(3).dirichlet([1.5, 1.5, 1.5], 80)
    given = planted.planted(1, 1e-3, content, spectra, axis, name="r", units="angstrom")
    result = bands(mcr_als(given.series, 3, constraints=constraints), points=8)
    data = check(result.dataset)
    met, reach = 0, np.zeros((80, 3))
    for found, curves in random_walk(result, 1200, 0):
        met += 1
        assert (found >= data["concentration_low"].values - 1e-9).all()
        assert (found <= data["concentration_high"].values + 1e-9).all()
        assert (curves >= data["spectra_low"].values - 1e-9).all()
        assert (curves <= data["spectra_high"].values + 1e-9).all()
        reach = np.maximum(reach, np.abs(found - data["concentration"].values))
    assert met > 100
    # The walk went far, so that the test could have failed.
    assert reach.max() > 0.3 * result.widths().max()


def test_a_second_set_with_other_shares_shrinks_the_band():
    axis, spectra = planted.lines()
    rng = np.random.default_rng(3)
    named = {"axis": axis, "name": "r", "units": "angstrom"}
    first = planted.planted(1, 1e-3, rng.dirichlet([3, 3, 3], 40), spectra, **named)
    second = planted.planted(2, 1e-3, rng.dirichlet([0.7, 0.7, 0.7], 40), spectra, **named)
    alone = bands(mcr_als(first.series, 3, constraints=CLOSED), points=6)
    both = bands(
        mcr_als({"charge": first.series, "discharge": second.series}, 3, constraints=CLOSED, share="spectra"), points=6
    )
    assert outside(both, np.concatenate([first.concentration, second.concentration])) <= 1e-9
    wide = (alone.dataset["concentration_high"] - alone.dataset["concentration_low"]).max("frame").values
    part = both.dataset.isel(frame=slice(40))
    narrow = (part["concentration_high"] - part["concentration_low"]).max("frame").values
    assert np.sort(narrow).max() < 0.8 * np.sort(wide).max()
    assert (np.sort(narrow) < np.sort(wide)).all()


def test_unimodality_narrows_the_band_around_the_truth():
    # Two species that come and go one after the other, with edges so alike that positive spectra hold nothing: what is
    # added of one to the other makes a second peak.
    x = np.linspace(0, 1, 20)
    content = np.column_stack([np.exp(-(((x - place) / 0.13) ** 2)) for place in (0.3, 0.7)])
    given = planted.planted(0, concentration=content, spectra=planted.nickel()[[0, 2]])
    found = {}
    for unimodal in ((), (0, 1)):
        result = bands(mcr_als(given.series, 2, constraints=Constraints(unimodal=unimodal)), points=2)
        data = check(result.dataset)
        # The scale is free: brought to that of the result, the truth lies within.
        order = np.argmax(data["concentration"].values, axis=0).argsort().argsort()
        mean = given.series.values.mean(axis=0)
        truth = content[:, order] * (given.spectra[order] @ mean) / (data["spectra"].values @ mean)
        assert (data["concentration_low"].values <= truth + 1e-9).all()
        assert (data["concentration_high"].values >= truth - 1e-9).all()
        found[unimodal] = result
    assert (found[()].widths() > 0.5).all()
    assert (found[(0, 1)].widths() < 0.1).all()
    assert str(found[(0, 1)]).count("; single-valued") == 2
    # The profiles themselves rise to one peak and fall.
    for column in found[(0, 1)].dataset["concentration"].values.T:
        steps = np.diff(column)
        assert (steps[: column.argmax()] >= -1e-12).all()
        assert (steps[column.argmax() :] <= 1e-12).all()


def test_known_points_are_kept_and_narrow_the_band():
    given = planted.planted(0)
    spectra = {0: given.spectra[0], 2: given.spectra[2]}
    column = np.full(60, np.nan)
    column[30] = given.concentration[30, 1]
    held = Constraints(closure=1, known_spectra=spectra, known_concentration={1: column})
    point = bands(mcr_als(given.series, 3, constraints=held), points=4)
    assert point.dataset["concentration_low"].values[30, 1] == point.dataset["concentration_high"].values[30, 1]
    assert point.widths()[1] < 0.15
    assert outside(point, given.concentration) <= 1e-3


def test_one_component_has_noise_alone():
    axis, spectra = planted.lines()
    given = planted.planted(0, 1e-3, np.linspace(0.5, 2, 20)[:, None], spectra[:1], axis, name="r", units="angstrom")
    result = bands(mcr_als(given.series, 1))
    data = check(result.dataset)
    width = data["concentration_high"] - data["concentration_low"]
    assert float(width.max()) < 10 * float(data["concentration_sigma"].max()) * 1.2
    assert result.to_table()["is_single_valued"].values.tolist() == [1]


def test_noise_of_the_bootstrap_is_that_of_least_squares():
    given = planted.planted(0)
    result = bands(fitted(0, 1, 2))
    # White noise of 0.001: sigma of C is that times the root of the diagonal of (S S^T)^-1.
    spectra = given.spectra
    expected = 1e-3 * np.sqrt(np.diag(np.linalg.inv(spectra @ spectra.T)))
    found = np.sqrt((result.dataset["concentration_sigma"].values ** 2).mean(axis=0))
    assert np.allclose(found, expected, rtol=0.15)


def test_tolerance_widens_and_is_stated():
    result = fitted(0, 2)
    tight, loose = (bands(result, tolerance=one, points=4) for one in (1e-3, 5e-2))
    assert (loose.widths() >= tight.widths()).all()
    assert loose.widths().max() > tight.widths().max()
    attrs = loose.dataset.attrs
    assert attrs["bands_tolerance"] == pytest.approx(5e-2)
    assert attrs["bands_lack_of_fit"] == pytest.approx(1.05 * attrs["lack_of_fit"])
    assert "decompose.bands(tolerance=0.05" in attrs["history"]
    assert not result.has_bands


def test_the_same_seed_gives_the_same_bands():
    one, two = (bands(fitted(0, 2), points=2).dataset for _ in range(2))
    for name in one.data_vars:
        xr.testing.assert_equal(one[name], two[name])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"tolerance": -0.1}, "tolerance must be"),
        ({"tolerance": np.nan}, "tolerance must be"),
        ({"level": 1.0}, "level must lie"),
        ({"points": 1}, "points must be"),
        ({"replicates": 0}, "replicates must be"),
    ],
)
def test_wrong_numbers_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        bands(fitted(0, 1, 2), **arguments)
