"""Integration: physics, pyFAI beside it, and what must be refused."""

import pickle
import warnings

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from batlab import scattering, schema
from batlab.errors import DimensionError
from batlab.io import Geometry

SHAPE = (180, 210)
CONFIG = '{"pixel1": 1e-4, "pixel2": 1e-4, "max_shape": [180, 210]}'
GEOMETRY = Geometry(
    0.05, 0.0082, 0.0111, 0.02, -0.03, 0.1, wavelength=0.7, detector_config=CONFIG, shape=SHAPE, orientation_stated=True
)
PLAIN = {"polarization": None, "solid_angle": False}


def stack(n_frames=3, dtype=np.uint32, seed=0):
    random = np.random.default_rng(seed)
    return random.poisson(5, (n_frames, *SHAPE)).astype(dtype)


def frames_of(data, mask=None, **attrs):
    pixels = schema.quantity(("frame", "y", "x"), data, "count", "counts")
    dataset = xr.Dataset({"intensity": pixels}, attrs=attrs)
    if mask is not None:
        dims = ("y", "x") if np.ndim(mask) == 2 else ("frame", "y", "x")
        dataset["mask"] = schema.quantity(dims, mask, "1", "excluded pixels")
    return dataset.assign_coords(frame=schema.quantity("frame", np.arange(len(data)), "1", "frame"))


def pyfai(image, geometry, n_bins, **keywords):
    settings = {
        "unit": "q_A^-1",
        "error_model": "poisson",
        "polarization_factor": 0.99,
        "correctSolidAngle": True,
        "method": ("no", "histogram", "cython"),
    }
    return geometry.pyfai(image.shape).integrate1d(image, n_bins, **(settings | keywords))


def assert_like_pyfai(ours, theirs, n_different=0):
    """Every bin with the same pixels agrees within 1e-6; at most `n_different` bins hold others."""
    n_pixels = ours.n_pixels.values[0]
    same = n_pixels == theirs.count
    assert (~same).sum() <= n_different
    full = same & (n_pixels > 0)
    axis = "q" if "q" in ours.dims else "two_theta"
    np.testing.assert_allclose(ours[axis].values, theirs.radial, rtol=1e-12)
    np.testing.assert_allclose(ours.intensity.values[0][full], theirs.intensity[full], rtol=1e-6)
    if "intensity_sigma" in ours:
        np.testing.assert_allclose(ours.intensity_sigma.values[0][full], theirs.sigma[full], rtol=1e-6)
    assert np.isnan(ours.intensity.values[0][n_pixels == 0]).all()


@pytest.mark.parametrize("orientation", [1, 2, 3, 4])
@pytest.mark.parametrize(("unit", "theirs"), [("q", "q_A^-1"), ("two_theta", "2th_deg")])
def test_it_equals_pyfai_for_every_orientation(orientation, unit, theirs):
    from dataclasses import replace

    geometry = replace(GEOMETRY, orientation=orientation)
    data = stack(1)
    result = schema.check(scattering.integrate(frames_of(data), geometry, n_bins=150, unit=unit))
    assert_like_pyfai(result, pyfai(data[0], geometry, 150, unit=theirs))


def test_it_equals_pyfai_with_mask_flat_monitor_and_sector():
    data = stack(1)
    mask = np.random.default_rng(1).random(SHAPE) < 0.1
    flat = np.random.default_rng(2).uniform(0.8, 1.2, SHAPE)
    result = scattering.integrate(
        frames_of(data), GEOMETRY, n_bins=150, mask=mask, flat=flat, monitor=250.0, azimuth_range=(-100, 45)
    )
    theirs = pyfai(data[0], GEOMETRY, 150, mask=mask, flat=flat, normalization_factor=250.0, azimuth_range=(-100, 45))
    assert_like_pyfai(result, theirs)


def test_a_sector_across_the_seam_is_the_rest_of_the_circle():
    frames = frames_of(stack(1))
    options = {"n_bins": 100, **PLAIN}
    whole = scattering.integrate(frames, GEOMETRY, **options)
    left = scattering.integrate(frames, GEOMETRY, azimuth_range=(90.0, 300.0), **options)
    right = scattering.integrate(frames, GEOMETRY, azimuth_range=(-60.0, 90.0 - 1e-9), **options)
    np.testing.assert_array_equal(left.n_pixels + right.n_pixels, whole.n_pixels)
    np.testing.assert_array_equal(left.signal + right.signal, whole.signal)


