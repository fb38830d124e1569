"""The spectroscopic path on a real series: a LiNiO2 half cell at SOLEIL's ROCK, 115 Ni K-edge spectra and two records.

What is known (see the set's row in the table of datasets): the beamline has normalised the spectra; half of the edge
step runs from 8344.8 eV to 8346.2 eV within a charge and comes back incompletely; the first full charge passes 1.614
mAh, the first discharge 1.321 mAh; scans and cycler state local time of Saint-Aubin without a zone.
"""

import re
from datetime import datetime

import numpy as np
import pytest

import batlab as bl
from batlab import datasets, schema

pytestmark = pytest.mark.data
ZONE = "Europe/Paris"
FIRST = slice(0, 52)  # frames of the first charge and discharge


@pytest.fixture(scope="module")
def folder():
    return datasets.path("lno_rock")


@pytest.fixture(scope="module")
def series(folder):
    return schema.check(bl.open(folder / "XAS_normalized" / "*.txt", timezone=ZONE))


@pytest.fixture(scope="module")
def edge(folder, series):
    cell = bl.open(folder / "EC" / "*.mpt", timezone=ZONE)
    return schema.check(bl.align.onto_frames(bl.xas.edge_energy(series, method="half_step"), cell))


def stated(path):
    """Return the middle of the scans that were averaged into a spectrum, by its header, in local time."""
    head = path.read_text(encoding="latin-1")[:2000]
    start = datetime.fromisoformat(re.search(r"Time at start=(\S+ \S+)", head)[1])
    return start.timestamp() + float(re.search(r"Time from start \(seconds\)=(\S+)", head)[1])


def recorded(path):
    """Return local times and voltages of a record, read from its columns by their names."""
    lines = path.read_text(encoding="latin-1").splitlines()
    n_header = int(lines[1].split(":")[1])
    began = next(line for line in lines if line.startswith("Acquisition started on"))
    start = datetime.strptime(began.split(" : ")[1].strip(), "%m/%d/%Y %H:%M:%S.%f").timestamp()
    names = lines[n_header - 1].split("\t")
    at = [names.index("time/s"), next(i for i, name in enumerate(names) if name.startswith("Ewe"))]
    rows = [line.replace(",", ".").split("\t") for line in lines[n_header:]]
    time, voltage = (np.array([float(row[i]) for row in rows]) for i in at)
    return start + time, voltage


def test_the_edge_moves_with_charge_and_comes_back_incompletely(edge):
    e0 = edge.e0.values
    top = int(np.argmax(e0[FIRST]))
    assert e0[0] == pytest.approx(8344.8, abs=0.1)
    assert e0[top] == pytest.approx(8346.2, abs=0.1)
    back = float(e0[top:][: FIRST.stop - top].min())
    assert e0[0] + 0.1 < back < e0[top] - 0.5


def test_edge_and_charge_turn_together(edge):
    charge = edge.charge_passed.values
    assert abs(int(np.argmax(edge.e0.values[FIRST])) - int(np.argmax(charge[FIRST]))) <= 1
    # A clock that is two hours wrong is seen: frames lie a quarter of an hour apart.
    assert np.median(np.diff(edge.time.values)) / np.timedelta64(1, "m") < 40
    rising = slice(0, int(np.argmax(charge[FIRST])))
    assert np.corrcoef(edge.e0.values[rising], charge[rising])[0, 1] > 0.95


def test_frames_carry_the_voltage_of_their_own_clock(folder, edge):
    assert np.isfinite(edge.voltage.values).all()
    clocks, volts = zip(*(recorded(path) for path in sorted((folder / "EC").glob("*.mpt"))))
    clock, volt = np.concatenate(clocks), np.concatenate(volts)
    for frame in (0, 20, 40, 75, 108):
        middle = stated(folder / "XAS_normalized" / str(edge.file.values[frame]))
        expected, late = np.interp([middle, middle + 7200], clock, volt)
        assert float(edge.voltage[frame]) == pytest.approx(expected, abs=0.002)
        assert abs(late - expected) > 0.02  # so that a clock two hours wrong would be seen


def test_two_components_explain_the_series(series):
    found = schema.check(bl.decompose.pca(series, 3, of="mu"))
    share = found.explained_variance_ratio.values
    assert share[:2].sum() >= 0.995
    # By numpy alone.
    mu = series.mu.values
    mu = mu[:, np.isfinite(mu).all(axis=0)]
    singular = np.linalg.svd(mu - mu.mean(axis=0), compute_uv=False) ** 2
    assert share == pytest.approx(singular[:3] / singular.sum(), rel=1e-6)
