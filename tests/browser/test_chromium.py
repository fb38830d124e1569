"""The order in which a browser is looked for; nothing is installed or downloaded here."""

import subprocess
from pathlib import Path

import pytest

from . import chromium


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine without any browser; its commands are noted, not run."""
    monkeypatch.delenv("BATLAB_CHROMIUM", raising=False)
    browser = tmp_path / "chromium"
    state = {"path": {}, "root": False, "ran": [], "fails": set(), "browser": browser}

    def run(command, **_options):
        state["ran"].append(command)
        failed = any(word in command for word in state["fails"])
        if not failed and "install" in command and state.get("brings"):
            browser.touch()
            state["path"]["chromium"] = str(browser)
        return subprocess.CompletedProcess(command, int(failed), "", "E: no such package" if failed else "")

    monkeypatch.setattr(chromium.shutil, "which", lambda name: state["path"].get(name))
    monkeypatch.setattr(chromium.os, "geteuid", lambda: 0 if state["root"] else 1000)
    monkeypatch.setattr(chromium.subprocess, "run", run)
    return state


def test_the_stated_browser_comes_first(machine, monkeypatch, tmp_path):
    stated = tmp_path / "mine"
    stated.touch()
    machine["path"] = {"chromium": "/usr/bin/chromium"}
    monkeypatch.setenv("BATLAB_CHROMIUM", str(stated))
    assert chromium.choose() == stated
    assert machine["ran"] == []


def test_a_stated_browser_that_is_not_there_is_an_error(machine, monkeypatch):
    machine["path"] = {"chromium": "/usr/bin/chromium"}
    monkeypatch.setenv("BATLAB_CHROMIUM", "/nowhere/chromium")
    with pytest.raises(chromium.NoChromiumError, match="/nowhere/chromium"):
        chromium.choose()


def test_then_one_on_the_path(machine):
    machine["path"] = {"google-chrome": "/opt/chrome", "apt-get": "/usr/bin/apt-get"}
    machine["root"] = True
    assert chromium.choose() == Path("/opt/chrome")
    assert machine["ran"] == []


def test_then_debian_when_root(machine):
    machine.update(root=True, brings=True)
    machine["path"] = {"apt-get": "/usr/bin/apt-get"}
    assert chromium.choose() == machine["browser"]
    assert [command[1] for command in machine["ran"]] == ["update", "install"]


def test_no_apt_without_root(machine):
    machine["path"] = {"apt-get": "/usr/bin/apt-get"}
    machine["fails"] = {"playwright"}
    with pytest.raises(chromium.NoChromiumError, match="not root"):
        chromium.choose()
    assert all("apt-get" not in word for command in machine["ran"] for word in command)


def test_then_playwright_after_debian_failed(machine, monkeypatch):
    machine.update(root=True, fails={"update"})
    machine["path"] = {"apt-get": "/usr/bin/apt-get"}
    machine["browser"].touch()
    asked = []
    monkeypatch.setattr(chromium, "playwright_download", lambda: asked.append(1) or machine["browser"])
    assert chromium.choose() == machine["browser"]
    assert asked == [1]


def test_none_at_all_tells_every_way_that_was_tried(machine):
    machine.update(root=True, fails={"update", "playwright"})
    machine["path"] = {"apt-get": "/usr/bin/apt-get"}
    with pytest.raises(chromium.NoChromiumError) as told:
        chromium.choose()
    for words in ("on the path", "Debian's package failed: E: no such package", "Playwright's download failed"):
        assert words in str(told.value)