def test_a_range_counts_nothing_below_it():
    data = stack(1)
    result = scattering.integrate(frames_of(data), GEOMETRY, n_bins=100, q_range=(0.5, 2.0))
    theirs = pyfai(data[0], GEOMETRY, 100, radial_range=(0.5, 2.0))
    # pyFAI rounds towards zero: pixels up to one bin below the range fall into its first bin.
    assert_like_pyfai(result, theirs, n_different=1)
    q = GEOMETRY.pyfai().center_array(SHAPE, unit="q_A^-1")
    assert result.n_pixels.sum() == ((q >= 0.5) & (q <= 2.0)).sum()


def test_a_q_range_is_in_q_for_two_theta_too():
    frames = frames_of(stack(1))
    by_q = scattering.integrate(frames, GEOMETRY, n_bins=50, q_range=(0.5, 2.0))
    by_angle = scattering.integrate(frames, GEOMETRY, n_bins=50, q_range=(0.5, 2.0), unit="two_theta")
    assert by_q.n_pixels.sum() == by_angle.n_pixels.sum()


def test_a_flat_image_of_ones_gives_one():
    frames = frames_of(np.ones((2, *SHAPE), np.uint16))
    result = schema.check(scattering.integrate(frames, GEOMETRY, n_bins=80, **PLAIN))
    full = result.n_pixels.values > 0
    np.testing.assert_allclose(result.intensity.values[full], 1, rtol=1e-12)
    np.testing.assert_allclose(result.intensity_sigma.values[full], result.n_pixels.values[full] ** -0.5, rtol=1e-12)


def test_corrections_give_back_an_even_source():
    """Counts made proportional to solid angle, polarisation and flat come out even."""
    ai = GEOMETRY.pyfai()
    flat = np.random.default_rng(3).uniform(0.5, 2, SHAPE)
    weight = ai.solidAngleArray(SHAPE) * ai.polarization(SHAPE, factor=0.5) * flat
    result = scattering.integrate(
        frames_of((1000 * weight)[None]), GEOMETRY, n_bins=60, polarization=0.5, flat=flat, error_model=None
    )
    np.testing.assert_allclose(result.intensity.values[result.n_pixels.values > 0], 1000, rtol=1e-6)
    assert "intensity_sigma" not in result


@pytest.mark.parametrize("horizontal", [1.0, 0.0, -0.4])
def test_corrections_follow_the_textbook(horizontal):
    """A flat detector square to the beam: cos³ 2θ of solid angle, and the two fields' shares scatter as written below.

    x is horizontal: a field along x is not seen sideways at a right angle, and fully seen upwards.
    """
    square = Geometry(
        0.05, 0.0091, 0.0103, wavelength=0.7, detector_config=CONFIG, shape=SHAPE, orientation_stated=True
    )
    y, x = (np.indices(SHAPE) + 0.5) * 1e-4
    y, x = y - square.poni1, x - square.poni2
    length = np.sqrt(x**2 + y**2 + square.distance**2)
    share = (1 + horizontal) / 2
    field = share * (1 - (x / length) ** 2) + (1 - share) * (1 - (y / length) ** 2)
    counts = 1e4 * field * (square.distance / length) ** 3
    for sector in ((-30, 30), (60, 120)):
        result = scattering.integrate(
            frames_of(counts[None]), square, n_bins=25, polarization=horizontal, azimuth_range=sector
        )
        np.testing.assert_allclose(result.intensity.values[result.n_pixels.values > 0], 1e4, rtol=1e-6)


def test_sigma_is_the_scatter_of_repeated_exposures():
    data = np.random.default_rng(5).poisson(20, (400, *SHAPE)).astype(np.uint16)
    result = scattering.integrate(frames_of(data), GEOMETRY, n_bins=30)
    ratio = result.intensity.std("frame") / result.intensity_sigma.mean("frame")
    assert abs(float(ratio.mean()) - 1) < 0.02


def test_integer_counts_are_summed_exactly():
    data = stack(2, np.uint32) + np.uint32(4_000_000_000)
    result = scattering.integrate(frames_of(data), GEOMETRY, n_bins=7, **PLAIN)
    for frame in range(2):
        assert int(result.signal.values[frame].sum()) == int(data[frame].astype(object).sum())


