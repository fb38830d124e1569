"""Outliers, quantiles and scatter within rings: beside pyFAI, and on rings whose truth is known."""

import pickle
from functools import cache

import numpy as np
import pytest
from pyFAI.detectors import Detector
from pyFAI.integrator.azimuthal import AzimuthalIntegrator
from scipy.sparse import csr_matrix

from batlab.scattering.bins import BLOCK, PixelBins, PixelRuns
from batlab.scattering.plan import Plan
from batlab.scattering.rings import (
    Quantile,
    SigmaClip,
    check_clip,
    doubtful,
    reduce_block,
    ring_order,
    warn_of_losses,
)

SHAPE, N_BINS = (300, 260), 150


def plan_of(bins, owner, n_bins, weights):
    """Return the plan of whole pixels: internal bin of each, and the bins that own the internal ones."""
    return made(PixelBins(bins, owner), n_bins, weights)


def made(index, n_bins, weights):
    powers = np.array([1, 1, 2][: len(weights)], np.uint8)
    nothing = np.zeros(n_bins)
    return Plan(
        np.arange(n_bins, dtype=float), None, n_bins, index, weights, powers, nothing[None], nothing, None, nothing
    )


@cache
def pyfai():
    detector = Detector(1e-4, 1e-4, max_shape=SHAPE)
    return AzimuthalIntegrator(
        dist=0.06, poni1=0.013, poni2=0.011, rot1=0.12, rot2=-0.08, detector=detector, wavelength=1e-10
    )


def asked(split, error_model, *, corrected=True, method="integrate1d", image=None, **more):
    """Return pyFAI's answer, its CSR matrix (bin, pixel) and the pixels' weights."""
    ai, keywords = pyfai(), {"polarization_factor": 0.9} if corrected else {"polarization_factor": None}
    with np.errstate(all="ignore"):
        found = getattr(ai, method)(
            image, N_BINS, unit="q_A^-1", error_model=error_model, correctSolidAngle=corrected,
            method=(split, "csr", "cython"), **keywords, **more,
        )  # fmt: skip
    engine = next(
        one.engine
        for key, one in ai.engines.items()
        if (key.split_lower, key.algo_lower, key.dim) == (split, "csr", 1) and one.engine is not None
    )
    parts = csr_matrix((engine.data, engine.indices, engine.indptr), shape=(N_BINS, image.size))
    weights = np.ones(image.size, np.float32)
    if corrected:
        weights = (ai.polarization(SHAPE, 0.9) * ai.solidAngleArray(SHAPE)).astype(np.float32).ravel()
    return found, parts, weights


