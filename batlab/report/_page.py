"""The page: every text escaped, every script known by its hash, nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from typing import Any

from batlab.report._numbers import moment
from batlab.report._sections import LONG, Section, Table
from batlab.schema import version

GENERATOR = "batlab report"
LONG_WORD = 16  # characters; ten such columns fit a landscape page


def page(title: str, summary: str, sections: Sequence[Section]) -> str:
    """Return the whole HTML document."""
    script, places = _embedded(sections)
    scripts = [*_bokeh_scripts(), _text("print.js"), script]
    body = [_section(section, number, places) for number, section in enumerate(sections)]
    links = "".join(f'<a href="#part{n}">{escape(s.title)}</a>' for n, s in enumerate(sections))
    css = _text("report.css")
    made = f"Made on {moment(datetime.now(UTC))} with batlab {version()}. "
    hint = "The tools above a figure move it, zoom in, and save it."
    return "\n".join(
        [
            "<!DOCTYPE html>",
            f'<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>',
            f'<meta name="generator" content="{escape(f"{GENERATOR} {version()}")}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{_policy(scripts)}">',
            f"<style>{css}</style></head><body><main>",
            f'<h1>{escape(title)}</h1><p class="made">{escape(made + hint)}</p>',
            f'<p class="summary">{escape(summary)}</p><nav>{links}</nav>',
            "<noscript>The figures need JavaScript; tables and text do not.</noscript>",
            *body,
            "</main>",
            *(f"<script>{script}</script>" for script in scripts),
            "</body></html>\n",
        ]
    )


def _text(name: str) -> str:
    return files("batlab.report").joinpath(name).read_text(encoding="utf-8")


def _embedded(sections: Sequence[Section]) -> tuple[str, dict[str, str]]:
    """Return the script that draws all figures (in one document: they may share ranges), and the place of each.

    Bokeh writes the data into the script with every ``<``, ``>`` and ``&`` escaped.
    """
    from bokeh.document import Document
    from bokeh.embed import components

    plots = {_name(n, at): plot for n, section in enumerate(sections) for at, (_, plot) in enumerate(section.figures)}
    if not plots:
        return "", {}
    document = Document()
    with document.models.freeze():  # else Bokeh walks through all figures again for each one that it takes in
        for plot in plots.values():
            _give_tools(plot)
            document.add_root(plot)
    return components(plots, wrap_script=False)


def _name(number: int, at: int) -> str:
    return f"plot{number}_{at}"


def _section(section: Section, number: int, places: Mapping[str, str]) -> str:
    kind = ' class="wide"' if section.is_wide else ""
    parts = [f'<section id="part{number}"{kind}><h2>{escape(section.title)}</h2>']
    if section.lead:
        parts.append(f"<p>{escape(section.lead)}</p>")
    for at, (caption, _) in enumerate(section.figures):
        place = places[_name(number, at)]
        parts.append(f'<figure><div class="plot">{place}</div><figcaption>{escape(caption)}</figcaption></figure>')
    parts += [_table(table) for table in section.tables]
    return "\n".join([*parts, "</section>"])


def _give_tools(plot: Any) -> None:
    """Let a reader look closer; figures of dashboards come without tools of their own."""
    from bokeh.models import BoxZoomTool, PanTool, ResetTool, SaveTool, WheelZoomTool

    pan, wheel = PanTool(), WheelZoomTool()
    plot.add_tools(pan, wheel, BoxZoomTool(), ResetTool(), SaveTool())
    plot.toolbar.active_drag, plot.toolbar.active_scroll = pan, None
    plot.toolbar.logo = None
    plot.toolbar_location = "above"


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    body = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in table.rows)
    inner = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    if table.is_folded:
        left_out = f'<p class="left-out">Not printed: {len(table.rows)} rows, which are in the file.</p>'
        kind, note = (' class="long"', left_out) if len(table.rows) > LONG else ("", "")
        summary = f"<summary>{escape(table.caption)}</summary>{note}"
        return f'<details{kind}>{summary}<div class="scroll"><table>{inner}</details>'
    return f'<div class="scroll"><table><caption>{escape(table.caption)}</caption>{inner}'


def _cell(text: str) -> str:
    """Return a cell of a table; only where a word is too long for a narrow column may it break within words."""
    kind = ' class="long"' if len(text) > LONG_WORD and max(map(len, text.split()), default=0) > LONG_WORD else ""
    return f"<td{kind}>{escape(text)}</td>"


def _bokeh_scripts() -> list[str]:
    from bokeh.resources import Resources

    return list(Resources(mode="inline", components=["bokeh"]).js_raw)


def _policy(scripts: Sequence[str]) -> str:
    """Return a policy under which only our own scripts run and nothing is ever loaded.

    BokehJS compiles the formatters of hover texts, hence ``unsafe-eval``.
    """
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{one}'" for one in hashes)
    return (
        f"default-src 'none'; script-src {allowed} 'unsafe-eval'; style-src 'unsafe-inline'; "
        "img-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'"
    )
