"""What is saved comes back as it was; others can read it; half a file is never left."""

import os
import string
import subprocess
import sys

import dask.array as da
import h5py
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from batlab import io
from batlab.errors import BatlabError, ReadError, UnsafePathError
from batlab.schema import check, quantity

FORMATS = [".nc", ".zarr"]
NAMES = st.text(string.ascii_lowercase, min_size=1, max_size=6)
TEXT = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=8)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
ATTRS = st.dictionaries(
    NAMES | st.sampled_from(["CLASS", "signal", "axes", "dtype", "coordinates", "comment"]),
    TEXT | NUMBERS | st.lists(st.integers(-5, 2**40), max_size=3) | st.lists(st.floats(allow_nan=False), max_size=3)
    | st.lists(TEXT, min_size=1, max_size=3),
    max_size=4,
)  # fmt: skip
DTYPES = st.sampled_from(
    ["bool", "int8", "uint16", "int16", "uint32", "int64", "uint64", "float32", "float64", "U", "M"]
)


@st.composite
def datasets_(draw):
    sizes = {dim: draw(st.integers(0, 4)) for dim in ("frame", "q", "y", "x")}
    variables, coords = {}, {}
    for name in draw(st.lists(NAMES.map("v_{}".format), unique=True, max_size=5)):
        dims = draw(st.sampled_from([(), ("frame",), ("frame", "q"), ("y", "x"), ("frame", "y", "x")]))
        variable = _variable(draw, dims, tuple(sizes[dim] for dim in dims))
        (coords if draw(st.booleans()) else variables)[name] = variable
    if draw(st.booleans()):
        coords["q"] = quantity("q", np.arange(sizes["q"]) * 0.1, "1/angstrom", "scattering vector")
    return xr.Dataset(variables, coords, draw(ATTRS))


def _variable(draw, dims, shape):
    kind = draw(DTYPES)
    if kind == "U":
        values = np.array(draw(hnp.arrays(object, shape, elements=TEXT)), dtype=str).reshape(shape)
    elif kind == "M":
        values = draw(
            hnp.arrays("M8[ns]", shape, elements=st.integers(-(2**62), 2**62).map(lambda n: np.datetime64(n, "ns")))
        )
        if values.size and draw(st.booleans()):
            values = np.where(np.arange(values.size).reshape(shape) == 0, np.datetime64("NaT", "ns"), values)
    else:
        values = draw(hnp.arrays(kind, shape))
    variable = quantity(dims, values, "1", "something", **draw(ATTRS))
    if kind not in ("U", "M") and values.ndim and values.size and draw(st.booleans()):
        return variable.chunk(2)
    return variable


@pytest.mark.parametrize("ending", FORMATS)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(dataset=datasets_())
def test_round_trip_loses_nothing(tmp_path_factory, ending, dataset):
    path = tmp_path_factory.mktemp("saved") / f"some{ending}"
    io.save(dataset, path)
    assert_same(io.open(path), dataset)


def assert_same(result, expected):
    xr.testing.assert_identical(result, expected)
    assert list(result.variables) == list(expected.variables)
    for name, variable in expected.variables.items():
        assert result[name].dtype == variable.dtype
        _assert_same_attributes(result[name].attrs, variable.attrs)
    _assert_same_attributes(result.attrs, expected.attrs)


def _assert_same_attributes(result, expected):
    assert result == expected
    assert {key: type(value) for key, value in result.items()} == {key: type(value) for key, value in expected.items()}


def patterns(n=6, n_q=50):
    intensity = np.random.default_rng(0).poisson(20, (n, n_q)).astype(float)
    intensity[1, 3] = np.nan
    time = np.datetime64("2026-01-01T00:00:00.123456789") + np.arange(n) * np.timedelta64(1, "s")
    time[-1] = np.datetime64("NaT")
    return check(
        xr.Dataset(
            {
                "intensity": quantity(("frame", "q"), intensity, "count", "intensity"),
                "intensity_sigma": quantity(("frame", "q"), np.sqrt(np.abs(intensity)), "count", "uncertainty"),
                "status": quantity(
                    "frame", np.zeros(n, "i1"), "1", "status", flag_values=[0, 1], flag_meanings="ok bad"
                ),
            },
            {
                "frame": quantity("frame", np.arange(n), "1", "frame"),
                "q": quantity("q", np.linspace(1, 5, n_q), "1/angstrom", "scattering vector"),
                "time": quantity("frame", time, "", "start of exposure"),
                "file": quantity("frame", np.array([f"Å {i}" for i in range(n)]), "", "file"),
            },
            {"wavelength": 0.41, "overflow": [2**32 - 1], "history": "one\ntwo", "source": "x", "source_sha256": "ab"},
        )
    )


