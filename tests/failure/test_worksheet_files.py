"""Worksheets go out as spreadsheet, CSV, JSON and page, and come back as they were, whatever was written in them."""

import csv
import io
import json
import os
import sys
import zipfile
from html.parser import HTMLParser

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batlab.errors import MissingExtraError, ReadError
from batlab.failure import Evidence, Worksheet, read_worksheet, worksheet
from batlab.failure._worksheet_priority import ActionPriority

ENDS = (".xlsx", ".csv", ".json", ".html")
ODD = [
    *("=1+1", "+1", "-1", "@SUM(A1)", "'=1", "'", "＝1", "\t=1", "\r=1", "\n=1", " =1", "a,b;c\td", 'say "no"'),
    *("two\nlines\r\nand\rmore", "<script>alert(1)</script></script><!--", "_x000D_ _x0041_", "\x01\x0b\x1f\x7f"),
    *("Δa < 0 & Übergang 相変化 🔋\u202e\u2028\u2029\x85", "\ufffe\uffff\ufeff", "  spaces  ", "0123", "1e5", "TRUE"),
    *("2026-01-01", "#REF!", "]]>", "\\u003c", "null", "x" * 40_000),
]
LOOK = Evidence("xrd", "line_breadth", "up", 0.3, 0.01, "1", confidence=0.99, cycles=(1, 50), source="<b>=1+1.h5")
TABLE = ActionPriority((((9, 10), (1, 10), (1, 10), "=high"), ((1, 8), (1, 10), (1, 10), "<low>")), "site")
texts = st.one_of(
    st.sampled_from(ODD[:-1]), st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
)
levels = st.none() | st.integers(1, 10)


def odd_sheet(values: list[str]) -> Worksheet:
    """Return a worksheet that has changes, signatures and odd texts everywhere."""
    made = worksheet(title="cell 7", author="ada")
    for number, text in enumerate(values):
        level = number % 10 + 1
        made = made.add(component=f"c{text}", mode=text, mechanism=f"{text}m", cause=text, local_effect=text, note=text,
                        severity=level, occurrence=4, detection=5, evidence=[LOOK] if number % 2 else [],
                        author=f"ada{text}"[:9000], reason=text)  # fmt: skip
    made = made.prioritize(TABLE, author="ada").sign(author="bob", statement=values[0])
    made = made.rate(made.rows[0], severity=2, reason=f"because {values[-1]}", author="cy")
    return made.remove(made.rows[-1], reason="gone", author="ada") if len(values) > 1 else made


@pytest.mark.parametrize("end", ENDS)
def test_odd_texts_come_back_as_they_were(tmp_path, end):
    made = odd_sheet(ODD)
    path = tmp_path / f"cell{end}"
    made.save(path)
    back = read_worksheet(path)
    assert back == made
    assert back.as_dict() == made.as_dict()
    assert [row.mode for row in back.rows] == ODD[:-1]
    assert [one.author for one in back.at(1).signatures] == ["bob"]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(texts, min_size=8, max_size=8), numbers=st.lists(levels, min_size=3, max_size=3))
def test_any_text_and_any_rating_comes_back(tmp_path, words, numbers):
    names = ("mode", "cause", "local_effect", "system_effect", "action", "responsible", "note")
    row = dict(zip(names, words, strict=False), component="c" + words[7], mechanism="m" + words[7])
    row |= dict(zip(("severity", "occurrence", "detection"), numbers, strict=True))
    made = worksheet(title="t" + words[0], author="ada", rows=[row])
    for end in ENDS:
        made.save(tmp_path / f"cell{end}")
        assert read_worksheet(tmp_path / f"cell{end}") == made, end


@pytest.mark.parametrize("end", ENDS)
def test_a_megabyte_of_text_comes_back(tmp_path, end):
    text = ("=<script>, \n_x000D_ é🔋" * 60_000)[: 2**20]
    made = worksheet(title="cell 7", author="ada", rows=[{"component": "cell", "mechanism": "gas", "note": text}])
    made.save(tmp_path / f"cell{end}")
    assert read_worksheet(tmp_path / f"cell{end}").rows[0].note == text


@pytest.mark.parametrize("end", ENDS)
def test_an_empty_worksheet_comes_back(tmp_path, end):
    made = worksheet(title="nothing yet", author="ada")
    made.save(tmp_path / f"cell{end}")
    assert read_worksheet(tmp_path / f"cell{end}") == made


