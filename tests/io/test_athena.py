"""Athena projects: every flavour as larch reads it, written so that larch reads it back, and files that mean harm."""

import ast
import gzip
import json
import os

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from batlab import curves, datasets, io
from batlab.errors import ReadError
from batlab.io import athena, athena_text
from batlab.schema import check, quantity

X = [8333.0, 8334.5, 8336.0, 8340.25]
ARGS = (
    "'label','Ni \\\\ \\'foil\\'','bkg_e0','8333.5','bkg_eshift',-0.25,'bkg_z','Ni','fft_edge','k',"
    "'titles',['a','b'],'x',undef"
)


def perl(*records, end="1;\n", head="# Athena project file -- Demeter version 0.9.26\n# more\n\n"):
    return head + "".join(records) + "@journal = ('first','second');\n\n" + end


def record(name="abcde", args=ARGS, x=X, y=(0.1, 0.2, 0.9, 1.0), more=""):
    arrays = [f"@{key} = ({','.join(map(repr, map(str, values)))});\n" for key, values in (("x", x), ("y", y))]
    return f"$old_group = '{name}';\n@args = ({args});\n{''.join(arrays)}{more}[record]   # create object\n\n"


def project(folder, text, name="a.prj", packed=False):
    path = folder / name
    raw = text.encode()
    path.write_bytes(gzip.compress(raw) if packed else raw)
    return path


# Groups: the lines "[record]" (Perl) or the order (JSON) of each file. Points, first energy and sum of mu of the first
# and last group: larch 2026.3.1, read_athena(do_preedge=False).
LARCH = {
    "ESRF_Athena0920.prj": (2, (565, 6999.97, 656.4591679259721), (563, 6999.95, 293.4706645175213)),
    "Fe.prj": (5, (511, 6911.98862, 843.7602719022022), (387, 6899.9585, 291.87127506749914)),
    "FeO.prj": (1, (412, 6911.7671, 304.2524051443), (412, 6911.7671, 304.2524051443)),
    "LaCoO3.prj": (2, (405, 5282.999, 9744.474283362453), (333, 5282.999, 9580.837627036486)),
    "NiO.prj": (24, (522, 8133.00072, 478.59986221242184), None),
    "S_CAMD.prj": (22, (364, 2441.999224, 25.26590749841589), None),
    "align_merge.prj": (3, (341, 6911.98862, 555.9272298654696), (341, 6911.98862, 554.0053493027056)),
    "athena_MN.prj": (14, None, None),
    "cu.prj": (3, None, None),
    "cyanobacteria.prj": (17, None, None),
    "json_unzipped.prj": (4, None, None),
}


def parts(result):
    if isinstance(result, xr.DataTree):
        return [node.to_dataset() for node in result.children.values()]
    return [result.isel(frame=i) for i in range(result.sizes["frame"])] if "frame" in result.dims else [result]


@pytest.mark.data
@pytest.mark.parametrize("name", LARCH)
def test_projects_as_larch_reads_them(name, tmp_path):
    path = datasets.path("athena_projects") / name
    result = check(io.open(path))
    n_groups, first, last = LARCH[name]
    groups = parts(result)
    assert len(groups) == n_groups
    for group, known in ((groups[0], first), (groups[-1], last)):
        if known is not None:
            assert (group.sizes["energy"], float(group.energy[0])) == known[:2]
            assert float(group.mu.sum()) == pytest.approx(known[2], rel=1e-12)
    assert result.attrs["header"].startswith("# Athena project file")
    # Written and read again, every array and label is the same.
    again = check(io.open(io.save(result, tmp_path / name)))
    for before, after in zip(groups, parts(again), strict=True):
        assert before.equals(after)
        old, new = (json.loads(one.attrs["athena_parameters"])[str(one.group.values)] for one in (before, after))
        # The number of points is that of the arrays; a text of several lines becomes one; None is written as ''.
        plain = {key for key, value in old.items() if not isinstance(value, (list, dict))}
        assert {key for key in plain if ("" if old[key] is None else str(old[key])) != new[key]} <= {"npts"}


