"""Four panels of a HEXRD instrument: their geometry beside HEXRD's own formulas, and rings of ceria on all of them."""

import copy
import warnings

import numpy as np
import pytest
import xarray as xr
import yaml
from scipy.spatial.transform import Rotation

from batlab import datasets, io, scattering, schema
from batlab.errors import DimensionError, ReadError

A = 5.4116  # angstrom, CeO2
SQUARES = np.array([3, 4, 8, 11, 12, 16, 19, 20])  # h² + k² + l² of rings that a panel shows whole enough

BEAM = {"energy": 60.0, "vector": {"azimuth": 90.0, "polar_angle": 90.0}}


def instrument(beam=BEAM, **panels):
    """A HEXRD instrument as a dictionary; a panel is (tilt, translation)."""
    made = {}
    for number, (name, (tilt, translation)) in enumerate(panels.items()):
        made[name] = {
            "detector_type": "planar",
            "group": "front",
            "pixels": {"rows": 40, "columns": 30, "size": [0.2, 0.1], "roi": [40 * number, 0]},
            "transform": {"tilt": list(tilt), "translation": list(translation)},
        }
    return {"beam": copy.deepcopy(beam), "detectors": made}


def write(path, tree):
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    return path


def hexrd_position(entry, y, x):
    """Where HEXRD's documentation puts a pixel, in mm: rows from the top, columns from the left, then turn and move."""
    pixels, place = entry["pixels"], entry["transform"]
    rows, columns = pixels["rows"], pixels["columns"]
    flat = np.stack([
        (x - (columns - 1) / 2) * pixels["size"][1], ((rows - 1) / 2 - y) * pixels["size"][0], np.zeros_like(x)
    ], axis=-1)  # fmt: skip
    return Rotation.from_rotvec(place["tilt"]).apply(flat) + place["translation"]


TILTS = [(0, 0, 0), (0.1, 0, 0), (0, 0.2, 0), (0, 0, 0.3), (0.3, -0.5, 0.8), (-0.4, 0.2, 2.5)]


@pytest.mark.parametrize("tilt", TILTS)
def test_every_pixel_stands_where_hexrd_puts_it(tmp_path, tilt):
    """Scattering angle and azimuth of random places, by rotation matrices of scipy."""
    tree = instrument(one=(tilt, (3.0, -2.0, -250.0)))
    panel = io.open(write(tmp_path / "one.yml", tree))["one"]
    generator = np.random.default_rng(1)
    y, x = generator.uniform(0, 39, 50), generator.uniform(0, 29, 50)
    place = hexrd_position(tree["detectors"]["one"], y, x)
    pyfai = panel.geometry.pyfai()
    angle = np.arctan2(np.hypot(place[:, 0], place[:, 1]), -place[:, 2])
    np.testing.assert_allclose(pyfai.tth(y, x), angle, atol=1e-12)
    # pyFAI counts azimuth from its second axis, to the left as the beam sees it, towards up.
    np.testing.assert_allclose(pyfai.chi(y, x), np.arctan2(place[:, 1], -place[:, 0]), atol=1e-9)
    assert panel.geometry.wavelength == pytest.approx(12.398419843 / 60, rel=1e-9)
    assert panel.rows == (0, 40)
    assert panel.geometry.shape == (40, 30)


def test_a_beam_off_the_axis(tmp_path):
    """Azimuth and polar angle of the beam: 2θ is counted from where it goes."""
    beam = {"energy": 60.0, "vector": {"azimuth": 88.0, "polar_angle": 93.0}}
    tree = instrument(beam, one=((0.02, 0.1, -0.3), (3.0, -2.0, -250.0)))
    panel = io.open(write(tmp_path / "one.yml", tree))["one"]
    azimuth, polar = np.radians([88.0, 93.0])
    towards = -np.array([np.sin(polar) * np.cos(azimuth), np.cos(polar), np.sin(polar) * np.sin(azimuth)])
    y, x = np.array([0.0, 13.0, 39.0]), np.array([29.0, 4.0, 0.0])
    place = hexrd_position(tree["detectors"]["one"], y, x)
    angle = np.arccos(place @ towards / np.linalg.norm(place, axis=1))
    np.testing.assert_allclose(panel.geometry.pyfai().tth(y, x), angle, atol=1e-10)


