"""Change points: a published one, planted ones with their limits, and how often noise rings the bell."""

import numpy as np
import pytest
import xarray as xr

from batlab.curves import change_points
from batlab.errors import DimensionError
from batlab.schema import check, quantity

# Annual flow of the Nile at Aswan, 1871-1970, 1e8 m3:
# G. W. Cobb, Biometrika 65, 243 (1978), doi:10.1093/biomet/65.2.243.
NILE = """
1120 1160 963 1210 1160 1160 813 1230 1370 1140 995 935 1110 994 1020 960 1180 799 958 1140 1100 1210 1150
1250 1260 1220 1030 1100 774 840 874 694 940 833 701 916 692 1020 1050 969 831 726 456 824 702 1120 1100 832
764 821 768 845 864 862 698 845 744 796 1040 759 781 865 845 944 984 897 822 1010 771 676 649 846 812 742 801
1040 860 874 848 890 744 749 838 1050 918 986 797 923 975 815 1020 906 901 1170 912 746 919 718 714 740"""


def series(values, sigma=None, name="a"):
    values = np.asarray(values, dtype=float)
    variables = {name: quantity("frame", values, "angstrom", "a length")}
    if sigma is not None:
        variables[f"{name}_sigma"] = quantity("frame", np.broadcast_to(float(sigma), values.shape), "angstrom", "its σ")
    return xr.Dataset(variables, {"frame": quantity("frame", np.arange(len(values)), "1", "frame")})


@pytest.mark.parametrize("model", ["mean", "linear"])
def test_the_nile_fell_after_1898(model):
    flow = xr.DataArray(
        np.array(NILE.split(), dtype=float), dims="frame", name="flow", attrs={"units": "1", "long_name": "flow"}
    ).assign_coords(frame=quantity("frame", np.arange(1871, 1971), "1", "year"))
    assert flow.size == 100
    assert flow.sum().item() == 91935
    found = check(change_points(flow, model=model))
    assert found.sizes["event"] == 1
    assert 1898 < found.onset.item() < 1899
    assert 1894 < found.onset_low.item() < 1898.5 < found.onset_high.item() < 1903
    assert found.kind.item() == "step"
    assert found.confidence.item() > 0.999


@pytest.mark.parametrize("model", ["mean", "linear"])
@pytest.mark.parametrize("n", [40, 200])
@pytest.mark.parametrize("sigma", [None, 0.2])
def test_noise_rings_at_most_as_often_as_stated(model, n, sigma):
    rng = np.random.default_rng(n)
    trials = 120
    events = [change_points(series(rng.normal(3, 0.2, n), sigma), model=model).sizes["event"] for _ in range(trials)]
    assert (np.array(events) > 0).mean() <= 0.05


@pytest.mark.parametrize(("kind", "least"), [("step", 0.85), ("slope", 0.85)])
def test_limits_hold_the_planted_onset_as_often_as_stated(kind, least):
    rng = np.random.default_rng(4)
    inside, errors = [], []
    for _ in range(80):
        frames, onset = np.arange(100.0), rng.uniform(35, 65)
        bend = 3 * (frames > onset) if kind == "step" else 0.4 * np.maximum(frames - onset, 0)
        found = change_points(series(-0.1 * frames + bend + rng.normal(size=100), 1.0))
        if found.sizes["event"] == 1:
            inside.append(found.onset_low.item() <= onset <= found.onset_high.item())
            errors.append(found.onset.item() - onset)
            assert found.onset_low.item() <= found.onset.item() <= found.onset_high.item()
    assert len(inside) > 72
    assert np.mean(inside) >= least
    assert abs(np.median(errors)) < 0.3


def test_kinds_and_several_changes():
    rng = np.random.default_rng(0)
    frames = np.arange(150.0)
    values = np.where(frames < 50, 0, 0.1 * (frames - 50)) + 4.0 * (frames >= 100) + rng.normal(0, 0.2, 150)
    found = change_points(series(values))
    assert found.kind.values.tolist() == ["slope", "step"]
    np.testing.assert_allclose(found.onset, [50, 99.5], atol=3)
    assert (found.strength > 5).all()