def test_dark_is_subtracted_and_its_variance_added():
    data, dark = stack(2, np.uint16) + np.uint16(10), np.full(SHAPE, 10.0)
    plain = scattering.integrate(frames_of(stack(2, np.uint16)), GEOMETRY, n_bins=40)
    result = scattering.integrate(frames_of(data), GEOMETRY, n_bins=40, dark=dark)
    np.testing.assert_allclose(result.intensity, plain.intensity, rtol=1e-12)
    np.testing.assert_allclose(
        result.variance, result.signal + 20.0 * result.n_pixels, rtol=1e-12
    )  # counts and dark: signal + 10 n, and 10 n


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i2", "i4", "f4", "f8", ">u2", "i8"])
def test_overflow_and_masks_leave_pixels_out_frame_by_frame(dtype, lazy):
    data = stack(4, dtype)
    mask = np.random.default_rng(4).random((4, *SHAPE)) < 0.05
    data[2, 50:60, 50:60] = 120
    used = ~mask & (data != 120)
    expected = np.where(used, data, 0).sum(axis=(1, 2), dtype=float)
    given = frames_of(da.from_array(data, chunks=(1, -1, -1)) if lazy else data, mask, overflow=[120])
    result = schema.check(scattering.integrate(given, GEOMETRY, n_bins=33, **PLAIN))
    np.testing.assert_array_equal(result.signal.sum("q"), expected)
    np.testing.assert_array_equal(result.n_pixels.sum("q"), used.sum(axis=(1, 2)))
    np.testing.assert_allclose(result.normalization, result.n_pixels, rtol=1e-9)
    assert "overflow" not in result.attrs


def test_nan_pixels_and_a_lost_frame():
    data = stack(3, np.float32)
    data[0, 10:20] = np.nan
    data[1] = np.nan
    with pytest.warns(UserWarning, match=r"1 of 3 frames have lost more than 40 %.*frame 1; up to 100 %"):
        result = schema.check(scattering.integrate(frames_of(data), GEOMETRY, n_bins=20))
    assert np.isnan(result.intensity.values[1]).all()
    assert np.isfinite(result.intensity.values[[0, 2]]).all()
    assert not result.n_pixels.values[1].any()


def test_scale_and_permutation():
    data = stack(4, np.uint16)
    result = scattering.integrate(frames_of(data), GEOMETRY, n_bins=50)
    tenfold = scattering.integrate(frames_of(data * 10), GEOMETRY, n_bins=50)
    np.testing.assert_allclose(tenfold.intensity, 10 * result.intensity, rtol=1e-12)
    backwards = scattering.integrate(frames_of(data[::-1]), GEOMETRY, n_bins=50)
    np.testing.assert_array_equal(backwards.intensity.values[::-1], result.intensity.values)


@pytest.mark.parametrize("chunk", [1, 3, 7])
def test_lazy_and_loaded_frames_give_the_same_bits_for_any_threads(chunk, monkeypatch):
    data = stack(7)
    light = np.linspace(1, 2, 7)
    results = []
    for n_threads in ("1", "2", "4"):
        monkeypatch.setenv("OMP_NUM_THREADS", n_threads)
        for given in (data, da.from_array(data, chunks=(chunk, 90, -1))):
            results.append(scattering.integrate(frames_of(given), GEOMETRY, n_bins=64, monitor=light))
    for result in results:
        for name in ("intensity", "intensity_sigma", "signal", "variance", "normalization", "n_pixels"):
            assert result[name].values.tobytes() == results[0][name].values.tobytes()


def test_each_frame_is_read_once():
    reads = []

    def read(block_info=None):
        first = block_info[None]["array-location"][0][0]
        reads.append(first)
        return np.full((1, *SHAPE), first, np.uint16)

    lazy = da.map_blocks(read, chunks=((1,) * 6, SHAPE[:1], SHAPE[1:]), dtype=np.uint16, meta=np.empty((0, 0, 0), "u2"))
    result = scattering.integrate(frames_of(lazy), GEOMETRY, n_bins=10, **PLAIN)
    assert sorted(reads) == [0, 1, 2, 3, 4, 5]
    np.testing.assert_allclose(result.intensity.mean("q"), range(6))


def test_memory_does_not_grow_with_the_number_of_frames():
    import tracemalloc

    def peak(n_frames):
        lazy = da.random.default_rng(0).poisson(3, (n_frames, *SHAPE), chunks=(1, -1, -1))
        plan(frames_of(lazy[:1]))
        tracemalloc.start()
        plan(frames_of(lazy))
        high = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return high

    plan = scattering.Integrator(GEOMETRY, n_bins=20)
    one_frame = 8 * SHAPE[0] * SHAPE[1]
    # 180 more frames would be 180 times one_frame; patterns and dask's bookkeeping take far less.
    assert peak(200) - peak(20) < 20 * one_frame


