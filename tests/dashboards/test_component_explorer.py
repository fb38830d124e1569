"""The component dashboard without a browser: set the state, look at the data."""

import warnings

import numpy as np
import pytest
import xarray as xr
from bokeh.events import SelectionGeometry, Tap
from traitlets import TraitError

import batlab as bl
from batlab.dashboards import ComponentExplorer, component_data
from batlab.decompose.table import as_table
from batlab.errors import DimensionError
from batlab.schema import quantity

N_FRAMES, N_POINTS = 24, 50
QUICK = {"points": 2, "replicates": 20}


def planted(n=3, noise=2e-3, seed=0, name="mu_norm", axis="energy", **coords):
    """Edges of n species that follow one another, each share between 0 and 1, the middle ones never pure."""
    rng = np.random.default_rng(seed)
    points = np.linspace(8320.0, 8400.0, N_POINTS) if axis == "energy" else np.linspace(1.0, 5.0, N_POINTS)
    unit = (points - points[0]) / np.ptp(points)
    pure = [
        0.5 + np.arctan((unit - 0.3 - 0.03 * one) / 0.02) / np.pi
        + (0.5 + 0.1 * one) * np.exp(-0.5 * ((unit - 0.36 - 0.05 * one) / 0.03) ** 2)
        for one in range(n)
    ]  # fmt: skip
    along = np.linspace(0, 1, N_FRAMES)
    bumps = np.array([np.exp(-0.5 * ((along - place) / 0.28) ** 2) for place in np.linspace(0, 1, n)])
    shares = (bumps / bumps.sum(axis=0)).T
    values = shares @ np.array(pure) + rng.normal(0, noise, (N_FRAMES, N_POINTS))
    units = {"energy": "eV", "q": "1/angstrom"}[axis]
    return xr.Dataset(
        {
            name: quantity(("frame", axis), values, "1", "absorption"),
            "voltage": quantity("frame", 3.0 + 1.2 * along, "V", "voltage"),
            "capacity": quantity("frame", 1e-3 * along, "Ah", "capacity"),
        },
        {
            "frame": quantity("frame", np.arange(10, 10 + N_FRAMES), "1", "frame"),
            axis: quantity(axis, points, units, axis),
            "time": ("frame", np.datetime64("2026-01-01", "ns") + np.arange(N_FRAMES) * np.timedelta64(90, "s")),
            **coords,
        },
    )


@pytest.fixture(scope="module", autouse=True)
def counted_once():
    """Five methods need a second to count components: here they are asked once for each series, not for each test."""
    known, count = {}, component_data.rank

    def once(data, of=None):
        key = of, as_table(data, of).values.tobytes()
        if key not in known:
            known[key] = count(data, of=of)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(component_data, "rank", once)
        yield


@pytest.fixture
def series():
    return planted()


@pytest.fixture(scope="module")
def one_explorer(tmp_path_factory):
    """The figures take a second to build: the tests swap data in one dashboard."""
    made = ComponentExplorer(planted(), of="mu_norm", store=tmp_path_factory.mktemp("marks") / "marks.sqlite")
    yield made
    made.close()


@pytest.fixture
def explorer(one_explorer, series):
    one_explorer.marking.widget.selected_index = 3
    one_explorer.load(series, of="mu_norm")
    return one_explorer


def _data(explorer, name):
    return explorer.screen.part(name).data_source.data


def _title(explorer, side="concentration"):
    return explorer.screen.profiles[side].title.text