def test_scale_offset_and_direction_do_not_matter():
    values = np.r_[np.zeros(30), np.ones(30)] + np.random.default_rng(2).normal(0, 0.1, 60)
    plain = change_points(series(values), model="mean")
    for other in (values * 1e-9, values + 1e6, -values):
        xr.testing.assert_allclose(
            plain.drop_attrs(), change_points(series(other), model="mean").drop_attrs(), rtol=1e-5
        )
    backwards = change_points(series(values[::-1]), model="mean")
    assert backwards.onset.item() == 59 - plain.onset.item()


def test_missing_values_are_left_out():
    values = np.r_[np.zeros(30), np.ones(30)] + np.random.default_rng(2).normal(0, 0.1, 60)
    values[[5, 29, 30, 31, 50]] = np.nan
    found = check(change_points(series(values), model="mean"))
    assert found.onset.item() == 30.0  # half way between frames 28 and 32
    assert check(change_points(series(np.full(20, np.nan)))).sizes["event"] == 0
    assert check(change_points(series([]))).sizes["event"] == 0


def test_constant_and_exact_series():
    assert change_points(series(np.full(30, 5.0))).sizes["event"] == 0
    exact = change_points(series(np.repeat([1.0, 2.0], 20)), model="mean")
    assert exact.onset.values.tolist() == [19.5]


def test_sigma_that_is_too_small_rings_no_bell():
    noisy = np.random.default_rng(3).normal(0, 1, 100)
    assert change_points(series(noisy, sigma=0.01)).sizes["event"] == 0


def test_every_series_of_a_dataset_is_named():
    rng = np.random.default_rng(1)
    both = series(np.repeat([0.0, 1.0], 40) + rng.normal(0, 0.1, 80), 0.1)
    both["c"] = quantity("frame", np.r_[np.zeros(20), np.ones(60)] + rng.normal(0, 0.1, 80), "angstrom", "c")
    both["c_sigma"] = quantity("frame", np.full(80, 0.1), "angstrom", "its σ")
    both["n_lines"] = quantity("frame", np.repeat([3, 9], 40), "1", "a number without σ")
    found = check(change_points(both, model="mean"))
    assert found.what.values.tolist() == ["c", "a"]
    assert check(change_points(both, model="mean", variables=["c"])).what.values.tolist() == ["c"]
    peaks = xr.Dataset({"position": (("frame", "peak"), np.stack([both.a.values, rng.normal(0, 1, 80)], axis=1))})
    assert change_points(peaks, model="mean").what.values.tolist() == ["position, peak 0"]


def test_wrong_words_are_refused():
    with pytest.raises(ValueError, match="did you mean 'linear'"):
        change_points(series(np.zeros(10)), model="liner")
    with pytest.raises(ValueError, match="false_alarm must lie between"):
        change_points(series(np.zeros(10)), false_alarm=0)
    with pytest.raises(ValueError, match="variables must be"):
        change_points(series(np.zeros(10)), variables=["b"])
    with pytest.raises(ValueError, match="shortest must be at least"):
        change_points(series(np.zeros(10)), shortest=1)
    with pytest.raises(DimensionError, match="needs dimension 'frame' or 'record'"):
        change_points(xr.DataArray(np.zeros(4), dims="q", name="a"))


def test_the_partition_is_the_best_of_all():
    """Every way to cut a short series, tried one by one; hardest where a segment is as short as it may be."""
    from itertools import combinations, pairwise

    from batlab.curves.segments import Sums, partition

    for seed in range(200):
        rng = np.random.default_rng(seed)
        n, shortest, penalty = 14, 3, float(rng.choice([2, 6, 12]))
        y = rng.normal(size=n) + np.cumsum((rng.random(n) < 0.3) * rng.normal(0, 8, n))
        sums = Sums(np.arange(float(n)), y, np.ones(n), False)

        def total(cuts, sums=sums, n=n, penalty=penalty):
            return sum(float(sums.misfit(a, b)) for a, b in pairwise([0, *cuts, n])) + penalty * len(cuts)

        ways = (cuts for number in range(5) for cuts in combinations(range(shortest, n - shortest + 1), number))
        least = min(total(cuts) for cuts in ways if all(b - a >= shortest for a, b in pairwise(cuts)))
        assert total(partition(sums, n, penalty, shortest)) == pytest.approx(least, abs=1e-9), seed
