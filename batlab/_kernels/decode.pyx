"""Unpack HDF5 chunks in bitshuffle (with LZ4 or Zstd) or in the LZ4 filter: any input is safe, the GIL is free."""

from cython.parallel cimport prange, threadid
from libc.stdint cimport int32_t, uintptr_t

import numpy as np

cdef extern from "chunk_format.h" nogil:
    ctypedef size_t (*chunk_zstd)(void *, size_t, const void *, size_t)
    ctypedef struct chunk_walk:
        size_t block
    int chunk_open(chunk_walk *walk, const unsigned char *chunk, size_t size, size_t expected, size_t elem_size)
    int chunk_decode(chunk_walk *walk, unsigned char *out, unsigned char *scratch, chunk_zstd zstd)
    int batlab_unshuffle_select(int fastest)


def decode_blocks(chunks, unsigned char[:, ::1] out not None, int itemsize, size_t zstd=0, int n_threads=1):
    """Unpack chunks into the rows of `out`, and say of each whether it was sound.

    LZ4 and bitshuffle are the vendored sources (`vendor/README.md`); each block is unpacked and un-shuffled in cache.

    Parameters
    ----------
    chunks
        Bytes as stored, one object a chunk.
    out
        (chunk, byte): receives the numbers. A row has as many bytes as its chunk must unpack to, and starts at a
        multiple of `itemsize`.
    itemsize
        1, 2, 4 or 8: size of the shuffled numbers; 0 for chunks of the LZ4 filter (32004), which does not shuffle.
    zstd
        Address of ``ZSTD_decompress`` where the blocks are packed with it; 0 for LZ4.
    n_threads
        At least 1; the result does not depend on it.

    Returns
    -------
    (chunk) int32: 0 sound; -1 ends too early, -2 states another size, -3 states an impossible block size, -4 a block
    is damaged, -5 bytes are left over. The row of a chunk that is not sound holds anything.

    Raises
    ------
    ValueError
        `chunks` and `out` disagree, or `itemsize` is none of these.

    Notes
    -----
    A frame of an Eiger 4M with few counts (2.2 MB to 18 MB), one thread: 2.3 ms, the bitshuffle package 4.0, h5py with
    hdf5plugin 12.2 (`benchmarks/bench_decode.py`).
    """
    cdef Py_ssize_t n = len(chunks), i, largest = 1
    if n != out.shape[0] or itemsize not in (0, 1, 2, 4, 8) or n_threads < 1:
        raise ValueError(f"{n} chunks, out ({out.shape[0]}, {out.shape[1]}), itemsize {itemsize}, "
                         f"n_threads {n_threads}")
    if itemsize and n and out.shape[1] and (<uintptr_t>&out[0, 0] % itemsize or (n > 1 and out.shape[1] % itemsize)):
        raise ValueError(f"the rows of out must start at multiples of {itemsize} bytes")

    views = [memoryview(chunk).cast("B") for chunk in chunks]
    status = np.zeros(n, np.int32)
    cdef uintptr_t[::1] starts = np.zeros(n, np.uintp)
    cdef size_t[::1] sizes = np.zeros(n, np.uintp)
    cdef int32_t[::1] told = status
    cdef const unsigned char[::1] view
    cdef chunk_walk walk
    for i in range(n):
        view = views[i]
        sizes[i] = view.shape[0]
        starts[i] = <uintptr_t>&view[0] if view.shape[0] else 0
        if chunk_open(&walk, <const unsigned char *>starts[i], sizes[i], out.shape[1], itemsize) == 0:
            largest = max(largest, <Py_ssize_t>walk.block)
    largest = (largest + 63) // 64 * 64 if itemsize else 1
    cdef unsigned char[:, ::1] scratch = np.empty((n_threads, 2 * largest), np.uint8)

    if n == 0:
        return status
    for i in prange(n, nogil=True, schedule="static", num_threads=n_threads):
        told[i] = one_chunk(<const unsigned char *>starts[i], sizes[i], &out[i, 0] if out.shape[1] else NULL,
                            out.shape[1], itemsize, &scratch[threadid(), 0], <chunk_zstd>zstd)
    return status


cdef int one_chunk(const unsigned char *chunk, size_t size, unsigned char *out, size_t expected, size_t itemsize,
                   unsigned char *scratch, chunk_zstd zstd) noexcept nogil:
    cdef chunk_walk walk
    cdef int state = chunk_open(&walk, chunk, size, expected, itemsize)
    return state if state < 0 else chunk_decode(&walk, out, scratch, zstd)


def _select(bint fastest):
    """For tests: use the fastest build of bitshuffle or the portable one; return whether AVX2 is used."""
    return bool(batlab_unshuffle_select(fastest))
