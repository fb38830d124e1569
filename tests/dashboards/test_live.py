"""A series that grows on the screen: new rows travel, the rest stays."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
import xarray as xr

from batlab.dashboards import CycleExplorer
from batlab.errors import DimensionError, ReadError
from batlab.figures import map_image
from batlab.schema import check


class Script:
    """A follower that brings parts when told; `error` comes at the end."""

    def __init__(self, parts, error=None):
        self.parts, self.error, self.ended, self.stopped = list(parts), error, None, threading.Event()

    def start(self):
        return self

    def stop(self):
        self.stopped.set()

    def ready(self):
        return self.parts.pop(0) if self.parts else None

    def __next__(self):
        if not self.parts:
            raise StopIteration
        return self.parts.pop(0)

    def __aiter__(self):
        return self

    async def __anext__(self):
        await asyncio.sleep(0)
        if self.parts and not self.stopped.is_set():
            return self.parts.pop(0)
        self.ended = "stopped" if self.stopped.is_set() else "complete"
        if self.error is not None:
            raise self.error
        raise StopAsyncIteration


def run(coroutine):
    """Run a coroutine in a thread of its own: the browser's driver keeps an event loop in the main one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


def cut(series, *edges):
    return [series.isel(frame=slice(one, other)) for one, other in pairwise(edges)]


def sent_by(explorer):
    sent = []
    explorer.screen.root.document.on_change(sent.append)
    return sent


def drawn(explorer):
    return explorer.screen.source("map_image").data["image"][0]


@pytest.mark.parametrize("steps", [(1, 2, 3, 60), (10, 11, 40, 41, 60)])
@pytest.mark.parametrize("scale", ["linear", "log"])
def test_a_grown_series_is_drawn_as_if_it_had_been_there(make, steps, scale):
    series = make.patterns(60)
    parts = cut(series, 0, *steps)
    explorer = CycleExplorer(parts[0])
    explorer.state.scale, explorer.state.limits = scale, (1.0, 800.0)
    explorer.state.frame = int(parts[0].frame[-1])
    for part in parts[1:]:
        explorer.append(part)
    n = series.sizes["frame"]
    expected = map_image(series, scale=scale, limits=(1.0, 800.0)).pixels
    np.testing.assert_array_equal(drawn(explorer)[:n], expected)
    assert not drawn(explorer)[n:].any()  # room, not measured yet
    xr.testing.assert_identical(explorer.series, series)
    check(explorer.series)
    assert (explorer.state.frame, explorer.controls.slider.max) == (n - 1, n - 1)
    assert explorer.screen.heat.y_range.end == explorer.state.frames[1] == n - 0.5
    line = explorer.screen.source("pattern_line").data["intensity"]
    np.testing.assert_allclose(
        line, explorer.screen.pattern_scaling.forward(series.intensity.values[-1]).astype("f4"), rtol=1e-6
    )
    panel = explorer.screen.part("panel_line_1").data_source.data
    np.testing.assert_allclose(panel["value"], series.voltage, rtol=1e-12)
    explorer.close()


def test_new_rows_travel_and_not_the_map(make):
    series = make.patterns(60)
    parts = cut(series, 0, 20, 21, 24, 60)
    explorer = CycleExplorer(parts[0])
    explorer.append(parts[1])  # makes room
    sent = sent_by(explorer)
    explorer.append(parts[2])
    patches = [event for event in sent if event.kind == "ColumnsPatched"]
    ((index, rows),) = patches[0].patches["image"]
    assert (len(patches), rows.shape, index[1]) == (1, (3, drawn(explorer).shape[1]), slice(21, 24))
    whole = [event for event in sent if event.kind == "ColumnDataChanged" and event.model.name == "map_data"]
    assert whole == []
    explorer.close()


def test_a_map_beyond_a_thousand_frames_merges_rows(make):
    series = make.patterns(1500, n_points=50)
    parts = cut(series, 0, 700, 701, 1100, 1500)
    explorer = CycleExplorer(parts[0])
    explorer.state.limits = (1.0, 900.0)
    for part in parts[1:]:
        explorer.append(part)
    image = drawn(explorer)
    assert len(image) <= 1000
    height = explorer.screen.image.height / len(image)
    row = (np.arange(1500) / height).astype(int)
    top = np.array([series.intensity.values[row == k].max(axis=0) for k in range(row[-1] + 1)])
    np.testing.assert_array_equal(image[: row[-1] + 1], explorer.screen.image.scale.levels(top))
    explorer.close()


