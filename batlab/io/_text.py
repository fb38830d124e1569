"""What every text format shares: bytes to text in any encoding, tables of numbers in any locale."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from batlab.errors import ReadError

SIZE_LIMIT = 2**30  # bytes; a text file beyond this is no pattern and no cycler's record
MAX_COLUMNS = 4096

_BOMS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x19\x1b-\x1f\x7f\ufffd]")
_CYRILLIC = re.compile(rb"[\xc0-\xff]{3,}")
_DATA = re.compile(r"(?:^[ \t]*(?:(?:[-+.\d]|nan|inf)[-+.,;\d \teEdDnNaAiIfF]*)?$\n?)+", re.MULTILINE)
_TRAILING_COMMENT = re.compile(r"^([ \t]*[-+.\d][^#!\n]*?)[ \t]*[#!].*$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A table of numbers inside a text: its rows, the line it starts on, and the lost last line, if any."""

    values: np.ndarray  # (row, column)
    line: int  # of the first row, from 1
    start: int  # offset of the block in the text
    lost: str = ""


def read_text(path: Path, encoding: str | None = None) -> str:
    """Return the text of a file with ``\\n`` line ends; refuse an empty, binary or over-long one.

    Raises
    ------
    ReadError
        With the file's name and the reason.
    """
    size = path.stat().st_size
    if size == 0:
        raise ReadError(f"{path.name}: the file is empty")
    if size > SIZE_LIMIT:
        raise ReadError(f"{path.name}: {size / 2**30:.1f} GiB is too long for a text file of measured columns")
    return decode(path.read_bytes(), path.name, encoding)


def decode(raw: bytes, name: str, encoding: str | None = None) -> str:
    r"""Return `raw` as text: by byte-order mark, else UTF-16, UTF-8, cp1251 (runs of Cyrillic) or cp1252.

    >>> decode("Образец: 1".encode("cp1251"), "1.txt")
    'Образец: 1'
    >>> decode("Capacitance/µF".encode("latin-1"), "cell.mpt")
    'Capacitance/µF'
    """
    chosen = encoding or guess_encoding(raw)
    try:
        text = raw.decode(chosen)
    except (UnicodeDecodeError, LookupError) as error:
        raise ReadError(f"{name}: cannot be read as {chosen} text ({error}); pass another encoding=") from error
    text = text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\x1a")
    noise = len(_CONTROL.findall(text[:65536]))
    if noise > 0.005 * min(len(text), 65536):
        raise ReadError(f"{name}: is not text ({noise} control characters at its start); no reader knows this format")
    return text


def guess_encoding(raw: bytes) -> str:
    for mark, encoding in _BOMS:
        if raw.startswith(mark):
            return encoding
    head = raw[:4096]
    if head.count(0) > 0.3 * len(head):
        return "utf-16-le" if head[1::2].count(0) > head[::2].count(0) else "utf-16-be"
    if _decodes(raw, "utf-8"):
        return "utf-8"
    if _CYRILLIC.search(raw):
        return "cp1251"
    return "cp1252" if _decodes(raw, "cp1252") else "latin-1"


