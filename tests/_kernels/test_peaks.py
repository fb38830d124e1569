"""The kernel of peak fits: against its oracle, against scipy and lmfit, and against broken input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import curve_fit

from batlab._kernels import peaks as kernel
from batlab._kernels import reference

fit_pseudo_voigts = kernel.fit_pseudo_voigts

NAMES = ("values", "sigmas", "strength", "at_bound", "quality", "state")


def profile(x, x0, height, width, eta):
    u = (x - x0) / width
    return height * (eta / (1 + 4 * u**2) + (1 - eta) * np.exp(-4 * np.log(2) * u**2))


def problem(peaks, *, n=200, frames=4, background=(50.0, 5.0), seed=0, offset=(0.01, 1.2), counts=True):
    """Return the kernel's arguments for Poisson data of `peaks` on x = 10 ... 12, started a little off."""
    rng = np.random.default_rng(seed)
    peaks = np.asarray(peaks, dtype=float)
    x = np.linspace(10.0, 12.0, n)
    model = background[0] + background[1] * (x - 11.0)
    for peak in peaks:
        model = model + profile(x, *peak)
    intensity = rng.poisson(model, (frames, n)).astype(float)
    variance = np.zeros((frames, n)) if counts else np.tile(model, (frames, 1))
    gain = np.full(frames, 1.0 if counts else 0.0)
    tasks = np.array([[frame, 0, n, len(peaks)] for frame in range(frames)], dtype=np.int64)
    one = peaks[:, [0, 2, 3]] * [1, offset[1], 1] + [offset[0], 0, 0]
    one[:, 2] = 0.5
    start = np.ascontiguousarray(np.tile(one, (frames, 1)))
    lower, upper = np.zeros((len(start), 4)), np.ones((len(start), 4))
    lower[:, 0], upper[:, 0] = start[:, 0] - 0.1, start[:, 0] + 0.1
    lower[:, 2], upper[:, 2], upper[:, 1] = 0.02, 1.0, np.inf
    return [x, intensity, variance, gain, tasks, start, lower, upper]


TWO = [[10.8, 400, 0.12, 0.5], [11.1, 900, 0.15, 0.4]]
SINGLE = [[11.0, 800, 0.15, 0.5]]


def assert_agree(ours, oracle, within=5e-3):
    """Equal within `within` σ in the values and 1 % in σ; marks equal, except at a bound touched by rounding."""
    ours, oracle = dict(zip(NAMES, ours)), dict(zip(NAMES, oracle))
    np.testing.assert_array_equal(ours["state"], oracle["state"])
    np.testing.assert_allclose(ours["quality"][:, :2], oracle["quality"][:, :2], rtol=1e-4)
    known = np.isfinite(oracle["values"])
    np.testing.assert_array_equal(np.isfinite(ours["values"]), known)
    distance = np.abs(ours["values"] - oracle["values"])[known] / oracle["sigmas"][known]
    assert distance.max(initial=0) < within
    np.testing.assert_allclose(ours["sigmas"][known], oracle["sigmas"][known], rtol=0.01)
    np.testing.assert_allclose(ours["strength"], oracle["strength"], rtol=0.01)


@pytest.mark.parametrize("counts", [True, False])
@pytest.mark.parametrize("peaks", [SINGLE, TWO])
def test_oracle(peaks, counts):
    arguments = problem(peaks, counts=counts)
    assert_agree(fit_pseudo_voigts(*arguments), reference.fit_pseudo_voigts(*arguments))


@pytest.mark.parametrize("n_background", [0, 1, 3, 4])
def test_oracle_on_other_backgrounds(n_background):
    arguments = problem(SINGLE, background=(0.5, 0.0) if n_background == 0 else (60.0, 4.0))
    ours = fit_pseudo_voigts(*arguments, n_background=n_background)
    assert_agree(ours, reference.fit_pseudo_voigts(*arguments, n_background=n_background))


def test_oracle_of_the_doublet():
    # Narrow lines at 2theta of 10 to 12 degrees; the factor is larger than copper's so that the doublet splits.
    arguments = problem([[10.8, 900, 0.06, 0.5]])
    arguments[1] += 0.5 * profile(arguments[0], 10.8 * 1.02, 900, 0.06, 0.5)
    doublet = {"second_ratio": 0.5, "second_scale": 1.02}
    ours = fit_pseudo_voigts(*arguments, **doublet)
    assert_agree(ours, reference.fit_pseudo_voigts(*arguments, **doublet))


@settings(max_examples=15, deadline=None)
@given(
    st.floats(10.6, 11.4), st.floats(100, 1e5), st.floats(0.05, 0.3), st.floats(0.15, 0.85), st.floats(20, 1e4),
    st.integers(0, 1000),
)  # fmt: skip
def test_oracle_anywhere(x0, height, width, eta, level, seed):
    arguments = problem([[x0, height + 10 * level**0.5, width, eta]], background=(level, 0.0), seed=seed, frames=1)
    ours, oracle = fit_pseudo_voigts(*arguments), reference.fit_pseudo_voigts(*arguments)
    if (ours[3] == 0).all() and (oracle[3] == 0).all():
        assert_agree(ours, oracle, within=0.02)


