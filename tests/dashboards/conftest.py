"""The small series of series.py, and dashboards that take a second to build: the tests swap data in one."""

import pytest

from batlab.dashboards import FailureAnnotator, FailureBoard, TechniqueComparison
from batlab.failure import Store

from . import series
from .annotating import reopened
from .boards import LOOK, MISSED, SPARE, planted
from .experiment import experiment


@pytest.fixture
def make():
    """Module with ``patterns``, ``cells`` and ``peaks``."""
    return series


@pytest.fixture(scope="module")
def tree():
    return experiment(120, 60, n_records=2000)


@pytest.fixture(scope="module")
def one_comparison(tree, tmp_path_factory):
    made = TechniqueComparison(tree, store=tmp_path_factory.mktemp("marks") / "marks.sqlite")
    yield made
    made.close()


@pytest.fixture
def comparison(one_comparison, tree):
    one_comparison.marking.widget.selected_index = 0
    one_comparison.load(tree)
    return one_comparison


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "cell.marks.sqlite") as made:
        yield made


@pytest.fixture(scope="module")
def one_annotator(tree):
    made = FailureAnnotator(tree)
    yield made
    made.close()


@pytest.fixture
def annotator(one_annotator, tree, store):
    return reopened(one_annotator, tree, store)


@pytest.fixture(scope="module")
def one_board(tmp_path_factory):
    made = FailureBoard(tmp_path_factory.mktemp("board") / "empty.sqlite")
    yield made
    made.close()


@pytest.fixture
def board(one_board, store, monkeypatch):
    """A board with a worksheet that ada has kept; the forms sign as cy."""
    monkeypatch.setenv("LOGNAME", "cy")
    store.add_evidence(LOOK, MISSED, SPARE, author="ada")
    store.keep_worksheet(planted(), author="ada")
    one_board.load(store)
    one_board.form.author.value = "cy"
    one_board.tabs.selected_index = 0
    return one_board
