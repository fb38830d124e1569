"""Long text tables in pieces: the same values as at once, memory that does not grow, errors that name the line."""

import resource
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from batlab import io
from batlab.errors import ReadError
from batlab.io import _rows
from batlab.schema import check

PLAIN = "Time (s),Voltage (V),Current (A),Capacity (Ah),Cycle Index,Note\n"
MACCOR = "Date of Test:\t09/20/2020 10:00:00\nRec#\tCyc#\tStep\tTest (Sec)\tAmp-hr\tAmps\tVolts\tState\n"


def plain_rows(n):
    t = np.arange(n) * 10.0
    current = np.where(t % 7200 < 3600, 1.25, -1.25)
    charge = np.concatenate([[0.0], np.cumsum(current[1:] * 10 / 3600)])
    volts = 3.5 + charge / 2
    return "".join(
        f"{t[i]:.1f},{volts[i]:.5f},{current[i]:g},{charge[i]:.7f},{1 + i // 720},{'go' if i % 9 else ''}\n"
        for i in range(n)
    )


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(_rows, "PIECE", 5000)
    monkeypatch.setattr(_rows, "LAZY", 10_000)


def write(folder, text, name="cell.csv"):
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder / name


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_pieces_hold_what_the_whole_holds(tmp_path, monkeypatch, encoding, ends):
    text = (PLAIN.replace("Note", "Temp [°C]") + plain_rows(500).replace("go", "25.5")).replace("\n", ends)
    path = write(tmp_path, text.encode(encoding))
    whole = io.open(path)
    monkeypatch.setattr(_rows, "PIECE", 3000)
    pieces = check(io.open(path))
    assert pieces.drop_attrs().identical(whole.drop_attrs())
    assert pieces["temp"].attrs["units"] == "degC"
    assert np.isnan(pieces["temp"].values[::9]).all()
    assert pieces.sizes["record"] == 500


def test_a_long_file_stays_on_disk(tmp_path, small_pieces, monkeypatch):
    path = write(tmp_path, PLAIN + plain_rows(1000))
    lazy = io.open(path, start="2024-01-01T00:00")
    assert all(lazy[name].chunks for name in ("voltage", "current", "capacity", "test_time", "time", "note"))
    assert len(lazy["voltage"].chunks[0]) > 3
    check(lazy)
    monkeypatch.setattr(_rows, "LAZY", 2**28)
    whole = io.open(path, start="2024-01-01T00:00")
    for name in whole.variables:
        np.testing.assert_array_equal(lazy[name], whole[name])
        assert lazy[name].attrs == whole[name].attrs
    for name in ("again.csv", "again.parquet"):
        io.save(lazy, tmp_path / name)
        np.testing.assert_array_equal(io.open(tmp_path / name)["time"], whole["time"])
    assert lazy["record"].values.tolist() == list(range(1000))
    assert "io.open" in lazy.attrs["history"]
    path.write_text(PLAIN + plain_rows(999))
    with pytest.raises(ReadError, match=r"cell.csv: has changed since it was opened"):
        lazy["voltage"].compute()


def test_a_long_bdf_and_a_long_vendors_file(tmp_path, small_pieces, monkeypatch):
    rows = plain_rows(800)
    bdf = write(tmp_path, PLAIN.replace("Time (s),Voltage (V),Current (A),Capacity (Ah)",
                "Test Time / s,Voltage / V,Current / A,Net Capacity / Ah") + rows, "cell.bdf.csv")  # fmt: skip
    cells = [row.split(",") for row in rows.split("\n")[:-1]]
    body = "".join(f"{i}\t{c[4]}\t1\t{c[0]}\t{c[3]}\t{c[2]}\t{c[1]}\t{'C' if c[2][0] != '-' else 'D'}\n"
                   for i, c in enumerate(cells))  # fmt: skip
    vendor = write(tmp_path, MACCOR + body, "cell.034")
    for path, hints in ((bdf, {}), (vendor, {"timezone": "UTC", "date_order": "month_first"})):
        lazy = check(io.open(path, **hints))
        assert lazy["voltage"].chunks
        with monkeypatch.context() as patch:
            patch.setattr(_rows, "LAZY", 2**28)
            whole = io.open(path, **hints)
        for name in whole.variables:
            np.testing.assert_array_equal(lazy[name], whole[name])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda rows: rows[:700] + ["7000.0,oops,1,0,1,go"] + rows[701:],
            "line 702, column 'Voltage .V.' holds 'oops'",
        ),
        (lambda rows: rows[:700] + ["7000.0,3.5"] + rows[701:], "line 702 has 2 columns, the header names 6"),
        (lambda rows: rows[:700] + ["12.0,3.5,1,0,1,go"] + rows[701:], "time falls from 6990 s to 12 s at record 700"),
        (lambda rows: rows[:700] + ["nan,3.5,1,0,1,go"] + rows[701:], "the test time of record 700 is no number"),
        (lambda rows: rows[:700] + ["1" * 2_000_000], "has a line of more than 1048576 bytes"),
    ],
)
@pytest.mark.parametrize("is_lazy", [False, True])
def test_damage_far_into_a_file_is_named(tmp_path, monkeypatch, is_lazy, change, message):
    monkeypatch.setattr(_rows, "PIECE", 5000)
    if is_lazy:
        monkeypatch.setattr(_rows, "LAZY", 10_000)
    rows = plain_rows(1000).split("\n")[:-1]
    path = write(tmp_path, PLAIN + "\n".join(change(rows)) + "\n")
    with pytest.raises(ReadError, match=f"cell.csv: .*{message}"):
        io.open(path)