def plan_from(parts, weights):
    """Return the plan of a matrix (bin, pixel): `Bins` where every part is 1, else `Runs`."""
    by_pixel = parts.tocsc()
    n_bins, n_pixels = parts.shape
    by_pixel.sort_indices()
    weights = np.atleast_2d(weights)
    if (by_pixel.data == 1).all() and np.diff(by_pixel.indptr).max() == 1:
        bins = np.full(n_pixels, n_bins, np.uint16)
        bins[np.diff(by_pixel.indptr) > 0] = by_pixel.indices
        return plan_of(bins, np.arange(n_bins, dtype=np.int32), n_bins, weights)
    pixels = np.repeat(np.arange(n_pixels), np.diff(by_pixel.indptr))
    begins = np.flatnonzero(np.r_[True, (np.diff(pixels) != 0) | (np.diff(by_pixel.indices) != 1)])
    n_blocks = -(-n_pixels // BLOCK)
    index = PixelRuns(
        by_pixel.indices[begins].astype(np.uint32),
        (pixels[begins] % BLOCK).astype(np.uint16),
        np.diff(np.r_[begins, len(pixels)]).astype(np.uint16),
        by_pixel.data.astype(np.float32),
        np.searchsorted(pixels[begins] // BLOCK, np.arange(n_blocks + 1)).astype(np.int64),
        np.searchsorted(pixels // BLOCK, np.arange(n_blocks + 1)).astype(np.int64),
    )
    return made(index, n_bins, weights)


def reduced(plan, frames, error_model="poisson", clip=None, **more):
    given = {"mask": None, "overflow": [], "monitor": None, "n_threads": 1, **more}
    return reduce_block(plan, frames, error_model=error_model, clip=clip, **given)


def averages(parts):
    with np.errstate(all="ignore"):
        return parts["signal"] / parts["normalization"], np.sqrt(parts["variance"]) / parts["normalization"]


def powder(seed=0, level=20.0, peak=20.0, dtype=np.uint32):
    """Return a Poisson image of broad rings and what was expected in every pixel."""
    q = pyfai().center_array(SHAPE, unit="q_A^-1")
    expected = level + peak * np.exp(-(((q % 0.8) - 0.4) ** 2) / 0.02)
    return np.random.default_rng(seed).poisson(expected).astype(dtype), expected


def with_spots(image, seed=1, brightest=20000):
    """Return the image with spots of 3 x 3 pixels, and where these are."""
    random = np.random.default_rng(seed)
    spotted, where = image.copy(), np.zeros(image.shape, bool)
    for y, x in random.integers(2, np.array(SHAPE) - 2, (40, 2)):
        spotted[y - 1 : y + 2, x - 1 : x + 2] += random.integers(brightest // 4, brightest, (3, 3)).astype(image.dtype)
        where[y - 1 : y + 2, x - 1 : x + 2] = True
    return spotted, where


def float_image():
    return (np.random.default_rng(3).normal(1000, 30, SHAPE) * 1.0).astype(np.float32)


def flat(image):
    return image.reshape(1, -1)


# Beside pyFAI


@pytest.mark.parametrize("error_model", ["poisson", "azimuthal", "hybrid"])
@pytest.mark.parametrize("threshold", [3.0, 5.0, 0.0, None])
@pytest.mark.parametrize("corrected", [True, False])
def test_sigma_clipping_is_pyfais(error_model, threshold, corrected):
    image, _ = with_spots(powder()[0], brightest=400)
    theirs, parts, weights = asked("no", error_model, corrected=corrected, method="sigma_clip", image=image,
                                   thres=threshold or 0, max_iter=5)  # fmt: skip
    ours = reduced(plan_from(parts, weights), flat(image), error_model, SigmaClip(threshold, 5))
    intensity, sigma = averages(ours)
    same = (ours["n_pixels"][0] == theirs.count) & (theirs.count > 3)  # pyFAI counts at least 3
    assert same.sum() >= N_BINS - 2  # pixels at the very limit in single precision
    assert ours["n_clipped"].sum() > 300
    np.testing.assert_allclose(intensity[0, same], theirs.intensity[same], rtol=1e-6)
    # pyFAI adds up the scatter pixel by pixel, which is exact for equal weights and up to 0.16 % off for others.
    exact = error_model != "azimuthal" or not corrected
    np.testing.assert_allclose(sigma[0, same], theirs.sem[same], rtol=1e-6 if exact else 2e-3)


@pytest.mark.parametrize("split", ["no", "bbox", "full"])
@pytest.mark.parametrize("corrected", [True, False])
def test_azimuthal_errors_are_pyfais(split, corrected):
    image, _ = powder()
    theirs, parts, weights = asked(split, "azimuthal", corrected=corrected, image=image)
    ours = reduced(plan_from(parts, weights), flat(image), "azimuthal")
    intensity, sigma = averages(ours)
    used = np.asarray((parts > 0).sum(axis=1)).ravel() > 1
    np.testing.assert_allclose(intensity[0, used], theirs.intensity[used], rtol=1e-6)
    # The parts of split pixels are unequal weights: pyFAI is up to 1.4 % off there, which depends on their order.
    wide = used & (theirs.count > 30)
    rtol = 0.02 if split != "no" else 2e-3 if corrected else 1e-6
    np.testing.assert_allclose(sigma[0, wide], theirs.sem[wide], rtol=rtol)
    # Two passes over each ring in plain numpy.
    for b in np.flatnonzero(used)[::7]:
        pixels, part = parts[[b]].indices, parts[[b]].data.astype(float)
        omega, x = part * weights[pixels], image.ravel()[pixels] / weights[pixels].astype(float)
        mean = (omega * x).sum() / omega.sum()
        assert ours["variance"][0, b] == pytest.approx((omega**2 * (x - mean) ** 2).sum(), rel=1e-10)


@pytest.mark.parametrize("split", ["no", "bbox", "full"])
@pytest.mark.parametrize("quantiles", [(0.4, 0.6), (0.1, 0.9), (0.5, 0.5), (0.0, 1.0)])
def test_quantiles_are_pyfais(split, quantiles):
    image = float_image()  # without two equal pixels, among which pyFAI takes any
    percentile = tuple(100 * one for one in quantiles) if quantiles[0] < quantiles[1] else 50
    theirs, parts, weights = asked(split, "poisson", method="medfilt1d_ng", image=image, percentile=percentile)
    ours = reduced(plan_from(parts, weights), flat(image), "poisson", Quantile(*quantiles))
    intensity, sigma = averages(ours)
    # pyFAI adds up lengths in single precision, which moves an end by a pixel now and then.
    close = np.isclose(ours["normalization"][0], theirs.sum_normalization, rtol=1e-6)
    assert close.mean() > 0.9
    np.testing.assert_allclose(intensity[0, close], theirs.intensity[close], rtol=1e-6)
    np.testing.assert_allclose(sigma[0, close], theirs.sem[close], rtol=1e-6)
    assert np.isfinite(intensity).all()  # pyFAI finds none in rings of few pixels


# Rings whose truth is known


@pytest.mark.parametrize("error_model", ["poisson", "azimuthal", "hybrid", None])
@pytest.mark.parametrize("split", ["no", "bbox", "full"])
def test_planted_spots_are_removed(error_model, split):
    clean, expected = powder()
    image, spots = with_spots(clean)
    _, parts, weights = asked(split, "poisson", image=image, corrected=False)
    plan = plan_from(parts, weights)
    found = reduced(plan, flat(image), error_model, SigmaClip(5.0), marks=True)
    many = np.asarray(parts.sum(axis=1)).ravel() > 100
    truth = (parts @ expected.ravel() / np.asarray(parts.sum(axis=1)).ravel())[many]
    own = reduced(plan, flat(clean), "poisson")
    sigma = averages(own)[1][0, many]
    with_them, without = (averages(each)[0][0, many] for each in (reduced(plan, flat(image)), found))
    assert (np.abs(with_them - truth) > 100 * sigma).mean() > 0.3
    assert np.abs(without - truth).max() < 5 * sigma.max()
    assert np.sqrt(np.mean(((without - truth) / sigma) ** 2)) < 1.3
    marked = found["clipped"].reshape(SHAPE)
    inside = np.zeros(image.size, bool)
    inside[parts.tocsc().indptr[1:] > parts.tocsc().indptr[:-1]] = True
    in_wide_rings = np.asarray(parts[many].sum(axis=0)).ravel().reshape(SHAPE) > 0.99
    assert marked[spots & in_wide_rings].mean() > 0.99
    assert marked[~spots].mean() < 1e-3
    total = found["n_pixels"] + found["n_clipped"]
    np.testing.assert_allclose(total[0], np.asarray(parts.sum(axis=1)).ravel(), rtol=1e-5)
    if split == "no":
        assert found["n_clipped"].sum() == marked.sum()


def test_strong_spots_do_not_cost_the_ring():
    clean, expected = powder()
    image, _ = with_spots(clean, brightest=200_000)
    theirs, parts, weights = asked("no", "poisson", corrected=False, method="sigma_clip", image=image, thres=5)
    assert (theirs.count == 0).sum() > 20  # the mean leaves all pixels more than 5 sigma behind
    plan = plan_from(parts, weights)
    ours = reduced(plan, flat(image), "poisson", SigmaClip(5.0))
    size = np.asarray(parts.sum(axis=1)).ravel()
    wide = size > 100
    assert (ours["n_pixels"][0, wide] > 0.8 * size[wide]).all()
    intensity, sigma = averages(ours)
    pulls = ((intensity[0] - parts @ expected.ravel() / size) / sigma[0])[wide]
    assert np.sqrt(np.mean(pulls**2)) < 1.3


@pytest.mark.parametrize("error_model", ["poisson", "azimuthal", "hybrid"])
@pytest.mark.parametrize("level", [1.0, 20.0, 1000.0])
def test_clean_counts_stay(error_model, level):
    image = np.random.default_rng(5).poisson(level, SHAPE).astype(np.uint16)
    _, parts, weights = asked("no", "poisson", image=image)
    found = reduced(plan_from(parts, weights), flat(image), error_model, SigmaClip(5.0))
    assert found["n_pixels"].sum() > 0.999 * image.size
    assert found["n_pixels"].sum() + found["n_clipped"].sum() == image.size


def test_rare_counts_are_clipped_by_scatter_as_documented():
    image = np.random.default_rng(5).poisson(0.1, SHAPE).astype(np.uint16)
    _, parts, weights = asked("no", "poisson", image=image, corrected=False)
    plan = plan_from(parts, weights)
    # Two counts and more, where 0.1 are expected: 1 - 1.1 exp(-0.1).
    lost = reduced(plan, flat(image), "azimuthal", SigmaClip(5.0, 1))["n_clipped"].sum() / image.size
    assert lost == pytest.approx(0.0047, abs=0.001)
    assert reduced(plan, flat(image), "poisson", SigmaClip(5.0))["n_clipped"].sum() <= 2


def test_azimuthal_sigma_is_the_scatter_of_a_textured_ring():
    chi = pyfai().center_array(SHAPE, unit="chi_rad")
    expected = 1000 * (1 + 0.5 * np.cos(6 * chi))
    image = np.random.default_rng(2).poisson(expected).astype(np.uint32)
    _, parts, weights = asked("no", "poisson", image=image, corrected=False)
    plan = plan_from(parts, weights)
    by_scatter, by_counts = (averages(reduced(plan, flat(image), model))[1][0] for model in ("azimuthal", "poisson"))
    for b in range(40, 100, 5):
        ring = expected.ravel()[parts[[b]].indices]
        truth = np.sqrt((ring.var() + ring.mean()) / ring.size)
        assert by_scatter[b] == pytest.approx(truth, rel=0.05)
        assert by_scatter[b] > 5 * by_counts[b]
    # Of an even ring both tell the same.
    even = np.random.default_rng(2).poisson(1000, SHAPE).astype(np.uint32)
    one, other = (averages(reduced(plan, flat(even), model))[1][0, 30:120] for model in ("azimuthal", "poisson"))
    assert np.median(one / other) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(("quantiles", "too_large"), [((0.25, 0.75), 1.293), ((0.4, 0.6), 1.896), ((0.2, 1.0), None)])
def test_the_sigma_of_a_trimmed_mean(quantiles, too_large):
    random = np.random.default_rng(0)
    n_frames, n_pixels = 3000, 400
    frames = random.normal(500, 20, (n_frames, n_pixels))
    plan = plan_of(np.zeros(n_pixels, np.uint16), np.zeros(1, np.int32), 1, np.ones((1, n_pixels), np.float32))
    clip = Quantile(*quantiles)
    mean, sigma = averages(reduced(plan, frames, "azimuthal", clip))
    assert np.sqrt(np.mean(((mean - mean.mean()) / sigma) ** 2)) == pytest.approx(1, abs=0.1)
    if too_large:  # normal quantiles: sqrt(1 / (p * v)), v the variance of the trimmed mean times n
        given = np.full((1, n_pixels), 400.0)
        claimed = averages(reduced(plan, frames, "poisson", clip, variance=given))[1]
        assert claimed.mean() / mean.std() == pytest.approx(too_large, rel=0.05)


def test_quantiles_resist_what_clipping_by_counts_does_not():
    clean, expected = powder(level=100)
    image, _ = with_spots(clean)
    hot = np.random.default_rng(4).random(SHAPE) < 0.3
    image[hot] = 10**6
    _, parts, weights = asked("no", "poisson", image=image, corrected=False)
    median = averages(reduced(plan_from(parts, weights), flat(image), "poisson", Quantile(0.2, 0.5)))[0][0]
    truth = parts @ expected.ravel() / np.asarray(parts.sum(axis=1)).ravel()
    assert np.abs(median / truth - 1)[20:120].max() < 0.2


# What may be in a frame


@pytest.mark.parametrize("split", ["no", "bbox"])
@pytest.mark.parametrize("clip", [None, SigmaClip(3.0), Quantile(0.1, 0.9)])
@pytest.mark.parametrize("error_model", ["poisson", "azimuthal", "hybrid", None])
def test_masked_lost_and_infinite_pixels_do_not_count(split, clip, error_model):
    image = powder(dtype=np.float64)[0]
    _, parts, weights = asked(split, "poisson", image=image)
    plan = plan_from(parts, weights)
    bad = np.random.default_rng(8).random(SHAPE) < 0.2
    bad[100:110] = True
    frames = np.stack([image] * 4).reshape(4, -1)
    mask = np.zeros(frames.shape, bool)
    frames[0, bad.ravel()], frames[1, bad.ravel()], frames[2, bad.ravel()] = np.nan, 4e9, -np.inf
    mask[3] = bad.ravel()
    found = reduced(plan, frames, error_model, clip, mask=mask, overflow=[4e9, 5.0e9])
    only = plan_from(csr_matrix(parts.multiply(~bad.reshape(1, -1))), weights)
    alone = reduced(only, flat(image), error_model, clip)
    for name in found:
        for row in found[name]:
            np.testing.assert_allclose(row, alone[name][0], rtol=1e-9, atol=1e-9)


def test_empty_and_one_pixel_rings():
    bins = np.array([0, 2, 2, 2, 3, 3, 9], np.uint16)  # bin 1 has no pixel, 0 one, 4 belongs to none
    plan = plan_of(bins, np.arange(4, dtype=np.int32), 4, np.full((1, 7), 0.5, np.float32))
    plan.index.bins[6] = 4
    frame = np.array([[7, 1, 2, 3, 5, 5, 1000]], np.int32)
    for clip in (None, SigmaClip(0.1), Quantile(), Quantile(0.5, 0.5)):
        found = reduced(plan, frame, "poisson", clip)
        assert found["n_pixels"][0, 1] == found["normalization"][0, 1] == 0
        assert averages(found)[0][0, [0, 3]].tolist() == [14, 10]
        if clip is None or clip.__class__ is SigmaClip or clip.low < clip.high:
            scatter = reduced(plan, frame, "azimuthal", clip)["variance"][0]
            assert np.isnan(scatter[0])  # one pixel has no scatter
            assert scatter[1] == scatter[3] == 0


def test_a_frame_of_nothing():
    _, parts, weights = asked("bbox", "poisson", image=powder()[0])
    frames = np.full((1, weights.size), np.nan, np.float32)
    for clip in (SigmaClip(), Quantile()):
        found = reduced(plan_from(parts, weights), frames, "azimuthal", clip)
        assert not any(found[name].any() for name in found)


def test_dark_monitor_and_given_variance():
    image, _ = powder()
    _, parts, weights = asked("no", "poisson", image=image)
    dark = np.random.default_rng(1).uniform(1, 5, image.size).astype(np.float32)
    plan = plan_from(parts, weights)
    with_dark = made(plan.index, plan.n_bins, np.stack([weights, dark, dark]))
    plain = reduced(plan, flat(image), clip=SigmaClip())
    darker = reduced(with_dark, flat(image + 0), clip=SigmaClip(1e3), monitor=np.array([2.0]))
    # Of the dark counts the signal loses what the variance gains.
    counts, dark, weights = image.ravel().astype(float), dark.astype(float), weights.astype(float)
    np.testing.assert_allclose(darker["signal"], (parts @ (counts - dark))[None], rtol=1e-6)
    np.testing.assert_allclose(darker["variance"], (parts @ (counts + dark))[None], rtol=1e-6)
    np.testing.assert_allclose(darker["normalization"], 2 * (parts @ weights)[None], rtol=1e-6)
    four = reduced(plan, flat(image), clip=SigmaClip(), variance=np.maximum(flat(image), 1).astype(float))
    np.testing.assert_array_equal(four["variance"], plain["variance"])


# The order of pixels


def test_bins_shared_by_internal_ones_are_joined():
    random = np.random.default_rng(0)
    owner = np.repeat(np.arange(10), 3).astype(np.int32)
    internal = random.integers(0, 31, 5000)
    plan = plan_of(internal.astype(np.uint32), owner, 10, np.ones((1, 5000), np.float32))
    order = ring_order(plan)
    for b in range(10):
        np.testing.assert_array_equal(
            order.pixel[order.start[b] : order.start[b + 1]], np.flatnonzero(internal // 3 == b)
        )
    assert order.coefficient is None
    assert ring_order(plan) is order


@pytest.mark.parametrize("split", ["no", "bbox", "full"])
def test_the_order_holds_what_the_plan_holds(split):
    _, parts, weights = asked(split, "poisson", image=powder()[0])
    order = ring_order(plan_from(parts, weights))
    data = np.ones(len(order.pixel)) if order.coefficient is None else order.coefficient
    again = csr_matrix((data, order.pixel.astype(np.int64), order.start), shape=parts.shape)
    assert abs(again - parts).max() == 0
    assert all((np.diff(order.pixel[a:b].astype(int)) > 0).all() for a, b in zip(order.start, order.start[1:]))


def test_the_order_is_forgotten_with_its_plan():
    from batlab.scattering import rings

    plan = plan_of(np.zeros(5, np.uint16), np.zeros(1, np.int32), 1, np.ones((1, 5), np.float32))
    ring_order(plan)
    key, before = id(plan.index), len(rings._ORDERS)
    del plan
    assert key not in rings._ORDERS
    assert len(rings._ORDERS) == before - 1


def test_the_number_of_threads_and_the_grouping_of_frames_change_no_bit():
    frames = np.stack([with_spots(powder(seed)[0], seed)[0].ravel() for seed in range(5)])
    _, parts, weights = asked("full", "poisson", image=powder()[0])
    plan = plan_from(parts, weights)
    one = reduced(plan, frames, "azimuthal", SigmaClip(4.0), marks=True)
    for n_threads in (2, 4):
        other = reduced(plan, frames, "azimuthal", SigmaClip(4.0), marks=True, n_threads=n_threads)
        assert all(one[name].tobytes() == other[name].tobytes() for name in one)
    singly = [reduced(plan, frames[k : k + 1], "azimuthal", SigmaClip(4.0), marks=True) for k in range(5)]
    assert all(one[name].tobytes() == np.concatenate([each[name] for each in singly]).tobytes() for name in one)


# What may be asked for


@pytest.mark.parametrize("threshold", [-1, np.nan, np.inf, "5", True, [5]])
def test_an_impossible_threshold_is_refused(threshold):
    with pytest.raises(ValueError, match="threshold must be at least 0"):
        SigmaClip(threshold)


@pytest.mark.parametrize("rounds", [0, -1, 2.5, 1001, np.inf, np.nan, "5", None, True])
def test_an_impossible_number_of_iterations_is_refused(rounds):
    with pytest.raises(ValueError, match="max_iterations must be"):
        SigmaClip(5.0, rounds)


@pytest.mark.parametrize("quantiles", [(0.6, 0.4), (-0.1, 0.5), (0.5, 1.1), (np.nan, 0.5), ("a", 0.5), (40, 60)])
def test_impossible_quantiles_are_refused(quantiles):
    with pytest.raises(ValueError, match="quantiles must be 0 <= low <= high <= 1"):
        Quantile(*quantiles)


@pytest.mark.parametrize("clip", [5.0, "sigma", (0.4, 0.6), SigmaClip])
def test_another_clip_is_refused(clip):
    with pytest.raises(TypeError, match=r"clip must be scattering.SigmaClip\(threshold=5.0\)"):
        check_clip(clip, "poisson")


def test_a_median_has_no_scatter():
    with pytest.raises(ValueError, match="needs a range of quantiles"):
        check_clip(Quantile(0.5, 0.5), "azimuthal")
    for clip, model in ((None, None), (SigmaClip(), None), (Quantile(0.5, 0.5), "hybrid"), (Quantile(), "azimuthal")):
        check_clip(clip, model)


def test_a_textured_ring_clipped_away_is_a_warning():
    frames = np.tile([[0, 1000]], (1, 500)).astype(np.uint16)
    plan = plan_of(np.zeros(1000, np.uint16), np.zeros(1, np.int32), 1, np.ones((1, 1000), np.float32))
    clip = SigmaClip(5.0)
    lost = reduced(plan, frames, "poisson", clip)
    assert lost["n_pixels"] == 0
    found = doubtful(lost, clip)
    assert found == {0: (1.0, 1)}
    with pytest.warns(UserWarning, match=r"up to 100 % of the pixels of a frame, and all pixels of 1 bins \(1 of 7"):
        warn_of_losses(found, 7, clip)
    kept = reduced(plan, frames, "azimuthal", clip)
    assert kept["n_pixels"] == 1000
    assert not doubtful(kept, clip)
    assert not doubtful(reduced(plan, frames, "poisson", Quantile()), Quantile())


def test_clips_are_plain_values():
    assert pickle.loads(pickle.dumps(SigmaClip(4))) == SigmaClip(4)
    assert len({Quantile(), Quantile(0.4, 0.6), SigmaClip()}) == 2
