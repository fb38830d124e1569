"""What the binning kernels share: the tasks of their headers, and the types of pixels."""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "pixels.h" nogil:
    enum:
        PIX_BLOCK
        PIX_LINE
    void *pix_align(const void *p)
    ctypedef struct pix_kind:
        int type
        int has_narrow_overflow
        const void *overflow
        Py_ssize_t n_overflow

cdef extern from "azimuthal.h" nogil:
    enum:
        BIN_GROUP
    ctypedef struct bin_task:
        Py_ssize_t n_frames
        Py_ssize_t n_pixels
        Py_ssize_t n_internal
        Py_ssize_t n_bins
        Py_ssize_t n_weights
        pix_kind kind
        const void *pixels
        const uint8_t *mask
        const void *bins
        Py_ssize_t index_size
        const int32_t *owner
        const float *weights
        int of_variance
        uint32_t *words
        uint64_t *wide_words
        double *sums
        double *signal
        double *variance
        double *skipped
        double *skipped_weights
    Py_ssize_t bin_words(const bin_task *t)
    Py_ssize_t bin_scratch()
    int bin_group(const bin_task *t, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t thread, uint8_t *scratch)

cdef extern from "runs.h" nogil:
    enum:
        RUN_GROUP
    ctypedef struct run_task:
        Py_ssize_t n_frames
        Py_ssize_t n_pixels
        Py_ssize_t n_bins
        Py_ssize_t n_weights
        pix_kind kind
        const void *pixels
        const uint8_t *mask
        const uint32_t *first
        const uint16_t *pixel
        const uint16_t *length
        const float *weight
        const int64_t *run_start
        const int64_t *entry_start
        const float *weights
        const uint8_t *powers
        int of_variance
        double *sums
        double *signal
        double *variance
        double *skipped
        double *skipped_weights
    Py_ssize_t run_sums(Py_ssize_t n_bins)
    Py_ssize_t run_scratch()
    int run_group(const run_task *t, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t thread, uint8_t *scratch)

ctypedef fused pixel_t:
    uint8_t
    uint16_t
    uint32_t
    int16_t
    int32_t
    float
    double


cdef inline int code(pixel_t example) noexcept nogil:
    """Return the number of the type in pixels.h."""
    if pixel_t is uint8_t:
        return 0
    elif pixel_t is uint16_t:
        return 1
    elif pixel_t is uint32_t:
        return 2
    elif pixel_t is int16_t:
        return 3
    elif pixel_t is int32_t:
        return 4
    elif pixel_t is float:
        return 5
    else:
        return 6