def _run(explorer, **names):
    """Run what `code` says and return its names."""
    space = dict(names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        exec(explorer.code().replace("bl.dashboards.show(", "_shown = ("), space)
    return space


def _drag(explorer, side, x0, x1):
    plot = explorer.screen.profiles[side]
    assert "selectiongeometry" in plot.subscribed_events  # else the browser keeps it to itself
    geometry = {"type": "rect", "x0": x0, "x1": x1, "y0": 0, "y1": 1}
    plot._trigger_event(SelectionGeometry(plot, geometry=geometry, final=True))


def test_begins_with_the_number_of_components_that_most_methods_say(explorer):
    assert explorer.state.n_components == 3
    votes = explorer.controls.votes.value
    assert "IND" in votes
    assert "F-test" in votes
    assert "broken stick" in votes
    assert "cross-validation" in votes
    told = explorer.rank.votes
    assert f"<b>{told['indicator']}</b>" in votes
    points = _data(explorer, "cv_error_points")
    assert points["value"].min() == 1
    assert points["x"][np.argmin(points["value"])] == told["cross_validation"]
    assert explorer.screen.part("eigenvalue_chosen").location == 3


def test_votes_that_disagree_are_named():
    ramp = np.linspace(0, 1, 30)[:, None] * np.linspace(1, 2, 40)
    made = ComponentExplorer(xr.DataArray(ramp + np.random.default_rng(0).normal(0, 0.1, ramp.shape),
                                          dims=("frame", "energy"), name="mu"))  # fmt: skip
    votes = {vote for vote in made.rank.votes.values() if vote is not None}
    words = "They disagree" if len(votes) > 1 else "All say"
    assert words in made.controls.votes.value
    made.close()


def test_profiles_are_those_of_mcr_als(explorer, series):
    rules = bl.decompose.Constraints(closure=1)
    wanted = bl.decompose.mcr_als(series, 3, of="mu_norm", constraints=rules).dataset
    for number in range(3):
        np.testing.assert_array_equal(
            _data(explorer, f"concentration_{number}_line")["value"], wanted["concentration"].values[:, number]
        )
        np.testing.assert_array_equal(
            _data(explorer, f"spectra_{number}_line")["value"], wanted["spectra"].values[number]
        )
    assert f"lack of fit {wanted.attrs['lack_of_fit']:.3g} %" in explorer.controls.status.value
    assert f"{wanted.attrs['explained_variance']:.6g} %" in explorer.controls.status.value


def test_says_that_bands_are_not_computed_and_draws_dashed(explorer):
    for side in ("concentration", "spectra"):
        assert "bands not computed" in _title(explorer, side)
        assert not any(explorer.screen.part(f"{side}_{n}_band").visible for n in range(3))
        assert explorer.screen.part(f"{side}_0_line").glyph.line_dash
    assert "not computed" in explorer.controls.told[0].value


def test_a_wide_band_is_shaded_and_never_a_line(explorer, series):
    found = explorer.compute_bands(**QUICK)
    width = found.widths()
    assert (width > 0.1).any()  # the middle component is never pure
    for number in range(3):
        band, line = (explorer.screen.part(f"concentration_{number}_{kind}") for kind in ("band", "line"))
        assert band.visible
        assert line.visible == (width[number] <= 0.1)
        data = band.data_source.data
        assert np.max(data["high"] - data["low"]) == pytest.approx(width[number])
        assert (f"{width[number]:.2f}" in explorer.controls.told[number].value) == (width[number] > 0.1)
    assert "bands not computed" not in _title(explorer)
    assert not explorer.screen.part("spectra_0_line").glyph.line_dash
    explorer.state.frame = 30
    assert explorer.result.has_bands
    explorer.state.n_components = 2
    assert not explorer.result.has_bands
    assert "bands not computed" in _title(explorer)
    explorer.state.n_components = 3  # what was computed is not computed again
    assert explorer.result.has_bands


def test_a_step_of_the_cursor_computes_nothing(explorer, series, monkeypatch):
    def refuse(*_args, **_more):
        raise AssertionError("computed")

    monkeypatch.setattr(bl.decompose, "mcr_als", refuse)
    monkeypatch.setattr(bl.decompose, "bands", refuse)
    shown = _data(explorer, "spectra_0_line")
    explorer.state.frame = 25
    assert _data(explorer, "spectra_0_line") is shown
    assert explorer.screen.part("concentration_cursor").location == 25
    assert explorer.screen.part("voltage_cursor").location == 25
    assert explorer.controls.slider.value == 25
    found = explorer.result.dataset
    rest = series["mu_norm"].sel(frame=25) - found["concentration"].sel(frame=25) @ found["spectra"]
    np.testing.assert_allclose(_data(explorer, "residual_line")["value"], rest, atol=1e-12)
    assert "frame 25" in explorer.screen.residual.title.text
    assert "rms" in explorer.screen.residual.title.text


def test_a_frozen_spectrum_stays_when_constraints_change(explorer):
    before = explorer.result.dataset["spectra"].values
    explorer.state.frozen = [1]
    np.testing.assert_array_equal(explorer.result.dataset["spectra"].values[1], before[1])
    assert "known spectra: 1" in explorer.controls.status.value
    explorer.state.non_negative = ["spectra"]
    explorer.state.closure = None
    np.testing.assert_array_equal(explorer.result.dataset["spectra"].values[1], before[1])
    assert not np.array_equal(explorer.result.dataset["spectra"].values[0], before[0])
    explorer.state.frozen = []
    assert not np.array_equal(explorer.result.dataset["spectra"].values[1], before[1])


def test_a_second_spectrum_is_frozen_as_it_is_then(explorer):
    explorer.state.frozen = [2]
    explorer.state.closure = None
    now = explorer.result.dataset["spectra"].values
    explorer.state.frozen = [2, 0]
    np.testing.assert_array_equal(explorer.result.dataset["spectra"].values[[0, 2]], now[[0, 2]])


def test_frozen_components_that_are_gone_are_forgotten(explorer):
    explorer.state.frozen = [0, 2]
    explorer.state.unimodal = [2]
    explorer.state.n_components = 2
    assert explorer.state.frozen == [0]
    assert explorer.state.unimodal == []
    assert explorer.result.n_components == 2


def test_freezing_narrows_the_bands(explorer):
    wide = explorer.compute_bands(**QUICK).widths()
    explorer.state.frozen = [0, 1, 2]
    narrow = explorer.compute_bands(**QUICK).widths()
    assert (narrow < 0.3 * wide.max()).all()
    assert explorer.screen.part("concentration_1_line").visible


def test_constraints_are_kept(explorer):
    explorer.state.unimodal = [1]
    shares = explorer.result.dataset["concentration"].values
    rises = np.diff(shares[:, 1])
    top = int(np.argmax(shares[:, 1]))
    assert (rises[:top] >= -1e-9).all()
    assert (rises[top:] <= 1e-9).all()
    explorer.state.closure = 2
    explorer.state.unimodal = []
    np.testing.assert_allclose(explorer.result.dataset["concentration"].sum("component"), 2, rtol=1e-6)
    assert explorer.controls.closure.description == "sum to 2"


@pytest.mark.parametrize("options", [{**QUICK, "seed": 3}, None])
def test_code_gives_the_numbers_on_the_screen(explorer, series, options):
    explorer.state.frozen = [1]
    explorer.state.non_negative = ["concentration"]
    explorer.state.frozen = [1, 2]
    explorer.state.unimodal = [0] if options is None else []
    explorer.state.frame, explorer.state.against = 22, "capacity"
    if options is not None:
        explorer.compute_bands(**options)
    space = _run(explorer, series=series)
    for name, values in explorer.result.dataset.data_vars.items():
        np.testing.assert_array_equal(space["found"].dataset[name].values, values.values, err_msg=name)
    np.testing.assert_allclose(space["residual"].values, explorer.residual(), atol=1e-12)
    assert space["rank"].votes == explorer.rank.votes
    drawn = space["concentrations"].select_one({"name": "component_0_data"})
    wanted = _data(explorer, "concentration_0_line")
    np.testing.assert_allclose(drawn.data["x"], wanted["x"])
    np.testing.assert_array_equal(drawn.data["value"], wanted["value"])


def test_patterns_over_q_as_an_array_without_coordinates_of_frames():
    array = planted(2, axis="q", name="intensity")["intensity"].drop_vars(["frame", "time"])
    made = ComponentExplorer(array)
    assert made.state.closure is None
    assert not made.screen.voltage.visible
    assert made.screen.profiles["concentration"].xaxis.visible
    assert "q (Å⁻¹)" in made.screen.residual.xaxis.axis_label
    assert made.state.choices == ["frame"]
    made.state.frame = 7
    space = _run(made, series=array)
    np.testing.assert_allclose(space["residual"].values, made.residual(), atol=1e-12)
    made.close()


def test_voltage_lies_on_the_axis_of_the_concentrations(explorer, series):
    assert explorer.screen.voltage.x_range is explorer.screen.profiles["concentration"].x_range
    explorer.state.against = "time"
    hours = np.arange(N_FRAMES) * 90 / 3600
    np.testing.assert_allclose(_data(explorer, "voltage_line")["x"], hours)
    np.testing.assert_array_equal(_data(explorer, "voltage_line")["value"], series["voltage"])
    np.testing.assert_allclose(_data(explorer, "concentration_1_line")["x"], hours)
    explorer.state.frame = 20
    assert explorer.screen.part("concentration_cursor").location == pytest.approx(10 * 90 / 3600)
    assert explorer.screen.part("map_cursor").location == 20  # keys count frames
    plot = explorer.screen.voltage
    plot._trigger_event(Tap(plot, x=0.31, y=3.5))
    assert explorer.state.frame == 10 + round(0.31 * 3600 / 90)
    with pytest.raises(TraitError, match="against must be one of frame, time, capacity"):
        explorer.state.against = "test_time"


def test_frames_and_a_range_become_a_mark(explorer, series):
    _drag(explorer, "concentration", 14.6, 20.2)
    assert explorer.state.region[:2] == (15, 20)
    _drag(explorer, "spectra", 8340.0, 8350.0)
    assert explorer.state.region == (15, 20, 8340.0, 8350.0)
    assert "frames 15–20" in explorer.marking.where.value
    explorer.marking.mechanism.value = "phase transition"
    explorer.marking.author.value = "Ada"
    explorer.marking.add()
    marks = explorer.store.marks(series)
    assert [(one.frames, one.axis, one.axis_range, one.author) for one in marks] == [
        ((15, 20), "energy", (8340.0, 8350.0), "Ada")
    ]
    assert explorer.state.region is None
    assert list(_data(explorer, "mark_strips")["x0"]) == [14.5]
    assert list(_data(explorer, "mark_strips")["x1"]) == [20.5]
    assert "store.marks(series)" in explorer.code()
    with pytest.raises(ValueError, match="select first"):
        explorer.marking.add()


def test_without_a_store_nothing_can_be_marked(series):
    made = ComponentExplorer(series, of="mu_norm")
    _drag(made, "concentration", 14.6, 20.2)
    assert made.marking.save.disabled
    with pytest.raises(ValueError, match="need a store"):
        made.marking.add()
    made.close()


def test_what_cannot_be_is_told_in_words(explorer, series):
    assert "not negative" in explorer.controls.status.value
    explorer.load(series.isel(frame=slice(0, 5)), of="mu_norm")
    explorer.state.n_components = 6
    assert "no components: n_components must be less than 5" in explorer.controls.status.value
    assert explorer.result is None
    assert not explorer.screen.part("concentration_0_line").visible
    assert explorer.controls.bands.disabled
    assert np.isnan(_data(explorer, "residual_line")["value"]).all()
    with pytest.raises(ValueError, match="no components to compute bands of"):
        explorer.compute_bands()
    explorer.state.n_components = 2
    assert explorer.screen.part("concentration_0_line").visible
    with pytest.raises(TraitError, match="from 1 to 8"):
        explorer.state.n_components = 9
    with pytest.raises(TraitError, match="from 0 to 1"):
        explorer.state.frozen = [2]
    with pytest.raises(TraitError, match="positive"):
        explorer.state.closure = -1


def test_warnings_of_the_fit_are_told(explorer, series):
    growing = series["mu_norm"] * xr.DataArray(np.linspace(1, 3, N_FRAMES), dims="frame")  # no closure to 1
    explorer.load(series.assign(mu_norm=growing), of="mu_norm")
    explorer.state.n_components = 2
    assert "constraints contradict the data" in explorer.controls.status.value
    explorer.state.closure = None
    assert "contradict" not in explorer.controls.status.value


def test_no_bands_with_a_bad_option(explorer):
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        explorer.compute_bands(level=2)
    assert not explorer.result.has_bands


def test_a_frame_without_data_and_a_glitch_are_left_out(series):
    given = series.copy(deep=True)
    given["mu_norm"][5] = np.nan
    given["mu_norm"][:, 7] = np.nan
    made = ComponentExplorer(given, of="mu_norm")
    assert np.isnan(_data(made, "concentration_0_line")["value"][5])
    made.state.frozen = [0]
    assert made.result is not None
    made.compute_bands(**QUICK)
    made.state.frame = 15
    assert np.isnan(made.residual()).all()
    assert "rms" not in made.screen.residual.title.text
    made.close()


def test_load_swaps_the_data_in_the_same_figures(explorer):
    explorer.state.frozen = [1]
    explorer.compute_bands(**QUICK)
    root = explorer.screen.root
    explorer.load(planted(2, axis="q", name="intensity"))
    assert explorer.screen.root is root
    assert explorer.state.frozen == []
    assert explorer.state.n_components == 2
    assert explorer.state.closure is None
    assert "bands not computed" in _title(explorer)
    assert _data(explorer, "spectra_0_line")["x"][0] == 1.0
    assert not explorer.screen.part("spectra_2_line").visible
    explorer.state.frozen = [0]
    explorer.state.unimodal = [1]
    explorer.state.n_components = 1
    assert explorer.state.unimodal == []
    with pytest.raises(DimensionError):
        explorer.load(xr.DataArray(np.zeros((2, 5)), dims=("frame", "energy")))
    assert explorer.state.n_components == 1


@pytest.mark.parametrize(
    ("given", "of", "words"),
    [
        (xr.DataArray(np.zeros((2, 5)), dims=("frame", "energy")), None, "at least 3 frames"),
        (xr.DataArray(np.zeros(5), dims="energy"), None, "at least 3 frames"),
        (xr.DataArray(np.zeros((5, 4, 3)), dims=("frame", "y", "x")), None, "needs a table over"),
        (planted(), "mu_nrom", "no variable 'mu_nrom'"),
        (planted().isel(frame=[3, 2, 1, 0]), "mu_norm", "frames that increase"),
        (planted().isel(energy=slice(None, None, -1)), "mu_norm", "increasing 'energy'"),
    ],
)
def test_refuses_what_is_no_table(given, of, words):
    with pytest.raises(ValueError, match=words):
        ComponentExplorer(given, of=of)


def test_a_series_that_does_not_vary_gets_no_rank():
    flat = xr.DataArray(np.ones((6, 8)), dims=("frame", "energy"), name="mu")
    made = ComponentExplorer(flat)
    assert "no rank" in made.controls.votes.value
    assert "nothing to count" in made.controls.votes.value
    made.close()


def test_inputs_are_not_changed(series):
    before = series.copy(deep=True)
    made = ComponentExplorer(series, of="mu_norm")
    made.state.frozen = [0]
    made.close()
    xr.testing.assert_identical(series, before)


def test_show_returns_none_and_close_lets_go(series):
    made = ComponentExplorer(series, of="mu_norm")
    assert made.show() is None
    made.close()
    assert not hasattr(made, "_solver")


def test_buttons_and_toggles_change_the_state(explorer):
    explorer.controls.freeze[2].value = True
    explorer.controls.freeze[0].value = True
    assert explorer.state.frozen == [2, 0]
    explorer.controls.freeze[2].value = False
    assert explorer.state.frozen == [0]
    explorer.controls.peak[1].value = True
    assert explorer.state.unimodal == [1]
    explorer.controls.closure.value = False
    assert explorer.state.closure is None
    explorer.controls.sides["concentration"].value = False
    assert explorer.state.non_negative == ["spectra"]
    explorer.controls.init.value = "efa"
    assert explorer.state.init == "efa"
    explorer.controls.number.value = 2
    assert explorer.result.n_components == 2
    explorer.controls.forward.click()
    assert explorer.state.frame == 11
    explorer.marking.widget.selected_index = 2
    assert explorer.marking.script.value == explorer.code()


def test_says_which_components_may_change_places(explorer):
    assert "change places" not in explorer.controls.status.value  # nobody has computed bands
    pairs = explorer.compute_bands(**QUICK).dataset.attrs["bands_exchangeable"]
    assert " and " in pairs  # the middle component is never pure
    assert f"components {pairs} may change places at the same fit" in explorer.controls.status.value
    explorer.state.frozen = [0, 1, 2]
    assert "change places" not in explorer.controls.status.value
    assert explorer.compute_bands(**QUICK).dataset.attrs["bands_exchangeable"] == "none"
    assert "change places" not in explorer.controls.status.value
