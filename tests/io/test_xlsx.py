"""Workbooks, whole and hostile; the values typed from made files, or as openpyxl reads them."""

import struct
import time
import zipfile

import numpy as np
import pytest

from batlab import datasets, io
from batlab.errors import ReadError, UnsafePathError
from batlab.io import xlsx, zipped
from batlab.schema import check

NAMES = ("Data_Point", "Test_Time(s)", "Date_Time", "Step_Index", "Cycle_Index", "Current(A)", "Voltage(V)",
         "Charge_Capacity(Ah)", "Discharge_Capacity(Ah)")  # fmt: skip
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def letters(column):
    return chr(65 + column)


def sheet(rows, prefix=""):
    """Return a sheet's XML: texts inline, numbers plain, None left out."""
    p = f"{prefix}:" if prefix else ""
    spec = f'xmlns:{prefix}="{MAIN}"' if prefix else f'xmlns="{MAIN}"'
    out = [f"<{p}worksheet {spec}><{p}sheetData>"]
    for n, row in enumerate(rows, 1):
        out.append(f'<{p}row r="{n}">')
        for column, value in enumerate(row):
            place = f'r="{letters(column)}{n}"'
            if isinstance(value, str):
                out.append(f'<{p}c {place} t="inlineStr"><{p}is><{p}t>{value}</{p}t></{p}is></{p}c>')
            elif value is not None:
                out.append(f'<{p}c {place} s="3"><{p}v>{value!r}</{p}v></{p}c>')
            else:
                out.append(f'<{p}c {place} s="3"/>')
        out.append(f"</{p}row>")
    return "".join([*out, f"</{p}sheetData></{p}worksheet>"])


def workbook(path, sheets, *, is_1904=False, target="worksheets/sheet{}.xml", mode="", extra=(), strings=None):
    listed = "".join(f'<sheet name="{t}" sheetId="{n}" r:id="rId{n}"/>' for n, t in enumerate(sheets, 1))
    links = "".join(
        f'<Relationship Id="rId{n}" Type="{RELATIONS}/worksheet" Target="{target.format(n)}"{mode}/>'
        for n in range(1, len(sheets) + 1)
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        dates = '<workbookPr date1904="1"/>' if is_1904 else ""
        archive.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{MAIN}" xmlns:r="{RELATIONS}">{dates}<sheets>{listed}</sheets></workbook>',
        )
        archive.writestr("xl/_rels/workbook.xml.rels", f"<Relationships>{links}</Relationships>")
        for n, content in enumerate(sheets.values(), 1):
            archive.writestr(f"xl/worksheets/sheet{n}.xml", content)
        if strings is not None:
            archive.writestr("xl/sharedStrings.xml", strings)
        for name, content in extra:
            archive.writestr(name, content)
    return path


def rows(n=4):
    """A charge of 1 A from noon on 1 July 2020 (serial day 44013.5), a record an hour."""
    return [(i + 1, 3600.0 * i, 44013.5 + i / 24, 2, 1, 1.0, 3.0 + 0.1 * i, 1.0 * i, 0.0) for i in range(n)]


def made(tmp_path, name="cell.xlsx", *, n=4, prefix="", **more):
    return workbook(
        tmp_path / name, {"Info": sheet([("TEST",)]), "Channel_1-008": sheet([NAMES, *rows(n)], prefix)}, **more
    )


SHEET = sheet([NAMES, *rows()])


@pytest.mark.parametrize("prefix", ["", "x"])
def test_made_workbook(tmp_path, prefix):
    ds = check(io.open(made(tmp_path, prefix=prefix), timezone="Europe/Paris"))
    assert ds["voltage"].values.tolist() == pytest.approx([3.0, 3.1, 3.2, 3.3])
    assert ds["capacity"].values.tolist() == [0, 1, 2, 3]
    assert ds["test_time"].values.tolist() == [0, 3600, 7200, 10800]
    assert [str(one)[:19] for one in ds["time"].values[[0, 3]]] == ["2020-07-01T10:00:00", "2020-07-01T13:00:00"]
    assert ds.attrs["channel"] == "1-008"
    assert ds["record_number"].values.tolist() == [1, 2, 3, 4]


