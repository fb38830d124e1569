/* Feed mutated chunks to the decoder: fuzz_decode SEEDS COUNT RANDOM_SEED; built with sanitizers by test_decode.py.
 *
 * Every buffer has exactly its size, so that one byte too far is found. Both builds of bitshuffle must agree. */
#include "fuzz_chunks.h"

static int decoded(const uint8_t *chunk, size_t size, uint8_t *out, const seed_chunk *seed, int fastest) {
    chunk_walk walk;
    int told = chunk_open(&walk, chunk, size, seed->expected, seed->elem_size);
    if (told < 0) return told;
    uint8_t *scratch = malloc(2 * walk.block + (walk.block == 0));
    batlab_unshuffle_select(fastest);
    told = chunk_decode(&walk, out, scratch, NULL);
    free(scratch);
    return told;
}

int main(int argc, char **argv) {
    size_t n_seeds = 0, size;
    seed_chunk *seeds = argc == 4 ? seeds_of(argv[1], &n_seeds) : NULL;
    long count = argc == 4 ? atol(argv[2]) : 0, told[6] = {0};
    if (!n_seeds) return 2;
    state = 0x9E3779B97F4A7C15u ^ strtoull(argv[3], NULL, 10);
    for (long i = 0; i < count + (long)n_seeds; i++) {
        const seed_chunk *seed = &seeds[i < (long)n_seeds ? (uint64_t)i : draw(n_seeds)];
        int is_sound = i < (long)n_seeds; /* first every seed as it is, which must decode */
        uint8_t *chunk = is_sound ? copied(seed->data, size = seed->size)
                                  : mutated(seed, &seeds[draw(n_seeds)], &size);
        uint8_t *fast = calloc(seed->expected, 1), *portable = calloc(seed->expected, 1);
        int result = decoded(chunk, size, fast, seed, 1);
        if (decoded(chunk, size, portable, seed, 0) != result || (is_sound && result != CHUNK_OK)) return 3;
        if (result == CHUNK_OK && is_sound && memcmp(fast, portable, seed->expected)) return 4;
        told[-result]++;
        free(fast);
        free(portable);
        free(chunk);
    }
    printf("%ld %ld %ld %ld %ld %ld\n", told[0], told[1], told[2], told[3], told[4], told[5]);
    for (size_t i = 0; i < n_seeds; i++) free(seeds[i].data);
    free(seeds);
    return 0;
}
