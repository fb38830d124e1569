"""BokehJS from this computer: never from the internet, and not four megabytes in every notebook.

As an extension of Jupyter's server this module serves the JavaScript of the installed Bokeh and tells every kernel
where (environment variable ``BATLAB_BOKEHJS``). `load`, called before a dashboard is displayed, then puts one kilobyte
into the notebook that fetches it; without the extension, and under Voila, it puts all of BokehJS there.
"""

from __future__ import annotations

import json
import os
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

VARIABLE = "BATLAB_BOKEHJS"
ROUTE = "batlab/bokehjs/"
# Set by Voila in the kernels that it starts; its page keeps no outputs, so size does not matter there.
VOILA = ("VOILA_REQUEST_URL", "VOILA_BASE_URL", "VOILA_KERNEL_ID")


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "batlab.dashboards.bokehjs"}]


def _load_jupyter_server_extension(server: Any) -> None:
    """Serve BokehJS under ``<base_url>batlab/bokehjs/`` and say so to the kernels."""
    from jupyter_server.base.handlers import FileFindHandler
    from jupyter_server.utils import url_path_join

    spec = find_spec("bokeh")
    if spec is None or spec.origin is None:
        server.log.warning("batlab: no bokeh beside this Jupyter server; notebooks will carry BokehJS themselves")
        return
    folder = Path(spec.origin).parent / "server" / "static" / "js"
    base = server.web_app.settings["base_url"]
    pattern = url_path_join(base, ROUTE, r"(bokeh[a-z-]*\.min\.js)")
    server.web_app.add_handlers(".*$", [(pattern, FileFindHandler, {"path": [str(folder)]})])
    os.environ[VARIABLE] = f"{url_path_join(base, ROUTE)};{version('bokeh')}"


def served_at() -> str | None:
    """Return the address of the BokehJS that fits this kernel, or None where the notebook must carry it."""
    address, _, offered = os.environ.get(VARIABLE, "").partition(";")
    if not address or offered != version("bokeh") or any(name in os.environ for name in VOILA):
        return None
    return address


def loader(address: str) -> str:
    """Return the JavaScript that fetches BokehJS from `address` unless the page has it."""
    code = Path(__file__).with_name("load_bokeh.js").read_text(encoding="utf-8")
    return f"({code.strip()})(element, {json.dumps(address)}, {json.dumps(version('bokeh'))});"


def load() -> None:
    """Bring BokehJS into the page: display what loads it, before the first figure.

    Examples
    --------
    >>> load()  # doctest: +SKIP
    """
    address = served_at()
    if address is None:
        from bokeh.io import output_notebook
        from bokeh.resources import INLINE

        output_notebook(INLINE, hide_banner=True)
        return
    from IPython.display import display

    display({"application/javascript": loader(address)}, raw=True)
