"""canSAS XML and NXcanSAS: every real file, known facts, a way back, and files that mean harm or are cut."""

import json
import os
import subprocess

import h5py
import numpy as np
import pytest
import xarray as xr

from batlab import datasets, io
from batlab.errors import ReadError
from batlab.schema import check, quantity

GOOD = """<?xml version="1.0"?>
<SASroot version="1.1" xmlns="urn:cansas1d:1.1"><SASentry name="one"><Title>sample</Title><Run>7</Run><SASdata>
<Idata><Q unit="1/nm">0.1</Q><I unit="1/m">300</I><Idev unit="1/m">10</Idev></Idata>
<Idata><Q unit="1/nm">0.2</Q><I unit="1/m">200</I><Idev unit="1/m">0</Idev></Idata>
</SASdata><SASsample><ID>x</ID><thickness unit="cm">0.1</thickness><transmission>0.5</transmission></SASsample>
<SASinstrument><SASsource><wavelength unit="nm">0.85</wavelength></SASsource></SASinstrument></SASentry></SASroot>"""


def written(folder, text=GOOD, name="one.xml"):
    path = folder / name
    path.write_text(text)
    return path


def curve(n=12, frames=2, **attrs):
    q = np.geomspace(0.01, 0.3, n)
    rows = np.stack([(1 + i) / (1 + (30 * q) ** 4) for i in range(frames)])
    return xr.Dataset(
        {
            "intensity": quantity(("frame", "q"), rows, "1/cm", "intensity"),
            "intensity_sigma": quantity(("frame", "q"), 0.01 * rows, "1/cm", "sigma"),
        },
        {
            "frame": quantity("frame", np.arange(frames), "1", "frame"),
            "q": quantity("q", q, "1/angstrom", "scattering vector"),
            "q_resolution": quantity("q", 0.02 * q, "1/angstrom", "resolution"),
        },
        attrs,
    )


def test_units_and_facts_of_cansas_xml(tmp_path):
    ds = check(io.open(written(tmp_path)))
    np.testing.assert_allclose(ds["q"], [0.01, 0.02])
    np.testing.assert_allclose(ds["intensity"], [[3.0, 2.0]])
    np.testing.assert_allclose(ds["intensity_sigma"], [[0.1, np.nan]])
    assert ds["intensity"].attrs["units"] == "1/cm"
    told = {key: ds.attrs[key] for key in ("thickness", "transmission", "wavelength", "sample", "run")}
    assert told == {"thickness": 1.0, "transmission": 0.5, "wavelength": 8.5, "sample": "x", "run": "7"}
    assert "io.open" in ds.attrs["history"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("<SASroot", "<!DOCTYPE x [<!ENTITY a 'b'>]>\n<SASroot"), "DOCTYPE"),
        (("</SASroot>", ""), "damaged"),
        (('<Q unit="1/nm">0.2', '<Q unit="1/A">0.2'), "mixes the units"),
        ((">200<", ">two hundred<"), "should be a number"),
        (('unit="1/nm"', 'unit="m"'), "expected a unit"),
        (("Idata", "Other"), "no point of Q and I"),
        ((">0.1</Q>", ">nan</Q>"), None),
    ],
)
def test_damaged_and_hostile_xml_is_refused_with_the_files_name(tmp_path, change, message):
    path = written(tmp_path, GOOD.replace(*change))
    if message is None:
        assert io.open(path).sizes["q"] == 1
        return
    with pytest.raises(ReadError, match=message) as error:
        io.open(path)
    assert path.name in str(error.value)


@pytest.mark.parametrize("part", [0.2, 0.5, 0.8, 0.97])
def test_xml_cut_anywhere_is_an_error(tmp_path, part):
    with pytest.raises(ReadError, match=r"one\.xml"):
        io.open(written(tmp_path, GOOD[: int(len(GOOD) * part)]))


def test_repeats_and_disorder_are_mended_with_a_warning(tmp_path):
    rows = "".join(
        f'<Idata><Q unit="1/A">{q}</Q><I unit="1/cm">{i}</I><Idev unit="1/cm">{s}</Idev></Idata>'
        for q, i, s in ((0.1, 4, 0.3), (0.05, 8, 1), (0.1, 6, 0.4))
    )
    start, end = GOOD.index("<Idata>"), GOOD.rindex("</Idata>") + len("</Idata>")
    path = written(tmp_path, GOOD[:start] + rows + GOOD[end:])
    with pytest.warns(UserWarning, match="1 of 3 points are out of order and 1 repeat"):
        ds = check(io.open(path))
    np.testing.assert_allclose(ds["q"], [0.05, 0.1])
    np.testing.assert_allclose(ds["intensity"], [[8, 5]])
    np.testing.assert_allclose(ds["intensity_sigma"], [[1, 0.25]])


def test_an_unknown_unit_is_a_warning(tmp_path):
    with pytest.warns(UserWarning, match="'barn' of its intensity is not known"):
        assert io.open(written(tmp_path, GOOD.replace("1/m", "barn")))["intensity"].attrs["units"] == "1"