def test_dates_from_1904(tmp_path):
    shifted = [(*row[:2], row[2] - 1462, *row[3:]) for row in rows()]
    path = workbook(tmp_path / "mac.xlsx", {"Channel_1": sheet([NAMES, *shifted])}, is_1904=True)
    assert str(io.open(path, timezone="UTC")["time"].values[0])[:19] == "2020-07-01T12:00:00"


def test_continued_sheets_follow_one_another(tmp_path):
    first, second = rows(5)[:3], rows(5)[3:]
    sheets = {"Channel_11_2": sheet([NAMES, *second]), "Channel_11_1": sheet([NAMES, *first])}
    ds = io.open(workbook(tmp_path / "a.xlsx", sheets), timezone="UTC")
    assert ds["record_number"].values.tolist() == [1, 2, 3, 4, 5]


def test_several_channels_are_asked_for(tmp_path):
    path = workbook(tmp_path / "a.xlsx", {f"Channel_1-00{n}": sheet([NAMES, *rows(n)]) for n in (2, 3)})
    with pytest.raises(ReadError, match=r"several channels; pass channel='1-002' or '1-003'"):
        io.open(path, timezone="UTC")
    assert io.open(path, timezone="UTC", channel="1-003").sizes["record"] == 3
    with pytest.raises(ValueError, match="channel must be '1-002' or '1-003', got '1-004'"):
        io.open(path, timezone="UTC", channel="1-004")


def test_shared_texts_empty_cells_and_errors(tmp_path):
    strings = (
        f'<sst xmlns="{MAIN}">'
        + "".join(f"<si><t>{name}</t></si>" for name in NAMES)
        + "<si><r><t>a </t></r><r><t>b</t></r></si></sst>"
    )
    head = "".join(f'<c r="{letters(i)}1" t="s"><v>{i}</v></c>' for i in range(len(NAMES)))
    cells = "".join(f'<c r="{letters(i)}2"><v>{value!r}</v></c>' for i, value in enumerate(rows()[0]) if i != 7)
    xml = (
        f'<worksheet xmlns="{MAIN}"><sheetData><row r="1">{head}</row>'
        f'<row r="2">{cells}<c r="H2" t="e"><v>#N/A</v></c></row>'
        f'<row r="4"><c r="B4"><f>B2+1</f><v>5</v></c><c r="G4"><v>3.5</v></c></row></sheetData></worksheet>'
    )
    ds = io.open(workbook(tmp_path / "a.xlsx", {"Channel_1": xml}, strings=strings), timezone="UTC")
    assert ds["voltage"].values.tolist() == [3.0, 3.5]
    assert np.isnan(ds["charge_capacity"].values).all()
    assert ds["test_time"].values.tolist() == [0, 5]
    assert str(ds["time"].values[1])[:19] == "2020-07-01T12:00:05"  # its date is missing, its test time is not


@pytest.mark.data
def test_real_workbook():
    """SOURCES: 4526 rows; the first and last record as openpyxl 3.1.5 reads them."""
    ds = check(io.open(datasets.path("arbin_small") / XLSX, timezone="Etc/GMT-1"))
    assert ds.sizes["record"] == 4526
    assert ds["test_time"].values[[0, -1]].tolist() == [1.001, 1204815.8106799999]
    assert ds["voltage"].values[[0, -1]].tolist() == [2.637298583984375, 0.07228660583496094]
    assert ds["discharge_capacity"].values[-1] == 0.0110548976808786
    assert str(ds["time"].values[0])[:19] == "2020-10-19T10:31:46"


XLSX = "bs542_004_gr_li_50ua_50mv_1v_191020_Channel_11.xlsx"


@pytest.mark.data
@pytest.mark.parametrize("step", [pytest.param(1024, marks=pytest.mark.soak), 60_000])
def test_truncated(tmp_path, step):
    raw = (datasets.path("arbin_small") / XLSX).read_bytes()
    path = tmp_path / "cut.xlsx"
    for size in range(1024, len(raw), step):
        path.write_bytes(raw[:size])
        with pytest.raises(ReadError, match=r"cut\.xlsx: is no whole zip archive .* may be truncated"):
            io.open(path, timezone="UTC")


