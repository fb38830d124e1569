"""Peaks fitted and followed: planted peaks come back, vanish, appear, cross; real operando data."""

import numpy as np
import pytest
import xarray as xr
from scipy.optimize import curve_fit

from batlab import curves, datasets
from batlab.errors import DimensionError, SchemaError, UnitError
from batlab.schema import check, quantity

LN2 = np.log(2)


def profile(x, x0, height, width, eta):
    u = (x - x0) / width
    return height * (eta / (1 + 4 * u**2) + (1 - eta) * np.exp(-4 * LN2 * u**2))


def pattern(intensity, x, units="count", axis="q", **attrs):
    unit = {"q": "1/angstrom", "two_theta": "degree"}[axis]
    return xr.Dataset(
        {"intensity": quantity(("frame", axis), np.asarray(intensity, dtype=float), units, "intensity")},
        {
            axis: quantity(axis, x, unit, axis),
            "frame": quantity("frame", np.arange(len(intensity)), "1", "frame"),
        },
        attrs,
    )


def series(tracks, *, background=100.0, n_frames=40, seed=0, x=None, counts=True):
    """Poisson patterns of peaks given as functions of the frame: (x0, height, width, eta)."""
    x = np.linspace(2, 4, 1000) if x is None else x
    expected = np.full((n_frames, len(x)), background)
    for frame in range(n_frames):
        for track in tracks:
            expected[frame] += profile(x, *track(frame))
    return pattern(np.random.default_rng(seed).poisson(expected) if counts else expected, x)


def test_planted_peaks_return_with_right_errors():
    truth = [(2.5, 800, 0.03, 0.4), (3.2, 500, 0.04, 0.6), (3.3, 900, 0.03, 0.5)]
    found = check(curves.fit_peaks(series([lambda f, t=t: t for t in truth], n_frames=150), near=[2.5, 3.2, 3.3]))
    assert ((found.status <= 1).mean() > 0.99).item()
    for peak, values in enumerate(truth):
        ok = found.status[:, peak].values == 0
        for name, value in zip(("position", "height", "fwhm", "eta"), values):
            pull = ((found[name][:, peak] - value) / found[f"{name}_sigma"][:, peak]).values[ok]
            assert abs(pull.mean()) < 0.35, name
            assert 0.85 < pull.std() < 1.15, name
    every = np.stack([((found.position[:, i] - t[0]) / found.position_sigma[:, i]).values for i, t in enumerate(truth)])
    assert 0.9 < np.nanstd(every) < 1.1
    assert found.chi2_reduced.mean().item() == pytest.approx(1, abs=0.03)
    unit = 0.4 * np.pi / 2 + 0.6 * np.sqrt(np.pi / LN2) / 2
    assert found.area[:, 0].mean().item() == pytest.approx(800 * 0.03 * unit, rel=0.01)


def test_same_numbers_as_curve_fit_with_given_sigma():
    patterns = series([lambda f: (3.0, 700, 0.05, 0.5)], n_frames=1)
    sigma = np.sqrt(100 + profile(patterns.q.values, 3.0, 700, 0.05, 0.5))
    patterns["intensity_sigma"] = quantity(("frame", "q"), sigma[None], "count", "uncertainty")
    found = curves.fit_peaks(patterns, near=[3.0], width=0.05, window=0.4)
    inside = np.abs(patterns.q.values - 3.0) <= 0.4
    x, y = patterns.q.values[inside], patterns.intensity.values[0, inside]
    best, covariance = curve_fit(
        lambda x, b, s, *p: b + s * (x - 3) + profile(x, *p), x, y, [90, 0, 3.01, 500, 0.06, 0.5],
        sigma=sigma[inside], absolute_sigma=True,
    )  # fmt: skip
    spread = np.sqrt(np.diag(covariance))
    for i, name in enumerate(("position", "height", "fwhm", "eta")):
        assert abs(found[name].item() - best[2 + i]) < 0.05 * spread[2 + i]
        assert found[f"{name}_sigma"].item() == pytest.approx(spread[2 + i], rel=0.03)


