import pytest

from batlab import errors


def test_choose_says_what_was_expected_what_came_and_the_nearest():
    with pytest.raises(ValueError, match="unit must be 'q' or 'two_theta', got 'twotheta'; did you mean 'two_theta'"):
        errors.choose("unit", "twotheta", ["q", "two_theta"])
    with pytest.raises(ValueError, match=r"got 1$"):
        errors.choose("solid_angle", 1, [True, False])
    assert errors.choose("background", None, ["snip", None]) is None


def test_unknown_keywords_are_refused_with_the_known_ones():
    with pytest.raises(TypeError, match="it knows current_unit, start"):
        errors.refuse_unknown("io.open", ["zzz"], ["start", "current_unit"])
    assert errors.refuse_unknown("io.open", ["start"], ["start"]) is None


@pytest.mark.parametrize("name", [n for n in dir(errors) if n.endswith("Error") and n != "BatlabError"])
def test_every_error_is_also_a_standard_one(name):
    kind = getattr(errors, name)
    assert issubclass(kind, errors.BatlabError)
    assert issubclass(kind, (ValueError, OSError, ImportError))
