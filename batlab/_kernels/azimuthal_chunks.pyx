"""Sums over bins straight from compressed frames, which never exist in memory.

Eiger-4M frames of 2.0 MB take 2.3 ms each on one thread, eight a pass, shared pixels 4.9; decoding alone took 2.7 ms
and binning from memory 1.4 in the same run. benchmarks/bench_stack.py races whole files.
"""

from cython.parallel cimport prange, threadid
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

import numpy as np

from batlab._kernels.tasks cimport (
    BIN_GROUP, PIX_BLOCK, PIX_LINE, bin_scratch, bin_task, bin_words, code, pix_align, pixel_t, run_scratch, run_sums,
    run_task,
)

cdef extern from "fused.h" nogil:
    ctypedef struct chunk_walk:
        size_t block
    ctypedef struct fused_frame:
        const uint8_t *chunk
        size_t size
        chunk_walk walk
        int status
    Py_ssize_t fused_scratch()
    void fused_open(fused_frame *s, Py_ssize_t n_pixels, Py_ssize_t item)
    int fused_group(const bin_task *whole, const run_task *split, fused_frame *frames, Py_ssize_t start,
                    Py_ssize_t stop, Py_ssize_t thread, uint8_t *scratch, uint8_t *windows, uint8_t *planes,
                    Py_ssize_t largest)


cdef int set_whole(bin_task *task, tuple index) except -1:
    """Point the task to (bins, owner)."""
    bins, owner_array = index
    cdef const int32_t[::1] owner = owner_array
    cdef const uint16_t[::1] small
    cdef const uint32_t[::1] large
    if len(bins) != task.n_pixels or not 0 < owner.shape[0] < 1 << 28:
        raise ValueError(f"bins ({len(bins)}) must have {task.n_pixels} pixels, owner 1 or more values")
    if owner[0] < 0 or owner[owner.shape[0] - 1] >= task.n_bins or np.any(np.diff(owner) < 0):
        raise ValueError(f"owner must not decrease and hold 0 to {task.n_bins - 1}")
    task.n_internal, task.owner, task.index_size = owner.shape[0], &owner[0], bins.itemsize
    if bins.itemsize == 2:
        small = bins
        task.bins = &small[0]
    else:
        large = bins
        task.bins = &large[0]
    return 0


cdef int set_split(run_task *task, tuple index) except -1:
    """Point the task to (first, pixel, length, weight, run_start, entry_start)."""
    cdef const uint32_t[::1] first = index[0]
    cdef const uint16_t[::1] pixel = index[1], length = index[2]
    cdef const float[::1] weight = index[3]
    cdef const int64_t[::1] run_start = index[4], entry_start = index[5]
    cdef Py_ssize_t n_blocks = (task.n_pixels + PIX_BLOCK - 1) // PIX_BLOCK
    if not first.shape[0] == pixel.shape[0] == length.shape[0]:
        raise ValueError(f"first ({first.shape[0]}), pixel ({pixel.shape[0]}), length ({length.shape[0]}) must agree")
    for starts, size in ((index[4], first.shape[0]), (index[5], weight.shape[0])):
        if len(starts) != n_blocks + 1 or starts[0] != 0 or starts[n_blocks] != size or np.any(np.diff(starts) < 0):
            raise ValueError(f"run_start and entry_start must have {n_blocks + 1} values and rise from 0 to {size}")
    task.first = &first[0] if first.shape[0] else NULL
    task.pixel = &pixel[0] if first.shape[0] else NULL
    task.length = &length[0] if first.shape[0] else NULL
    task.weight = &weight[0] if weight.shape[0] else NULL
    task.run_start, task.entry_start = &run_start[0], &entry_start[0]
    return 0


cdef Py_ssize_t open_frames(list views, fused_frame *frames, Py_ssize_t n_pixels, Py_ssize_t item) except -1:
    """Read the headers; returns the bytes of the largest block."""
    cdef const uint8_t[::1] view
    cdef Py_ssize_t f, largest = 64
    for f in range(len(views)):
        view = views[f]
        frames[f].chunk, frames[f].size = &view[0] if view.shape[0] else NULL, view.shape[0]
        fused_open(frames + f, n_pixels, item)
        if frames[f].status == 0:
            largest = max(largest, <Py_ssize_t>frames[f].walk.block)
    return (largest + 63) // 64 * 64


