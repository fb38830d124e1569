"""Series of different pixel splitting are not compared: they differ by up to 10 % for no other reason."""

import numpy as np
import pytest
import xarray as xr

import batlab as bl
from batlab.curves import fit_peaks, regrid
from batlab.errors import SchemaError
from batlab.schema import quantity, same_grid, same_scheme

FRAMES = quantity("frame", range(3), "1", "frame")
REFUSAL = "cannot compare series of different pixel splitting, got 'no' and 'full'; integrate all with one"


def series(split, axis="q"):
    """Return three patterns of one peak."""
    q = np.linspace(2, 3, 200)
    counts = 50 + 900 * np.exp(-4 * np.log(2) * ((q - 2.51) / 0.03) ** 2)
    made = xr.Dataset(
        {"intensity": quantity(("frame", axis), np.tile(counts.round(), (3, 1)), "count", "intensity")},
        {
            axis: quantity(axis, q, "1/angstrom", "scattering vector"),
            "frame": quantity("frame", range(3), "1", "frame"),
        },
    )
    return made if split is None else made.assign_attrs(split=split)


def cells(split):
    """Return cells of three frames."""
    names = {"a": "angstrom", "b": "angstrom", "c": "angstrom", "volume": "angstrom^3"}
    table = {name: quantity("frame", [3.0, 3.1, 3.2], unit, name) for name, unit in names.items()}
    table |= {f"{name}_sigma": quantity("frame", [0.1] * 3, unit, name) for name, unit in names.items()}
    made = xr.Dataset(table, {"frame": quantity("frame", range(3), "1", "frame")})
    return made if split is None else made.assign_attrs(split=split)


def test_one_scheme_or_none_stated_is_fine():
    same_scheme("f", series("no"), series("no"), series(None))
    same_scheme("f")
    same_grid("f", series("bbox"), series("bbox"), ["q"])


MEETINGS = {
    "same_grid": lambda: same_grid("f", series("no"), series("full"), ["q"]),
    "regrid": lambda: regrid(series("no"), series("full")),
    "regrid onto one variable": lambda: regrid(series("no"), series("full")["intensity"].assign_attrs(split="full")),
    "strain": lambda: bl.xrd.strain(cells("no"), reference=cells("full").isel(frame=[0])),
    "explorer": lambda: bl.dashboards.CycleExplorer(series("no"), cells("full")),
    "explorer with peaks": lambda: bl.dashboards.CycleExplorer(series("no"), fit_peaks(series("full"), near=[2.51])),
}


@pytest.mark.parametrize("meeting", MEETINGS.values(), ids=MEETINGS)
def test_meeting_another_scheme_is_refused(meeting):
    with pytest.raises(SchemaError, match=REFUSAL):
        meeting()


def test_a_report_of_two_schemes_is_refused(tmp_path):
    with pytest.raises(SchemaError, match=REFUSAL):
        bl.report.write(tmp_path / "cell.html", series("no"), cells("full"))
    assert not any(tmp_path.iterdir())
    assert bl.report.write(tmp_path / "cell.html", series("no"), cells("no")).is_file()


def test_peaks_state_the_scheme_of_their_patterns():
    assert fit_peaks(series("bbox"), near=[2.51]).attrs["split"] == "bbox"
    assert bl.xrd.strain(cells("bbox")).attrs["split"] == "bbox"


def test_without_a_scheme_nothing_is_judged():
    assert regrid(series(None), series("full")).sizes["q"] == 200