def test_a_spreadsheet_computes_nothing(tmp_path):
    import openpyxl

    odd_sheet(ODD).save(tmp_path / "cell.xlsx")
    book = openpyxl.load_workbook(tmp_path / "cell.xlsx")
    cells = [cell for page in book for line in page.iter_rows() for cell in line if cell.value is not None]
    assert {cell.data_type for cell in cells} == {"s", "n"}
    assert all(cell.number_format == "@" for cell in cells if cell.data_type == "s")
    assert not any("_x00" in str(cell.value) for cell in cells)  # which other programs take for a character
    main = [[cell.value for cell in line] for line in book["Worksheet"].iter_rows()]
    assert "=1+1" in main[1]
    assert main[1][main[0].index("severity")] == 2
    assert main[2][main[0].index("RPN")] == 2 * 4 * 5
    with zipfile.ZipFile(tmp_path / "cell.xlsx") as packed:
        pages = [packed.read(name) for name in packed.namelist() if "sheet" in name and name.endswith(".xml")]
    assert not any(b"<f>" in page or b"<f " in page for page in pages)


def test_a_csv_computes_nothing_and_reads_as_a_table(tmp_path):
    odd_sheet(ODD).save(tmp_path / "cell.csv")
    content = (tmp_path / "cell.csv").read_bytes()
    assert content.startswith("\ufeff".encode())
    limit = csv.field_size_limit()
    csv.field_size_limit(10**8)
    lines = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    csv.field_size_limit(limit)
    for cells in lines:
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝")) for cell in cells)
    assert lines[0][:3] == ["what", "id", "component"]
    assert len(lines) == len(ODD) + 1
    assert all(len(cells) == len(lines[0]) for cells in lines[1:-1])
    assert csv.field_size_limit() == limit


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.words, self.attributes = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs).get("type")))
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data):
        self.words.append(data)