@pytest.mark.parametrize("n_frames", [1, 5])
@pytest.mark.parametrize("times", [None, 0.5, 2, 3])
def test_a_width_that_is_off_leads_to_the_same_peaks(times, n_frames):
    # Two and a half points in a width: from twice the width, fits used to end sharp and Lorentzian at chi² = 100.
    x, places = np.arange(2, 6, 0.0055), 2.2 + 0.3007 * np.arange(12)
    expected = 100 + sum(profile(x, place, 2000, 0.0135, 0.1) for place in places)
    sigma = np.tile(np.sqrt(expected) / 3, (n_frames, 1))
    patterns = pattern(np.random.default_rng(3).normal(expected, sigma), x)
    patterns["intensity_sigma"] = quantity(("frame", "q"), sigma, "count", "uncertainty")
    found = check(curves.fit_peaks(patterns, near=places, width=times and times * 0.0135))
    assert (found.status <= 1).all()
    for name, truth in (("position", places), ("height", 2000), ("fwhm", 0.0135), ("eta", 0.1)):
        spread = np.sqrt((found[f"{name}_sigma"] ** 2).sum("frame")) / n_frames
        assert (np.abs(found[name].mean("frame") - truth) < 3 * spread).all(), name


def test_the_number_of_threads_changes_no_bit_and_the_input_stays():
    patterns = series([lambda f: (2.5 + 0.004 * f, 300, 0.03, 0.5), lambda f: (2.8, 600, 0.03, 0.5)])
    before = patterns.copy(deep=True)
    one = curves.fit_peaks(patterns, near=[2.5, 2.8], n_threads=1)
    for n_threads in (2, 4):
        other = curves.fit_peaks(patterns, near=[2.5, 2.8], n_threads=n_threads)
        xr.testing.assert_identical(one.drop_attrs(), other.drop_attrs())
    xr.testing.assert_identical(before, patterns)


def test_a_peak_is_followed_over_many_widths():
    found = curves.fit_peaks(
        series([lambda f: (2.3 + 0.012 * f, 400, 0.03, 0.5)], n_frames=100), near=[2.3], width=0.03
    )
    assert (found.status == 0).mean().item() > 0.95
    np.testing.assert_allclose(found.position[:, 0], 2.3 + 0.012 * np.arange(100), atol=0.006)


def test_a_peak_vanishes_and_comes_back():
    def shy(frame):
        return 2.5 + 0.0005 * frame, 400 if frame < 20 or frame >= 40 else 0, 0.03, 0.5

    found = curves.fit_peaks(series([shy, lambda f: (3.2, 500, 0.03, 0.5)], n_frames=60), near=[2.5, 3.2], width=0.03)
    status = found.status[:, 0].values
    assert (status[:20] <= 1).all()
    assert (status[20:40] == 3).all()
    assert (status[40:] <= 1).all()
    assert np.isnan(found.position[20:40, 0]).all()
    assert (found.status[:, 1] <= 1).all()


@pytest.mark.filterwarnings("ignore:curves.fit_peaks. none of:UserWarning")
def test_noise_holds_no_peaks():
    patterns = series([], n_frames=300)
    found = curves.fit_peaks(patterns, near=[2.4, 3.0, 3.5], width=0.03)
    assert (found.status <= 1).mean().item() < 0.01
    assert np.isnan(found.position.values[found.status.values > 1]).all()


def test_nothing_anywhere_is_said():
    with pytest.warns(UserWarning, match="none of the 1 expected peaks exceeds 5 sigma in any of the 3 frames"):
        curves.fit_peaks(series([], n_frames=3), near=[3.0], width=0.03)


