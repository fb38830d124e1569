"""Every open file of electrochemistry, with the rows and cycles that its source or the file itself states."""

import warnings

import numpy as np
import pytest
import xarray as xr

from batlab import datasets, io
from batlab.schema import check

pytestmark = pytest.mark.data

# Set, file, records, number of cycles (None: the file counts none, or its source states none), and how it is known.
# "source": the table of sources; "header": stated in the file; "lines": lines below the header line.
TEXTS = [
    ("biologic_bcs", "", 1397, 1, "lines: 1500, 103 of header"),
    ("biologic_pairs", "gcpl.issue_149.mpt", 132, None, "lines: 213, 81 of header"),
    ("biologic_pairs", "mb.issue_149.mpt", 564, None, "lines: 678, 114 of header"),
    ("biologic_pairs", "ocv.mpt", 602, None, "lines: 655, 53 of header"),
    ("biologic_pairs", "peis.mpt", 32, None, "lines: 102, 70 of header"),
    ("lno_rock", "EC/220726cell4operandoxas_C06.mpt", 6333, None, "lines: 6415, 82 of header"),
    ("lno_rock", "EC/220726cell4operandoxascontinuation_C06.mpt", 1402, None, "lines: 1484, 82 of header"),
    ("maccor_beep", "", 4061, 2, "Rec# runs from 1 to 4061; Cyc# 0 and 1"),
    ("maccor_cellpy", "maccor_two.txt", 213, None, "the 214th line is cut"),
    ("maccor_cellpy", "maccor_three.txt", 4009, 15, "Rec# runs from 1 to 4009; Cyc# from 0 to 14"),
    ("cycler_headers", "maccor/sample_data_maccor.csv", 15, 1, "Rec"),
    ("cycler_headers", "basytec/sample_data_basytec.txt", 74, None, "DataSet"),
    ("cycler_headers", "novonix/sample_data_novonix.csv", 207, 1, "lines: 228, 21 of header"),
    ("cycler_headers", "arbin/sample_data_arbin.csv", 13, 1, "Data Point"),
    ("pec", "Test25195.csv", 19, None, "lines: 65, 46 of header"),
    ("pec", "Test25205.csv", 489, None, "lines: 535, 46 of header"),
    ("pec", "Test25209.csv", 281, None, "lines: 327, 46 of header"),
    ("neware_small", "neware_uio.csv", 9065, 4, "source; lines: 9065 below the header"),
    ("arbin_beep", "FastCharge_000025_CH8.csv", 248, None, "lines: 249, one of header"),
    ("zilien", "2022-04-06 16_17_23 full set_01_01_CP_DUSB0_C01.mpt", 11, None, "lines"),
    ("zilien", "2022-04-06 16_17_23 full set_01_02_CVA_DUSB0_C01.mpt", 865, None, "lines"),
]
PARQUETS = [
    ("neware_fastnda", "21_10_7_85.parquet", 141, None, "as Parquet itself counts"),
    ("neware_fastnda", "TESTCELL0001-B2-2025-M50T_NewareNDA_Investigation.parquet", 77745, None, "Parquet"),
    ("neware_fastnda", "nda_v22.parquet", 1380, None, "Parquet"),
    ("neware_fastnda", "nda_v8.parquet", 21, None, "Parquet"),
]
BINARIES = [
    ("biologic_jdb", "", 46102, None, "source: 7 full cycles by the counter"),
    ("biologic_pairs", "gcpl.issue_149.mpr", 132, None, "as its .mpt"),
    ("biologic_pairs", "mb.issue_149.mpr", 564, None, "as its .mpt"),
    ("biologic_pairs", "ocv.mpr", 602, None, "as its .mpt"),
    ("biologic_pairs", "peis.mpr", 32, None, "as its .mpt"),
    ("neware_fullcell", "", 109282, 213, "source: two other readers"),
    ("neware_small", "test.nda", 439, None, "source"),
    ("neware_small", "test.ndax", 1464, None, "source"),
    ("neware_fastnda", "21_10_7_85.ndax", 141, None, "as its .parquet"),
    ("neware_fastnda", "TESTCELL0001-B2-2025-M50T_NewareNDA_Investigation.ndax", 77745, None, "as its .parquet"),
    ("neware_fastnda", "nda_v22.nda.zip", 1380, None, "as its .parquet"),
    ("neware_fastnda", "nda_v8.nda.zip", 21, None, "as its .parquet"),
    ("arbin_silicon", "", 10261, 18, "source"),
    ("arbin_small", "arbin_example.res", 2150, 5, "source"),
    ("arbin_small", "bs542_004_gr_li_50ua_50mv_1v_191020_Channel_11.xlsx", 4526, None, "source"),
]
GASES = {
    "echem": 733, "gas/iongauge_value": 457, "gas/mfc1_value": 457, "gas/pc_setpoint": 457, "gas/c0m2": 404,
    "gas/c4m32": 404,
}  # fmt: skip


