"""Clipping through `integrate`: what is left out is told; covariances of bins that share pixels."""

import pickle

import numpy as np
import pytest
import xarray as xr

from batlab import io, scattering
from batlab.errors import DimensionError
from batlab.io import Geometry
from batlab.scattering import Integrator, Quantile, SigmaClip, clipped_mask, clipped_pixels, covariance, integrate
from batlab.schema import check

SHAPE = (120, 110)
GEOMETRY = Geometry(
    0.1, 0.004, 0.0035, 0.05, -0.08, 0.0, 1.0, "Detector",
    '{"pixel1": 1e-4, "pixel2": 1e-4, "max_shape": [120, 110]}', 1e-4, 1e-4, SHAPE,
)  # fmt: skip
SPOTS = [(0, 20, 30), (0, 80, 77), (2, 20, 30), (2, 111, 5), (2, 111, 6)]


def series(n_frames=3, level=40.0):
    """Return clean Poisson frames and the same ones with spots."""
    clean = np.random.default_rng(0).poisson(level, (n_frames, *SHAPE)).astype(np.uint32)
    spotted = clean.copy()
    for where in SPOTS:
        spotted[where] = 5000
    times = np.datetime64("2026-01-01") + np.arange(n_frames) * np.timedelta64(1, "s")
    made = [
        xr.Dataset(
            {"intensity": (("frame", "y", "x"), pixels, {"units": "count", "long_name": "counts"})},
            {
                "frame": ("frame", np.arange(10, 10 + n_frames), {"units": "1", "long_name": "frame"}),
                "time": ("frame", times.astype("datetime64[ns]"), {"long_name": "start"}),
            },
            {"overflow": [2**32 - 1]},
        )
        for pixels in (clean, spotted)
    ]
    return made[0], made[1]


@pytest.mark.parametrize("split", ["no", "bbox", "full"])
@pytest.mark.parametrize("n_azimuth", [None, 4])
@pytest.mark.parametrize("error_model", ["poisson", "azimuthal", "hybrid", None])
def test_patterns_without_spots(split, n_azimuth, error_model):
    clean, spotted = series()
    wish = {"n_bins": 20, "split": split, "n_azimuth": n_azimuth, "error_model": error_model}
    without = check(integrate(clean, GEOMETRY, **wish))
    found = check(integrate(spotted, GEOMETRY, clip=SigmaClip(5.0), **wish))
    plain = integrate(spotted, GEOMETRY, **wish)
    assert found["intensity"].sizes == plain["intensity"].sizes
    assert found["n_clipped"].dims == found["intensity"].dims
    filled = (without["n_pixels"] > 50).values
    apart = np.abs(found["intensity"] / without["intensity"] - 1).values[filled]
    assert apart.max() < 0.05
    assert np.abs(plain["intensity"] / without["intensity"] - 1).values[filled].max() > 0.1
    np.testing.assert_allclose(found["n_pixels"] + found["n_clipped"], without["n_pixels"], rtol=1e-6, atol=1e-6)
    assert found.attrs["clip"] == "SigmaClip(threshold=5.0, max_iterations=5)"
    assert "clip=SigmaClip(threshold=5.0, max_iterations=5)" in found.attrs["history"]


@pytest.mark.parametrize("split", ["no", "bbox", "full"])
def test_without_outliers_clipping_changes_nothing(split):
    clean, _ = series()
    for error_model in ("poisson", "azimuthal"):
        wish = {"n_bins": 25, "split": split, "error_model": error_model}
        plain, found = (integrate(clean, GEOMETRY, clip=clip, **wish) for clip in (None, SigmaClip(30.0)))
        for name in ("intensity", "intensity_sigma", "signal", "variance", "normalization", "n_pixels"):
            np.testing.assert_allclose(found[name], plain[name], rtol=1e-9)
        assert not found["n_clipped"].any()