def test_curve_fit_and_lmfit_agree_within_a_hundredth_sigma():
    lmfit = pytest.importorskip("lmfit")
    arguments = problem(TWO, counts=False, frames=1)
    x, y, sigma = arguments[0], arguments[1][0], np.sqrt(arguments[2][0])
    values, sigmas, *_ = fit_pseudo_voigts(*arguments)

    def model(x, b0, b1, *p):
        return b0 + b1 * (x - 11) + profile(x, *p[:4]) + profile(x, *p[4:])

    best, covariance = curve_fit(
        model, x, y, [50, 0, 10.81, 300, 0.14, 0.5, 11.11, 800, 0.17, 0.5], sigma=sigma, absolute_sigma=True
    )
    spread = np.sqrt(np.diag(covariance))[2:].reshape(2, 4)
    assert (np.abs(values[:, :4] - best[2:].reshape(2, 4)) < 0.01 * spread).all()
    np.testing.assert_allclose(sigmas[:, :4], spread, rtol=0.02)

    composite = lmfit.models.LinearModel() + sum(
        (lmfit.models.PseudoVoigtModel(prefix=f"p{i}_") for i in (1,)), lmfit.models.PseudoVoigtModel(prefix="p0_")
    )
    guess = composite.make_params(slope=0, intercept=50)
    for i, (x0, area) in enumerate([(10.81, 60), (11.11, 150)]):
        guess[f"p{i}_center"].set(x0)
        guess[f"p{i}_amplitude"].set(area)
        guess[f"p{i}_sigma"].set(0.07)
    fitted = composite.fit(y, guess, x=x, weights=1 / sigma, scale_covar=False)
    for i in range(2):
        centre, area, half = (fitted.params[f"p{i}_{name}"] for name in ("center", "amplitude", "sigma"))
        assert abs(values[i, 0] - centre.value) < 0.02 * centre.stderr
        assert abs(values[i, 4] - area.value) < 0.02 * area.stderr
        assert abs(values[i, 2] - 2 * half.value) < 0.02 * 2 * half.stderr
        assert sigmas[i, 4] == pytest.approx(area.stderr, rel=0.03)
        assert sigmas[i, 0] == pytest.approx(centre.stderr, rel=0.03)


@pytest.mark.parametrize("level", [3.0, 30.0, 1000.0])
def test_pulls_on_counts(level):
    frames = 400
    truth = [11.0, 12 * level, 0.2, 0.5]
    arguments = problem([truth], background=(level, 0.0), frames=frames, seed=7)
    values, sigmas, _, at_bound, quality, state = fit_pseudo_voigts(*arguments)
    assert (state == 0).all()
    inside = at_bound == 0
    assert inside.mean() > (0.5 if level < 10 else 0.9)
    area = truth[1] * truth[2] * (0.5 * np.pi / 2 + 0.5 * np.sqrt(np.pi / np.log(2)) / 2)
    if level > 10:  # below, eta runs into its bounds and the errors are not Gaussian
        pulls = (values - [*truth, area])[inside] / sigmas[inside]
        assert (np.abs(pulls.mean(axis=0)) < 0.25).all()
        assert (np.abs(pulls.std(axis=0) - 1) < 0.12).all()
    position = (values[:, 0] - truth[0]) / sigmas[:, 0]
    assert position.std() == pytest.approx(1, abs=0.1)
    assert values[:, 4].mean() == pytest.approx(area, rel=0.05)
    assert (quality[:, 0] / (quality[:, 1] - 6)).mean() == pytest.approx(1, abs=0.03)


def test_any_number_of_threads_gives_the_same_bits_and_inputs_stay():
    arguments = problem(TWO, frames=33)
    before = [array.copy() for array in arguments]
    one = fit_pseudo_voigts(*arguments, n_threads=1)
    for n_threads in (2, 4):
        for first, second in zip(one, fit_pseudo_voigts(*arguments, n_threads=n_threads)):
            np.testing.assert_array_equal(first, second)
    for old, now in zip(before, arguments):
        np.testing.assert_array_equal(old, now)


def test_scale_and_shift():
    arguments = problem(SINGLE, counts=False)
    values, sigmas, *_ = fit_pseudo_voigts(*arguments)
    scaled = [array.copy() for array in arguments]
    scaled[1] *= 1e-6
    scaled[2] *= 1e-12
    values_2, sigmas_2, *_ = fit_pseudo_voigts(*scaled)
    factors = [1, 1e-6, 1, 1, 1e-6]
    assert (np.abs(values_2 - values * factors) < 1e-3 * sigmas * factors).all()
    np.testing.assert_allclose(sigmas_2, sigmas * factors, rtol=1e-3)


