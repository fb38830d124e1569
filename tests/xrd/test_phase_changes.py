"""Solid solution against two-phase coexistence, with planted truth."""

import numpy as np
import pytest
import xarray as xr

from batlab import schema
from batlab.errors import SchemaError
from batlab.schema import quantity
from batlab.xrd import phase_changes
from batlab.xrd.tracks import tracks_of

N_FRAMES = 120
FRAMES = np.arange(N_FRAMES)
PLACES = np.array([2.0, 3.1, 4.2])


def peak_table(strains, amounts, seed=0, position_sigma=2e-4, area_sigma=1.0, lost_below=4.0):
    """One phase a row of `strains` and `amounts` (phase, frame): three peaks each, those too weak not seen."""
    rng = np.random.default_rng(seed)
    position, area, phase = [], [], []
    for number, (strain, amount) in enumerate(zip(strains, amounts)):
        places = PLACES * (1 + 0.04 * number)
        position.append(places / (1 + np.asarray(strain))[:, None])
        area.append(np.outer(amount, [100.0, 60.0, 40.0]))
        phase += ["AB"[number]] * 3
    position, area = np.concatenate(position, axis=1), np.concatenate(area, axis=1)
    position = position + position_sigma * rng.normal(size=position.shape)
    area = area + area_sigma * rng.normal(size=area.shape)
    lost = area < lost_below
    dims = ("frame", "peak")

    def column(values, units, told):
        return quantity(dims, np.where(lost, np.nan, values), units, told)

    return xr.Dataset(
        {
            "position": column(position, "1/angstrom", "position"),
            "position_sigma": column(np.full(area.shape, position_sigma), "1/angstrom", "1 sigma of the position"),
            "area": column(area, "1", "area"),
            "area_sigma": column(np.full(area.shape, area_sigma), "1", "1 sigma of the area"),
            "status": quantity(dims, np.where(lost, 3, 0).astype(np.int8), "1", "status"),
        },
        {
            "frame": quantity("frame", FRAMES, "1", "frame"),
            "peak": quantity("peak", np.arange(len(phase)), "1", "peak"),
            "phase": quantity("peak", np.array(phase), "1", "phase"),
        },
        {"axis": "q"},
    )


def cell_table(strain, sigma=1e-4, seed=0):
    rng = np.random.default_rng(seed)
    volume = 100 * (1 + np.asarray(strain)) ** 3 + 3 * 100 * sigma * rng.normal(size=len(strain))
    return xr.Dataset(
        {
            "volume": quantity("frame", volume, "angstrom^3", "cell volume"),
            "volume_sigma": quantity("frame", np.full(len(strain), 300 * sigma), "angstrom^3", "1 sigma of volume"),
        },
        {"frame": quantity("frame", np.arange(len(strain)), "1", "frame")},
        {"phase": "A"},
    )


def ramp(first, last):
    return np.clip((FRAMES - first) / (last - first), 0, 1)


def test_a_moving_lattice_is_a_solid_solution():
    events = schema.check(phase_changes(peak_table([0.004 * ramp(40, 80)], [np.ones(N_FRAMES)])))
    assert events.kind.values.tolist() == ["solid_solution"]
    assert events.what.values.tolist() == ["A"]
    assert float(events.onset[0]) == pytest.approx(40, abs=3)
    assert float(events.end[0]) == pytest.approx(80, abs=3)
    assert float(events.change[0]) == pytest.approx(0.004, rel=0.1)
    assert float(events.confidence[0]) > 0.99


def test_phases_that_exchange_coexist():
    growing = ramp(30, 90)
    events = schema.check(phase_changes(peak_table(np.zeros((2, N_FRAMES)), [1 - growing, growing])))
    assert set(events.kind.values) == {"two_phase"}
    assert set(events.what.values) == {"A -> B"}
    assert float(events.onset.min()) == pytest.approx(30, abs=5)
    assert float(events.end.max()) == pytest.approx(90, abs=5)
    assert float(events.change.sum()) == pytest.approx(1, abs=0.15)


def test_solid_solution_then_two_phases():
    growing = ramp(50, 100)
    strains = [0.004 * ramp(0, 50), np.zeros(N_FRAMES)]
    events = schema.check(phase_changes(peak_table(strains, [1 - growing, growing])))
    assert events.kind.values[0] == "solid_solution"
    assert float(events.end[0]) == pytest.approx(50, abs=4)
    assert "two_phase" in events.kind.values
    two = events.where(events.kind == "two_phase", drop=True)
    assert float(two.onset.min()) == pytest.approx(50, abs=5)


@pytest.mark.parametrize("seed", range(5))
def test_nothing_happens_in_noise(seed):
    still = peak_table(np.zeros((2, N_FRAMES)), np.ones((2, N_FRAMES)), seed=seed)
    assert phase_changes(still, false_alarm=0.01).sizes["event"] == 0
    assert phase_changes(cell_table(np.zeros(N_FRAMES), seed=seed), false_alarm=0.01).sizes["event"] == 0


def test_a_line_that_follows_something_else_does_not_hide_the_phase():
    peaks = peak_table([0.01 * ramp(20, 90)] * 2, np.ones((2, N_FRAMES)))
    peaks = peaks.assign_coords(phase=quantity("peak", np.array(["A"] * 6), "1", "phase"))
    peaks["position"][:, 1] = float(peaks["position"][0, 1])
    peaks["position_sigma"][:, 1] = 1e-6
    events = phase_changes(peaks)
    assert set(events.kind.values) == {"solid_solution"}
    assert float(events.change.sum()) == pytest.approx(0.01, rel=0.1)


def test_cells_alone_move_or_jump():
    there_and_back = phase_changes(cell_table(-0.01 * np.minimum(ramp(0, 60), 1 - ramp(60, 119))))
    assert there_and_back.kind.values.tolist() == ["solid_solution"] * 2
    assert np.sign(there_and_back.change.values).tolist() == [-1, 1]
    jump = phase_changes(cell_table(0.005 * (FRAMES >= 70)))
    assert "jump" in jump.kind.values
    one = jump.where(jump.kind == "jump", drop=True)
    assert float(one.onset[0]) == pytest.approx(69.5, abs=1)
    assert float(one.change[0]) == pytest.approx(0.005, rel=0.1)


def test_wrong_input_is_refused():
    with pytest.raises(SchemaError, match="refine_cell"):
        phase_changes(cell_table(np.zeros(9)).drop_vars("volume"))
    with pytest.raises(ValueError, match="min_strain"):
        phase_changes(cell_table(np.zeros(9)), min_strain=0.0)


def test_no_frame_is_refused():
    with pytest.raises(ValueError, match="at least one frame"):
        phase_changes(peak_table([np.zeros(N_FRAMES)], [np.ones(N_FRAMES)]).isel(frame=slice(0, 0)))


def test_frames_without_data_are_no_lost_phase():
    peaks = peak_table([np.zeros(N_FRAMES)], [np.ones(N_FRAMES)])
    for name in ("position", "position_sigma", "area", "area_sigma"):
        peaks[name][50:70] = np.nan
    peaks["status"][50:70] = 4  # no_data, as curves.fit_peaks says
    assert np.isnan(tracks_of(peaks)[0].amount[50:70]).all()
    assert phase_changes(peaks, false_alarm=0.01).sizes["event"] == 0