def _decodes(raw: bytes, encoding: str) -> bool:
    try:
        raw.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def peek(head: bytes) -> str:
    """Return the first bytes of a file as text, or an empty string if they are not text. Never raises."""
    if not head:
        return ""
    cut = head[: len(head) // 4 * 4] if head[:2] in (b"\xff\xfe", b"\xfe\xff") else head
    try:
        text = cut.decode(guess_encoding(cut), errors="ignore")
    except (UnicodeError, LookupError):
        return ""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return "" if len(_CONTROL.findall(text)) > 0.005 * len(text) else text


def without_comments(text: str) -> str:
    """Return `text` without the remarks that follow numbers on their line (``1.0 2.0 # beam lost``)."""
    return _TRAILING_COMMENT.sub(r"\1", text) if "#" in text or "!" in text else text


def blocks(text: str, name: str, decimal: str | None = None) -> list[Block]:
    """Return the runs of lines that hold numbers only: the longest and those at least half as long.

    Commas may separate or be decimal; `decimal` ("," or ".") decides where the file leaves it open. A last line
    of the file with fewer columns than the others is left out and told in `Block.lost`.

    Raises
    ------
    ReadError
        Without any such run of two lines; for ragged lines or words that are no numbers, with the line.
    """
    spans = [(match.group(), match.start()) for match in _DATA.finditer(text) if match.group().strip()]
    lengths = [span.strip().count("\n") + 1 for span, _ in spans]
    longest = max(lengths, default=0)
    if longest < 2:
        raise ReadError(f"{name}: holds no table of numbers")
    found: dict[str, Block] = {}
    result = []
    for (span, start), length in zip(spans, lengths, strict=True):
        if 2 * length < longest or length < 2:
            continue
        key = span.strip()
        if key not in found:
            found[key] = _parse(span, text, start, name, decimal)
        result.append(found[key])  # an exact copy is not parsed again
    return result


def _parse(block: str, text: str, start: int, name: str, decimal: str | None) -> Block:
    lead = block[: len(block) - len(block.lstrip())].rfind("\n") + 1
    start, block = start + lead, block[lead:].rstrip()
    first = text.count("\n", 0, start) + 1
    plain = plain_numbers(block, name, first, decimal)
    head, _, rest = plain.partition("\n")
    stated = None
    if head.strip().isdecimal() and len(rest.split("\n", 1)[0].split()) > 1:
        stated, plain, first = int(head), rest, first + 1
    lost = ""
    try:
        values = np.loadtxt(plain.split("\n"), comments=None, ndmin=2)
    except ValueError:
        values, lost = _with_care(plain, first, start + len(block) >= len(text.rstrip()), name)
    if values.shape[1] > MAX_COLUMNS:
        raise ReadError(f"{name}: line {first} has {values.shape[1]} columns, at most {MAX_COLUMNS} are read")
    if stated is not None and stated != len(values):
        raise ReadError(
            f"{name}: line {first - 1} states {stated} points, {len(values)} follow; the file may be truncated"
        )
    return Block(values, first, start, lost)


def _with_care(plain: str, first: int, is_end: bool, name: str) -> tuple[np.ndarray, str]:
    """Parse rows that the fast way refused: find the line at fault, or leave out a last line that was cut."""
    numbered = [(line, row.split()) for line, row in enumerate(plain.split("\n"), first) if row.strip()]
    lines, rows = [line for line, _ in numbered], [row for _, row in numbered]
    width = len(rows[0])
    lost = ""
    if len(rows) > 2 and len(rows[-1]) < width and is_end and len("".join(rows[-1])) <= len("".join(rows[-2])):
        lost = f"line {lines[-1]} has {len(rows[-1])} of {width} columns and is left out; the file may be truncated"
        rows, lines = rows[:-1], lines[:-1]
    for row, line in zip(rows, lines, strict=True):
        if len(row) != width:
            told = f"line {line} has {len(row)} columns, line {lines[0]} has {width}"
            raise ReadError(f"{name}: {told}; the file may be truncated")
    return _floats(rows, lines, name), lost


def _floats(rows: list[list[str]], lines: list[int], name: str) -> np.ndarray:
    flat = np.array([_float(word, line, name) for row, line in zip(rows, lines, strict=True) for word in row])
    return flat.reshape(len(rows), -1)


def _float(word: str, line: int, name: str) -> float:
    try:
        return float(re.sub("[dD]", "e", word, count=1))  # Fortran's double precision
    except ValueError as error:
        raise ReadError(f"{name}: line {line} holds {word[:40]!r}, which is no number") from error


def plain_numbers(block: str, name: str, line: int, decimal: str | None) -> str:
    """Return `block` with blanks between its columns and decimal points, whatever the file's locale.

    >>> plain_numbers("1,5;2,5", "a.csv", 1, None)
    '1.5 2.5'
    >>> plain_numbers("1.5, 2.5", "a.csv", 1, None)
    '1.5  2.5'
    """
    if "," not in block:
        return block.replace(";", " ") if ";" in block else block
    if ";" in block:
        return block.replace(",", ".").replace(";", " ")
    sample = block[:20000].split("\n")[0].strip()
    if decimal == ",":
        return block.replace(",", ".")
    if decimal == "." or "." in block or re.search(r",\s|\s,", sample):
        return block.replace(",", " ")
    if re.search(r"\s", sample):
        return block.replace(",", ".")
    if sample.count(",") in (1, 2):
        return block.replace(",", " ")
    raise ReadError(f"{name}: line {line}: the commas may separate or be decimal; pass decimal=',' or decimal='.'")
