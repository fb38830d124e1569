"""The calibration dashboard without a browser: set the state, look at the data."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from bokeh.events import MouseMove, RangesUpdate, SelectionGeometry
from traitlets import TraitError

import batlab as bl
from batlab.dashboards import Calibrator
from batlab.errors import DimensionError
from batlab.io.poni import Geometry

SHAPE, PIXEL, WAVELENGTH = (300, 320), 4e-4, 0.25
TRUE = Geometry(
    0.2, 0.062, 0.058, 0.0, 0.0, 0.0, WAVELENGTH, "Detector", f'{{"pixel1":{PIXEL},"pixel2":{PIXEL}}}', PIXEL, PIXEL,
    SHAPE, 3, True,
)  # fmt: skip
LAB6 = 4.156826  # angstrom, NIST SRM 660c


def rings_of(seed=0):
    """Counts of LaB6's rings on a detector across the beam: r = L tan 2θ, nothing of batlab."""
    y, x = np.indices(SHAPE)
    radius = np.hypot((y + 0.5) * PIXEL - TRUE.poni1, (x + 0.5) * PIXEL - TRUE.poni2)
    counts = np.full(SHAPE, 10.0)
    for square in (1, 2, 3, 4, 5, 6, 8, 9):
        ring = TRUE.distance * np.tan(2 * np.arcsin(WAVELENGTH / 2 * np.sqrt(square) / LAB6))
        counts += 200 * np.exp(-0.5 * ((radius - ring) / (1.2 * PIXEL)) ** 2)
    values = np.random.default_rng(seed).poisson(counts).astype(np.uint32)
    return xr.Dataset(
        {"intensity": (("frame", "y", "x"), values[None], {"units": "count"})}, attrs={"wavelength": WAVELENGTH}
    )


@pytest.fixture
def image():
    return rings_of()


@pytest.fixture
def calibrator(image):
    made = Calibrator(image, replace(TRUE, distance=0.2008, poni1=TRUE.poni1 + 3e-4))
    yield made
    if hasattr(made, "widget"):
        made.close()


def _send(calibrator, event):
    """Hand an event to the figure as the browser does: through the view's message."""
    assert event.event_name in event.model.subscribed_events  # else the browser keeps it to itself
    values = {"type": "map", "entries": [["model", {"id": event.model.id}], *_entries(event)]}
    message = {"type": "event", "name": event.event_name, "values": values}
    content = {"event": "jsevent", "kind": "MessageSent", "msg_type": "bokeh_event", "msg_data": message}
    calibrator.views[0]._sync_model(calibrator.views[0], content, [])


def _entries(event):
    for name, value in vars(event).items():
        if name in ("model", "modifiers") or value is None:
            continue
        if isinstance(value, dict):
            value = {"type": "map", "entries": list(map(list, value.items()))}
        yield [name, value]


def _draw(calibrator, geometry, final=True):
    _send(calibrator, SelectionGeometry(calibrator.screen.image, geometry=geometry, final=final))


def _data(calibrator, name):
    return calibrator.screen.part(name).data_source.data


def test_rings_lie_where_tangens_says(calibrator):
    calibrator.state.distance, calibrator.state.beam_y, calibrator.state.beam_x = 0.2, 154.5, 144.5
    first = TRUE.distance * np.tan(2 * np.arcsin(WAVELENGTH / 2 / LAB6)) / PIXEL
    xs, ys = (_data(calibrator, "rings")[name][0] for name in ("xs", "ys"))
    np.testing.assert_allclose(np.hypot(ys - 154.5, xs - 144.5), first, rtol=1e-6)


def test_the_image_travels_reduced_and_keeps_single_hot_pixels():
    counts = np.ones((2167, 2070), np.float32)
    counts[1001, 777] = 50
    from batlab.figures.detector_image import image_pixels

    drawn = image_pixels(counts, view=(-0.5, 2069.5, -0.5, 2166.5), scale="linear", limits=(0, 50))
    assert max(drawn.pixels.shape) <= 1000
    assert drawn.pixels.dtype == np.uint8
    (row,), (column,) = np.nonzero(drawn.pixels == 255)
    step = drawn.width / drawn.pixels.shape[1]
    assert drawn.left + step * column <= 777 <= drawn.left + step * (column + 1)
    assert drawn.bottom + step * row <= 1001 <= drawn.bottom + step * (row + 1)


