"""HDF5's filters undone outside HDF5: what a chunk holds, without the library's global lock."""

from __future__ import annotations

import ctypes
import logging
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np

from batlab._kernels.decode import decode_blocks

# Registered HDF5 filters (hdfgroup.org, "Registered Filter Plugins"), and the codecs that bitshuffle may have.
GZIP, SHUFFLE, FLETCHER32, LZ4, BITSHUFFLE, ZSTD = 1, 2, 3, 32004, 32008, 32015
BITSHUFFLE_LZ4, BITSHUFFLE_ZSTD = 2, 3
PACKERS = (GZIP, LZ4, BITSHUFFLE, ZSTD)
DAMAGE = {
    -1: "it ends too early",
    -2: "it states another size than {size} bytes",
    -3: "it states an impossible block size",
    -4: "a block cannot be unpacked",
    -5: "bytes are left over after its last block",
}
Filter = tuple[int, tuple[int, ...]]


@dataclass(frozen=True)
class Layout:
    """How an array is stored: its chunks (None where it has none), and each filter in the order in which they pack."""

    chunks: tuple[int, ...] | None
    filters: tuple[Filter, ...] = ()

    @classmethod
    def of(cls, array: h5py.Dataset) -> Layout:
        """Return the layout of `array`; one that is virtual or lies in other files has no chunks."""
        if array.chunks is None or array.is_virtual or array.external:
            return cls(None)
        properties = array.id.get_create_plist()
        filters = [properties.get_filter(i) for i in range(properties.get_nfilters())]
        told = tuple((int(code), tuple(int(value) for value in values)) for code, _, values, _ in filters)
        return cls(tuple(array.chunks), told)


def why_not(filters: Sequence[Filter], itemsize: int) -> str:
    """Return why `decode_chunks` cannot undo these filters, or an empty text."""
    codes = [code for code, _ in filters]
    unknown = [code for code in codes if code not in (*PACKERS, SHUFFLE, FLETCHER32)]
    if unknown:
        return f"filter {unknown[0]} is not decoded here"
    if sum(code in PACKERS for code in codes) > 1:
        return f"several filters that pack: {codes}"
    for code, values in filters:
        codec = values[4] if len(values) > 4 else 0
        if code == BITSHUFFLE and (codec not in (BITSHUFFLE_LZ4, BITSHUFFLE_ZSTD) or values[2] != itemsize):
            return f"bitshuffle with values {values} on numbers of {itemsize} bytes"
        if code == BITSHUFFLE and (itemsize not in (1, 2, 4, 8) or codes.index(code) > 0):
            return f"bitshuffle of {itemsize} bytes behind the filters {codes[: codes.index(code)]}"
        if code == SHUFFLE and values[:1] != (itemsize,):
            return f"shuffle with values {values} on numbers of {itemsize} bytes"
        if (code == ZSTD or (code == BITSHUFFLE and codec == BITSHUFFLE_ZSTD)) and not zstd_address():
            return "Zstd is not found in hdf5plugin"
    return ""


@cache
def zstd_address() -> int:
    """Return the address of ``ZSTD_decompress`` in hdf5plugin's library, or 0 where it has none."""
    for library in sorted(Path(hdf5plugin.PLUGIN_PATH).glob("libh5zstd.*")):
        try:
            function = ctypes.CDLL(str(library)).ZSTD_decompress
        except (OSError, AttributeError) as error:
            logging.getLogger("batlab").info("no Zstd from %s: %s", library.name, error)
            continue
        return ctypes.cast(function, ctypes.c_void_p).value or 0
    return 0


def decode_chunks(
    chunks: Sequence[tuple[int, Any]], out: np.ndarray, filters: Sequence[Filter], itemsize: int, n_threads: int = 1
) -> list[str]:
    """Undo the filters of chunks of one size, and say of each what is wrong with it.

    Parameters
    ----------
    chunks
        Filter mask and bytes of each, as ``h5py``'s ``read_direct_chunk`` returns them; a bit of the mask says that
        this filter was not applied.
    out
        (chunk, byte) uint8, C-contiguous: receives the numbers in the file's byte order.
    filters, itemsize
        As a `Layout` has them; bytes of one number. `why_not` must have nothing against them.
    n_threads
        Threads for several chunks in bitshuffle or the LZ4 filter alone.

    Returns
    -------
    One text a chunk, empty where it is sound. The row of a chunk that is not holds anything.
    """
    is_single = len(filters) == 1 and filters[0][0] in (BITSHUFFLE, LZ4)
    if is_single and not any(mask for mask, _ in chunks):
        status = _blocks([content for _, content in chunks], out, filters[0], itemsize, n_threads)
        return [_told(int(code), out.shape[1]) for code in status]
    told = []
    for row, (mask, content) in zip(out, chunks, strict=True):
        try:
            _decode(content, row, [one for bit, one in enumerate(filters) if not mask >> bit & 1], itemsize)
            told.append("")
        except (ValueError, zlib.error) as error:
            told.append(str(error))
    return told