def test_a_cursor_and_a_zoom_of_the_user_stay(make):
    series = make.patterns(60)
    parts = cut(series, 0, 30, 40, 60)
    explorer = CycleExplorer(parts[0])
    explorer.state.frame = 5
    explorer.append(parts[1])
    assert explorer.state.frame == 5
    explorer.state.frames = (10.0, 20.0)
    before = drawn(explorer).copy()
    explorer.append(parts[2])
    assert explorer.state.frames == (10.0, 20.0)
    np.testing.assert_array_equal(drawn(explorer), before)
    explorer.state.frames = explorer.measurement.whole[0]
    assert drawn(explorer)[:60].any(axis=1).all()
    explorer.close()


def test_differences_and_brighter_frames_grow_too(make):
    series = make.patterns(60)
    parts = cut(series, 0, 20, 30, 60)
    explorer = CycleExplorer(parts[0])
    explorer.state.reference = 3
    for part in parts[1:]:
        explorer.append(part)
    limits = explorer.screen.limits
    np.testing.assert_array_equal(
        drawn(explorer)[:60], map_image(series, reference=3, scale="sqrt", limits=limits).pixels
    )
    explorer.close()
    explorer = CycleExplorer(parts[0])
    explorer.append(parts[1])
    explorer.append(parts[2].assign(intensity=(10 * parts[2].intensity).assign_attrs(parts[2].intensity.attrs)))
    assert explorer.screen.limits[1] > 1000
    assert explorer.screen.pattern_scaling.high == pytest.approx(9200, rel=0.01)
    explorer.close()


def test_what_does_not_follow_is_refused_and_changes_nothing(make):
    series = make.patterns(60)
    first, second = cut(series, 0, 20, 60)
    explorer = CycleExplorer(first)
    with pytest.raises(DimensionError, match="frame 0 does not follow the last, 19"):
        explorer.append(first)
    with pytest.raises(DimensionError, match="another 'q'"):
        explorer.append(second.assign_coords(q=second.q * 2))
    with pytest.raises(DimensionError, match=r"other variables or dimensions: \['voltage'\]"):
        explorer.append(second.drop_vars("voltage"))
    xr.testing.assert_identical(explorer.series, first)
    explorer.close()


def test_following_beside_other_work(make, tmp_path):
    series = make.patterns(60)
    parts = cut(series, 0, 1, 20, 40, 60)
    live = Script(parts)

    async def watch():
        explorer = CycleExplorer(live=live, store=tmp_path / "marks.sqlite")
        assert explorer.series.sizes["frame"] == 1
        explorer.state.region = (0, 0, 2.0, 3.0)
        with pytest.raises(ValueError, match="when the series is whole"):
            explorer.marking.add()
        with pytest.raises(RuntimeError, match="followed already"):
            explorer.follow(live)
        await explorer._task
        return explorer

    explorer = run(watch())
    xr.testing.assert_identical(explorer.series, series)
    assert "60 frames; ended: complete" in explorer.live.told.value
    assert not explorer.screen.room
    np.testing.assert_array_equal(drawn(explorer), map_image(series, scale="sqrt").pixels)
    explorer.state.region = (3, 9, 2.0, 3.0)
    explorer.marking.mechanism.value = "lattice collapse"
    assert explorer.marking.add().frames == (3, 9)
    explorer.close()


def test_stop_and_errors_are_shown(make):
    series = make.patterns(60)

    async def stop():
        explorer = CycleExplorer(live=Script(cut(series, 0, 1, 20)))
        explorer.live.stop.click()
        await explorer._task
        return explorer

    explorer = run(stop())
    assert "1 frames; ended: stopped" in explorer.live.told.value
    explorer.close()

    async def fail():
        explorer = CycleExplorer(live=Script(cut(series, 0, 1, 20), ReadError("x_2.h5: <b>frames</b> of (3, 4)")))
        with pytest.raises(ReadError):
            await explorer._task
        return explorer

    explorer = run(fail())
    assert "ReadError: x_2.h5: &lt;b&gt;frames" in explorer.live.told.value
    assert explorer.series.sizes["frame"] == 20
    explorer.close()


def test_loading_other_data_ends_the_following(make):
    series = make.patterns(60)

    async def change():
        live = Script(cut(series, 0, 1, 20, 60))
        explorer = CycleExplorer(live=live)
        explorer.load(make.patterns(30))
        await asyncio.sleep(0.1)
        assert live.stopped.is_set()
        return explorer

    explorer = run(change())
    assert explorer.series.sizes["frame"] == 30
    explorer.close()


def test_without_an_event_loop_or_a_frame_it_says_what_to_do(make):
    with pytest.raises(RuntimeError, match=r"call explorer\.append"), ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: CycleExplorer(live=Script([]))).result()
    with pytest.raises(TypeError, match="needs a series of patterns, or live="):
        CycleExplorer()

    async def nothing():
        CycleExplorer(live=Script([]))

    with pytest.raises(ReadError, match="before a frame came"):
        run(nothing())
