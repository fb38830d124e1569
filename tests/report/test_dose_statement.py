"""Whatever is claimed says what is known of the X-ray dose, or that it was not assessed."""

import pytest

from batlab import report
from batlab.align.dose_ledger import NOT_ASSESSED
from batlab.failure import Store
from batlab.schema import check
from batlab.xrd import phase_changes

TOLD = "at most 12 kGy (upper bound)"


@pytest.fixture
def store(tmp_path, experiment):
    with Store(tmp_path / "cell.marks.sqlite") as store:
        store.add(experiment["patterns"], author="Ada", frames=(3, 9), category="chemical", mechanism="shift",
                  confidence=0.4)  # fmt: skip
        yield store


def test_a_report_without_doses_says_so_for_every_claim(tmp_path, experiment, store, read_page):
    page = read_page(report.write(tmp_path / "cell.html", *experiment.values(), store=store))
    # Patterns, cells, peaks and events in the table of files, the lead of the events, the mark; never the cycler.
    assert page.text.count(NOT_ASSESSED) == 6
    assert f"X-ray dose of the data: {NOT_ASSESSED}." in page.text


def test_a_report_shows_what_is_stated(tmp_path, experiment, store, read_page):
    told = {name: one.assign_attrs(dose_statement=TOLD) for name, one in experiment.items() if name != "cell"}
    page = read_page(report.write(tmp_path / "cell.html", *told.values(), experiment["cell"], store=store))
    assert NOT_ASSESSED not in page.text
    assert page.text.count(TOLD) == 6


def test_exported_marks_carry_it(experiment, store):
    series = experiment["patterns"]
    without, without_series = check(store.to_dataset(series)), check(store.to_dataset())
    for one in (without, without_series):
        assert one["dose_statement"].values.tolist() == [NOT_ASSESSED]
    stated = check(store.to_dataset(series.assign_attrs(dose_statement=TOLD)))
    assert stated["dose_statement"].values.tolist() == [TOLD]
    assert stated.attrs["dose_statement"] == TOLD


def test_dose_coordinates_leave_marks_where_they_are(experiment, store):
    from batlab.align import dose
    from batlab.schema import quantity

    series = experiment["patterns"]
    series = series.assign_coords(exposure=quantity("frame", series["frame"].values * 0 + 2.0, "s", "exposure"))
    told = dose(series, flux=1e10, beam_size=(0.5, 0.5), energy=30e3, composition="LiCoO2", density=5, thickness=20)
    found = store.to_dataset(told)
    assert found.sizes["event"] == 1
    assert "upper bound" in str(found["dose_statement"].values[0])


def test_events_keep_the_statement_of_their_cells(experiment):
    cells = experiment["cells"].assign_attrs(dose_statement=TOLD)
    assert phase_changes(cells).attrs["dose_statement"] == TOLD
