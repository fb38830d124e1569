"""The text of an Athena project: Perl's literals or JSON, gzipped or plain, read as data and never evaluated."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batlab.errors import ReadError
from batlab.io._text import decode

UNPACKED_LIMIT = 2**28  # bytes; the largest project known unpacks to 1.3 MB
RATIO_LIMIT = 100  # of unpacked to packed size; projects reach about 6, gzip allows 1032
DEPTH = 32  # of lists in lists; projects reach 4
GZIP = b"\x1f\x8b"
MARK = "Athena project file"

_TOKEN = re.compile(
    r"""(?P<blank>\s+|\#[^\n]*)
    |'(?P<single>(?:[^'\\]|\\.)*)'
    |"(?P<double>(?:[^"\\]|\\.)*)"
    |(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?![\w.])
    |(?P<name>[$@%][A-Za-z_]\w*)
    |(?P<word>[A-Za-z_]\w*)
    |(?P<sign>=>|[][(){},;=])""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:x\{([0-9a-fA-F]{1,6})\}|x([0-9a-fA-F]{1,2})|(.))", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "e": "\x1b", "a": "\a"}
_CLOSING = {"(": ")", "[": "]", "{": "}"}


@dataclass
class Project:
    """What a project holds: its records in order, each a dict of ``name``, ``args``, ``x``, ``y`` …, and its texts."""

    records: list[dict[str, Any]] = field(default_factory=list)
    header: str = ""
    journal: str = ""


