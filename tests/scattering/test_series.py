"""Series: the same bits whatever way the frames take, and frames that cannot be read."""

import warnings

import dask.array as da
import numpy as np
import pytest
import xarray as xr

import batlab as bl
from batlab import scattering, schema
from batlab.errors import ReadError
from batlab.scattering.rings import SigmaClip


def integrate(frames, stacks, **keywords):
    return scattering.integrate(frames, stacks.GEOMETRY, n_bins=40, **keywords)


def as_frames(data):
    return xr.Dataset({"intensity": schema.quantity(("frame", "y", "x"), data, "count", "counts")})


@pytest.mark.parametrize("n_frames", [1, 2, 9, 33, 150])
def test_memory_dask_and_files_give_the_same_bits(stacks, tmp_path, n_frames):
    data = stacks.counts(n_frames)
    held = schema.check(integrate(as_frames(data), stacks))
    path = stacks.write_series(tmp_path, data, per_file=40)
    for lazy in (
        as_frames(da.from_array(data, chunks=(1, -1, -1))),
        as_frames(da.from_array(data, chunks=(7, 30, -1))),
        as_frames(da.from_array(data, chunks=(100, -1, -1))),
        bl.open(path),
        bl.open(path, chunks=3),
    ):
        other = integrate(lazy, stacks)
        stacks.assert_same_bits(held.drop_vars("frame"), other.drop_vars("frame"))


@pytest.mark.parametrize("n_threads", ["1", "2", "4"])
def test_threads_do_not_change_bits(stacks, monkeypatch, n_threads):
    data = np.random.default_rng(0).normal(5, 2, (50, *stacks.SHAPE)).astype(np.float32)
    once = [integrate(as_frames(data[i : i + 1]), stacks) for i in range(50)]
    monkeypatch.setattr("batlab.threads.effective", lambda n=None: int(n_threads))
    for frames in (data, da.from_array(data, chunks=(4, -1, -1))):
        whole = integrate(as_frames(frames), stacks)
        for i in (0, 7, 8, 31, 32, 49):
            np.testing.assert_array_equal(whole.intensity[i], once[i].intensity[0])
            np.testing.assert_array_equal(whole.variance[i], once[i].variance[0])


def test_masks_and_monitor_of_each_frame_go_with_their_frames(stacks):
    data, random = stacks.counts(70), np.random.default_rng(1)
    mask, monitor = random.random(data.shape) < 0.2, random.uniform(1, 2, 70)
    held = integrate(as_frames(data), stacks, mask=mask, monitor=monitor)
    lazy_mask = xr.DataArray(da.from_array(mask, chunks=(11, -1, -1)), dims=("frame", "y", "x"))
    lazy = as_frames(da.from_array(data, chunks=(3, -1, -1)))
    stacks.assert_same_bits(held, integrate(lazy, stacks, mask=lazy_mask, monitor=monitor))
    alone = integrate(as_frames(data[60:61]), stacks, mask=mask[60], monitor=monitor[60])
    np.testing.assert_array_equal(held.intensity[60], alone.intensity[0])


@pytest.mark.parametrize(
    "settings",
    [
        {"n_azimuth": 12},
        {"split": "bbox"},
        {"split": "full", "n_azimuth": 4, "monitor": np.arange(1.0, 71)},
        {"error_model": "azimuthal"},
        {"clip": SigmaClip(4.0)},
        {"error_model": None},
        {"dark": np.full((64, 80), 0.5)},
        {"variance": np.full((64, 80), 2.5)},
        {"variance": np.random.default_rng(3).uniform(1, 9, (70, 64, 80))},
    ],
    ids=lambda settings: " ".join(settings),
)
@pytest.mark.filterwarnings("ignore:.*SigmaClip.* has left out")
def test_every_way_of_reducing_goes_through_store_and_tasks(stacks, tmp_path, settings):
    data = stacks.counts(70)
    held = schema.check(integrate(as_frames(data), stacks, **settings))
    path = stacks.write_series(tmp_path, data, per_file=40)
    for frames in (bl.open(path), as_frames(da.from_array(data, chunks=(3, -1, -1)))):
        stored = integrate(frames, stacks, store=tmp_path / f"{len(list(tmp_path.iterdir()))}.zarr", **settings)
        stacks.assert_same_bits(held.drop_vars("frame"), schema.check(stored).drop_vars("frame"))
    one = {name: value[45:46] if np.ndim(value) in (1, 3) else value for name, value in settings.items()}
    alone = integrate(as_frames(data[45:46]), stacks, **one)
    for name in ("intensity", "signal", "normalization", "n_pixels"):
        np.testing.assert_array_equal(held[name][45], alone[name][0])