def test_lines_of_a_phase_help_one_another():
    # A weak line far from its published place is found because its strong kin moved the same way.
    table = xr.Dataset(
        {"position": quantity("peak", [2.4, 3.0, 3.6], "1/angstrom", "position")},
        {"hkl": quantity("peak", ["1 0 0", "1 1 0", "1 1 1"], "1", "hkl"),
         "phase": quantity("peak", ["A"] * 3, "1", "phase")},
        {"axis": "q"},
    )  # fmt: skip
    grown = 1.006
    found = curves.fit_peaks(
        series([lambda f, x=x, h=h: (x * grown, h, 0.03, 0.5) for x, h in ((2.4, 600), (3.0, 60), (3.6, 500))]),
        near=table, width=0.03,
    )  # fmt: skip
    assert (found.status <= 1).all()
    np.testing.assert_allclose(found.position.mean("frame"), np.array([2.4, 3.0, 3.6]) * grown, atol=2e-3)
    assert found.hkl.values.tolist() == ["1 0 0", "1 1 0", "1 1 1"]


def test_a_narrow_peak_on_the_flank_of_a_wide_one_is_told_from_it():
    # From one width for both a fit may end with the two in each other, which then are called unresolved.
    x = 3.0 + 0.004 * np.arange(-35, 40)
    truth = (3.0, 500.0, 0.05, 0.0), (3.036, 150.0, 0.024, 0.2)
    exact = sum(profile(x, *one) for one in truth)
    noisy = exact + np.random.default_rng(1).normal(0, 4.0, (20, len(x)))
    patterns = pattern(noisy, x, units="1")
    patterns["intensity_sigma"] = quantity(("frame", "q"), np.full(noisy.shape, 4.0), "1", "1 sigma")
    found = check(curves.fit_peaks(patterns, near=[3.0, 3.036], width=0.04, window=0.3, search=0.04, background=None))
    assert (found.status <= 1).all()
    for peak, (position, _, fwhm, _) in enumerate(truth):
        np.testing.assert_allclose(found.position[:, peak], position, atol=2e-3)
        assert float(found.fwhm[:, peak].median()) == pytest.approx(fwhm, rel=0.06)
    assert float(found.chi2_reduced.mean()) == pytest.approx(1, abs=0.1)
    # One peak that was named twice is not torn into two.
    single = pattern(profile(x, *truth[0]) + np.random.default_rng(2).normal(0, 4.0, (20, len(x))), x, units="1")
    single["intensity_sigma"] = patterns["intensity_sigma"]
    twice = curves.fit_peaks(single, near=[3.0, 3.036], width=0.04, window=0.3, search=0.04, background=None)
    assert ((twice.status <= 1).sum("peak") <= 1).mean() >= 0.9


def test_crossing_lines_do_not_swap_silently():
    moving, standing = (lambda f: (2.8 + 0.006 * f, 500, 0.03, 0.5)), (lambda f: (3.0, 800, 0.03, 0.5))
    table = xr.Dataset(
        {"position": quantity("peak", [2.333333, 2.8, 3.0], "1/angstrom", "position")},
        {"hkl": quantity("peak", ["1 0 0", "2 0 0", ""], "1", "hkl"),
         "phase": quantity("peak", ["A", "A", ""], "1", "phase")},
        {"axis": "q"},
    )  # fmt: skip
    kin = lambda f: (2.333333 * (2.8 + 0.006 * f) / 2.8, 500, 0.03, 0.5)  # noqa: E731
    found = curves.fit_peaks(series([kin, moving, standing], n_frames=70), near=table, width=0.03)
    crossing, still = found.position.values[:, 1], found.position.values[:, 2]
    truth = 2.8 + 0.006 * np.arange(70)
    ok = found.status.values <= 1
    apart = np.abs(truth - 3.0) > 0.04
    assert ok[apart].all()
    np.testing.assert_allclose(crossing[apart], truth[apart], atol=0.01)
    np.testing.assert_allclose(still[apart], 3.0, atol=0.01)
    assert (np.abs(crossing - truth)[ok[:, 1]] < 0.02).all()
    assert (found.status.values[np.abs(truth - 3.0) < 0.009, 1:] == 5).all()