@pytest.mark.data
def test_gold_series_is_ready_for_components():
    path = datasets.path("athena_projects") / "cyanobacteria.prj"
    tree = io.open(path)
    assert list(tree.children)[:8] == ["0.12", "2.42", "4.73", "7.03", "9.33", "20", "33", "720"]
    assert tree["Au foil"].attrs["element"] == "Au"
    assert tree["Au foil"].attrs["edge"] == "L3"
    assert float(tree["7.03"].energy_shift) == -0.24
    series = check(
        io.open(path, group=["720", "20", "7.03", "0.12", "Au foil", "Au3 Cl aq", "Au sulphide"], grid="first")
    )
    assert series.label.values.tolist()[:2] == ["720", "20"]
    assert series.mu.shape == (7, 327)
    np.testing.assert_array_equal(series.mu[0], tree["720"].mu)
    assert "10 of" not in series.attrs["grid"]
    assert "6 of 7 interpolated linearly" in series.attrs["grid"]
    # The same by the call that is seen.
    visible = curves.regrid(tree["7.03"].to_dataset()[["mu"]], tree["720"].energy)
    np.testing.assert_allclose(series.mu[2], visible.mu, rtol=1e-13)
    assert json.loads(series.attrs["athena_parameters"])[str(series.group.values[1])]["label"] == "20"


@pytest.mark.data
def test_herfd_standards():
    tree = check(io.open(datasets.path("cu_herfd") / "CuHERFD_standards.prj"))
    assert len(tree.children) == 39
    assert set(tree["CuHERFD_CuFoil.003"].data_vars) == {"mu", "i0", "signal"}


def test_perl_flavour(tmp_path):
    text = perl(
        record(more="@i0 = ('5','6','7','8');\n@stddev = ('1','2');\n$xdi = bless( {'a' => {'b' => '1'}}, 'X' );\n")
    )
    for packed in (False, True):
        one = check(io.open(project(tmp_path, text, packed=packed)))
        assert one.mu.dims == ("energy",)
        assert one.energy.values.tolist() == X
        assert one.mu.values.tolist() == [0.1, 0.2, 0.9, 1.0]
        assert one.i0.values.tolist() == [5, 6, 7, 8]
        assert str(one.label.values) == "Ni \\ 'foil'"
        assert float(one.energy_shift) == -0.25
        assert (one.attrs["element"], one.attrs["edge"], one.attrs["journal"]) == ("Ni", "K", "first\nsecond")
        assert one.attrs["left_out"] == "Ni \\ 'foil': stddev has 2 values, the spectrum 4"
        kept = json.loads(one.attrs["athena_parameters"])["abcde"]
        assert kept["titles"] == ["a", "b"]
        assert kept["bkg_e0"] == "8333.5"
        assert kept["x"] is None
        assert kept["xdi"] == {"a": {"b": "1"}}


def test_json_flavour(tmp_path):
    whole = {
        "_____header1": "# Athena project file -- Demeter version 0.9.26",
        "b": {"args": {"label": "two", "bkg_eshift": 1}, "x": list(map(str, X)), "y": [1, 2, 3, None], "signal": []},
        "a": {"args": {"label": "one"}, "x": X, "y": [1, 2, 3, 4]},
        "_____order": ["a", "b"],
        "_____journal": ["x"],
    }
    with pytest.raises(ReadError, match=r"a\.prj: group 'two': its 'y' holds what is no number"):
        io.open(project(tmp_path, json.dumps(whole)))
    whole["b"]["y"][3] = float("nan")
    series = check(io.open(project(tmp_path, json.dumps(whole))))
    assert series.label.values.tolist() == ["one", "two"]
    assert series.energy_shift.values.tolist() == [0, 1]
    np.testing.assert_array_equal(series.mu, [[1, 2, 3, 4], [1, 2, 3, np.nan]])
    whole["_____order"] = ["a", "c"]
    with pytest.raises(ReadError, match="names the group 'c', which it does not hold"):
        io.open(project(tmp_path, json.dumps(whole)))


def test_double_quotes_are_text_and_nothing_is_filled_in(tmp_path):
    text = perl(record(args=r"""'label',"th\x{e9} \"$ENV{HOME}\" @ARGV \n`id`" """))
    assert str(io.open(project(tmp_path, text)).label.values) == 'thé "$ENV{HOME}" @ARGV \n`id`'


