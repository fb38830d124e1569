"""How the failure annotator searches for suggestions: what it finds, how it is stopped, what it says when it cannot."""

import asyncio
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import batlab as bl
from batlab.dashboards.annotator_search import main, split
from batlab.schema import quantity

from .acting import run
from .annotating import reopened
from .experiment import START, experiment, patterns


@pytest.fixture(scope="module")
def tree():
    return experiment(60, 40, n_records=600)


def _edges(shift=-0.5):
    """Edge energies of two visits whose charged state differs: what `failure.find` reads."""
    n = 6
    moments = START + np.arange(n) * np.timedelta64(3600, "s")
    coordinates = {"cycle": [1, 1, 1, 90, 90, 90], "state_of_charge": [0, 0.5, 1, 0, 0.5, 1]}
    return xr.Dataset(
        {
            "e0": quantity("frame", [8343.0, 8344.0, 8344.8, 8343.0, 8344.0, 8344.8 + shift], "eV", "edge energy"),
            "e0_sigma": quantity("frame", [0.01] * n, "eV", "σ"),
        },
        {
            "frame": quantity("frame", np.arange(n), "1", "frame"),
            "time": quantity("frame", moments, "", "time, UTC"),
            **{name: quantity("frame", values, "1", name) for name, values in coordinates.items()},
        },
        {"energy_alignment": "by the foil"},
    )


def _results(shift=-0.5):
    return xr.DataTree.from_dict({"/xas": _edges(shift), "/xrd": patterns(6, 20, 0.0, np.random.default_rng(0))})


def test_a_search_finds_what_is_planted(annotator, store):
    tree = _results()
    reopened(annotator, tree, store, suggestions=())
    found = annotator.search()
    wanted = bl.failure.find(tree["xas"].to_dataset())
    assert [item.id for item in wanted] == [item.id for item in found]
    assert found[0].observable == "xas.edge_charged"
    assert found[0].effect == pytest.approx(-0.5)
    assert "1 new in" in annotator.lists.progress.value
    annotator.choose(found[0])
    assert annotator.state.region[0] == "xas"
    space = run(annotator, tree=tree, store=store)
    assert [item.id for item in space["evidence"]] == [item.id for item in found]


def test_a_search_beside_the_notebook_can_be_stopped(annotator, store):
    reopened(annotator, _results(), store, suggestions=())

    async def press():
        annotator._act("search")
        running = annotator._search
        assert annotator.lists.search.disabled
        await asyncio.sleep(0)
        annotator._act("stop")
        await annotator._task
        return running

    running = asyncio.run(press())
    assert running.error == "stopped"
    assert running._process.returncode != 0
    assert not Path(running._folder.name).exists()
    assert annotator.found.items == []
    assert not annotator.lists.search.disabled


def test_a_search_that_cannot_be_says_why(tree, tmp_path):
    with pytest.raises(ValueError, match="nothing to search in pdf"):
        split({"pdf": tree["pdf"].to_dataset()})
    assert split({name: tree[name].to_dataset() for name in tree}) == ([], ["xrd", "xas", "echem"])
    (tmp_path / "given.pickle").write_bytes(pickle.dumps(({"pdf": tree["pdf"].to_dataset()}, {})))
    main(str(tmp_path), os.getppid())
    assert "nothing to search in pdf" in json.loads((tmp_path / "told.jsonl").read_text())["error"]
    with pytest.raises(SystemExit, match="the notebook has gone"):
        main(str(tmp_path), -1)