def test_the_copper_doublet():
    two_theta = np.arange(40, 50, 0.01)
    first, second = 1.5406, 1.54439
    shifted = np.degrees(2 * np.arcsin(second / first * np.sin(np.radians(22.5))))
    expected = 50 + profile(two_theta, 45.0, 2000, 0.12, 0.5) + 0.497 * profile(two_theta, shifted, 2000, 0.12, 0.5)
    counts = np.random.default_rng(1).poisson(expected, (20, len(two_theta)))
    attrs = {"wavelength": first, "wavelength_alpha2": second, "alpha2_ratio": 0.497}
    found = check(curves.fit_peaks(pattern(counts, two_theta, axis="two_theta", **attrs), near=[45.05]))
    pull = (found.position - 45.0) / found.position_sigma
    assert abs(pull.mean().item()) < 0.7
    assert found.height.mean().item() == pytest.approx(2000, rel=0.02)
    assert found.chi2_reduced.mean().item() == pytest.approx(1, abs=0.05)
    single = curves.fit_peaks(pattern(counts, two_theta, axis="two_theta", wavelength=first), near=[45.05])
    assert single.chi2_reduced.mean().item() > 1.5  # the doublet was needed
    q = 4 * np.pi / first * np.sin(np.radians(two_theta / 2))
    with pytest.warns(UserWarning, match="fit on two_theta"):
        curves.fit_peaks(pattern(counts, q, **attrs), near=[3.12])


def test_counts_in_unknown_units_have_their_noise_from_the_scatter():
    patterns = series([lambda f: (3.0, 700, 0.05, 0.5)], n_frames=50)
    scaled = pattern(patterns.intensity.values * 0.013, patterns.q.values, units="1")
    found, counted = curves.fit_peaks(scaled, near=[3.0]), curves.fit_peaks(patterns, near=[3.0])
    assert found.attrs["noise"] == "estimated proportional to intensity"
    np.testing.assert_allclose(found.position_sigma.mean(), counted.position_sigma.mean(), rtol=0.05)
    assert found.chi2_reduced.mean().item() == pytest.approx(1, abs=0.08)


def test_missing_points_and_empty_frames():
    patterns = series([lambda f: (3.0, 700, 0.05, 0.5)], n_frames=6)
    patterns["intensity"][2] = np.nan
    patterns["intensity"][4, 480:500] = np.nan
    found = check(curves.fit_peaks(patterns, near=[3.0], width=0.05))
    assert found.status.values[:, 0].tolist().count(0) >= 4
    assert found.status.values[2, 0] in (3, 4)
    assert found.status.values[4, 0] <= 1
    assert found.position_sigma.values[4, 0] > found.position_sigma.values[3, 0]


def test_positions_tables_and_earlier_fits_are_all_taken():
    patterns = series([lambda f: (2.5, 800, 0.03, 0.5), lambda f: (3.2, 500, 0.03, 0.5)], n_frames=5)
    by_hand = curves.fit_peaks(patterns, near=[2.5, 3.2], width=0.03)
    found = curves.fit_peaks(patterns, near=curves.find_peaks(patterns), width=0.03)
    again = curves.fit_peaks(patterns, near=by_hand, width=0.03)
    for other in (found, again):
        assert (np.abs(other.position - by_hand.position) < 0.2 * by_hand.position_sigma).all()


def test_positions_may_stand_beside_structures_by_name():
    patterns = series([lambda f: (2.5, 800, 0.03, 0.5), lambda f: (3.2, 500, 0.03, 0.5)], n_frames=3)
    found = check(curves.fit_peaks(patterns, near={"foil": [3.2], "sample": [2.5]}, width=0.03))
    assert found.phase.values.tolist() == ["sample", "foil"]
    assert (found.status <= 1).all()


