"""XDI: every standard, units of the axis, channels, writing, damage."""

import numpy as np
import pytest
import xarray as xr

from batlab import datasets, io
from batlab.constants import HC
from batlab.errors import ReadError
from batlab.io import xdi
from batlab.io.atomic import AlreadyThereError
from batlab.schema import check, quantity

HEAD = "# XDI/1.0\n# Column.1: energy eV\n# Column.2: i0\n# Column.3: itrans\n"


def written(folder, text, name="a.xdi"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.data
def test_all_standards_hold_what_their_headers_say():
    files = sorted(datasets.path("xdi_standards").rglob("*.xdi"))
    assert len(files) == 33
    for file in files:
        ds = check(io.open(file))
        plain = np.loadtxt(file, comments="#")
        assert ds.sizes["energy"] == len(plain), file.name
        np.testing.assert_array_equal(ds["energy"], plain[:, 0])
        assert ds.attrs["element"] == file.parent.name
        assert ds.attrs["edge"] == "K"
        assert "time" in ds.coords
        assert set(ds.data_vars) & {"itrans", "ifluor", "mutrans"}, file.name


@pytest.mark.data
def test_columns_are_taken_by_name_not_by_place():
    folder = datasets.path("xdi_standards")
    file = folder / "Fe" / "Fe_Foil_rt_2016Foils.xdi"  # energy, itrans, i0
    ds, plain = io.open(file), np.loadtxt(file, comments="#")
    np.testing.assert_array_equal(ds["itrans"], plain[:, 1])
    np.testing.assert_array_equal(ds["i0"], plain[:, 2])
    copper = io.open(folder / "Cu" / "cu_metal_rt.xdi", timezone="America/Chicago")
    np.testing.assert_allclose(np.log(copper["i0"] / copper["itrans"]), copper["mutrans"], atol=1e-6)
    assert copper.attrs["mono_d_spacing"] == 3.13553
    assert copper.attrs["edge_energy"] == 8980.0
    assert str(copper["time"].values)[:19] == "2001-06-27T03:27:31"
    assert "clock" not in copper.attrs


@pytest.mark.data
def test_eight_channels_and_their_deadtime_factors():
    file = datasets.path("xdi_standards") / "Fe" / "fe_xanes_8ch.xdi"
    ds, plain = check(io.open(file)), np.loadtxt(file, comments="#")
    assert ds["ifluor"].dims == ("channel", "energy")
    assert ds["channel"].values.tolist() == list(range(1, 9))
    np.testing.assert_array_equal(ds["ifluor"], plain[:, 15:23].T)
    np.testing.assert_array_equal(ds["deadtime_factor"], plain[:, 31:39].T)
    assert ds["deadtime_factor"].attrs["units"] == "1"
    assert ds["ifluor"].attrs["units"] == "count"
    assert float(ds["exposure"]) == 99.0
    # Of two lines the scanned element's is the fluorescence.
    two = check(io.open(datasets.path("xas_columns") / "fexafs" / "fexanes_a.001"))
    raw = np.loadtxt(datasets.path("xas_columns") / "fexafs" / "fexanes_a.001", comments="#")
    np.testing.assert_array_equal(two["ifluor"], raw[:, 22:29].T)
    np.testing.assert_array_equal(two["ca_ka"], raw[:, 15:22].T)
    other = io.open(datasets.path("xas_columns") / "fexafs" / "fexanes_a.001", columns={"ifluor": "Ca_Ka"})
    np.testing.assert_array_equal(other["ifluor"], raw[:, 15:22].T)


@pytest.mark.data
def test_an_element_called_nan_is_none():
    ds = check(io.open(datasets.path("s_k_mex2") / "MEX2_5642_processed.xdi"))
    assert "element" not in ds.attrs
    assert ds["energy"].values[[0, -1]] == pytest.approx([2459.999755859375, 2524.892578125])
    # Bragg's law with the stated spacing gives the same axis.
    angle = HC / (2 * ds.attrs["mono_d_spacing"] * np.sin(np.radians(ds["bragg"].values)))
    assert np.abs(angle - ds["energy"].values).max() < 1.0


def test_kev_and_angles_become_ev(tmp_path):
    kev = HEAD.replace("energy eV", "energy keV") + "8.952 5 4\n8.9525 6 4\n"
    assert io.open(written(tmp_path, kev))["energy"].values.tolist() == [8952.0, 8952.5]
    rows = "14.31 5 4\n14.30 6 4\n14.29 7 5\n"
    angle = HEAD.replace("energy eV", "angle degrees")
    with pytest.raises(ReadError, match=r"a.xdi: has angles and no energy; pass mono_d_spacing="):
        io.open(written(tmp_path, angle + rows))
    for ds in (
        io.open(written(tmp_path, angle + rows), mono_d_spacing=3.1355),
        io.open(written(tmp_path, angle + "# Mono.d_spacing: 3.1355\n" + rows)),
    ):
        check(ds)
        expected = HC / (2 * 3.1355 * np.sin(np.radians([14.31, 14.30, 14.29])))
        np.testing.assert_allclose(ds["energy"], expected, rtol=1e-12)
        assert ds["i0"].values.tolist() == [5, 6, 7]
    radians = angle.replace("degrees", "radians") + "0.2498 5 4\n0.2496 6 4\n"
    first = float(io.open(written(tmp_path, radians), mono_d_spacing=3.1355)["energy"][0])
    assert first == pytest.approx(HC / (2 * 3.1355 * np.sin(0.2498)), rel=1e-12)
    with pytest.raises(ReadError, match="motor steps"):
        io.open(written(tmp_path, angle.replace("degrees", "steps") + rows), mono_d_spacing=3.1355)
    with pytest.raises(ReadError, match=r"the energy is in 'furlong'; pass energy_unit="):
        io.open(written(tmp_path, HEAD.replace("eV", "furlong") + "8952 5 4\n8953 6 4\n"))
    with pytest.raises(ValueError, match=r"energy_unit must be None, 'eV' or 'keV', got 'kev'"):
        io.open(written(tmp_path, kev), energy_unit="kev")


def same(first, second):
    assert list(first.data_vars) == list(second.data_vars)
    for name in first.data_vars:
        np.testing.assert_array_equal(first[name], second[name])
        assert first[name].dims == second[name].dims
        assert first[name].attrs["units"] == second[name].attrs["units"]
    np.testing.assert_array_equal(first["energy"], second["energy"])
    for key in ("element", "edge", "mono_d_spacing", "edge_energy", "mono"):
        assert first.attrs.get(key) == second.attrs.get(key)


@pytest.mark.data
@pytest.mark.parametrize("name", ["Cu/cu_metal_rt.xdi", "Fe/fe_xanes_8ch.xdi", "S/CaS_rt_001.xdi"])
def test_what_was_read_is_written_and_read_again(name, tmp_path):
    ds = io.open(datasets.path("xdi_standards") / name)
    before = ds.copy(deep=True)
    path = io.save(ds, tmp_path / "out.xdi")
    xr.testing.assert_identical(ds, before)
    again = check(io.open(path))
    same(ds, again)
    assert str(again["time"].values) == str(ds["time"].values)
    # A second time nothing is lost and nothing doubled, but for one line of history.
    twice = io.open(io.save(again, tmp_path / "twice.xdi"))
    same(ds, twice)
    first, second = ((tmp_path / file).read_text().count("\n") for file in ("out.xdi", "twice.xdi"))
    assert second <= first + 1
    with pytest.raises(AlreadyThereError):
        io.save(ds, path)


def test_sigma_numbers_and_a_single_frame_survive(tmp_path):
    rng = np.random.default_rng(1)
    energy = 8300 + np.sort(rng.random(50)) * 200
    mu = rng.random((1, 50))
    mu[0, 3] = np.nan
    ds = xr.Dataset(
        {
            "mu_norm": quantity(("frame", "energy"), mu, "1", "normalized absorption"),
            "mu_norm_sigma": quantity(("frame", "energy"), np.abs(mu) / 100, "1", "1 sigma"),
            "e0": quantity("frame", [8333.123456789012], "eV", "edge energy"),
        },
        {
            "energy": quantity("energy", energy, "eV", "photon energy"),
            "frame": quantity("frame", [7], "1", "frame"),
            "time": quantity("frame", np.array(["2022-07-26T21:01:58.055"], "datetime64[ns]"), "", "time"),
        },
        {"element": "Ni", "is_normalized": 1, "history": "2022 batlab xas.normalize()"},
    )
    path = io.save(ds, tmp_path / "a.xdi")
    assert "history: 2022 batlab xas.normalize()" in path.read_text()
    again = check(io.open(path))
    np.testing.assert_array_equal(again["mu_norm"], mu[0])
    np.testing.assert_array_equal(again["mu_norm_sigma"], ds["mu_norm_sigma"][0])
    np.testing.assert_array_equal(io.open(path, columns={"mu": "mu_norm"})["mu"], mu[0])
    assert float(again["e0"]) == 8333.123456789012
    assert again["e0"].attrs == {"units": "eV", "long_name": "edge energy"}
    assert str(again["time"].values)[:23] == "2022-07-26T21:01:58.055"
    assert "clock" not in again.attrs
    assert again.attrs["is_normalized"] == 1
    mixed = ds.rename(mu_norm="mu", mu_norm_sigma="mu_sigma")
    back = check(io.open(io.save(mixed, tmp_path / "c.xdi")))
    np.testing.assert_array_equal(back["mu_sigma"], ds["mu_norm_sigma"][0])


def test_what_xdi_cannot_hold_is_refused(tmp_path):
    energy = {"energy": quantity("energy", [1.0, 2.0], "eV", "photon energy")}
    two = xr.Dataset({"mu": quantity(("frame", "energy"), np.ones((2, 2)), "1", "absorption")}, energy)
    with pytest.raises(ValueError, match=r"takes one scan, got 2; save each ds.isel"):
        io.save(two, tmp_path / "a.xdi")
    chi = xr.Dataset({"chi": quantity("k", [1.0, 2.0], "1", "chi"), "mu": ("energy", [1.0, 2.0])}, energy)
    chi["mu"].attrs = {"units": "1", "long_name": "absorption"}
    with pytest.raises(ValueError, match=r"takes numbers over energy, not chi; drop_vars"):
        io.save(chi, tmp_path / "a.xdi")
    with pytest.raises(ValueError, match="takes a scan over 'energy'"):
        io.save(chi.drop_dims("energy"), tmp_path / "a.xdi")
    assert not list(tmp_path.iterdir())


def test_damage_is_named(tmp_path):
    rows = "7000 5 4\n7001 6 4\n7002 7 4\n"
    for text, told in (
        (HEAD, "holds no table of numbers"),
        (HEAD + "7000 5\n7001 6\n7002 4\n", "has 2 columns, its header names 3; the file may be truncated"),
        (HEAD.replace("# Column.2: i0\n", "") + rows, "no field Column.2 names column 2 of 3"),
        (HEAD + "7000 5 4\n0 0 0\n7002 7 4\n", r"row 2 of 3 .* has the energy 0, which must be above 0"),
        (HEAD + "7000 5 4\nnan 6 4\n7002 7 4\n", "has the energy nan"),
        (HEAD + "7000 5 4\n7001 inf 4\n7002 7 4\n", "row 2 .* holds infinity"),
        (HEAD + "7000 5 4\n7002 6 4\n7001 7 4\n", r"row 3 .* goes back from 7002 to 7001; .* pass sort=True"),
        (HEAD + "7000 5 4\n7001 __import__('os') 4\n7002 7 4\n", "no table of numbers"),
        (HEAD + "# Mono.d_spacing: 0 A\n" + rows, "states Mono.d_spacing"),
        (HEAD + "# Mono.d_spacing: 1e999 A\n" + rows, "states Mono.d_spacing '1e999 A', which must be .* finite"),
    ):
        with pytest.raises(ReadError, match=told) as caught:
            io.open(written(tmp_path, text))
        assert "a.xdi" in str(caught.value)
    with pytest.warns(UserWarning, match="line 7 has 2 of 3 columns"):
        assert io.open(written(tmp_path, HEAD + rows[:-2] + "\n")).sizes["energy"] == 2


def test_missing_counts_stay_missing_and_repeats_become_means(tmp_path):
    path = written(tmp_path, HEAD + "7000 5 4\n7001 nan 4\n7002 7 4\n7002 9 6\n")
    with pytest.warns(UserWarning, match="1 of its 4 points repeat an energy; the mean"):
        ds = check(io.open(path))
    np.testing.assert_array_equal(ds["i0"], [5, np.nan, 8])
    assert ds.attrs["repeated_points"] == 1
    back = written(tmp_path, HEAD + "7000 5 4\n7002 6 4\n7001 7 4\n")
    ds = check(io.open(back, sort=True))
    assert ds["i0"].values.tolist() == [5, 7, 6]
    assert "sort=True" in ds.attrs["history"]
    falling = written(tmp_path, HEAD + "7002 5 4\n7001 6 4\n7000 7 4\n")
    assert io.open(falling)["i0"].values.tolist() == [7, 6, 5]


def test_only_xdi_is_recognised(tmp_path):
    assert xdi.recognise(tmp_path, b"# XDI/1.0 GSE/1.0\n")
    assert not xdi.recognise(tmp_path, b"# written for XDI/1.0\n1 2\n")
    assert not xdi.recognise(tmp_path, b"\x1f\x8bnonsense")
    assert not xdi.recognise(tmp_path, b"")
