/* bitshuffle's inverse on one block, with the best instruction set of the machine, and no allocation. */
#ifndef BATLAB_UNSHUFFLE_H
#define BATLAB_UNSHUFFLE_H

#include <stddef.h>
#include <stdint.h>

#define BATLAB_HIDDEN __attribute__((visibility("hidden")))

typedef int64_t (*batlab_untrans_fn)(const void *in, void *out, void *scratch, size_t n, size_t elem_size);

/* Turn 8 * elem_size rows of n / 8 bytes (bit planes, lowest bit first) into n elements. n must be a multiple of 8;
 * in, out and scratch have n * elem_size bytes each and do not overlap; scratch is aligned to 8 bytes, out to elem_size.
 * Returns the number of bytes, or a negative code of bitshuffle_core.h. */
BATLAB_HIDDEN int64_t batlab_untrans_bits(const void *in, void *out, void *scratch, size_t n, size_t elem_size);

/* For tests: take the fastest build (the default) or, with 0, the portable one. Returns 1 where AVX2 is used. */
BATLAB_HIDDEN int batlab_unshuffle_select(int fastest);

#endif