def test_a_page_runs_nothing_and_needs_no_network(tmp_path):
    odd_sheet(ODD).save(tmp_path / "cell.html")
    text = (tmp_path / "cell.html").read_text()
    page = Page()
    page.feed(text)
    assert [kind for tag, kind in page.tags if tag == "script"] == ["application/json"]
    assert not {"img", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert not [name for name in page.attributes if name.startswith("on") or name in ("src", "href")]
    assert "default-src 'none'" in text
    assert "@media print" in text
    assert any("<script>alert(1)</script>" in word for word in page.words)
    assert "http" not in text.replace("http-equiv", "")


def edit_cell(path, column, value, line=2):
    import openpyxl

    book = openpyxl.load_workbook(path)
    page = book["Worksheet"]
    number = [cell.value for cell in page[1]].index(column) + 1
    page.cell(line, number).value = value
    book.save(path)


def test_changes_made_in_a_spreadsheet_are_told_taken_or_left(tmp_path):
    made = odd_sheet(["one", "two", "three"])
    path = tmp_path / "cell.xlsx"
    made.save(path)
    edit_cell(path, "severity", 9)
    edit_cell(path, "cause", "cold charging")
    edit_cell(path, "component", "lid", line=4)
    edit_cell(path, "mechanism", "leak", line=4)
    with pytest.raises(
        ReadError, match=r"cause of row .* says 'cold charging' and 2 more; take that over with edits='take'"
    ):
        read_worksheet(path)
    assert read_worksheet(path, edits="ignore") == made
    taken = read_worksheet(path, edits="take", author="board", reason="meeting of 3 May")
    row = taken.rows[0]
    assert (row.cause, row.severity.value, row.severity.author) == ("cold charging", 9, "board")
    assert (row.severity.reason, row.mode, taken.rows[1]) == ("meeting of 3 May", made.rows[0].mode, made.rows[1])
    assert (taken.rows[2].component, taken.rows[2].mechanism) == ("lid", "leak")
    assert taken.follows(made)
    edit_cell(path, "severity", "high")
    with pytest.raises(ReadError, match="severity must be a whole number from 1 to 10, got 'high'"):
        read_worksheet(path, edits="take", author="board")
    with pytest.raises(ValueError, match="did you mean 'take'"):
        read_worksheet(path, edits="taek")


def test_several_new_rows_are_all_taken_and_a_copied_one_is_told(tmp_path):
    made = odd_sheet(["one", "two", "three"])  # of which two are left
    path = tmp_path / "cell.xlsx"
    made.save(path)
    for line, word in ((4, "leak"), (5, "corrosion"), (6, "swelling")):
        edit_cell(path, "component", "lid", line=line)
        edit_cell(path, "mechanism", word, line=line)
    with pytest.raises(ReadError, match="a row was added: lid: leak and 2 more"):
        read_worksheet(path)
    taken = read_worksheet(path, edits="take", author="board")
    assert [row.mechanism for row in taken.rows[2:]] == ["leak", "corrosion", "swelling"]
    assert taken.rows[:2] == made.rows
    edit_cell(path, "id", made.rows[0].id, line=4)  # as a copied row has it
    for edits in ("refuse", "take"):
        with pytest.raises(ReadError, match=f"has row {made.rows[0].id} twice; clear the id of the copy"):
            read_worksheet(path, edits=edits, author="board")
    assert read_worksheet(path, edits="ignore") == made


def test_a_spreadsheet_saved_by_another_program_comes_back(tmp_path):
    import openpyxl

    made = odd_sheet(ODD)
    made.save(tmp_path / "cell.xlsx")
    openpyxl.load_workbook(tmp_path / "cell.xlsx").save(tmp_path / "again.xlsx")
    assert read_worksheet(tmp_path / "again.xlsx") == made


def test_a_csv_saved_with_semicolons_and_a_row_less_is_understood(tmp_path):
    made = odd_sheet(["one", "two\nlines", "=three", "four"])
    made.save(tmp_path / "cell.csv")
    lines = list(csv.reader(io.StringIO((tmp_path / "cell.csv").read_text("utf-8-sig"), newline="")))
    with open(tmp_path / "again.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=";").writerows(lines)
    assert read_worksheet(tmp_path / "again.csv") == made
    with open(tmp_path / "again.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=";").writerows([lines[0], *lines[2:]])
    with pytest.raises(ReadError, match="is gone"):
        read_worksheet(tmp_path / "again.csv")
    taken = read_worksheet(tmp_path / "again.csv", edits="take", author="board", reason="no")
    assert [row.mode for row in taken.rows] == ["two\nlines", "=three"]


@pytest.mark.parametrize("end", ENDS)
def test_damaged_and_hostile_files_are_refused(tmp_path, end):
    path = tmp_path / f"cell{end}"
    odd_sheet(["one", "two"]).save(path)
    content = path.read_bytes()
    parts = [content[: len(content) // 2], content[:-200], b"PK\x03\x04" + content[4:100]]
    for damaged in (b"", b"\x00\xff\xfe" * 50, b"what", b"[" * 100_000, b"{}", *parts):
        path.write_bytes(damaged)
        with pytest.raises(ReadError, match=f"cell{end}"):
            read_worksheet(path)
    path.unlink()
    with pytest.raises(ReadError, match="cannot be read as a worksheet: No such file"):
        read_worksheet(path)


def test_a_spreadsheet_made_to_fill_the_memory_is_refused(tmp_path, monkeypatch):
    from batlab.failure import _worksheet_xlsx

    odd_sheet(["one"]).save(tmp_path / "cell.xlsx")
    monkeypatch.setattr(_worksheet_xlsx, "LARGEST", 1000)
    with pytest.raises(ReadError, match=r"unpacks to .* bytes, more than 1000"):
        read_worksheet(tmp_path / "cell.xlsx")


def test_a_newer_format_and_another_end_are_refused(tmp_path):
    made = odd_sheet(["one"])
    told = made.as_dict() | {"format": 3}
    (tmp_path / "cell.json").write_text(json.dumps(told))
    with pytest.raises(ReadError, match="format 3, this batlab knows formats up to 2"):
        read_worksheet(tmp_path / "cell.json")
    with pytest.raises(ValueError, match=r"did you mean '\.xlsx'"):
        made.save(tmp_path / "cell.xls")
    with pytest.raises(OSError, match="cannot be written"):
        made.save(tmp_path / "no" / "cell.json")
    told = made.as_dict()
    told["rows"][0]["evidence"] = ["nowhere"]
    told["signed"] = []
    (tmp_path / "cell.json").write_text(json.dumps(told))
    with pytest.raises(ReadError, match="points at evidence 'nowhere'"):
        read_worksheet(tmp_path / "cell.json")


def test_a_file_is_as_private_as_its_owner_wants_and_a_folder_stays(tmp_path):
    made = odd_sheet(["one"])
    before = os.umask(0o077)
    try:
        made.save(tmp_path / "cell.json")
    finally:
        os.umask(before)
    assert (tmp_path / "cell.json").stat().st_mode & 0o777 == 0o600
    (tmp_path / "kept.json").mkdir()
    with pytest.raises(OSError, match="it is a folder; give the name of a file"):
        made.save(tmp_path / "kept.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cell.json", "kept.json"]


def test_without_openpyxl_the_extra_is_named(tmp_path, monkeypatch):
    made = odd_sheet(["one"])
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'batlab\[xlsx\]'"):
        made.save(tmp_path / "cell.xlsx")
    assert not [*tmp_path.iterdir()]
