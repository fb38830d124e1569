"""A piece of evidence as a picture of the size of a stamp, for tables: effect ± σ, and what would have been seen."""

from __future__ import annotations

import html
import math

from batlab.failure import Evidence
from batlab.figures.style import COLOURS, FAINT, MISSING, TEXT, unit_sign

ARROWS = {"up": "↑", "down": "↓", "appears": "appears", "none": "not seen"}
LETTER = 5.1  # px of a letter of 9.5 px, on average
MARGIN = 6


def evidence_thumbnail(item: Evidence, *, size: tuple[int, int] = (150, 42)) -> str:
    """Return a piece of evidence as SVG: name, effect ± 1 σ with its unit, and both on an axis through zero.

    Parameters
    ----------
    item
        From `failure.find` or `failure.examine`.
    size
        Width and height in pixels, 60 × 30 at least.

    Returns
    -------
    str
        One ``<svg>`` element that needs nothing else; its tooltip says all of the evidence. Grey is what the look could
        not have told from nothing (± `limit`), the bar 1 σ. A full point was seen, an open one was looked for and not
        seen. Where the test gives no size, words stand alone.

    Raises
    ------
    TypeError, ValueError
        No evidence; too small a size.

    Examples
    --------
    >>> look = Evidence("xrd", "line_breadth", "up", 0.30, 0.02, "1/angstrom", limit=0.05, confidence=0.99)
    >>> picture = evidence_thumbnail(look)
    >>> picture.startswith("<svg"), "0.3 ± 0.02 Å⁻¹" in picture
    (True, True)
    """
    if not isinstance(item, Evidence):
        raise TypeError(f"evidence_thumbnail needs failure.Evidence, got {type(item).__name__}")
    width, height = size
    if width < 60 or height < 30:
        raise ValueError(f"size must be at least (60, 30) pixels, got {size}")
    name = _cut(f"{item.technique} {item.quantity.replace('_', ' ')}", width)
    words = f'font-family="sans-serif" font-size="9.5" fill="{TEXT}"'
    parts = [
        f'<svg class="batlab-evidence" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" '
        f'xmlns="http://www.w3.org/2000/svg"><title>{html.escape(str(item))}</title>',
        f'<text x="2" y="9" {words}>{html.escape(name)}</text>',
        f'<text x="2" y="20" {words} font-weight="bold">{html.escape(_cut(effect_words(item), width))}</text>',
        *_axis(item, width, height),
        "</svg>",
    ]
    return "".join(parts)


def effect_words(item: Evidence) -> str:
    """Return the effect ± 1 σ with its unit, and which way it goes; only that where the test gives no size.

    >>> effect_words(Evidence("echem", "stripping", "appears", math.nan, 0.0, "1"))
    'appears'
    """
    if not math.isfinite(item.effect):
        return ARROWS[item.direction]
    sigma = f" ± {item.effect_sigma:.2g}" if math.isfinite(item.effect_sigma) else ""
    unit = unit_sign(item.units)
    return f"{item.effect:.3g}{sigma}{f' {unit}' if unit else ''} {ARROWS[item.direction]}"


def _axis(item: Evidence, width: int, height: int) -> list[str]:
    """Return the axis with zero, what could not have been told, the bar of 1 σ and the point."""
    if not math.isfinite(item.effect):
        return []
    sigma = item.effect_sigma if math.isfinite(item.effect_sigma) else 0.0
    limit = item.limit if math.isfinite(item.limit) else 0.0
    low, high = min(-limit, item.effect - sigma, 0.0), max(limit, item.effect + sigma, 0.0)
    span = high - low
    if not (span > 0 and math.isfinite(span)):
        low, high, span = -1.0, 1.0, 2.0
    level = 23 + (height - 23) / 2

    def at(value: float) -> float:
        return round(MARGIN + (width - 2 * MARGIN) * ((value - low) / span), 1)

    colour = COLOURS[1] if item.is_seen else FAINT
    fill = colour if item.is_seen else "#FFFFFF"
    return [
        f'<rect x="{at(-limit)}" y="{level - 5}" width="{round(at(limit) - at(-limit), 1)}" height="10" '
        f'fill="{MISSING}"/>',
        f'<line x1="{MARGIN}" x2="{width - MARGIN}" y1="{level}" y2="{level}" stroke="#BBBBBB"/>',
        f'<line x1="{at(0)}" x2="{at(0)}" y1="{level - 7}" y2="{level + 7}" stroke="{TEXT}"/>',
        f'<line class="sigma" x1="{at(item.effect - sigma)}" x2="{at(item.effect + sigma)}" y1="{level}" y2="{level}" '
        f'stroke="{colour}" stroke-width="3"/>',
        f'<circle cx="{at(item.effect)}" cy="{level}" r="3.5" fill="{fill}" stroke="{colour}" stroke-width="1.5"/>',
    ]


def _cut(text: str, width: int) -> str:
    most = int((width - 4) / LETTER)
    return text if len(text) <= most else f"{text[: most - 1]}…"