def azimuthal_chunks(list chunks not None, tuple index not None, Py_ssize_t n_bins,
                     const float[:, ::1] weights not None, const uint8_t[::1] powers not None,
                     const uint8_t[:, ::1] mask, const pixel_t[::1] overflow not None, Py_ssize_t n_threads=1):
    """Return (signal, variance, skipped, skipped_weights, status); see `reference.azimuthal_chunks`."""
    cdef Py_ssize_t n_frames = len(chunks), n_pixels = weights.shape[1], n_weights = weights.shape[0], n_groups, f, g
    cdef bin_task whole
    cdef run_task split
    is_split = len(index) == 6
    if len(index) not in (2, 6) or n_pixels < 1 or not 0 < n_bins < 1 << 31 or n_threads < 1:
        raise ValueError(f"index ({len(index)} arrays), {n_pixels} pixels, {n_bins} bins, {n_threads} threads")
    if powers.shape[0] != n_weights or (
            mask is not None and (mask.shape[0] != n_frames or mask.shape[1] != n_pixels)):
        raise ValueError(f"powers ({powers.shape[0]}) must be {n_weights}, mask ({n_frames}, {n_pixels})")
    split.n_pixels = whole.n_pixels = n_pixels
    split.n_bins = whole.n_bins = n_bins
    if is_split:
        set_split(&split, index)
    else:
        set_whole(&whole, index)

    signal_array, variance_array, skipped_array = (np.zeros((n_frames, n_bins)) for _ in range(3))
    skipped_weights_array, status = np.zeros((n_frames, n_weights, n_bins)), np.zeros(n_frames, np.int32)
    sums_arrays = signal_array, variance_array, skipped_array, skipped_weights_array
    if n_frames == 0:
        return *sums_arrays, status
    cdef double[:, ::1] signal = signal_array, variance = variance_array, skipped = skipped_array
    cdef double[:, :, ::1] skipped_weights = skipped_weights_array
    n_threads = min(n_threads, n_frames)
    n_groups = (n_frames + n_threads * BIN_GROUP - 1) // (n_threads * BIN_GROUP) * n_threads
    frames_array = np.zeros((n_frames, sizeof(fused_frame)), np.uint8)
    cdef uint8_t[:, ::1] frames_bytes = frames_array
    cdef fused_frame *frames = <fused_frame *>&frames_bytes[0, 0]
    views = [memoryview(chunk).cast("B") for chunk in chunks]
    cdef Py_ssize_t largest = open_frames(views, frames, n_pixels, sizeof(pixel_t))
    whole.kind.type, whole.kind.n_overflow = code[pixel_t](0), overflow.shape[0]
    whole.kind.overflow = NULL if overflow.shape[0] == 0 else &overflow[0]
    whole.kind.has_narrow_overflow = any(0 <= value < 256 for value in np.asarray(overflow))
    split.kind = whole.kind
    split.n_frames = whole.n_frames = n_frames
    split.n_weights = whole.n_weights = n_weights
    split.pixels = whole.pixels = NULL
    split.mask = whole.mask = NULL if mask is None else &mask[0, 0]
    split.of_variance = whole.of_variance = 0
    split.weights = whole.weights = NULL if n_weights == 0 else &weights[0, 0]
    split.powers = NULL if n_weights == 0 else &powers[0]
    split.signal = whole.signal = &signal[0, 0]
    split.variance = whole.variance = &variance[0, 0]
    split.skipped = whole.skipped = &skipped[0, 0]
    split.skipped_weights = whole.skipped_weights = NULL if n_weights == 0 else &skipped_weights[0, 0, 0]
    is_real = pixel_t is float or pixel_t is double
    cdef Py_ssize_t n_words = 0 if is_real or is_split else n_threads * bin_words(&whole)
    cdef uint32_t[::1] words = np.zeros(n_words + PIX_LINE, np.uint32)
    cdef uint64_t[::1] wide_words = np.zeros(n_words + PIX_LINE, np.uint64)
    cdef double[::1] sums = np.zeros(PIX_LINE + n_threads * (
        run_sums(n_bins) if is_split else (whole.n_internal + 1) * BIN_GROUP if is_real else 0))
    whole.words, whole.wide_words = <uint32_t *>pix_align(&words[0]), <uint64_t *>pix_align(&wide_words[0])
    split.sums = whole.sums = <double *>pix_align(&sums[0])
    cdef uint8_t[:, ::1] scratch = np.empty((n_threads, run_scratch() if is_split else bin_scratch()), np.uint8)
    cdef uint8_t[:, ::1] windows = np.empty((n_threads, fused_scratch()), np.uint8)
    cdef uint8_t[:, ::1] planes = np.empty((n_threads, BIN_GROUP * largest), np.uint8)
    cdef int32_t[::1] wrong = np.zeros(n_groups, np.int32)
    cdef const run_task *runs = &split if is_split else NULL

    for g in prange(n_groups, schedule="static", num_threads=n_threads, nogil=True):
        wrong[g] = fused_group(&whole, runs, frames, g * n_frames // n_groups, (g + 1) * n_frames // n_groups,
                               threadid(), &scratch[0, 0], &windows[0, 0], &planes[0, 0], largest)
    if np.any(wrong):
        raise ValueError("bins must not exceed the number of owners; runs must stay inside block, bins and weights")
    for f in range(n_frames):
        status[f] = frames[f].status
    for array in sums_arrays:
        array[status != 0] = np.nan
    return *sums_arrays, status
