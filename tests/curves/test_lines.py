"""Lines of a structure: places from the metric, strengths against the diffraction standards."""

import numpy as np
import pytest

from batlab import datasets, schema
from batlab.curves import lines

CU_KA1 = 1.540593  # angstrom


def cif(name):
    return next(datasets.path("cif").glob(f"{name}*.cif"))


def table(found, column):
    return dict(zip(found.hkl.values.tolist(), found[column].values.tolist()))


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "limits", "expected", "within"),
    [
        # ICDD PDF 27-1402 (silicon), 34-394 (ceria), NIST SRM 660 (LaB6): 2θ for Cu Kα1, and intensity.
        (
            "Si_",
            (20, 90),
            {
                "1 1 1": (28.443, 100),
                "2 2 0": (47.303, 55),
                "3 1 1": (56.123, 30),
                "4 0 0": (69.131, 6),
                "3 3 1": (76.377, 11),
                "4 2 2": (88.032, 12),
            },
            13,
        ),
        (
            "CeO2_",
            (20, 70),
            {
                "1 1 1": (28.555, 100),
                "2 0 0": (33.082, 30),
                "2 2 0": (47.479, 52),
                "3 1 1": (56.335, 42),
                "2 2 2": (59.087, 8),
                "4 0 0": (69.402, 8),
            },
            5,
        ),
        (
            "LaB6_",
            (20, 64),
            {
                "1 0 0": (21.358, 60),
                "1 1 0": (30.385, 100),
                "1 1 1": (37.442, 45),
                "2 0 0": (43.507, 23),
                "2 1 0": (48.958, 49),
                "2 1 1": (53.989, 27),
                "2 2 0": (63.219, 10),
            },
            5,
        ),
    ],
)
def test_lines_of_a_standard_stand_where_the_certificates_say(name, limits, expected, within):
    found = schema.check(lines(cif(name), limits=limits, wavelength=CU_KA1, axis="two_theta", min_relative=0.02))
    assert found.hkl.values.tolist() == list(expected)
    for hkl, (position, strength) in expected.items():
        assert table(found, "position")[hkl] == pytest.approx(position, abs=0.03)
        assert table(found, "intensity")[hkl] == pytest.approx(strength, abs=within)


@pytest.mark.data
def test_multiplicity_counts_all_planes_of_one_spacing():
    found = lines(cif("Al_"), limits=(2, 8.2), min_relative=0.0)
    assert table(found, "multiplicity") == {
        "1 1 1": 8, "2 0 0": 6, "2 2 0": 12, "3 1 1": 24, "2 2 2": 8, "4 0 0": 6, "3 3 1": 24, "4 2 0": 24,
        "4 2 2": 24, "5 1 1": 32,
    }  # fmt: skip


@pytest.mark.data
def test_a_layered_oxide_has_its_usual_names():
    found = lines(cif("LiCoO2"), limits=(15, 52), wavelength=CU_KA1, axis="two_theta")
    assert found.hkl.values.tolist()[:4] == ["0 0 3", "1 0 1", "0 0 6", "0 1 2"]
    assert "1 0 4" in found.hkl.values
    assert set(found.phase.values) == {"LiCoO2"}


@pytest.mark.data
def test_extinctions_of_diamond_glide_and_screw_are_left_out():
    silicon = lines(cif("Si_"), limits=(1, 9), min_relative=0.0).hkl.values.tolist()
    assert not {"2 0 0", "2 2 2", "4 2 0"} & set(silicon)
    graphite = lines(cif("graphite"), limits=(1, 6), min_relative=0.0).hkl.values.tolist()
    assert not {"0 0 1", "0 0 3"} & set(graphite)


@pytest.mark.data
def test_q_d_and_two_theta_are_one_spacing():
    found = lines(cif("Al2O3"), limits=(2, 6), wavelength=0.4)
    np.testing.assert_allclose(found.q * found.d, 2 * np.pi)
    angle = lines(cif("Al2O3"), limits=(5, 25), wavelength=0.4, axis="two_theta")
    np.testing.assert_allclose(0.4, 2 * angle.d * np.sin(np.radians(angle.position / 2)))
    assert found.intensity.max() == 100


@pytest.mark.data
@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"limits": (3, 2)}, "0 < first < last"),
        ({"limits": (20, 60), "axis": "two_theta"}, "wavelength"),
        ({"limits": (20, 180), "axis": "two_theta", "wavelength": 1.5}, "180"),
        ({"limits": (1, 2), "axis": "2theta"}, "two_theta"),
        ({"limits": (0.1, 0.2)}, "no line"),
        ({"limits": (1, 5), "min_relative": 2}, "min_relative"),
        ({"limits": (1, 5), "wavelength": -1.0}, "wavelength"),
    ],
)
def test_wrong_words_are_refused(keywords, words):
    with pytest.raises(ValueError, match=words):
        lines(cif("Al_"), **keywords)
