"""The report of a long experiment stays small and asks nobody; benchmarks/bench_report.py opens it in a browser."""

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
bench = pytest.importorskip("bench_report")
sys.path.pop(0)


def test_ten_thousand_frames_fit_fifteen_megabytes(tmp_path, read_page):
    path = tmp_path / "long.html"
    _, size = bench.write(path, bench.experiment(), tmp_path)
    assert size <= bench.MOST_BYTES
    page = read_page(path)
    for attributes in (attributes for _, attributes in page.elements):
        for name in ("src", "href", "srcset", "data", "action"):
            assert attributes.get(name, "#").startswith("#")
    assert "url(" not in path.read_text().partition("</head>")[0].partition("<style>")[2]
    policy = next(meta for meta in page.tags("meta") if "http-equiv" in meta)["content"]
    assert not re.search(r"https?:", policy)
    thinned = "of 10000 frames, with the extremes"
    for told in ("10000 patterns", "Timeline", "Board: long", "40 marks", "Methods", thinned):
        assert told in page.text, told
