import hashlib
import json

import numpy as np
import pytest
import xarray as xr

from batlab import schema
from batlab.errors import DimensionError, SchemaError, UnitError
from batlab.schema import check, identity, quantity, record


def pattern(n_frames=3, n_points=5):
    counts = np.arange(n_frames * n_points, dtype=float).reshape(n_frames, n_points)
    return xr.Dataset(
        {
            "intensity": quantity(("frame", "q"), counts, "count", "intensity"),
            "intensity_sigma": quantity(("frame", "q"), np.sqrt(counts), "count", "1 sigma of the intensity"),
        },
        {
            "frame": quantity("frame", np.arange(n_frames), "1", "frame"),
            "q": quantity("q", np.linspace(1, 2, n_points), "1/angstrom", "scattering vector"),
            "time": quantity(
                "frame", np.arange(n_frames).astype("datetime64[s]").astype("datetime64[ns]"), "", "start"
            ),
        },
    )


def test_good_data_pass_unchanged():
    data = pattern()
    assert check(data) is data
    assert check(data["intensity"]) is not None
    tree = xr.DataTree.from_dict({"/xrd": data, "/saxs": pattern(2)})
    assert check(tree) is tree


def with_attr(name, **attrs):
    def change(data):
        data[name].attrs.update(attrs)
        return data

    return change


def swap_axis(values):
    def change(data):
        return data.assign_coords(q=quantity("q", values, "1/angstrom", "scattering vector"))

    return change


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda d: d.rename(q="qq"), DimensionError, ["'qq'", "did you mean 'q'"]),
        (lambda d: d.transpose("q", "frame"), DimensionError, ["'frame' must be the first", "transpose"]),
        (with_attr("q", units="1/nm"), UnitError, ["'q'", "'1/angstrom'", "'1/nm'"]),
        (with_attr("intensity", units=""), UnitError, ["'intensity'", "'units'"]),
        (with_attr("intensity", long_name=""), SchemaError, ["'intensity'", "'long_name'"]),
        (with_attr("intensity", nested={"a": 1}), SchemaError, ["'nested'", "dict", "json.dumps"]),
        (lambda d: d.assign_attrs({1: "a"}), SchemaError, ["1", "named by text", "int"]),
        (with_attr("intensity", truth=True), SchemaError, ["'truth'", "bool", "0 or 1"]),
        (with_attr("intensity", nothing=None), SchemaError, ["'nothing'", "NoneType"]),
        (with_attr("intensity_sigma", units="1"), UnitError, ["'intensity_sigma'", "'count'"]),
        (lambda d: d.drop_vars("intensity"), SchemaError, ["stands without 'intensity'"]),
        (lambda d: d.assign(intensity_sigma=-d.intensity_sigma - 1), SchemaError, ["negative"]),
        (lambda d: d.assign(intensity_sigma=d.intensity_sigma.isel(q=0)), DimensionError, ["must agree"]),
        (swap_axis([1.0, 2.0, 2.0, 3.0, 4.0]), SchemaError, ["must increase", "got 2 then 2", "sortby"]),
        (swap_axis([1.0, 2.0, np.nan, 3.0, 4.0]), SchemaError, ["NaN"]),
        (lambda d: d.assign_coords(time=d.time[::-1].variable), SchemaError, ["backwards"]),
        (lambda d: d.assign_coords(time=quantity("frame", [0.0, 1.0, 2.0], "s", "t")), SchemaError, ["datetime64"]),
    ],
)
def test_each_rule_is_held(change, error, words):
    data = change(pattern())
    with pytest.raises(error) as caught:
        check(data)
    for word in words:
        assert word in str(caught.value)


def test_variables_at_the_root_of_a_tree_are_refused():
    tree = xr.DataTree(dataset=pattern())
    with pytest.raises(SchemaError, match="attributes only"):
        check(tree)