def cubic(edge, phase="iron"):
    data = {name: quantity((), edge, "angstrom", name) for name in "abc"}
    data |= {name: quantity((), 90.0, "degree", name) for name in ("alpha", "beta", "gamma")}
    data["volume"] = quantity((), edge**3, "angstrom^3", "volume")
    data |= {name: quantity("site", np.array([text]), "1", name) for name, text in (("label", "X"), ("element", "Fe"))}
    data |= {f"fract_{name}": quantity("site", [0.0], "1", name) for name in "xyz"}
    data |= {name: quantity("site", [value], "1", name) for name, value in (("occupancy", 1.0), ("u_iso", 0.01))}
    return xr.Dataset(data, attrs={"space_group": "P m -3 m", "crystal_system": "cubic", "phase": phase})


def lines_of(edge, growth=0.0):
    places = 2 * np.pi / edge * np.sqrt([1, 2, 3, 4, 5, 6])
    return [lambda f, place=place: (place * (1 + growth * f), 700, 0.03, 0.5) for place in places]


@pytest.mark.parametrize("start", [0.0, 1.0])
def test_a_structure_may_be_a_dataset_and_the_axis_start_at_zero(start):
    patterns = series(lines_of(4.01), n_frames=3, x=np.linspace(start, 4, 1600))
    for near in (cubic(4.0), [cubic(4.0)], [cubic(4.0), [2.9]]):
        found = check(curves.fit_peaks(patterns, near=near, width=0.03))
        iron = found.isel(peak=found.phase.values == "iron")
        assert iron.hkl.values.tolist() == ["1 0 0", "1 1 0", "1 1 1", "2 0 0", "2 1 0", "2 1 1"]
        assert (iron.status <= 1).all()
        assert (np.abs(iron.position[:, 0] - 2 * np.pi / 4.01) < 5 * iron.position_sigma[:, 0]).all()


def test_two_structures_of_one_name_are_not_one_phase():
    patterns = series(lines_of(4.0), n_frames=2, x=np.linspace(1, 4, 1200))
    with pytest.raises(ValueError, match="two structures called 'iron'"):
        curves.fit_peaks(patterns, near=[cubic(4.0), cubic(3.7)])
    with pytest.raises(ValueError, match="near must be positions"):
        curves.fit_peaks(patterns, near=None)


@pytest.mark.parametrize("near", [[2 * np.pi / 4, np.pi], cubic(4.0)])
def test_frames_without_data_are_not_frames_without_peaks(near):
    patterns = series(lines_of(4.0, growth=2e-4), n_frames=30, x=np.linspace(1, 4, 1200))
    patterns["intensity"][[0, *range(10, 18)]] = np.nan
    found = check(curves.fit_peaks(patterns, near=near, width=0.03))
    empty = np.isnan(patterns.intensity.values).all(axis=1)
    assert (found.status.values[empty] == 4).all()
    assert (found.status.values[~empty] <= 1).all()
    truth = 2 * np.pi / 4 * (1 + 2e-4 * np.arange(30))
    assert (np.abs(found.position[:, 0] - truth) < 5 * found.position_sigma[:, 0]).values[~empty].all()


def test_a_line_in_a_gap_of_the_detector_has_no_data():
    patterns = series([lambda f: (2.5, 800, 0.03, 0.5), lambda f: (3.2, 800, 0.03, 0.5)], n_frames=2)
    patterns["intensity"] = patterns.intensity.where(np.abs(patterns.q - 3.2) > 0.1)
    found = check(curves.fit_peaks(patterns, near=[2.5, 2.9, 3.2], width=0.03))
    assert found.status.values[:, 1:].tolist() == [[3, 4], [3, 4]]