def test_groups_are_chosen(tmp_path):
    records = [record(f"g{i}", args=f"'label','{label}'") for i, label in enumerate(["Fe [a]", "Fe b", "Ni", "Ni"])]
    path = project(tmp_path, perl(*records))
    assert str(io.open(path, group="Fe [a]").group.values) == "g0"
    assert str(io.open(path, group="Ni").group.values) == "g2"
    assert str(io.open(path, group="g3").group.values) == "g3"
    assert io.open(path, group=["Ni", "Fe*"]).group.values.tolist() == ["g2", "g0", "g1"]
    with pytest.raises(ReadError, match=r"a\.prj: has no group 'Fe c'; did you mean 'Fe b'"):
        io.open(path, group="Fe c")
    with pytest.raises(ReadError, match="has no group 'zzz'; it holds"):
        io.open(path, group="zzz")
    with pytest.raises(ReadError, match="at least one group"):
        io.open(path, group=[])
    with pytest.raises(TypeError, match="'groups'; did you mean 'group'"):
        io.open(path, groups="Ni")
    with pytest.raises(ValueError, match="grid must be None, 'first' or 'own', got 'last'"):
        io.open(path, grid="last")


def test_unequal_grids_and_chi_are_a_tree(tmp_path):
    chi = record("k1", args="'label','a/b','is_chi',1", x=[0.0, 0.05, 0.1], y=(0.0, 0.1, 0.2))
    path = project(tmp_path, perl(record(), record("fghij", x=[1.0, 2.0, 3.0, 4.0]), chi))
    tree = check(io.open(path))
    assert list(tree.children) == ["Ni \\ 'foil'", "Ni \\ 'foil' 2", "a_b"]
    assert tree["a_b"].chi.dims == ("k",)
    with pytest.raises(ReadError, match="grid='first' needs scans over one axis, 'a_b' is over"):
        io.open(path, grid="first")
    again = io.open(io.save(tree, tmp_path / "b.prj"))
    assert again["a_b"].to_dataset().equals(tree["a_b"].to_dataset())


def test_falling_energies_are_turned(tmp_path):
    one = check(io.open(project(tmp_path, perl(record(x=X[::-1])))))
    assert one.energy.values.tolist() == X
    assert one.mu.values.tolist() == [1.0, 0.9, 0.2, 0.1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (perl(record(x=[1, 2, 2, 3])), "its energies do not increase: 2 then 2 at 1"),
        (perl(record(x=[1, "nan", 2, 3])), "its energies do not increase"),
        (perl(record(x=[1, 2, 3])), "has 3 energies and 4 values"),
        (perl(record(y=[1, 2, "many", 3])), "its 'y' holds what is no number"),
        (perl(record(y=[1, 2, "inf", 3])), "holds infinity at 8336"),
        (perl(record(args="'label'")), "its @args must be names with values"),
        (perl(record(args="'is_rsp',1")), "is in R space, which is not read; choose the others"),
        (perl(record(args="'bkg_eshift','much'")), "its energy shift 'much' is no number"),
        (perl(record(args="'bkg_eshift','nan'")), "its energy shift 'nan' is not finite"),
        (perl(record(more="@i0 = ('1','1e999','1','1');\n")), "its 'i0' holds infinity"),
        (perl(), "is a project without groups"),
        (perl(record(), end=""), "does not end with '1;' as projects do; the file is truncated"),
        (perl(record(args="'a',{'b' => {'c'}}")), "has a name without a value"),
        (perl(record(args="'a'," + "[" * 5000)), "more than 32 deep"),
        (perl(record(args="'a'," + "bless(" * 100)), "more than 32 deep"),
        ('{"_____header1": "# Athena project file", "a": ' + "[" * 200000, "is no whole JSON"),
        ('{"_____header1": "# Athena project file", "_____order": 5}', "'_____order' must be a list"),
        ("# Athena project file -- x\n@x = ('1' '2');\n1;\n", "line 2: .*2.*is no data of a project"),
        ("# Athena project file -- x\n@x = ('1\n", "is no data of a project"),
    ],
)
def test_damage_is_told(tmp_path, text, message):
    with pytest.raises(ReadError, match=rf"a\.prj.*({message})"):
        io.open(project(tmp_path, text))


