/* The body of unshuffle_portable.c and unshuffle_avx2.c: bitshuffle's core with hidden names of its own. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif
/* Only the work on one block is used, and that by one thread. */
#undef _OPENMP

#pragma GCC visibility push(hidden)
#include "bitshuffle_names.h"
#include "bitshuffle/iochain.c"
#include "bitshuffle/bitshuffle_core.c"
#pragma GCC visibility pop

/* What bshuf_untrans_bit_elem does, less its malloc. */
#if defined(__AVX2__)
#define BATLAB_ROWS bshuf_trans_byte_bitrow_AVX
#define BATLAB_BITS bshuf_shuffle_bit_eightelem_AVX
#elif defined(__SSE2__)
#define BATLAB_ROWS bshuf_trans_byte_bitrow_SSE
#define BATLAB_BITS bshuf_shuffle_bit_eightelem_SSE
#elif defined(__aarch64__) && (defined(__ARM_NEON__) || defined(__ARM_NEON))
#define BATLAB_ROWS bshuf_trans_byte_bitrow_NEON
#define BATLAB_BITS bshuf_shuffle_bit_eightelem_NEON
#else
#define BATLAB_ROWS bshuf_trans_byte_bitrow_scal
#define BATLAB_BITS bshuf_shuffle_bit_eightelem_scal
#endif

__attribute__((visibility("hidden"))) int64_t BATLAB_JOIN(batlab_untrans_bits, UNSHUFFLE_SUFFIX)(
        const void *in, void *out, void *scratch, size_t n, size_t elem_size) {
    int64_t count = BATLAB_ROWS(in, scratch, n, elem_size);
    return count < 0 ? count : BATLAB_BITS(scratch, out, n, elem_size);
}
