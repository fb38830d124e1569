"""Which Chromium the browser tests drive."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


class NoChromiumError(RuntimeError):
    """No way led to a browser; the message tells which were tried."""


def choose() -> Path:
    """Return a Chromium: `BATLAB_CHROMIUM`, one on the path, Debian's package (as root), or Playwright's download."""
    stated = os.environ.get("BATLAB_CHROMIUM")
    if stated:
        if Path(stated).is_file():
            return Path(stated)
        raise NoChromiumError(f"BATLAB_CHROMIUM names {stated}, which is no file")
    tried = [f"none of {', '.join(NAMES)} on the path"]
    for way in (on_path, debian_package, playwright_download):
        try:
            found = way()
        except NoChromiumError as error:
            tried.append(str(error))
            continue
        if found is not None:
            return found
    raise NoChromiumError("no Chromium: " + "; ".join(tried) + "; install one or set BATLAB_CHROMIUM")


def on_path() -> Path | None:
    """Return a browser that is installed, if there is one."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    return Path(found) if found else None


def debian_package() -> Path | None:
    """Install Debian's Chromium where we may."""
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        raise NoChromiumError("not root on Debian, so apt-get install chromium was not tried")
    _run("Debian's package", [apt, "update", "-qq"])
    _run("Debian's package", [apt, "install", "-y", "-qq", "chromium"])
    return on_path()


def playwright_download() -> Path | None:
    """Let Playwright download its own browser."""
    _run("Playwright's download", [sys.executable, "-m", "playwright", "install", "chromium"])
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = Path(playwright.chromium.executable_path)
    if not path.is_file():
        raise NoChromiumError("Playwright's download left no browser")
    return path


def _run(what: str, command: list[str]) -> None:
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(command, env=quiet, capture_output=True, text=True, timeout=600, check=False)
    except subprocess.TimeoutExpired as error:
        raise NoChromiumError(f"{what} took more than {error.timeout:g} s") from error
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise NoChromiumError(f"{what} failed: {lines[-1]}")
