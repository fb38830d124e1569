/* bitshuffle with AVX2, and the choice between both builds when the module is loaded. */
#include "unshuffle.h"

int64_t batlab_untrans_bits_portable(const void *in, void *out, void *scratch, size_t n, size_t elem_size);

/* clang has no target pragma: there the portable build does all. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC target("avx2")
#define UNSHUFFLE_SUFFIX _avx2
#include "unshuffle_build.h"
#pragma GCC pop_options
#define BATLAB_HAS_AVX2_BUILD 1
#endif

static batlab_untrans_fn chosen = batlab_untrans_bits_portable;

__attribute__((constructor)) static void choose(void) {
    batlab_unshuffle_select(1);
}

int batlab_unshuffle_select(int fastest) {
    chosen = batlab_untrans_bits_portable;
#ifdef BATLAB_HAS_AVX2_BUILD
    __builtin_cpu_init();
    if (fastest && __builtin_cpu_supports("avx2")) {
        chosen = batlab_untrans_bits_avx2;
        return 1;
    }
#else
    (void)fastest;
#endif
    return 0;
}

int64_t batlab_untrans_bits(const void *in, void *out, void *scratch, size_t n, size_t elem_size) {
    return chosen(in, out, scratch, n, elem_size);
}
