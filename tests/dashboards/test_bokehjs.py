"""BokehJS: served where the versions fit, carried by the notebook elsewhere, never from the internet."""

import json
import logging
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest

from batlab.dashboards import bokehjs


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    for name in (bokehjs.VARIABLE, *bokehjs.VOILA):
        monkeypatch.delenv(name, raising=False)


def test_served_only_where_the_version_fits(monkeypatch):
    assert bokehjs.served_at() is None
    monkeypatch.setenv(bokehjs.VARIABLE, f"/user/ada/batlab/bokehjs/;{version('bokeh')}")
    assert bokehjs.served_at() == "/user/ada/batlab/bokehjs/"
    monkeypatch.setenv(bokehjs.VARIABLE, "/batlab/bokehjs/;2.4.3")
    assert bokehjs.served_at() is None


@pytest.mark.parametrize("name", bokehjs.VOILA)
def test_voila_carries_its_own(monkeypatch, name):
    monkeypatch.setenv(bokehjs.VARIABLE, f"/batlab/bokehjs/;{version('bokeh')}")
    monkeypatch.setenv(name, "/")
    assert bokehjs.served_at() is None


def test_the_loader_is_small_and_names_only_this_server():
    code = bokehjs.loader("/deep/batlab/bokehjs/")
    assert len(code) < 1500
    assert json.dumps("/deep/batlab/bokehjs/") in code
    assert "http" not in code.lower().replace("xmlhttprequest", "").replace('"http "', "")


def test_load_displays_the_loader(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append((data, raw)))
    monkeypatch.setenv(bokehjs.VARIABLE, f"/batlab/bokehjs/;{version('bokeh')}")
    bokehjs.load()
    ((data, raw),) = shown
    assert raw
    assert list(data) == ["application/javascript"]


def test_load_without_a_server_carries_bokehjs(monkeypatch):
    asked = []
    monkeypatch.setattr("bokeh.io.output_notebook", lambda resources, hide_banner: asked.append(resources.mode))
    bokehjs.load()
    assert asked == ["inline"]


def test_the_extension_serves_the_installed_bokeh(monkeypatch):
    handlers = []
    web_app = SimpleNamespace(settings={"base_url": "/user/ada/"}, add_handlers=lambda _host, new: handlers.extend(new))
    monkeypatch.setenv(bokehjs.VARIABLE, "before")
    bokehjs._load_jupyter_server_extension(SimpleNamespace(web_app=web_app, log=logging.getLogger("test")))
    ((pattern, _handler, options),) = handlers
    assert pattern.startswith("/user/ada/batlab/bokehjs/")
    assert (Path(options["path"][0]) / "bokeh.min.js").is_file()
    assert bokehjs.served_at() == "/user/ada/batlab/bokehjs/"


def test_the_server_config_names_the_extension():
    config = json.loads((Path(__file__).parents[2] / "jupyter" / "batlab.json").read_text())
    assert config["ServerApp"]["jpserver_extensions"] == {bokehjs._jupyter_server_extension_points()[0]["module"]: True}


def test_importing_the_extension_is_light():
    heavy = "{'numpy', 'bokeh', 'xarray', 'ipywidgets', 'pandas'}"
    code = f"import sys, batlab.dashboards.bokehjs; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