def _decode(content: Any, row: np.ndarray, filters: Sequence[Filter], itemsize: int) -> None:
    data = _bytes(content)
    for i in range(len(filters) - 1, -1, -1):
        # A checksum that was added before this filter packed.
        size = len(row) + 4 * sum(code == FLETCHER32 for code, _ in filters[:i])
        data = _undo(data, size, filters[i], itemsize)
    if len(data) != len(row):
        raise ValueError(f"it holds {len(data)} bytes, not {len(row)}")
    row[:] = data


def _undo(data: np.ndarray, size: int, one: Filter, itemsize: int) -> np.ndarray:
    """Return what one filter was given; `size` bytes if it packs."""
    code = one[0]
    if code == FLETCHER32:
        return _verified(data)
    if code == SHUFFLE:
        n = len(data) // itemsize * itemsize
        return np.concatenate([np.ascontiguousarray(data[:n].reshape(itemsize, -1).T).reshape(-1), data[n:]])
    if code == GZIP:
        unpacker = zlib.decompressobj()
        found = _bytes(unpacker.decompress(data.data, size + 1))
        if len(found) != size:
            raise ValueError(f"it unpacks to {'more' if len(found) > size else len(found)} bytes, not {size}")
        if not unpacker.eof:
            raise ValueError("it ends before its checksum does")
        return found
    out = np.empty(size, np.uint8)
    if code == ZSTD:
        unpack = ctypes.CFUNCTYPE(ctypes.c_size_t, *[ctypes.c_void_p, ctypes.c_size_t] * 2)(zstd_address())
        if unpack(out.ctypes.data, size, data.ctypes.data, len(data)) != size:
            raise ValueError(f"it cannot be unpacked to {size} bytes")
        return out
    status = int(_blocks([data], out[None], one, itemsize, 1)[0])
    if status:
        raise ValueError(_told(status, size))
    return out


def _blocks(contents: list[Any], out: np.ndarray, one: Filter, itemsize: int, n_threads: int) -> np.ndarray:
    code, values = one
    has_zstd = code == BITSHUFFLE and values[4] == BITSHUFFLE_ZSTD
    return decode_blocks(
        contents, out, itemsize if code == BITSHUFFLE else 0, zstd_address() if has_zstd else 0, n_threads
    )


def _bytes(content: Any) -> np.ndarray:
    return np.frombuffer(content, np.uint8) if len(content) else np.zeros(0, np.uint8)


def _told(status: int, size: int) -> str:
    return DAMAGE[status].format(size=size) if status else ""


def _verified(data: np.ndarray) -> np.ndarray:
    """Return the bytes before a Fletcher checksum.

    Raises
    ------
    ValueError
        They do not have it.
    """
    if len(data) < 4:
        raise ValueError("it is shorter than its checksum")
    content, stored = data[:-4], int.from_bytes(data[-4:].tobytes(), "little")
    found = fletcher32(content)
    # Files older than HDF5 1.6.3 may have the bytes of each half swapped (H5Zfletcher32.c).
    swapped = (found & 0x00FF00FF) << 8 | (found >> 8) & 0x00FF00FF
    if stored not in (found, swapped):
        raise ValueError(f"its checksum is {stored:08x}, that of its content {found:08x}")
    return content


def fletcher32(content: np.ndarray) -> int:
    """Return HDF5's checksum of bytes: two sums of big-endian 16-bit words modulo 65535, 65535 itself for a full turn.

    >>> hex(fletcher32(np.frombuffer(b"abcdef", np.uint8)))
    '0x50562a2d'
    """
    even = content if len(content) % 2 == 0 else np.append(content, np.uint8(0))
    words = even.view(">u2").astype(np.int64)
    first = second = 0
    for at in range(0, len(words), 2**20):  # 2^20 * 2^20 * 2^16 < 2^63
        part = words[at : at + 2**20]
        second += first * len(part) + int(part @ np.arange(len(part), 0, -1))
        first += int(part.sum())
    one, two = (value and (value - 1) % 65535 + 1 for value in (first, second))
    return two << 16 | one