def opened(name, file):
    path = datasets.path(name)
    if file.endswith((".nda", ".ndax", ".nda.zip")) or name == "neware_fullcell":
        pytest.importorskip("fastnda", reason="Neware's binary files need the extra cycler")
    with warnings.catch_warnings():
        # What each file leaves open (zone, units, a cut line) is the business of its reader's own tests.
        warnings.simplefilter("ignore", UserWarning)
        return io.open(path / file if file else path)


@pytest.mark.parametrize(("name", "file", "rows", "cycles", "why"), TEXTS + PARQUETS + BINARIES)
def test_records_and_cycles(name, file, rows, cycles, why):
    ds = check(opened(name, file))
    assert isinstance(ds, xr.Dataset)
    assert ds.sizes["record"] == rows, why
    if cycles is not None:
        assert len(np.unique(ds["cycle"].values[np.isfinite(ds["cycle"].values)])) == cycles, why
    if "test_time" in ds.coords:
        assert (np.diff(ds["test_time"]) >= 0).all()
    if "time" in ds.coords:
        assert (np.diff(ds["time"].values) >= np.timedelta64(0)).all()
    assert ds.attrs["history"]


def test_gas_records_and_mass_scans():
    ds = check(opened("ruo2_ec_ms", "meas_part_1_fig1.csv"))
    assert ds.sizes == {"record": 3350, "mass": 11}
    tree = check(opened("zilien", "2022-04-06 16_17_23 full set.tsv"))
    assert {node: tree[node].sizes["record"] for node in GASES} == GASES
    scans = sorted((datasets.path("zilien") / "full set mass scans").iterdir())
    assert check(io.open(scans)).sizes == {"frame": 3, "mass": 251}


DAYS = ["9_8_10", "10_29_10", "11_24_10", "12_23_10", "1_28_11", "2_4_11", "2_10_11"]


@pytest.mark.parametrize("day", ["8_19_10", *(pytest.param(day, marks=pytest.mark.soak) for day in DAYS)])
def test_workbooks_of_calce(day):
    ds = check(opened("calce_cs2_35", f"CS2_35_{day}.xlsx"))
    assert ds.sizes["record"] > 100
    # The cell holds 1.1 Ah when new and 0.3 Ah at its end, and is cycled between 2.7 and 4.2 V.
    assert 2.0 < float(ds["voltage"].min()) < float(ds["voltage"].max()) < 4.3


def test_no_file_is_forgotten():
    listed = {(name, file) for name, file, *_ in TEXTS + PARQUETS + BINARIES}
    for name in sorted({name for name, _ in listed}):
        path = datasets.path(name)
        if path.is_file() or name in ("cycler_headers", "neware_small", "arbin_small", "maccor_cellpy", "lno_rock"):
            continue  # one file, or files that share their folder with other sets
        for file in path.rglob("*"):
            if file.is_file() and file.suffix not in (".tsv",) and "Metadata" not in file.name:
                assert (name, str(file.relative_to(path))) in listed