@pytest.mark.parametrize("ending", FORMATS)
def test_experiment_round_trip(tmp_path, ending):
    one = patterns()
    tree = xr.DataTree.from_dict(
        {"/": xr.Dataset(attrs={"sample": "cell 7"}), "/xrd": one, "/echem/first": one.isel(frame=[0])}
    )
    io.save(tree, tmp_path / f"cell{ending}")
    xr.testing.assert_identical(io.open(tmp_path / f"cell{ending}"), tree)


@pytest.mark.parametrize("ending", FORMATS)
def test_saving_again_over_what_was_opened(tmp_path, ending):
    path = io.save(patterns(), tmp_path / f"again{ending}")
    for _ in range(2):
        opened = io.open(path)
        with pytest.raises(FileExistsError, match="overwrite=True"):
            io.save(opened, path)
        io.save(opened, path, overwrite=True)
    assert_same(io.open(path), patterns())
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("ending", FORMATS)
def test_a_failure_leaves_the_old_file_and_no_half(tmp_path, ending):
    path = io.save(patterns(), tmp_path / f"kept{ending}")

    def fail(block):
        raise RuntimeError("the disk of the beamline is gone")

    broken = patterns()
    broken["intensity"] = broken["intensity"].copy(
        data=da.ones((6, 50), chunks=(1, 50)).map_blocks(fail, dtype=float, meta=np.empty((0, 0)))
    )
    with pytest.raises(RuntimeError, match="beamline"):
        io.save(broken, path, overwrite=True)
    assert_same(io.open(path), patterns())
    assert os.listdir(tmp_path) == [path.name]


def test_large_variables_come_back_lazy_and_equal(tmp_path, monkeypatch):
    from batlab.io import netcdf, zarr_store

    monkeypatch.setattr(netcdf, "EAGER", 1000)
    monkeypatch.setattr(zarr_store, "EAGER", 1000)
    for ending in FORMATS:
        path = io.save(patterns(), tmp_path / f"large{ending}")
        opened = io.open(path)
        assert opened.intensity.chunks is not None
        assert opened.status.chunks is None
        xr.testing.assert_identical(opened.compute(), patterns())
        io.save(opened, path, overwrite=True)
        xr.testing.assert_identical(io.open(path).compute(), patterns())


def test_hdf5_face_for_nexus_programs(tmp_path):
    nxdata = pytest.importorskip("silx.io.nxdata")
    path = io.save(patterns(), tmp_path / "face.nxs")
    with h5py.File(path) as file:
        assert file.attrs["NX_class"] == "NXroot"
        plot = nxdata.get_default(file)
        assert plot.is_valid
        assert plot.signal_name == "intensity"
        assert plot.axes_dataset_names == ["frame", "q"]
        assert plot.errors.shape == (6, 50)
        assert plot.interpretation == "spectrum"
        # One array under two names, with dimension scales for netCDF.
        assert file["/intensity"] == file[f"{file.attrs['default']}/data/intensity"]
        assert file["intensity"].dims[1][0] == file["q"]


def test_other_programs_read_the_file_as_netcdf(tmp_path):
    path = io.save(patterns(), tmp_path / "plain.nc")
    with xr.open_dataset(path, engine="h5netcdf") as other:
        np.testing.assert_array_equal(other.intensity, patterns().intensity)
        np.testing.assert_array_equal(other.time, patterns().time)
        assert set(other.coords) == {"frame", "q", "time", "file"}
        assert other.q.attrs["units"] == "1/angstrom"