def test_one_pattern_of_a_series_is_a_series_of_one():
    patterns = series([lambda f: (2.5, 800, 0.03, 0.5)], n_frames=3)
    patterns["intensity_sigma"] = quantity(("frame", "q"), np.sqrt(patterns.intensity.values), "count", "sigma")
    whole = curves.fit_peaks(patterns.isel(frame=[1]), near=[2.5], width=0.03)
    for one in (patterns.isel(frame=1), patterns.isel(frame=1, drop=True)):
        found = check(curves.fit_peaks(one, near=[2.5], width=0.03))
        np.testing.assert_array_equal(found.position, whole.position)
    alike = patterns.intensity_sigma[1].drop_vars("frame")
    shared, tiled = (
        curves.fit_peaks(patterns.assign(intensity_sigma=sigma), near=[2.5], width=0.03)
        for sigma in (alike, alike.broadcast_like(patterns.intensity))
    )
    np.testing.assert_array_equal(shared.position, tiled.position)


def test_time_exposure_and_file_travel_along():
    patterns = series([lambda f: (2.5, 800, 0.03, 0.5)], n_frames=3)
    times = np.array(["2024-01-01T00:00", "2024-01-01T00:01", "2024-01-01T00:02"], dtype="datetime64[ns]")
    patterns = patterns.assign_coords(time=quantity("frame", times, "1", "start of exposure"))
    found = check(curves.fit_peaks(patterns, near=[2.5]))
    assert (found.time.values == times).all()
    assert "curves.fit_peaks(" in found.attrs["history"]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"background": "linaer"}, ValueError, "did you mean 'linear'"),
        ({"near": [7.0]}, ValueError, "none inside"),
        ({"near": []}, ValueError, "near"),
        ({"width": -1.0}, ValueError, "width must be positive"),
        ({"significance": 0}, ValueError, "significance must be positive"),
    ],
)
def test_wrong_words_are_refused(change, error, words):
    patterns = series([lambda f: (2.5, 800, 0.03, 0.5)], n_frames=2)
    with pytest.raises(error, match=words):
        curves.fit_peaks(patterns, **{"near": [2.5], **change})


def test_wrong_axes_are_refused():
    patterns = series([lambda f: (2.5, 800, 0.03, 0.5)], n_frames=2)
    with pytest.raises(DimensionError, match="fit_peaks needs dimension"):
        curves.fit_peaks(patterns.rename(q="r"), near=[2.5])
    with pytest.raises(SchemaError, match=r"increasing values of 'q', got 1000 from 4 to 2.*sortby"):
        curves.fit_peaks(patterns.isel(q=slice(None, None, -1)), near=[2.5])
    with pytest.raises(SchemaError, match="needs a variable 'intensity'"):
        curves.fit_peaks(patterns.rename(intensity="signal"), near=[2.5])
    table = curves.find_peaks(patterns)
    with pytest.raises(UnitError, match="two_theta"):
        curves.fit_peaks(patterns, near=table.assign_attrs(axis="two_theta"))


@pytest.mark.data
def test_licovo4_lines_follow_the_charge():
    # SOURCES: a = 8.269 at the start, least 8.155 to 8.162 at patterns 48 and 49, back to 8.270 at 85, all from (400).
    from batlab import io

    folder = datasets.path("licovo4_operando")
    patterns = io.open([folder / f"{number}.txt" for number in range(1, 101)])
    cif = datasets.path("cif")
    near = {"LiCoVO4": cif / "LiCoVO4_Fd-3m_amcsd12092.cif", "Al": cif / "Al_Fm-3m_cod9008460.cif"}
    found = check(curves.fit_peaks(patterns, near=near))

    def spacing(hkl, phase):
        line = found.isel(peak=int(np.flatnonzero((found.hkl == hkl) & (found.phase == phase))[0]))
        assert (line.status <= 1).mean().item() > 0.95
        order = np.sqrt(sum(int(index) ** 2 for index in hkl.split()))
        return order * 1.5406 / 2 / np.sin(np.radians(line.position / 2))

    cell = spacing("4 0 0", "LiCoVO4")
    assert cell[0].item() == pytest.approx(8.269, abs=0.003)
    assert 8.150 < cell[46:50].mean().item() < 8.172  # broad there: single fits scatter by 0.005
    assert cell[84].item() == pytest.approx(8.270, abs=0.003)
    foil = spacing("2 2 0", "Al")
    assert foil.std().item() < 3e-4
