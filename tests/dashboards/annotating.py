"""Suggestions for the tests of the failure annotator, and how it is opened again."""

from batlab.failure import Evidence

SEEN = Evidence("xrd", "second_layered_phase", "appears", 0.2, 0.01, "1", limit=0.03, confidence=0.999, frames=(10, 20),
                dataset="abc", test="planted")  # fmt: skip
SHIFT = Evidence("xas", "edge_charged", "down", -0.5, 0.02, "eV", limit=0.06, confidence=0.99, frames=(30, 40),
                 dataset="def")  # fmt: skip
NOWHERE = Evidence("saxs", "particle_volume", "up", 0.1, 0.02, "1", limit=0.06, confidence=0.98)
MISSING = Evidence("echem", "resistance", "none", 0.01, 0.02, "1", limit=0.06)
LOOKS = (SEEN, SHIFT, NOWHERE, MISSING)


def reopened(dashboard, tree, store, author="ada", suggestions=LOOKS):
    """What a new kernel would show: nothing is left but what the store has."""
    dashboard.store = dashboard._given["store"] = store
    dashboard.form.author.value = author
    dashboard.load(tree, suggestions=suggestions)
    return dashboard