def test_an_interrupt_leaves_at_once_and_nothing_broken():
    import os
    import signal
    import time

    reads, alarmed = [], []

    def read(block_info=None):
        first = block_info[None]["array-location"][0][0]
        reads.append(first)
        if len(reads) == 5 and not alarmed:
            alarmed.append(first)
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        return np.full((1, *SHAPE), first, np.uint16)

    chunks = ((1,) * 300, SHAPE[:1], SHAPE[1:])
    lazy = da.map_blocks(read, chunks=chunks, dtype=np.uint16, meta=np.empty((0, 0, 0), "u2"))
    plan = scattering.Integrator(GEOMETRY, n_bins=10)
    with pytest.raises(KeyboardInterrupt):
        plan(frames_of(lazy))
    assert len(reads) < 100
    again = plan(frames_of(lazy[:6]))
    xr.testing.assert_equal(again, scattering.integrate(frames_of(lazy[:6].compute()), GEOMETRY, n_bins=10))


def test_flipping_the_frames_is_another_orientation():
    from dataclasses import replace

    frames = frames_of(stack(2))
    flipped = scattering.integrate(frames.isel(y=slice(None, None, -1)), GEOMETRY, n_bins=77)
    turned = scattering.integrate(frames, replace(GEOMETRY, orientation=2), n_bins=77)
    xr.testing.assert_equal(flipped, turned)
    mirrored = scattering.integrate(frames.isel(x=slice(None, None, -1)), GEOMETRY, n_bins=77)
    xr.testing.assert_equal(mirrored, scattering.integrate(frames, replace(GEOMETRY, orientation=4), n_bins=77))


def test_what_belongs_to_a_frame_is_kept():
    frames = frames_of(stack(2), sample="cell 7", wavelength=0.7, overflow=[2**32 - 1], pixel_size_x=1e-4)
    times = np.array(["2026-01-01T00:00", "2026-01-01T00:01"], "datetime64[ns]")
    frames = frames.assign_coords(
        time=schema.quantity("frame", times, "", "start"),
        exposure=schema.quantity("frame", [1.0, 1.0], "s", "exposure"),
    )
    frames["monitor"] = schema.quantity("frame", [100.0, 200.0], "1", "beam monitor")
    result = schema.check(scattering.integrate(frames, GEOMETRY, n_bins=20, monitor="monitor"))
    assert {"frame", "time", "exposure", "q"} == set(result.coords)
    np.testing.assert_array_equal(result.monitor, [100, 200])
    assert result.attrs["sample"] == "cell 7"
    assert result.attrs["split"] == "no"
    assert result.intensity.units == "1"
    assert "pixel_size_x" not in result.attrs
    assert f"sha256 {result.attrs['geometry_sha256']}" in result.attrs["history"]
    assert "n_bins=20" in result.attrs["history"]
    plain = scattering.integrate(frames, GEOMETRY, n_bins=20)
    np.testing.assert_allclose(result.intensity.values * [[100], [200]], plain.intensity, rtol=1e-12)


def test_the_plan_is_built_once_and_pickled(monkeypatch):
    from batlab.scattering import integrator as module

    calls = []
    original = module.pixel_arrays
    monkeypatch.setattr(module, "pixel_arrays", lambda *a, **k: calls.append(1) or original(*a, **k))
    plan = scattering.Integrator(GEOMETRY, n_bins=40)
    first, second = plan(frames_of(stack(2))), plan(frames_of(stack(2)))
    xr.testing.assert_equal(first, second)
    sent = pickle.loads(pickle.dumps(plan))
    xr.testing.assert_equal(first, sent(frames_of(stack(2))))
    assert sent.digest == plan.digest != scattering.Integrator(GEOMETRY, n_bins=41).digest
    assert len(calls) == 2  # what is pickled is no plan
    plan(frames_of(stack(2), mask=np.eye(*SHAPE, dtype=bool)))
    assert len(calls) == 3
    assert len(pickle.dumps(plan)) < 2000