def test_several_files_are_a_series_on_one_grid_only(tmp_path):
    paths = [written(tmp_path, name=f"{i}.xml") for i in range(3)]
    series = check(io.open(paths))
    assert series["intensity"].shape == (3, 2)
    assert list(series["file"].values) == ["0.xml", "1.xml", "2.xml"]
    written(tmp_path, GOOD.replace("0.2<", "0.3<"), "3.xml")
    with pytest.raises(ReadError, match=r"curves\.regrid"):
        io.open(str(tmp_path / "*.xml"))


def test_what_is_written_as_nxcansas_comes_back(tmp_path):
    ds = curve(sample="alumina", wavelength=0.59, thickness=1.2, transmission=0.8, slit_length=0.027)
    before = ds.copy(deep=True)
    back = check(io.open(io.save(ds, tmp_path / "series.cansas.h5")))
    xr.testing.assert_identical(ds, before)
    for name in ("intensity", "intensity_sigma", "q", "q_resolution"):
        np.testing.assert_array_equal(back[name], ds[name])
        assert back[name].attrs["units"] == ds[name].attrs["units"]
    for key, value in ds.attrs.items():
        assert back.attrs[key] == value
    with pytest.raises(FileExistsError):
        io.save(ds, tmp_path / "series.cansas.h5")
    with h5py.File(tmp_path / "series.cansas.h5") as file:
        entry = file[file.attrs["default"]]
        assert entry.attrs["canSAS_class"] == "SASentry"
        assert entry["definition"][()] == b"NXcanSAS"
        data = entry["sasdata"].attrs
        assert (data["canSAS_class"], data["signal"], data["I_axes"], data["Q_indices"]) == ("SASdata", "I", "Q", 0)
        assert list(entry["sasdata/Q"].attrs["resolutions"]) == ["dQw", "dQl"]


@pytest.mark.parametrize("slit", [None, 0.03])
def test_what_is_written_has_all_that_the_definition_requires(tmp_path, slit):
    # NXcanSAS 1.1, application definition: required groups, attributes and fields.
    ds = curve(sample="alumina", **({"slit_length": slit} if slit else {}))
    with h5py.File(io.save(ds, tmp_path / "series.cansas.h5")) as file:
        assert len(file) == 2
        for entry in file.values():
            told = {key: entry.attrs[key] for key in ("NX_class", "canSAS_class", "version", "default")}
            assert told == {"NX_class": "NXentry", "canSAS_class": "SASentry", "version": "1.1", "default": "sasdata"}
            assert entry["definition"][()] == b"NXcanSAS"
            assert entry["title"][()] == b"alumina"
            assert "run" in entry
            data = entry["sasdata"]
            assert (data.attrs["NX_class"], data.attrs["canSAS_class"]) == ("NXdata", "SASdata")
            assert (data.attrs["signal"], data.attrs["I_axes"], int(data.attrs["Q_indices"])) == ("I", "Q", 0)
            assert data["Q"].attrs["units"] == "1/angstrom"
            assert data["I"].attrs["units"] == data["Idev"].attrs["units"] == "1/cm"
            assert data["I"].attrs["uncertainties"] == "Idev"
            widths = {name: data[name].attrs["units"] for name in ("Qdev", "dQl", "dQw") if name in data}
            assert set(widths) == ({"dQl", "dQw"} if slit else {"Qdev"})
            assert set(widths.values()) == {"1/angstrom"}
            classes = {group.attrs["canSAS_class"] for group in entry.values() if isinstance(group, h5py.Group)}
            assert {"SASdata", "SASsample", "SASinstrument", "SASprocess"} == classes


def test_sasview_opens_what_is_written(tmp_path):
    # sasdata 0.11.0, which reads SasView's files, in an interpreter of its own; read by hand when this was written.
    interpreter = os.environ.get("BATLAB_ORACLES")
    if not interpreter or subprocess.run([interpreter, "-c", "import sasdata"], capture_output=True).returncode:
        pytest.skip("BATLAB_ORACLES names no interpreter that has sasdata")
    ds = curve(sample="alumina", wavelength=0.59, thickness=1.2, transmission=0.8, slit_length=0.027)
    path = io.save(ds, tmp_path / "series.cansas.h5")
    script = (
        "import json, sys; from sasdata.dataloader.loader import Loader\n"
        "for d in Loader().load(sys.argv[1]):\n"
        "    print(json.dumps([d.title, list(d.x), list(d.y), list(d.dy), list(d.dxl), list(d.dxw), d.y_unit,"
        " d.sample.thickness, d.sample.transmission, d.source.wavelength, d.errors]))"
    )
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run([interpreter, "-c", script, str(path)], capture_output=True, text=True, env=clean, check=True)
    frames = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    assert len(frames) == 2
    for i, (title, x, y, dy, dxl, dxw, unit, *facts, errors) in enumerate(frames):
        assert (title, unit, facts, errors) == ("alumina", "cm^{-1}", [1.2, 0.8, 0.59], [])
        np.testing.assert_allclose(x, ds["q"])
        np.testing.assert_allclose(y, ds["intensity"][i])
        np.testing.assert_allclose(dy, ds["intensity_sigma"][i])
        np.testing.assert_allclose(dxl, 0.027)
        np.testing.assert_allclose(dxw, ds["q_resolution"])


