"""One look at the data: what it says, its identity, and that nobody changes it unseen."""

import dataclasses
import json
import math

import pytest

from batlab.failure import Evidence

LOOK = Evidence(
    "xas", "edge_step", "down", -0.04, 0.005, "1", limit=0.015, confidence=0.999, test="6 frames", frames=(0, 66),
    cycles=(7, 112), dataset="ab" * 32, source="scan.h5", dose="12 kGy",
)  # fmt: skip


def test_it_survives_json_without_loss():
    text = json.dumps(LOOK.as_dict(), allow_nan=False)
    assert Evidence.from_dict(json.loads(text)) == LOOK


def test_nan_becomes_null_and_comes_back():
    bare = Evidence("xrd", "two_phases", "appears", math.nan, math.nan, "1")
    told = bare.as_dict()
    assert told["effect"] is None
    assert told["limit"] is None
    back = Evidence.from_dict(json.loads(json.dumps(told, allow_nan=False)))
    assert math.isnan(back.effect)
    assert back.id == bare.id


def test_the_id_is_of_the_content():
    assert dataclasses.replace(LOOK).id == LOOK.id
    changes = {"effect": -0.05, "direction": "none", "dataset": "cd" * 32, "cycles": None, "dose": ""}
    for name, other in changes.items():
        assert dataclasses.replace(LOOK, **{name: other}).id != LOOK.id


def test_what_was_changed_after_it_got_its_id_is_refused():
    with pytest.raises(ValueError, match="does not say what it said"):
        Evidence.from_dict(LOOK.as_dict() | {"effect": -0.4})


def test_it_tells_what_was_seen_and_what_was_not():
    assert str(LOOK) == "xas.edge_step: down by -0.04 ± 0.005, confidence 0.999; cycles 7 to 112"
    missing = dataclasses.replace(LOOK, direction="none", effect=0.001, cycles=None, units="eV")
    assert "not seen (0.001 ± 0.005); 0.015 eV would have been; frames 0 to 66" in str(missing)
    assert LOOK.is_seen
    assert not missing.is_seen


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"direction": "upwards"}, "direction must be .* got 'upwards'"),
        ({"confidence": 1.2}, "confidence must be a number from 0 to 1, got 1.2"),
        ({"confidence": math.nan}, "confidence must be"),
        ({"effect_sigma": -1.0}, "effect_sigma and limit must be at least 0"),
        ({"technique": ""}, "technique of evidence must be text"),
        ({"frames": (3, 1)}, r"frames must be \(first, last\)"),
    ],
)
def test_wrong_values_are_refused(change, complaint):
    with pytest.raises(ValueError, match=complaint):
        dataclasses.replace(LOOK, **change)


def test_unknown_keys_are_refused():
    with pytest.raises(TypeError, match=r"does not know the keyword 'efect'; did you mean 'effect'"):
        Evidence.from_dict(LOOK.as_dict() | {"efect": 1.0})


def test_evidence_without_a_course_keeps_the_id_that_it_always_had():
    """Ids stand in stores and signed worksheets: fields that came later must not change them."""
    plain = Evidence("xas", "edge_step", "none", 0.01, 0.02, "1", limit=0.06)
    told = plain.as_dict()
    assert not {"onset", "onset_range", "onset_confidence", "per_cycle", "per_cycle_sigma"} & told.keys()
    # SHA-256 of the fields of the first format, by hashlib and json.
    import hashlib
    import json

    first = {key: value for key, value in told.items() if key != "id"}
    assert plain.id == hashlib.sha256(json.dumps(first, sort_keys=True).encode()).hexdigest()[:32]
    late = Evidence("xas", "edge_step", "down", -0.1, 0.02, "1", onset=45, onset_range=(30, 60), per_cycle=-0.1)
    assert late.id != Evidence("xas", "edge_step", "down", -0.1, 0.02, "1").id
    assert Evidence.from_dict(late.as_dict()) == late
    with pytest.raises(ValueError, match="onset_range must be"):
        Evidence("xas", "edge_step", "down", -0.1, 0.02, "1", onset=45, onset_range=(60, 30))
