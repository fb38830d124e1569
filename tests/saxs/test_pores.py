"""Ordered pores: planted distances, strain, and the block copolymer that orders with concentration."""

import numpy as np
import pytest

from batlab import datasets, io
from batlab.errors import SchemaError
from batlab.saxs import peak, volume_change
from batlab.schema import check

Q = np.linspace(0.02, 0.1, 161)


def test_breathing_pores_give_their_strain_with_pulls_of_one(made):
    centres = 0.06 * (1 + 0.02 * np.sin(np.linspace(0, 6, 150)))
    rows = 20 * np.exp(-4 * np.log(2) * ((Q - centres[:, None]) / 0.006) ** 2) + 1.5 - 8 * Q + 40 * Q**2
    rng = np.random.default_rng(0)
    table = made.curves(Q, rows + 0.02 * rows * rng.normal(size=rows.shape), 0.02 * rows)
    found = check(peak(table, 0.06, width=0.006, background="quadratic"))
    pulls = (found["d"][:, 0] - 2 * np.pi / centres) / found["d_sigma"][:, 0]
    assert 0.88 < float(np.sqrt(np.mean(pulls**2))) < 1.12
    truth = centres[0] / centres - 1
    assert np.abs(found["strain"].values[:, 0] - truth).max() < 5 * found["strain_sigma"].values.max()
    assert found["strain_sigma"].values[0, 0] == 0
    np.testing.assert_allclose(found["order_length"], 0.94 * 2 * np.pi / 0.006, rtol=0.15)
    change = check(volume_change(found, "d", dimensions=2))
    np.testing.assert_allclose(change["volume_change"], (1 + found["strain"]) ** 2 - 1, atol=1e-12)
    with pytest.raises(SchemaError, match="needs 'rg'"):
        volume_change(found, "rg")
    with pytest.raises(ValueError, match="reference must be one of 150"):
        peak(table, 0.06, reference=150)


@pytest.mark.data
def test_p123_orders_with_concentration():
    # SOURCES: sharp structure peaks near 0.04 at 30-40 %, broad at 10 %.
    height = {}
    for percent in (10, 30, 40):
        table = io.open(datasets.path("sasview_examples") / f"P123_D2O_{percent}_percent.xml")
        row = table["intensity"].values[0]
        inside = (table["q"].values > 0.02) & (table["q"].values < 0.07)
        top = np.argmax(np.where(inside, row, 0))
        height[percent] = row[top]
        width = int((row > row[top] / 2).sum())
        assert (width < 8) == (percent > 10), (percent, width)
        if percent > 10:
            found = check(peak(table.sel(q=slice(0.025, 0.075)), float(table["q"][top]), width=0.006))
            assert 0.035 < float(found["position"][0, 0]) < 0.06