def is_project(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of a project, gzipped or not. Never raises."""
    if head.startswith(GZIP):
        try:
            head = zlib.decompressobj(wbits=31).decompress(head, 4096)
        except zlib.error:
            return False
    return MARK.encode() in head[:1024]


def read_project(path: Path) -> Project:
    """Return the records of a project file.

    Raises
    ------
    ReadError
        The file is truncated, unpacks to more than 256 MiB or to 100 times its size, or holds anything but data:
        Perl code is refused where it stands, with its line.
    """
    text = decode(_unpacked(path), path.name)
    if MARK not in text[:2048]:
        raise ReadError(f"{path.name}: is no Athena project (its first lines do not say so)")
    return _from_json(text, path.name) if text.lstrip().startswith("{") else _from_perl(text, path.name)


def _unpacked(path: Path) -> bytes:
    raw = path.read_bytes()
    if not raw.startswith(GZIP):
        if len(raw) > UNPACKED_LIMIT:
            raise ReadError(f"{path.name}: {len(raw)} bytes are more than the {UNPACKED_LIMIT} that are read")
        return raw
    most = min(UNPACKED_LIMIT, max(2**20, RATIO_LIMIT * len(raw)))
    stream = zlib.decompressobj(wbits=31)
    try:
        result = stream.decompress(raw, most + 1)
    except zlib.error as error:
        raise ReadError(f"{path.name}: its gzip stream is damaged ({error})") from error
    if len(result) > most:
        raise ReadError(f"{path.name}: unpacks from {len(raw)} to more than {most} bytes; refused as a gzip bomb")
    if not stream.eof:
        raise ReadError(f"{path.name}: its gzip stream ends early; the file is truncated")
    if stream.unused_data.strip(b"\0"):
        raise ReadError(f"{path.name}: {len(stream.unused_data)} bytes follow its gzip stream; the file is damaged")
    return result


def _from_json(text: str, name: str) -> Project:
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ReadError(f"{name}: is no whole JSON ({error}); the file may be truncated") from error
    headers = [str(whole[key]) for key in sorted(whole) if key.startswith("_____header")]
    order = whole.get("_____order", [key for key in whole if not key.startswith("_____")])
    if not isinstance(order, list):
        raise ReadError(f"{name}: '_____order' must be a list of groups, got {type(order).__name__}")
    records = []
    for key in order:
        if not isinstance(key, str) or not isinstance(whole.get(key), dict):
            raise ReadError(f"{name}: its order names the group {key!r:.60}, which it does not hold")
        records.append({"name": key, **whole[key]})
    return Project(records, "\n".join(headers), _lines(whole.get("_____journal", "")))


def _from_perl(text: str, name: str) -> Project:
    project = Project(header="\n".join(_leading_comments(text)))
    current: dict[str, Any] = {}
    tokens = _Tokens(text, name)
    is_whole = False
    while not tokens.at_end():
        kind, value = tokens.take()
        if kind == "name":
            assigned = _assignment(tokens, value)
            if value == "@journal":
                project.journal = _lines(assigned)
            else:
                current["name" if value == "$old_group" else value[1:]] = assigned
        elif (kind, value) == ("sign", "["):
            tokens.expect("word", "record")
            tokens.expect("sign", "]")
            project.records.append(current)
            current = {}
        elif (kind, value) == ("number", "1"):
            tokens.expect("sign", ";")
            is_whole = True
        else:
            tokens.refuse(value)
    if not is_whole or "x" in current:
        raise ReadError(f"{name}: does not end with '1;' as projects do; the file is truncated")
    return project


def _assignment(tokens: _Tokens, name: str) -> Any:
    tokens.expect("sign", "=")
    value = tokens.value(0)
    tokens.expect("sign", ";")
    if name.startswith(("@", "%")) and not isinstance(value, list):
        value = [value]
    return value


class _Tokens:
    """The tokens of Perl's literals: quoted text, numbers, lists, hashes, ``undef``, ``bless``; all else is refused."""

    def __init__(self, text: str, name: str) -> None:
        self._text, self._name = text, name
        self._position = 0
        self._next: tuple[str, str, int] | None = None
        self._stream = self._all()
        self._advance()

    def _all(self) -> Iterator[tuple[str, str, int]]:
        at = 0
        while at < len(self._text):
            match = _TOKEN.match(self._text, at)
            if match is None:
                self._position = at
                self.refuse(self._text[at : at + 20].split("\n")[0])
            kind = str(match.lastgroup)  # type: ignore[union-attr]
            if kind != "blank":
                yield kind, match.group(kind), at  # type: ignore[union-attr]
            at = match.end()  # type: ignore[union-attr]

    def _advance(self) -> None:
        self._next = next(self._stream, None)

    def at_end(self) -> bool:
        return self._next is None

    def take(self) -> tuple[str, str]:
        """Return the kind and text of the next token."""
        if self._next is None:
            raise ReadError(f"{self._name}: ends inside of a statement; the file is truncated")
        kind, value, self._position = self._next
        self._advance()
        return kind, value

    def expect(self, kind: str, text: str) -> None:
        if self.take() != (kind, text):
            self.refuse(self._text[self._position : self._position + 20].split("\n")[0], f"expected {text!r}, got ")

    def refuse(self, what: str, told: str = "") -> None:
        line = self._text.count("\n", 0, self._position) + 1
        raise ReadError(
            f"{self._name}: line {line}: {told}{what[:40]!r} is no data of a project; code in a file is never run, "
            "and the file may be damaged"
        )

    def value(self, depth: int) -> Any:
        """Return the literal that follows: text, a list, a dict, or None; numbers stay text as Perl has them."""
        if depth > DEPTH:
            raise ReadError(f"{self._name}: has lists in lists more than {DEPTH} deep")
        kind, value = self.take()
        if kind == "single":
            return re.sub(r"\\([\\'])", r"\1", value) if "\\" in value else value
        if kind == "double":
            return _ESCAPE.sub(_unescaped, value) if "\\" in value else value
        if kind == "number":
            return value
        if kind == "word" and value == "undef":
            return None
        if kind == "word" and value == "bless":
            self.expect("sign", "(")
            return self._items(")", depth)[0]
        if kind == "sign" and value in _CLOSING:
            items = self._items(_CLOSING[value], depth)
            return self._pairs(items) if value == "{" else items
        self.refuse(value)
        return None

    def _items(self, closing: str, depth: int) -> list[Any]:
        items: list[Any] = []
        while self._next is None or self._next[:2] != ("sign", closing):
            items.append(self.value(depth + 1))
            if self._next is not None and self._next[:2] in (("sign", ","), ("sign", "=>")):
                self.take()
            elif self._next is not None and self._next[:2] != ("sign", closing):
                self.take()
                self.refuse(self._text[self._position : self._position + 20].split("\n")[0])
        self.take()
        return items or ([None] if closing == ")" and depth else items)

    def _pairs(self, items: list[Any]) -> dict[str, Any]:
        if len(items) % 2:
            raise ReadError(f"{self._name}: a hash of {len(items)} items has a name without a value")
        return {str(key): value for key, value in zip(items[::2], items[1::2], strict=True)}


def _unescaped(match: re.Match[str]) -> str:
    code = match[1] or match[2]
    if code is None:
        return _ESCAPES.get(match[3], match[3])
    number = int(code, 16)
    return chr(number) if number < 0x110000 and not 0xD800 <= number < 0xE000 else "\ufffd"


def _leading_comments(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        if line.startswith("#"):
            yield line
        elif line.strip():
            return


def _lines(value: Any) -> str:
    return "\n".join("" if line is None else str(line) for line in (value if isinstance(value, list) else [value]))