def test_columns_of_one_pattern(tmp_path):
    one = patterns().isel(frame=[0])
    back = io.open(io.save(one, tmp_path / "one.xye"))
    np.testing.assert_allclose(back.intensity, one.intensity)
    np.testing.assert_allclose(back.intensity_sigma, one.intensity_sigma, rtol=1e-9)
    np.testing.assert_allclose(back.q, one.q)
    assert back.attrs["wavelength"] == pytest.approx(0.41)
    io.save(one, tmp_path / "one.xy")
    with pytest.raises(ValueError, match="takes one pattern, got 6"):
        io.save(patterns(), tmp_path / "all.xy")
    with pytest.raises(ValueError, match="intensity_sigma"):
        io.save(one.drop_vars("intensity_sigma"), tmp_path / "two.xye")


def test_unknown_ending_and_broken_data_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"endings|did you mean"):
        io.save(patterns(), tmp_path / "a.xlsx")
    with pytest.raises(BatlabError, match="units"):
        io.save(xr.Dataset({"a": ("frame", [1.0], {"long_name": "a"})}), tmp_path / "a.nc")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        io.save(patterns(), tmp_path / "nowhere" / "a.nc")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("part", [0.02, 0.4, 0.7, 0.98])
def test_cut_files_are_read_errors(tmp_path, part):
    path = io.save(patterns(), tmp_path / "cut.nc")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(ReadError, match="cut"):
        io.open(path).load()


@pytest.mark.parametrize("kind", ["external link", "virtual array", "external storage"])
def test_a_saved_file_that_was_made_to_lead_elsewhere_is_refused(tmp_path, kind):
    secret, path = tmp_path / "secret.h5", tmp_path / "folder" / "saved.nc"
    path.parent.mkdir()
    with h5py.File(secret, "w") as file:
        file["v"] = np.arange(3.0)
    io.save(xr.Dataset({"v": quantity("q", np.zeros(3), "1", "v")}), path)
    with h5py.File(path, "r+") as file:
        del file["v"]
        if kind == "external link":
            file["v"] = h5py.ExternalLink(str(secret), "/v")
        elif kind == "virtual array":
            layout = h5py.VirtualLayout((3,), "f8")
            layout[:] = h5py.VirtualSource(str(secret), "v", (3,))
            file.create_virtual_dataset("v", layout)
        else:
            file.create_dataset("v", (3,), "u1", external=[(str(secret), 0, 3)])
    with pytest.raises(UnsafePathError, match=rf"saved\.nc: the {kind} .*v leads to .*secret\.h5"):
        io.open(path)


def test_zarr_with_links_outside_or_pickles_is_refused(tmp_path):
    path = io.save(patterns(), tmp_path / "some.zarr")
    meta = path / "intensity" / "zarr.json"
    meta.write_text(meta.read_text().replace('"zstd"', '"numcodecs.pickle"'))
    with pytest.raises(ReadError, match=r"codec 'numcodecs.pickle'"):
        io.open(path)
    io.save(patterns(), path, overwrite=True)
    (tmp_path / "secret").write_text("x")
    (path / "intensity" / "c" / "9").symlink_to(tmp_path / "secret")
    with pytest.raises(UnsafePathError):
        io.open(path)


def test_zarr_that_is_damaged_or_foreign_is_a_read_error(tmp_path):
    path = io.save(patterns(), tmp_path / "some.zarr")
    (path / "q" / "zarr.json").write_text("{")
    with pytest.raises(ReadError, match=r"some\.zarr"):
        io.open(path)
    patterns().drop_vars(["file"]).drop_attrs().to_zarr(tmp_path / "other.zarr", consolidated=False, zarr_format=3)
    with pytest.raises(ReadError, match="did not write"):
        io.open(tmp_path / "other.zarr")


MEMORY = """
import resource, sys
import dask.array as da, numpy as np, xarray as xr
from batlab import io
from batlab.schema import quantity
n, path = int(sys.argv[1]), sys.argv[2]
frames = da.random.default_rng(1).poisson(5, (n, 1000, 1000), chunks=(1, 1000, 1000)).astype("u4")
io.save(xr.Dataset({"intensity": quantity(("frame", "y", "x"), frames, "count", "counts")}), path)
total = io.open(path).intensity.sum().compute()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.soak
@pytest.mark.parametrize("ending", FORMATS)
def test_memory_does_not_grow_with_frames(tmp_path, ending):
    def peak(n):
        command = [sys.executable, "-c", MEMORY, str(n), str(tmp_path / f"{n}{ending}")]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    few, many = peak(10), peak(200)
    assert many < few + 250, (few, many)  # 800 MB of frames
