"""Dates and times read place by place equal those that Python's own calendar reads one by one."""

import random
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from batlab.errors import ReadError
from batlab.io import _dates, shapes
from batlab.io._table import Table

EPOCH = datetime(1970, 1, 1)
FORMS = {
    "%m/%d/%Y %H:%M:%S.%f": "month_first",
    "%d/%m/%Y %H:%M:%S": "day_first",
    "%Y-%m-%d %H:%M:%S": "day_first",
    "%Y-%m-%dT%H:%M:%S.%f": "month_first",
    "%d.%m.%Y %H:%M:%S": "day_first",
    "%d-%b-%Y %I:%M:%S %p": "day_first",
    "%d-%b-%y %H:%M:%S": "day_first",
    "\t%m/%d/%Y %I:%M:%S %p": "month_first",
    "%m-%d-%Y %H:%M:%S": "month_first",
    "%d.%m.%Y": "day_first",
    "%m/%d/%y %I:%M:%S %p": "month_first",
}


def table(words):
    return Table("cell.txt", ["date"], [pa.array(words, pa.string())], range(5, 5 + len(words)), ".", [])


@pytest.mark.parametrize(("form", "order"), FORMS.items())
@pytest.mark.parametrize("with_zeros", [True, False])
def test_dates_are_those_of_the_calendar(form, order, with_zeros):
    rng = random.Random(form)
    moments = [datetime(1999, 12, 31) + timedelta(milliseconds=rng.randrange(10**12)) for _ in range(400)]
    words = [moment.strftime(form) for moment in moments]
    if not with_zeros and "T" not in form and not form.startswith("%Y"):
        words = [word.replace("\t0", "\t").removeprefix("0").replace(" 0", " ") for word in words]
    expected = [(datetime.strptime(word, form) - EPOCH) / timedelta(seconds=1) for word in words]
    got = _dates.dates(table(words), 0, order)
    np.testing.assert_allclose(got, expected, rtol=0, atol=3e-7)  # 64 bits hold a date of today to 2e-7 s
    assert all(one == other for one, other in zip(got, expected, strict=True)) or "%f" in form


@pytest.mark.parametrize(
    "bad",
    ["02/30/2024 08:32:34", "13/20/2024 08:32:34", "09/20/2024 24:00:00", "09/20/2024 08:60:00", "09/20/2024 08:32:60",
     "09/20/2024 08:3x:34", "rubbish", "00/20/2024 08:32:34", "09/20/0000 08:32:34"],
)  # fmt: skip
@pytest.mark.parametrize("fraction", ["", ".558"])
def test_what_is_no_date_is_refused_with_its_line(bad, fraction):
    words = ["09/20/2024 08:32:34" + fraction] * 3 + [bad + (fraction if bad != "rubbish" else "")]
    with pytest.raises(ReadError, match=r"cell\.txt: line 8, column 'date' holds '.*', which is no date with time"):
        _dates.dates(table(words), 0, "month_first")


def test_empty_words_and_one_row():
    assert np.isnan(_dates.dates(table(["", "nan"]), 0, "day_first")).all()
    assert _dates.dates(table([]), 0, "day_first").size == 0
    assert _dates.dates(table(["1970-01-02 00:00:01"]), 0, "day_first").tolist() == [86401.0]
    mixed = _dates.dates(table(["1970-01-02 00:00:01", "", "1970-01-02T00:00:02"]), 0, "day_first")
    assert mixed[[0, 2]].tolist() == [86401.0, 86402.0]
    assert np.isnan(mixed[1])


def test_a_far_date_is_out_of_range():
    with pytest.raises(ReadError, match=r"line 6: the date '0001-01-01 00:00:00' is out of range"):
        _dates.dates(table(["2024-01-01 00:00:00", "0001-01-01 00:00:00"]), 0, "day_first")


def test_times_are_exact_decimals():
    rng = random.Random(7)
    words, expected = [], []
    for n in range(2000):
        days, hours, minutes, cents = rng.randrange(40), rng.randrange(130), rng.randrange(60), rng.randrange(6000)
        second = f"{cents // 100:02d}.{cents % 100:02d}" if n % 3 else f"{cents // 100:02d}"
        lead = f"{days:3d}d " if n % 2 else ""
        words.append(f"{lead}{hours:02d}:{minutes:02d}:{second}")
        expected.append(86400 * days * (n % 2) + 3600 * hours + 60 * minutes + float(second))
    assert _dates.seconds_of_clock(table(words), 0).tolist() == expected
    assert np.isnan(_dates.seconds_of_clock(table(["00:00:01", ""]), 0)[1])
    for bad in ("00:75:00", "00:00:75", "noon", "-00:00:01"):
        with pytest.raises(ReadError, match=r"cell\.txt: line 6: '.*' is no time hh:mm:ss"):
            _dates.seconds_of_clock(table(["00:00:01", bad]), 0)


def test_pieces_slices_and_many_shapes():
    words = [f"{'x' * (n % 90)}{n:04d}" for n in range(3000)]
    whole = pa.array(["lead", *words, "trail"], pa.string())
    value = lambda found, number: number("n").astype(float)  # noqa: E731
    pattern = shapes.re.compile(r"x*(?P<n>[0-9]{4})")
    for given in (whole.slice(1, 3000), pa.chunked_array([whole.slice(1, 7), whole.slice(8, 2993)])):
        got = shapes.numbers(given, pattern, value)
        known = np.isfinite(got)
        # Longer ones are left to slower ways.
        np.testing.assert_array_equal(known, [len(word) <= shapes.LONGEST for word in words])
        np.testing.assert_array_equal(got[known], np.arange(3000.0)[known])
    assert np.isnan(shapes.numbers(pa.array(["٠٠٠٠", "é123", "", "x" * 99]), pattern, value)).all()
    assert np.isnan(shapes.numbers(pa.array(["x" * 99, "٠٠٠٠"]), pattern, value)).all()
    assert np.isnan(shapes.numbers(pa.array(["1" * 16]), shapes.re.compile(r"(?P<n>[0-9]+)"), value)).all()