def test_inputs_are_left_unchanged():
    frames = frames_of(stack(2), mask=np.eye(*SHAPE, dtype=bool), overflow=[9])
    before = frames.copy(deep=True)
    dark = np.ones(SHAPE)
    scattering.integrate(frames, GEOMETRY, n_bins=40, dark=dark, mask=np.zeros(SHAPE, bool))
    xr.testing.assert_identical(frames, before)
    assert (dark == 1).all()


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("name", ["mask", "dark", "flat", "variance"])
def test_images_with_other_order_of_dimensions_are_put_into_ours(name, lazy):
    data, random = stack()[:, :180, :180], np.random.default_rng(1)
    config = CONFIG.replace("210", "180")
    geometry = Geometry(0.05, 0.0082, 0.0111, wavelength=0.7, detector_config=config, shape=(180, 180),
                        orientation_stated=True)  # fmt: skip
    image = random.random((3, 180, 180)) < 0.3 if name == "mask" else random.uniform(0.5, 2, (3, 180, 180))
    for values, dims in ((image, ("frame", "y", "x")), (image[0], ("y", "x"))):
        if len(dims) == 3 and name in ("dark", "flat"):
            continue
        labelled = xr.DataArray(da.from_array(values) if lazy else values, dims=dims)
        turned = labelled.transpose(*dims[::-1])
        one, other, plain = (
            scattering.integrate(frames_of(data), geometry, n_bins=30, **{name: this})
            for this in (labelled, turned, values)
        )
        for key in ("intensity", "variance", "n_pixels"):
            np.testing.assert_array_equal(one[key], plain[key])
            np.testing.assert_array_equal(other[key], plain[key])


def test_an_overflow_value_beyond_the_type_marks_nothing():
    data = stack(dtype=np.float32)
    marked = scattering.integrate(frames_of(data, overflow=1e300), GEOMETRY, n_bins=10)
    np.testing.assert_array_equal(marked.signal, scattering.integrate(frames_of(data), GEOMETRY, n_bins=10).signal)


def test_a_single_image_and_a_dataarray_count_as_one_frame():
    image = xr.DataArray(stack(1)[0], dims=("y", "x"))
    result = schema.check(scattering.integrate(image, GEOMETRY, n_bins=30))
    assert result.intensity.shape == (1, 30)


def test_no_frames_give_no_patterns():
    assert schema.check(scattering.integrate(frames_of(stack(0)), GEOMETRY, n_bins=30)).intensity.shape == (0, 30)


def test_the_frames_wavelength_is_used_where_the_geometry_has_none():
    from dataclasses import replace

    bare = replace(GEOMETRY, wavelength=None)
    result = scattering.integrate(frames_of(stack(1), wavelength=0.7), bare, n_bins=30)
    assert result.attrs["wavelength"] == 0.7
    xr.testing.assert_equal(result, scattering.integrate(frames_of(stack(1)), GEOMETRY, n_bins=30))
    with pytest.raises(ValueError, match="neither geometry nor frames state"):
        scattering.integrate(frames_of(stack(1)), bare, n_bins=30)
    assert "wavelength" not in scattering.integrate(frames_of(stack(1)), bare, n_bins=30, unit="two_theta").attrs


def test_a_pyfai_object_is_a_geometry():
    result = scattering.integrate(frames_of(stack(1)), GEOMETRY.pyfai(), n_bins=30)
    xr.testing.assert_allclose(result, scattering.integrate(frames_of(stack(1)), GEOMETRY, n_bins=30))


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"split": "boxes"}, "split must be 'no', 'bbox' or 'full', got 'boxes'"),
        ({"split": "bbx"}, "did you mean 'bbox'"),
        ({"unit": "twotheta"}, "did you mean 'two_theta'"),
        ({"error_model": "possion"}, "did you mean 'poisson'"),
        ({"n_bins": 0}, "n_bins must be a whole number from 1 to 16777216"),
        ({"n_bins": 10.5}, "whole number"),
        ({"n_azimuth": 0}, "n_azimuth must be a whole number from 1"),
        ({"n_azimuth": 4000, "n_bins": 5000}, "n_bins x n_azimuth must be at most 16777216, got 5000 x 4000"),
        ({"variance": np.ones(SHAPE), "error_model": None}, "variance is given: leave error_model at its default"),
        ({"variance": np.ones((3, 3))}, "variance must be"),
        ({"q_range": (1, 2), "unit": "r"}, "q_range is no range of radii"),
        ({"error_model": "azimutal"}, "did you mean 'azimuthal'"),
        ({"polarization": 1.5}, "-1 to 1"),
        ({"q_range": (2, 1)}, "low < high"),
        ({"q_range": 3}, r"\(low, high\)"),
        ({"q_range": (100, 200)}, "no pixel is left"),
        ({"q_range": (1, 50), "unit": "two_theta"}, "beyond"),
        ({"azimuth_range": (0, 400)}, "at most 360"),
        ({"monitor": "ring_current"}, "no variable of the frames"),
        ({"monitor": [1.0, 2.0, 3.0]}, "monitor must be one number or 2"),
        ({"mask": np.zeros((3, 3))}, "mask must be"),
        ({"dark": np.zeros((3, 3))}, "dark must have the frames' shape"),
        ({"mask": np.ones(SHAPE)}, "no pixel is left"),
    ],
)
def test_what_cannot_be_done_is_refused(keywords, message):
    with pytest.raises(ValueError, match=message):
        scattering.integrate(frames_of(stack(2)), GEOMETRY, **({"n_bins": 20} | keywords))