@pytest.mark.parametrize(
    "code",
    [
        "system('touch CANARY');\n",
        "`touch CANARY`;\n",
        "$x = `touch CANARY`;\n",
        "$x = system('touch CANARY');\n",
        "$x = do { system('touch CANARY') };\n",
        "@x = (eval { open(F, '>', 'CANARY') });\n",
        "@args = ('label', __import__('os').system('touch CANARY'));\n",
        "open(F, '>CANARY'); print F 1; close F;\n",
        "BEGIN { system 'touch CANARY' }\n",
        "use POSIX;\n",
        "$x = \"@{[system 'touch CANARY']}\" . qx(touch CANARY);\n",
        "$x = bless( system('touch CANARY'), 'X' );\n",
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_code_is_refused_and_never_run(tmp_path, monkeypatch, code, packed):
    monkeypatch.chdir(tmp_path)
    canary = tmp_path / "CANARY"
    text = perl(record(), code.replace("CANARY", str(canary)))
    with pytest.raises(ReadError, match=r"a\.prj: line \d+: .* code in a file is never run"):
        io.open(project(tmp_path, text, packed=packed))
    assert not canary.exists()
    assert os.listdir(tmp_path) == ["a.prj"]


def test_gzip_bombs_and_cut_streams(tmp_path, monkeypatch):
    bomb = tmp_path / "a.prj"
    bomb.write_bytes(gzip.compress(b"# Athena project file -- x\n" + b" " * 50_000_000))
    with pytest.raises(ReadError, match=r"a\.prj: unpacks from \d+ to more than \d+ bytes; refused as a gzip bomb"):
        io.open(bomb)
    packed = gzip.compress(perl(record()).encode())
    bomb.write_bytes(packed + b"more")
    with pytest.raises(ReadError, match="4 bytes follow its gzip stream"):
        io.open(bomb)
    bomb.write_bytes(packed + b"\0" * 10)
    assert io.open(bomb).sizes == {"energy": 4}
    for size in range(10, len(packed)):
        bomb.write_bytes(packed[:size])
        with pytest.raises(ReadError, match=r"a\.prj"):
            io.open(bomb)
    monkeypatch.setattr(athena_text, "UNPACKED_LIMIT", 100)
    with pytest.raises(ReadError, match="more than the 100 that are read"):
        io.open(project(tmp_path, perl(record())))


def opened(path):
    """Return what the file holds, or None after a ReadError that names it."""
    try:
        return check(io.open(path))
    except ReadError as error:
        message = str(error)
    assert message.startswith(path.name)
    return None


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), min_size=1, max_size=6), st.integers(0, 2**16))
@example([(0, 0)], 0)
def test_mutated_bytes_give_data_or_a_read_error(tmp_path, changes, cut):
    raw = bytearray(perl(record(), record("fghij", x=[1.0, 2.0, 3.0, 4.0])).encode())
    for place, byte in changes:
        raw[27 + place % (len(raw) - 27)] = byte  # its first line stays
    (tmp_path / "a.prj").write_bytes(raw if cut % 3 else raw[: 40 + cut % (len(raw) - 40)])
    opened(tmp_path / "a.prj")