@pytest.mark.parametrize("split", ["no", "bbox", "full"])
def test_the_scatter_in_a_cake_is_pyfais(split):
    clean = series()[0].isel(frame=[0])
    wish = {"error_model": "azimuthal", "polarization": None, "solid_angle": False}
    ours = integrate(clean, GEOMETRY, n_bins=20, n_azimuth=8, split=split, **wish).isel(frame=0)
    theirs = GEOMETRY.pyfai(SHAPE).integrate2d(
        clean["intensity"].values[0], 20, 8, unit="q_A^-1", error_model="azimuthal", correctSolidAngle=False,
        method=(split, "csr", "cython"),
    )  # fmt: skip
    filled = (ours["n_pixels"] > 5).values
    np.testing.assert_allclose(ours["intensity"].values[filled], theirs.intensity[filled], rtol=1e-6)
    # Split pixels weigh differently, and pyFAI's running sum then depends on their order.
    rtol = 1e-6 if split == "no" else 0.06
    np.testing.assert_allclose(ours["intensity_sigma"].values[filled], theirs.sem[filled], rtol=rtol)


def test_all_quantiles_are_the_mean():
    clean, _ = series()
    plain, found = (integrate(clean, GEOMETRY, n_bins=25, clip=clip) for clip in (None, Quantile(0.0, 1.0)))
    np.testing.assert_allclose(found["intensity"], plain["intensity"], rtol=1e-12)


@pytest.mark.parametrize("split", ["no", "bbox", "full"])
@pytest.mark.parametrize("n_azimuth", [None, 3])
def test_spots_are_listed(split, n_azimuth):
    _, spotted = series()
    integrator = Integrator(GEOMETRY, n_bins=20, split=split, n_azimuth=n_azimuth, clip=SigmaClip(6.0))
    listed = check(clipped_pixels(spotted, integrator))
    found = list(zip(listed["frame"].values - 10, listed["y"].values, listed["x"].values, strict=True))
    assert sorted(set(found) & set(SPOTS)) == SPOTS
    assert len(found) <= len(SPOTS) + 3
    assert (listed["intensity"].values[[found.index(spot) for spot in SPOTS]] == 5000).all()
    q = GEOMETRY.pyfai(SHAPE).center_array(SHAPE, unit="q_A^-1")
    step = float(np.diff(integrator(spotted)["q"])[0])
    assert (np.abs(listed["q"] - q[listed["y"], listed["x"]]) <= 0.6 * step).all()
    assert ("azimuth" in listed) == bool(n_azimuth)
    if n_azimuth:
        chi = GEOMETRY.pyfai(SHAPE).center_array(SHAPE, unit="chi_deg")[listed["y"], listed["x"]]
        rows = np.diff(integrator(spotted)["azimuth"])[0]
        assert (np.abs((listed["azimuth"] - chi + 180) % 360 - 180) <= 0.6 * rows).all()


def test_masks_are_lazy_and_serve_as_masks():
    _, spotted = series()
    integrator = Integrator(GEOMETRY, n_bins=20, clip=SigmaClip(6.0))
    for frames in (spotted, spotted.chunk(frame=2, y=50)):
        mask = check(clipped_mask(frames, integrator))
        assert hasattr(mask.data, "dask")
        computed = mask.values
        assert all(computed[spot] for spot in SPOTS)
        assert computed.sum() == len(clipped_pixels(frames, integrator)["pixel"])
    masked = integrate(spotted, GEOMETRY, n_bins=20, mask=mask)
    clipped = integrator(spotted)
    np.testing.assert_allclose(masked["intensity"], clipped["intensity"], rtol=1e-9)
    np.testing.assert_array_equal(clipped["n_clipped"].sum("q"), mask.sum(("y", "x")))


def test_masked_and_lost_pixels_are_not_listed():
    _, spotted = series()
    spotted["intensity"].values[SPOTS[1]] = 2**32 - 1
    hidden = np.zeros((3, *SHAPE), bool)
    hidden[SPOTS[2]] = True
    dark = xr.DataArray(np.ones(SHAPE), dims=("y", "x"))
    integrator = Integrator(GEOMETRY, n_bins=20, clip=SigmaClip(6.0), mask=hidden, dark=dark)
    listed = clipped_pixels(spotted.chunk(frame=1), integrator)
    found = list(zip(listed["frame"].values - 10, listed["y"].values, listed["x"].values, strict=True))
    assert set(found) & set(SPOTS) == {SPOTS[0], SPOTS[3], SPOTS[4]}
    assert clipped_mask(spotted, integrator).values.sum() == len(found)


