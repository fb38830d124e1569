"""The oracle of the kernel in decode.pyx in plain Python, with every bound checked; part of `reference`."""

from __future__ import annotations

import ctypes

import numpy as np


def decode_blocks(chunks: list[bytes], out: np.ndarray, itemsize: int, zstd: int = 0, n_threads: int = 1) -> np.ndarray:
    """Unpack chunks in bitshuffle (`itemsize` 1, 2, 4, 8) or in the LZ4 filter (0) into the rows of `out`, uint8.

    A chunk: its unpacked size (8 bytes, big-endian), that of a block (4 bytes), then the blocks, each behind its packed
    length (4 bytes). In bitshuffle a block holds bit planes, lowest bit first; what is no multiple of 8 numbers follows
    as it is. In the LZ4 filter a block that LZ4 would not shorten is stored as it is.

    Returns
    -------
    (chunk) int32: 0 sound, -1 too short, -2 another size, -3 impossible block size, -4 damaged block, -5 too long.

    Raises
    ------
    ValueError
        `chunks` and `out` disagree, or `itemsize` is none of these.
    """
    if len(chunks) != len(out) or itemsize not in (0, 1, 2, 4, 8) or n_threads < 1 or out.dtype != np.uint8:
        raise ValueError(f"{len(chunks)} chunks, out {out.shape} {out.dtype}, itemsize {itemsize}")
    return np.array([_decode_one(bytes(c), row, itemsize, zstd) for c, row in zip(chunks, out)], np.int32)


def _decode_one(chunk: bytes, row: np.ndarray, itemsize: int, zstd: int) -> int:
    if len(chunk) < 12:
        return -1
    size, block = int.from_bytes(chunk[:8], "big"), int.from_bytes(chunk[8:12], "big")
    unit = 8 * itemsize or 1
    if size != len(row):
        return -2
    block = block or (8192 if itemsize else 0)
    if (block == 0 and size) or block % unit:
        return -3
    at, done, tail = 12, 0, size % unit
    while done < size - tail:
        n = min(block, size - tail - done)
        length = int.from_bytes(chunk[at : at + 4], "big")
        if at + 4 + length > len(chunk):
            return -1
        packed, at = chunk[at + 4 : at + 4 + length], at + 4 + length
        plain = packed if itemsize == 0 and length == n else (_zstd if zstd else _lz4)(packed, n, zstd)
        if plain is None:
            return -4
        row[done : done + n] = _unshuffled(plain, itemsize) if itemsize else np.frombuffer(plain, np.uint8)
        done += n
    if len(chunk) < at + tail:
        return -1
    row[done:] = np.frombuffer(chunk[at : at + tail], np.uint8)
    return -5 if itemsize and len(chunk) > at + tail else 0


def _unshuffled(planes: bytes, itemsize: int) -> np.ndarray:
    bits = np.unpackbits(np.frombuffer(planes, np.uint8), bitorder="little").reshape(8 * itemsize, -1)
    return np.packbits(np.ascontiguousarray(bits.T), bitorder="little")


def _zstd(packed: bytes, size: int, address: int) -> bytes | None:
    out = ctypes.create_string_buffer(max(size, 1))
    unpack = ctypes.CFUNCTYPE(ctypes.c_size_t, *[ctypes.c_char_p, ctypes.c_size_t] * 2)(address)
    return out.raw[:size] if unpack(ctypes.cast(out, ctypes.c_char_p), size, packed, len(packed)) == size else None


def _lz4(packed: bytes, size: int, _: int = 0) -> bytes | None:
    """Decode one block of LZ4 (lz4_Block_format.md, "End of block conditions" as its decoder holds them)."""
    out, at, end = bytearray(), 0, len(packed)

    def extended(length: int) -> int:
        nonlocal at
        while length >= 15 and at < end:
            at += 1
            length += packed[at - 1]
            if packed[at - 1] != 255:
                return length
        return length if length < 15 else -1

    while at < end:
        token, at = packed[at], at + 1
        literals = extended(token >> 4)
        if literals < 0 or at + literals > end or len(out) + literals > size:
            return None
        is_last = len(out) + literals > size - 12 or at + literals > end - 8
        out += packed[at : at + literals]
        at += literals
        if is_last:
            return bytes(out) if at == end and len(out) == size else None
        offset, at = int.from_bytes(packed[at : at + 2], "little"), at + 2
        length = extended(token & 15) + 4
        if length < 4 or not 0 < offset <= len(out) or len(out) + length > size - 5:
            return None
        for _ in range(length):
            out.append(out[-offset])
    return None