def test_points_that_are_missing_count_as_absent():
    arguments = problem(SINGLE, frames=1)
    keep = np.ones(200, dtype=bool)
    keep[[3, 50, 99, 101, 150]] = False
    spoiled = [array.copy() for array in arguments]
    spoiled[1][0, [3, 50]], spoiled[1][0, 99] = np.nan, np.inf
    spoiled[2][0, 101], spoiled[2][0, 150] = np.nan, -1.0
    short = [arguments[0][keep], *(array[:, keep].copy() for array in arguments[1:3]), *arguments[3:]]
    short[4] = np.array([[0, 0, keep.sum(), 1]])
    ours, expected = fit_pseudo_voigts(*spoiled), fit_pseudo_voigts(*short)
    for one, other in zip(ours, expected):
        np.testing.assert_array_equal(one, other)
    assert_agree(ours, reference.fit_pseudo_voigts(*spoiled))


def broken(change):
    arguments = problem(SINGLE, frames=2)
    change(arguments)
    return arguments


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.__setitem__(1, np.full_like(a[1], np.nan)),
        lambda a: a.__setitem__(2, np.full_like(a[2], np.nan)),
        lambda a: a.__setitem__(4, np.array([[0, 10, 12, 1], [1, 5, 5, 1]])),
    ],
    ids=["all NaN", "all masked", "empty windows"],
)
def test_nothing_to_fit_gives_nan(change):
    arguments = broken(change)
    values, sigmas, strength, _, _, state = fit_pseudo_voigts(*arguments)
    assert np.isnan(values).all()
    assert np.isnan(sigmas).all()
    assert np.isnan(strength).all()
    assert (state == 2).all()
    np.testing.assert_array_equal(reference.fit_pseudo_voigts(*arguments)[5], state)


def test_no_task_at_all():
    arguments = problem(SINGLE)
    arguments[4] = np.zeros((0, 4), np.int64)
    arguments[5:8] = np.zeros((0, 3)), np.zeros((0, 4)), np.zeros((0, 4))
    assert [len(part) for part in fit_pseudo_voigts(*arguments)] == [0] * 6


def test_strided_and_read_only_input():
    arguments = problem(SINGLE)
    expected = fit_pseudo_voigts(*arguments)
    wide = np.repeat(arguments[1], 2, axis=1)
    arguments[1] = wide[:, ::2]
    for array in arguments:
        array.flags.writeable = False
    for one, other in zip(expected, fit_pseudo_voigts(*arguments)):
        np.testing.assert_array_equal(one, other)


def test_a_high_offset_costs_no_precision():
    arguments = problem(SINGLE, counts=False)
    near, _, *_ = fit_pseudo_voigts(*arguments)
    arguments[1] = arguments[1] + 1e9
    far, sigmas, *_ = fit_pseudo_voigts(*arguments)
    assert (np.abs(far - near) < 0.01 * sigmas).all()


@pytest.mark.parametrize("value", [0.0, 1e9, -1e9])
def test_constant_intensity_converges_or_says_so(value):
    arguments = problem(SINGLE, counts=False)
    arguments[1] = np.full_like(arguments[1], value)
    values, *_, state = fit_pseudo_voigts(*arguments)
    assert np.isin(state, (0, 1)).all()
    assert np.isfinite(values).all()


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.__setitem__(4, np.array([[0, 0, 201, 1], [1, 0, 200, 1]])),
        lambda a: a.__setitem__(4, np.array([[2, 0, 200, 1], [1, 0, 200, 1]])),
        lambda a: a.__setitem__(4, np.array([[0, -1, 200, 1], [1, 0, 200, 1]])),
        lambda a: a.__setitem__(4, np.array([[0, 0, 200, 2], [1, 0, 200, 1]])),
        lambda a: a.__setitem__(4, np.array([[0, 0, 200, 3], [1, 0, 200, -1]])),
        lambda a: a.__setitem__(0, a[0][:-1].copy()),
        lambda a: a.__setitem__(3, np.array([1.0])),
        lambda a: a.__setitem__(3, np.array([1.0, np.nan])),
        lambda a: a[5].__setitem__((0, 1), 0.0),
        lambda a: a[5].__setitem__((0, 0), np.nan),
        lambda a: a[6].__setitem__((0, 0), 99.0),
        lambda a: a[6].__setitem__((0, 2), 0.0),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change):
    with pytest.raises(ValueError):
        fit_pseudo_voigts(*broken(change))


@pytest.mark.parametrize("keyword", [{"n_background": 7}, {"n_threads": 0}, {"max_iterations": 0}])
def test_numbers_out_of_range_are_refused(keyword):
    with pytest.raises(ValueError, match="n_background"):
        fit_pseudo_voigts(*problem(SINGLE), **keyword)


def test_float32_and_none_are_refused():
    arguments = problem(SINGLE)
    with pytest.raises(ValueError):
        fit_pseudo_voigts(arguments[0], arguments[1].astype(np.float32), *arguments[2:])
    with pytest.raises(TypeError):
        fit_pseudo_voigts(None, *arguments[1:])
