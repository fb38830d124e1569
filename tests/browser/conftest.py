"""A real JupyterLab, a real Voila and a headless Chromium, none of which may ask the internet for anything."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import chromium as chromium_choice

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
LAB_SETTINGS = "@jupyterlab/apputils-extension/notification.jupyterlab-settings"

ICON_FONT = "fontawesome-free"  # Voila's template asks a CDN for it; nothing of ours needs it
# What the hosts complain about with an empty notebook too.
HOST_NOISE = (
    "net::ERR_NAME_NOT_RESOLVED",  # Voila's icon font; every other request abroad fails the test by its address
    "net::ERR_INTERNET_DISCONNECTED",
    "@jupyter-notebook/lab-extension",  # Notebook 7's extension, which Voila loads and cannot serve
    "reading 'schema'",  # Notebook 7
    "Command 'filebrowser:open-path' not registered",  # Notebook 7
)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _environment(home: Path) -> dict[str, str]:
    folders = {"JUPYTER_CONFIG_DIR": "cfg", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "run",
               "JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces"}  # fmt: skip
    dropped = ("BATLAB_BOKEHJS", "JUPYTER_TOKEN")
    env = {key: value for key, value in os.environ.items() if key not in dropped}
    return env | {"HOME": str(home)} | {name: str(home / folder) for name, folder in folders.items()}


def _start(command: list[str], home: Path, url: str) -> subprocess.Popen:
    log = home / "server.log"
    with open(log, "w") as out:
        process = subprocess.Popen(
            command, env=_environment(home), stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    for _ in range(300):
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return process
        except (urllib.error.URLError, OSError):
            assert process.poll() is None, log.read_text()[-3000:]
            time.sleep(0.2)
    _stop(process)
    raise AssertionError(f"the server did not answer in a minute: {log.read_text()[-3000:]}")


def _stop(process: subprocess.Popen) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(15)


@pytest.fixture
def lab(lab_server) -> Iterator[tuple[str, Path]]:
    """Address and root folder of a JupyterLab with our server extension; afterwards no kernel and no file is left."""
    yield lab_server
    url, root = lab_server
    with urllib.request.urlopen(f"{url}/api/sessions", timeout=30) as answer:
        sessions = json.load(answer)
    for session in sessions:
        gone = urllib.request.Request(f"{url}/api/sessions/{session['id']}", method="DELETE")
        urllib.request.urlopen(gone, timeout=60).close()
    for path in root.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture(scope="session")
def lab_server(tmp_path_factory) -> Iterator[tuple[str, Path]]:
    """One JupyterLab for all tests, as the wheel configures it."""
    root, home = tmp_path_factory.mktemp("lab"), tmp_path_factory.mktemp("home")
    config = home / "cfg" / "jupyter_server_config.d"
    config.mkdir(parents=True)
    shutil.copy(REPOSITORY / "jupyter" / "batlab.json", config)
    news = home / "settings" / LAB_SETTINGS
    news.parent.mkdir(parents=True)
    news.write_text(json.dumps({"fetchNews": "false", "checkForUpdates": False}))
    port = _free_port()
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}",
        "--ServerApp.port_retries=0", "--allow-root", "--IdentityProvider.token=", "--expose-app-in-browser",
        f"--ServerApp.root_dir={root}", "--ServerApp.disable_check_xsrf=True", "--ServerApp.base_url=/deep/",
    ]  # fmt: skip
    url = f"http://127.0.0.1:{port}/deep"
    process = _start(command, home, f"{url}/api/status")
    yield url, root
    _stop(process)


@pytest.fixture
def voila(tmp_path_factory):
    """Return a function that serves a notebook by Voila and returns its address."""
    running = []

    def serve(notebook: Path) -> str:
        port = _free_port()
        command = [
            sys.executable,
            "-m",
            "voila",
            str(notebook),
            "--no-browser",
            f"--port={port}",
            "--Voila.ip=127.0.0.1",
        ]
        url = f"http://127.0.0.1:{port}/"
        # Voila answers "/" only when the notebook has run; its static files are there at once.
        running.append(_start(command, tmp_path_factory.mktemp("voila_home"), f"{url}voila/static/voila.js"))
        return url

    yield serve
    for process in running:
        _stop(process)


@pytest.fixture(scope="session")
def chromium():
    """A headless browser; without one the tests fail in CI and are skipped elsewhere."""
    from playwright.sync_api import sync_playwright

    try:
        path = chromium_choice.choose()
    except chromium_choice.NoChromiumError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(chromium_choice.FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def page(chromium):
    """A page of 1280 × 800; afterwards no request may have left this computer and no error been shown."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    opened = context.new_page()
    bad: list[str] = []
    abroad: list[str] = []
    opened.on("pageerror", lambda error: bad.append(str(error)))
    opened.on("console", lambda message: bad.append(message.text) if message.type == "error" else None)
    opened.on("request", lambda request: abroad.append(request.url) if _leaves(request.url) else None)
    yield opened
    context.close()
    abroad = [url for url in abroad if ICON_FONT not in url]
    bad = [text for text in bad if not any(noise in text for noise in HOST_NOISE)]
    assert not abroad, f"the page asked the internet for {abroad}"
    assert not bad, bad


def _leaves(url: str) -> bool:
    return url.startswith("http") and "//127.0.0.1" not in url