def test_links_to_other_workbooks_are_not_followed(tmp_path):
    path = made(tmp_path, extra=[("xl/externalLinks/externalLink1.xml", "<externalLink/>")])
    with pytest.warns(UserWarning, match=r"cell.xlsx: links to 1 other workbook\(s\), which are not followed"):
        assert io.open(path, timezone="UTC").sizes["record"] == 4


@pytest.mark.parametrize(
    ("target", "mode"),
    [("../../../etc/passwd", ""), ("file:///etc/passwd", ' TargetMode="External"'), ("/../secret.xml", "")],
)
def test_sheets_outside_the_file_are_refused(tmp_path, target, mode):
    with pytest.raises(UnsafePathError, match=r"cell.xlsx: a sheet is said to lie in .*, outside the file"):
        io.open(made(tmp_path, target=target, mode=mode), timezone="UTC")


def test_entities_are_refused(tmp_path):
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>' + sheet([NAMES, *rows()])
    path = workbook(tmp_path / "a.xlsx", {"Channel_1": bomb})
    with pytest.raises(ReadError, match="document type definition"):
        io.open(path, timezone="UTC")


def test_zip_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "bomb.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("xl/workbook.xml", f'<workbook xmlns="{MAIN}"/>')
        with archive.open("xl/worksheets/sheet1.xml", "w") as part:
            for _ in range(80):
                part.write(b" " * 2**20)
    start = time.perf_counter()
    with pytest.raises(ReadError, match=r"bomb.xlsx: .* would unpack .* zip bomb"):
        io.open(path, timezone="UTC")
    assert time.perf_counter() - start < 60


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no table"),
        (sheet([NAMES]), "holds no record"),
        (SHEET.replace(' r="A2"', ""), "cells without a place"),
        (SHEET.replace("<v>3.1</v>", "<v>3..1</v>"), r"column 7, row 3 holds b'3..1'"),
        (SHEET.replace('t="inlineStr"><is><t>Data_Point</t></is>', 't="s"><v>99</v>'), "refers to text b'99' of 0"),
        (SHEET.encode("utf-16"), "UTF-16"),
    ],
)  # fmt: skip
def test_damage_is_named(tmp_path, content, message):
    with pytest.raises(ReadError, match=rf"a\.xlsx: .*({message})"):
        io.open(workbook(tmp_path / "a.xlsx", {"Channel_1": content}), timezone="UTC")


def test_other_archives(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.docx", "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
    with pytest.raises(ReadError, match=r"a\.docx: holds no Excel workbook"):
        io.open(tmp_path / "a.docx")
    path = workbook(tmp_path / "b.xlsx", {"Sheet1": sheet([("a", "b"), (1.0, 2.0)])})
    with pytest.raises(ReadError, match=r"b\.xlsx: no sheet holds a channel's record .* its sheets are 'Sheet1'"):
        io.open(path)
    assert not xlsx.is_workbook(zipped.names_at_head(path, b"\x89HDF"))


def test_encrypted_part_is_refused(tmp_path):
    raw = bytearray(made(tmp_path).read_bytes())
    place = raw.find(b"PK\x01\x02")
    struct.pack_into("<H", raw, place + 8, 1)
    (tmp_path / "locked.xlsx").write_bytes(bytes(raw))
    with pytest.raises(ReadError, match="is encrypted"):
        io.open(tmp_path / "locked.xlsx")


def test_noise_never_escapes(tmp_path):
    whole = made(tmp_path).read_bytes()
    rng = np.random.default_rng(3)
    path = tmp_path / "noise.xlsx"
    for _ in range(100):
        raw = bytearray(whole)
        for place in rng.integers(4, len(raw), 4):
            raw[place] = rng.integers(256)
        path.write_bytes(bytes(raw))
        try:
            ds = io.open(path, timezone="UTC")
        except (ReadError, UserWarning):
            continue
        assert ds.sizes["record"] >= 1