def test_a_damaged_chunk_names_file_and_frame(stacks, run):
    stacks.damage(run / "run_data_000002.h5", 20)
    frames = bl.open(run / "run_master.h5")
    with pytest.raises(ReadError, match=r"frame 120 of the series.*run_data_000002\.h5"):
        integrate(frames, stacks)


def test_a_damaged_chunk_costs_its_frame_alone(stacks, run):
    whole = integrate(bl.open(run / "run_master.h5"), stacks)
    stacks.damage(run / "run_data_000002.h5", 20)
    frames = bl.open(run / "run_master.h5")
    with pytest.warns(UserWarning, match=r"1 frame could not be read; the pattern is NaN there \(frame 120\)"):
        rest = schema.check(integrate(frames, stacks, on_error="nan"))
    assert rest.attrs["unread_frames"] == [120]
    assert (rest.n_pixels[120] == 0).all()
    assert all(np.isnan(rest[name][120]).all() for name in ("intensity", "intensity_sigma", "signal", "normalization"))
    kept = [i for i in range(150) if i != 120]
    stacks.assert_same_bits(whole.isel(frame=kept), rest.isel(frame=kept))


def test_a_file_that_has_gone_costs_its_frames_alone(stacks, run):
    whole = integrate(bl.open(run / "run_master.h5"), stacks)
    frames = bl.open(run / "run_master.h5")
    (run / "run_data_000002.h5").unlink()
    with pytest.raises(ReadError, match=r"frame 1\d\d of the series.*run_data_000002\.h5"):
        integrate(frames, stacks)
    with pytest.warns(UserWarning, match="50 frames could not be read"):
        rest = integrate(frames, stacks, on_error="nan")
    assert rest.attrs["unread_frames"] == list(range(100, 150))
    stacks.assert_same_bits(whole.isel(frame=slice(100)), rest.isel(frame=slice(100)))
    assert np.isnan(rest.intensity[100:]).all()


@pytest.mark.parametrize("change", ["shape", "dtype"])
def test_frames_that_have_become_others_are_refused(stacks, run, change):
    frames = bl.open(run / "run_master.h5")
    data = stacks.counts(50)
    (run / "other").mkdir()
    stacks.write_series(run / "other", data[:, :32] if change == "shape" else data.astype(np.uint16), per_file=50)
    (run / "other/run_data_000001.h5").replace(run / "run_data_000002.h5")
    with pytest.raises(ReadError, match=r"frame 1\d\d of the series.*(shape|uint16|changed|another)"):
        integrate(frames, stacks)


@pytest.mark.parametrize("n_frames", [3, 40])
def test_a_frame_of_another_shape_from_dask_is_refused(stacks, n_frames):
    data = stacks.counts(n_frames)

    def cut(block, block_info=None):
        return block[:, :50] if block_info[0]["chunk-location"][0] == 2 else block

    lazy = da.map_blocks(cut, da.from_array(data, chunks=(1, -1, -1)), dtype=data.dtype, meta=data[:0])
    with pytest.raises(ReadError, match="frame 2 of the series"):
        integrate(as_frames(lazy), stacks)
    with pytest.warns(UserWarning, match="1 frame could not be read"):
        rest = integrate(as_frames(lazy), stacks, on_error="nan")
    assert rest.attrs["unread_frames"] == [2]


def test_no_frames_give_no_patterns(stacks, tmp_path):
    nothing = as_frames(stacks.counts(0))
    assert integrate(nothing, stacks).sizes["frame"] == 0
    assert integrate(nothing, stacks, store=tmp_path / "nothing.zarr").sizes["frame"] == 0


def test_unknown_word_for_on_error(stacks):
    with pytest.raises(ValueError, match="did you mean 'nan'"):
        integrate(as_frames(stacks.counts(1)), stacks, on_error="nans")


def test_frames_that_lost_most_pixels_are_told_once(stacks):
    data = stacks.counts(80).astype(float)
    data[77] = np.nan
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        integrate(as_frames(data), stacks)
    assert ["1 of 80 frames have lost" in str(one.message) and "frame 77" in str(one.message) for one in told] == [True]
