"""Timeline, board and methods of a report: what stands where, and what is said of what cannot be placed."""

import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import batlab as bl
from batlab import failure, figures, report
from batlab.errors import DimensionError
from batlab.figures.timeline_lanes import lanes
from batlab.report._methods import HOMES, methods, references
from batlab.schema import check, identity, quantity, record

START = np.datetime64("2026-03-01T10:00:00", "ns")
MINUTE = np.timedelta64(60, "s")


def series(n=10, *, pause=None, exposure=50.0, sha="a" * 64, begin=START):
    """Frames a minute apart, with an hour's pause before frame `pause`."""
    seconds = 60.0 * np.arange(n) + (3600.0 * (np.arange(n) >= pause) if pause is not None else 0.0)
    coords = {
        "frame": quantity("frame", np.arange(n), "1", "frame"),
        "time": quantity("frame", begin + np.round(seconds * 1e9).astype("timedelta64[ns]"), "", "start"),
        "exposure": quantity("frame", np.full(n, exposure), "s", "exposure"),
    }
    values = {"a": quantity("frame", np.linspace(8, 9, n), "angstrom", "a")}
    return check(xr.Dataset(values, coords, {"source": "x.h5", "source_sha256": sha}))


def record_of_cycles():
    clock = np.arange(0.0, 7200.0, 60.0)
    coords = {
        "record": quantity("record", np.arange(len(clock)), "1", "record"),
        "time": quantity("record", START + np.round(clock * 1e9).astype("timedelta64[ns]"), "", "time"),
    }
    values = {
        "voltage": quantity("record", 3 + clock / 7200, "V", "voltage"),
        "cycle": quantity("record", 1 + (clock // 3600).astype(int), "1", "cycle"),
    }
    return check(xr.Dataset(values, coords))


def events(onset, sha="a" * 64, what="a"):
    n = len(onset)
    onset = np.asarray(onset, dtype=float)
    values = {
        "onset": quantity("event", onset, "1", "frame at which the series changes"),
        "onset_low": quantity("event", onset - 1, "1", "lower limit"),
        "onset_high": quantity("event", onset + 1, "1", "upper limit"),
        "what": quantity("event", np.array([what] * n, dtype=str), "1", "series"),
        "confidence": quantity("event", np.full(n, 0.99), "1", "confidence"),
    }
    return xr.Dataset(values, {"event": quantity("event", np.arange(n), "1", "event")}, {"source_sha256": sha})


def marked(table, frames, **more):
    told = {"author": "Ada", "category": "chemical", "mechanism": "shift", "confidence": 0.5} | more
    return failure.Mark("1", 1, told["author"], failure_time(), identity(table), "", frames, None, None, None,
                        told["category"], told["mechanism"], told["confidence"])  # fmt: skip


def failure_time():
    from datetime import UTC, datetime

    return datetime(2026, 3, 2, tzinfo=UTC)


def test_exposures_are_one_bar_until_a_gap_is_seen():
    (lane,), missing = lanes({"Patterns": series(10, pause=5, exposure=58.0)}, ())
    assert missing == []
    first, second = lane.spans
    assert (first.start, first.end) == (START, START + 4 * MINUTE + np.timedelta64(58, "s"))
    assert second.start == START + 65 * MINUTE
    assert "frames 5 to 9, 5 exposures" in second.text
    (whole,), _ = lanes({"Patterns": series(1000)}, ())  # ten seconds in a thousand minutes
    assert len(whole.spans) == 1


def test_results_of_one_series_share_a_lane_and_other_techniques_have_their_own():
    cells, spectra = series(10), series(5, begin=START + 15 * MINUTE, sha="b" * 64)
    found, _ = lanes({"Patterns": series(10), "Unit cell": cells, "Spectra": spectra}, ())
    assert [lane.name for lane in found] == ["Patterns", "Spectra"]
    assert found[1].spans[0].start == START + 15 * MINUTE


def test_cycles_last_until_the_next_begins():
    (lane,), _ = lanes({"Electrochemistry": record_of_cycles()}, ())
    assert [span.label for span in lane.spans] == ["1", "2"]
    assert lane.spans[0].end == lane.spans[1].start == START + 60 * MINUTE


def test_events_lie_where_the_clock_of_their_series_puts_them():
    other = series(10, begin=START + 600 * MINUTE, sha="b" * 64)
    found, missing = lanes({"A": series(10), "B": other, "Events": events([2.5], sha="b" * 64)}, ())
    (event,) = found[-1].spans
    assert event.at == START + 602 * MINUTE + np.timedelta64(30, "s")
    assert (event.start, event.end) == (START + 601.5 * MINUTE, START + 603.5 * MINUTE)
    assert missing == []


def test_what_has_no_time_is_told():
    timeless = series(10, sha="c" * 64).drop_vars("time")
    found, missing = lanes(
        {"A": series(10), "Old": timeless, "Events": events([2.5], sha="c" * 64), "Far": events([2.5, 99.0])},
        [marked(timeless, (1, 2))],
    )
    assert [lane.name for lane in found] == ["A", "Far"]
    assert missing == ["the frames of Old", "1 event of Events", "1 event of Far", "1 mark"]


def test_marks_that_overlap_get_lanes_of_their_own():
    table = series(100)
    made = [marked(table, (0, 10)), marked(table, (5, 20)), marked(table, (30, 40))]
    found, _ = lanes({"A": table}, made)
    rows = [[span.label for span in lane.spans] for lane in found if lane.kind == "marks"]
    assert rows == [["1", "3"], ["2"]]
    first = found[1].spans[0]
    assert (first.start, first.end) == (START, START + 10 * MINUTE + np.timedelta64(50, "s"))


def test_times_that_are_not_known_are_left_out():
    table = series(10)
    partly = np.where(np.arange(10) < 3, np.datetime64("NaT"), table["time"].values)
    table["time"] = ("frame", partly, {"long_name": "t"})
    (lane,), _ = lanes({"A": table}, ())
    assert lane.spans[0].start == START + 3 * MINUTE
    nothing = series(10)
    nothing["time"] = ("frame", np.full(10, np.datetime64("NaT"), dtype="datetime64[ns]"), {"long_name": "t"})
    assert lanes({"A": nothing}, ())[1] == ["the frames of A"]


def test_the_figure_draws_every_lane_and_refuses_nothing_at_all():
    table = series(100)
    plot = figures.timeline({"A": table, "E": events([50.0])}, marks=[marked(table, (3, 4))])
    assert plot.yaxis[0].major_label_overrides == {0.0: "A", 1.0: "E", 2.0: "Marks"}
    points = plot.select_one({"name": "events_points"}).data_source.data
    assert points["at"][0] == np.datetime64("2026-03-01T10:50", "ms")
    assert list(plot.select_one({"name": "marks_labels"}).data_source.data["label"]) == ["1"]
    with pytest.raises(DimensionError, match="needs 'time'"):
        figures.timeline({"A": table.drop_vars("time")})
    with pytest.raises(DimensionError, match="got no result"):
        figures.timeline({})


def test_a_series_of_one_frame_and_an_empty_one():
    assert len(figures.timeline({"A": series(1, exposure=0.0)}).renderers) > 0
    assert lanes({"A": series(0)}, ()) == ([], [])


@pytest.fixture
def sheet():
    look = failure.Evidence
    seen = look("xrd", "second_layered_phase", "appears", 0.2, 0.01, "1", limit=0.03, confidence=1.0, frames=(8, 9))
    rows = [
        {"component": "positive electrode", "mode": "capacity fade", "mechanism": "fatigued phase",
         "cause": "deep <b>cycles</b>", "severity": 6, "occurrence": 5, "detection": 4, "evidence": [seen]},
        {"component": "separator", "mode": "internal short", "mechanism": "dendrite", "cause": "plating",
         "severity": 7, "occurrence": 4, "detection": 5},
    ]  # fmt: skip
    return failure.worksheet(title="cell 7", author="Ada", rows=rows)


def test_the_board_has_rows_ratings_and_grounds(tmp_path, sheet, experiment, read_page):
    signed = sheet.rate(sheet.rows[0], detection=8, reason="hidden", author="Bob").sign(author="Cleo")
    page = read_page(report.write(tmp_path / "x.html", experiment["cells"], worksheet=signed))
    text = page.text
    for told in (
        "Board: cell 7",
        "signed by Cleo",
        "internal short\n→ dendrite\n→ plating",
        "capacity fade\n→ fatigued phase\n→ deep <b>cycles</b>",
        "240",  # 6·5·8
        "140",  # 7·4·5
        "xrd.second_layered_phase: appears by 0.2 ± 0.01",
        "7\njudgement",
        "5\nevidence",
        "8\njudgement",
        "Worksheet cell 7: 2 rows, the worst fatigued phase with RPN 240; signed by Cleo",
        "10.1016/j.jpowsour.2015.07.100",  # Hendricks et al.: how a worksheet is made
        "detection",
    ):
        assert told in text, told
    assert text.index("→ fatigued phase") < text.index("→ dendrite")
    assert not page.tags("b")


def test_a_changed_rating_shows_what_was_computed(tmp_path, experiment, read_page):
    look = failure.Evidence("xrd", "second_layered_phase", "appears", 0.2, 0.01, "1", limit=0.03, confidence=1.0)
    made = failure.worksheet(failure.assess([look], materials=["layered_oxide"]), title="x", author="Ada", at_least=0.5)
    row = made.rows[0]
    changed = made.rate(row, severity=10 if row.severity.value != 10 else 9, reason="stacked", author="Bob")
    page = read_page(report.write(tmp_path / "x.html", experiment["cells"], worksheet=changed))
    assert f"computed {row.severity.computed}" in page.text
    assert "tables only" not in page.text
    every = failure.worksheet(failure.assess([look], materials=["layered_oxide"]), title="x", author="Ada", at_least=0)
    page = read_page(report.write(tmp_path / "x.html", experiment["cells"], worksheet=every))
    assert page.text.count("tables only") == sum(not row.all_evidence for row in every.rows) > 0  # nobody has judged


def test_a_store_brings_its_worksheets(tmp_path, sheet, experiment, read_page):
    with failure.Store(tmp_path / "x.marks.sqlite") as store:
        store.keep_worksheet(sheet, author="Ada")
        assert "Board: cell 7" in read_page(report.write(tmp_path / "x.html", experiment["cells"], store=store)).text
        none = report.write(tmp_path / "y.html", experiment["cells"], store=store, worksheet=[])
        assert "Board" not in read_page(none).text


@pytest.mark.parametrize("wrong", ["sheet", 1, [1]])
def test_what_is_no_worksheet_is_refused(tmp_path, experiment, wrong):
    with pytest.raises(TypeError, match=r"failure\.Worksheet"):
        report.write(tmp_path / "x.html", experiment["cells"], worksheet=wrong)
    assert not (tmp_path / "x.html").exists()


def test_methods_tell_each_step_once_with_its_literature():
    one = record(record(xr.Dataset(), "scattering.integrate", split="no"), "curves.change_points", model="mean")
    two = record(xr.Dataset(), "scattering.integrate", split="no")
    section = methods([("A", one), ("B", two)])
    steps, books = section.tables
    assert [row[0] for row in steps.rows] == ["scattering.integrate", "curves.change_points"]
    assert steps.rows[0][3] == "A, B"
    killick = next(row for row in books.rows if row[2] == "10.1080/01621459.2012.737745")
    assert killick[0] in steps.rows[1][4].split(", ")
    assert "Killick" in killick[1]
    assert books.rows[-1][1].startswith("batlab ")


def test_the_steps_of_every_technique_are_told():
    """Each package in which something is recorded is known, and what it says of itself is found."""
    root = Path(bl.__file__).parent
    imports = re.compile(r"batlab\.schema import (\([^)]*|[^\n]*)\brecord\b")
    assert set(HOMES) == {one.parent.name for one in root.glob("*/*.py") if imports.search(one.read_text("utf-8"))}
    made = record(record(xr.Dataset(), "saxs.guinier", window=None), "pdf.g_of_r", qmaxinst=25.0)
    (guinier, g_of_r), books = (table.rows for table in methods([("A", made)]).tables)
    assert guinier[1].startswith("Return Rg and I(0)")
    assert "–" not in (guinier[1], g_of_r[1])
    assert len(books) > 1  # beside batlab itself: what the two cite


def test_steps_of_others_are_listed_and_nothing_of_them_is_loaded():
    told = "2026-03-01T10:00:00Z batlab 9.9.1 os.system(x)\n2026-03-01T10:00:00Z batlab 9.9.1 io._open.x()\nnonsense"
    section = methods([("A", xr.Dataset(attrs={"history": told}))])
    assert [row[:2] for row in section.tables[0].rows] == [["os.system", "–"], ["io._open.x", "–"]]
    assert "batlab 9.9.1" in section.lead
    assert methods([("A", xr.Dataset())]).tables[0].rows == []


def test_references_are_read_from_docstrings():
    told = """Do it (see doi:10.1000/x(1)y).

    References
    ----------
    .. [1] A. Bee, J. Hive 1, 2 (2003), doi:10.1234/abc.5; C. Dee,
       J. Two 3 (2004), doi:10.1016/S0378-7753(01)00722-4.

    Examples
    --------
    >>> "doi:10.9999/none"
    """
    from inspect import cleandoc

    found = dict(references(cleandoc(told)))
    assert found["10.1234/abc.5"] == "A. Bee, J. Hive 1, 2 (2003)"
    assert found["10.1016/S0378-7753(01)00722-4"] == "C. Dee, J. Two 3 (2004)"
    assert found["10.1000/x(1)y"] == ""
    assert "10.9999/none" not in found
    assert references("") == []
