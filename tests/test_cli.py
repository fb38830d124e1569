"""The command line: what it writes, what it says, and how it fails."""

import warnings

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

import batlab as bl
from batlab.cli import app, demo
from batlab.cli.messages import hints
from batlab.failure import Store
from batlab.schema import check, quantity

COMMANDS = ("info", "integrate", "track", "report", "demo")
A = 4.0496  # angstrom, aluminium


@pytest.fixture
def batlab(monkeypatch):
    """Run a command line as a shell would; wide, so that nothing is wrapped."""
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def aluminium(tmp_path):
    """Write ten patterns of aluminium that shrinks by 0.1 %, and its structure."""
    structure = tmp_path / "Al_test.cif"
    structure.write_text(
        f"data_Al\n_cell_length_a {A}\n_cell_length_b {A}\n_cell_length_c {A}\n_cell_angle_alpha 90\n"
        "_cell_angle_beta 90\n_cell_angle_gamma 90\n_symmetry_space_group_name_H-M 'F m -3 m'\nloop_\n"
        "_atom_site_label\n_atom_site_type_symbol\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n"
        "Al1 Al 0 0 0\n"
    )
    q, rng = np.linspace(2, 6, 1500), np.random.default_rng(3)
    a = A * (1 - 0.001 * np.arange(10) / 9)
    lines = [2 * np.pi / a * np.sqrt(n) for n in (3, 4, 8, 11)]
    counts = 50 + sum(1500 * np.exp(-4 * np.log(2) * ((q - line[:, None]) / 0.02) ** 2) for line in lines)
    patterns = xr.Dataset(
        {"intensity": quantity(("frame", "q"), rng.poisson(counts).astype(float), "count", "intensity")},
        {
            "frame": quantity("frame", np.arange(10), "1", "frame"),
            "q": quantity("q", q, "1/angstrom", "scattering vector"),
        },
    )
    bl.save(patterns, tmp_path / "patterns.nc")
    return tmp_path / "patterns.nc", structure, a


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example(batlab, command):
    result = batlab(command, "--help")
    assert result.exit_code == 0
    assert f"Example: batlab {command}" in " ".join(result.output.split())


def test_help_names_every_command(batlab):
    output = batlab("--help").output
    assert all(command in output for command in COMMANDS)
    assert batlab("--version").output == f"batlab {bl.__version__}\n"


@pytest.mark.parametrize(
    "words", [["infoo"], ["info"], ["integrate", "x.h5", "x.poni", "-o", "x.nc", "--n-bins", "no"]]
)
def test_a_command_that_is_not_understood_exits_with_2(batlab, words):
    assert batlab(*words).exit_code == 2


def test_an_error_is_one_line_and_exits_with_1(batlab, tmp_path):
    result = batlab("info", tmp_path / "nothing.h5")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "nothing.h5" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert "Traceback" not in result.stderr


def test_debug_shows_the_traceback(batlab, tmp_path):
    result = batlab("info", tmp_path / "nothing.h5", "--debug")
    assert result.exit_code == 1
    assert "Traceback" in result.stderr


def test_an_output_that_is_there_is_refused_before_any_work(batlab, aluminium, tmp_path):
    taken = tmp_path / "taken.nc"
    taken.write_bytes(b"results of last week")
    for words in (("track", "no_such_patterns.nc", "no.cif", "-o", tmp_path / "new.nc", "--peaks", taken),
                  ("integrate", "no_such_frames.h5", "no.poni", "-o", taken)):  # fmt: skip
        result = batlab(*words)
        assert result.exit_code == 1
        assert "taken.nc is there already; add --overwrite" in result.stderr
    assert taken.read_bytes() == b"results of last week"
    page = batlab("report", aluminium[0], "-o", taken)
    assert "add --overwrite" in page.stderr
    assert "folder" in batlab("track", "a.nc", "a.cif", "-o", tmp_path / "no" / "x.nc").stderr


def test_info_tells_dims_units_and_range(batlab, aluminium):
    patterns, structure, _ = aluminium
    result = batlab("info", patterns)
    assert result.exit_code == 0, result.output
    for text in ("frame 10, q 1500", "1/angstrom", "2 to 6", "scattering vector"):
        assert text in result.output, text
    assert "angstrom^3" in batlab("info", structure).output


def test_info_takes_hints(batlab, tmp_path):
    (tmp_path / "a.xy").write_text("# 2th_deg I\n10.0 5\n10.1 7\n10.2 6\n")
    result = batlab("info", tmp_path / "a.xy", "--hint", "wavelength=0.41")
    assert result.exit_code == 0, result.output
    assert "0.41" in result.output
    assert batlab("info", tmp_path / "a.xy", "--hint", "wavelength").exit_code == 1
    assert "did you mean" in batlab("info", tmp_path / "a.xy", "--hint", "wavelenght=1").stderr