def test_a_zoom_shows_the_pixels_themselves(calibrator, image):
    calibrator.state.scale, calibrator.state.limits = "linear", (0.0, 254.0)
    _send(calibrator, RangesUpdate(calibrator.screen.image, x0=10, x1=40, y0=20, y1=60))
    assert calibrator.state.view == (10, 40, 20, 60)
    shown = _data(calibrator, "image")
    left, bottom = round(shown["x"][0] + 0.5), round(shown["y"][0] + 0.5)
    rows, columns = shown["image"][0].shape
    counts = image["intensity"].values[0, bottom : bottom + rows, left : left + columns]
    np.testing.assert_array_equal(shown["image"][0], 1 + np.minimum(counts, 254))


def test_gaps_are_missing_and_a_mask_is_tinted(image):
    image["intensity"].values[0, 5, 6] = 2**32 - 1
    image.attrs["overflow"] = [2**32 - 1]
    mask = np.zeros(SHAPE, bool)
    mask[200:210, 100] = True
    calibrator = Calibrator(image, TRUE, mask=mask)
    assert _data(calibrator, "image")["image"][0][5, 6] == 0
    np.testing.assert_array_equal(_data(calibrator, "mask")["image"][0], mask)
    np.testing.assert_array_equal(calibrator.mask().values, mask)
    calibrator.close()


def test_boxes_and_polygons_mask_what_they_hold_and_can_be_undone(calibrator):
    _draw(calibrator, {"type": "rect", "x0": 9.6, "x1": 20.4, "y0": 29.6, "y1": 31.4})
    assert calibrator.state.shapes == [("rectangle", [(29.6, 9.6), (31.4, 20.4)])]
    _draw(calibrator, {"type": "poly", "x": [100, 110, 100], "y": [50, 50, 60]}, final=False)
    _draw(calibrator, {"type": "poly", "x": [100, 110, 100], "y": [50, 50, 60]})
    mask = calibrator.mask().values
    assert mask[30:32, 10:21].all()
    assert mask.sum() == 22 + 66
    assert _data(calibrator, "mask")["image"][0].sum() == mask.sum()
    assert "88 pixels" in calibrator.controls.masked.value
    calibrator.controls.undo.click()
    assert calibrator.mask().values.sum() == 22
    calibrator.controls.clear.click()
    assert not calibrator.mask().values.any()
    assert calibrator.controls.undo.disabled


def test_the_cursor_tells_counts_q_and_angle(calibrator, image):
    _send(calibrator, MouseMove(calibrator.screen.image, x=200.2, y=99.8))
    angle = np.degrees(calibrator.state.geometry.pyfai().tth(np.array([99.8]), np.array([200.2]))[0])
    q = 4 * np.pi * np.sin(np.radians(angle) / 2) / WAVELENGTH
    told = calibrator.controls.readout.value
    assert f"y 100, x 200: {image['intensity'].values[0, 100, 200]} counts" in told
    assert f"2θ {angle:.3f}°" in told
    assert f"q {q:.4f} " in told


def test_the_fit_finds_the_planted_geometry_and_shows_it(calibrator):
    calibrator.state.free = ["distance", "poni1", "poni2"]
    calibrator.controls.fit.click()
    state, sigma = calibrator.state, calibrator.calibration.sigma
    assert abs(state.distance - TRUE.distance) < max(4 * sigma["distance"], 2e-5)
    assert (state.beam_y, state.beam_x) == pytest.approx((154.5, 144.5), abs=0.05)
    assert not calibrator.controls.fit.disabled
    assert "rings" in calibrator.controls.status.value
    shown = _data(calibrator, "residual_means")
    np.testing.assert_allclose(shown["y"], calibrator.calibration.rings["residual_mean"])
    assert "±" in calibrator.controls.sigmas["distance"].value
    assert not calibrator.controls.sigmas["rot1"].value
    calibrator.controls.values["distance"].value += 0.1
    assert calibrator.calibration is None
    assert not len(_data(calibrator, "residual_means")["y"])
    assert not calibrator.controls.sigmas["distance"].value


def test_back_goes_to_the_values_before_the_fit(calibrator):
    before = calibrator.state.geometry
    calibrator.controls.fit.click()
    calibrator.controls.undo_fit.click()
    assert calibrator.state.distance == before.distance
    assert calibrator.calibration is None


def test_a_fit_that_fails_says_why(calibrator):
    calibrator.state.beam_y, calibrator.state.distance = 4000.0, 0.3
    before = calibrator.state.geometry
    calibrator.controls.fit.click()
    assert "no fit:" in calibrator.controls.status.value
    assert calibrator.state.geometry == before
    assert not calibrator.controls.fit.disabled
    calibrator.state.free = []
    calibrator.controls.fit.click()
    assert "tick" in calibrator.controls.status.value


