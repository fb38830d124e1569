"""A small experiment in which every text is an attack, and how a page is read."""

from html.parser import HTMLParser

import numpy as np
import pytest
import xarray as xr

from batlab.schema import check, quantity, record

ATTACK = "<script>alert(1)</script></script><img src=x onerror=alert(2)>\"'&"


class Page(HTMLParser):
    """What a browser would take from a page: elements, their attributes, and the text outside scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.scripts: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.cdata_elem == "script":
            self.scripts[-1] += data
        elif self.cdata_elem != "style":
            self.text += data

    def tags(self, name: str) -> list[dict]:
        return [attrs for tag, attrs in self.elements if tag == name]


@pytest.fixture
def read_page():
    return lambda path: Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def experiment() -> dict[str, xr.Dataset]:
    n, rng = 30, np.random.default_rng(0)
    frame = quantity("frame", np.arange(n), "1", "frame")
    start = np.datetime64("2026-03-01T10:00:00", "ns") + np.arange(n) * np.timedelta64(60, "s")
    patterns = xr.Dataset(
        {
            "intensity": quantity(("frame", "q"), rng.poisson(50, (n, 200)).astype(float), "count", f"I {ATTACK}"),
            "voltage": quantity("frame", np.linspace(3, 4, n), "V", "voltage"),
        },
        {
            "frame": frame,
            "q": quantity("q", np.linspace(1, 3, 200), "1/angstrom", "scattering vector"),
            "time": quantity("frame", start, "", f"start of exposure {ATTACK}"),
            "file": quantity("frame", np.array([ATTACK] * n), "", "file"),
        },
        {"source": f"/data/{ATTACK}.h5", "source_sha256": "ab" * 32, "sample": ATTACK},
    )
    a = 8.2700 - 0.004 * np.minimum(np.arange(n), 20)
    a[25] = np.nan
    cells = xr.Dataset(
        {
            "a": quantity("frame", a, "angstrom", "cell parameter a"),
            "a_sigma": quantity("frame", np.full(n, 4e-4), "angstrom", "1 σ of a"),
            "alpha": quantity("frame", np.full(n, 90.0), "degree", "cell angle"),
            "volume": quantity("frame", a**3, "angstrom^3", "cell volume"),
            "volume_sigma": quantity("frame", np.full(n, 0.08), "angstrom^3", "1 σ of the volume"),
        },
        {"frame": frame},
        {"phase": f"LiCoVO4 {ATTACK}"},
    )
    events = xr.Dataset(
        {
            "onset": quantity("event", [20.0], "1", "onset"),
            "onset_low": quantity("event", [19.0], "1", "lower limit"),
            "onset_high": quantity("event", [21.0], "1", "upper limit"),
            "what": quantity("event", np.array([ATTACK]), "1", "quantity"),
            "confidence": quantity("event", [0.99], "1", "confidence"),
        },
        {"event": quantity("event", [0], "1", "event")},
    )
    peaks = xr.Dataset(
        {
            name: quantity(("frame", "peak"), value + rng.normal(0, 0.001, (n, 2)), units, name)
            for name, value, units in (
                ("position", 2.0, "1/angstrom"),
                ("area", 9.0, "count"),
                ("fwhm", 0.01, "1/angstrom"),
                ("chi2_reduced", 1.0, "1"),
            )
        }
        | {"position_sigma": quantity(("frame", "peak"), np.full((n, 2), 1e-3), "1/angstrom", "1 σ of the position")},
        {
            "frame": frame,
            "peak": quantity("peak", [0, 1], "1", "peak"),
            "hkl": quantity("peak", np.array(["2 2 0", ATTACK]), "1", "indices"),
            "phase": quantity("peak", np.array(["LiCoVO4", ATTACK]), "1", "phase"),
        },
    )
    time = np.arange(500) * 20.0
    cell = xr.Dataset(
        {
            "voltage": quantity("record", 3.5 + 0.5 * np.sin(time / 900), "V", "voltage"),
            "current": quantity("record", 1e-4 * np.sign(np.cos(time / 900)), "A", "current"),
        },
        {
            "record": quantity("record", np.arange(500), "1", "record"),
            "test_time": quantity("record", time, "s", "time since start"),
        },
    )
    made = {"patterns": patterns, "cells": cells, "events": events, "peaks": peaks, "cell": cell}
    return {name: check(record(table, "test.make", name=ATTACK)) for name, table in made.items()}