def test_markup_in_a_file_is_text(batlab, tmp_path):
    (tmp_path / "a.xy").write_text("# [red]sample[/] [/nonsense]\n# 2th_deg I\n10.0 5\n10.1 7\n10.2 6\n")
    assert batlab("info", tmp_path / "a.xy").exit_code == 0
    assert "[/nonsense].h5" in batlab("info", tmp_path / "[/nonsense].h5").stderr


def test_hints_are_numbers_where_they_can_be():
    assert hints(["a=1", "b=1.5", "c=mA", "d=x=y"]) == {"a": 1, "b": 1.5, "c": "mA", "d": "x=y"}


def test_from_patterns_to_cells_to_report(batlab, aluminium, tmp_path):
    patterns, structure, planted = aluminium
    cells, peaks, page = (tmp_path / name for name in ("cells.nc", "peaks.nc", "cell.html"))
    result = batlab("track", patterns, structure, "-o", cells, "--peaks", peaks)
    assert result.exit_code == 0, result.output
    found = check(bl.open(cells))
    assert np.abs(found.a - planted).max() < 2e-3
    assert (np.abs(found.a - planted) < 4 * found.a_sigma).all()
    with Store.beside(patterns) as store:
        store.add("x", author="Ada", frames=(0, 1), category="chemical", mechanism="dissolution", confidence=0.5)
    result = batlab("report", patterns, cells, peaks, "-o", page, "--title", "Foil")
    assert result.exit_code == 0, result.output
    text = page.read_text()
    for words in ("<h1>Foil</h1>", "Unit cell of Al", "dissolution", "peaks followed"):
        assert words in text, words


def test_a_store_that_is_not_there_is_an_error(batlab, aluminium, tmp_path):
    result = batlab("report", aluminium[0], "-o", tmp_path / "x.html", "--marks", tmp_path / "no.sqlite")
    assert result.exit_code == 1
    assert "no.sqlite is not there" in result.stderr
    assert not (tmp_path / "no.sqlite").exists()


def test_integrate_reduces_frames(batlab, tmp_path):
    made = bl.simulate.operando_cell(tmp_path / "raw", n_frames=3, detector="small", progress=False)
    output = tmp_path / "patterns.nc"
    words = ("integrate", tmp_path / "raw" / "*_master.h5", made.poni, "-o", output, "--n-bins", 500)
    result = batlab(*words)
    assert result.exit_code == 0, result.output
    patterns = check(bl.open(output))
    assert dict(patterns.intensity.sizes) == {"frame": 3, "q": 500}
    assert batlab(*words).exit_code == 1
    assert batlab(*words, "--overwrite", "--unit", "two_theta").exit_code == 0
    assert "did you mean 'two_theta'" in batlab(*words, "--overwrite", "--unit", "two_thata").stderr


def test_demo_writes_all_it_promises(tmp_path, batlab, monkeypatch):
    def not_at_hand(name, **_):
        raise bl.errors.DatasetUnavailableError(name)

    monkeypatch.setattr(demo.bl.datasets, "path", not_at_hand)
    result = batlab("demo", tmp_path / "demo", "--frames", "24", "--detector", "small")
    assert result.exit_code == 0, result.output
    assert "not at hand" in result.output
    assert "NMC811" in result.output
    written = {path.name for path in (tmp_path / "demo" / "simulated").iterdir()}
    assert {"patterns.nc", "peaks.nc", "events.nc", "cells_NMC811.nc", "report.html", "map.html"} <= written
    cells = check(bl.open(tmp_path / "demo" / "simulated" / "cells_NMC811.nc"))
    assert cells.sizes["frame"] == 24
    assert "voltage" in bl.open(tmp_path / "demo" / "simulated" / "patterns.nc")


@pytest.mark.data
def test_demo_finds_the_published_cell_of_licovo4(tmp_path):
    data, structures = (bl.datasets.path(name) for name in ("licovo4_operando", "cif"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the cells' own tests look at these
        demo.measured(tmp_path / "licovo4", data, structures)
    cells = check(bl.open(tmp_path / "licovo4" / "cells_LiCoVO4_400.nc"))
    # 8.269 Å at the start and 8.155 to 8.162 Å at pattern 48 or 49, from (400) by another program.
    assert abs(float(cells.a[0]) - 8.269) < 0.002
    assert 47 <= int(np.nanargmin(cells.a.values)) <= 48
    assert abs(float(cells.a.min()) - 8.1585) < 0.0055