def test_given_variances_clip():
    _, spotted = series()
    for variance in (np.full(SHAPE, 40.0), np.full((3, *SHAPE), 40.0), np.full((3, *SHAPE), 1e12)):
        integrator = Integrator(GEOMETRY, n_bins=20, clip=SigmaClip(6.0), variance=variance)
        many = len(clipped_pixels(spotted, integrator)["pixel"])
        assert many == clipped_mask(spotted, integrator).values.sum()
        assert many == 0 if variance.max() > 1e6 else many >= len(SPOTS)


def test_nothing_clipped_is_an_empty_list():
    clean, _ = series()
    listed = check(clipped_pixels(clean, Integrator(GEOMETRY, n_bins=20, clip=SigmaClip(30.0))))
    assert listed.sizes["pixel"] == 0
    assert listed["intensity"].dtype == np.uint32


def test_what_does_not_clip_is_refused():
    clean, _ = series()
    for function in (clipped_pixels, clipped_mask):
        with pytest.raises(ValueError, match=f"{function.__name__} needs an Integrator that clips"):
            function(clean, Integrator(GEOMETRY, n_bins=20))
    with pytest.raises(ValueError, match="leaves out 80 % of all pixels by design; see clipped_mask"):
        clipped_pixels(clean, Integrator(GEOMETRY, n_bins=20, clip=Quantile(0.4, 0.6)))
    assert clipped_mask(clean, Integrator(GEOMETRY, n_bins=20, clip=Quantile())).values.mean() > 0.7
    with pytest.raises(DimensionError):
        clipped_pixels(clean.isel(y=slice(0, 50)), Integrator(GEOMETRY, n_bins=20, clip=SigmaClip()))
    with pytest.raises(TypeError, match=r"clip must be scattering.SigmaClip\(threshold=5.0\)"):
        Integrator(GEOMETRY, n_bins=20, clip="sigma")
    with pytest.raises(ValueError, match="needs a range of quantiles"):
        integrate(clean, GEOMETRY, n_bins=20, clip=Quantile(0.5, 0.5), error_model="azimuthal")


def test_texture_clipped_as_spots_is_a_warning():
    frames = np.zeros((2, *SHAPE), np.uint16)
    frames[1, ::2] = 1000
    given = xr.DataArray(frames, dims=("frame", "y", "x"))
    with pytest.warns(UserWarning, match="use error_model='azimuthal' or 'hybrid', or clip farther out"):
        integrate(given, GEOMETRY, n_bins=20, clip=SigmaClip(5.0))
    integrate(given, GEOMETRY, n_bins=20, clip=SigmaClip(5.0), error_model="azimuthal")


def test_an_integrator_that_clips_travels():
    _, spotted = series()
    integrator = Integrator(GEOMETRY, n_bins=20, clip=SigmaClip(6.0), error_model="azimuthal", split="bbox")
    again = pickle.loads(pickle.dumps(integrator))
    assert again.digest == integrator.digest
    other = Integrator(GEOMETRY, n_bins=20, clip=SigmaClip(7.0), error_model="azimuthal", split="bbox")
    assert other.digest != integrator.digest
    one, two = integrator(spotted), again(spotted.chunk(frame=1))
    for name in one.data_vars:
        assert one[name].values.tobytes() == two[name].values.tobytes()


def test_a_store_keeps_what_was_clipped(tmp_path):
    _, spotted = series()
    wish = {"n_bins": 20, "clip": SigmaClip(6.0)}
    kept = integrate(spotted, GEOMETRY, store=tmp_path / "patterns.zarr", **wish)
    np.testing.assert_array_equal(kept["n_clipped"], integrate(spotted, GEOMETRY, **wish)["n_clipped"])