def test_a_column_may_start_empty_and_hold_words_later(tmp_path, monkeypatch):
    monkeypatch.setattr(_rows, "PIECE", 3000)
    rows = plain_rows(500).replace("go", "")
    late = rows[:-1].rsplit("\n", 50)
    path = write(tmp_path, PLAIN + "\n".join([late[0], *[line + "done" for line in late[1:]]]) + "\n")
    ds = check(io.open(path))
    assert ds["note"].values.tolist() == [""] * 450 + ["done"] * 50


def test_a_charge_counter_in_a_wrong_unit_is_told_of_a_long_file(tmp_path, small_pieces):
    path = write(tmp_path, PLAIN.replace("Capacity (Ah)", "Capacity (mAh)") + plain_rows(1000))
    with pytest.warns(UserWarning, match=r"charge counter and the integrated current disagree in \d+ of \d+ runs"):
        io.open(path)


def big(path, size):
    """Write a csv of at least `size` bytes; return how many rows it has."""
    block = plain_rows(20_000).replace("go", "").split("\n")[:-1]
    tails = [row.split(",", 1)[1] for row in block]
    n = 0
    with path.open("w") as file:
        file.write(PLAIN)
        while file.tell() < size:
            # Blocks of 20,000 rows: the counter starts anew with each.
            file.write("".join(f"{(n + i) * 10.0:.1f},{tail}\n" for i, tail in enumerate(tails)))
            n += len(tails)
    return n


SCRIPT = """
    import resource, sys
    from batlab import io
    import dask
    dask.config.set(scheduler="synchronous")
    io.open(sys.argv[2])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ds = io.open(sys.argv[1])
    mean, n = float(ds["voltage"].mean()), ds.sizes["record"]
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, mean, n)
"""


@pytest.mark.soak
def test_a_gigabyte_in_flat_memory(tmp_path):
    small = write(tmp_path, PLAIN + plain_rows(1000), "small.csv")
    grown = {}
    for size in (3 * 10**8, 10**9):
        path = tmp_path / "big.csv"
        n = big(path, size)
        done = subprocess.run([sys.executable, "-c", textwrap.dedent(SCRIPT), path, small],
                              capture_output=True, text=True, check=True)  # fmt: skip
        grown[size], mean, rows = map(float, done.stdout.split())
        assert rows == n
        assert mean == pytest.approx(3.5 + 1.25 / 4, abs=0.02)
    # Three times the file, and not a fifth of it in memory.
    assert grown[10**9] < 200
    assert grown[10**9] < grown[3 * 10**8] + 50


@pytest.mark.soak
def test_700_000_rows_in_two_seconds(tmp_path):
    path = tmp_path / "cell.csv"
    n = 0
    while n < 700_000:
        n = big(path, 32_000_000 if not n else path.stat().st_size + 2_000_000)
    io.open(write(tmp_path, PLAIN + plain_rows(1000), "small.csv"))
    start = time.process_time()
    ds = io.open(path)
    took = time.process_time() - start
    assert ds.sizes["record"] == n >= 700_000
    assert took <= 2.0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 2**21  # KiB
