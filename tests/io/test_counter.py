"""The charge counter against the integral of the current: resets, signs and units; what is told and what is not."""

import warnings

import numpy as np
import pytest

from batlab import io
from batlab.io import _cycler
from batlab.io._cycler import Column
from batlab.schema import check


def record(seconds=3600, step=10.0, current=2.0, cycles=3):
    """Charge and discharge at constant current, with one record of rest between."""
    seconds_of_half = np.arange(0, seconds + step / 2, step)
    time, flow, counted, end = [], [], [], 0.0
    for cycle in range(2 * cycles):
        way = 1 if cycle % 2 == 0 else -1
        time.extend([end, *(end + 1 + seconds_of_half)])
        flow.extend([0.0, *np.full(len(seconds_of_half), way * current)])
        counted.extend([0.0, *(current * seconds_of_half / 3600)])
        end = time[-1] + 1
    return np.array(time), np.array(flow), np.array(counted)


def columns(time, flow, **counters):
    made = {"test_time": Column(time, "s", "test time"), "current": Column(flow, "A", "current")}
    made["voltage"] = Column(np.full(len(time), 3.7), "V", "voltage")
    return made | {name: Column(values, "Ah", name) for name, values in counters.items()}


def net(time, flow):
    step = (flow[1:] + flow[:-1]) / 2 * np.diff(time) / 3600
    return np.concatenate([[0.0], np.cumsum(np.where(flow[1:] * flow[:-1] > 0, step, 0))])


def apart(flow, counted):
    """Two counters as Arbin's: each stands still while the other counts, both start anew with a cycle."""
    charge = np.where(flow > 0, counted, 0.0)
    discharge = np.where(flow < 0, counted, 0.0)
    return {"charge_capacity": charge, "discharge_capacity": discharge}


@pytest.mark.parametrize("kind", ["reset in each half", "net", "negative on discharge", "two counters", "offset"])
def test_every_kind_of_counter_agrees(kind):
    time, flow, counted = record()
    counters = {
        "reset in each half": {"capacity": counted},
        "net": {"capacity": net(time, flow)},
        "negative on discharge": {"capacity": np.sign(flow) * counted},
        "two counters": apart(flow, counted),
        "offset": {"capacity": 5 + net(time, flow)},
    }[kind]
    runs = _cycler.counter_runs(columns(time, flow, **counters))
    assert len(runs) == 6
    # 2 A for an hour, counted from the first record of the step, where the counter has just been set to 0.
    assert runs[:, 3] == pytest.approx(2.0, abs=2 * 10 / 3600)
    assert runs[:, 2] == pytest.approx(runs[:, 3], abs=2 * 10 / 3600)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(_cycler.dataset(columns(time, flow, **counters), "cell"))


@pytest.mark.parametrize("factor", [1e-3, 1000, 3600, 0.9, 1.05, 0.0])
def test_a_wrong_unit_or_a_lost_part_is_told_with_figures(factor):
    time, flow, counted = record()
    with pytest.warns(UserWarning, match=r"cell: the charge counter .* disagree in 6 of 6 runs .*: (\S+) Ah counted, "):
        _cycler.dataset(columns(time, flow, capacity=factor * counted), "cell")


def test_one_bad_cycle_among_good_ones_is_found():
    time, flow, counted = record(cycles=20)
    stopped = counted.copy()
    bad = np.flatnonzero(flow > 0)[5 * 361 + 100 : 6 * 361]
    stopped[bad] = stopped[bad[0]]
    with pytest.warns(UserWarning, match=rf"in 1 of 40 runs of one sign; at worst, records \d+ to {bad[-1]}: 0.55"):
        _cycler.dataset(columns(time, flow, capacity=stopped), "cell")


def test_sparse_records_of_a_falling_current_are_no_disagreement():
    # A hold at constant voltage, I = 2 A exp(-t/600 s), of which few records are kept: trapezoids are 2 % too large.
    time = np.concatenate([[0.0], np.linspace(1, 3600, 12)])
    flow = 2 * np.exp(-time / 600)
    exact = 2 * 600 / 3600 * (1 - np.exp(-time / 600))
    runs = _cycler.counter_runs(columns(time, flow, capacity=exact))
    assert runs[0, 3] / runs[0, 2] > 1.01
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _cycler.dataset(columns(time, flow, capacity=exact), "cell")


def test_rest_alone_a_single_record_and_nan_are_not_judged():
    time, flow, counted = record()
    for made in (
        columns(time, 0 * flow, capacity=counted),
        columns(time[:1], flow[:1], capacity=counted[:1]),
        columns(time, flow, capacity=np.full(len(time), np.nan)),
        columns(time, np.full(len(time), np.nan), capacity=counted),
        columns(time, flow),
    ):
        before = {name: one.values.copy() for name, one in made.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            _cycler.dataset(made, "cell")
        for name, values in before.items():
            np.testing.assert_array_equal(made[name].values, values)


def test_noise_of_a_resting_cell_is_no_charge():
    # As a PEC writes it: micro-amperes of either sign, counters in steps of 0.001 mAh.
    rng = np.random.default_rng(3)
    time = 300.0 * np.arange(500)
    flow = np.round(rng.normal(0, 2e-6, 500), 6)
    drift = np.round(1e-8 * np.arange(500), 6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _cycler.dataset(columns(time, flow, charge_capacity=drift, discharge_capacity=drift), "cell")


def test_pieces_give_the_runs_of_the_whole():
    time, flow, counted = record()
    whole = _cycler.counter_runs(columns(time, flow, capacity=counted))
    half = len(time) // 2
    parts = np.concatenate(
        [
            _cycler.counter_runs(columns(time[:half], flow[:half], capacity=counted[:half])),
            _cycler.counter_runs(columns(time[half:], flow[half:], capacity=counted[half:]), half),
        ]
    )
    assert parts[-1, :2].tolist() == whole[-1, :2].tolist()
    assert parts[:, 2].sum() == pytest.approx(whole[:, 2].sum(), abs=0.01)


@pytest.mark.parametrize(
    "name", ["cell.bdf.csv", "plain.csv"],
)  # fmt: skip
def test_every_reader_compares(tmp_path, name):
    time, flow, counted = record(cycles=1)
    capacity = 0.9 * np.sign(flow) * counted
    head = "Test Time / s,Voltage / V,Current / A,Net Capacity / Ah"
    if name == "plain.csv":
        head = "Time (s),Voltage (V),Current (A),Capacity (Ah)"
    volts = 3.7 + np.cumsum(flow) / 1e4
    rows = "".join(f"{t},{v},{i},{q}\n" for t, v, i, q in zip(time, volts, flow, capacity, strict=True))
    (tmp_path / name).write_text(f"{head}\n{rows}")
    with pytest.warns(UserWarning, match=rf"{name}: .* 1.8 Ah counted, 2 Ah integrated"):
        io.open(tmp_path / name)


def test_last_digit():
    assert _cycler.last_digit(np.array([0.001, 0.02, np.nan])) == 0.001
    assert _cycler.last_digit(np.array([5.0, 1e6])) == 1.0
    assert _cycler.last_digit(np.array([np.pi])) == 0.0