@pytest.mark.parametrize("error_model", ["azimuthal", "poisson"])
@pytest.mark.parametrize("clip", [SigmaClip(4.0), Quantile(0.2, 0.8), None])
def test_compressed_frames_are_clipped_alike(run, stacks, clip, error_model):
    in_files = io.open(run / "run_master.h5")
    wish = {"n_bins": 40, "clip": clip, "error_model": error_model}
    stacks.assert_same_bits(
        integrate(in_files, stacks.GEOMETRY, **wish), integrate(in_files.compute(), stacks.GEOMETRY, **wish)
    )


def test_an_unread_frame_has_no_outliers(run, stacks):
    stacks.damage(run / "run_data_000001.h5", 3)
    plan = Integrator(stacks.GEOMETRY, n_bins=40, clip=SigmaClip(4.0), error_model="azimuthal")
    with pytest.warns(UserWarning, match="1 frame could not be read"):
        patterns = plan(io.open(run / "run_master.h5"), on_error="nan")
    assert patterns["n_clipped"].dtype == patterns["n_pixels"].dtype == np.int32
    assert not patterns["n_clipped"][3].any()
    assert patterns["intensity"][3].isnull().all()


# Covariance


@pytest.mark.parametrize("split", ["no", "bbox", "full"])
@pytest.mark.parametrize("error_model", ["poisson", "azimuthal", "hybrid"])
@pytest.mark.parametrize("n_azimuth", [None, 3])
def test_the_diagonal_of_the_covariance_is_sigma(split, error_model, n_azimuth):
    clean = series()[0].isel(frame=[0]).copy(deep=True)
    clean["intensity"].values[0, :3] = 2**32 - 1
    hidden = np.zeros((1, *SHAPE), bool)
    hidden[0, 70:75] = True
    integrator = Integrator(GEOMETRY, n_bins=60, split=split, error_model=error_model, n_azimuth=n_azimuth,
                            mask=hidden, monitor=3.0, dark=np.full(SHAPE, 2.0))  # fmt: skip
    matrix, pattern = covariance(clean, integrator), integrator(clean)
    square = pattern["intensity_sigma"].values.ravel() ** 2
    known = np.isfinite(square)
    np.testing.assert_allclose(matrix.diagonal()[known], square[known], rtol=1e-9)
    assert (matrix - matrix.T).nnz == 0 or abs(matrix - matrix.T).max() < 1e-15
    if split == "no":
        assert matrix.nnz <= matrix.shape[0]


@pytest.mark.parametrize("split", ["bbox", "full"])
def test_the_covariance_is_that_of_many_images(split):
    level, n_frames = 400, 2000
    frames = np.random.default_rng(1).poisson(level, (n_frames, *SHAPE)).astype(np.uint16)
    integrator = Integrator(GEOMETRY, n_bins=80, split=split, polarization=None, solid_angle=False)
    patterns = integrator(xr.DataArray(frames, dims=("frame", "y", "x")))
    seen = np.cov(patterns["intensity"].values.T)
    told = covariance(xr.DataArray(np.full(SHAPE, level, np.uint16), dims=("y", "x")), integrator).toarray()
    sigma = np.sqrt(np.diag(told))
    # A correlation of n draws is known to 1 / √n.
    np.testing.assert_allclose(seen / np.outer(sigma, sigma), told / np.outer(sigma, sigma), atol=5 / np.sqrt(n_frames))
    # What the rows add up to is what `sigma_inflation` says, away from the edges.
    rows = told.sum(axis=1) / np.diag(told)
    np.testing.assert_allclose(np.sqrt(rows)[5:-5], patterns["sigma_inflation"][5:-5], rtol=0.03)


def test_no_covariance_without_a_meaning():
    clean, _ = series()
    with pytest.raises(ValueError, match="covariance is that of one frame, got 3"):
        covariance(clean, Integrator(GEOMETRY, n_bins=20))
    for wish in ({"error_model": None}, {"clip": SigmaClip()}):
        with pytest.raises(ValueError, match="covariance needs an error model and no clip"):
            covariance(clean.isel(frame=[0]), Integrator(GEOMETRY, n_bins=20, **wish))


def test_they_are_public():
    for name in ("SigmaClip", "Quantile", "clipped_pixels", "clipped_mask", "covariance"):
        assert name in scattering.__all__