def test_series_is_written_so_that_line_readers_have_it(tmp_path):
    energy = np.linspace(8200.0, 9000.0, 161) + 1 / 3
    mu = np.array([np.arctan(energy - e0) for e0 in (8333, 8335, 8340)])
    mu[2, :5] = np.nan
    series = xr.Dataset(
        {
            "mu": quantity(("frame", "energy"), mu, "1", "absorption"),
            "itrans": quantity(("frame", "energy"), np.exp(-mu), "1", "transmitted"),
            "i0": quantity(("frame", "energy"), np.ones_like(mu), "1", "incident"),
            "e0": quantity("frame", [8333.0, 8335.0, np.nan], "eV", "edge energy"),
        },
        {
            "frame": quantity("frame", np.arange(3), "1", "frame"),
            "energy": quantity("energy", energy, "eV", "energy"),
            "label": quantity("frame", np.array(["it's", "b\\c\nd", "µ"]), "", "label"),
        },
        {"element": "Ni", "edge": "K"},
    )
    before = series.copy(deep=True)
    path = io.save(series, tmp_path / "s.prj")
    assert series.identical(before)
    # Line by line, as larch 2026.3.1 reads it: Python's literals after the sign "=".
    lines = gzip.decompress(path.read_bytes()).decode().split("\n")
    assert lines[0] == "# Athena project file -- Demeter version 0.9.26"
    found = [ast.literal_eval(line.split(" = ", 1)[1].rstrip(";")) for line in lines if line.startswith("@")]
    assert [len(values) for values in found[1:5]] == [161] * 4
    args = dict(zip(found[0][::2], found[0][1::2], strict=True))
    assert (args["label"], args["bkg_e0"], args["bkg_z"], args["fft_edge"]) == ("it's", "8333.0", "Ni", "k")
    np.testing.assert_array_equal(np.array(found[1], float), energy)
    np.testing.assert_array_equal(np.array(found[2], float), mu[0])
    tree = check(io.open(path))
    assert [str(part.label.values) for part in parts(tree)] == ["it's", "b\\c d", "µ"]
    assert tree["µ"].sizes["energy"] == 156
    parameters = json.loads(tree["µ"].attrs["athena_parameters"])
    assert float(next(iter(parameters.values()))["bkg_e0"]) == pytest.approx(8340, abs=5)  # the steepest rise
    np.testing.assert_array_equal(tree["b\\c d"].signal, np.exp(-mu[1]))


def test_frames_with_grids_of_their_own_are_written_on_these(tmp_path):
    grids = [np.arange(8200.0, 8600.0, 2.0), np.arange(8210.0, 8600.0, 2.5)]
    energy = np.array([np.pad(grid, (0, 200 - len(grid)), constant_values=np.nan) for grid in grids])
    mu = np.arctan(energy - 8345)
    series = xr.Dataset(
        {"mu": quantity(("frame", "energy"), mu, "1", "absorption")},
        {"energy_measured": quantity(("frame", "energy"), energy, "eV", "energies of each frame")},
    )
    for part, grid in zip(parts(io.open(io.save(series, tmp_path / "own.prj"))), grids, strict=True):
        np.testing.assert_array_equal(part.energy, grid)
        np.testing.assert_array_equal(part.mu, np.arctan(grid - 8345))
    one = io.open(io.save(series.isel(frame=[1]), tmp_path / "own.xdi"))
    np.testing.assert_array_equal(one.energy, grids[1])
    with pytest.raises(ValueError, match="has no 'energy' beside its 'mu'"):
        io.save(series.drop_vars("energy_measured"), tmp_path / "none.prj")


def test_what_cannot_be_written_is_refused(tmp_path):
    bare = xr.Dataset(
        {"i0": quantity("energy", [1.0, 2.0], "1", "i0")}, {"energy": quantity("energy", [1.0, 2.0], "eV", "energy")}
    )
    with pytest.raises(ValueError, match=r"a project takes 'mu' over energy .*make it with xas\.mu"):
        io.save(bare, tmp_path / "a.prj")
    with pytest.raises(ValueError, match="has 1 points that are numbers"):
        io.save(bare.assign(mu=quantity("energy", [1.0, np.nan], "1", "mu")), tmp_path / "a.prj")
    io.save(bare.assign(mu=bare.i0), tmp_path / "a.prj")
    with pytest.raises(FileExistsError):
        io.save(bare.assign(mu=bare.i0), tmp_path / "a.prj")
    assert os.listdir(tmp_path) == ["a.prj"]


def test_recognise_never_raises(tmp_path):
    for head in (b"", b"\x1f\x8b", b"\x1f\x8b\x08" + b"\xff" * 50, b"\xff" * 50):
        assert athena.recognise(tmp_path / "a.dat", head) is False
    assert athena.recognise(tmp_path / "a.PRJ", b"\x1f\x8b") is True