def test_nudges_change_the_state_in_its_units_and_refuse_nonsense(calibrator):
    controls = calibrator.controls
    controls.values["distance"].value = 250.0
    controls.values["rot1"].value = 1.0
    controls.values["wavelength"].value = 50.0
    assert calibrator.state.distance == pytest.approx(0.25)
    assert calibrator.state.rot1 == pytest.approx(np.radians(1.0))
    assert calibrator.state.wavelength == pytest.approx(12.398420 / 50, rel=1e-6)
    controls.values["distance"].value = -1.0
    assert calibrator.state.distance == pytest.approx(0.25)
    assert "positive" in controls.status.value
    with pytest.raises(TraitError, match="calibrant"):
        calibrator.state.calibrant = "LaB7"


def test_a_tilt_leaves_the_beam_where_it_is(calibrator):
    calibrator.state.rot1, calibrator.state.rot2 = 0.1, -0.05
    y, x = calibrator.state.beam_y, calibrator.state.beam_x
    assert calibrator.state.geometry.pyfai().tth(np.array([y]), np.array([x]))[0] < 1e-7


def test_poni_and_mask_are_kept_and_nothing_is_overwritten(calibrator, tmp_path):
    _draw(calibrator, {"type": "rect", "x0": 10, "x1": 20, "y0": 30, "y1": 31})
    controls = calibrator.controls
    controls.poni.value, controls.mask.value = str(tmp_path / "a.poni"), str(tmp_path / "a.edf")
    controls.save_poni.click()
    controls.save_mask.click()
    assert "kept" in controls.saved.value
    again = bl.open(tmp_path / "a.poni")
    assert (again.distance, again.poni1) == pytest.approx((calibrator.state.distance, calibrator.state.geometry.poni1))
    np.testing.assert_array_equal(bl.scattering.open_mask(tmp_path / "a.edf"), calibrator.mask())
    controls.save_mask.click()
    assert "not kept" in controls.saved.value
    controls.overwrite.value = True
    controls.save_mask.click()
    assert "not kept" not in controls.saved.value


def test_the_code_draws_the_same_screen(calibrator, image):
    calibrator.state.free = ["distance", "poni1", "poni2"]
    _draw(calibrator, {"type": "rect", "x0": 10, "x1": 20, "y0": 30, "y1": 31})
    _draw(calibrator, {"type": "poly", "x": [100, 110, 100], "y": [50, 50, 60]})
    calibrator.state.n_rings = 6
    calibrator.fit()
    names = {"image": image}
    lines = calibrator.code().replace("bl.dashboards.show(figure)", "")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        exec(compile(lines, "code", "exec"), names)
    figure = names["figure"]
    for name in ("image", "mask"):
        drawn = figure.select_one({"name": name}).data_source.data["image"][0]
        shown = _data(calibrator, name)["image"][0]
        np.testing.assert_array_equal(drawn, shown)
    for mine, theirs in zip(
        figure.select_one({"name": "rings"}).data_source.data["xs"], _data(calibrator, "rings")["xs"]
    ):
        np.testing.assert_allclose(mine, theirs, atol=1e-3)


def test_another_image_comes_into_the_same_figures(calibrator):
    other = rings_of(seed=1)
    figure = calibrator.screen.image
    _draw(calibrator, {"type": "rect", "x0": 10, "x1": 20, "y0": 30, "y1": 31})
    calibrator.load(other, TRUE)
    assert calibrator.screen.image is figure
    assert not calibrator.state.shapes
    assert calibrator.state.distance == TRUE.distance
    with pytest.raises(DimensionError):
        calibrator.load(other.isel(y=slice(0, 10)), TRUE)
    assert calibrator.screen.counts.shape == SHAPE
    calibrator.state.scale = "log"
    assert calibrator.show() is None


def test_what_cannot_be_shown_is_refused(image):
    with pytest.raises(DimensionError, match="one image"):
        Calibrator(xr.concat([image, image], "frame"), TRUE)
    with pytest.raises(DimensionError, match="mask"):
        Calibrator(image, TRUE, mask=np.zeros((2, 2), bool))
    with pytest.raises(ValueError, match="calibrant"):
        Calibrator(image, TRUE, "LaB7")
    with pytest.raises(ValueError, match="wavelength"):
        Calibrator(image.assign_attrs(wavelength=None), replace(TRUE, wavelength=None))
