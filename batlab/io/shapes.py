"""Words that differ in their digits alone (09/20/2024 08:32:34.558), read place by place: a million in a moment."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

SHAPES = 500  # that are read here: names of months, days and hours of one digit or two, AM and PM make a hundred
LONGEST = 64  # characters of a word that is read here
MOST_DIGITS = 15  # that a 64-bit number holds exactly
Number = Callable[[str], np.ndarray]


def numbers(
    words: Any, pattern: re.Pattern[str], value: Callable[[re.Match[str], Number], np.ndarray | None]
) -> np.ndarray:
    """Return one number a word, NaN for words that are not read here.

    Parameters
    ----------
    words
        Arrow's array of texts, without nulls.
    pattern
        Of a whole word; the words of one shape are told apart by the first of them.
    value
        Called once a shape with the first word's match and a function that gives the digits of one of its groups, of
        all words of the shape, as whole numbers; returns the numbers, NaN where digits make no sense, or None.

    Examples
    --------
    >>> import pyarrow as pa
    >>> words = pa.array(["7:30", "12:15", "noon", "9:75"])
    >>> half = lambda found, number: np.where(number("m") < 60, number("h") + number("m") / 60, np.nan)
    >>> numbers(words, re.compile(r"(?P<h>[0-9]+):(?P<m>[0-9][0-9])"), half).tolist()
    [7.5, 12.25, nan, nan]
    """
    signs, starts, lengths = _signs(words)
    values = np.full(len(starts), np.nan)
    for rows in filter(len, _alike(signs, starts, lengths)):
        word = signs[starts[rows[0]] : starts[rows[0]] + lengths[rows[0]]].tobytes()
        found = pattern.fullmatch(word.decode()) if word.isascii() else None
        if found is None or any(len(group or "") > MOST_DIGITS for group in found.groups()):
            continue
        places = _Places(signs, starts[rows], len(word))
        digits = {at: places[at] - np.uint8(48) for at, sign in enumerate(word) if 48 <= sign <= 57}
        got = value(found, partial(_number, found, digits, len(rows)))
        if got is not None:
            values[rows] = got
    return values


def _alike(signs: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the rows of one shape after another: first those like the first word, in most files all."""
    if not len(starts):
        return
    is_one = _like(signs, starts, lengths, 0, np.arange(len(starts)))
    yield np.flatnonzero(is_one)
    left = np.flatnonzero(~is_one & (lengths <= LONGEST))
    if not left.size:
        return
    keys = lengths[left].astype(np.uint64)
    for at in range(int(lengths[left].max())):
        sign = signs[np.minimum(starts[left] + at, len(signs) - 1)]
        sign = np.where(at < lengths[left], np.where(sign - np.uint8(48) <= 9, 48, sign), 0)
        keys = keys * np.uint64(1_099_511_628_211) + sign.astype(np.uint64)  # Fowler, Noll and Vo's prime
    order = np.argsort(keys, kind="stable")
    turns = np.flatnonzero(np.diff(keys[order])) + 1
    for rows in np.split(left[order], turns)[:SHAPES]:
        yield rows[_like(signs, starts, lengths, rows[0], rows)]


def _like(signs: np.ndarray, starts: np.ndarray, lengths: np.ndarray, one: int, rows: np.ndarray) -> np.ndarray:
    """Return which of the rows hold a word that differs from that of row `one` in its digits alone."""
    word = signs[starts[one] : starts[one] + lengths[one]]
    if len(word) > LONGEST:
        return np.zeros(len(rows), bool)
    is_one = lengths[rows] == len(word)
    places = _Places(signs, starts[rows] if is_one.all() else np.where(is_one, starts[rows], starts[one]), len(word))
    for at, sign in enumerate(word):
        is_one &= places[at] - np.uint8(48) <= 9 if 48 <= sign <= 57 else places[at] == sign
    return is_one


class _Places:
    """The characters of words by their place; of words that follow each other without a copy."""

    def __init__(self, signs: np.ndarray, starts: np.ndarray, length: int) -> None:
        self.signs, self.starts = signs, starts
        self.step = length if starts.size > 1 and (np.diff(starts) == length).all() else 0

    def __getitem__(self, at: int) -> np.ndarray:
        if self.step:
            return self.signs[self.starts[0] + at : self.starts[-1] + at + 1 : self.step]
        return self.signs[self.starts + at]


def _signs(words: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return all characters of Arrow's texts, one after another, and where each text starts and how long it is."""
    import pyarrow as pa

    one = words.combine_chunks() if isinstance(words, pa.ChunkedArray) else words
    one = pa.concat_arrays(one.chunks) if isinstance(one, pa.ChunkedArray) else one
    if not len(one):
        return np.empty(0, np.uint8), np.empty(0, np.int64), np.empty(0, np.int64)
    _, offsets, data = one.buffers()
    ends = np.frombuffer(offsets, np.int32)[one.offset : one.offset + len(one) + 1].astype(np.int64)
    return np.frombuffer(data or b"", np.uint8), ends[:-1], np.diff(ends)


def _number(found: re.Match[str], digits: dict[int, np.ndarray], n: int, name: str) -> np.ndarray:
    value = np.zeros(n, np.int64)
    for at in range(*found.span(name)):
        if at in digits:
            value *= 10
            value += digits[at]
    return value
