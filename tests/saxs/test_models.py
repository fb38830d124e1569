"""Fits of sasmodels: planted truth with σ, known forms, structure factors, and the error where it is not installed."""

import builtins

import numpy as np
import pytest

from batlab import saxs
from batlab.errors import MissingExtraError
from batlab.schema import check

Q = np.geomspace(0.005, 0.3, 80)


def test_without_sasmodels_the_error_names_the_extra(made, monkeypatch):
    real = builtins.__import__

    def fake(name, *args, **kwargs):
        if name.startswith("sasmodels"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", fake)
    with pytest.raises(MissingExtraError, match=r"batlab\[sas\]"):
        saxs.fit(made.curves(Q, np.ones(80), 0.1), "sphere", {"radius": 50.0})


@pytest.fixture(scope="module")
def sasmodels():
    return pytest.importorskip("sasmodels", reason="the extra 'sas' is not installed")


@pytest.mark.filterwarnings("ignore")  # sasmodels and its compiler announce themselves
def test_planted_spheres_have_pulls_of_one(made, sasmodels):
    row = 0.02 * saxs.sphere(Q, 45.0, contrast=5.0) + 0.01
    found = check(
        saxs.fit(
            made.noisy(Q, row, 0.02, 150, seed=2), "sphere", {"radius": 40.0, "scale": 0.01, "background": 0.02},
            fixed={"sld": 6.0, "sld_solvent": 1.0},
        )
    )  # fmt: skip
    for name, truth in (("radius", 45.0), ("scale", 0.02), ("background", 0.01)):
        pulls = (found[f"fit_{name}"] - truth) / found[f"fit_{name}_sigma"]
        assert 0.88 < float(pulls.std()) < 1.12, name
    assert found["fit_radius"].attrs["units"] == "angstrom"


@pytest.mark.filterwarnings("ignore")
def test_forms_structure_factors_and_refusals(made, sasmodels):
    cylinder = saxs.form("cylinder", "radius", length=400.0)
    np.testing.assert_allclose(cylinder(Q, 40.0), saxs.cylinder(Q, 20.0, 400.0), rtol=1e-6)
    row = 0.2 * saxs.sphere(Q, 45.0, contrast=5.0)
    table = made.noisy(Q, row, 0.02, 1)
    with pytest.raises(ValueError, match="did you mean 'radius'"):
        saxs.fit(table, "sphere", {"radios": 40.0})
    with pytest.raises(ValueError, match="did you mean 'sphere'"):
        saxs.fit(table, "spheer", {"radius": 40.0})
    with pytest.raises(ValueError, match="within the bounds"):
        saxs.fit(table, "sphere", {"radius": 40.0}, bounds={"radius": (50.0, 60.0)})
    found = saxs.fit(
        table, "sphere@hardsphere", {"volfraction": 0.1}, fixed={"sld": 6.0, "sld_solvent": 1.0, "radius": 45.0}
    )
    assert found["fit_volfraction"].shape == (1,)