def test_unknown_keywords_are_refused_and_known_ones_are_shown():
    import inspect

    with pytest.raises(
        TypeError, match=r"scattering\.integrate does not know the keyword 'splitt'; did you mean 'split'"
    ):
        scattering.integrate(frames_of(stack(1)), GEOMETRY, n_bins=20, splitt="bbox")
    with pytest.raises(
        TypeError, match=r"scattering\.Integrator does not know the keyword 'nbins'; did you mean 'n_bins"
    ):
        scattering.Integrator(GEOMETRY, nbins=20)
    with pytest.raises(TypeError, match="needs n_bins"):
        scattering.Integrator(GEOMETRY)
    shown = inspect.signature(scattering.integrate).parameters
    assert list(inspect.signature(scattering.Integrator).parameters) == [
        name for name in shown if name not in ("frames", "store", "on_error")
    ]
    assert shown["polarization"].default == 0.99
    assert shown["n_bins"].default is inspect.Parameter.empty


def test_frames_of_another_shape_are_refused_with_both_shapes():
    wrong = frames_of(np.zeros((1, 210, 180), np.uint16))
    with pytest.raises(DimensionError, match=r"210 x 180 pixels .* has 180 x 210; the frames look transposed"):
        scattering.integrate(wrong, GEOMETRY, n_bins=20)
    with pytest.raises(DimensionError, match="transpose or rename"):
        scattering.integrate(wrong.transpose("frame", "x", "y"), GEOMETRY, n_bins=20)
    with pytest.raises(TypeError, match=r"open it with io\.open"):
        scattering.integrate("scan.h5", GEOMETRY, n_bins=20)
    with pytest.raises(TypeError, match="real numbers"):
        scattering.integrate(frames_of(np.zeros((1, *SHAPE), complex)), GEOMETRY, n_bins=20)
    with pytest.raises(TypeError, match=r"path of a \.poni"):
        scattering.integrate(wrong, 5, n_bins=20)


def test_doubtful_results_warn_with_numbers():
    mask = np.zeros(SHAPE, bool)
    mask[:90] = True
    with pytest.warns(UserWarning, match=r"50 % of the pixels in the range are masked \(18900 of 37800\)"):
        scattering.integrate(frames_of(stack(1)), GEOMETRY, n_bins=20, mask=mask)
    with pytest.warns(UserWarning, match=r"monitor is not positive in 1 of 2 frames \(1\)"):
        result = scattering.integrate(frames_of(stack(2)), GEOMETRY, n_bins=20, monitor=[3.0, 0.0])
    assert np.isnan(result.intensity.values[1]).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scattering.integrate(frames_of(stack(2)), GEOMETRY, n_bins=20)


def test_a_simulated_eiger_4m_equals_pyfai_in_every_bin():
    config = '{"orientation": 3}'
    geometry = Geometry(0.2, 0.082, 0.075, 0.01, -0.02, 0.0, 0.45, "Eiger4M", config, 7.5e-5, 7.5e-5, (2167, 2070))
    ai = geometry.pyfai()
    q = ai.center_array((2167, 2070), unit="q_A^-1")
    rings = 2 + 30 * np.exp(-(((q * 4) % 1 - 0.5) ** 2) / 0.005)
    image = np.random.default_rng(8).poisson(rings).astype(np.uint32)
    gaps = ai.detector.mask.astype(bool)
    image[gaps] = 2**32 - 1
    image[1000, 300:310] = 2**32 - 1
    mask = gaps | (image == 2**32 - 1)
    result = schema.check(scattering.integrate(frames_of(image[None], overflow=[2**32 - 1]), geometry, n_bins=2000))
    assert_like_pyfai(result, pyfai(image, geometry, 2000, mask=mask))
