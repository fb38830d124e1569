"""A cycler's csv of 700,000 rows, opened by batlab, pyarrow and pandas; layouts as the vendors' programs write them.

python benchmarks/bench_rows.py          # threads as OMP_NUM_THREADS or the machine says; a minute, 400 MB of files
"""

import gc
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.csv

import batlab as bl
from batlab import threads

N = 700_000
STEP = 600  # records of a step of the current
CURRENT = 0.05  # A
INTERVAL = 10  # s between two records
BEGIN = datetime(2024, 9, 20, 8, 0, 0)
NEWARE = (
    "DataPoint,Cycle Index,Step Index,Step Type,Time,Cumulative Time,Current(A),Voltage(V),Capacity(Ah),"
    "Chg. Cap.(Ah),DChg. Cap.(Ah),Energy(Wh),Chg. Energy(Wh),DChg. Energy(Wh),Date,Power(W),dQ/dV(mAh/V)"
)
ARBIN = (
    "Data Point,Date Time,Test Time (s),Step Time (s),Cycle Index,Step Index,Current (A),Voltage (V),Power (W),"
    "Charge Capacity (Ah),Discharge Capacity (Ah),Charge Energy (Wh),Discharge Energy (Wh),Aux_Temperature_1 (C)"
)
MACCOR = "Rec#\tCyc#\tStep\tTestTime\tStepTime\tAmp-hr\tWatt-hr\tAmps\tVolts\tState\tES\tDPt Time"
BDF = "Test Time / s,Voltage / V,Current / A,Cycle Count / 1,Step Count / 1,Ambient Temperature / degC"


def clock(seconds: int) -> str:
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def rows() -> dict[str, tuple[str, Callable[[int], str]]]:
    """Return the head of each layout and the function that writes its row `i`."""
    step = np.arange(N) // STEP
    sign = np.where(step % 2, -1, 1)
    voltage = 3.6 + 0.4 * np.abs((np.arange(N) / STEP) % 2 - 1)[::-1]
    passed = np.cumsum(np.full(N, CURRENT * INTERVAL / 3600)).reshape(-1)
    here = passed - passed[STEP * step] + CURRENT * INTERVAL / 3600
    times = [BEGIN + timedelta(seconds=INTERVAL * i) for i in range(N)]

    def both(i: int, size: float) -> str:
        return f"{size:.8f},0.00000000" if sign[i] > 0 else f"0.00000000,{size:.8f}"

    def neware(i: int) -> str:
        kind, q, u, a = "CC Chg" if sign[i] > 0 else "CC DChg", here[i], voltage[i], sign[i] * CURRENT
        head = f"{i + 1},{step[i] // 2 + 1},{step[i] + 1},{kind},{clock(INTERVAL * (i % STEP))},{clock(INTERVAL * i)}"
        return f"{head},{a:.8f},{u:.4f},{q:.8f},{both(i, q)},{q * u:.8f},{both(i, q * u)},{times[i]},{a * u:.8f},0.0000"

    def arbin(i: int) -> str:
        q, u, a = here[i], voltage[i], sign[i] * CURRENT
        head = f"{i + 1},\t{times[i]:%m/%d/%Y %H:%M:%S}.000,{INTERVAL * i:.4f},{INTERVAL * (i % STEP):.4f}"
        return f"{head},{step[i] // 2 + 1},{step[i] + 1},{a},{u:.6f},{a * u:.6f},{both(i, q)},{both(i, q * u)},24.66422"

    def maccor(i: int) -> str:
        q, u, s = here[i], voltage[i], INTERVAL * i
        day, within = f"  {s // 86400}d {clock(s % 86400)}.00", f"  0d {clock(INTERVAL * (i % STEP))}.00"
        head = f"{i + 1}\t{step[i] // 2}\t{step[i] + 1}\t{day}\t{within}\t{q:.8f}\t{q * u:.8f}\t{CURRENT}\t{u:.5f}"
        return f"{head}\t{'C' if sign[i] > 0 else 'D'}\t1\t{times[i]:%m/%d/%Y %I:%M:%S %p}"

    def bdf(i: int) -> str:
        return f"{INTERVAL * i:.3f},{voltage[i]:.6f},{sign[i] * CURRENT:.6f},{step[i] // 2 + 1},{step[i] + 1},24.66"

    today = "Today's Date\t09/30/2024 12:00:00 PM\n\nDate of Test:\t09/20/2024 8:00:00 AM\n\n"
    layouts = {"Neware": (NEWARE, neware), "Arbin": (ARBIN, arbin), "BDF": (BDF, bdf)}
    return layouts | {"Maccor": (today + MACCOR, maccor)}


def timed(function: Callable[[], object], repeats: int = 5) -> tuple[float, float]:
    seconds = []
    for _ in range(repeats):
        gc.collect()
        begin = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - begin)
    return min(seconds), statistics.median(seconds)


def main() -> None:
    n_threads = threads.effective()
    print(f"{N:,} rows, {n_threads} threads for batlab and pyarrow; s a file, minimum (median of 5).")
    print("pyarrow and pandas give columns alone: no clock, no units, no sign of the current, no checks, no checksum.")
    with tempfile.TemporaryDirectory() as folder:
        for name, (head, row) in rows().items():
            path = Path(folder) / f"{name}.csv"
            with path.open("w") as file:
                file.write(head + "\n")
                file.writelines(row(i) + "\n" for i in range(N))
            skip, separator = head.count("\n"), "\t" if name == "Maccor" else ","
            read = pyarrow.csv.ReadOptions(use_threads=n_threads > 1, skip_rows=skip)
            split = pyarrow.csv.ParseOptions(delimiter=separator)
            ours = timed(lambda path=path: bl.open(path))
            peers = {
                "pyarrow.csv": lambda p=path, r=read, s=split: pyarrow.csv.read_csv(p, r, s),
                "pandas.read_csv": lambda p=path, k=skip, s=separator: pd.read_csv(
                    p, sep=s, skiprows=k, skip_blank_lines=False, low_memory=False
                ),
            }
            assert bl.open(path).sizes["record"] == N
            print(
                f"\n{name}, {path.stat().st_size / 1e6:.0f} MB, {len(head.splitlines()[-1].split(separator))} columns"
            )
            print(f"  {'batlab':20s}{ours[0]:8.2f} ({ours[1]:.2f})")
            for peer, function in peers.items():
                took = timed(function)
                print(f"  {peer:20s}{took[0]:8.2f} ({took[1]:.2f})   {took[0] / ours[0]:.2f} of batlab's time")
            path.unlink()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.exit(main())
