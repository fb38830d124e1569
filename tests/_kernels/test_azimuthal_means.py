"""The kernel that divides sums by weights: beside its oracle, in damage, and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batlab._kernels import reference
from batlab._kernels.azimuthal_means import azimuthal_means


def sums(seed, n_frames, n_bins):
    """Return what the binning kernels give: some bins have lost some or all pixels, some values are not finite."""
    random = np.random.default_rng(seed)
    n_pixels = random.integers(0, 5, n_bins).astype(float)
    total = n_pixels * random.uniform(0.5, 2, n_bins)
    lost = np.minimum(random.integers(0, 6, (n_frames, n_bins)), n_pixels)
    weight = np.where(n_pixels > 0, lost / np.maximum(n_pixels, 1) * total, 0)
    signal, variance = random.normal(5, 20, (n_frames, n_bins)), random.uniform(0, 9, (n_frames, n_bins))
    signal[random.random(signal.shape) < 0.05] = np.nan
    variance[random.random(signal.shape) < 0.05] = np.inf
    monitor = random.choice([1.0, 0.5, 0.0, -1.0, np.nan, np.inf], n_frames)
    return signal, variance, lost, weight, n_pixels, total, monitor


@given(st.integers(0, 2**32 - 1), st.integers(0, 5), st.sampled_from([0, 1, 7, 511, 512, 513, 1100]), st.booleans())
def test_kernel_equals_oracle_bit_by_bit(seed, n_frames, n_bins, is_whole):
    given_ = sums(seed, n_frames, n_bins)
    before = [array.copy() for array in given_]
    expected = reference.azimuthal_means(*given_, is_whole, 1e-9)
    for n_threads in (1, 2, 4):
        found = azimuthal_means(*given_, is_whole, 1e-9, n_threads)
        for one, two in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, two)
            assert one.dtype == two.dtype
    for one, two in zip(given_, before, strict=True):
        np.testing.assert_array_equal(one, two)


def test_two_bins_by_hand():
    signal, variance = np.array([[12.0, 5.0]]), np.array([[16.0, 5.0]])
    skipped, weight = np.array([[1.0, 2.0]]), np.array([[0.5, 1.0]])
    n_pixels, total = np.array([4.0, 2.0]), np.array([2.0, 1.0])
    mean, sigma, normalization, left = azimuthal_means(
        signal, variance, skipped, weight, n_pixels, total, np.array([2.0])
    )
    np.testing.assert_array_equal(mean, [[4.0, np.nan]])
    np.testing.assert_array_equal(sigma, [[4 / 3, np.nan]])
    np.testing.assert_array_equal(normalization, [[3.0, 0.0]])
    np.testing.assert_array_equal(left, [[3, 0]])
    assert left.dtype == np.int32


def test_what_rounding_leaves_of_a_bin_is_nothing():
    one = np.ones((1, 1))
    split = azimuthal_means(one, one, one * (3 - 1e-12), one * 3, np.array([3.0]), np.array([3.0]), np.ones(1), False,
                            1e-9)  # fmt: skip
    assert np.isnan(split[0]).all()
    assert split[3] == 0


@pytest.mark.parametrize("wrong", range(7))
def test_shapes_that_disagree_are_refused(wrong):
    given_ = list(sums(1, 3, 4))
    given_[wrong] = np.ascontiguousarray(given_[wrong][:-1])
    for function in (azimuthal_means, reference.azimuthal_means):
        with pytest.raises(ValueError, match="must"):
            function(*given_)


def test_no_threads_are_refused():
    for function in (azimuthal_means, reference.azimuthal_means):
        with pytest.raises(ValueError, match="n_threads"):
            function(*sums(1, 3, 4), True, 0.0, 0)