def test_panels_by_name_and_group(tmp_path):
    tree = instrument(top=((0, 0, 0), (0, 5, -200)), low=((0, 0, 0), (0, -5, -200)))
    both = io.open(write(tmp_path / "two.yml", tree))
    assert both.energy == 60_000
    assert [panel.rows for panel in both.group("front").panels] == [(0, 40), (40, 80)]
    with pytest.raises(KeyError, match="did you mean 'top'"):
        both["topp"]
    with pytest.raises(KeyError, match="groups front"):
        both.group("back")
    image = xr.DataArray(np.zeros((60, 30)), dims=("y", "x"))
    with pytest.raises(DimensionError, match="panel low ends at row 80"):
        scattering.integrate_panels(image, both, n_bins=10, q_range=(0.1, 1.0))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda tree: tree["beam"].update(energy=-1), "energy must be positive"),
        (lambda tree: tree["detectors"]["one"]["transform"].update(tilt=[0, 1]), "tilt of panel one"),
        (lambda tree: tree["detectors"]["one"]["transform"].update(translation=[0, 0, float("nan")]), "finite"),
        (lambda tree: tree["detectors"]["one"]["transform"].update(translation=[0, 0, 250.0]), "faces away"),
        (lambda tree: tree["detectors"]["one"].update(detector_type="cylindrical"), "only planar"),
        (lambda tree: tree["detectors"]["one"].update(distortion={"function_name": "GE_41RT"}), "distortion"),
        (lambda tree: tree["detectors"]["one"]["pixels"].update(rows=10**9), "pixels of"),
        (lambda tree: tree["detectors"]["one"].pop("pixels"), "pixels"),
        (lambda tree: tree["detectors"].clear(), "panels 0"),
    ],
)
def test_bad_instruments_are_refused(tmp_path, change, match):
    tree = instrument(one=((0, 0, 0), (0, 0, -200)))
    change(tree)
    with pytest.raises(ReadError, match=match):
        io.open(write(tmp_path / "bad.yml", tree))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("beam: [1, 2\ndetectors:\n", "no YAML"),
        ("beam: &a [1]\ndetectors: *a\n", "anchors"),
        ("beam: !!python/object/apply:os.system ['true']\ndetectors: {}\n", "no YAML"),
        ("detectors:\n- 1\nbeam: 3\n", "bad.yml"),
    ],
)
def test_hostile_text_is_refused(tmp_path, text, match):
    (tmp_path / "bad.yml").write_text(text)
    with pytest.raises(ReadError, match=match):
        io.open(tmp_path / "bad.yml")


def test_panels_summed_are_the_one_detector_they_were_cut_from(tmp_path):
    """A flat detector described as one panel and as two halves gives the same pattern, σ too."""
    generator = np.random.default_rng(2)
    image = xr.DataArray(generator.poisson(50, (80, 30)).astype(np.uint16), dims=("y", "x"))
    halves = instrument(top=((0, 0, 0), (0, 4.0, -200)), low=((0, 0, 0), (0, -4.0, -200)))
    whole = instrument(all=((0, 0, 0), (0, 0, -200)))
    whole["detectors"]["all"]["pixels"]["rows"] = 80
    settings = {"n_bins": 40, "q_range": (0.05, 1.5)}
    by_two = scattering.integrate_panels(image, io.open(write(tmp_path / "two.yml", halves)), **settings)
    geometry = io.open(write(tmp_path / "one.yml", whole))["all"].geometry
    by_one = scattering.integrate(image, geometry, **settings)
    schema.check(by_two)
    for name in ("intensity", "intensity_sigma", "normalization", "signal", "n_pixels"):
        # The solid angle is counted relative to the foot of the normal, which is the same for coplanar halves.
        np.testing.assert_allclose(by_two[name], by_one[name], rtol=1e-6)


@pytest.fixture(scope="module")
def ceria():
    folder = datasets.path("ceo2_dexela")
    return io.open(folder / "ceria_ff1.h5"), io.open(folder / "dexelas.yml").group("ff1")


def cells(pattern):
    """Return a of each ring that enough pixels have seen, from its centre of gravity above 0.3 of its height."""
    q, values = pattern.q.values, pattern.intensity.values[0]
    count = np.broadcast_to(pattern.n_pixels.values, (1, q.size))[0]
    found = {}
    for square in SQUARES:
        near = np.abs(q - 2 * np.pi * np.sqrt(square) / A) < 0.06
        if np.isnan(values[near]).any() or np.median(count[near]) < 300:
            continue
        height = values[near] - np.median(np.r_[values[near][:10], values[near][-10:]])
        top = height > 0.3 * height.max()
        found[int(square)] = 2 * np.pi * np.sqrt(square) / np.average(q[near][top], weights=height[top])
    return found


@pytest.mark.data
def test_real_ceria_rings_agree_on_all_panels(ceria):
    """Rings of all four panels, each calibrated from where the .yml puts it, give the cell within 5e-4.

    The rings are of single grains, 20 pixels broad, some saturated: the centres of single grains scatter by 3 pixels,
    so that it is the mean over a panel's rings that can be asked for; a single ring is within 2e-3.
    """
    image, panels = ceria
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="points lie .* pixel")
        moved, found = scattering.calibrate_panels(image, "CeO2", panels)
    assert len(found) == 4
    settings = {"n_bins": 4000, "q_range": (0.2, 6.4), "error_model": None}
    for panel in moved.panels:
        assert panel.geometry.distance == pytest.approx(panels[panel.name].geometry.distance, abs=6e-3)
        own = cells(scattering.integrate(image.isel(panel.place), panel.geometry, **settings))
        assert len(own) >= 4
        assert np.mean(list(own.values())) == pytest.approx(A, rel=5e-4)
        assert np.max(np.abs(np.array(list(own.values())) / A - 1)) < 2e-3
    together = cells(scattering.integrate_panels(image, moved, **settings))
    assert len(together) == len(SQUARES)
    assert np.mean(list(together.values())) == pytest.approx(A, rel=5e-4)


@pytest.mark.data
def test_real_ceria_before_calibration(ceria):
    """The .yml as it comes: rings are where it says within 0.5 %, and sharp in no other orientation."""
    image, panels = ceria
    found = cells(scattering.integrate_panels(image, panels, n_bins=4000, q_range=(0.2, 6.4), error_model=None))
    assert np.max(np.abs(np.array(list(found.values())) / A - 1)) < 5e-3
    from batlab.scattering.orientation import best_orientation
    from batlab.scattering.ring_points import Picture

    for panel in panels.panels:
        values = np.asarray(image.intensity.isel(frame=0, **panel.place))
        assert best_orientation(panel.geometry, Picture.of(values, np.zeros(values.shape, bool)))[0] == 1
