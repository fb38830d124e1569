"""One HTML file: whole, self-contained, escaped, with the numbers in it."""

import base64
import hashlib
import re

import numpy as np
import pytest
import xarray as xr

from batlab import report
from batlab.failure import Store
from batlab.schema import quantity

ATTACK = "<script>alert(1)</script></script><img src=x onerror=alert(2)>\"'&"


@pytest.fixture
def store(tmp_path, experiment) -> Store:
    store = Store(tmp_path / "cell.marks.sqlite")
    mark = store.add(
        experiment["patterns"],
        author=f"Ada {ATTACK}",
        frames=(3, 9),
        axis_range=(1.5, 1.6),
        category="chemical",
        mechanism=f"shift {ATTACK}",
        confidence=0.4,
        text=ATTACK,
    )
    store.edit(mark.id, author=f"Ada {ATTACK}", confidence=0.9)
    yield store
    store.close()


def test_everything_is_in_it(tmp_path, experiment, store, read_page):
    shuffled = [experiment[name] for name in ("events", "cell", "peaks", "cells", "patterns")]
    path = report.write(tmp_path / "cell.html", *shuffled, store=store)
    page = read_page(path)
    for text in (
        "30 patterns, q 1 to 3 Å⁻¹",
        "a from 8.1900(4) Å (frame 20) to 8.2700(4) Å (frame 0)",
        "1 event found",
        "Cycling record with voltage 3 to 4 V",
        "2 peaks followed",
        "1 mark by Ada",
        "2026-03-01 10:00:00 UTC to 2026-03-01 10:29:00 UTC",
        "20.0 (19.0 to 21.0)",  # the event, with its limits
        "565.61(8)",  # 8.27³ Å³ with 1 σ of 0.08
        "2 2 0",
        "90 %",
        "40 %",  # the earlier version of the mark
        "(version 2)",
        "ab" * 32,
        "test.make",
        "numpy",
    ):
        assert text in page.text, text
    assert page.text.index("Patterns") < page.text.index("Unit cell") < page.text.index("What people saw")
    assert len(page.tags("figure")) == 10  # timeline; map, pattern, voltage; a, volume; events; cycling; 2 peaks
    assert path.stat().st_size < 3e6


def test_nothing_comes_from_elsewhere(tmp_path, experiment, read_page):
    page = read_page(report.write(tmp_path / "cell.html", *experiment.values()))
    assert not page.tags("link")
    for tag, attributes in page.elements:
        for name in ("src", "href", "action", "data", "srcset", "poster"):
            assert attributes.get(name, "#").startswith("#"), (tag, attributes)
    policy = next(meta for meta in page.tags("meta") if "http-equiv" in meta)["content"]
    assert "default-src 'none'" in policy
    allowed = re.findall(r"'sha256-([^']+)'", policy)
    assert [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in page.scripts] == allowed
    assert "unsafe-inline" not in re.search("script-src ([^;]+)", policy)[1]


def test_text_of_data_and_users_stays_text(tmp_path, experiment, store, read_page):
    path = report.write(tmp_path / "cell.html", *experiment.values(), store=store, title=ATTACK)
    page = read_page(path)
    assert not page.tags("img")
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    clean = read_page(report.write(tmp_path / "clean.html", *(_tame(t) for t in experiment.values())))
    assert len(page.scripts) == len(clean.scripts)
    assert page.text.count(ATTACK) >= 10
    assert "<img" not in page.scripts[-1]


def _tame(table: xr.Dataset) -> xr.Dataset:
    tame = table.copy()
    for name in ("what", "hkl", "phase", "file"):
        if name in tame.variables:
            tame[name] = (tame[name].dims, np.array(["x"] * tame[name].size), {"long_name": "text"})
    return tame.assign_attrs(phase="x", source="x", history="x")


