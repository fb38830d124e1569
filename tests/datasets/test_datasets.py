"""Open data by name: found, checked, fetched, or an error that says what to do."""

import hashlib
import http.server
import threading
from pathlib import Path

import pytest

from batlab import datasets
from batlab.datasets import _fetch, _find, _table
from batlab.errors import DatasetUnavailableError

CONTENT = {"a.txt": b"one", "sub/b c.txt": b"two"}


@pytest.fixture
def tiny(tmp_path, monkeypatch) -> datasets.OpenData:
    """A set of two small files, a data folder and a cache of its own, and no other place to look."""
    files = tuple(_table.DataFile(n, len(c), hashlib.sha256(c).hexdigest()) for n, c in CONTENT.items())
    entry = datasets.OpenData("tiny", "Tiny", "xrd/Tiny", 2, 6, "CC0", "nobody", "https://x.invalid", "", "0" * 64)
    monkeypatch.setattr(_table, "_files", lambda: {"tiny": files})
    monkeypatch.setattr(_find, "table", lambda: datasets.Table([entry]))
    monkeypatch.setattr(_find, "_roots", lambda: [tmp_path / "data"])
    monkeypatch.setattr(_fetch, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(_fetch, "_unreachable", {})
    return entry


def _lay(folder: Path) -> None:
    for name, content in CONTENT.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


@pytest.fixture
def server(tmp_path):
    """Serve the tiny set on this computer, as its origin would."""
    _lay(tmp_path / "origin")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=tmp_path / "origin")

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as origin:
        threading.Thread(target=origin.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{origin.server_port}/"
        origin.shutdown()


def test_every_set_says_whose_it_is():
    rows = datasets.table()
    assert len({row.name for row in rows}) == len(rows) > 50
    for row in rows:
        assert all((row.licence, row.citation, row.origin, row.title)), row.name
        assert row.n_files == len(row.files)
        assert row.size == sum(member.size for member in row.files)
        lines = "".join(f"{member.sha256}  {member.file}\n" for member in row.files)
        assert hashlib.sha256(lines.encode()).hexdigest() == row.sha256, row.name
        assert not row.url or row.url.startswith("https://")
        assert not any(member.file.startswith("/") or ".." in member.file for member in row.files)


def test_the_table_can_be_read_by_people():
    assert "LiCoVO4" in repr(datasets.table())
    assert datasets.table()._repr_html_().count("<tr>") == len(datasets.table()) + 1
    assert datasets.table()[0] is datasets.table()["licovo4_operando"]


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="did you mean 'licovo4_operando'"):
        datasets.path("licovo4_operand")


@pytest.mark.data
@pytest.mark.parametrize("name", ["licovo4_operando", "ceo2_pilatus1m", "biologic_jdb", "cif"])
def test_sets_at_hand_are_the_ones_in_the_table(name):
    found = datasets.path(name, verify=True)
    assert found.is_file() == (name == "biologic_jdb")


def test_the_users_folder_comes_first(tmp_path, monkeypatch):
    monkeypatch.setenv("BATLAB_DATA", str(tmp_path / "mine"))
    (tmp_path / "work" / "shared" / "data").mkdir(parents=True)
    (tmp_path / "work" / "repository" / "notebooks").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work" / "repository" / "notebooks")
    roots = _find._roots()
    assert roots[0] == tmp_path / "mine"
    assert tmp_path / "work" / "shared" / "data" in roots


def test_a_whole_folder_is_used(tiny, tmp_path):
    _lay(tmp_path / "data" / "xrd" / "Tiny")
    assert _find.path("tiny", verify=True) == tmp_path / "data" / "xrd" / "Tiny"


def test_a_changed_file_is_found_out(tiny, tmp_path):
    folder = tmp_path / "data" / "xrd" / "Tiny"
    _lay(folder)
    (folder / "a.txt").write_bytes(b"onE")
    assert _find.path("tiny") == folder
    with pytest.raises(DatasetUnavailableError, match=r"a\.txt has another SHA-256"):
        _find.path("tiny", verify=True)
    (folder / "a.txt").write_bytes(b"on")
    with pytest.raises(DatasetUnavailableError, match=r"a\.txt has another size"):
        _find.path("tiny")


def test_the_error_says_where_and_what_to_do(tiny, tmp_path):
    (tmp_path / "data" / "xrd" / "Tiny").mkdir(parents=True)
    with pytest.raises(DatasetUnavailableError) as error:
        _find.path("tiny")
    message = str(error.value)
    for part in ("2 of 2 files missing, first a.txt", str(tmp_path / "cache"), "https://x.invalid", "BATLAB_DATA"):
        assert part in message


def test_fetching_fills_the_cache(tiny, tmp_path, monkeypatch, server, capfd):
    monkeypatch.setattr(_find, "table", lambda: datasets.Table([_with_url(tiny, server)]))
    found = _find.path("tiny")
    assert found == tmp_path / "cache" / "xrd" / "Tiny"
    assert (found / "sub" / "b c.txt").read_bytes() == b"two"
    monkeypatch.setattr(_fetch, "fetch", lambda *_: pytest.fail("the cache was not used"))
    assert _find.path("tiny", verify=True) == found
    assert capfd.readouterr().out == ""


def test_a_wrong_file_from_the_origin_is_refused(tiny, tmp_path, monkeypatch, server):
    monkeypatch.setattr(_find, "table", lambda: datasets.Table([_with_url(tiny, server)]))
    (tmp_path / "origin" / "a.txt").write_bytes(b"bad")
    with pytest.raises(DatasetUnavailableError, match=r"a\.txt is not the file that was expected"):
        _find.path("tiny")
    assert not (tmp_path / "cache" / "xrd" / "Tiny" / "a.txt").exists()


def test_a_file_that_the_origin_lost(tiny, tmp_path, monkeypatch, server):
    monkeypatch.setattr(_find, "table", lambda: datasets.Table([_with_url(tiny, server)]))
    (tmp_path / "origin" / "a.txt").unlink()
    with pytest.raises(DatasetUnavailableError, match="404"):
        _find.path("tiny")


def test_without_a_network_the_second_set_fails_at_once(tiny, monkeypatch):
    monkeypatch.setattr(_find, "table", lambda: datasets.Table([_with_url(tiny, "http://127.0.0.1:1/")]))
    with pytest.raises(DatasetUnavailableError, match=r"127\.0\.0\.1:1 cannot be reached"):
        _find.path("tiny")
    with pytest.raises(DatasetUnavailableError, match="could not be reached 0 s ago"):
        _find.path("tiny")
    with pytest.raises(DatasetUnavailableError, match="download=False"):
        _find.path("tiny", download=False)


def _with_url(entry: datasets.OpenData, url: str) -> datasets.OpenData:
    return datasets.OpenData(**{**entry.__dict__, "url": url})