def test_a_tree_keeps_its_names_and_a_pattern_over_two_theta_is_refused(tmp_path):
    tree = xr.DataTree.from_dict({"desmeared": curve(frames=1), "smeared": curve(9, 1, slit_length=0.03)})
    path = io.save(tree, tmp_path / "both.cansas.h5")
    back = io.open(path)
    assert sorted(back) == ["desmeared", "smeared"]
    assert io.open(path, smeared=True).sizes["q"] == 9
    assert io.open(path, smeared=False).sizes["q"] == 12
    assert io.open(path, path="/smeared").attrs["slit_length"] == 0.03
    with pytest.raises(ValueError, match="smeared must be None, True or False"):
        io.open(path, smeared="yes")
    with pytest.raises(ValueError, match="NXcanSAS takes intensity over"):
        io.save(curve().rename(q="two_theta").drop_vars(["two_theta", "q_resolution"]), tmp_path / "no.cansas.h5")
    assert not (tmp_path / "no.cansas.h5").exists()


def test_cut_nxcansas_is_an_error_that_names_it(tmp_path):
    whole = io.save(curve(), tmp_path / "whole.cansas.h5").read_bytes()
    for part in (0.1, 0.4, 0.7, 0.95):
        path = tmp_path / "cut.h5"
        path.write_bytes(whole[: int(len(whole) * part)])
        try:
            check(io.open(path))
        except ReadError as error:
            assert "cut.h5" in str(error)  # noqa: PT017


@pytest.mark.data
def test_af1410_has_nineteen_curves_of_ten_ages():
    tree = io.open(datasets.path("af1410_steel") / "cs_af1410.xml")
    assert len(tree) == 19
    assert tree["AF1410-a10"].attrs["run"] == "nuclear sector"
    assert tree["AF1410-b10"].attrs["run"] == "nuclear+magnetic sector"
    # First point of the first curve, as the file has it; its source says λ 0.85 nm.
    first = check(tree["AF1410-a10"].to_dataset())
    assert (float(first.q[0]), float(first.intensity[0, 0]), first.attrs["wavelength"]) == (0.016514, 78.2700043, 8.5)


@pytest.mark.data
def test_polymers_are_told_to_be_smeared():
    tree = io.open(datasets.path("polymer_usaxs") / "cs_rr_polymers.xml")
    assert list(tree) == [f"rr-polymer-{letter}" for letter in "ABCD"]
    # SOURCES: 8.985 keV, slit length 0.0533 1/angstrom, thickness and transmission given.
    for node in tree.values():
        assert node.attrs["slit_length"] == pytest.approx(0.0533, abs=1e-4)
        assert node.attrs["wavelength"] == pytest.approx(12.39842 / 8.985, abs=1e-4)
        assert node.attrs["thickness"] == 1.0
        assert 0.4 < node.attrs["transmission"] < 0.6


@pytest.mark.data
def test_every_usaxs_file_has_a_desmeared_and_a_smeared_curve():
    files = sorted(datasets.path("usaxs_12ide").glob("*.h5"))
    assert len(files) == 9
    for file in files:
        tree = io.open(file)
        assert len(tree) == 2
        plain, smeared = (check(tree[name].to_dataset()) for name in tree)
        assert "slit_length" not in plain.attrs
        assert 0.025 < smeared.attrs["slit_length"] < 0.027
        assert plain["intensity"].attrs["units"] == smeared["intensity"].attrs["units"] == "1/cm"


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "n", "units", "first"),
    [  # as h5py shows them
        ("33837rear_1D_1.75_16.5_NXcanSAS_v3.h5", 66, "count", 0.00416),
        ("FK403_0006_Nika.hdf", 118, "1/cm", 0.038525313),
        ("Lew_Sa3_DSM_QinA.h5", 490, "1/cm", 0.00011210966),
        ("Ludox_silica.xml", 92, "1/cm", 0.00714),
    ],
)
def test_example_files(name, n, units, first):
    ds = check(io.open(datasets.path("sasview_examples") / name))
    assert ds.sizes == {"frame": 1, "q": n}
    assert ds["intensity"].attrs["units"] == units
    assert float(ds.q[0]) == pytest.approx(first, rel=1e-6)


@pytest.mark.data
def test_glassy_carbon_instruments_agree_near_0_05():
    # SOURCES: the neutron instruments agree on the plateau of about 5 to 7 1/cm near 0.05 1/angstrom.
    folder = datasets.path("glassy_carbon")
    near = {}
    for file in sorted(folder.rglob("C4*.xml")):
        ds = check(io.open(file)) if "D22_6A" not in file.name else None
        if ds is not None and ds.q[0] < 0.048:
            near[file.name] = float(ds["intensity"].interp(q=0.05)[0])
    assert len(near) >= 6
    values = np.array(list(near.values()))
    assert (values > 4.5).all()
    assert (values < 7).all()
    assert values.std() / values.mean() < 0.12