def test_figures_share_one_document_and_offer_tools(tmp_path, experiment, read_page):
    page = read_page(report.write(tmp_path / "cell.html", experiment["cells"], experiment["patterns"]))
    drawing = page.scripts[-1]
    assert "Bokeh.org" not in drawing
    for tool in ("PanTool", "WheelZoomTool", "BoxZoomTool", "ResetTool", "SaveTool"):
        assert tool in drawing
    assert '"logo":null' in drawing.replace("&quot;", '"').replace('\\"', '"')


def test_trees_arrays_and_unknown_results_are_shown(tmp_path, experiment, read_page):
    tree = xr.DataTree.from_dict({"/xrd": experiment["cells"], "/echem": experiment["cell"]})
    matrix = xr.Dataset({"m": quantity(("y", "x"), np.arange(6.0).reshape(2, 3), "1", "matrix")})
    track = experiment["cells"]["volume"]
    page = read_page(report.write(tmp_path / "cell.html", tree, matrix, track))
    for text in ("Unit cell of LiCoVO4", "Electrochemistry", "Other results", "y × x", "cell volume"):
        assert text in page.text, text


def test_two_results_of_one_kind_are_told_apart(tmp_path, experiment, read_page):
    page = read_page(report.write(tmp_path / "cell.html", experiment["cell"], experiment["cell"]))
    assert "Electrochemistry (1)" in page.text
    assert "Electrochemistry (2)" in page.text


def test_results_without_a_number_are_no_error(tmp_path, experiment, read_page):
    nothing = experiment["cells"].where(False).assign_attrs(phase="X")
    empty = experiment["events"].isel(event=slice(0))
    one = experiment["patterns"].isel(frame=[0])
    unfitted = experiment["peaks"].where(False)
    page = read_page(report.write(tmp_path / "cell.html", nothing, empty, one, unfitted))
    for text in ("0 events found", "1 pattern of 200 points", "0 of 30", "–"):
        assert text in page.text, text


def test_inputs_are_not_changed(tmp_path, experiment):
    before = {name: table.copy(deep=True) for name, table in experiment.items()}
    report.write(tmp_path / "cell.html", *experiment.values())
    for name, table in experiment.items():
        assert table.identical(before[name])


def test_a_report_is_replaced_and_another_file_is_not(tmp_path, experiment):
    path = tmp_path / "cell.html"
    path.write_text("<p>my thesis</p>")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        report.write(path, experiment["cell"])
    assert path.read_text() == "<p>my thesis</p>"
    report.write(path, experiment["cell"], overwrite=True)
    report.write(path, experiment["cell"])
    assert [file.name for file in tmp_path.iterdir()] == ["cell.html"]


def test_a_failure_leaves_the_old_report(tmp_path, experiment, monkeypatch):
    path = report.write(tmp_path / "cell.html", experiment["cell"])
    before = path.read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        report.write(path, experiment["cells"])
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_refusals(tmp_path, experiment, store):
    with pytest.raises(ValueError, match="at least one result"):
        report.write(tmp_path / "x.html")
    with pytest.raises(TypeError, match="got str as result 2"):
        report.write(tmp_path / "x.html", experiment["cell"], "cells.nc")
    with pytest.raises(ValueError, match="not both"):
        report.write(tmp_path / "x.html", experiment["cell"], store=store, marks=[])
    with pytest.raises(TypeError, match=r"failure\.Mark"):
        report.write(tmp_path / "x.html", experiment["cell"], marks=["plating"])
    with pytest.raises(FileNotFoundError, match="make it first"):
        report.write(tmp_path / "no" / "x.html", experiment["cell"])


def test_long_tables_are_thinned(tmp_path, read_page):
    n = 5000
    table = xr.Dataset(
        {"a": quantity("frame", np.linspace(8, 9, n), "angstrom", "cell parameter a")},
        {"frame": quantity("frame", np.arange(n), "1", "frame")},
    )
    path = report.write(tmp_path / "x.html", table)
    page = read_page(path)
    assert "every 5th of 5000" in page.text
    assert len(page.tags("tr")) < 1100
    assert path.stat().st_size < 3e6
