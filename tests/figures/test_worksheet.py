"""The figures of a worksheet: a piece of evidence as a stamp, the rows as a matrix."""

import math

import pytest

import batlab as bl
from batlab.failure import Evidence, worksheet

LOOK = Evidence("xrd", "line_breadth", "up", 0.30, 0.02, "1/angstrom", limit=0.05, confidence=0.99, cycles=(1, 50),
                test="width of the lines")  # fmt: skip
MISSED = Evidence("echem", "resistance", "none", 0.003, 0.02, "ohm", limit=0.06, cycles=(1, 100))
ODD = "<script>alert('1')</script>"


def rated(mechanism, s, o, d, **more):
    return {"component": "cell", "mode": "fade", "mechanism": mechanism, "severity": s, "occurrence": o,
            "detection": d, **more}  # fmt: skip


def test_a_stamp_says_effect_sigma_and_unit():
    picture = bl.figures.evidence_thumbnail(LOOK)
    assert "0.3 ± 0.02 Å⁻¹ ↑" in picture
    assert "<title>xrd.line_breadth: up by 0.3 ± 0.02 1/angstrom" in picture
    # Zero at one end of the grey (-limit … limit), the bar of 1 σ around the point, on one scale of 138 px.
    scale = 138 / (0.32 + 0.05)
    at = {name: round(6 + scale * (value + 0.05), 1) for name, value in (("low", 0.28), ("high", 0.32), ("dot", 0.30))}
    assert f'class="sigma" x1="{at["low"]}" x2="{at["high"]}"' in picture
    assert f'<circle cx="{at["dot"]}"' in picture
    assert 'fill="#FFFFFF"' in bl.figures.evidence_thumbnail(MISSED)  # an open point: not seen
    bare = bl.figures.evidence_thumbnail(Evidence("echem", f"q{ODD}", "appears", math.nan, math.nan, "1"))
    assert "<circle" not in bare
    assert "<script" not in bare
    flat = bl.figures.evidence_thumbnail(Evidence("echem", "x", "none", 0.0, 0.0, "1"))
    assert '"nan"' not in flat
    with pytest.raises(TypeError, match=r"needs failure\.Evidence, got str"):
        bl.figures.evidence_thumbnail("x")
    with pytest.raises(ValueError, match="at least"):
        bl.figures.evidence_thumbnail(LOOK, size=(10, 10))


def test_a_row_without_evidence_says_what_it_rests_on_instead():
    said = bl.failure.assess([LOOK], materials=["layered_oxide", "graphite"])
    made = worksheet(said, title="x", author="ada", rows=[rated("by hand", 1, 2, 3)], at_least=0.0)
    bare = [row for row in made.rows if not row.all_evidence]
    by_tables = [row for row in bare if row.mechanism != "by hand"]
    assert by_tables
    assert {row.severity.basis for row in by_tables} == {"table"}
    board = bl.figures.worksheet_board(made)
    assert board.count(">tables only</span>") == len(by_tables)
    assert board.count(">judgement</span>") == 1  # nobody has judged the others
    changed = made.rate(by_tables[0], severity=2, reason="seen", author="ada")
    assert bl.figures.worksheet_board(changed).count(">judgement</span>") == 2


def test_the_matrix_names_the_rows_of_each_cell():
    sheet = worksheet(
        title="x", author="ada", rows=[rated(f"m{n}", 5, 6, 10 - n) for n in range(5)] + [rated("a", 9, 1, 1)]
    )
    data = bl.figures.criticality(sheet).select_one({"name": "criticality_data"}).data
    cell = data["severity"].index(5)
    assert (data["occurrence"][cell], data["numbers"][cell], data["row"][cell]) == (6, "1 … +4", sheet.rows[0].id)
    assert data["numbers"][1 - cell] == "6"
    few = bl.figures.criticality(sheet, sheet.rows[:3], selected=sheet.rows[5].id)
    assert few.select_one({"name": "criticality_data"}).data["numbers"] == ["1 2 3"]
    assert few.select_one({"name": "criticality_selected"}).data == {"occurrence": [1], "severity": [9]}
    empty = bl.figures.criticality(worksheet(title="x", author="ada", rows=[{"component": "a", "mechanism": "b"}]))
    assert empty.select_one({"name": "criticality_data"}).data["row"] == []