def test_lazy_data_are_not_computed():
    import dask.array as da

    def explode(block):
        raise AssertionError("computed")

    lazy = da.zeros((3, 5), chunks=(1, 5)).map_blocks(explode, dtype=float, meta=np.empty((0, 0)))
    data = pattern().assign(intensity=quantity(("frame", "q"), lazy, "count", "intensity"))
    assert check(data) is data
    assert len(identity(data)) == 64


def test_record_leaves_its_input_alone_and_tells_the_step(tmp_path):
    data = pattern()
    before = dict(data.attrs)
    done = record(data, "curves.fit_peaks", near=np.arange(20.0), method="lm")
    assert data.attrs == before
    assert "curves.fit_peaks(near=<array (20,)" in done.attrs["history"]
    again = record(done, "xrd.refine_cell", peaks=done)
    assert again.attrs["history"].count("\n") == 1
    assert "method='lm'" in again.attrs["history"]


def test_record_hashes_what_was_read(tmp_path):
    file = tmp_path / "a.xy"
    file.write_bytes(b"1 2\n")
    done = record(pattern(), "io.open", source=file)
    assert done.attrs["source_sha256"] == hashlib.sha256(b"1 2\n").hexdigest()
    assert done.attrs["source"].endswith("a.xy")
    other = tmp_path / "b.xy"
    other.write_bytes(b"3 4\n")
    both = record(pattern(), "io.open", source=[file, other])
    assert both.attrs["source_sha256"] not in (done.attrs["source_sha256"], "")
    assert "(2 files)" in both.attrs["source"]


def test_a_huge_source_is_named_by_its_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(schema, "FINGERPRINT_LIMIT", 10)
    file = tmp_path / "big.h5"
    file.write_bytes(b"x" * 100)
    done = record(pattern(), "io.open", source=file)
    assert "source_sha256" not in done.attrs
    assert len(done.attrs["source_fingerprint"]) == 64


def test_of_many_huge_sources_little_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(schema, "FINGERPRINT_LIMIT", 2**20)
    files = [tmp_path / f"{i}.h5" for i in range(40)]
    for i, file in enumerate(files):
        file.write_bytes(bytes([i]) * 2**18)
    first = record(pattern(), "io.open", source=files).attrs["source_fingerprint"]
    read = []
    monkeypatch.setattr(schema, "_ends_sha256", lambda path, piece: read.append(piece) or "")
    record(pattern(), "io.open", source=files)
    assert 2 * sum(read) <= 2**20
    monkeypatch.undo()
    monkeypatch.setattr(schema, "FINGERPRINT_LIMIT", 2**20)
    files[7].write_bytes(b"x" * 2**18)
    assert record(pattern(), "io.open", source=files).attrs["source_fingerprint"] != first


def test_identity_follows_the_measurement_not_the_values_or_the_history():
    data = pattern()
    assert identity(data) == identity(record(data, "io.open"))
    assert identity(data) == identity(data.assign(intensity=data.intensity))
    assert identity(data) != identity(data.isel(frame=slice(1, None)))
    assert identity(data) != identity(data.assign_attrs(source_sha256="0" * 64))


def test_grids_that_differ_by_a_hair_are_refused():
    first = pattern()
    second = first.assign_coords(q=first.q.copy(data=first.q.values + 1e-12))
    with pytest.raises(DimensionError, match=r"curves\.regrid"):
        schema.same_grid("curves.subtract", first, second, ["q"])
    schema.same_grid("curves.subtract", first, first.copy(deep=True), ["q"])


def test_require_names_the_function_and_the_way_out():
    with pytest.raises(
        DimensionError, match=r"curves\.find_peaks needs dimension 'two_theta', got \('frame', 'q'\); con"
    ):
        schema.require(pattern(), "curves.find_peaks", "two_theta", hint="convert")


def test_attributes_survive_as_json_text():
    data = pattern().assign_attrs(settings=json.dumps({"a": [1, 2]}), numbers=[1.0, 2.0], words=["a", "b"])
    assert check(data) is data
